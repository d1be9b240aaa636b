"""The backend against a server that is as particular, as limited and as dear as real ones are."""

import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from chat_fakes import picture
from chat_server import particular, refuses, says, serving, unreliable

from image2music.composers.chat.conversations import Conversation, Message, Question, questions_of
from image2music.composers.chat.sending import ROOM, THINKING_ROOM, Gate, RetryPolicy, ServerKind, duration_s
from image2music.composers.chat.server import Endpoint, OpenAiBackend
from image2music.composers.constrained.forms import PROSE, TUNE_OF_TWO, BarsOfLine, JsonForm, LinesForm
from image2music.errors import ConfigError, ModelError, PutOffError
from image2music.failures import batch_with_fallback
from image2music.settings import SendingOptions

PRICE = (1.0, 10.0)
LOOK = JsonForm.of("look", {"type": "object", "properties": {"mood": {"type": "string"}}})
LINES = LinesForm("4/4", (BarsOfLine("1-2 [V:1] ", 2), BarsOfLine("1-2 [V:2] ", 2)))


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as served:
        yield served


def talk(text="What is this?"):
    return Conversation(picture(), (Message("user", text),))


def backend(server, tries=3, **sending):
    policy = RetryPolicy(timeout_s=10, tries=tries, first_pause_s=0)
    return OpenAiBackend(Endpoint(server.url, "tiny"), policy, sending=SendingOptions(**sending))


def ask(asked, text="What is this?", seed=1, form=PROSE, step="look", max_tokens=100):
    return asked.generate([Question(talk(text), seed, max_tokens, form, step)])[0]


# What a server takes


def test_the_other_name_for_the_length_is_learnt_once(server):
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.answer = lambda body: refuses(said) if "max_tokens" in body else says("A lake.")
    asked = backend(server)
    assert [ask(asked, "one"), ask(asked, "two")] == ["A lake."] * 2
    assert [sorted(body.keys() & {"max_tokens", "max_completion_tokens"}) for body in server.bodies] == [
        ["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]
    ]  # fmt: skip
    assert server.bodies[-1]["max_completion_tokens"] == 100 * ROOM


@pytest.mark.parametrize("refused", [["seed"], ["temperature", "top_p", "seed"], ["max_tokens", "temperature"]])
def test_parameters_that_a_model_does_not_take_are_dropped_and_remembered(server, refused):
    server.answer = particular(lambda body: says("A lake."), *refused)
    asked = backend(server)
    assert ask(asked, "one") == "A lake."
    assert len(server.seen) == len(refused) + 1
    assert ask(asked, "two") == "A lake."
    assert len(server.seen) == len(refused) + 2
    assert asked.ledger.totals().all.requests == 2


def test_a_value_that_is_not_taken_is_dropped_too(server):
    said = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) is supported."
    server.answer = lambda body: refuses(said, "temperature") if "temperature" in body else says("A lake.")
    assert ask(backend(server), seed=None) == "A lake."


def test_a_request_that_is_refused_for_what_it_is_stays_refused_and_teaches_nothing(server):
    server.replies = [refuses("The picture shows what it may not.")]
    asked = backend(server)
    for _ in range(2):
        with pytest.raises(ModelError, match="refused the request, status 400"):
            ask(asked)
    assert [body.keys() for body in server.bodies] == [server.bodies[0].keys()] * 2
    assert asked.ledger.totals().all.requests == 0


def formats(server):
    return [body.get("response_format", {}).get("type") for body in server.bodies]


def test_a_schema_goes_along_and_is_left_away_step_by_step(server):
    server.answer = lambda body: refuses("response_format is wrong") if "response_format" in body else says("{}")
    asked = backend(server)
    assert ask(asked, form=LOOK) == "{}"
    strict, loose = (body["response_format"]["json_schema"] for body in server.bodies[:2])
    assert strict == {"name": "look", "schema": {"type": "object", "properties": {"mood": {"type": "string"}}}} | {
        "strict": True
    }
    assert loose == {name: strict[name] for name in ("name", "schema")}
    assert formats(server) == ["json_schema", "json_schema", "json_object", None]
    ask(asked, "again", form=LOOK)
    assert formats(server)[4:] == [None]
    plan = JsonForm.of("plan", {"type": "object"})
    server.answer = lambda body: says("{}")
    ask(asked, form=plan)
    assert formats(server)[-1] == "json_schema", "what one schema is refused for says nothing of another one"


