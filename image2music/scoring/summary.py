"""From rows to what score.json holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from image2music.scoring.compare import Difference
from image2music.scoring.distributions import MetricSpread, Spread, metric_spreads, spread
from image2music.scoring.intervals import Interval, intervals
from image2music.scoring.measures import measure_of, place_in_table
from image2music.scoring.pieces import Piece
from image2music.scoring.tunes import figures


@dataclass(frozen=True)
class Summary:
    """One system: a mean with its interval and a spread for each measure, and the eight metrics in more detail."""

    system: str
    pictures: int
    tunes: int
    means: dict[str, Interval]
    spreads: dict[str, Spread | None]
    metrics: list[MetricSpread]


def summarise(system: str, pieces: Sequence[Piece], rows: Sequence[dict[str, Any]], seed: int) -> Summary:
    """The rows of one system, with those of its pieces."""
    values = [figures(row) for row in rows]
    names = sorted({name for row in values for name in row}, key=place_in_table)
    matrix = np.array([[row.get(name, np.nan) for name in names] for row in values], dtype=np.float64)
    matrix = matrix.reshape(len(rows), len(names))
    known = {name: matrix[~np.isnan(matrix[:, i]), i] for i, name in enumerate(names)}
    return Summary(
        system=system,
        pictures=len(rows),
        tunes=sum(piece.score is not None for piece in pieces),
        means=dict(zip(names, intervals(matrix, seed), strict=True)),
        spreads={name: spread(column) for name, column in known.items()},
        metrics=metric_spreads(pieces, rows),
    )


def summary_json(summary: Summary) -> dict[str, Any]:
    """As it stands in score.json."""
    measures = {
        name: asdict(interval)
        | {"meaning": measure_of(name).meaning, "better": measure_of(name).better}
        | _spread_json(summary.spreads[name])
        for name, interval in summary.means.items()
    }
    return {
        "pictures": summary.pictures,
        "tunes": summary.tunes,
        "measures": measures,
        "metrics_against_references": [asdict(metric) for metric in summary.metrics],
    }


def _spread_json(found: Spread | None) -> dict[str, Any]:
    return {} if found is None else {name: value for name, value in asdict(found).items() if name != "n"}


def difference_json(difference: Difference) -> Mapping[str, Any]:
    """As it stands in score.json and ablation.json."""
    return {
        "measure": difference.measure.name,
        "better": difference.measure.better,
        "here": difference.here,
        "there": difference.there,
        "change": asdict(difference.change),
        "bound": difference.bound,
        "beyond_the_interval": difference.is_beyond_the_interval,
        "regression": difference.is_regression,
    }
