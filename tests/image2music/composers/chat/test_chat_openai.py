"""The backend against a small server on this machine, which answers from a list of replies."""

import base64
import gzip
import io
import logging
import threading
import time

import pytest
from chat_fakes import METRICS, TUNE, picture, request
from chat_server import late, says, serving
from PIL import Image

from image2music.composers.base import ExplainRequest
from image2music.composers.chat.composer import ChatComposer
from image2music.composers.chat.conversations import Conversation, Message, questions_of
from image2music.composers.chat.sending import MAX_ANSWER_BYTES, ROOM, RetryPolicy, post_json
from image2music.composers.chat.server import NO_ATTENTION, Endpoint, OpenAiBackend
from image2music.composers.registry import load_composer
from image2music.errors import ConfigError, ModelError, TimeLimitError
from transforms.deadlines import within

KEY = "sk-very-secret"
TALK = Conversation(picture(), (Message("user", "Hello."),)).then("Yes?", "What is this?")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving() as served:
        yield served


def backend(server, tries=3):
    return OpenAiBackend(Endpoint(server.url, "tiny"), RetryPolicy(timeout_s=10, tries=tries, first_pause_s=0))


def ask(server, n=1, **kwargs):
    return backend(server, **kwargs).generate(questions_of([TALK] * n, list(range(n)), 9))


