"""The longest run of notes that a melody shares with any voice of thousands of pieces.

As `image2music.music.similarity.longest_shared_run`, but all pieces at once, by hashes of longer and longer runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from image2music.music.critic.training import cached_pieces
from image2music.music.score import Score, Track
from image2music.music.similarity import Step
from image2music.music.theory import GRID_QUARTER

_LEAST = 3
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_Codes = NDArray[np.uint64]


@dataclass(frozen=True)
class TrainingLines:
    """The steps of all voices in a row, uint64[n], 0 between two voices."""

    codes: _Codes

    @staticmethod
    def read(data: Path | None, cache: Path | None) -> TrainingLines:
        """All voices of the pieces that the critic's training reads."""
        pieces = cached_pieces(data or Path(), cache)
        return TrainingLines.of(piece.score for piece in pieces)

    @staticmethod
    def of(scores: Sequence[Score] | object) -> TrainingLines:
        """All pitched voices of scores."""
        lines: list[_Codes] = []
        for score in scores:  # type: ignore[attr-defined]
            for track in score.tracks:
                if len(track) > _LEAST and not track.is_drum:
                    lines += [_codes_of_track(track, score.ticks_per_quarter), np.zeros(1, dtype=np.uint64)]
        return TrainingLines(np.concatenate(lines) if lines else np.zeros(0, dtype=np.uint64))

    def longest(self, melodies: Sequence[Sequence[Step]]) -> int:
        """Notes in the longest run that any of the melodies shares with any voice; one step repeated does not count."""
        wanted = [np.array([_code(a, b) for a, b in line], dtype=np.uint64) for line in melodies if line]
        if not wanted or not len(self.codes):
            return 0
        own = np.concatenate([part for line in wanted for part in (line, np.ones(1, dtype=np.uint64))])
        mine, places = np.flatnonzero(own > 1), np.flatnonzero(np.isin(self.codes, own[own > 1]))
        my_hash, hashes = own[mine], self.codes[places]
        steady = np.ones(len(mine), dtype=bool)
        longest = 0
        for length in range(1, len(own)):
            met = np.isin(my_hash, hashes)
            if not met.any():
                break
            if (met & ~steady).any():
                longest = length
            mine, my_hash, steady = mine[met], my_hash[met], steady[met]
            kept = np.isin(hashes, my_hash)
            places, hashes = places[kept], hashes[kept]
            inside = mine + length < len(own)
            mine, my_hash, steady = mine[inside], my_hash[inside], steady[inside]
            steady &= own[mine + length] == own[mine]
            there = places + length < len(self.codes)
            places, hashes = places[there], hashes[there]
            my_hash = my_hash * _FACTOR + own[mine + length]
            hashes = hashes * _FACTOR + self.codes[places + length]
        return longest + 1 if longest else 0


def _code(semitones: int, gap: int) -> int:
    """A step as a number above 1: 0 and 1 part lines."""
    return ((semitones + 200) << 24) + min(gap, (1 << 24) - 1) + 2


def _codes_of_track(track: Track, ticks_per_quarter: int) -> _Codes:
    """The steps of a track's top line, as `melody_steps` has them."""
    order = np.lexsort((track.pitches, track.onsets))
    onsets, pitches = track.onsets[order], track.pitches[order]
    top = np.append(onsets[1:] != onsets[:-1], True)
    onsets, pitches = onsets[top], pitches[top]
    gaps = np.rint(np.diff(onsets) * (GRID_QUARTER / ticks_per_quarter)).astype(np.int64)
    codes = ((np.diff(pitches).astype(np.int64) + 200) << 24) + np.minimum(gaps, (1 << 24) - 1) + 2
    return codes.astype(np.uint64)
