"""Two bars from one key to another: the motif at home, then on the dominant of where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from image2music.album.motif import BAR_EIGHTHS
from image2music.album.part import MIDDLE_C, Line
from image2music.notation.abc_lengths import TICKS_PER_QUARTER
from image2music.notation.score import KeyChange, MeterChange, Score, Track

_EIGHTH = TICKS_PER_QUARTER // 2
_VELOCITY = 80
_LOWEST_BASS, _LOWEST_CHORD, _HIGHEST_TONIC = 41, 53, 69


class _Struck(NamedTuple):
    onset: int
    eighths: int
    pitches: tuple[int, ...]


def bridge(motif: Line, meter: str, before: KeyChange, after: KeyChange) -> Score:
    """A melody and chords. The motif's degrees (1, 2, 4, 5) lie in the scale on the dominant of major and of minor.

    The key changes with the second bar, whose chord is the dominant seventh of the new key.
    """
    bar = BAR_EIGHTHS[meter]
    numerator, denominator = (int(part) for part in meter.split("/"))
    old, dominant = tonic_of(before), (tonic_of(after) + 7) % 12
    melody = [*_sung(motif[:-1], old, 0), *_sung(motif[:-1], dominant, bar)]
    chords = [
        _Struck(0, bar, _chord(old, (3 if before.minor else 4, 7))),
        _Struck(bar, bar, _chord(dominant, (4, 10))),
    ]
    return Score(
        TICKS_PER_QUARTER,
        (_track(melody), _track(chords)),
        meters=(MeterChange(0, numerator, denominator),),
        keys=(KeyChange(0, before.sharps, before.minor), KeyChange(bar * _EIGHTH, after.sharps, after.minor)),
    )


def tonic_of(key: KeyChange) -> int:
    """Pitch class of a signature's tonic."""
    return (key.sharps * 7 + (9 if key.minor else 0)) % 12


def _sung(line: Line, tonic: int, onset: int) -> list[_Struck]:
    ground = MIDDLE_C + tonic - (12 if MIDDLE_C + tonic > _HIGHEST_TONIC else 0)
    struck = []
    for pitch, eighths in line:
        struck.append(_Struck(onset, eighths, (ground + pitch,)))
        onset += eighths
    return struck


def _chord(root: int, above: tuple[int, int]) -> tuple[int, ...]:
    bass = _LOWEST_BASS + (root - _LOWEST_BASS) % 12
    return (bass, *sorted(_LOWEST_CHORD + (root + tone - _LOWEST_CHORD) % 12 for tone in above))


def _track(struck: Sequence[_Struck]) -> Track:
    rows = [(one.onset * _EIGHTH, one.eighths * _EIGHTH, pitch, _VELOCITY) for one in struck for pitch in one.pitches]
    onsets, durations, pitches, velocities = np.array(rows, dtype=np.int64).T
    return Track(onsets, durations, pitches, velocities)
