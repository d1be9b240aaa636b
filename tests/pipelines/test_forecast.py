"""What a large job takes, by arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.runtime.forecast import (
    MANY_PICTURES,
    Rates,
    duration,
    forecast,
    machine_lines,
    most_pictures,
    store_line,
    workers_for,
)

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


def loads(pictures, workers, slice_size):
    """What each worker does where slices are dealt out in turn."""
    sizes = [min(slice_size, pictures - begin) for begin in range(0, pictures, slice_size)]
    return [sum(sizes[worker::workers]) for worker in range(workers)]


@given(st.integers(1, 500), st.integers(1, 20), st.integers(1, 80))
def test_the_busiest_worker_has_the_most_pictures_of_all(pictures, workers, slice_size):
    assert most_pictures(pictures, workers, slice_size) == max(loads(pictures, workers, slice_size))


def test_a_person_reads_machines_and_hours():
    lines = machine_lines(100_000, 100, 4.0)
    assert lines["machines"] == "1 worker 111 h, 10 workers 11.1 h, 100 workers 1.1 h; 15 for a night of 8 hours"
    assert " requests where all lies in one; " in store_line(100_000, 10, 100, 4.0, 30_000.0)


def test_for_an_album_nobody_asks_how_many_machines_to_take():
    assert machine_lines(MANY_PICTURES, 64, 4.0) == {}
    assert store_line(2, 1, 64, 4.0, 30_000.0).endswith("; 1 file of rows")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 s"), (34.2, "35 s"), (89.9, "90 s"), (90.0, "2 min"), (3599.0, "60 min"), (5400.0, "1.5 h")],
)
def test_a_time_is_said_in_the_unit_that_people_would_name(seconds, said):
    assert duration(seconds) == said