def test_an_extra_never_costs_an_answer_whatever_the_server_says(server):
    server.answer = lambda body: refuses("Bad Request", status=422) if "response_format" in body else says("{}")
    assert ask(backend(server), form=LOOK) == "{}"


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("max_tokens is too large: 400. This model supports at most 150 completion tokens", 150),
        ("`max_tokens` must be less than or equal to `150`, the maximum value for this model", 150),
        ("This model's maximum context length is 1000 tokens. However, you requested 1100 tokens (900 in the messages, "
         "200 in the completion). Please reduce the length of the messages or completion.", 100),
        ("'max_tokens' or 'max_completion_tokens' is too large: 200. This model's maximum context length is 1000 "
         "tokens and your request has 880 input tokens (200 > 1000 - 880).", 120),
        ("The request exceeds the context window", 100),
    ],
)  # fmt: skip
def test_a_length_that_is_too_much_is_cut_to_what_there_is_room_for(server, said, most):
    server.answer = lambda body: refuses(said) if body["max_tokens"] > most else says("A lake.")
    assert ask(backend(server)) == "A lake."
    assert [body["max_tokens"] for body in server.bodies] == [200, most]


def test_a_prompt_that_leaves_no_room_is_refused(server):
    server.replies = [refuses("maximum context length is 1000 tokens and your request has 1200 input tokens")]
    with pytest.raises(ModelError, match="context length"):
        ask(backend(server))
    assert len(server.seen) == 1


def test_what_was_learnt_changes_no_key(server, tmp_path):
    place = str(tmp_path / "requests.sqlite")
    server.answer = particular(lambda body: says("A lake."), "max_tokens", "seed")
    asked = backend(server, ledger=place)
    assert [ask(asked), ask(asked)] == ["A lake."] * 2
    assert ask(backend(server, ledger=place)) == "A lake."
    assert server.paid.total() == 1


def test_two_takes_differ_where_the_server_takes_no_seed(server, tmp_path):
    server.answer = particular(lambda body: says("A lake."), "seed")
    asked = backend(server, ledger=str(tmp_path / "requests.sqlite"))
    for seed in (1, 2, 1 + 2**31, 1):
        ask(asked, seed=seed)
    assert asked.ledger.totals().all.requests == 3


# vLLM


@pytest.mark.parametrize(
    ("version", "names"),
    [("0.12.1", ["structured_outputs"]), ("0.11.0", ["structured_outputs"]), ("0.8.5.post1", ["guided_regex"])],
)
def test_vllm_is_given_a_grammar_by_the_name_that_its_version_knows(server, version, names):
    server.pages = {"/v1/models": {"data": [{"id": "tiny", "owned_by": "vllm"}]}, "/version": {"version": version}}
    ask(backend(server), form=LINES)
    assert [name for name in ("structured_outputs", "guided_regex") if name in server.bodies[0]] == names


def test_vllm_that_refuses_a_grammar_writes_without_one(server):
    server.pages = {"/v1/models": {"data": [{"id": "tiny", "owned_by": "vllm"}]}, "/version": {"version": "0.12"}}
    server.answer = particular(lambda body: says("X:1"), "structured_outputs", "guided_regex")
    assert ask(backend(server), form=TUNE_OF_TWO) == "X:1"


@pytest.mark.parametrize("pages", [{}, {"/v1/models": {"data": [{"id": "tiny", "owned_by": "me"}]}}, {"/v1/models": 7}])
def test_no_other_server_is_given_a_grammar(server, pages):
    server.pages = pages
    ask(backend(server), form=LINES)
    assert server.bodies[0].keys() == {"model", "messages", "max_tokens", "temperature", "top_p", "seed"}


