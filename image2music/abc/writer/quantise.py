"""Played times to written times: each quarter-long window of a part takes the grid that suits its notes.

Triplets stand in windows that notes divide in thirds, two windows together where a note lies across.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from image2music.music.grid import among, distinct
from image2music.music.score import IntArray
from image2music.music.theory import GRID_QUARTER

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
