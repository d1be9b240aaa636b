"""Chat models behind a server that speaks OpenAI's chat completions: vLLM, llama.cpp, SGLang and hosted ones.

`ledger` keeps what they answered and what it cost, `sending` sees to tries, pauses and what a server refuses.

Beside the server's model one may run here and compute attention in what the server wrote. The spec behind `openai:` is
`BASE_URL#MODEL[+attention=transformers:ID_OR_PATH[@REVISION][+remote_code]]`. The model for attention is part of the
spec, and of the composer's id, because other maps make other rows.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.composers.attention import refuse_unknown_family
from image2music.composers.chat.conversations import ChatBackend, Conversation, Message, Question, TokenAttention
from image2music.composers.chat.engine import loading
from image2music.composers.chat.engine.decode import Sampling
from image2music.composers.chat.engine.loading import ModelName
from image2music.composers.chat.ledger import Ledger, Usage
from image2music.composers.chat.sending import (
    Extra,
    Gate,
    Pause,
    RefusedError,
    RequestShape,
    RetryPolicy,
    ServerKind,
    check_reachable,
    json_extras,
    post_json,
)
from image2music.composers.constrained.forms import Form, JsonForm, LinesForm, TuneForm
from image2music.errors import ConfigError, ModelError
from image2music.settings import SendingOptions

KEY_VARIABLE = "OPENAI_API_KEY"

NO_ATTENTION = (
    "the column attention stays empty, for a server does not tell where its model looks: "
    "name a model that looks here by #MODEL+attention=transformers:ID_OR_PATH"
)
PROMPT_TOKENS = 6000
CHARACTERS_A_TOKEN = 3.6
"""Of prompts and answers alike, in the mean; where the server counts tokens, its count stands."""
PICTURE_TOKENS = 1100
"""A usual picture's; `MOST_PICTURE_TOKENS` is for what must not be too low."""
MOST_PICTURE_TOKENS = 2500
CUT = " cut"
"""Behind the key of an answer that ended in the middle."""
_CHARACTERS_A_TOKEN = 2
_JPEG_QUALITY = 90
_POLL_S = 0.5
_LOOK_S = 0.05


