"""A chat model behind the composer's protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from PIL.Image import Image

from image2music.composers.attention.maps import Faithfulness, Floats, Masks, blurred, with_blur
from image2music.composers.base import (
    ComposeRequest,
    EditRequest,
    ExplainRequest,
    PlanningRequest,
    RefineRequest,
    RepairRequest,
    WriteRequest,
)
from image2music.composers.chat.conversations import (
    ChatBackend,
    Conversation,
    attention_maps,
    composing,
    describing,
    motivating,
    prose_in,
    questions_of,
    refining,
    repairing,
    tune_in,
)
from image2music.composers.forms import PROSE, TUNE_OF_TWO, Form
from image2music.errors import ConfigError, ModelError
from image2music.music.planning.plan import Plan
from image2music.settings import picture_seed
from image2music.types import Description, Edit, Explanation

_log = logging.getLogger(__name__)
Request = TypeVar("Request", WriteRequest, RepairRequest, RefineRequest, ExplainRequest)


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
        """Name the backend's model and revision."""
        return self.backend.id

    def look(self, images: Sequence[Image]) -> list[Description]:
        """Return the likeliest description of each picture.

        Raises:
            ModelError: an answer holds no prose (`no_description`).
        """
        conversations = [describing(image) for image in images]
        answers = self._generate(conversations, [None] * len(conversations), self.lengths.description, PROSE, "look")
        return [Description(_prose(answer, "description")) for answer in answers]

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        """Refuse: a chat model composes by the paper's chain alone (`ConfigError`, `no_plans`)."""
        raise ConfigError("a chat model composes by the paper's chain alone: protocol paper", reason="no_plans")

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """Return a first draft for each request."""
        return self._tunes(requests, lambda one: self._first_turn(one.request), _seed_of_draft)

    def edit(self, requests: Sequence[EditRequest]) -> list[tuple[Edit, ...]]:
        """Return no edits: they belong to the chain with plans."""
        return [() for _ in requests]

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """Return each tune again, given what the checker said."""
        return self._tunes(requests, lambda one: repairing(one, self._first_turn(one.request)), _seed_of_repair)

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """Return each tune again, given its metrics."""
        return self._tunes(requests, lambda one: refining(one, self._first_turn(one.request)), _seed_of_refinement)

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """Return a motivation, and the model's attention as it writes the accepted tune and its motivation.

        Raises:
            ModelError: an answer holds no prose (`no_motivation`).
        """
        conversations = [motivating(one, self._first_turn(one.request)) for one in requests]
        seeds: list[int | None] = [picture_seed(one.request.seed, "motivation") for one in requests]
        answers = self._generate(conversations, seeds, self.lengths.motivation, PROSE, "motivation")
        return [
            self._explanation(request, conversation, _prose(answer, "motivation"))
            for request, conversation, answer in zip(requests, conversations, answers, strict=True)
        ]

    def _explanation(self, request: ExplainRequest, question: Conversation, motivation: str) -> Explanation:
        options, conversation = request.attention_options, question.answered(motivation)
        try:
            tune, prose = self.backend.attention(conversation, layers=options.layers)
            faithfulness = self._faithfulness(conversation, request.request.seed) if options.faithfulness else None
            return Explanation(motivation, attention_maps(tune, prose, faithfulness))
        except ModelError as error:
            _log.warning("a tune has no attention: %s", error)
            return Explanation(motivation, attention_missing=error.reason)

    def _faithfulness(self, conversation: Conversation, seed: int) -> Callable[[int, int], Faithfulness]:
        """Measure maps by the likelihood of a finished conversation beside pictures that are blurred in places."""
        image = conversation.image
        blur = blurred(image)

        def nats(masks: Masks) -> Floats:
            return self.backend.log_likelihood(conversation, [with_blur(image, blur, mask) for mask in masks])

        return lambda rows, cols: Faithfulness(nats, rows, cols, picture_seed(seed, "faithfulness"))

    def _first_turn(self, request: ComposeRequest) -> Conversation:
        return composing(request, self.backend.prompt_tokens, self.backend.count_tokens)

    def _tunes(
        self, requests: Sequence[Request], converse: Callable[[Request], Conversation], seed: Callable[[Request], int]
    ) -> list[str]:
        conversations, seeds = [converse(one) for one in requests], [seed(one) for one in requests]
        return [
            tune_in(answer) for answer in self._generate(conversations, seeds, self.lengths.tune, TUNE_OF_TWO, "tune")
        ]

    def _generate(
        self, conversations: Sequence[Conversation], seeds: Sequence[int | None], max_tokens: int, form: Form, step: str
    ) -> list[str]:
        if not conversations:
            return []
        return self.backend.generate(questions_of(conversations, seeds, max_tokens, form, step))


def _prose(answer: str, what: str) -> str:
    text = prose_in(answer)
    if not text:
        message = f"the model gave no {what}; it said {' '.join(answer.split())[:100]!r}: try another model"
        raise ModelError(message, reason=f"no_{what}")
    return text


def _seed_of_draft(request: WriteRequest) -> int:
    return picture_seed(request.request.seed, "draft")


def _seed_of_repair(request: RepairRequest) -> int:
    return picture_seed(request.request.seed, f"repair {request.attempt}")


def _seed_of_refinement(request: RefineRequest) -> int:
    return picture_seed(request.request.seed, "refine 1")
