"""How much the tunes of one output resemble each other."""

from __future__ import annotations

from collections.abc import Sequence

from image2music.copying import Step, melody_steps
from image2music.notation.score import Score

_SORTED_STEPS = 64
"""Steps by which suffixes are sorted. Runs are compared in full, so this decides only which of long ones meet."""


def melody(score: Score) -> list[Step]:
    """The steps of the highest pitched part: accompaniments are alike in all tunes, and prove nothing."""
    pitched = [track for track in score.tracks if len(track) and not track.is_drum]
    if not pitched:
        return []
    return melody_steps(max(pitched, key=lambda track: float(track.pitches.mean())), score.ticks_per_quarter)


def longest_shared_with_others(melodies: Sequence[Sequence[Step]]) -> list[int]:
    """For each melody, notes in the longest run that it shares with any other one; 0 if it shares none.

    As `copying.longest_shared_run` over all pairs, but by one sort of all suffixes: neighbours of different owners
    share the longest beginnings. A run of one step repeated does not count.
    """
    symbols: dict[Step, str] = {}
    lines = ["".join(symbols.setdefault(step, chr(0x100 + len(symbols))) for step in line) for line in melodies]
    suffixes = sorted(
        (line[start : start + _SORTED_STEPS], owner, start)
        for owner, line in enumerate(lines)
        for start in range(len(line))
    )
    longest = [0] * len(lines)
    for order in (suffixes, suffixes[::-1]):
        _meet(order, lines, longest)
    return [run + 1 if run else 0 for run in longest]


def _meet(order: Sequence[tuple[str, int, int]], lines: Sequence[str], longest: list[int]) -> None:
    """Compares each suffix with the nearest one before it that is another owner's."""
    last: tuple[int, int] | None = None
    other: tuple[int, int] | None = None
    for _, owner, start in order:
        if last is not None and last[0] != owner:
            other = last
        if other is not None:
            shared = _common(lines[owner], start, lines[other[0]], other[1])
            if shared > longest[owner] and shared > _repeats(lines[owner], start):
                longest[owner] = shared
        last = (owner, start)


def _common(line: str, start: int, other: str, other_start: int) -> int:
    """Length of the beginning that two suffixes share."""
    limit = min(len(line) - start, len(other) - other_start)
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if line[start : start + middle] == other[other_start : other_start + middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _repeats(line: str, start: int) -> int:
    """How often the symbol at `start` stands in a row from there on."""
    return len(line) - start - len(line[start:].lstrip(line[start]))
