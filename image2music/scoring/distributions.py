"""How the eight metrics are spread over an output, and over what its tunes were written after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from image2music.notation.metrics import METRIC_NAMES
from image2music.scoring.pieces import Piece, hear

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Spread:
    """Least value, quartiles and greatest value of `n` values."""

    n: int
    least: float
    lower: float
    median: float
    upper: float
    greatest: float


@dataclass(frozen=True)
class MetricSpread:
    """One metric over the tunes and over their references (each reference as often as it was retrieved).

    `distance` is how far apart the two distributions lie: the area between them (Wasserstein 1), in standard
    deviations of the references; None where either is empty or the references do not vary.
    """

    name: str
    tunes: Spread | None
    references: Spread | None
    distance: float | None


def metric_spreads(pieces: Sequence[Piece], rows: Sequence[dict[str, Any]]) -> list[MetricSpread]:
    """The eight metrics; `rows` are those of the pieces."""
    tunes = [row["metrics"] for row in rows if row["metrics"]]
    heard = [found.metrics.as_dict() for piece in pieces for found in map(hear, piece.references) if found]
    return [_metric(name, _values(name, tunes), _values(name, heard)) for name in METRIC_NAMES]


def spread(values: NDArray[np.float64]) -> Spread | None:
    """The five numbers of float64[n]; None where there are none."""
    return Spread(len(values), *np.quantile(values, _QUANTILES).tolist()) if len(values) else None


def wasserstein(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """The area between two empirical distribution functions, in the values' own unit."""
    both = np.sort(np.concatenate([values, others]))
    left, right = (np.searchsorted(np.sort(x), both[:-1], side="right") / len(x) for x in (values, others))
    return float(np.sum(np.abs(left - right) * np.diff(both)))


def _metric(name: str, tunes: NDArray[np.float64], references: NDArray[np.float64]) -> MetricSpread:
    deviation = float(references.std()) if len(references) else 0.0
    apart = wasserstein(tunes, references) / deviation if len(tunes) and deviation > 0 else None
    return MetricSpread(name, spread(tunes), spread(references), apart)


def _values(name: str, rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    return np.array([row[name] for row in rows if row[name] is not None], dtype=np.float64)