def patterns(form):
    return [one.fields["structured_outputs"]["regex"] for one in ServerKind(True, (0, 12)).music_extras(form)]


@pytest.mark.parametrize(
    ("form", "text", "fits"),
    [
        (LINES, "1-2 [V:1] !mp!C2 E2 (G2 e2) | (3cde z2 [CEG]4- |\n1-2 [V:2] C,8 | ^F,4 z4 |", True),
        (LINES, "1-2 [V:1] C8 |\n1-2 [V:2] C,8 | C,8 |", False),
        (LINES, "Here it is:\n1-2 [V:1] C8 | C8 |\n1-2 [V:2] C,8 | C,8 |", False),
        (TUNE_OF_TWO, "X:1\nT:Dusk\nM:4/4\nL:1/8\nQ:1/4=80\nK:C\nV:1\nV:2\n% dusk\n[V:1] C8 |\n[V:2] C,8 |]\n", True),
        (TUNE_OF_TWO, "Sure!\nX:1\nT:Dusk\nK:C\n[V:1] C8 |\n", False),
    ],
)  # fmt: skip
def test_patterns_take_music_and_no_prose(form, text, fits):
    assert [bool(re.fullmatch(pattern, text)) for pattern in patterns(form)] == [fits, fits]


# Long answers


def test_a_cut_answer_is_asked_for_once_more_with_twice_the_room(server):
    server.replies = [says("X:1 and", (10, 0, 200), "length"), says("X:1 and all", (10, 0, 300))]
    asked = backend(server, price=PRICE)
    assert ask(asked, step="tune") == "X:1 and all"
    assert [body["max_tokens"] for body in server.bodies] == [100 * ROOM, 200 * ROOM]
    totals = asked.ledger.totals().all
    assert (totals.requests, totals.cut, totals.output_tokens) == (2, 1, 500)


def test_an_answer_that_is_cut_twice_is_given_as_it_is(server):
    server.replies = [says("X:1 and", None, "length")]
    assert ask(backend(server)) == "X:1 and"
    assert len(server.seen) == 2


def test_after_a_stop_only_the_longer_answer_is_asked_for(server, tmp_path):
    place = str(tmp_path / "requests.sqlite")
    server.replies = [says("X:1 and", None, "length"), (500, {}, {})]
    with pytest.raises(ModelError):
        ask(backend(server, tries=1, ledger=place))
    server.replies = [says("X:1 and all")]
    assert ask(backend(server, ledger=place)) == "X:1 and all"
    assert [body["max_tokens"] for body in server.bodies] == [100 * ROOM, 200 * ROOM, 200 * ROOM]


def test_a_model_that_thinks_gets_more_room_from_its_second_answer_on(server):
    status, answer, headers = says("A lake.", (10, 0, 90))
    answer["usage"]["completion_tokens_details"] = {"reasoning_tokens": 80}
    server.replies = [(status, answer, headers)]
    asked = backend(server)
    ask(asked, "one")
    ask(asked, "two")
    assert [body["max_tokens"] for body in server.bodies] == [100 * ROOM, 100 * THINKING_ROOM]


# Rate limits


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7), ("1.5", 1.5), ("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("2d", 172800),
        ("", 0), (None, 0), ("soon", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)  # fmt: skip
def test_times_of_headers(text, seconds):
    assert duration_s(text) == pytest.approx(seconds)


def test_moments_of_headers_are_seconds_from_now():
    then = datetime.now(UTC) + timedelta(seconds=90)
    for text in (format_datetime(then, usegmt=True), then.isoformat(), f"{then.timestamp() * 1000:.0f}"):
        assert duration_s(text) == pytest.approx(90, abs=2)


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "0.05"},
        {"retry-after-ms": "50"},
        {"x-ratelimit-reset-requests": "50ms"},
        {"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "9h",
         "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "50ms"},
    ],
)  # fmt: skip
def test_waiting_as_a_rate_limit_asks_uses_up_no_try(server, headers):
    server.replies = [*[(429, {"error": "slower"}, headers)] * 4, says("A lake.")]
    begun = time.monotonic()
    assert ask(backend(server, tries=1)) == "A lake."
    assert time.monotonic() - begun >= 0.2


