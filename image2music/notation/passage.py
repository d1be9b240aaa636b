"""The passage of a piece that says most about it: the bars most like all the others, from the start of a phrase."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from image2music.notation.parts import FloatArray, Part
from image2music.notation.score import IntArray
from image2music.notation.timeline import QUARTER, Bars

_RHYTHM_BINS = 8
_PHRASE = 4
_ON_PHRASE = 0.04
_AFTER_A_BREATH = 0.04
_EARLY = 0.01


def choose_passage(parts: Sequence[Part], bars: Bars, length: int) -> tuple[int, int]:
    """First bar of a passage and the bar after its last.

    A bar is described by how long each pitch class sounds, where in the bar notes begin, and how many parts play;
    it is typical as far as its description is the mean one. Passages that begin a multiple of four bars after the
    first note, or with few notes held over their first bar line, are preferred a little, and earlier ones by less.

    Args:
        parts: the notes.
        bars: all bars of the piece.
        length: bars wanted; a shorter piece gives all it has from its first note on.
    """
    typical, held = _typicality(parts, bars)
    sounding = np.flatnonzero(typical > 0)
    first, last = int(sounding[0]), int(sounding[-1]) + 1
    if last - first <= length:
        return first, last
    sums = np.append(0.0, np.cumsum(typical))
    starts = np.arange(first, last - length + 1)
    scores = (sums[starts + length] - sums[starts]) / length / typical.max()
    scores += _ON_PHRASE * ((starts - first) % _PHRASE == 0) - _EARLY * (starts - first) / (last - first)
    scores -= _AFTER_A_BREATH * held[starts]
    # A passage that begins in silence begins too early.
    scores[typical[starts] == 0] = -1.0
    start = int(starts[scores.argmax()])
    return start, start + length


def _typicality(parts: Sequence[Part], bars: Bars) -> tuple[FloatArray, FloatArray]:
    """How like the mean each bar is, and the share of its notes' parts that hold a note over its first line."""
    n = len(bars)
    heard = [part for part in parts if not part.is_drum] or list(parts)
    onsets = np.concatenate([part.onsets for part in heard])
    ends = onsets + np.concatenate([part.durations for part in heard])
    pitches = np.concatenate([part.pitches for part in heard])
    at = _bar_of(onsets, bars)
    lengths = np.diff(bars.lines)
    weights = np.minimum(ends - onsets, lengths[at]) + QUARTER / 8
    classes = np.bincount(at * 12 + pitches % 12, weights, n * 12).reshape(n, 12)
    place = np.clip((onsets - bars.lines[at]) / lengths[at] * _RHYTHM_BINS, 0, _RHYTHM_BINS - 1).astype(np.int64)
    rhythm = np.bincount(at * _RHYTHM_BINS + place, minlength=n * _RHYTHM_BINS).reshape(n, _RHYTHM_BINS)
    active = np.zeros((n, len(heard)))
    for column, part in enumerate(heard):
        active[_bar_of(part.onsets, bars), column] = 1.0
    described = np.hstack([_unit(classes), _unit(rhythm), _unit(active)])
    typical = described @ described.mean(axis=0)
    crossing = np.searchsorted(bars.lines, ends - QUARTER / 8, "right") - 1 > at
    held = np.bincount(np.minimum(at[crossing] + 1, n - 1), minlength=n) / len(heard)
    return typical, np.minimum(held, 1.0)


def _bar_of(onsets: FloatArray, bars: Bars) -> IntArray:
    """Bar in which a note begins; one a 1/32 early belongs to the next."""
    return np.clip(np.searchsorted(bars.lines, onsets + QUARTER / 8, "right") - 1, 0, len(bars) - 1)


def _unit(rows: NDArray[np.float64] | IntArray) -> FloatArray:
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return rows / np.maximum(lengths, 1e-9)
