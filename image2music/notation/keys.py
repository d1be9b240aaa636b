"""The key of each bar: what the file says where it says something, what the notes say elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from image2music.notation.key_detection import detect_key
from image2music.notation.parts import Part
from image2music.notation.score import Score
from image2music.notation.timeline import QUARTER, Bars

Key = tuple[int, bool]


def keys_of(score: Score, parts: Sequence[Part], bars: Bars) -> tuple[Key, ...]:
    """(sharps, minor) for each bar.

    C major at the beginning with nothing after it is what many programs write without being asked, so there the
    notes decide.
    """
    stated = [(change.tick, (change.sharps, change.minor)) for change in score.keys]
    if not {key for _, key in stated} - {(0, False)}:
        return (_detected(parts),) * len(bars)
    ticks = [tick * QUARTER / score.ticks_per_quarter for tick, _ in stated]
    nearest = np.searchsorted(bars.lines[:-1] + np.diff(bars.lines) / 2, ticks).tolist()
    keys: list[Key] = [stated[0][1]] * len(bars)
    for at, (_, key) in zip(nearest, stated, strict=True):
        keys[at:] = [key] * (len(bars) - at)
    return tuple(keys)


def _detected(parts: Sequence[Part]) -> Key:
    weights = np.zeros(12)
    for part in parts:
        if not part.is_drum:
            weights += np.bincount(part.pitches % 12, part.durations, 12)
    return detect_key(weights)
