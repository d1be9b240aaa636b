"""Where triplets are: windows that notes divide in thirds, two of them together where a note lies across."""

from __future__ import annotations

import numpy as np

from image2music.notation.score import IntArray
from image2music.notation.ticks import among, distinct
from image2music.notation.timeline import QUARTER

_FINEST = QUARTER // 16


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
    crossed &= (ends[:-1] - begins[:-1] == QUARTER) & (ends[1:] - begins[1:] == QUARTER)
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