def test_when_nothing_is_left_all_threads_wait_until_there_is_again(server):
    empty = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "300ms"}
    server.replies = [says("A lake.", **empty), says("A lake.")]
    asked, times = backend(server), []
    server.answer = lambda body: times.append(time.monotonic()) or server.replies[min(1, len(times) - 1)]
    ask(asked, "first")
    asked.generate(questions_of([talk("a"), talk("b"), talk("c")], [1, 2, 3], 9))
    assert min(times[1:]) - times[0] >= 0.29


def test_few_tokens_that_are_left_are_waited_for_in_part():
    gate = Gate()
    limits = {"x-ratelimit-limit-tokens": "1000", "x-ratelimit-reset-tokens": "9s"}
    gate.heed({**limits, "x-ratelimit-remaining-tokens": "500"}, 400)
    assert not gate.is_closed
    gate.heed({**limits, "x-ratelimit-remaining-tokens": "100"}, 400)
    waited = []

    def pause(seconds):
        waited.append(seconds)
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        gate.wait(pause)
    assert waited == [pytest.approx(3, abs=0.1)]  # 300 of the 900 that come back in 9 seconds


def test_a_limit_that_asks_for_too_much_patience_puts_off(server):
    server.replies = [(429, {"error": "tomorrow"}, {"Retry-After": "40000"})]
    with pytest.raises(PutOffError, match="667 minutes") as caught:
        ask(backend(server))
    assert caught.value.reason == "rate_limit"


def test_money_that_is_used_up_at_the_server_puts_off(server):
    server.replies = [(429, {"error": {"code": "insufficient_quota"}}, {"Retry-After": "1"})]
    with pytest.raises(PutOffError) as caught:
        ask(backend(server))
    assert (caught.value.reason, len(server.seen)) == ("no_quota", 1)


def test_waiting_for_a_limit_is_told_and_other_waiting_is_not(server):
    server.replies = [(429, {"error": "slower"}, {"Retry-After": "0.6"}), says("A lake.")]
    told = []
    ask(backend(server, excuse=told.append))
    assert 0.5 < sum(told) < 2
    server.replies = [says("A lake.")]
    told.clear()
    ask(backend(server, excuse=told.append), "another")
    assert told == []


