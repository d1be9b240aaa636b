"""What a chat model must be able to do to compose: answer conversations, and say where it looked if it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

Form = Literal["prose", "abc"]
"""What an answer is to be. A backend that can constrain its decoding does so for `abc`."""


@dataclass(frozen=True)
class Message:
    """One turn. There is no system turn: several model families have none."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, eq=False)
class Conversation:
    """A picture, shown before the words of the first turn, and what has been said about it. The last turn asks."""

    image: Image
    messages: tuple[Message, ...]

    def then(self, answer: str, question: str) -> Conversation:
        """The conversation with an answer and the next question."""
        turns = (Message("assistant", answer), Message("user", question))
        return Conversation(self.image, (*self.messages, *turns))

    def answered(self, answer: str) -> Conversation:
        """The conversation with its last answer."""
        return Conversation(self.image, (*self.messages, Message("assistant", answer)))


@dataclass(frozen=True, eq=False)
class TokenAttention:
    """Where a model looked while it wrote one text.

    spans: int[tokens, 2], the characters of the text that each token covers.
    weights, baseline: float32[tokens, rows, cols], attention to each cell of the picture, and to the same cell of a
    blank picture, as a share of all attention of that token.
    layers: float32[layers, tokens, rows, cols], the weights before their mean over layers, where asked for.
    """

    text: str
    spans: NDArray[np.int64]
    weights: NDArray[np.float32]
    baseline: NDArray[np.float32]
    layers: NDArray[np.float32] | None = None


class ChatBackend(Protocol):
    """A chat model that sees pictures."""

    @property
    def id(self) -> str:
        """Names the model and its revision."""

    @property
    def prompt_tokens(self) -> int:
        """How many tokens of text a prompt may have, so that picture and answers still find room beside it."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a text; may be an estimate that is rather too high."""

    def generate(
        self, conversations: Sequence[Conversation], seeds: Sequence[int | None], *, max_tokens: int, form: Form
    ) -> list[str]:
        """The next turn of each conversation.

        `seeds` makes each answer repeatable, whatever the batch; None asks for the likeliest answer.

        Raises:
            ModelError: the model gave no answer.
        """

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[TokenAttention]:
        """Where the model looks as it writes each of its own turns; with `layers`, each layer by itself too.

        Raises:
            ModelError: the backend cannot tell; the message says why.
        """

    def log_likelihood(self, conversation: Conversation, images: Sequence[Image]) -> NDArray[np.float64]:
        """float64[images, tokens]: nats of each token of the model's own turns, with other pictures of the same size.

        Raises:
            ModelError: the backend cannot tell.
        """
