"""Two systems' rows picture by picture: what differs, by how much, and whether that is a regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from image2music.scoring.intervals import FEWEST, Interval, intervals
from image2music.scoring.measures import Measure, measure_of, place_in_table
from image2music.scoring.tunes import figures

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """One measure: `here` and `there` are means over the pictures that both have, `change` is here minus there."""

    measure: Measure
    here: float
    there: float
    change: Interval
    bound: float | None

    @property
    def is_beyond_the_interval(self) -> bool:
        """Whether no change at all lies outside of the interval; with too few pictures that says nothing."""
        low, high = self.change.low, self.change.high
        return self.change.n >= FEWEST and low is not None and high is not None and (low > 0 or high < 0)

    @property
    def is_regression(self) -> bool:
        """Whether even the mildest change that the interval allows is worse by more than the bound."""
        if self.bound is None or self.measure.better is None:
            return False
        mildest = self.change.high if self.measure.better == "higher" else self.change.low
        if mildest is None:
            return False
        return (-mildest if self.measure.better == "higher" else mildest) > self.bound

    def reason(self) -> str:
        """The regression in one line."""
        change = self.change
        assert change.mean is not None and change.low is not None and change.high is not None
        way = "fell" if change.mean < 0 else "rose"
        return (
            f"{self.measure.name} {way} from {self.there:.3g} to {self.here:.3g} over {change.n} pictures "
            f"(change {change.mean:+.3g}, interval {change.low:+.3g} to {change.high:+.3g}; "
            f"{self.bound:g} may pass): {self.measure.complaint}"
        )


def differences(here: Rows, there: Rows, seed: int, bounds: Mapping[str, float] | None = None) -> list[Difference]:
    """Every measure that both sides have for at least one picture, with the paired bootstrap interval of its change.

    Pictures are paired by `image_id`; a measure is compared where both sides know it.
    """
    left, right = ({row["image_id"]: figures(row) for row in rows} for rows in (here, there))
    shared = sorted(left.keys() & right.keys())
    names = sorted({name for id in shared for name in left[id].keys() & right[id].keys()}, key=place_in_table)
    if not names:
        return []
    mine, theirs = (_matrix([side[id] for id in shared], names) for side in (left, right))
    changes = intervals(mine - theirs, seed)
    return [_difference(name, mine[:, i], theirs[:, i], changes[i], bounds or {}) for i, name in enumerate(names)]


def regressions(found: Sequence[Difference]) -> list[Difference]:
    """The regressions, the one farthest beyond its bound first."""
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