def test_a_request_carries_picture_turns_and_key(server):
    assert ask(server) == ["A lake."]
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert (body["model"], body["max_tokens"], body["seed"]) == ("tiny", 9 * ROOM, 0)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    shown, said = body["messages"][0]["content"]
    sent = base64.b64decode(shown["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(sent)).size == TALK.image.size
    assert said == {"type": "text", "text": "Hello."}


def test_without_a_key_none_is_sent(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    ask(server)
    assert "Authorization" not in server.seen[0][1]


def test_the_likeliest_answer_is_asked_for_without_a_seed(server):
    backend(server).generate(questions_of([TALK], [None], 9))
    assert server.seen[0][2]["temperature"] == 0


def test_requests_of_a_batch_are_under_way_at_the_same_time(server):
    server.barrier = threading.Barrier(4)
    assert ask(server, n=4) == ["A lake."] * 4


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_asked_again(server, status):
    server.replies = [(status, {"error": "busy"}, {"Retry-After": "0"}), says("A lake.")]
    assert ask(server) == ["A lake."]
    assert len(server.seen) == 2


def test_pauses_double_and_heed_the_server(server):
    server.replies = [(503, {}, {"Retry-After": "7"}), (500, {}, {}), (500, {}, {}), says("A lake.")]
    pauses = []
    post_json(f"{server.url}/x", {}, {}, RetryPolicy(tries=4, first_pause_s=1), pauses.append)
    assert pauses == [7, 2, 4]


def test_a_server_that_stays_busy_is_given_up(server):
    server.replies = [(503, {"error": "loading"}, {})]
    with pytest.raises(ModelError, match="in 2 tries") as caught:
        ask(server, tries=2)
    assert caught.value.reason == "server_unavailable"


def test_no_server_at_all_is_unavailable(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    nowhere = OpenAiBackend(Endpoint("http://127.0.0.1:9/v1", "m"), RetryPolicy(timeout_s=2, tries=2, first_pause_s=0))
    with pytest.raises(ModelError) as caught:
        nowhere.generate(questions_of([TALK], [1], 9))
    assert caught.value.reason == "server_unavailable"


def test_a_job_does_not_begin_where_nobody_answers(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(ModelError, match=r"nobody answers at .*:9/v1/models: Connection refused; start"):
        load_composer("openai:http://127.0.0.1:9/v1#m")


def test_an_error_page_in_place_of_an_answer_is_asked_again(server):
    server.replies = [(200, b"<html>busy</html>", {}), says("A lake.")]
    assert ask(server) == ["A lake."]


def test_a_time_limit_ends_the_wait_for_a_server(server):
    server.replies = [late(says("A lake."), 3)]
    with pytest.raises(TimeLimitError):
        within(0.3, lambda: ask(server), lambda: pytest.fail("gave the process up"))


def test_a_refusal_is_not_tried_again_and_never_shows_the_key(server):
    server.replies = [(401, {"error": f"the key {KEY} is unknown"}, {})]
    with pytest.raises(ModelError, match=r"status 401.*\*\*\*") as caught:
        ask(server)
    assert (caught.value.reason, len(server.seen)) == ("request_refused", 1)
    assert KEY not in str(caught.value)


def test_a_redirect_takes_neither_key_nor_picture_elsewhere(server):
    server.replies = [(302, {}, {"Location": f"{server.url}/elsewhere"})]
    with pytest.raises(ModelError, match="status 302"):
        ask(server)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "reply", [(200, b"<html>", {}), (200, {"choices": []}, {}), (200, b"x" * (MAX_ANSWER_BYTES + 1), {})]
)
def test_an_answer_that_is_none_is_a_model_error(server, reply):
    server.replies = [reply]
    with pytest.raises(ModelError) as caught:
        ask(server)
    assert caught.value.reason == "unusable_answer"


def test_a_bad_key_is_named_without_its_value(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ünreadable")
    with pytest.raises(ConfigError) as caught:
        ask(server)
    assert "nreadable" not in str(caught.value)


def test_after_a_failure_only_what_failed_is_asked_again(server):
    asked = backend(server, tries=1)
    talks = [Conversation(picture(), (Message("user", text),)) for text in ("one", "two", "three")]
    server.replies = [says("1"), says("2"), (500, {}, {}), says("3")]
    with pytest.raises(ModelError):
        asked.generate(questions_of(talks, [1, 2, 3], 9))
    for talk, seed in zip(talks, [1, 2, 3], strict=True):
        asked.generate(questions_of([talk], [seed], 9))
    assert len(server.seen) == 4


def test_an_explanation_has_no_attention_and_says_why(server):
    (explanation,) = ChatComposer(backend(server)).explain([ExplainRequest(request(), TUNE, "Morning", METRICS)])
    assert (explanation.motivation, explanation.attention) == ("A lake.", ())
    assert explanation.attention_missing == "no_attention"


def test_the_spec_says_where_pictures_go_and_why_there_is_no_attention(server, capsys):
    composer = load_composer(f"openai:{server.url}/#m")
    assert composer.id == f"openai:{server.url}#m"
    assert server.seen == []
    said = capsys.readouterr().err
    assert f"pictures are sent to {server.url}/chat/completions" in said
    assert NO_ATTENTION in said
    assert said.count("\n") == 1


def test_a_server_that_drips_bytes_is_given_up_in_time(server):
    server.drip_s = 0.1
    server.replies = [(200, b" " * 200, {})]
    impatient = OpenAiBackend(Endpoint(server.url, "m"), RetryPolicy(timeout_s=0.5, tries=1))
    begun = time.monotonic()
    with pytest.raises(ModelError, match="took too long") as caught:
        impatient.generate(questions_of([TALK], [1], 9))
    assert caught.value.reason == "server_unavailable"
    assert time.monotonic() - begun < 3


def test_an_answer_is_not_unpacked_for_it_could_be_larger_than_it_looks(server):
    ask(server)
    assert server.seen[0][1]["Accept-Encoding"] == "identity"
    server.replies = [(200, gzip.compress(b'{"choices": []}'), {"Content-Encoding": "gzip"})]
    with pytest.raises(ModelError, match="no JSON"):
        ask(server)


def test_the_key_is_in_no_log(server, caplog):
    with caplog.at_level(logging.DEBUG):
        ask(server)
    assert server.url in caplog.text
    assert KEY not in caplog.text


def test_the_environments_proxy_is_used_and_one_that_cannot_be_is_one_line(server, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    monkeypatch.setenv("http_proxy", "nonsense://127.0.0.1:9")
    with pytest.raises(ModelError, match="proxy cannot be used") as caught:
        ask(server)
    assert caught.value.reason == "server_unavailable"
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1").removeprefix("http://"))
    far = OpenAiBackend(Endpoint("http://far.example/v1", "m"), RetryPolicy(tries=1))
    assert far.generate(questions_of([TALK], [1], 9)) == ["A lake."]
    assert server.seen[-1][0] == "http://far.example/v1/chat/completions"


@pytest.mark.parametrize(
    "spec",
    [
        "openai:", "openai:localhost#m", "openai:http://h/v1", "openai:http://u:p@h#m", "openai:http://h?key=1#m",
        "openai:http://h:port/v1#m", "openai:http://[h/v1#m",
    ],
)  # fmt: skip
def test_a_spec_without_address_or_model_or_with_a_secret_is_refused(spec):
    with pytest.raises(ConfigError) as caught:
        load_composer(spec)
    assert caught.value.reason == "bad_composer_spec"
