"""The protocol of a chat model: it answers conversations about a picture, and gives its attention if it can."""

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
    """A picture, shown before the words of the first turn, and the turns so far.

    The last turn is the user's question.
    """

    image: Image
    messages: tuple[Message, ...]

    def then(self, answer: str, question: str) -> Conversation:
        """Append an answer and the next question."""
        turns = (Message("assistant", answer), Message("user", question))
        return Conversation(self.image, (*self.messages, *turns))

    def answered(self, answer: str) -> Conversation:
        """Append the last answer."""
        return Conversation(self.image, (*self.messages, Message("assistant", answer)))


@dataclass(frozen=True, eq=False)
class TokenAttention:
    """A model's attention to the picture for each token of one text that it wrote.

    Attributes:
        text: what it wrote. spans: int64[tokens, 2], the characters of the text that each token covers. weights:
        float32[tokens, rows, cols], attention to each cell of the picture as a share of all attention of a token.
        baseline: the same for a blank picture. layers: float32[layers, tokens, rows, cols], the weights before their
        mean over layers, where asked for.
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
        """Name the model and its revision."""

    @property
    def prompt_tokens(self) -> int:
        """Return how many tokens of text a prompt may have beside picture and answers."""

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text; may be an estimate that is rather too high."""

    def generate(
        self, conversations: Sequence[Conversation], seeds: Sequence[int | None], *, max_tokens: int, form: Form
    ) -> list[str]:
        """Return the next turn of each conversation.

        A seed makes an answer repeatable, whatever the batch; None asks for the likeliest answer.

        Raises:
            ModelError: the model gave no answer.
        """

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[TokenAttention]:
        """Return attention for each of the model's own turns; with `layers`, for each layer alone too.

        Raises:
            ModelError: the backend has no attention; the message says why.
        """

    def log_likelihood(self, conversation: Conversation, images: Sequence[Image]) -> NDArray[np.float64]:
        """Return float64[images, tokens].

        Nats of each token of the model's own turns beside other pictures of the same size.

        Raises:
            ModelError: the backend has no likelihoods.
        """
