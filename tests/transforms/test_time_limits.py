import subprocess
import sys
import threading
import time

import pytest

from image2music.errors import TimeLimitError
from transforms import deadlines
from transforms.deadlines import within


def never():
    raise AssertionError("nobody should have given up")


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def test_what_is_quick_is_returned():
    assert within(5, lambda: 6 * 7, never) == 42


def test_an_error_of_the_call_is_its_own():
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0, never)


def test_a_loop_in_python_ends_at_its_limit():
    begin = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"longer than 0\.1 s") as caught:
        within(0.1, lambda: spin(60), never)
    assert caught.value.reason == "timed_out"
    assert time.monotonic() - begin < 30


def test_waiting_that_is_excused_does_not_count():
    def waits():
        for _ in range(5):
            spin(0.1)
            deadlines.excuse(0.1)
        return "there"

    assert within(0.3, waits, never) == "there"
    deadlines.excuse(60)  # outside of any call, and of no use to the next one
    with pytest.raises(TimeLimitError):
        within(0.1, lambda: spin(60), never)


def test_waiting_is_excused_for_its_own_thread_alone():
    other = threading.Thread(target=deadlines.excuse, args=(60,))

    def waits():
        other.start()
        spin(60)

    with pytest.raises(TimeLimitError):
        within(0.2, waits, never)
    other.join()


def test_code_that_goes_on_after_any_exception_ends_as_well():
    def deaf():
        while True:
            try:
                spin(60)
            except Exception:
                continue

    with pytest.raises(TimeLimitError):
        within(0.1, deaf, never)


def test_a_call_that_cannot_be_stopped_is_given_up():
    given_up = []
    with pytest.raises(TimeLimitError):
        within(0.05, lambda: time.sleep(1), lambda: given_up.append("yes"), grace=0.2)
    assert given_up == ["yes"]


def test_no_exception_comes_late():
    for _ in range(300):
        try:
            within(0.001, lambda: spin(0.001), never)
        except TimeLimitError:
            continue
    spin(0.05)


def test_a_short_limit_holds_while_a_long_one_is_waited_for():
    within(60, lambda: None, never)
    with pytest.raises(TimeLimitError):
        within(0.1, lambda: spin(60), never)


def test_one_thread_watches_all_calls():
    within(60, lambda: None, never)
    before = threading.active_count()
    within(60, lambda: None, never)
    assert threading.active_count() == before


def test_calls_of_many_threads_are_all_let_go():
    threads = [threading.Thread(target=lambda: within(0.2, lambda: None, never)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not deadlines._watcher()._watches  # what was not let go would be looked at without end


@pytest.mark.process
@pytest.mark.parametrize("call", ["lambda: None", "lambda: time.sleep(60)"], ids=["in time", "too late"])
def test_a_profiler_or_debugger_goes_on_after_a_call_with_a_limit(call):
    program = f"""
import sys, time
from image2music.errors import TimeLimitError
from transforms.deadlines import within
def sleepy():
    while True: time.sleep(0.01)
try:
    within(0.3, {"sleepy" if "sleep" in call else call}, lambda: None)
except TimeLimitError:
    pass
sys.setprofile(lambda *event: None)
sorted([2, 1], key=lambda number: number)
sys.setprofile(None)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
