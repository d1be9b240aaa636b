"""The ledger: answers, reservations and money, for one process and for several."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from image2music.composers.chat.ledger import Ledger, Totals, Usage
from image2music.errors import ConfigError, OutputError, PutOffError

PRICE = (1.0, 10.0)
A_CENT = Usage(input_tokens=0, output_tokens=1000)
"""What costs 0.01 by that price."""


@pytest.fixture(params=["file", "memory"])
def path(request, tmp_path):
    return str(tmp_path / "out" / "requests.sqlite") if request.param == "file" else ""


def never(seconds):
    pytest.fail("waited")


def test_an_answer_is_kept_and_counted(path):
    ledger = Ledger(path, PRICE)
    assert ledger.answer("k") is None
    ledger.reserve("k", "look", 0.5, never)
    ledger.keep("k", "look", "A lake.", Usage(2000, 500, 100))
    assert ledger.answer("k") == "A lake."
    assert ledger.totals().all == Totals(1, 1, 0, 0, 2000, 500, 100, pytest.approx(0.003))
    assert ledger.totals().steps.keys() == {"look"}


def test_totals_stay_when_answers_are_forgotten(path):
    ledger = Ledger(path, PRICE)
    for key in "abc":
        ledger.keep(key, "plan", key, A_CENT)
    ledger.forget_answers(["a"])
    assert (ledger.answer("a"), ledger.answer("b")) == (None, "b")
    ledger.forget_answers()
    assert ledger.answer("b") is None
    assert ledger.totals().all.requests == 3


def test_what_came_to_it_since(path):
    ledger = Ledger(path, PRICE)
    ledger.keep("a", "look", "", A_CENT)
    earlier = ledger.totals()
    ledger.keep("b", "plan", "", A_CENT, share=0.5)
    later = ledger.totals().since(earlier)
    assert (later.all.requests, later.all.cost) == (1, pytest.approx(0.005))
    assert later.steps.keys() == {"plan"}


def test_a_file_is_made_when_it_is_first_used(tmp_path):
    ledger = Ledger(str(tmp_path / "requests.sqlite"))
    assert not list(tmp_path.iterdir())
    ledger.keep("k", "look", "A lake.", A_CENT)
    assert Ledger(ledger.path).answer("k") == "A lake."


def test_a_bound_that_is_spent_puts_off_and_a_higher_one_goes_on(path):
    ledger = Ledger(path, PRICE, max_cost=0.02)
    for key in "ab":
        ledger.reserve(key, "look", 0.01, never)
        ledger.keep(key, "look", "", A_CENT)
    with pytest.raises(PutOffError, match=r"0\.02 of the 0\.02 that requests may cost") as caught:
        ledger.reserve("c", "look", 0.01, never)
    assert caught.value.reason == "max_cost"
    ledger.max_cost = 0.03
    ledger.reserve("c", "look", 0.01, never)


def test_requests_under_way_are_waited_for_where_they_may_use_up_the_rest(path):
    ledger = Ledger(path, PRICE, max_cost=0.05)
    ledger.reserve("a", "look", 0.06, never)
    waited = []

    def pause(seconds):
        waited.append(seconds)
        ledger.keep("a", "look", "", A_CENT)

    ledger.reserve("b", "look", 0.01, pause)
    assert len(waited) == 1


def test_requests_under_way_count_with_the_dearest_of_their_step(path):
    ledger = Ledger(path, PRICE, max_cost=0.05)
    ledger.keep("a", "look", "", A_CENT)
    for key in "bcd":
        ledger.reserve(key, "look", 9.0, never)
    with pytest.raises(RuntimeError, match="enough"):  # 0.01 spent and three of 0.01 under way: one more may go
        for key in "ef":
            ledger.reserve(key, "look", 9.0, raising)


def raising(seconds):
    raise RuntimeError("enough")


def test_a_request_that_came_to_nothing_frees_its_price(path):
    ledger = Ledger(path, PRICE, max_cost=0.05)
    ledger.reserve("a", "look", 0.06, never)
    ledger.release("a")
    ledger.reserve("b", "look", 0.06, never)
    assert ledger.totals().all == Totals()


def test_a_bound_without_a_price_is_refused():
    with pytest.raises(ConfigError, match="needs a price"):
        Ledger("", None, 1.0)


def test_a_file_that_is_no_ledger_is_one_line(tmp_path):
    place = tmp_path / "requests.sqlite"
    place.write_text("not a database, and long enough to be looked at" * 100)
    with pytest.raises(OutputError, match="cannot write the ledger") as caught:
        Ledger(str(place)).totals()
    assert caught.value.reason == "ledger_not_usable"


SPENDER = """
import sys, time
from image2music.composers.chat.ledger import Ledger, Usage
from image2music.errors import PutOffError
ledger = Ledger(sys.argv[1], (1.0, 10.0), float(sys.argv[2]))
for number in range(100):
    key = f"{sys.argv[3]} {number}"
    try:
        ledger.reserve(key, "look", 0.01)
    except PutOffError:
        break
    time.sleep(0.002)
    ledger.keep(key, "look", "A lake.", Usage(0, 0, 1000))