def test_no_more_requests_are_under_way_than_allowed(server):
    now, most, lock = [0], [0], threading.Lock()

    def answer(body):
        return says("A lake.", X_Late="0.05")

    asked = backend(server, concurrency=2)
    sent = asked._shaped

    def counted(*arguments):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            return sent(*arguments)
        finally:
            with lock:
                now[0] -= 1

    asked._shaped = counted
    server.answer = answer
    threads = [
        threading.Thread(target=asked.generate, args=(questions_of([talk(name)] * 3, [1, 2, 3], 9),)) for name in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [2]


# Money, and nothing paid twice


def test_a_bound_of_money_holds_to_the_price_of_one_request(server, tmp_path):
    dear = iter(range(10**6))
    server.answer = lambda body: says("A lake.", (0, 0, 500 + 500 * (next(dear) % 2)), X_Late="0.01")
    asked = backend(server, price=PRICE, max_cost=0.1, ledger=str(tmp_path / "requests.sqlite"))
    answers = batch_with_fallback(asked.generate, questions_of([talk()] * 40, list(range(40)), 200, step="tune"))
    put_off = [one for one in answers if isinstance(one, Exception)]
    assert {(type(one), one.reason) for one in put_off} == {(PutOffError, "max_cost")}
    spent = asked.ledger.totals().all
    assert 0.1 <= spent.cost < 0.1 + 0.01
    assert spent.requests == server.paid.total() == 40 - len(put_off)
    assert server.paid_twice == 0

    again = backend(server, price=PRICE, max_cost=1.0, ledger=str(tmp_path / "requests.sqlite"))
    assert again.generate(questions_of([talk()] * 40, list(range(40)), 200, step="tune")) == ["A lake."] * 40
    assert server.paid.total() == 40


@pytest.mark.parametrize("price", [None, (-1.0, 1.0), (float("nan"), 1.0)])
def test_a_bound_needs_a_price(price):
    with pytest.raises(ConfigError):
        SendingOptions(price=price, max_cost=1.0)


def test_failures_of_three_in_ten_requests_pay_nothing_twice(server, tmp_path):
    server.answer = unreliable(lambda body: says("A lake.", (100, 0, 100)), 0.3, seed=16)
    asked = backend(server, tries=1, ledger=str(tmp_path / "requests.sqlite"))
    answers = batch_with_fallback(asked.generate, questions_of([talk()] * 30, list(range(30)), 9))
    assert 0 < sum(isinstance(one, ModelError) for one in answers) < 15
    assert server.paid_twice == 0
    assert asked.ledger.totals().all.requests == server.paid.total()


def test_the_same_question_twice_in_a_batch_is_sent_once(server):
    server.answer = lambda body: says("A lake.", X_Late="0.05")
    assert backend(server).generate(questions_of([talk()] * 2, [1, 1], 9)) == ["A lake."] * 2
    assert len(server.seen) == 1


def test_without_a_server_that_counts_tokens_letters_are_counted(server):
    asked = backend(server, price=PRICE)
    ask(asked, "x" * 3600)
    totals = asked.ledger.totals().all
    assert (totals.input_tokens, totals.output_tokens) == (2100, 2)


def test_an_answer_without_a_message_is_counted_and_asked_for_again(server, tmp_path):
    server.replies = [
        (200, {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 0}}, {}),
        says("A lake."),
    ]
    asked = backend(server, ledger=str(tmp_path / "requests.sqlite"))
    with pytest.raises(ModelError, match="holds no message"):
        ask(asked)
    assert ask(asked) == "A lake."
    assert asked.ledger.totals().all.requests == 2


NIGHT = """
import sys
sys.path[:0] = {path!r}
from chat_fakes import picture
from image2music.composers.chat.conversations import Conversation, Message, questions_of
from image2music.composers.chat.sending import RetryPolicy
from image2music.composers.chat.server import Endpoint, OpenAiBackend
from image2music.settings import SendingOptions
policy = RetryPolicy(timeout_s=10, tries=50, first_pause_s=0)
sending = SendingOptions(ledger=sys.argv[2], concurrency=4)
asked = OpenAiBackend(Endpoint(sys.argv[1], "tiny"), policy, sending=sending)
talk = Conversation(picture(), (Message("user", "What is this?"),))
for seed in range(int(sys.argv[3]), int(sys.argv[4]), 4):
    asked.generate(questions_of([talk] * 4, list(range(seed, seed + 4)), 9))
"""


@pytest.mark.slow
def test_a_killed_night_is_gone_on_with_and_pays_nothing_twice(server, tmp_path):
    place = str(tmp_path / "requests.sqlite")
    server.answer = unreliable(lambda body: says("A lake.", (100, 0, 100), X_Late="0.02"), 0.3, seed=7)
    program = NIGHT.format(path=[path for path in sys.path if path])
    workers = [
        subprocess.Popen([sys.executable, "-c", program, server.url, place, str(first), str(first + 400)])
        for first in (0, 400)
    ]
    while server.paid.total() < 100:
        time.sleep(0.005)
    for worker in workers:
        worker.kill()
        worker.wait(timeout=30)
    time.sleep(0.1)
    asked = backend(server, tries=50, ledger=place)
    kept = asked.ledger.totals().all
    before = server.paid.total()
    assert before - 8 <= kept.requests <= before, "what was under way is all that may be lost"
    seeds = sorted({*range(112), *range(400, 512)})
    assert asked.generate(questions_of([talk()] * 224, seeds, 9)) == ["A lake."] * 224
    after = asked.ledger.totals().all
    assert server.paid_twice == before - kept.requests
    assert after.from_ledger + server.paid.total() - before == 224
    assert after.lost <= 8
