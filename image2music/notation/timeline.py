"""The grid that notation is written on: ticks of 1/48 quarter, bar lines from the meters, quarter-long windows."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from image2music.errors import MidiError
from image2music.notation.score import IntArray, MeterChange, Score

QUARTER = 48
"""Grid ticks in a quarter note: the least number that holds both 1/64 notes and triplets of 1/32 notes."""

MAX_BARS = 50_000

Meter = tuple[int, int]

_SIXTEENTH = QUARTER // 4
_WHOLE = QUARTER * 4


@dataclass(frozen=True)
class Bars:
    """Bar lines in grid ticks (int64[n + 1], first 0) and the meter of each of the n bars.

    A bar cut short by the next meter has its own length as its meter. The first bar may be a pick-up, shorter than
    its meter says, and the last bar what completes it.
    """

    lines: IntArray
    meters: tuple[Meter, ...]

    def __len__(self) -> int:
        return len(self.meters)


def bar_length(meter: Meter) -> int:
    """Length of a bar in grid ticks."""
    return meter[0] * _WHOLE // meter[1]


def only_meter(score: Score) -> Meter | None:
    """The meter of a score that never changes it, 4/4 where it names none; None where there are several."""
    meters = {meter for _, meter in _writable_changes(score)}
    return meters.pop() if len(meters) == 1 else None


def bars_after_pickup(pickup: int, meter: Meter, end: int) -> Bars:
    """Bars of one meter that cover grid ticks 0 to `end`, the first `pickup` long, the last what it leaves of a bar."""
    length = bar_length(meter)
    n = max(2, -(-end // length))
    _refuse_more_than_most(n + 1)
    return Bars(np.concatenate([[0], pickup + length * np.arange(n), [n * length]]), (meter,) * (n + 1))


def bars_of(score: Score, end: int) -> Bars:
    """Bars that cover grid ticks 0 to `end`; 4/4 where the score names no meter.

    Raises:
        MidiError: reason `too_large` when there would be more than `MAX_BARS`.
    """
    changes = _writable_changes(score)
    _refuse_more_than_most(sum(-(-_span(here, after, end) // bar_length(here[1])) for here, after in _pairs(changes)))
    lines: list[int] = [0]
    meters: list[Meter] = []
    for (start, meter), after in _pairs(changes):
        stop = end if after is None else min(after[0], end)
        whole, rest = divmod(max(0, stop - start), bar_length(meter))
        lines.extend(start + bar_length(meter) * np.arange(1, whole + 1))
        meters.extend([meter] * whole)
        if rest and stop == end:
            lines.append(lines[-1] + bar_length(meter))
            meters.append(meter)
            break
        if rest:
            lines.append(stop)
            is_pickup = not meters and 2 * rest <= bar_length(meter)
            meters.append(meter if is_pickup else meter_of_length(rest))
    if not meters:
        return Bars(np.array([0, bar_length(changes[0][1])]), (changes[0][1],))
    return Bars(np.array(lines, dtype=np.int64), tuple(meters))


Change = tuple[int, Meter]


def _refuse_more_than_most(n_bars: int) -> None:
    if n_bars > MAX_BARS:
        raise MidiError(f"the meters make {n_bars} bars; at most {MAX_BARS} are written", reason="too_large")


def _pairs(changes: list[Change]) -> list[tuple[Change, Change | None]]:
    return list(zip(changes, [*changes[1:], None], strict=True))


def _span(here: Change, after: Change | None, end: int) -> int:
    return max(0, min(end, end if after is None else after[0]) - here[0])


def _writable_changes(score: Score) -> list[Change]:
    """Meter changes on the grid, snapped to the running bar lines when a sixteenth or less away."""
    changes: list[Change] = [(0, (4, 4))]
    for change in score.meters:
        meter = (change.numerator, change.denominator)
        if not _writable(change):
            continue
        start, running = changes[-1]
        tick = round(change.tick * QUARTER / score.ticks_per_quarter / _SIXTEENTH) * _SIXTEENTH
        since = max(0, tick - start)
        nearest = start + round(since / bar_length(running)) * bar_length(running)
        tick = nearest if abs(nearest - tick) <= _SIXTEENTH else start + since
        if tick == start:
            changes[-1] = (start, meter)
        elif meter != running or tick != nearest:
            changes.append((tick, meter))
    return changes


def _writable(change: MeterChange) -> bool:
    return change.denominator in (1, 2, 4, 8, 16, 32) and 0 < change.numerator * 16 <= change.denominator * 16 * 16


def meter_of_length(length: int) -> Meter:
    """Meter, in quarters or shorter notes, of a bar that holds `length` grid ticks, which are whole 1/32 notes."""
    notes = length // (QUARTER // 8)
    common = gcd(notes, 8)
    return notes // common, 32 // common


def windows_of(bars: Bars) -> IntArray:
    """Edges of the windows in which one grid is chosen: quarters from each bar line, eighths in compound meters."""
    return _divided(bars, [QUARTER // 2 if is_compound(meter) else QUARTER for meter in bars.meters])


def beats_of(bars: Bars) -> IntArray:
    """Grid ticks of the beats: quarters from each bar line, groups of three in compound meters."""
    return _divided(bars, [3 * _WHOLE // meter[1] if is_compound(meter) else QUARTER for meter in bars.meters])


def is_compound(meter: Meter) -> bool:
    """Whether beats are groups of three: 6/8, 9/8, 12/8, 6/16."""
    return meter[0] % 3 == 0 and meter[0] > 3 and meter[1] >= 8


def _divided(bars: Bars, sizes: list[int]) -> IntArray:
    size = np.array(sizes)
    per_bar = -(-np.diff(bars.lines) // size)
    nth = np.arange(per_bar.sum()) - np.repeat(np.cumsum(per_bar) - per_bar, per_bar)
    return np.append(np.repeat(bars.lines[:-1], per_bar) + nth * np.repeat(size, per_bar), bars.lines[-1])
