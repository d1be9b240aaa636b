"""What a tune took from its references: their metrics, and the longest run it shares with each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from image2music.copying import LONGEST_ALLOWED, Step, longest_shared_run, voices_of
from image2music.errors import AbcError
from image2music.notation.abc_to_midi import abc_to_score
from image2music.notation.metrics import METRIC_NAMES, Metrics, metrics_of_score


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


@dataclass(frozen=True)
class _Studied:
    metrics: Metrics
    steps: tuple[tuple[Step, ...], ...]


def reference_views(references: Sequence[Mapping[str, Any]], abc: str) -> list[ReferenceView]:
    """Every reference of a row, with the longest run of notes it shares with the tune `abc`."""
    own = study(abc)
    return [_view(reference, own) for reference in references]


def metric_values(references: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Each metric of every reference whose ABC can be played and defines it, by metric, in ascending order."""
    found = [studied.metrics.as_dict() for studied in map(_study_reference, references) if studied]
    return {name: sorted(value for row in found if (value := row[name]) is not None) for name in METRIC_NAMES}


@lru_cache(maxsize=4096)
def study(abc: str) -> _Studied | None:
    """Metrics and melodic steps of a tune; None where it cannot be played. The same references come up often."""
    try:
        score = abc_to_score(abc)
    except AbcError:
        return None
    return _Studied(metrics_of_score(score), tuple(tuple(voice) for voice in voices_of(score)))


def _study_reference(reference: Mapping[str, Any]) -> _Studied | None:
    return study(reference["abc"])


def _view(reference: Mapping[str, Any], own: _Studied | None) -> ReferenceView:
    other = _study_reference(reference)
    shared = longest_shared_run(own.steps, other.steps) if own and other else None
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
