"""Summaries and differences as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from image2music.scoring.compare import Difference
from image2music.scoring.distributions import Spread
from image2music.scoring.intervals import FEWEST, Interval
from image2music.scoring.measures import METRICS_PREFIX, measure_of, place_in_table
from image2music.scoring.summary import Summary


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars in cells are escaped."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def measures_table(summaries: Sequence[Summary]) -> str:
    """Every measure but the eight metrics, a column for each system: mean and interval."""
    names = sorted({name for one in summaries for name in one.means}, key=place_in_table)
    rows = [
        [name, measure_of(name).better or "", *(_mean(one.means.get(name)) for one in summaries)]
        for name in names
        if not name.startswith(METRICS_PREFIX)
    ]
    counts = [["pictures", "", *(str(one.pictures) for one in summaries)]]
    return markdown_table(["measure", "better", *(one.system for one in summaries)], [*counts, *rows])


def metrics_table(summary: Summary) -> str:
    """The eight metrics of one system beside those of its references."""
    rows = [[one.name, _spread(one.tunes), _spread(one.references), number(one.distance)] for one in summary.metrics]
    return markdown_table(["metric", "tunes", "references", "distance"], rows)


def differences_table(found: Sequence[Difference], here: str, there: str) -> str:
    """Each measure on both sides, its change with the interval, and what to think of it."""
    rows = [
        [
            one.measure.name,
            one.measure.better or "",
            number(one.here),
            number(one.there),
            change_text(one.change),
            number(one.bound),
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
    """A change with its sign and interval."""
    if change.mean is None:
        return ""
    return f"{change.mean:+.3g} ({change.low:+.3g} to {change.high:+.3g})"


def number(value: float | None) -> str:
    """Three digits; empty for None."""
    return "" if value is None else f"{value:.3g}"


def _mean(interval: Interval | None) -> str:
    if interval is None or interval.mean is None:
        return ""
    return f"{number(interval.mean)} ({number(interval.low)} to {number(interval.high)})"


def _spread(found: Spread | None) -> str:
    if found is None:
        return ""
    numbers = (found.least, found.lower, found.median, found.upper, found.greatest)
    return " · ".join(number(value) for value in numbers)
