"""A piece laid out for writing: played times on the grid, chords, voices, bars, keys and tempos; not yet text.

Each quarter-long window of a part takes the grid that suits its notes. Triplets stand in windows that notes divide in
thirds, two windows together where a note lies across. The notes of a part are then divided into layers that an ABC
voice can hold: one chord at a time, no two overlapping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from image2music.music.grid import (
    Bars,
    Part,
    among,
    bars_after_pickup,
    bars_of,
    distinct,
    keys_of,
    only_meter,
    parts_of,
    pickup_of,
    tempos_of,
    windows_of,
)
from image2music.music.score import IntArray, Score, TempoChange
from image2music.music.theory import GRID_QUARTER, Key

FloatArray = NDArray[np.float64]
_STRUM = GRID_QUARTER / 12


@dataclass(frozen=True)
class QuantiseConfig:
    """What a grid costs and how far an end may move.

    `divisions` are parts of a quarter note that a window may be cut in, the plainest first, `penalties` what each
    costs against a squared error of one note in (quarters / 10) squared. `slack` (quarters) is error that costs
    nothing. A `collision` is what it costs to write two notes as one. An end moves to the nearest onset of its part
    within `reach` quarters, or else to a grid at least as fine as `ends` divisions of the quarter in a triplet. A
    note is cut off where its pitch is struck again, unless it was held for more than `held` quarters after that.
    """

    divisions: tuple[int, ...] = (4, 3, 8, 6, 16, 12)
    penalties: tuple[float, ...] = (0.0, 0.3, 0.6, 0.7, 1.4, 1.5)
    slack: float = 0.02
    collision: float = 2.0
    reach: float = 0.12
    ends: int = 6
    held: float = 0.13

    def __post_init__(self) -> None:
        if len(self.divisions) != len(self.penalties):
            raise ValueError("give one penalty for each division")
        if any(GRID_QUARTER % division for division in self.divisions):
            raise ValueError(f"divisions must divide {GRID_QUARTER}")


FAITHFUL = QuantiseConfig()
"""For whole files: what was played comes first."""

PLAIN = QuantiseConfig(penalties=(0.0, 0.8, 2.0, 2.5, 6.0, 6.0), reach=0.25, ends=3, held=math.inf)
"""For excerpts: what reads well comes first."""


@dataclass(frozen=True)
class QuantisedNotes:
    """Notes on the grid, int64[n] grid ticks each, sorted by start, end, pitch; no two have one start and pitch."""

    starts: IntArray
    ends: IntArray
    pitches: IntArray

    def __len__(self) -> int:
        return len(self.starts)


def quantise(
    onsets: FloatArray, durations: FloatArray, pitches: IntArray, windows: IntArray, config: QuantiseConfig = FAITHFUL
) -> QuantisedNotes:
    """Put notes on the grid.

    Args:
        onsets: float64[n] in grid ticks, ascending.
        durations: float64[n] in grid ticks.
        pitches: int64[n].
        windows: int64[m + 1] edges of the windows, covering every onset.
        config: what may be chosen.

    Returns:
        The notes; those that fall on the same start and pitch become one.
    """
    steps = _window_steps(onsets, pitches, windows, config)
    starts = np.minimum(_rounded(onsets, windows, steps), windows[-1] - 3)
    ends = _ends(starts, durations, windows, steps, config)
    return _without_doubles(starts, ends, pitches, config)


def _window_of(times: FloatArray | IntArray, windows: IntArray) -> IntArray:
    return np.clip(np.searchsorted(windows, times, "right") - 1, 0, len(windows) - 2)


def _rounded(times: FloatArray, windows: IntArray, steps: IntArray) -> IntArray:
    at = _window_of(times, windows)
    edges, step = windows[at], steps[at]
    return np.minimum(edges + np.rint((times - edges) / step).astype(np.int64) * step, windows[at + 1])


def _window_steps(onsets: FloatArray, pitches: IntArray, windows: IntArray, config: QuantiseConfig) -> IntArray:
    """Return the grid step of each window, int64[m] in grid ticks: the division with the least cost."""
    plainest = GRID_QUARTER // config.divisions[0]
    steps = np.full(len(windows) - 1, plainest)
    at = _window_of(onsets, windows)
    relative = onsets - windows[at]
    if np.abs(relative - np.rint(relative / plainest) * plainest).max() <= config.slack * GRID_QUARTER:
        return steps
    used, index = np.unique(at, return_inverse=True)
    choices = GRID_QUARTER // np.array(config.divisions)
    on_grid = np.rint(relative / choices[:, None]) * choices[:, None]
    error = np.maximum(np.abs(on_grid - relative) / GRID_QUARTER - config.slack, 0)
    cost = np.stack([np.bincount(index, row, len(used)) for row in 100 * error**2]).astype(np.float64)
    cost += config.collision * _collisions(on_grid + windows[at], onsets, pitches, index, len(used))
    cost += np.array(config.penalties)[:, None]
    cost[np.diff(windows)[used] % choices[:, None] != 0] = np.inf
    steps[used] = choices[cost.argmin(axis=0)]
    return steps


def _collisions(
    on_grid: FloatArray, onsets: FloatArray, pitches: IntArray, index: IntArray, n_windows: int
) -> FloatArray:
    """Count notes that fall on one place though they are of one pitch or began apart, float64[divisions, windows]."""
    order = np.argsort(pitches, kind="stable")
    same_pitch = np.diff(pitches[order]) == 0
    meets = (np.diff(on_grid[:, order], axis=1) == 0) & same_pitch
    repeated = np.stack([np.bincount(index[order][1:], row, n_windows) for row in meets])
    merges = (np.diff(on_grid, axis=1) == 0) & (np.diff(onsets) > _STRUM)
    merged = np.stack([np.bincount(index[1:], row, n_windows) for row in merges])
    return (repeated + merged).astype(np.float64)


def _ends(
    starts: IntArray, durations: FloatArray, windows: IntArray, steps: IntArray, config: QuantiseConfig
) -> IntArray:
    """Put ends on the grid of the window they fall in, or on a near onset, so that durations are kept."""
    played = starts + durations
    onsets = distinct(starts)
    after = np.minimum(np.searchsorted(onsets, played), len(onsets) - 1)
    nearest = onsets[after]
    before = onsets[np.maximum(after - 1, 0)]
    nearest = np.where(np.abs(before - played) < np.abs(nearest - played), before, nearest)
    near = (np.abs(nearest - played) <= config.reach * GRID_QUARTER) & (nearest > starts)
    # A triplet's own step, a third of a quarter, is too coarse for how long its notes are held.
    steps = np.where(steps % 3, np.minimum(steps, GRID_QUARTER // config.ends), steps)
    ends = np.where(near, nearest, _rounded(played, windows, steps))
    step = steps[_window_of(starts, windows)]
    # Nothing shorter than a 1/32 is made of a short note: players that spread chords lose count of such chords.
    least = np.where((durations < 0.5 * step) & (step == GRID_QUARTER // 4), step // 2, step)
    return np.minimum(np.maximum(ends, starts + least), windows[-1])


def _without_doubles(starts: IntArray, ends: IntArray, pitches: IntArray, config: QuantiseConfig) -> QuantisedNotes:
    order = np.lexsort((ends, starts, pitches))
    starts, ends, pitches = starts[order], ends[order], pitches[order]
    same_pitch = np.diff(pitches) == 0
    # Of notes with one start and pitch the last in this order, the longest, stays.
    keep = np.append(~(same_pitch & (np.diff(starts) == 0)), True)
    starts, ends, pitches = starts[keep], ends[keep], pitches[keep]
    overlap = ends[:-1] - starts[1:]
    cut = (np.diff(pitches) == 0) & (overlap > 0) & (overlap <= config.held * GRID_QUARTER)
    ends[:-1] = np.where(cut, starts[1:], ends[:-1])
    order = np.lexsort((pitches, ends, starts))
    return QuantisedNotes(starts[order], ends[order], pitches[order])


_FINEST = GRID_QUARTER // 16


def tuplet_spans(edges: IntArray, windows: IntArray, bar_lines: IntArray) -> IntArray:
    """Spans to be written as triplets, int64[k, 2] of beginnings and ends in grid ticks, ascending.

    Args:
        edges: where notes begin or end; those off the grid of 1/64 notes are in a triplet.
        windows: edges of the windows that were quantised one by one.
        bar_lines: no span crosses one.
    """
    odd = edges[edges % _FINEST != 0]
    if not len(odd):
        return np.empty((0, 2), dtype=np.int64)
    at = distinct(np.searchsorted(windows, odd, "right") - 1)
    begins, ends = windows[at], windows[at + 1]
    crossed = (ends[:-1] == begins[1:]) & ~among(ends[:-1], np.sort(edges)) & ~among(ends[:-1], bar_lines)
    crossed &= (ends[:-1] - begins[:-1] == GRID_QUARTER) & (ends[1:] - begins[1:] == GRID_QUARTER)
    spans: list[tuple[int, int]] = []
    joined = False
    for begin, end, crosses in zip(begins.tolist(), ends.tolist(), [*crossed.tolist(), False], strict=True):
        if joined:
            spans[-1] = (spans[-1][0], end)
            joined = False
        else:
            spans.append((begin, end))
            joined = crosses
    return np.array(spans, dtype=np.int64)


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
    name: str = ""

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
    return [LaidOutVoice(layer, part.program, part.channel, part.is_drum, part.name) for layer in layers]


def unit_of(voices: Sequence[LaidOutVoice]) -> int:
    """Return the unit length in grid ticks: an eighth, or a sixteenth where most notes are short."""
    lengths = np.concatenate([voice.layer.ends - voice.layer.starts for voice in voices])
    eighth = GRID_QUARTER // 2
    # A third of a quarter is written as an eighth in a triplet.
    plain = (lengths % eighth == 0) | (lengths % (GRID_QUARTER // 3) == 0)
    return eighth if plain.mean() >= _EIGHTHS_SHARE else eighth // 2