@dataclass(frozen=True)
class Endpoint:
    """`BASE_URL#MODEL`; the base is what stands before `/chat/completions`, often ending in `/v1`."""

    base: str
    model: str

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Parse the part of the spec behind `openai:`.

        Raises:
            ConfigError: it is no address with a model, or holds a password, which would end up in every row.
        """
        base, _, model = text.partition("#")
        try:
            parts = urlsplit(base)
            is_address = parts.scheme in ("http", "https") and bool(httpx2.URL(base).host)
        except (ValueError, httpx2.InvalidURL):
            is_address = False
        if not is_address or not model:
            message = "write openai:BASE_URL#MODEL, such as openai:http://localhost:8000/v1#my-model"
            raise ConfigError(message, reason="bad_composer_spec")
        if "@" in parts.netloc or parts.query:
            message = f"the address may hold neither password nor key: set {KEY_VARIABLE} in the environment"
            raise ConfigError(message, reason="bad_composer_spec")
        return cls(base.rstrip("/"), model)

    @property
    def url(self) -> str:
        """Return the address that requests go to."""
        return f"{self.base}/chat/completions"

    def check_reachable(self) -> None:
        """Raise ModelError (`server_unavailable`) where nobody answers, so that a job does not begin."""
        check_reachable(f"{self.base}/models")


class OpenAiBackend:
    """Keeps the protocol `ChatBackend`; sends the requests of a batch at once, as many as `sending` allows."""

    prompt_tokens = PROMPT_TOKENS

    def __init__(
        self,
        endpoint: Endpoint,
        retry_policy: RetryPolicy | None = None,
        sampling: Sampling | None = None,
        sending: SendingOptions = SendingOptions(),  # noqa: B008 - frozen
    ) -> None:
        self.id = f"openai:{endpoint.base}#{endpoint.model}"
        self.ledger = Ledger(sending.ledger, sending.price, sending.max_cost)
        self._endpoint = endpoint
        self._retry_policy = retry_policy or RetryPolicy()
        self._sampling = sampling or Sampling()
        self._sending = sending
        self._gate = Gate()
        self._shape = RequestShape()
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self._server: ServerKind | None = None
        self._asking = threading.Lock()
        self._places = threading.BoundedSemaphore(sending.concurrency)

    def count_tokens(self, text: str) -> int:
        """Estimate, rather too high: ABC has about two characters a token."""
        return -(-len(text) // _CHARACTERS_A_TOKEN)

    def generate(self, questions: Sequence[Question]) -> list[str]:
        """Return the answer to each question; whether answers to a seed repeat is up to the server.

        All of them are waited for, whatever becomes of one, and each that comes is kept: asked again alone, as after
        the failure of another one, it is not paid for again.

        Raises:
            ModelError: the server gave no answer. PutOffError: a picture has to wait.
        """
        bodies = [self._body(one) for one in questions]
        keys = [self._key(one, body) for one, body in zip(questions, bodies, strict=True)]
        answers = self._at_once(questions, bodies, keys)
        if not self.ledger.path:
            self.ledger.forget_answers(keys)
        return answers

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[TokenAttention]:
        """Raise ModelError (`no_attention`); see `NO_ATTENTION`."""
        raise ModelError(NO_ATTENTION, reason="no_attention")

    def log_likelihood(self, conversation: Conversation, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Raise ModelError (`no_attention`), as `attention` does."""
        raise ModelError(NO_ATTENTION, reason="no_attention")

    def _at_once(
        self, questions: Sequence[Question], bodies: Sequence[dict[str, Any]], keys: Sequence[str]
    ) -> list[str]:
        """Wait for all, failed or not, and wake up often.

        An element's time limit cannot interrupt a thread that sleeps. What it waits for the server's rate limits is
        told to `excuse`.
        """
        cancelled = threading.Event()

        def pause(seconds: float) -> None:
            if cancelled.wait(seconds):
                raise ModelError("nobody waits for the answer any more", reason="server_unavailable")

        pool = ThreadPoolExecutor(max_workers=self._sending.concurrency)
        try:
            answers = [
                pool.submit(self._answer, question, body, key, pause)
                for question, body, key in zip(questions, bodies, keys, strict=True)
            ]
            waiting, closed = True, self._gate.closed_s
            while waiting:
                waiting = bool(wait(answers, timeout=_POLL_S).not_done)
                earlier, closed = closed, self._gate.closed_s
                if closed > earlier and self._sending.excuse is not None:
                    self._sending.excuse(closed - earlier)
            return [answer.result() for answer in answers]
        finally:
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, question: Question, body: dict[str, Any], key: str, pause: Pause) -> str:
        """Return a kept answer; where there is none, send the request, and keep what comes."""
        with self._alone(key, pause):
            # In batches every picture asks again for what it has, until all is there: that saves nothing.
            kept = self.ledger.answer(key, counted=not self._sending.batch_api)
            if kept is not None:
                return kept
            if self._sending.batch_api:
                return self._first_of_its_step(question, body, key, pause)
            return self._sent(question, body, key, pause)

    def _first_of_its_step(self, question: Question, body: dict[str, Any], key: str, pause: Pause) -> str:
        """Send a step's first request at once, to find out what the server takes; put all others off for a batch.

        Raises:
            PutOffError: it is not the first. ModelError: as `_sent`, and where it came to nothing in a batch.
        """
        name = f"shape of {question.step}: {self.id}"
        with self._alone(name, pause):
            noted = self.ledger.noted(name)
            if noted is None:
                answer = self._sent(question, body, key, pause)
                self.ledger.note(name, self._shape.to_json())
                return answer
        room = 1 if self.ledger.answer(key + CUT, counted=False) is None else 2
        shaped = RequestShape.from_json(noted).body(body, self._extras(question.form), room)
        self.ledger.put_off(key, question.step, json.dumps(shaped))

    @contextmanager
    def _alone(self, key: str, pause: Pause) -> Iterator[None]:
        """Hold the right to send a request: one that nobody waits for any more may still be under way."""
        while True:
            with self._lock:
                if key not in self._asked:
                    self._asked.add(key)
                    break
            pause(_LOOK_S)
        try:
            yield
        finally:
            with self._lock:
                self._asked.discard(key)

    def _sent(self, question: Question, body: dict[str, Any], key: str, pause: Pause) -> str:
        """Send a request, once more with twice the room where the answer ends in the middle."""
        # A cut answer is kept, too, for it is paid: after a kill only the longer one is asked for.
        if self.ledger.answer(key + CUT) is None:
            answer = self._paid(question, body, key, 1, pause)
            if answer is not None:
                return answer
        return self._paid(question, body, key, 2, pause) or ""

    def _paid(self, question: Question, body: dict[str, Any], key: str, room: int, pause: Pause) -> str | None:
        """Reserve the price of a request, send it, and keep the answer; None where it was cut and there is more room.

        Raises:
            ModelError: the server gives no answer, or one without a message. PutOffError: the picture has to wait.
        """
        text = text_of_request(body)
        most = Usage(self.count_tokens(text) + MOST_PICTURE_TOKENS, 0, self._shape.answer_tokens(body, room))
        while not self._places.acquire(timeout=_POLL_S):
            pause(0.0)
        try:
            self.ledger.reserve(key, question.step, most.cost(self._sending.price), pause)
            answer = self._shaped(question, body, room, most.input_tokens, pause)
            usage = answer_usage(answer, text)
            try:
                content = answer_text(answer)
            except ModelError:
                self.ledger.charge(question.step, usage)
                raise
            is_cut = room == 1 and was_cut(answer)
            self.ledger.keep(key + CUT if is_cut else key, question.step, content, usage, cut=is_cut)
            return None if is_cut else content
        finally:
            self.ledger.release(key)
            self._places.release()

    def _shaped(self, question: Question, body: dict[str, Any], room: int, tokens: int, pause: Pause) -> Any:
        """Send a request in the shape that this server takes, and learn from what it refuses."""
        extras, shape = self._extras(question.form), self._shape
        while True:
            sent = shape.body(body, extras, room)
            try:
                answer = post_json(
                    self._endpoint.url, sent, request_headers(), self._retry_policy, pause, self._gate, tokens
                )
            except RefusedError as refusal:
                lesson = shape.after(refusal, sent, extras)
                if lesson is None:
                    raise
                shape = lesson
                continue
            with self._lock:
                self._shape = self._shape.merged(shape.having_seen(answer))
            return answer

    def _extras(self, form: Form) -> list[Extra]:
        """Return what tells this server of a form, the best first."""
        if isinstance(form, JsonForm):
            return json_extras(form)
        return self._kind().music_extras(form) if isinstance(form, LinesForm | TuneForm) else []

    def _kind(self) -> ServerKind:
        """Return what the server says that it is; asked once."""
        with self._asking:
            if self._server is None:
                self._server = ServerKind.ask(self._endpoint.base, self._endpoint.model, request_headers())
            return self._server

    def _body(self, question: Question) -> dict[str, Any]:
        """Return the request for a server that takes everything; `RequestShape` makes of it what is sent."""
        first, *others = question.conversation.messages
        picture = {"type": "image_url", "image_url": {"url": data_url(question.conversation.image)}}
        messages = [{"role": first.role, "content": [picture, {"type": "text", "text": first.text}]}]
        sampling = {"temperature": self._sampling.temperature, "top_p": self._sampling.top_p}
        seed = question.seed
        return {
            "model": self._endpoint.model,
            "messages": [*messages, *map(_plain, others)],
            "max_tokens": question.max_tokens,
            # Servers differ in how large a seed may be; 31 bits suit all.
            **({"temperature": 0.0, "seed": 0} if seed is None else {**sampling, "seed": seed % 2**31}),
        }

    def _key(self, question: Question, body: Mapping[str, Any]) -> str:
        """Return what tells a request from others: two takes differ even where the server takes no seed."""
        told = [self._endpoint.base, body, question.seed, question.step, repr(question.form)]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _plain(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.text}


