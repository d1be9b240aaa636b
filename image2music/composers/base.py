"""The protocol that every composer keeps, and the requests that it is given.

A chat model answers these calls with prompts, the embedded default with its own conditioning. Each call takes a batch,
and the answer for one picture never depends on which others share its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL.Image import Image

from image2music.abc.diagnostics import Diagnostic
from image2music.music.listen.sheet import Sheet
from image2music.music.metrics import Metrics
from image2music.music.planning.constraints import PlanConstraints
from image2music.music.planning.plan import Plan
from image2music.types import AlbumPart, Description, Edit, Explanation, Reference


@dataclass(frozen=True)
class ComposeRequest:
    """What a composer may use for one tune. `seed` belongs to the picture and does not depend on the batch.

    `album` says what the tune takes over from its album, where the picture is composed as part of one. `constraints`
    are what a plan must keep, an album's demands first, then a person's wishes; of two that contradict, the first
    counts.
    `plan` is a person's whole plan, which no composer is asked for then.
    """

    image_id: str
    image: Image
    description: Description
    references: tuple[Reference, ...]
    seed: int
    album: AlbumPart | None = None
    constraints: tuple[PlanConstraints, ...] = ()
    plan: Plan | None = None


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


@dataclass(frozen=True)
class WriteRequest:
    """Ask for a tune: to a plan that passed the checks, or (in the paper's chain) to none."""

    request: ComposeRequest
    plan: Plan | None = None
    take: int = 0


@dataclass(frozen=True)
class RepairRequest:
    """A tune that failed the check, with its diagnostics. `attempt` counts from 1."""

    request: ComposeRequest
    abc: str
    diagnostics: tuple[Diagnostic, ...]
    attempt: int
    plan: Plan | None = None
    take: int = 0


@dataclass(frozen=True)
class EditRequest:
    """A valid tune, and what was heard in it; `sheet` shows its worst places and holds the metrics."""

    request: ComposeRequest
    plan: Plan
    abc: str
    sheet: Sheet
    take: int = 0


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
    """The accepted tune, to be explained, and the plan that it was written to, if any."""

    request: ComposeRequest
    abc: str
    title: str
    metrics: Metrics
    attention_options: AttentionOptions = AttentionOptions()
    plan: Plan | None = None


class Composer(Protocol):
    """Writes music for pictures. Every tune is raw ABC text, which the caller checks."""

    @property
    def id(self) -> str:
        """Name the model and its revision; stored with every row."""

    def look(self, images: Sequence[Image]) -> list[Description]:
        """Return what each picture shows, in plain English, and as a scene."""

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
