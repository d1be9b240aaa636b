"""Summaries of systems, paired differences between two of them with regressions, and both as JSON and Markdown.

Means have bootstrap intervals; the eight metrics are shown as distributions over tunes and their references.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from image2music.evaluation.measures import (
    METRICS_PREFIX,
    Measure,
    MetricDifference,
    figures,
    measure_of,
    place_in_table,
)
from image2music.evaluation.pieces import Piece, hear
from image2music.failures import counted
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


Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """One measure of two systems: means over the pictures that both have, and `change`, here minus there."""

    measure: Measure
    here: float
    there: float
    change: Interval
    bound: float | None

    @property
    def is_beyond_the_interval(self) -> bool:
        """Whether zero lies outside of the interval of the change; False below `FEWEST` pictures."""
        low, high = self.change.low, self.change.high
        return self.change.n >= FEWEST and low is not None and high is not None and (low > 0 or high < 0)

    @property
    def is_regression(self) -> bool:
        """Whether the change is worse by more than the bound over the whole interval."""
        if self.bound is None or self.measure.better is None:
            return False
        mildest = self.change.high if self.measure.better == "higher" else self.change.low
        if mildest is None:
            return False
        return (-mildest if self.measure.better == "higher" else mildest) > self.bound

    def reason(self) -> str:
        """Return the regression in one line for a person."""
        change = self.change
        assert change.mean is not None and change.low is not None and change.high is not None
        way = "fell" if change.mean < 0 else "rose"
        return (
            f"{self.measure.name} {way} from {self.there:.3g} to {self.here:.3g} over {counted(change.n, 'picture')} "
            f"(change {change.mean:+.3g}, interval {change.low:+.3g} to {change.high:+.3g}; "
            f"{self.bound:g} may pass): {self.measure.complaint}"
        )


def differences(here: Rows, there: Rows, seed: int, bounds: Mapping[str, float] | None = None) -> list[Difference]:
    """Return every measure that both sides have for at least one picture, with its paired bootstrap interval.

    Pictures are paired by `image_id`; a measure is compared over the pictures for which both sides know it.
    """
    left, right = ({row["image_id"]: figures(row) for row in rows} for rows in (here, there))
    shared = sorted(left.keys() & right.keys())
    names = sorted({name for id in shared for name in left[id].keys() & right[id].keys()}, key=place_in_table)
    if not names:
        return []
    mine, theirs = (_matrix([side[id] for id in shared], names) for side in (left, right))
    changes = bootstrap_intervals(mine - theirs, seed)
    return [_difference(name, mine[:, i], theirs[:, i], changes[i], bounds or {}) for i, name in enumerate(names)]


def regressions(found: Sequence[Difference]) -> list[Difference]:
    """Return the regressions, the one farthest beyond its bound first."""
    worse = [difference for difference in found if difference.is_regression]
    return sorted(worse, key=lambda one: -abs(one.change.mean or 0.0) / max(one.bound or 0.0, 1e-9))


def _difference(
    name: str,
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    change: Interval,
    bounds: Mapping[str, float],
) -> Difference:
    both = ~np.isnan(mine - theirs)
    measure = measure_of(name)
    bound = bounds.get(name, measure.bound)
    return Difference(measure, float(mine[both].mean()), float(theirs[both].mean()), change, bound)


def _matrix(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=np.float64)


@dataclass(frozen=True)
class Summary:
    """One system: mean, interval and five-number summary of each measure, and the metrics beside the references'."""

    system: str
    pictures: int
    tunes: int
    means: dict[str, Interval]
    spreads: dict[str, Spread | None]
    metrics: list[MetricSpread]