def data_url(image: Image.Image) -> str:
    """Encode a picture as a JPEG in a data URL."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def request_headers() -> dict[str, str]:
    """Return the headers that hold the key.

    Raises:
        ConfigError: it is none (`bad_key`).
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{KEY_VARIABLE} holds characters that no key has: set it anew", reason="bad_key")
    return {"Authorization": f"Bearer {key}"}


def text_of_request(body: Mapping[str, Any]) -> str:
    """Return all words of a request's turns."""
    contents = [message["content"] for message in body["messages"]]
    parts = [part for content in contents for part in ([content] if isinstance(content, str) else content)]
    return "\n".join(part if isinstance(part, str) else part.get("text", "") for part in parts)


def answer_text(answer: Any) -> str:
    """Return what the model said.

    Raises:
        ModelError: the answer holds no message (`unusable_answer`).
    """
    try:
        content = answer["choices"][0]["message"].get("content")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        message = f"the server's answer holds no message: {str(answer)[:100]!r}; check address and model"
        raise ModelError(message, reason="unusable_answer") from error
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def answer_usage(answer: Any, asked: str) -> Usage:
    """Return an answer's tokens as the server counts them, else an estimate by its letters and those of the request."""
    said = answer.get("usage") if isinstance(answer, dict) else None
    if isinstance(said, dict) and isinstance(said.get("prompt_tokens"), int):
        details = said.get("prompt_tokens_details") or {}
        return Usage(said["prompt_tokens"], details.get("cached_tokens") or 0, said.get("completion_tokens") or 0)
    try:
        written = len(answer_text(answer))
    except ModelError:
        written = 0
    return Usage(round(len(asked) / CHARACTERS_A_TOKEN) + PICTURE_TOKENS, 0, round(written / CHARACTERS_A_TOKEN))


def was_cut(answer: Any) -> bool:
    """Return whether an answer ended because its tokens ran out."""
    return bool(answer["choices"][0].get("finish_reason") == "length")


