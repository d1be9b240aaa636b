"""The plan protocol for models of a few billion parameters: the plan in parts from lists, the tune two bars at a time.

Small models lose their way in long conversations, so that every question goes on from the picture and what was seen in
it alone, shows one whole answer, and is about one thing: form, chords, motif, the next bars. What a model cannot judge
is done by rule: roles, figures, dynamics and climax by the planner, cadences, bars that come back and the last note
here, bass and accompaniment by the arranger. An answer that cannot be used is asked for once more, with the reason;
then a rule answers, so that no answer, however odd, costs a tune.

The tune is asked for in pairs of bars, as long as the motif: a question and its answer stay together, and half as many
requests are sent as bar by bar. Of a pair, the bar that is right is kept and the other one asked for alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from image2music.composers.base import PlanningRequest, WriteRequest
from image2music.composers.chat import steps
from image2music.composers.chat.bar_by_bar import SmallDraft, SmallQuestion, TuneDraft
from image2music.composers.chat.conversations import AnswerLengths, Question
from image2music.composers.chat.manuscript import overview
from image2music.composers.chat.small_plan import PlanDraft
from image2music.composers.prompts import fill
from image2music.music.planning.plan import Plan, plan_as_json

Ask = Callable[[Sequence[Question]], list[str]]
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
