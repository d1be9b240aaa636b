"""Tracks to the parts that are written: drums together and last, never more than there are channels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from image2music.notation.score import IntArray, Score, Track
from image2music.notation.timeline import QUARTER

FloatArray = NDArray[np.float64]

MAX_PITCHED = 15
DRUM_CHANNEL = 9


@dataclass(frozen=True)
class Part:
    """One instrument's notes, sorted by onset, then pitch: times float64[n] in grid ticks, pitches int64[n]."""

    onsets: FloatArray
    durations: FloatArray
    pitches: IntArray
    program: int
    channel: int
    is_drum: bool

    def __len__(self) -> int:
        return len(self.onsets)


def parts_of(score: Score) -> list[Part]:
    """One part a pitched track, at most `MAX_PITCHED`, then one part with all the drums."""
    pitched = _few([[track] for track in score.tracks if len(track) and not track.is_drum])
    drums = [track for track in score.tracks if len(track) and track.is_drum]
    channels = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    scale = QUARTER / score.ticks_per_quarter
    parts = [_merged(group, channel, scale) for group, channel in zip(pitched, channels, strict=False)]
    return [*parts, _merged(drums, DRUM_CHANNEL, scale)] if drums else parts


def _few(groups: list[list[Track]]) -> list[list[Track]]:
    """At most `MAX_PITCHED` groups: the nearest programs share one, those with the fewest notes first."""
    if len(groups) <= MAX_PITCHED:
        return groups
    groups = sorted(groups, key=lambda group: group[0].program)
    while len(groups) > MAX_PITCHED:
        costs = [(b[0].program - a[0].program, sum(map(len, a)) + sum(map(len, b))) for a, b in pairwise(groups)]
        at = costs.index(min(costs))
        groups[at : at + 2] = [groups[at] + groups[at + 1]]
    return groups


def _merged(tracks: list[Track], channel: int, scale: float) -> Part:
    onsets = np.concatenate([track.onsets for track in tracks])
    durations = np.concatenate([track.durations for track in tracks])
    pitches = np.concatenate([track.pitches for track in tracks])
    if len(tracks) > 1:
        order = np.lexsort((pitches, onsets))
        onsets, durations, pitches = onsets[order], durations[order], pitches[order]
    return Part(onsets * scale, durations * scale, pitches, tracks[0].program, channel, channel == DRUM_CHANNEL)
