"""The plan protocol step by step: for strong models by whole plans and lines, for small ones in parts.

Whole steps: sketch, plan, melody and bass, the other voices, repairs, edits.

Small models lose their way in long conversations, so that every question goes on from the picture and what was seen in
it alone, shows one whole answer, and is about one thing: form, chords, motif, the next bars. What a model cannot judge
is done by rule: roles, figures, dynamics and climax by the planner, cadences, bars that come back and the last note
here, bass and accompaniment by the arranger. An answer that cannot be used is asked for once more, with the reason;
then a rule answers, so that no answer, however odd, costs a tune.

The tune is asked for in pairs of bars, as long as the motif: a question and its answer stay together, and half as many
requests are sent as bar by bar. Of a pair, the bar that is right is kept and the other one asked for alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from image2music.abc.checker import read_motif
from image2music.composers.base import EditRequest, PlanningRequest, RepairRequest, WriteRequest
from image2music.composers.chat import steps
from image2music.composers.chat.answers import json_in, tune_in, without_thinking
from image2music.composers.chat.bar_by_bar import SmallDraft, SmallQuestion, TuneDraft
from image2music.composers.chat.conversations import AnswerLengths, Conversation, Question, questions_of
from image2music.composers.chat.manuscript import (
    by_place,
    carrying_lines,
    form_of,
    open_lines,
    overview,
    payoff_bars,
    read_lines,
    sounding,
    sung_lines,
    to_abc,
)
from image2music.composers.chat.small_plan import PlanDraft
from image2music.composers.chat.steps import EDIT_FORM, PATCH_FORM, SKETCH_FORM, plan_form, seed_of
from image2music.composers.constrained.forms import PROSE, Form
from image2music.composers.prompts import fill
from image2music.errors import ModelError, PlanError
from image2music.music.planning.checks import check_plan
from image2music.music.planning.mending import consistent
from image2music.music.planning.plan import Plan, plan_as_json, plan_of_json
from image2music.settings import Steps
from image2music.types import Edit

Ask = Callable[[Sequence[Question]], list[str]]

_ASKED_FOR_JSON = 2
"""How often a model is asked for an answer that can be read as JSON."""
_MOST_MENDS = 8
"""Lines of what was mended, or could not be taken, that a model is told."""


class WholeSteps:
    """Plans and writes by whole plans and lines; `ask` answers questions. What it notes of a tune, it notes once."""

    def __init__(self, ask: Ask, lengths: AnswerLengths) -> None:
        self._ask, self._lengths = ask, lengths

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        """Return plans: by the full steps of the device that was chosen of three, by the short ones at once."""
        fresh = [one for one in requests if one.attempt == 0]
        self._sketch([one for one in fresh if one.request.steps == "full"])
        talks = []
        for one in requests:
            if one.attempt:
                talk, _ = one.notes[f"plan {one.attempt - 1}"]
                talks.append(steps.planning_again(talk, one.faults))
            else:
                sketched = one.request.steps == "full"
                before = one.notes["sketch"] if sketched else steps.seen_in(one.request)
                talks.append(steps.planning(one.request, before))
        return self._read_plans(requests, talks)

    def _sketch(self, requests: Sequence[PlanningRequest]) -> None:
        talks = [steps.sketching(one.request, steps.seen_in(one.request)) for one in requests]
        seeds = [seed_of(one.request, "sketch", one.take) for one in requests]
        found = self._json(talks, seeds, self._lengths.sketch, SKETCH_FORM, "sketch")
        for one, (talk, _) in zip(requests, found, strict=True):
            one.notes["sketch"] = talk

    def _read_plans(self, requests: Sequence[PlanningRequest], talks: Sequence[Conversation]) -> list[Plan]:
        """Ask for plans; where an answer is JSON and yet no plan, ask once more with what is wrong."""
        seeds = [seed_of(one.request, f"plan {one.attempt}", one.take) for one in requests]
        forms = [PATCH_FORM if one.attempt else plan_form(one.request) for one in requests]
        found = self._json(talks, seeds, self._lengths.plan, forms, "plan")
        plans: list[Plan | PlanError] = []
        for one, (talk, shape) in zip(requests, found, strict=True):
            plans.append(self._noted(one, talk, shape))
        unread = [at for at, plan in enumerate(plans) if isinstance(plan, PlanError)]
        if unread:
            again = [
                steps.planning_again(requests[at].notes[_plan_key(requests[at])][0], [str(plans[at])]) for at in unread
            ]
            seeds = [
                seed_of(requests[at].request, f"plan {requests[at].attempt} again", requests[at].take) for at in unread
            ]
            found = self._json(again, seeds, self._lengths.plan, PATCH_FORM, "plan")
            for at, (talk, shape) in zip(unread, found, strict=True):
                plans[at] = self._noted(requests[at], talk, shape, again=True)
        for plan in plans:
            if isinstance(plan, PlanError):
                raise plan
        return [plan for plan in plans if isinstance(plan, Plan)]

    def _noted(
        self, request: PlanningRequest, talk: Conversation, shape: Mapping[str, Any], *, again: bool = False
    ) -> Plan | PlanError:
        """Note what a plan was read from; return it by places, mended as far as code can, or why it cannot be read."""
        if again:
            shape = steps.patched(request.notes[_plan_key(request)][1], shape)
        elif request.attempt:
            shape = steps.patched(request.notes[f"plan {request.attempt - 1}"][1], shape)
        request.notes[_plan_key(request)] = talk, shape
        try:
            plan = plan_of_json(shape)
        except PlanError as error:
            return error
        # Asked again, the model has had its say: what is left of its faults is mended by force.
        checked = (consistent if request.attempt else check_plan)(plan, read_motif)
        if any(voice.id != place for place, voice in enumerate(checked.plan.voices, 1)):
            shape = {name: value for name, value in shape.items() if name != "payoff_abc"}  # it names other voices now
        request.notes["plan"] = talk, shape, checked.mended
        return with_derived(by_place(checked.plan), request.request.steps)

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """Ask for the lines that carry the tune, then (by the full steps) for those of the other voices."""
        drafts = [_Written(one) for one in requests]
        talks = [steps.talk_of_plan(draft.one.request, draft.plan, draft.one.notes) for draft in drafts]
        asked = [
            steps.writing_lines(draft.one.request, draft.plan, talk, draft.lines, draft.payoff_text, draft.mended_text)
            for draft, talk in zip(drafts, talks, strict=True)
        ]
        self._read(drafts, asked, "melody")
        more = [draft for draft in drafts if draft.one.request.steps == "full" and draft.next_lines()]
        asked = [steps.writing_others(draft.plan, draft.talk, draft.bars, draft.lines, draft.unread) for draft in more]
        self._read(more, asked, "write", silence_counts=True)
        for draft in drafts:
            draft.one.notes["written"] = draft.talk
        return [draft.abc() for draft in drafts]

    def _read(
        self, drafts: Sequence[_Written], asked: Sequence[Conversation], step: str, *, silence_counts: bool = False
    ) -> None:
        questions = [
            Question(talk, seed_of(draft.one.request, step, draft.one.take), self._lengths.lines,
                     form_of(draft.plan, draft.lines), step)
            for draft, talk in zip(drafts, asked, strict=True)
        ]  # fmt: skip
        for draft, talk, answer in zip(drafts, asked, self._ask(questions), strict=True):
            draft.take(answer, silence_counts=silence_counts)
            draft.talk = talk.answered(without_thinking(answer))

    def mend(self, requests: Sequence[RepairRequest]) -> list[str]:
        """Return each tune with the bars that the model wrote anew for what the checker found."""
        talks = [
            steps.mending(one, planned_of(one), steps.talk_of(one.request, planned_of(one), one.notes))
            for one in requests
        ]
        seeds = [seed_of(one.request, f"repair {one.attempt}", one.take) for one in requests]
        answers = self._ask(questions_of(talks, seeds, self._lengths.lines, PROSE, "repair"))
        return [_mended(one, answer) for one, answer in zip(requests, answers, strict=True)]

    def edit(self, requests: Sequence[EditRequest]) -> list[tuple[Edit, ...]]:
        """Return bars to put in the place of faults and dull places; asked of whoever knows the draft.

        Raises:
            ModelError: an answer holds no JSON, asked twice (`no_json`).
        """
        talks = [steps.editing(one, steps.talk_of(one.request, one.plan, one.notes)) for one in requests]
        seeds = [seed_of(one.request, "edit", one.take) for one in requests]
        answers = self._json(talks, seeds, self._lengths.edit, EDIT_FORM, "edit")
        for one, (talk, shape) in zip(requests, answers, strict=True):
            one.notes["edited"] = talk, steps.edits_in(shape)
        return [one.notes["edited"][1] for one in requests]

    def _json(
        self,
        talks: Sequence[Conversation],
        seeds: Sequence[int | None],
        max_tokens: int,
        form: Form | Sequence[Form],
        step: str,
    ) -> list[tuple[Conversation, dict[str, Any]]]:
        """Return each conversation with its answer, and the object in that; what cannot be read is asked for again."""
        forms = form if isinstance(form, Sequence) else [form] * len(talks)
        found: dict[int, tuple[Conversation, dict[str, Any]]] = {}
        open_ones, wrong = dict(enumerate(talks)), ModelError("", reason="no_json")
        for _ in range(_ASKED_FOR_JSON):
            places = list(open_ones)
            questions = [Question(open_ones[at], seeds[at], max_tokens, forms[at], step) for at in places]
            for at, answer in zip(places, self._ask(questions), strict=True):
                talk = open_ones[at].answered(without_thinking(answer))
                try:
                    found[at] = talk, json_in(answer)
                    del open_ones[at]
                except ModelError as error:
                    wrong, open_ones[at] = error, steps.asking_for_json(talk, str(error))
        if open_ones:
            message = f"the model gives no JSON for the step {step}: {wrong}; try another model, or smaller steps"
            raise ModelError(message, reason="no_json")
        return [found[at] for at in range(len(talks))]


class _Written:
    """A draft in the making: its plan, the bars that stand, the lines that are asked for, what could not be read."""

    def __init__(self, one: WriteRequest) -> None:
        self.one, self.plan = one, planned_of(one)
        _, shape, self._mended = one.notes.get("plan", (None, {}, ()))
        payoff = shape.get("payoff_abc")
        self.bars = payoff_bars(payoff, self.plan) if isinstance(payoff, dict) and one.request.steps == "full" else {}
        self.lines = sung_lines(self.plan) if one.request.steps == "short" else carrying_lines(self.plan)
        self.talk: Conversation = Conversation(one.request.image, ())
        self._remarks: tuple[str, ...] = ()

    @property
    def payoff_text(self) -> str:
        """What the payoff's bars are, to be taken over."""
        said = [
            f"{bar} [V:{voice}] {text} |" for (voice, bar), text in sorted(self.bars.items(), key=lambda x: x[0][::-1])
        ]
        return "The payoff stands already; take its bars over:\n" + "\n".join(said) + "\n" if said else ""

    @property
    def mended_text(self) -> str:
        """What code mended in the plan."""
        said = [f"- {one}" for one in self._mended[:_MOST_MENDS]]
        return "The plan was checked, and mended by rule:\n" + "\n".join(said) + "\n" if said else ""

    @property
    def unread(self) -> str:
        """What of the last answer could not be taken."""
        said = [f"- {one}" for one in self._remarks[:_MOST_MENDS]]
        return "Of these lines, some could not be taken:\n" + "\n".join(said) + "\n" if said else ""

    def take(self, answer: str, *, silence_counts: bool) -> None:
        """Take in an answer's bars. Those of the payoff stay, but where a line comes back that was not asked for.

        A bar of rests counts as written where the model was asked for all that the voice plays.
        """
        read = read_lines(answer, self.plan)
        bars = read.bars if silence_counts else sounding(read.bars, self.plan)
        asked = {(line.voice, bar) for line in self.lines for bar in line.bars}
        new = {place: text for place, text in bars.items()
               if place not in self.bars or place not in asked}  # fmt: skip
        self.bars, self._remarks = {**self.bars, **new}, read.remarks

    def next_lines(self) -> bool:
        """Go on to the lines that are open; return whether there are any."""
        self.lines = open_lines(self.plan, self.bars)
        return bool(self.lines)

    def abc(self) -> str:
        """Return the whole tune. Derived are voices that the plan calls so, and those of which no bar was read."""
        written = {voice for (voice, _), text in self.bars.items() if text}
        derived = frozenset(voice.id for voice in self.plan.voices if voice.derived or voice.id not in written)
        return to_abc(self.plan, self.bars, seed_of(self.one.request, "arrange", self.one.take), derived=derived)