ATTENTION = "+attention="
_KIND = "transformers:"


@dataclass(frozen=True)
class ServedSpec:
    """The server's model, and the model that computes attention; None where attention stays unknown."""

    endpoint: Endpoint
    attention_model: str | None = None

    @classmethod
    def parse(cls, text: str) -> ServedSpec:
        """Parse the part of the spec behind `openai:`.

        Raises:
            ConfigError: it names no server or no model (`bad_composer_spec`).
        """
        server, plus, attention_model = text.partition(ATTENTION)
        endpoint = Endpoint.parse(server)
        if not plus:
            return cls(endpoint)
        if not attention_model.startswith(_KIND):
            message = f"{ATTENTION}{attention_model} names no model that runs here: write {ATTENTION}{_KIND}ID_OR_PATH"
            raise ConfigError(message, reason="bad_composer_spec")
        ModelName.parse(attention_model.removeprefix(_KIND))
        return cls(endpoint, attention_model.removeprefix(_KIND))


class RemoteWithLocalAttention:
    """Answers of a server, with attention from a model that runs here and reads the same conversation.

    Keeps the protocol `ChatBackend`. Prompts have to find room in both models, and are counted by the one that counts
    more tokens.
    """

    def __init__(self, remote: ChatBackend, attention_model: ChatBackend) -> None:
        self.id = f"{remote.id}{ATTENTION}{attention_model.id}"
        self.prompt_tokens = min(remote.prompt_tokens, attention_model.prompt_tokens)
        self._remote, self._attention_model = remote, attention_model

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text, by the larger count of the two."""
        return max(self._remote.count_tokens(text), self._attention_model.count_tokens(text))

    def generate(self, questions: Sequence[Question]) -> list[str]:
        """Return the server's answers."""
        return self._remote.generate(questions)

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[TokenAttention]:
        """Return the attention of the model that runs here to the picture, as if it had written the server's turns."""
        return self._attention_model.attention(conversation, layers=layers)

    def log_likelihood(self, conversation: Conversation, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Return the likelihood of the server's turns by the model that runs here."""
        return self._attention_model.log_likelihood(conversation, images)


def load_served(text: str, sending: SendingOptions = SendingOptions()) -> ChatBackend:  # noqa: B008 - frozen
    """Load the backend for the part of the spec behind `openai:`.

    Print to stderr where pictures go and what attention is.

    Raises:
        ConfigError: as `ServedSpec.parse`. ModelError: no server answers; or the model for attention is not there, does
        not fit, or is of a family whose image
            tokens have no known place.
    """
    spec = ServedSpec.parse(text)
    spec.endpoint.check_reachable()
    server = OpenAiBackend(spec.endpoint, sending=sending)
    if spec.attention_model is None:
        backend: ChatBackend = server
        attention = NO_ATTENTION
    else:
        backend = RemoteWithLocalAttention(server, _load_attention_model(spec.attention_model))
        attention = f"{_KIND}{spec.attention_model} says here where it looks in the answers"
    print(f"image2music: pictures are sent to {spec.endpoint.url}; {attention}", file=sys.stderr)
    return backend


def served_id(text: str) -> str:
    """Return the id that the loaded backend would have, without loading it.

    Raises:
        ConfigError, ModelError: as `load_served`.
    """
    spec = ServedSpec.parse(text)
    server = OpenAiBackend(spec.endpoint).id
    if spec.attention_model is None:
        return server
    _refuse_unknown_family(spec.attention_model)
    return f"{server}{ATTENTION}{loading.model_id(ModelName.parse(spec.attention_model))}"


def served_memory_report(text: str) -> dict[str, str]:
    """Return a dry run's lines about memory.

    Raises:
        ConfigError, ModelError: as `load_served`.
    """
    spec = ServedSpec.parse(text)
    if spec.attention_model is None:
        return {"memory": "that of the server"}
    from image2music.composers.chat.engine import transformers_backend

    return transformers_backend.replay_lines(loading.read_config(ModelName.parse(spec.attention_model)))


def _load_attention_model(attention_model: str) -> ChatBackend:
    from image2music.composers.chat.engine import transformers_backend

    _refuse_unknown_family(attention_model)
    try:
        return transformers_backend.load_transformers_backend(attention_model)
    except ModelError as error:
        raise _named(error) from error


def _refuse_unknown_family(attention_model: str) -> None:
    try:
        refuse_unknown_family(str(loading.read_config(ModelName.parse(attention_model)).get("model_type")))
    except ModelError as error:
        raise _named(error) from error


def _named(error: ModelError) -> ModelError:
    """Say which of the two models an error is about, and that tunes do not need it."""
    return ModelError(f"{ATTENTION}... {error}; without it tunes come from the server alone", reason=error.reason)
