"""A piece laid out for writing: voices on the grid, chords, bars, keys and tempos; not yet text.

The notes of a part are divided into layers that an ABC voice can hold: one chord at a time, no two overlapping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from image2music.abc.writer.quantise import QuantiseConfig, QuantisedNotes, quantise
from image2music.music.grid import (
    Bars,
    Part,
    bars_after_pickup,
    bars_of,
    only_meter,
    parts_of,
    pickup_of,
    tempos_of,
    windows_of,
)
from image2music.music.keys import keys_of
from image2music.music.score import IntArray, Score, TempoChange
from image2music.music.theory import GRID_QUARTER, Key

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


def layers_of(notes: QuantisedNotes, most: int) -> list[Layer]:
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


def _chords(notes: QuantisedNotes) -> tuple[IntArray, IntArray, list[Chord]]:
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


MAX_VOICES = 30
"""Most voices in a sheet: abc2midi stops at about forty."""
MAX_LAYERS = 6
_EIGHTHS_SHARE = 0.6


@dataclass(frozen=True)
class LaidOutVoice:
    """A layer and the part that plays it."""

    layer: Layer
    program: int
    channel: int
    is_drum: bool

    @property
    def n_notes(self) -> int:
        """Notes, those of a chord one by one."""
        return sum(map(len, self.layer.chords))


@dataclass(frozen=True)
class Layout:
    """Everything that is written. `keys` holds the key of each bar, tempos count grid ticks; the first tempo is at 0.

    `unit` is the unit note length in grid ticks.
    """

    voices: tuple[LaidOutVoice, ...]
    bars: Bars
    keys: tuple[Key, ...]
    tempos: tuple[TempoChange, ...]
    unit: int


def lay_out(score: Score, config: QuantiseConfig) -> Layout:
    """Put a whole score on the grid.

    Raises:
        MidiError: reason `too_large` where the meters make too many bars.
    """
    parts = parts_of(score)
    bars = bars_with_pickup(score, parts)
    windows = windows_of(bars)
    notes = [written(part, windows, config) for part in parts]
    voices = _within_limits(parts, notes)
    return Layout(tuple(voices), bars, keys_of(score, parts, bars), tempos_of(score), unit_of(voices))


def bars_with_pickup(score: Score, parts: Sequence[Part]) -> Bars:
    """Return the bars of a whole piece, the first of them a pick-up where the notes show one."""
    end, meter = _grid_end(parts), only_meter(score)
    pickup = pickup_of(parts, meter) if meter else 0
    return bars_after_pickup(pickup, meter, end) if meter and pickup else bars_of(score, end)


def _grid_end(parts: Sequence[Part]) -> int:
    """Return the grid tick that the bars must reach.

    A note that begins within a rounding of the last bar line needs another bar to begin in.
    """
    end = max(float((part.onsets + part.durations).max()) for part in parts)
    last = max(float(part.onsets.max()) for part in parts)
    return int(max(end, last + GRID_QUARTER / 8 + 1))


def _within_limits(parts: Sequence[Part], notes: Sequence[QuantisedNotes]) -> list[LaidOutVoice]:
    """Return the voices of all parts, with as many layers for each as keep them within `MAX_VOICES`."""
    for most_layers in range(MAX_LAYERS, 0, -1):
        voices = [
            voice for part, own in zip(parts, notes, strict=True) for voice in lay_out_voices(part, own, most_layers)
        ]
        if len(voices) <= MAX_VOICES:
            break
    return voices


def written(part: Part, windows: IntArray, config: QuantiseConfig) -> QuantisedNotes:
    """Return a part's notes on the grid."""
    return quantise(part.onsets, part.durations, part.pitches, windows, config)


def lay_out_voices(part: Part, notes: QuantisedNotes, most_layers: int) -> list[LaidOutVoice]:
    """Return the layers of one part."""
    layers = layers_of(notes, most_layers)
    return [LaidOutVoice(layer, part.program, part.channel, part.is_drum) for layer in layers]


def unit_of(voices: Sequence[LaidOutVoice]) -> int:
    """Return the unit length in grid ticks: an eighth, or a sixteenth where most notes are short."""
    lengths = np.concatenate([voice.layer.ends - voice.layer.starts for voice in voices])
    eighth = GRID_QUARTER // 2
    # A third of a quarter is written as an eighth in a triplet.
    plain = (lengths % eighth == 0) | (lengths % (GRID_QUARTER // 3) == 0)
    return eighth if plain.mean() >= _EIGHTHS_SHARE else eighth // 2
