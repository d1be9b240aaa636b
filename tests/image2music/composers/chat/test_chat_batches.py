"""Batches, against a server that counts what it was paid for."""

import json
import random

import pytest
from batch_server import AFTER, BEFORE, name_of, serving_batches

from image2music.composers.chat import sending
from image2music.composers.chat.batches import SHARE_OF_PRICE, TRIES, BatchDesk
from image2music.composers.chat.ledger import Ledger
from image2music.composers.chat.sending import RetryPolicy
from image2music.composers.chat.server import Endpoint
from image2music.errors import ModelError, PutOffError

PRICE = (1.0, 10.0)
COST = SHARE_OF_PRICE * (1000 * PRICE[0] + 100 * PRICE[1]) / 1e6
"""Of one answer in a batch."""


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving_batches() as served:
        served.answer = lambda body: f"seen {body['messages'][0]['content']}"
        yield served


@pytest.fixture
def ledger(tmp_path):
    return Ledger(str(tmp_path / "requests.sqlite"), PRICE)


def desk_of(service, ledger, **bounds):
    return BatchDesk(Endpoint(service.url, "m"), ledger, RetryPolicy(10.0, 5, 0.0), lambda seconds: None, **bounds)


def key(number):
    return f"{number:064x}"


def body(number):
    return {"model": "m", "messages": [{"role": "user", "content": f"picture {number}"}], "max_tokens": 200}


def ask(ledger, numbers):
    """What a pass does: ask for all; return what there is of answers, and the reasons where there are none."""
    answers, failures = {}, {}
    for number in numbers:
        if (answer := ledger.answer(key(number))) is not None:
            answers[number] = answer
            continue
        try:
            ledger.put_off(key(number), "look", json.dumps(body(number)))
        except (ModelError, PutOffError) as error:
            failures[number] = error.reason
    return answers, failures


def in_rounds(desk, ledger, numbers, rounds=20):
    """Ask, submit and collect until all that is left are failures; return these and the answers."""
    for _ in range(rounds):
        answers, failures = ask(ledger, numbers)
        if "batch" not in failures.values():
            return answers, failures
        desk.submit()
        desk.collect()
    raise AssertionError("it never came to an end")


def test_what_is_put_off_comes_back_at_half_the_price(service, ledger):
    desk = desk_of(service, ledger)
    answers, failures = in_rounds(desk, ledger, range(5))
    assert answers == {number: f"seen picture {number}" for number in range(5)}
    assert failures == {}
    assert ledger.totals().all.cost == pytest.approx(5 * COST)
    assert set(service.paid.values()) == {1}
    assert desk.underway().requests == desk.underway().held_back == 0


def test_files_keep_to_their_bounds(service, ledger):
    line = len(json.dumps(body(0))) + 150
    desk = desk_of(service, ledger, most_requests=4, most_bytes=3 * line)
    ask(ledger, range(10))
    assert desk.submit() == 10
    files = [file for file in service.files.values() if b'"POST"' in file]
    assert sum(len(file.splitlines()) for file in files) == 10
    assert max(len(file.splitlines()) for file in files) <= 4
    assert max(map(len, files)) <= 3 * line


def test_a_request_that_fails_in_its_batches_is_sent_again_and_given_up(service, ledger):
    service.line_fault = lambda number: 500
    answers, failures = in_rounds(desk_of(service, ledger), ledger, range(2))
    assert (answers, failures) == ({}, {0: "server_unavailable", 1: "server_unavailable"})
    assert service.lines == 2 * TRIES
    service.line_fault = lambda number: 0
    assert ask(ledger, [0])[1] == {0: "server_unavailable"}
    ledger.forget_failures()
    assert in_rounds(desk_of(service, ledger), ledger, range(2))[1] == {}


def test_a_request_that_is_refused_is_not_sent_again(service, ledger):
    service.line_fault = lambda number: 400 if number == 1 else 0
    answers, failures = in_rounds(desk_of(service, ledger), ledger, range(3))
    assert sorted(answers) == [1, 2]
    assert failures == {0: "request_refused"}
    assert service.lines == 3


def test_what_has_expired_is_sent_again_and_what_has_answers_is_not(service, ledger):
    service.verdict = lambda lines: ("expired", [])
    answers, failures = in_rounds(desk_of(service, ledger), ledger, range(7))
    assert len(answers) == 7
    assert failures == {}
    assert set(service.paid.values()) == {1}


@pytest.mark.parametrize("seed", range(5))
def test_three_of_ten_calls_and_lines_fail_and_nothing_is_paid_twice(service, ledger, seed):
    chance = random.Random(seed)
    service.fault = lambda name, number: chance.choice([BEFORE, AFTER]) if chance.random() < 0.3 else ""
    service.line_fault = lambda number: chance.choice([429, 500]) if chance.random() < 0.3 else 0
    desk = desk_of(service, ledger, most_requests=6)
    answers, failures = in_rounds(desk, ledger, range(40))
    assert len(answers) + len(failures) == 40
    assert len(answers) > 30
    assert set(service.paid.values()) == {1}
    assert sum(service.paid.values()) == len(answers)
    assert ledger.totals().all.cost == pytest.approx(len(answers) * COST)


class Killed(BaseException):
    """In place of a kill: nothing that it passes does anything more."""


