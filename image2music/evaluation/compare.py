"""Summaries of systems, paired differences between two of them with regressions, and both as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from image2music.evaluation.measures import METRICS_PREFIX, Measure, figures, measure_of, place_in_table
from image2music.evaluation.muspy_check import MetricDifference
from image2music.evaluation.pieces import Piece
from image2music.evaluation.statistics import (
    FEWEST,
    Interval,
    MetricSpread,
    Spread,
    bootstrap_intervals,
    metric_spreads,
    spread,
)

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
            f"{self.measure.name} {way} from {self.there:.3g} to {self.here:.3g} over {change.n} pictures "
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
