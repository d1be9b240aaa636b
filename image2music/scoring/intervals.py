"""Means with bootstrap intervals, from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
FEWEST = 8
"""Below so many values resampling says little: the interval is then the range of the values themselves."""

_AT_ONCE = 2**22


@dataclass(frozen=True)
class Interval:
    """A mean of `n` values, and where it lies with 95 % confidence. All None where there are no values."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


def intervals(values: Floats, seed: int) -> list[Interval]:
    """The mean of each column of float64[n, measures] with its interval; NaN stands for no value.

    Percentile bootstrap (Efron and Tibshirani 1993, chapter 13) with `RESAMPLES` resamples of the rows, the same for
    every column, so that what belongs to one picture stays together.
    """
    n, columns = values.shape
    known = ~np.isnan(values)
    means = _resampled_means(np.where(known, values, 0.0), known.astype(np.float64), seed) if n else None
    return [_interval(values[known[:, i], i], None if means is None else means[:, i]) for i in range(columns)]


def _interval(values: Floats, means: Floats | None) -> Interval:
    if not len(values):
        return Interval(0, None, None, None)
    mean = float(values.mean())
    if len(values) < FEWEST or means is None:
        return Interval(len(values), mean, float(values.min()), float(values.max()))
    low, high = np.nanquantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Interval(len(values), mean, low, high)


def _resampled_means(values: Floats, known: Floats, seed: int) -> Floats:
    """float64[RESAMPLES, measures]; how often each row is drawn is counted, so that a mean is a matrix product."""
    random = np.random.default_rng(seed)
    n = len(values)
    step = max(1, _AT_ONCE // n)
    parts = []
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        drawn = random.integers(0, n, (size, n)) + np.arange(size)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(counts @ values / (counts @ known))
    return np.concatenate(parts)
