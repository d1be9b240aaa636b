"""What a large job takes, by arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.runtime.forecast import Rates, forecast, forecast_lines, workers_for

JOB = {"slice_size": 100, "picture_s": 4.0, "row_bytes": 30_000.0}


def test_ten_workers_take_a_tenth_of_the_time_but_for_what_happens_once():
    rates = Rates(once_s=20.0, end_s=0.0, compact_s=0.0, around_s=0.0, hand_out_s=0.0)
    one, ten = (forecast(100_000, workers, rates=rates, **JOB) for workers in (1, 10))
    assert one.seconds == 20 + 400_000
    assert ten.seconds == 20 + 40_000
    assert ten.machine_hours == pytest.approx(10 * 40_020 / 3600)


def test_more_workers_than_slices_do_not_help():
    assert forecast(1000, 10, **JOB).seconds == forecast(1000, 1000, **JOB).seconds


@given(st.integers(1, 10**8), st.integers(1, 2000), st.floats(0.01, 60))
def test_more_workers_never_take_longer_and_more_pictures_never_less(pictures, workers, picture_s):
    job = {"slice_size": 50, "picture_s": picture_s, "row_bytes": 1.0}
    seconds = forecast(pictures, workers, **job).seconds
    assert forecast(pictures, workers + 1, **job).seconds <= seconds
    assert forecast(pictures + 1, workers, **job).seconds >= seconds - picture_s * 50


@given(st.integers(1, 10**7), st.floats(0.1, 30), st.floats(0.5, 24))
def test_the_fewest_workers_for_a_night_are_enough_and_one_less_is_not(pictures, picture_s, hours):
    needed = workers_for(hours, pictures, 50, picture_s)
    if needed is None:
        assert forecast(pictures, 10**6, 50, picture_s, 1.0).seconds > hours * 3600
        return
    assert forecast(pictures, needed, 50, picture_s, 1.0).seconds <= hours * 3600
    if needed > 1:
        assert forecast(pictures, needed - 1, 50, picture_s, 1.0).seconds > hours * 3600


def test_what_breaks_first_is_named():
    assert forecast(1_000_000, 100, **JOB).first_limit() == ""
    tiny = forecast(100_000_000, 5000, slice_size=1, picture_s=0.5, row_bytes=1.0)
    assert "scheduler" in tiny.first_limit()


def test_a_person_reads_machines_and_hours():
    lines = forecast_lines(100_000, 100, 4.0, 30_000.0)
    assert lines["machines"].startswith("workers and time: 1: 111 h, 10: 11.1 h, 100: 1.1 h; 15 for a night")
    assert "shards" in lines["store"]


def test_what_is_done_within_the_hour_is_said_in_minutes():
    lines = forecast_lines(2, 100, 4.0, 30_000.0)
    assert lines["machines"].startswith("workers and time: 1: 1 min, 10: 1 min")
    assert "requests, 1 shard, " in lines["store"]
