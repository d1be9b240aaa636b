"""Chat models behind a server that speaks OpenAI's chat completions.

Posts JSON to a server that may be busy: time-outs, retries with back-off, bounded answers, no redirects.

Chat models behind a server that speaks OpenAI's chat completions: vLLM, llama.cpp, SGLang and hosted ones.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import IO, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.composers.chat.backend import Conversation, Form, Message, TokenAttention
from image2music.composers.chat.engine.sampling import Sampling
from image2music.errors import ConfigError, ModelError

MAX_ANSWER_BYTES = 8 * 2**20
_LONGEST_PAUSE_S = 60.0
_MAX_SHOWN = 200
_CHUNK = 2**16
_KNOCK_S = 30.0


@dataclass(frozen=True)
class RetryPolicy:
    """Seconds for one whole request, how often one is tried, and the pause before the second try (then doubled)."""

    timeout_s: float = 180.0
    tries: int = 5
    first_pause_s: float = 1.0

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.tries < 1 or self.first_pause_s < 0:
            raise ConfigError("a request needs a time-out above 0 and at least one try", reason="bad_patience")


class _Busy(Exception):  # noqa: N818 - a state of the server, and no error to anyone outside of this module
    """Worth another try; `wait_s` is what the server asks for, `reason` what it counts as if that is of no use."""

    def __init__(self, said: str, wait_s: float = 0.0, reason: str = "server_unavailable") -> None:
        super().__init__(said)
        self.wait_s, self.reason = wait_s, reason


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key and the picture to an address that nobody named."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none: the redirect comes back as an error."""


_opener = urllib.request.build_opener(_NoRedirects)


def post_json(
    url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    patience: RetryPolicy,
    pause: Callable[[float], None] = time.sleep,
) -> Any:
    """What the server answers, as JSON. Status 408, 429, 5xx, a lost connection and what is no JSON are tried again.

    Raises:
        ModelError: it refuses the request (`request_refused`), stays busy or out of reach (`server_unavailable`), or
            answers with something else than JSON (`unusable_answer`). No message holds a header's value.
    """
    data = json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **headers}
    said, reason = "", ""
    for attempt in range(patience.tries):
        try:
            return _decoded(_post(url, data, sent, patience.timeout_s))
        except _Busy as busy:
            said, reason = str(busy), busy.reason
            if attempt + 1 < patience.tries:
                pause(min(_LONGEST_PAUSE_S, max(busy.wait_s, patience.first_pause_s * 2**attempt)))
    message = f"{url} gave no answer in {patience.tries} tries, the last: {said}; check the address, or try again later"
    raise ModelError(message, reason=reason)


def check_reachable(url: str) -> None:
    """Nothing, if anyone answers at an address, whatever the answer.

    Raises:
        ModelError: nobody does (`server_unavailable`).
    """
    try:
        _opener.open(urllib.request.Request(url), timeout=_KNOCK_S).close()
    except urllib.error.HTTPError as error:
        error.close()
    except urllib.error.URLError as error:
        message = f"nobody answers at {url}: {_told(error)}; start the server, or mend the address"
        raise ModelError(message, reason="server_unavailable") from error
    except (OSError, http.client.HTTPException):
        return  # whoever breaks off or is slow is there


def _post(url: str, data: bytes, headers: Mapping[str, str], timeout_s: float) -> bytes:
    request = urllib.request.Request(url, data, dict(headers), method="POST")
    deadline = time.monotonic() + timeout_s
    try:
        with _opener.open(request, timeout=timeout_s) as response:
            return _read(response, deadline)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error, headers, deadline) from None
    except (OSError, http.client.HTTPException) as error:  # a lost or refused connection, or a time-out
        raise _Busy(_told(error)) from error


