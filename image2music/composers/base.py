"""The protocol that every composer keeps, the requests that it is given, and what an album asks of a tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL.Image import Image

from image2music.abc.diagnostics import Diagnostic
from image2music.abc.writer.text import length_text, note_name
from image2music.music.listen.sheet import Sheet
from image2music.music.metrics import Metrics
from image2music.music.planning.constraints import PlanConstraints
from image2music.music.planning.plan import Plan
from image2music.music.score import Score
from image2music.music.similarity import count_motif
from image2music.music.theory import MIDDLE_C, spelling
from image2music.settings import Steps
from image2music.types import AlbumPart, Description, Edit, Explanation, Reference, Round


@dataclass(frozen=True)
class ComposeRequest:
    """What a composer may use for one tune. `seed` belongs to the picture and does not depend on the batch.

    `album` says what the tune takes over from its album, where the picture is composed as part of one. `constraints`
    are what a plan must keep, an album's demands first, then a person's wishes; of two that contradict, the first
    counts.
    `plan` is a person's whole plan, which no composer is asked for then. `steps` is how a chat
    model goes about it. `hint` is what a catalogue says of the picture; it stands in front of the description, too.
    `language` is that of what people read: one of `settings.LANGUAGE_NAMES`.
    """

    image_id: str
    image: Image
    description: Description
    references: tuple[Reference, ...]
    seed: int
    album: AlbumPart | None = None
    constraints: tuple[PlanConstraints, ...] = ()
    plan: Plan | None = None
    steps: Steps = "full"
    hint: str = ""
    language: str = "en"


Notes = dict[str, Any]
"""What a composer wants to find again in later requests for the same tune; others read `WORTH` alone."""
WORTH = "worth"
"""In the notes: how good a composer thinks a take, a float, higher is better; set by those who can tell."""


@dataclass(frozen=True)
class PlanningRequest:
    """Ask for a plan. `take` numbers the candidates for one picture from 0; each is a plan and a tune of its own.

    `faults` say in plain English what the checks found in `previous`, which is to be mended; `attempt` counts from 0.
    """

    request: ComposeRequest
    take: int = 0
    attempt: int = 0
    faults: tuple[str, ...] = ()
    previous: Plan | None = None
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True)
class WriteRequest:
    """Ask for a tune: to a plan that passed the checks, or (in the paper's chain) to none."""

    request: ComposeRequest
    plan: Plan | None = None
    take: int = 0
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True)
class RepairRequest:
    """A tune that failed the check, with its diagnostics. `attempt` counts from 1."""

    request: ComposeRequest
    abc: str
    diagnostics: tuple[Diagnostic, ...]
    attempt: int
    plan: Plan | None = None
    take: int = 0
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True)
class EditRequest:
    """A valid tune, and what was heard in it; `sheet` shows its worst places and holds the metrics."""

    request: ComposeRequest
    plan: Plan
    abc: str
    sheet: Sheet
    take: int = 0
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True)
class RefineRequest:
    """A valid tune and its metrics, which the composer judges for itself (the paper's chain)."""

    request: ComposeRequest
    abc: str
    metrics: Metrics


@dataclass(frozen=True)
class AttentionOptions:
    """What is stored of attention beside the maps: those of each layer, and how faithful each map is."""

    layers: bool = False
    faithfulness: bool = False

    @property
    def name(self) -> str | None:
        """Name the options as settings store them; None where none is set."""
        return "+".join(name for name, asked in vars(self).items() if asked) or None


@dataclass(frozen=True)
class ExplainRequest:
    """The accepted tune, to be explained, the plan that it was written to, if any, and the rounds that led to it."""

    request: ComposeRequest
    abc: str
    title: str
    metrics: Metrics
    attention_options: AttentionOptions = AttentionOptions()
    plan: Plan | None = None
    notes: Notes = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()


class Composer(Protocol):
    """Writes music for pictures. Every tune is raw ABC text, which the caller checks."""

    @property
    def id(self) -> str:
        """Name the model and its revision; stored with every row."""

    def look(self, images: Sequence[Image], language: str = "en") -> list[Description]:
        """Return what each picture shows, in plain words of a language, and as a scene."""

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        """Return a plan for each request. The caller checks it, mends what code can, and may ask again."""

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """Return a first draft for each request."""

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """Return another attempt for each tune that failed the check."""

    def edit(self, requests: Sequence[EditRequest]) -> list[tuple[Edit, ...]]:
        """Return bars to put in the place of others; none where the tune is to stay as it is."""

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """Return a better version of each valid tune (the paper's chain only)."""

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """Return motivation and attention for each accepted tune."""


_QPM_TOLERANCE = 1.0


def opening_abc(part: AlbumPart) -> str:
    """Return the notes that the melody begins with, as ABC in the album's key with L:1/8: `BF E2 B2 A2 | B2`."""
    sharps = (part.tonic + (3 if part.mode == "minor" else 0)) * 7
    names = spelling((sharps + 5) % 12 - 5, part.mode == "minor")
    bars = []
    for line in part.opening:
        said: dict[str, str] = {}
        notes = (note_name(MIDDLE_C + part.tonic + pitch, names, said) + length_text(n, 1) for pitch, n in line)
        bars.append(" ".join(notes))
    return " | ".join(bars)


def missing_constraints(score: Score, part: AlbumPart) -> tuple[str, ...]:
    """Return the album's constraints that a played tune misses, in plain English; empty for one that keeps to all."""
    key, meter = score.keys[:1], score.meters[:1]
    found = []
    if not key or (key[0].tonic, key[0].minor) != (part.tonic, part.mode == "minor"):
        found.append(f"the album asks for the key K:{part.key}")
    if not meter or f"{meter[0].numerator}/{meter[0].denominator}" != part.meter:
        found.append(f"the album asks for the meter M:{part.meter}")
    if not score.tempos or abs(score.tempos[0].qpm - part.tempo_qpm) > _QPM_TOLERANCE:
        found.append(f"the album asks for the tempo Q:1/4={part.tempo_qpm}")
    if not count_motif(score, part.motif):
        found.append(f"the album's motif is missing: begin the first voice with {opening_abc(part)} (L:1/8)")
    return tuple(found)
