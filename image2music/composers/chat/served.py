"""A chat model behind a server, and beside it one that runs here and computes attention in what the server wrote.

The spec behind `openai:` is `BASE_URL#MODEL[+attention=transformers:ID_OR_PATH[@REVISION][+remote_code]]`. The model
for attention is part of the spec, and of the composer's id, because other maps make other rows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.composers.attention.boxes import refuse_unknown_family
from image2music.composers.chat.backend import ChatBackend, Conversation, Form, TokenAttention
from image2music.composers.chat.engine import loading
from image2music.composers.chat.engine.loading import ModelName
from image2music.composers.chat.server import NO_ATTENTION, Endpoint, OpenAiBackend
from image2music.errors import ConfigError, ModelError

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

    def generate(
        self, conversations: Sequence[Conversation], seeds: Sequence[int | None], *, max_tokens: int, form: Form
    ) -> list[str]:
        """Return the server's answers."""
        return self._remote.generate(conversations, seeds, max_tokens=max_tokens, form=form)

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
