"""Requests and a stand-in backend that the tests of chat composers share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from image2music.composers.base import ComposeRequest
from image2music.composers.chat.conversations import Conversation, Question, TokenAttention
from image2music.composers.constrained.forms import Form
from image2music.errors import ModelError
from image2music.music.metrics import Metrics
from image2music.types import Description, Reference

TUNE = """X:1
T:Morning
M:4/4
L:1/4
Q:1/4=96
K:C
V:1
V:2
[V:1] C D E F | G A B c | c B A G | F E D C |
[V:1] C D E F | G4 |]
[V:2] C,4 | C,4 | C,4 | C,4 |
[V:2] C,4 | C,4 |]
"""

METRICS = Metrics(12.0, 8.0, 7.0, 2.0, 1.0, 2.5, 2.4, 0.0)


def picture(width: int = 60, height: int = 40) -> Image.Image:
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3)
    return Image.fromarray(ramp.astype(np.uint8))


def reference(number: int = 1, abc: str = TUNE) -> Reference:
    return Reference(f"id{number}", "row", f"{number}.mid", f"A calm tune {number}.", abc, METRICS, 0.5, None, "text")


def request(seed: int = 7, references: Sequence[Reference] = ()) -> ComposeRequest:
    return ComposeRequest("image", picture(), Description("A lake at dawn."), tuple(references), seed)


class FakeBackend:
    """Answers from a list, the last one again and again; `requests` keeps what it was asked."""

    id = "fake-chat@1"

    def __init__(
        self, *answers: str, prompt_tokens: int = 10_000, token_attention: Sequence[TokenAttention] = ()
    ) -> None:
        self.answers = list(answers)
        self.prompt_tokens = prompt_tokens
        self.token_attention = list(token_attention)
        self.requests: list[tuple[Conversation, int | None, int, Form]] = []
        self.replayed: list[Conversation] = []

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def generate(self, questions: Sequence[Question]) -> list[str]:
        answers = []
        for one in questions:
            self.requests.append((one.conversation, one.seed, one.max_tokens, one.form))
            answers.append(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        return answers

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[TokenAttention]:
        self.replayed.append(conversation)
        if not self.token_attention:
            raise ModelError("this stand-in has no attention", reason="no_attention")
        return self.token_attention