def _told(error: Exception) -> str:
    """What went wrong with a connection, without what only a program wants to know."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__


def _read(response: IO[bytes], deadline: float) -> bytes:
    """The whole answer; a server that drips bytes does not hold a worker for longer than the time-out."""
    parts, size = [], 0
    while part := response.read1(_CHUNK):  # type: ignore[attr-defined]
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ModelError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes", reason="unusable_answer")
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


def _refusal(url: str, error: urllib.error.HTTPError, headers: Mapping[str, str], deadline: float) -> Exception:
    try:
        said = " ".join(_read(error, deadline).decode("utf-8", "replace").split())
    except (OSError, http.client.HTTPException, ModelError) as unread:
        said = type(unread).__name__
    for value in headers.values():
        said = said.replace(value, "***").replace(value.removeprefix("Bearer "), "***")
    shown = f"status {error.code}: {said[:_MAX_SHOWN]}"
    if error.code in (408, 429) or error.code >= 500:
        return _Busy(shown, _seconds(error.headers.get("Retry-After")))
    return ModelError(f"{url} refused the request, {shown}", reason="request_refused")


def _seconds(text: str | None) -> float:
    """Retry-After in seconds; a date, which it may be too, counts as nothing."""
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
_AWAKE_S = 0.5


@dataclass(frozen=True)
class Endpoint:
    """`BASE_URL#MODEL`; the base is what stands before `/chat/completions`, often ending in `/v1`."""

    base: str
    model: str

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Reads the part of the spec behind `openai:`.

        Raises:
            ConfigError: it is no address with a model, or holds a password, which would end up in every row.
        """
        base, _, model = text.partition("#")
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname or not model:
            message = "write --composer openai:BASE_URL#MODEL, such as openai:http://localhost:8000/v1#my-model"
            raise ConfigError(message, reason="bad_composer_spec")
        if "@" in parts.netloc or parts.query:
            message = f"the address may hold neither password nor key: set {KEY_VARIABLE} in the environment"
            raise ConfigError(message, reason="bad_composer_spec")
        return cls(base.rstrip("/"), model)

    @property
    def url(self) -> str:
        """Where requests go."""
        return f"{self.base}/chat/completions"

    def refuse_silence(self) -> None:
        """Raises ModelError (`server_unavailable`) where nobody answers, so that a job does not begin."""
        check_reachable(f"{self.base}/models")


class OpenAiBackend:
    """Keeps the protocol `ChatBackend`; requests of a batch go out at once, at most `AT_ONCE`."""

    prompt_tokens = PROMPT_TOKENS

    def __init__(
        self, endpoint: Endpoint, patience: RetryPolicy | None = None, sampling: Sampling | None = None
    ) -> None:
        self.id = f"openai:{endpoint.base}#{endpoint.model}"
        self._endpoint = endpoint
        self._patience = patience or RetryPolicy()
        self._sampling = sampling or Sampling()
        # A batch with one failure is asked again one by one: what was already answered, and paid for, is not.
        self._answered: dict[str, str] = {}

    def count_tokens(self, text: str) -> int:
        """An estimate, rather too high: ABC has about two characters a token."""
        return -(-len(text) // _CHARACTERS_A_TOKEN)

    def generate(
        self, conversations: Sequence[Conversation], seeds: Sequence[int | None], *, max_tokens: int, form: Form
    ) -> list[str]:
        """The next turn of each conversation. A seed is passed on; whether answers repeat is up to the server."""
        bodies = [self._body(talk, seed, max_tokens) for talk, seed in zip(conversations, seeds, strict=True)]
        names = [hashlib.sha256(json.dumps(body).encode()).hexdigest() for body in bodies]
        answers = self._at_once(names, bodies)
        for name in names:
            self._answered.pop(name, None)
        return answers

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[TokenAttention]:
        """Raises ModelError (`no_attention`); see `NO_ATTENTION`."""
        raise ModelError(NO_ATTENTION, reason="no_attention")

    def log_likelihood(self, conversation: Conversation, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Raises ModelError (`no_attention`), as `attention` does."""
        raise ModelError(NO_ATTENTION, reason="no_attention")

    def _at_once(self, names: Sequence[str], bodies: Sequence[dict[str, Any]]) -> list[str]:
        """Waits for all, failed or not, and wakes up often: a `--time_limit` reaches no thread that sleeps."""
        pool, over = ThreadPoolExecutor(max_workers=AT_ONCE), Event()
        try:
            asked = [pool.submit(self._ask, name, body, over) for name, body in zip(names, bodies, strict=True)]
            while wait(asked, timeout=_AWAKE_S).not_done:
                pass
            return [answer.result() for answer in asked]
        finally:
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, name: str, body: dict[str, Any], over: Event) -> str:
        def pause(seconds: float) -> None:
            if over.wait(seconds):
                raise ModelError("nobody waits for the answer any more", reason="server_unavailable")

        if name not in self._answered:
            self._answered[name] = _text(post_json(self._endpoint.url, body, _headers(), self._patience, pause))
        return self._answered[name]

    def _body(self, talk: Conversation, seed: int | None, max_tokens: int) -> dict[str, Any]:
        first, *others = talk.messages
        shown = {"type": "image_url", "image_url": {"url": data_url(talk.image)}}
        messages = [{"role": first.role, "content": [shown, {"type": "text", "text": first.text}]}]
        drawn = {"temperature": self._sampling.temperature, "top_p": self._sampling.top_p}
        return {
            "model": self._endpoint.model,
            "messages": [*messages, *map(_plain, others)],
            "max_tokens": max_tokens,
            # Servers differ in how large a seed may be; 31 bits suit all.
            **({"temperature": 0.0, "seed": 0} if seed is None else {**drawn, "seed": seed % 2**31}),
        }


def _plain(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.text}


def data_url(image: Image.Image) -> str:
    """A picture as a JPEG inside an address."""
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
