"""A chat model behind the composer's protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from PIL.Image import Image

from image2music.abc.playback import abc_to_score
from image2music.composers.attention import Faithfulness, Floats, Masks, blurred, with_blur
from image2music.composers.base import (
    ComposeRequest,
    EditRequest,
    ExplainRequest,
    PlanningRequest,
    RefineRequest,
    RepairRequest,
    WriteRequest,
)
from image2music.composers.chat import steps
from image2music.composers.chat.answers import (
    false_claims,
    json_in,
    prose_in,
    prose_of,
    scene_in,
    sentences,
    tune_in,
    without,
    without_thinking,
)
from image2music.composers.chat.conversations import (
    AnswerLengths,
    ChatBackend,
    Conversation,
    Question,
    attention_maps,
    composing,
    motivating,
    questions_of,
    refining,
    repairing,
)
from image2music.composers.chat.protocol import SmallSteps, WholeSteps
from image2music.composers.chat.steps import LOOK_FORM
from image2music.composers.constrained.forms import PROSE, TUNE_OF_TWO
from image2music.errors import ModelError
from image2music.images.scene import Scene
from image2music.music.planning.plan import Plan
from image2music.settings import Steps, picture_seed
from image2music.types import Description, Edit, Explanation

_log = logging.getLogger(__name__)
Request = TypeVar("Request", WriteRequest, RepairRequest, RefineRequest, ExplainRequest)
Planned = TypeVar("Planned", WriteRequest, RepairRequest)
Stepped = TypeVar("Stepped", PlanningRequest, WriteRequest)
Answer = TypeVar("Answer")


class ChatComposer:
    """Asks a chat model for each step, and reads its answers.

    With a plan it composes by the steps of `steps`; without one, by the paper's chain. `notes` of a tune keep the
    conversation so far, so that a step goes on from the one before; a step never changes what an earlier one noted, and
    may be asked again.
    """

    def __init__(self, backend: ChatBackend, lengths: AnswerLengths | None = None) -> None:
        self.backend = backend
        self.lengths = lengths or AnswerLengths()
        self._whole, self._small = WholeSteps(self._generate, self.lengths), SmallSteps(self._generate, self.lengths)

    @property
    def id(self) -> str:
        """Name the backend's model and revision."""
        return self.backend.id

    def look(self, images: Sequence[Image], language: str = "en") -> list[Description]:
        """Return the likeliest description of each picture, and its scene where the answer holds JSON.

        Raises:
            ModelError: an answer holds no words (`no_description`).
        """
        talks = [steps.looking(image, language) for image in images]
        answers = self._generate(questions_of(talks, [None] * len(talks), self.lengths.description, LOOK_FORM, "look"))
        return [_described(answer, language) for answer in answers]

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        """Return a plan for each request, made in parts for small models, after sketches by the full steps.

        Raises:
            ModelError: an answer holds no JSON, asked twice (`no_json`). PlanError: it holds no plan (`bad_plan`).
        """
        return self._by_steps(requests, {"small": self._small.plan}, self._whole.plan)

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """Return a first draft for each request."""
        return self._by_plan(requests, self._write_to_plans, self._write_freely)

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """Return each tune again, given what the checker said."""
        return self._by_plan(requests, self._whole.mend, self._repair_freely)

    def edit(self, requests: Sequence[EditRequest]) -> list[tuple[Edit, ...]]:
        """Return bars to put in the place of faults and dull places; none by the shorter steps, which spare this call.

        Raises:
            ModelError: an answer holds no JSON, asked twice (`no_json`).
        """
        asked = [one for one in requests if one.request.steps == "full"]
        found = {id(one): edits for one, edits in zip(asked, self._whole.edit(asked), strict=True)}
        return [found.get(id(one), ()) for one in requests]

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """Return each tune again, given its metrics."""
        return self._tunes(requests, lambda one: refining(one, self._first_turn(one.request)), _seed_of_refinement)

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """Return a motivation, and the model's attention as it writes the accepted tune and its motivation.

        What a motivation says of key, tempo, bars and peak is held against the tune; with something false in it, it is
        asked for again, and a sentence that is false still is left out.

        Raises:
            ModelError: an answer holds no prose (`no_motivation`).
        """
        talks = [self._why(one) for one in requests]
        seeds: list[int | None] = [steps.seed_of(one.request, "motivation") for one in requests]
        said = self._generate(questions_of(talks, seeds, self.lengths.motivation, PROSE, "motivation"))
        said = self._once_more(requests, talks, said)
        motivations = [_prose(answer, "motivation") for answer in said]
        scores = [abc_to_score(one.abc) for one in requests]
        wrong = [false_claims(*one) for one in zip(motivations, scores, (one.plan for one in requests), strict=True)]
        again = [at for at, claims in enumerate(wrong) if claims]
        asked = [
            steps.explaining_again(talks[at].answered(motivations[at]), [claim.why for claim in wrong[at]])
            for at in again
        ]
        seeds = [steps.seed_of(requests[at].request, "motivation again") for at in again]
        said = self._generate(questions_of(asked, seeds, self.lengths.motivation, PROSE, "motivation"))
        for at, answer in zip(again, said, strict=True):
            better = prose_in(answer) or motivations[at]
            motivations[at] = without(better, false_claims(better, scores[at], requests[at].plan))
        return [self._explanation(*one) for one in zip(requests, talks, motivations, strict=True)]

    # ------------------------------------------------------------ by plan

    def _write_to_plans(self, requests: Sequence[WriteRequest]) -> list[str]:
        return self._by_steps(requests, {"small": self._small.write}, self._whole.write)

    def _once_more(
        self, requests: Sequence[ExplainRequest], talks: Sequence[Conversation], said: Sequence[str]
    ) -> list[str]:
        """Ask again where an answer holds no prose: a finished tune must not be lost for that."""
        empty = [at for at, answer in enumerate(said) if not prose_in(answer)]
        seeds = [steps.seed_of(requests[at].request, "motivation once more") for at in empty]
        questions = questions_of([talks[at] for at in empty], seeds, self.lengths.motivation, PROSE, "motivation")
        answers = dict(zip(empty, self._generate(questions), strict=True))
        return [answers.get(at, answer) for at, answer in enumerate(said)]

    def _why(self, request: ExplainRequest) -> Conversation:
        if request.plan is None:
            return motivating(request, self._first_turn(request.request))
        talk, edits = request.notes.get("edited", (None, None))
        if talk is None:
            talk = steps.talk_of(request.request, request.plan, request.notes)
        return steps.explaining(request, request.plan, talk, edits)

    def _explanation(self, request: ExplainRequest, question: Conversation, motivation: str) -> Explanation:
        options, conversation = request.attention_options, question.answered(motivation)
        derived = {str(at) for at, one in enumerate(request.plan.voices, 1) if one.derived} if request.plan else set()
        if request.plan is not None:
            conversation = steps.replayed(request, request.plan, question, motivation)
        try:
            *_, tune, prose = self.backend.attention(conversation, layers=options.layers)
            faithfulness = self._faithfulness(conversation, request.request.seed) if options.faithfulness else None
            return Explanation(motivation, attention_maps(tune, prose, faithfulness, frozenset(derived)))
        except ModelError as error:
            _log.warning("a tune has no attention: %s", error)
            return Explanation(motivation, attention_missing=error.reason)

    def _by_plan(
        self, requests: Sequence[Planned], with_plan: Callable[[list[Planned]], list[str]],
        freely: Callable[[list[Planned]], list[str]],
    ) -> list[str]:  # fmt: skip
        """Ask for those that have a plan and for those that have none, each in a batch of its own."""
        answers: dict[int, str] = {}
        for some, call in (([one for one in requests if one.plan is not None], with_plan),
                           ([one for one in requests if one.plan is None], freely)):  # fmt: skip
            answers |= {id(one): answer for one, answer in zip(some, call(some) if some else [], strict=True)}
        return [answers[id(one)] for one in requests]

    def _by_steps(
        self, requests: Sequence[Stepped], special: Mapping[Steps, Callable[[list[Stepped]], list[Answer]]],
        others: Callable[[list[Stepped]], list[Answer]],
    ) -> list[Answer]:  # fmt: skip
        answers: dict[int, Answer] = {}
        for kind in sorted({one.request.steps for one in requests}):
            some = [one for one in requests if one.request.steps == kind]
            answers |= {id(one): answer for one, answer in zip(some, special.get(kind, others)(some), strict=True)}
        return [answers[id(one)] for one in requests]

    # ------------------------------------------------------------ the paper's chain

    def _write_freely(self, requests: Sequence[WriteRequest]) -> list[str]:
        return self._tunes(requests, lambda one: self._first_turn(one.request), _seed_of_draft)

    def _repair_freely(self, requests: Sequence[RepairRequest]) -> list[str]:
        return self._tunes(requests, lambda one: repairing(one, self._first_turn(one.request)), _seed_of_repair)

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
        answers = self._generate(questions_of(conversations, seeds, self.lengths.tune, TUNE_OF_TWO, "tune"))
        return [tune_in(answer) for answer in answers]

    def _generate(self, questions: Sequence[Question]) -> list[str]:
        return self.backend.generate(questions) if questions else []


def _described(answer: str, language: str) -> Description:
    try:
        scene = scene_in(json_in(answer))
    except ModelError:
        scene = Scene("")
    if scene.subject:
        return Description(prose_of(scene, language), without_thinking(answer), scene)
    text = _prose(answer, "description")  # a model that answers in prose has seen something, too
    start, end = sentences(text)[0]
    return Description(text, text, Scene(text[start:end]))


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
