"""Means with bootstrap intervals, and distributions of the eight metrics over tunes and their references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from image2music.evaluation.pieces import Piece, hear
from image2music.music.metrics import METRIC_NAMES

Floats = NDArray[np.float64]
RESAMPLES = 2000
LEVEL = 0.95

FEWEST = 8
"""Below this many values resampling says little: the interval is then the range of the values themselves."""
_AT_ONCE = 2**22


@dataclass(frozen=True)
class Interval:
    """The mean of `n` values and the bounds of its 95 % confidence interval. All None where there are no values."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


def bootstrap_intervals(values: Floats, seed: int) -> list[Interval]:
    """Return the mean of each column of float64[n, measures] with its confidence interval; NaN stands for no value.

    Percentile bootstrap (Efron and Tibshirani 1993, chapter 13) with `RESAMPLES` resamples of the rows. All columns
    share the resamples, so that the values of one picture stay together.
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
    """Return float64[RESAMPLES, measures]. Draws are counted by row, so that each mean is a matrix product."""
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


_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Spread:
    """Minimum, quartiles and maximum of `n` values."""

    n: int
    least: float
    lower: float
    median: float
    upper: float
    greatest: float


@dataclass(frozen=True)
class MetricSpread:
    """One metric over the tunes and over their references (each reference as often as it was retrieved).

    `distance` is the Wasserstein-1 distance between the two distributions, in standard deviations of the references;
    None where either is empty or the references do not vary.
    """

    name: str
    tunes: Spread | None
    references: Spread | None
    distance: float | None


def metric_spreads(pieces: Sequence[Piece], rows: Sequence[dict[str, Any]]) -> list[MetricSpread]:
    """Return the distribution of each of the eight metrics; `rows` are the score rows of the pieces, in order."""
    tunes = [row["metrics"] for row in rows if row["metrics"]]
    heard = [found.metrics.as_dict() for piece in pieces for found in map(hear, piece.references) if found]
    return [_metric(name, _values(name, tunes), _values(name, heard)) for name in METRIC_NAMES]


def spread(values: NDArray[np.float64]) -> Spread | None:
    """Return the five-number summary of float64[n]; None where it is empty."""
    return Spread(len(values), *np.quantile(values, _QUANTILES).tolist()) if len(values) else None


def _metric(name: str, tunes: NDArray[np.float64], references: NDArray[np.float64]) -> MetricSpread:
    deviation = float(references.std()) if len(references) else 0.0
    apart = float(wasserstein_distance(tunes, references)) / deviation if len(tunes) and deviation > 0 else None
    return MetricSpread(name, spread(tunes), spread(references), apart)


def _values(name: str, rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    return np.array([row[name] for row in rows if row[name] is not None], dtype=np.float64)
