"""Chat models behind a server that speaks OpenAI's chat completions: vLLM, llama.cpp, SGLang and hosted ones.

A request has a time-out for the whole of it, is tried again with growing pauses while the server is busy, and takes an
answer of bounded size. No redirect is followed, and no message or log holds the key.

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
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Event
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from image2music.composers.attention.maps import refuse_unknown_family
from image2music.composers.chat.conversations import ChatBackend, Conversation, Message, Question, TokenAttention
from image2music.composers.chat.engine import loading
from image2music.composers.chat.engine.decode import Sampling
from image2music.composers.chat.engine.loading import ModelName
from image2music.errors import ConfigError, ModelError

MAX_ANSWER_BYTES = 8 * 2**20
_LONGEST_PAUSE_S = 60.0
_MAX_SHOWN = 200
_REACHABLE_S = 30.0
_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)


@dataclass(frozen=True)
class RetryPolicy:
    """When a request is given up, and when it is tried again.

    Attributes:
        timeout_s: seconds for one whole request.
        tries: how often one is sent, the first time included.
        first_pause_s: seconds before the second try; each further pause is twice as long.
    """

    timeout_s: float = 180.0
    tries: int = 5
    first_pause_s: float = 1.0

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.tries < 1 or self.first_pause_s < 0:
            raise ConfigError("a request needs a time-out above 0 and at least one try", reason="bad_retry_policy")

    def pause_after(self, state: RetryCallState) -> float:
        """Return the seconds to wait after a failed try: what the server asks for, or what this policy does."""
        error = state.outcome.exception() if state.outcome is not None else None
        asked_for = error.retry_after_s if isinstance(error, _Busy) else 0.0
        return min(_LONGEST_PAUSE_S, max(asked_for, self.first_pause_s * 2 ** (state.attempt_number - 1)))


class _Busy(Exception):  # noqa: N818 - a state of the server, and no error to anyone outside of this module
    """Worth another try. `reason` is what it counts as if no try succeeds."""

    def __init__(self, message: str, retry_after_s: float = 0.0, reason: str = "server_unavailable") -> None:
        super().__init__(message)
        self.retry_after_s, self.reason = retry_after_s, reason


def post_json(
    url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    retry_policy: RetryPolicy,
    pause: Callable[[float], None] = time.sleep,
) -> Any:
    """Return what the server answers, as JSON.

    Status 408, 429 and 5xx, a lost connection, and what is no JSON are tried again. No redirect is followed: it would
    carry the key and the picture to an address that nobody named.

    Raises:
        ModelError: it refuses the request (`request_refused`), stays busy or out of reach (`server_unavailable`), or
            answers with something else than JSON (`unusable_answer`). No message holds a header's value.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(_Busy),
        stop=stop_after_attempt(retry_policy.tries),
        wait=retry_policy.pause_after,
        sleep=pause,
        reraise=True,
    )
    try:
        return retrying(_post_once, url, json.dumps(body).encode(), headers, retry_policy.timeout_s)
    except _Busy as busy:
        message = (
            f"{url} gave no answer in {retry_policy.tries} tries, the last: {busy}; "
            "check the address, or try again later"
        )
        raise ModelError(message, reason=busy.reason) from busy


def check_reachable(url: str) -> None:
    """Return if anyone answers at an address, whatever the answer.

    Raises:
        ModelError: nobody does (`server_unavailable`).
    """
    try:
        with _client(url, _REACHABLE_S) as client, client.stream("GET", url):
            return
    except _NOT_CONNECTED as error:
        message = f"nobody answers at {url}: {_cause(error)}; start the server, or mend the address"
        raise ModelError(message, reason="server_unavailable") from error
    except httpx2.TransportError:
        return  # whoever breaks off or is slow is there


@contextmanager
def _client(url: str, timeout_s: float) -> Iterator[httpx2.Client]:
    """Open a client that takes the environment's proxies as urllib does, and nothing else from the environment."""
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    if proxy is not None and "://" not in proxy:
        proxy = f"http://{proxy}"
    try:
        client = httpx2.Client(
            proxy=proxy, timeout=timeout_s, verify=_certificates(), trust_env=False, follow_redirects=False
        )
    except (ValueError, ImportError) as error:
        raise ModelError(f"the environment's proxy cannot be used: {error}", reason="server_unavailable") from error
    with client:
        yield client


@cache
def _certificates() -> ssl.SSLContext:
    """Load the system's certificates, once: that takes longer than a request."""
    return ssl.create_default_context()


def _post_once(url: str, data: bytes, headers: Mapping[str, str], timeout_s: float) -> Any:
    # Compressed answers could be larger than they look.
    sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
    deadline = time.monotonic() + timeout_s
    try:
        with _client(url, timeout_s) as client, client.stream("POST", url, content=data, headers=sent) as response:
            if response.is_success:
                return _decoded(_read(response, deadline))
            raise _refusal(url, response, headers, deadline)
    except httpx2.TransportError as error:  # a lost or refused connection, or a time-out
        raise _Busy(_cause(error)) from error