def _mended(request: RepairRequest, answer: str) -> str:
    """Put the bars of an answer into the tune; an answer may be a whole tune, too."""
    said = tune_in(answer)
    if re.search(r"^K:", said, re.MULTILINE) and re.search(r"^X:", said, re.MULTILINE):
        return said
    return steps.with_bars(request.abc, read_lines(answer, planned_of(request)).bars)


def with_derived(plan: Plan, chosen: Steps) -> Plan:
    """Say which voices the arranger writes: drums; by the shorter steps all that have no line of their own."""
    own = {line.voice for line in (sung_lines(plan) if chosen == "short" else carrying_lines(plan))}
    drums = {voice.id for voice in plan.voices if voice.role == "drums"}
    by_rule = drums if chosen == "full" else {voice.id for voice in plan.voices} - own
    return replace(plan, voices=tuple(replace(voice, derived=voice.id in by_rule) for voice in plan.voices))


def planned_of(request: WriteRequest | RepairRequest) -> Plan:
    """Return the plan of a request that has one."""
    assert request.plan is not None
    return request.plan


def _plan_key(request: PlanningRequest) -> str:
    return f"plan {request.attempt}"


Drafted = TypeVar("Drafted", bound=SmallDraft)


class SmallSteps:
    """Plans and writes in small questions; `ask` answers them. What it notes of a tune, it notes once."""

    def __init__(self, ask: Ask, lengths: AnswerLengths) -> None:
        self._ask, self._lengths = ask, lengths

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        """Return plans without faults: form, chords and motif as the model chose them, the rest by the planner.

        A plan that is asked for again has nothing left that a model could mend; the better one is returned of the
        noted one and the planner's own.
        """
        drafts = [PlanDraft(one) for one in requests]
        fresh = [draft for draft in drafts if not draft.one.attempt]
        self._ask_twice(fresh, "form", PlanDraft.ask_form, PlanDraft.take_form)
        self._ask_twice(fresh, "chords", PlanDraft.ask_chords, PlanDraft.take_chords)
        melodic = [draft for draft in fresh if not draft.opening]
        self._ask_twice(melodic, "motif", PlanDraft.ask_motif, PlanDraft.take_motif)
        plans = [draft.again() if draft.one.attempt else draft.plan for draft in drafts]
        for draft, plan in zip(drafts, plans, strict=True):
            talk = steps.person_plan(plan, steps.seen_in(draft.request))
            draft.one.notes["plan"] = talk, plan_as_json(plan), ()
        return plans

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """Return tunes: the voice that has the tune by the model, all others by the arranger."""
        drafts = [TuneDraft(one) for one in requests]
        while growing := [draft for draft in drafts if draft.tune.go_on()]:
            self._ask_twice(growing, "bars", TuneDraft.ask_bars, TuneDraft.take_bars)
            for draft in growing:
                draft.tune.fill()
        tunes = [draft.tune.abc(steps.seed_of(draft.request, "arrange", draft.take)) for draft in drafts]
        for draft, abc in zip(drafts, tunes, strict=True):
            plan = draft.tune.plan
            asked = fill("small/tune", title=plan.title, key=plan.key, meter=plan.meter, plan=overview(plan))
            talk = steps.seen_in(draft.request).asked(asked)
            draft.one.notes["written"] = talk.answered(abc.strip())
        return tunes

    def _ask_twice(
        self,
        drafts: Sequence[Drafted],
        step: str,
        question: Callable[[Drafted], SmallQuestion],
        take: Callable[[Drafted, str], str],
    ) -> None:
        """Ask about each draft, all at once; once more where `take` names a reason why an answer cannot be used."""
        left = list(drafts)
        for turn in ("", " again"):
            asked = [question(draft) for draft in left]
            questions = [
                Question(
                    steps.seen_in(draft.request).asked(one.text),
                    steps.seed_of(draft.request, f"small {one.label}{turn}", draft.take),
                    self._lengths.sketch,
                    one.form,
                    step,
                )
                for draft, one in zip(left, asked, strict=True)
            ]
            for draft, answer in zip(left, self._ask(questions) if questions else [], strict=True):
                draft.why = take(draft, answer)
            left = [draft for draft in left if draft.why]
        for draft in drafts:
            draft.why = ""
