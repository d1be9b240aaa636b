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
from image2music.music.metrics import Metrics
from image2music.types import AlbumPart, Description, Explanation, Reference


@dataclass(frozen=True)
class ComposeRequest:
    """What a composer may use for one tune. `seed` belongs to the picture and does not depend on the batch.

    `album` says what the tune takes over from its album, where the picture is composed as part of one.
    """

    image_id: str
    image: Image
    description: Description
    references: tuple[Reference, ...]
    seed: int
    album: AlbumPart | None = None


@dataclass(frozen=True)
class RepairRequest:
    """A tune that failed the check, with its diagnostics. `attempt` counts from 1."""

    request: ComposeRequest
    abc: str
    diagnostics: tuple[Diagnostic, ...]
    attempt: int


@dataclass(frozen=True)
class RefineRequest:
    """A valid tune, its metrics, and the range of each metric over the references (None where undefined).

    `targets` maps a metric's name to (low, high). `complaints` says in plain English what lies outside of it, or
    what else is to change ("shares 19 notes with a reference: move away from it"). `attempt` counts from 1.
    """

    request: ComposeRequest
    abc: str
    metrics: Metrics
    targets: dict[str, tuple[float, float] | None]
    complaints: tuple[str, ...]
    attempt: int


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
    """The accepted tune, to be explained."""

    request: ComposeRequest
    abc: str
    title: str
    metrics: Metrics
    attention_options: AttentionOptions = AttentionOptions()


class Composer(Protocol):
    """Writes music for pictures. Every tune is raw ABC text, which the caller checks."""

    @property
    def id(self) -> str:
        """Name the model and its revision; stored with every row."""

    def describe(self, images: Sequence[Image]) -> list[Description]:
        """Return what each picture shows, in plain English."""

    def compose(self, requests: Sequence[ComposeRequest]) -> list[str]:
        """Return a first draft for each request."""

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """Return another attempt for each tune that failed the check."""

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """Return a better version of each valid tune."""

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """Return motivation and attention for each accepted tune."""
