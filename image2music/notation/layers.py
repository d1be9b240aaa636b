"""Notes of one part to layers that an ABC voice can hold: one chord at a time, no two overlapping."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from image2music.notation.quantise import Written
from image2music.notation.score import IntArray

Chord = tuple[int, ...]
"""Pitches, ascending."""


@dataclass(frozen=True)
class Layer:
    """Chords in order: starts and ends int64[n] in grid ticks."""

    starts: IntArray
    ends: IntArray
    chords: list[Chord]

    def __len__(self) -> int:
        return len(self.starts)


def layers_of(notes: Written, most: int) -> list[Layer]:
    """Lay notes out in at most `most` layers; where more would sound at once a chord is cut short, none is lost."""
    starts, ends, chords = _chords(notes)
    crowded = np.fromiter(map(len, chords), np.int64, len(chords)) > ends - starts
    if bool((starts[1:] >= ends[:-1]).all()) and not crowded.any():
        return [Layer(starts, ends, chords)]
    rows: list[_Row] = []
    for start, end, chord in zip(starts.tolist(), ends.tolist(), chords, strict=True):
        # abc2midi begins the notes of a chord 1/48 quarter apart, and goes astray where they begin after its end.
        size = max(1, end - start)
        if len(chord) <= size:
            _place(rows, start, end, chord, most)
            continue
        for at in range(0, len(chord), size):
            _place(rows, start, end, chord[at : at + size], most)
    return [row.layer() for row in rows]


def _chords(notes: Written) -> tuple[IntArray, IntArray, list[Chord]]:
    new = np.append(True, (np.diff(notes.starts) != 0) | (np.diff(notes.ends) != 0))
    first = np.flatnonzero(new)
    bounds = [*first.tolist(), len(notes)]
    pitches = tuple(notes.pitches.tolist())
    chords = [pitches[a:b] for a, b in pairwise(bounds)]
    return notes.starts[first], notes.ends[first], chords


class _Row:
    """A layer that grows; `free` is where its last chord ends, `top` that chord's highest pitch."""

    __slots__ = ("chords", "ends", "free", "starts", "top")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.chords: list[Chord] = []

    def add(self, start: int, end: int, chord: Chord) -> None:
        self.starts.append(start)
        self.ends.append(end)
        self.chords.append(chord)
        self.free, self.top = end, chord[-1]

    def cut(self, end: int) -> None:
        """End the last chord elsewhere."""
        self.ends[-1] = self.free = end

    def join(self, chord: Chord) -> None:
        """More pitches for the last chord."""
        self.chords[-1] = joined = tuple(sorted({*self.chords[-1], *chord}))
        self.top = joined[-1]

    def layer(self) -> Layer:
        return Layer(np.array(self.starts, dtype=np.int64), np.array(self.ends, dtype=np.int64), self.chords)


def _place(rows: list[_Row], start: int, end: int, chord: Chord, most: int) -> None:
    top, nearest, chosen = chord[-1], 128, None
    for row in rows:
        # The row whose last chord lies nearest keeps melodies together.
        if row.free <= start and abs(row.top - top) < nearest:
            nearest, chosen = abs(row.top - top), row
    if chosen is None and len(rows) < most:
        chosen = _Row()
        rows.append(chosen)
    if chosen is not None:
        chosen.add(start, end, chord)
        return
    earlier = [row for row in rows if row.starts[-1] < start]
    if earlier:
        row = min(earlier, key=lambda row: row.free)
        row.cut(start)
        row.add(start, end, chord)
        return
    row = min(rows, key=lambda row: abs(row.free - end))
    row.cut(max(end, row.free))
    row.join(chord)
