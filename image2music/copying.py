"""How much of a tune is copied: the longest run of notes that it shares with another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from image2music.notation.score import Score, Track

LONGEST_ALLOWED = 16
"""Notes in a row that a tune may share with a reference. Four bars of quarters: a motif, not yet a melody."""

Step = tuple[int, int]
"""Semitones to the next note, and the time until it in 48ths of a quarter."""

_GRID = 48


def melody_steps(track: Track, ticks_per_quarter: int) -> list[Step]:
    """The top line of a track as steps, so that a transposed copy reads the same. n notes make n - 1 steps."""
    order = np.lexsort((track.pitches, track.onsets))
    onsets, pitches = track.onsets[order], track.pitches[order]
    top = np.append(onsets[1:] != onsets[:-1], True) if len(onsets) else np.zeros(0, dtype=bool)
    onsets, pitches = onsets[top], pitches[top]
    gaps = np.rint(np.diff(onsets) * (_GRID / ticks_per_quarter)).astype(np.int64)
    return list(zip(np.diff(pitches).tolist(), gaps.tolist(), strict=True))


def voices_of(score: Score) -> list[list[Step]]:
    """The steps of every pitched track."""
    return [melody_steps(track, score.ticks_per_quarter) for track in score.tracks if not track.is_drum]


def longest_shared_run(voices: Sequence[Sequence[Step]], others: Sequence[Sequence[Step]]) -> int:
    """Notes in the longest run that any of `voices` shares with any of `others`; 0 if they share none.

    A run of one step repeated (a drone, a scale in equal values) is nobody's melody and does not count.
    """
    symbols: dict[Step, str] = {}
    lines = [_spell(voice, symbols) for voice in voices]
    other_lines = [_spell(other, symbols) for other in others]
    return max((_longest(line, other) for line in lines for other in other_lines), default=0)


def _spell(voice: Sequence[Step], symbols: dict[Step, str]) -> str:
    """Each step as one character, so that runs are substrings."""
    return "".join(symbols.setdefault(step, chr(0x10000 + len(symbols))) for step in voice)


def _longest(line: str, other: str) -> int:
    # A longer run that starts later must be longer than the best so far, so each step either extends or moves on.
    longest = 0
    for start in range(len(line)):
        length = max(longest, _repeats(line, start)) + 1
        while start + length <= len(line) and line[start : start + length] in other:
            longest = length
            length += 1
    return longest + 1 if longest else 0


def _repeats(line: str, start: int) -> int:
    """How often the symbol at `start` stands in a row from there on."""
    return len(line) - start - len(line[start:].lstrip(line[start]))