KILLED_AT = ["POST /files", "POST /batches", "GET /batches", "GET /files/content"]


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
@pytest.mark.parametrize("call", KILLED_AT)
def test_whoever_is_killed_around_a_call_goes_on_and_pays_nothing_twice(service, ledger, monkeypatch, call, moment):
    def deadly(method, url, *args, real=sending._send_once, **kwargs):
        is_it = name_of(method, url.removeprefix(service.url)) == call
        if is_it and moment == BEFORE:
            raise Killed
        answer = real(method, url, *args, **kwargs)
        if is_it:
            raise Killed
        return answer

    ask(ledger, range(6))
    with monkeypatch.context() as patch:
        patch.setattr(sending, "_send_once", deadly)
        with pytest.raises(Killed):
            desk = desk_of(service, ledger, most_requests=4)
            desk.submit()
            desk.collect()
    answers, failures = in_rounds(desk_of(service, ledger, most_requests=4), ledger, range(6))
    assert (len(answers), failures) == (6, {})
    assert set(service.paid.values()) == {1}
    assert ledger.totals().all.cost == pytest.approx(6 * COST)


def test_whoever_is_killed_between_two_answers_keeps_the_first(service, ledger, monkeypatch):
    ask(ledger, range(3))
    desk_of(service, ledger).submit()
    kept = []

    def deadly(self, *args, real=Ledger.keep, **kwargs):
        real(self, *args, **kwargs)
        kept.append(args)
        if len(kept) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "keep", deadly)
        with pytest.raises(Killed):
            desk_of(service, ledger).collect()
    assert len(ask(ledger, range(3))[0]) == 2
    desk_of(service, ledger).collect()
    assert len(ask(ledger, range(3))[0]) == 3
    assert ledger.totals().all.cost == pytest.approx(3 * COST)


def test_a_bound_of_money_lets_through_what_fits_by_the_usual_price(service, tmp_path):
    path = str(tmp_path / "requests.sqlite")
    ledger = Ledger(path, PRICE, max_cost=20.5 * COST)
    in_rounds(desk_of(service, ledger), ledger, [0])  # what an answer costs is known from here on
    ask(ledger, range(1, 40))
    desk = desk_of(service, ledger)
    assert desk.submit() == 20
    assert desk.underway().held_back == 19
    with pytest.raises(PutOffError) as found:
        ledger.reserve("another", "look", COST)
    assert found.value.reason == "max_cost"
    desk.collect()
    assert ledger.totals().all.cost < 20.5 * COST + COST
    assert desk.submit() == 0
    higher = Ledger(path, PRICE, max_cost=100 * COST)
    answers, failures = in_rounds(desk_of(service, higher), higher, range(40))
    assert (len(answers), failures) == (40, {})
    assert set(service.paid.values()) == {1}


def test_a_server_that_has_no_room_gets_smaller_batches_one_by_one(service, ledger):
    crowded = [{"code": "token_limit_exceeded", "message": "too many"}]
    service.verdict = lambda lines: ("failed", crowded) if lines > 3 else ("completed", [])
    answers, failures = in_rounds(desk_of(service, ledger), ledger, range(12))
    assert (len(answers), failures) == (12, {})
    assert set(service.paid.values()) == {1}


def test_lines_that_the_server_does_not_take_fail_alone(service, ledger):
    service.verdict = lambda lines: ("failed", [{"code": "x", "message": "too long", "line": 2}])
    desk = desk_of(service, ledger)
    ask(ledger, range(3))
    desk.submit()
    desk.collect()
    service.verdict = lambda lines: ("completed", [])
    answers, failures = in_rounds(desk, ledger, range(3))
    assert (sorted(answers), failures) == ([0, 2], {1: "request_refused"})


def test_a_batch_that_is_refused_altogether_ends_the_job_and_costs_no_picture(service, ledger):
    service.verdict = lambda lines: ("failed", [{"code": "billing", "message": "no money"}])
    desk = desk_of(service, ledger)
    ask(ledger, range(3))
    desk.submit()
    with pytest.raises(ModelError, match="no money"):
        desk.collect()
    service.verdict = lambda lines: ("completed", [])
    assert in_rounds(desk, ledger, range(3))[1] == {}


def test_a_server_without_batches_says_so(service, ledger):
    service.post = lambda path, data: {}[path]
    ask(ledger, [0])
    with pytest.raises(ModelError, match="takes no batches") as found:
        desk_of(service, ledger).submit()
    assert found.value.reason == "request_refused"
    assert desk_of(service, ledger).underway().requests == 0


def test_waiting_ends_when_all_is_there_or_its_time_is_up(service, ledger):
    service.looks = 4
    pauses = []
    desk = BatchDesk(Endpoint(service.url, "m"), ledger, RetryPolicy(10.0, 5, 0.0), pauses.append)
    ask(ledger, range(3))
    desk.submit()
    assert desk.wait(0.0) == 0
    assert desk.wait(100.0) == 3
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_the_answer_of_another_run_into_the_same_account_is_left_alone(service, ledger, tmp_path):
    other = Ledger(str(tmp_path / "other.sqlite"), PRICE)
    ask(other, range(3))
    desk_of(service, other, most_requests=1).submit()
    service.fault = lambda name, number: AFTER if name == "POST /batches" and number == 4 else ""
    answers, failures = in_rounds(desk_of(service, ledger), ledger, [7])
    assert (answers, failures) == ({7: "seen picture 7"}, {})
    assert len(service.batches) == 4
