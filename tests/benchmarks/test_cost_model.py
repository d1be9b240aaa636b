"""Fitting the constants of the cost model."""

import pytest

from benchmarks.cost_model import Fit, Run, errors_left_out, fit


def run_of(constants: Fit, pictures: int, workers: int, size: int) -> Run:
    """A run that takes exactly what the constants say."""
    made = Run("fake:0.3", pictures, workers, -(-pictures // size), 0.3, 0.0, 0, 0.0)
    return Run(**{**vars(made), "seconds": constants.seconds(made)})


CONSTANTS = Fit(once_s=12.0, picture_s=0.05, around_s=1.5)
RUNS = [run_of(CONSTANTS, *case) for case in ((200, 1, 64), (1000, 1, 16), (1000, 2, 64), (2000, 4, 16), (5000, 8, 64))]


def test_constants_that_made_the_runs_are_found_in_them():
    assert vars(fit(RUNS)) == pytest.approx(vars(CONSTANTS), rel=1e-6)


def test_a_run_left_out_is_foretold_where_the_runs_keep_to_the_formula():
    assert max(map(abs, errors_left_out(RUNS))) < 1e-6


def test_no_constant_is_below_zero_whatever_the_runs_say():
    odd = [Run(**{**vars(run), "seconds": run.seconds - 11.5}) for run in RUNS]
    assert min(vars(fit(odd)).values()) >= 0
