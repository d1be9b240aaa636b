"""The key of each bar: what the file says where it says something, what the notes say elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from image2music.notation.key_detection import FloatArray, detect_key, pitch_class_weights
from image2music.notation.parts import Part
from image2music.notation.score import Score
from image2music.notation.timeline import QUARTER, Bars

Key = tuple[int, bool]

_C_MAJOR: Key = (0, False)
_WHITE = [0, 2, 4, 5, 7, 9, 11]
_WHITE_ENOUGH = 0.9


def keys_of(score: Score, parts: Sequence[Part], bars: Bars) -> tuple[Key, ...]:
    """(sharps, minor) for each bar; a change begins at the nearest bar line.

    C major alone is what many programs write without being asked, so there the notes decide whether to believe it.
    """
    stated = [(change.tick, (change.sharps, change.minor)) for change in score.keys]
    if all(key == _C_MAJOR for _, key in stated):
        return (_unstated(parts, believe_c=bool(stated)),) * len(bars)
    ticks = [tick * QUARTER / score.ticks_per_quarter for tick, _ in stated]
    middles = bars.lines[:-1] + np.diff(bars.lines) / 2
    changes = dict(zip(np.searchsorted(middles, ticks).tolist(), (key for _, key in stated), strict=True))
    keys: list[Key] = []
    here = stated[0][1]
    for bar in range(len(bars)):
        after = changes.get(bar, here)
        # Another mode with the same signature changes nothing on paper.
        here = after if after[0] != here[0] or bar == 0 else here
        keys.append(here)
    return tuple(keys)


def _unstated(parts: Sequence[Part], *, believe_c: bool) -> Key:
    weights: FloatArray = np.zeros(12)
    for part in parts:
        if not part.is_drum:
            weights += pitch_class_weights(part.pitches, part.durations / QUARTER)
    if believe_c and weights[_WHITE].sum() >= _WHITE_ENOUGH * weights.sum():
        return _C_MAJOR
    return detect_key(weights)
