"""Notes of one part to layers that an ABC voice can hold: one chord at a time, no two overlapping."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from image2music.notation.quantise import Written
from image2music.notation.score import IntArray


@dataclass(frozen=True)
class Layer:
    """Chords in order: starts and ends int64[n] in grid ticks, and the pitches of each, ascending."""

    starts: IntArray
    ends: IntArray
    chords: list[list[int]]

    def __len__(self) -> int:
        return len(self.starts)


def layers_of(notes: Written, most: int) -> list[Layer]:
    """Lay notes out in at most `most` layers; where more would sound at once a chord is cut short, none is lost."""
    starts, ends, chords = _chords(notes)
    crowded = np.fromiter(map(len, chords), np.int64, len(chords)) > ends - starts
    if bool((starts[1:] >= ends[:-1]).all()) and not crowded.any():
        return [Layer(starts, ends, chords)]
    rows: list[list[tuple[int, int, list[int]]]] = []
    for start, end, chord in zip(starts.tolist(), ends.tolist(), chords, strict=True):
        # abc2midi begins the notes of a chord 1/48 quarter apart, and goes astray where they begin after its end.
        size = max(1, end - start)
        for at in range(0, len(chord), size):
            _place(rows, start, end, chord[at : at + size], most)
    return [_layer(row) for row in rows]


def _chords(notes: Written) -> tuple[IntArray, IntArray, list[list[int]]]:
    new = np.append(True, (np.diff(notes.starts) != 0) | (np.diff(notes.ends) != 0))
    first = np.flatnonzero(new)
    bounds = [*first.tolist(), len(notes)]
    pitches = notes.pitches.tolist()
    chords = [pitches[a:b] for a, b in pairwise(bounds)]
    return notes.starts[first], notes.ends[first], chords


def _place(rows: list[list[tuple[int, int, list[int]]]], start: int, end: int, chord: list[int], most: int) -> None:
    free = [row for row in rows if row[-1][1] <= start]
    if free:
        # The row whose last chord lies nearest keeps melodies together.
        min(free, key=lambda row: abs(row[-1][2][-1] - chord[-1])).append((start, end, chord))
        return
    if len(rows) < most:
        rows.append([(start, end, chord)])
        return
    earlier = [row for row in rows if row[-1][0] < start]
    if earlier:
        row = min(earlier, key=lambda row: row[-1][1])
        row[-1] = (row[-1][0], start, row[-1][2])
        row.append((start, end, chord))
        return
    row = min(rows, key=lambda row: abs(row[-1][1] - end))
    row[-1] = (start, max(end, row[-1][1]), sorted({*row[-1][2], *chord}))


def _layer(row: list[tuple[int, int, list[int]]]) -> Layer:
    starts, ends, chords = zip(*row, strict=True)
    return Layer(np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64), list(chords))
