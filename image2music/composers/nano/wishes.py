"""From what the loop asks to plan words: a wish for a draft, and changed wishes for repair and refine."""

from __future__ import annotations

from collections.abc import Mapping

from image2music.composers.base import RefineRequest
from image2music.composers.nano.plan import LEVELS, Plan

Words = Mapping[str, tuple[str, ...]]

# Metrics that a plan slot speaks of, and whether more of one is more of the other.
_SLOTS = {
    "pitch_range": "range",
    "n_pitches_used": "n_pitches_used",
    "pitch_entropy": "pitch_entropy",
    "pitch_class_entropy": "pitch_class_entropy",
    "n_pitch_classes_used": "pitch_class_entropy",
    "scale_consistency": "scale_consistency",
}


def moved_words(request: RefineRequest, plan: Plan) -> dict[str, tuple[str, ...]]:
    """The slots whose metric lies outside of its target, with the words on the side where the target is."""
    moved: dict[str, tuple[str, ...]] = {}
    values = request.metrics.as_dict()
    for metric, slot in _SLOTS.items():
        target, value = request.targets.get(metric), values[metric]
        if target is None or value is None or target[0] <= value <= target[1]:
            continue
        moved[slot] = _moved(plan[slot], up=value < target[0])
    return moved


def _moved(word: str, *, up: bool) -> tuple[str, ...]:
    place = LEVELS.index(word)
    return LEVELS[min(place + 1, len(LEVELS) - 1) :] if up else LEVELS[: max(place, 1)]


def distance(asked: Words, delivered: Plan) -> int:
    """In how many levels or words a tune differs from what was asked for."""
    total = 0
    for slot, words in asked.items():
        word = delivered.get(slot)
        if word is None or word in words:
            continue
        if word in LEVELS:
            total += min(abs(LEVELS.index(word) - LEVELS.index(other)) for other in words)
        else:
            total += 1
    return total
