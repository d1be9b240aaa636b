"""A chat model behind the composer's protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from PIL.Image import Image

from image2music.composers.attention.maps import Faithfulness, Floats, Masks, blurred, with_blur
from image2music.composers.base import ComposeRequest, ExplainRequest, RefineRequest, RepairRequest
from image2music.composers.chat import conversations
from image2music.composers.chat.answers import attention_maps, prose_in, tune_in
from image2music.composers.chat.backend import ChatBackend, Conversation, Form
from image2music.errors import ConfigError, ModelError
from image2music.settings import picture_seed
from image2music.types import Description, Explanation

_log = logging.getLogger(__name__)
Asked = TypeVar("Asked", ComposeRequest, RepairRequest, RefineRequest, ExplainRequest)


@dataclass(frozen=True)
class AnswerLengths:
    """Most tokens of each kind of answer; thoughts, where a model thinks aloud, count."""

    description: int = 400
    tune: int = 2000
    motivation: int = 500

    def __post_init__(self) -> None:
        if min(self.description, self.tune, self.motivation) < 1:
            raise ConfigError("an answer has at least one token", reason="bad_answer_length")


class ChatComposer:
    """Asks a chat model for each step, and reads its answers."""

    def __init__(self, backend: ChatBackend, lengths: AnswerLengths | None = None) -> None:
        self.backend = backend
        self.lengths = lengths or AnswerLengths()

    @property
    def id(self) -> str:
        """The backend's model and revision."""
        return self.backend.id

    def describe(self, images: Sequence[Image]) -> list[Description]:
        """The likeliest description of each picture.

        Raises:
            ModelError: an answer holds no prose (`no_description`).
        """
        asked = [conversations.describing(image) for image in images]
        answers = self._generate(asked, [None] * len(asked), self.lengths.description, "prose")
        return [Description(_prose(answer, "description")) for answer in answers]

    def compose(self, requests: Sequence[ComposeRequest]) -> list[str]:
        """A first draft for each request."""
        return self._tunes(requests, self._first, _seed_of_draft)

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """The tune again, with what the checker said."""
        return self._tunes(
            requests, lambda asked: conversations.repairing(asked, self._first(asked.request)), _seed_of_repair
        )

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """The tune again, with its metrics and those of the references."""
        return self._tunes(
            requests, lambda asked: conversations.refining(asked, self._first(asked.request)), _seed_of_refinement
        )

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """A motivation, and where the model looks as it writes the tune that stands and its motivation.

        Raises:
            ModelError: an answer holds no prose (`no_motivation`).
        """
        asked = [conversations.motivating(one, self._first(one.request)) for one in requests]
        seeds: list[int | None] = [picture_seed(one.request.seed, "motivation") for one in requests]
        answers = self._generate(asked, seeds, self.lengths.motivation, "prose")
        return [
            self._explanation(request, talk, _prose(text, "motivation"))
            for request, talk, text in zip(requests, asked, answers, strict=True)
        ]

    def _explanation(self, request: ExplainRequest, asked: Conversation, motivation: str) -> Explanation:
        talk = asked.answered(motivation)
        try:
            tune, said = self.backend.attention(talk, layers=request.looking.layers)
            judge = self._judge(talk, request.request.seed) if request.looking.faithfulness else None
            return Explanation(motivation, attention_maps(tune, said, judge))
        except ModelError as error:
            _log.warning("a tune has no attention: %s", error)
            return Explanation(motivation, attention_missing=error.reason)

    def _judge(self, talk: Conversation, seed: int) -> Callable[[int, int], Faithfulness]:
        """Measures maps of a finished conversation by its likelihood beside pictures that are blurred in places."""
        blur = blurred(talk.image)

        def nats(masks: Masks) -> Floats:
            return self.backend.log_likelihood(talk, [with_blur(talk.image, blur, mask) for mask in masks])

        return lambda rows, cols: Faithfulness(nats, rows, cols, picture_seed(seed, "faithfulness"))

    def _first(self, request: ComposeRequest) -> Conversation:
        return conversations.composing(request, self.backend.prompt_tokens, self.backend.count_tokens)

    def _tunes(
        self, asked: Sequence[Asked], converse: Callable[[Asked], Conversation], seed: Callable[[Asked], int]
    ) -> list[str]:
        talks, seeds = [converse(one) for one in asked], [seed(one) for one in asked]
        return [tune_in(answer) for answer in self._generate(talks, seeds, self.lengths.tune, "abc")]

    def _generate(
        self, talks: Sequence[Conversation], seeds: Sequence[int | None], max_tokens: int, form: Form
    ) -> list[str]:
        return self.backend.generate(talks, seeds, max_tokens=max_tokens, form=form) if talks else []


def _prose(answer: str, what: str) -> str:
    text = prose_in(answer)
    if not text:
        message = f"the model gave no {what}; it said {' '.join(answer.split())[:100]!r}: try another model"
        raise ModelError(message, reason=f"no_{what}")
    return text


def _seed_of_draft(asked: ComposeRequest) -> int:
    return picture_seed(asked.seed, "draft")


def _seed_of_repair(asked: RepairRequest) -> int:
    return picture_seed(asked.request.seed, f"repair {asked.attempt}")


def _seed_of_refinement(asked: RefineRequest) -> int:
    return picture_seed(asked.request.seed, f"refine {asked.attempt}")
