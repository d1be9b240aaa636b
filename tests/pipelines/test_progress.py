import io
import time

import pytest

from pipelines.runtime.progress import Progress, ProgressLine
from transforms.shards import Ticker


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("done", "total", "line"),
    [
        (10, 40, "10/40 pictures, 30 a minute, 01:00 left"),
        (0, 40, "0/40 pictures, 0 a minute, ? left"),
        (10, None, "10 pictures, 30 a minute"),
    ],
)
def test_a_line_says_done_rate_and_time_left_after_20_seconds(done, total, line):
    bar = ProgressLine(total=total, unit="pictures", file=io.StringIO(), leave=False)
    bar.n, bar.start_t, bar._time = done, 0.0, lambda: 20.0
    assert str(bar) == line
    bar.close()


def test_what_each_of_some_workers_does_is_said_too():
    bar = ProgressLine(total=40, unit="pictures", file=io.StringIO(), leave=False)
    bar.n, bar.start_t, bar._time, bar.workers = 10, 0.0, lambda: 20.0, 2
    assert str(bar) == "10/40 pictures, 30 a minute, 15 a worker, 01:00 left"
    bar.close()


def test_what_workers_tick_shows_on_the_terminal(tmp_path):
    terminal = Terminal()
    Ticker(str(tmp_path)).tick()  # of what was done before
    with Progress("pictures", 4, str(tmp_path), stream=terminal, every=0.01):
        Ticker(str(tmp_path)).tick()
        time.sleep(0.1)
    assert "1/4 pictures" in terminal.getvalue()


def test_slices_count_where_workers_cannot_tick():
    terminal = Terminal()
    with Progress("pictures", 8, stream=terminal, every=0.01) as progress:
        progress.ended("here", 2)
        progress.ended("there", 3)
        time.sleep(0.1)
    assert "5/8 pictures" in terminal.getvalue()
    assert "a worker" in terminal.getvalue()


def test_nothing_shows_where_there_is_no_terminal():
    stream = io.StringIO()
    with Progress("pictures", 4, stream=stream, every=0.01):
        time.sleep(0.05)
    assert stream.getvalue() == ""
