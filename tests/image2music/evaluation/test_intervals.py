import numpy as np
import pytest
from scipy import stats

from image2music.evaluation.compare import bootstrap_intervals


def column(values):
    return np.array(values, dtype=np.float64)[:, None]


def test_an_interval_is_that_of_scipy_s_percentile_bootstrap():
    values = np.random.default_rng(1).normal(3, 2, 60)
    own = bootstrap_intervals(column(values), seed=0)[0]
    other = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=2).confidence_interval
    assert own.mean == pytest.approx(values.mean())
    assert (own.low, own.high) == pytest.approx((other.low, other.high), abs=0.08)


def test_the_same_seed_gives_the_same_interval():
    values = column(np.random.default_rng(1).normal(size=30))
    assert bootstrap_intervals(values, 5) == bootstrap_intervals(values, 5) != bootstrap_intervals(values, 6)


def test_what_is_not_known_is_left_out():
    values = np.column_stack([np.arange(20.0), np.full(20, np.nan)])
    values[::2, 0] = np.nan
    first, second = bootstrap_intervals(values, 0)
    assert (first.n, first.mean) == (10, 10.0)
    assert (second.n, second.mean, second.low, second.high) == (0, None, None, None)


def test_few_values_give_their_own_range():
    assert bootstrap_intervals(column([1, 2, 6]), 0)[0].low == 1
    assert bootstrap_intervals(column([1, 2, 6]), 0)[0].high == 6


def test_no_rows_at_all_give_empty_intervals():
    assert bootstrap_intervals(np.zeros((0, 2)), 0)[1].n == 0
