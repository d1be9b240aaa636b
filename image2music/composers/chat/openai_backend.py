"""Chat models behind a server that speaks OpenAI's chat completions: vLLM, llama.cpp, SGLang and hosted ones."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.composers.chat.backend import Conversation, Form, Looks, Message
from image2music.composers.chat.post import Patience, post_json, refuse_silence
from image2music.composers.chat.sampling import Sampling
from image2music.errors import ConfigError, ModelError

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
        refuse_silence(f"{self.base}/models")


class OpenAiBackend:
    """Keeps the protocol `ChatBackend`; requests of a batch go out at once, at most `AT_ONCE`."""

    prompt_tokens = PROMPT_TOKENS

    def __init__(self, endpoint: Endpoint, patience: Patience | None = None, sampling: Sampling | None = None) -> None:
        self.id = f"openai:{endpoint.base}#{endpoint.model}"
        self._endpoint = endpoint
        self._patience = patience or Patience()
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

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[Looks]:
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