def _cause(error: BaseException) -> str:
    """Return what went wrong with a connection, in the operating system's words where it has some."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _read(response: httpx2.Response, deadline: float) -> bytes:
    """Read the whole answer; a server that drips bytes does not hold a worker for longer than the time-out."""
    parts, size = [], 0
    for part in response.iter_raw():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ModelError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes", reason="unusable_answer")
        if time.monotonic() > deadline:
            raise httpx2.ReadTimeout("the answer took too long")
    return b"".join(parts)


def _refusal(url: str, response: httpx2.Response, headers: Mapping[str, str], deadline: float) -> Exception:
    try:
        message = " ".join(_read(response, deadline).decode("utf-8", "replace").split())
    except (httpx2.TransportError, ModelError) as unread:
        message = type(unread).__name__
    for value in headers.values():
        message = message.replace(value, "***").replace(value.removeprefix("Bearer "), "***")
    shown = f"status {response.status_code}: {message[:_MAX_SHOWN]}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        return _Busy(shown, _seconds(response.headers.get("Retry-After")))
    return ModelError(f"{url} refused the request, {shown}", reason="request_refused")


def _seconds(text: str | None) -> float:
    """Parse Retry-After in seconds; a date, which it may be too, counts as 0."""
    return float(text) if text is not None and text.strip().isdigit() else 0.0


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Busy(f"something that is no JSON: {data[:60]!r}", reason="unusable_answer") from error


KEY_VARIABLE = "OPENAI_API_KEY"

NO_ATTENTION = (
    "the column attention stays empty, for a server does not tell where its model looks: "
    "name a model that looks here by #MODEL+attention=transformers:ID_OR_PATH"
)
PROMPT_TOKENS = 6000
AT_ONCE = 8
_CHARACTERS_A_TOKEN = 2
_JPEG_QUALITY = 90
_POLL_S = 0.5


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
    """Keeps the protocol `ChatBackend`; sends the requests of a batch at once, at most `AT_ONCE`."""

    prompt_tokens = PROMPT_TOKENS

    def __init__(
        self, endpoint: Endpoint, retry_policy: RetryPolicy | None = None, sampling: Sampling | None = None
    ) -> None:
        self.id = f"openai:{endpoint.base}#{endpoint.model}"
        self._endpoint = endpoint
        self._retry_policy = retry_policy or RetryPolicy()
        self._sampling = sampling or Sampling()
        # A batch with one failure is asked again one by one: what was already answered, and paid for, is not.
        self._answers: dict[str, str] = {}

    def count_tokens(self, text: str) -> int:
        """Estimate, rather too high: ABC has about two characters a token."""
        return -(-len(text) // _CHARACTERS_A_TOKEN)

    def generate(self, questions: Sequence[Question]) -> list[str]:
        """Return the answer to each question; whether answers to a seed repeat is up to the server."""
        bodies = [self._body(one.conversation, one.seed, one.max_tokens) for one in questions]
        names = [hashlib.sha256(json.dumps(body).encode()).hexdigest() for body in bodies]
        answers = self._at_once(names, bodies)
        for name in names:
            self._answers.pop(name, None)
        return answers

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[TokenAttention]:
        """Raise ModelError (`no_attention`); see `NO_ATTENTION`."""
        raise ModelError(NO_ATTENTION, reason="no_attention")

    def log_likelihood(self, conversation: Conversation, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Raise ModelError (`no_attention`), as `attention` does."""
        raise ModelError(NO_ATTENTION, reason="no_attention")

    def _at_once(self, names: Sequence[str], bodies: Sequence[dict[str, Any]]) -> list[str]:
        """Wait for all, failed or not, and wake up often.

        An element's time limit cannot interrupt a thread that sleeps.
        """
        pool, cancelled = ThreadPoolExecutor(max_workers=AT_ONCE), Event()
        try:
            answers = [pool.submit(self._ask, name, body, cancelled) for name, body in zip(names, bodies, strict=True)]
            while wait(answers, timeout=_POLL_S).not_done:
                pass
            return [answer.result() for answer in answers]
        finally:
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, name: str, body: dict[str, Any], cancelled: Event) -> str:
        def pause(seconds: float) -> None:
            if cancelled.wait(seconds):
                raise ModelError("nobody waits for the answer any more", reason="server_unavailable")

        if name not in self._answers:
            self._answers[name] = _text(post_json(self._endpoint.url, body, _headers(), self._retry_policy, pause))
        return self._answers[name]

    def _body(self, conversation: Conversation, seed: int | None, max_tokens: int) -> dict[str, Any]:
        first, *others = conversation.messages
        picture = {"type": "image_url", "image_url": {"url": data_url(conversation.image)}}
        messages = [{"role": first.role, "content": [picture, {"type": "text", "text": first.text}]}]
        sampling = {"temperature": self._sampling.temperature, "top_p": self._sampling.top_p}
        return {
            "model": self._endpoint.model,
            "messages": [*messages, *map(_plain, others)],
            "max_tokens": max_tokens,
            # Servers differ in how large a seed may be; 31 bits suit all.
            **({"temperature": 0.0, "seed": 0} if seed is None else {**sampling, "seed": seed % 2**31}),
        }


def _plain(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.text}


def data_url(image: Image.Image) -> str:
    """Encode a picture as a JPEG in a data URL."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{KEY_VARIABLE} holds characters that no key has: set it anew", reason="bad_key")
    return {"Authorization": f"Bearer {key}"}


def _text(answer: Any) -> str:
    try:
        content = answer["choices"][0]["message"].get("content")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        message = f"the server's answer holds no message: {str(answer)[:100]!r}; check address and model"
        raise ModelError(message, reason="unusable_answer") from error
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


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


def load_served(text: str) -> ChatBackend:
    """Load the backend for the part of the spec behind `openai:`.

    Print to stderr where pictures go and what attention is.

    Raises:
        ConfigError: as `ServedSpec.parse`. ModelError: no server answers; or the model for attention is not there, does
        not fit, or is of a family whose image
            tokens have no known place.
    """
    spec = ServedSpec.parse(text)
    spec.endpoint.check_reachable()
    server = OpenAiBackend(spec.endpoint)
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
