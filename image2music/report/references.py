"""What a tune took from its references: their metrics, and the longest run it shares with each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from image2music.copying import LONGEST_ALLOWED, longest_shared_run
from image2music.notation.metrics import METRIC_NAMES
from image2music.scoring.pieces import Heard, hear


@dataclass(frozen=True)
class ReferenceView:
    """A reference beside the tune. `shared_notes` is None where the reference cannot be played."""

    location: str
    caption: str
    matched_by: str
    similarity_text: float | None
    similarity_image: float | None
    shared_notes: int | None
    copied: bool
    abc: str


def reference_views(references: Sequence[Mapping[str, Any]], abc: str) -> list[ReferenceView]:
    """Every reference of a row, with the longest run of notes it shares with the tune `abc`."""
    own = hear(abc)
    return [_view(reference, own) for reference in references]


def metric_values(references: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Each metric of every reference whose ABC can be played and defines it, by metric, in ascending order."""
    found = [heard.metrics.as_dict() for reference in references if (heard := hear(reference["abc"]))]
    return {name: sorted(value for row in found if (value := row[name]) is not None) for name in METRIC_NAMES}


def _view(reference: Mapping[str, Any], own: Heard | None) -> ReferenceView:
    other = hear(reference["abc"])
    shared = longest_shared_run(own.voices, other.voices) if own and other else None
    return ReferenceView(
        location=reference["location"],
        caption=reference["caption"],
        matched_by=reference["matched_by"],
        similarity_text=reference["similarity_text"],
        similarity_image=reference["similarity_image"],
        shared_notes=shared,
        copied=shared is not None and shared > LONGEST_ALLOWED,
        abc=reference["abc"],
    )