def summarise(system: str, pieces: Sequence[Piece], rows: Sequence[dict[str, Any]], seed: int) -> Summary:
    """Summarise the rows of one system; `pieces` are theirs, in the same order."""
    values = [figures(row) for row in rows]
    names = sorted({name for row in values for name in row}, key=place_in_table)
    matrix = np.array([[row.get(name, np.nan) for name in names] for row in values], dtype=np.float64)
    matrix = matrix.reshape(len(rows), len(names))
    known = {name: matrix[~np.isnan(matrix[:, i]), i] for i, name in enumerate(names)}
    return Summary(
        system=system,
        pictures=len(rows),
        tunes=sum(piece.score is not None for piece in pieces),
        means=dict(zip(names, bootstrap_intervals(matrix, seed), strict=True)),
        spreads={name: spread(column) for name, column in known.items()},
        metrics=metric_spreads(pieces, rows),
    )


def summary_json(summary: Summary) -> dict[str, Any]:
    """Return a summary as it stands in score.json."""
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
    """Return a difference as it stands in score.json and ablation.json."""
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


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; `|` in cells is escaped."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def measures_table(summaries: Sequence[Summary]) -> str:
    """Return the table of all measures but the eight metrics: mean and interval, a column for each system."""
    names = sorted({name for one in summaries for name in one.means}, key=place_in_table)
    rows = [
        [name, measure_of(name).better or "", *(_mean(one.means.get(name)) for one in summaries)]
        for name in names
        if not name.startswith(METRICS_PREFIX)
    ]
    counts = [["pictures", "", *(str(one.pictures) for one in summaries)]]
    return markdown_table(["measure", "better", *(one.system for one in summaries)], [*counts, *rows])


def metrics_table(summary: Summary) -> str:
    """Return the table of the eight metrics of one system beside those of its references."""
    rows = [
        [one.name, _spread(one.tunes), _spread(one.references), format_figure(one.distance)] for one in summary.metrics
    ]
    return markdown_table(["metric", "tunes", "references", "distance"], rows)


def muspy_table(found: Sequence[MetricDifference]) -> str:
    """Return the largest difference between MusPy's metrics and ours, a row for each metric."""
    rows = [
        [one.name, str(one.tunes), "" if one.largest is None else f"{one.largest:.1e}", str(one.undefined)]
        for one in found
    ]
    return markdown_table(
        ["metric", "tunes", "largest difference from MusPy's", "tunes where one of the two is undefined"], rows
    )


def differences_table(found: Sequence[Difference], here: str, there: str) -> str:
    """Return the table of differences: both means, the change with its interval, the bound, and a verdict."""
    rows = [
        [
            one.measure.name,
            one.measure.better or "",
            format_figure(one.here),
            format_figure(one.there),
            change_text(one.change),
            format_figure(one.bound),
            _verdict(one),
        ]
        for one in found
    ]
    return markdown_table(["measure", "better", here, there, "change", "bound", ""], rows)


def _verdict(difference: Difference) -> str:
    if difference.is_regression:
        return "regression"
    if difference.change.n < FEWEST:
        return "too few pictures"
    if not difference.is_beyond_the_interval:
        return "within chance"
    better, mean = difference.measure.better, difference.change.mean or 0.0
    if better is None:
        return "changed"
    return "better" if (mean > 0) == (better == "higher") else "worse"


def change_text(change: Interval) -> str:
    """Return a change with its sign and interval; empty where there is none."""
    if change.mean is None:
        return ""
    return f"{change.mean:+.3g} ({change.low:+.3g} to {change.high:+.3g})"


def format_figure(value: float | None) -> str:
    """Return a number with three digits; empty for None."""
    return "" if value is None else f"{value:.3g}"


def _mean(interval: Interval | None) -> str:
    if interval is None or interval.mean is None:
        return ""
    return f"{format_figure(interval.mean)} ({format_figure(interval.low)} to {format_figure(interval.high)})"


def _spread(found: Spread | None) -> str:
    if found is None:
        return ""
    numbers = (found.least, found.lower, found.median, found.upper, found.greatest)
    return " · ".join(format_figure(value) for value in numbers)