"""

HOLDER = """
import os, sys, time
from image2music.composers.chat.ledger import Ledger, Usage
ledger = Ledger(sys.argv[1], (1.0, 10.0), 0.05)
ledger.keep("done", "look", "A lake.", Usage(0, 0, 1000))
ledger.reserve("never", "look", 0.04)
print("held", flush=True)
time.sleep(60)
"""


def started(program, *arguments):
    return subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)


def test_two_processes_stay_below_one_bound(tmp_path):
    place = str(tmp_path / "requests.sqlite")
    both = [started(SPENDER, place, "0.205", name) for name in ("one", "two")]
    assert [process.communicate(timeout=60)[0] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    totals = Ledger(place, PRICE).totals().all
    assert 0.205 <= totals.cost < 0.205 + 0.01
    assert totals.requests == 21


def test_a_killed_process_leaves_its_answers_and_no_reservation(tmp_path):
    place = str(tmp_path / "requests.sqlite")
    process = started(HOLDER, place)
    assert process.stdout.readline() == "held\n"
    ledger = Ledger(place, PRICE, max_cost=0.02)
    with pytest.raises(RuntimeError, match="enough"):
        ledger.reserve("mine", "look", 0.01, raising)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ledger.reserve("mine", "look", 0.01, never)
    assert ledger.answer("done") == "A lake."
    assert ledger.totals().all.lost == 1


def test_threads_of_a_process_share_a_ledger(path):
    ledger = Ledger(path, PRICE, max_cost=0.3)

    def spend(name):
        for number in range(10):
            key = f"{name} {number}"
            ledger.reserve(key, "look", 0.01)
            ledger.keep(key, "look", name, A_CENT)

    threads = [threading.Thread(target=spend, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.totals().all.requests == 30


# Other tests may have loaded Lance, which warns whoever forks.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_copy_of_a_process_opens_the_file_anew(tmp_path):
    ledger = Ledger(str(tmp_path / "requests.sqlite"), PRICE)
    ledger.keep("a", "look", "mine", A_CENT)
    child = os.fork()
    if not child:
        ledger.keep("b", "look", "the copy's", A_CENT)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (ledger.answer("a"), ledger.answer("b")) == ("mine", "the copy's")


def test_what_a_transaction_began_is_undone_where_it_fails(path):
    ledger = Ledger(path, PRICE)
    with pytest.raises(RuntimeError, match="enough"), ledger.connect() as connection:
        connection.execute("insert into outbox values ('k', 'look', '{}')")
        raise RuntimeError("enough")
    with ledger.connect() as connection:
        assert connection.execute("select count(*) from outbox").fetchone() == (0,)


def test_a_transaction_takes_little_time(tmp_path):
    ledger = Ledger(str(tmp_path / "requests.sqlite"), PRICE, max_cost=1e6)
    begun = time.perf_counter()
    for number in range(50):
        ledger.reserve(str(number), "look", 0.01)
        ledger.keep(str(number), "look", "x" * 5000, A_CENT)
    assert time.perf_counter() - begun < 5
    assert Path(ledger.path).stat().st_size < 2**20
