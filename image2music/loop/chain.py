"""The loop over a batch: plan, check the plan, write, check and repair, choose, edit, explain; or the paper's chain.

Every call to the composer takes all tunes of the batch that still need it. A tune in the making is a `Take`, a picture
with its takes a `Work`; whatever is raised while one is worked on, by the composer or by this package, becomes that
take's failure and no other's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from image2music.abc.autofix.rules import AUTOFIX_VERSION
from image2music.abc.checker import CHECK_VERSION, read_motif
from image2music.abc.expression import EXPRESSION_VERSION, performed_midi
from image2music.composers.base import (
    WORTH,
    AttentionOptions,
    Composer,
    ComposeRequest,
    EditRequest,
    ExplainRequest,
    Notes,
    PlanningRequest,
    RefineRequest,
    RepairRequest,
    WriteRequest,
    missing_constraints,
)
from image2music.errors import AbcError, PlanError, PutOffError
from image2music.failures import batch_with_fallback, counted, map_catching, reason_of
from image2music.loop.choose import (
    UNCHANGED,
    ExaminedTune,
    Order,
    Voices,
    examine,
    order_of,
    try_edits,
    voices_of_abc,
    why_not,
)
from image2music.music.arrange.arranger import ARRANGER_VERSION
from image2music.music.critic.model import CRITIC_VERSION
from image2music.music.listen.sheet import LISTENER_VERSION
from image2music.music.planning.checks import check_plan
from image2music.music.planning.constraints import unmet
from image2music.music.planning.lasting import at_tempo
from image2music.music.planning.plan import Plan
from image2music.music.planning.planner import PLANNER_VERSION
from image2music.music.score import count_bars
from image2music.music.similarity import COPY_VERSION
from image2music.music.theory import DEFAULT_QPM
from image2music.rights import RIGHTS_VERSION
from image2music.settings import LoopSettings
from image2music.types import ComposedTune, Draft, Explanation, Purpose, Round

LOOP_VERSION = 5
"""Raise it when the loop asks, accepts or measures otherwise."""

PLAN_ATTEMPTS = 2
"""How often a composer is asked for a plan that passes the checks."""

MAPS_ALONE = AttentionOptions()

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass
class Take:
    """A tune in the making: one of the candidates for a picture. `failed` ends it."""

    request: ComposeRequest
    references: Sequence[Voices]
    number: int = 0
    plan: Plan | None = None
    plan_faults: tuple[str, ...] = ()
    rounds: list[Round] = field(default_factory=list)
    notes: Notes = field(default_factory=dict)
    best: ExaminedTune | None = None
    failed: Exception | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can still become a tune."""
        return self.failed is None

    @property
    def standing(self) -> ExaminedTune:
        """The tune that counts so far."""
        assert self.best is not None
        return self.best

    @property
    def order(self) -> Order:
        """What a valid tune is compared by with the other candidates."""
        return order_of(self.standing, self.request.album, self.notes.get(WORTH))

    @property
    def needs_plan(self) -> bool:
        """Whether there is no plan that passed the checks."""
        return self.plan is None or bool(self.plan_faults)

    @property
    def misses(self) -> tuple[str, ...]:
        """The constraints that the plan doesn't keep, each in one sentence."""
        asked = [replace(one, remarks=()) for one in self.request.constraints]
        return tuple(miss for one in asked for miss in unmet(one, self.plan)) if self.plan is not None else ()

    @property
    def unmet(self) -> tuple[str, ...]:
        """What somebody wished for and doesn't get: what the plan doesn't keep, and what was not understood."""
        asked = self.request.constraints
        return tuple(miss for one in asked for miss in unmet(one, self.plan)) if self.plan is not None else ()

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Turn an exception of the block into the take's failure; the first one stays."""
        try:
            yield
        except Exception as error:  # a mistake in reading one tune must not cost the others of the batch
            self.failed = self.failed or error

    def examine(self, raw: str) -> ExaminedTune:
        """Judge an answer against the plan and the references."""
        return examine(raw, self.references, self.plan)

    def keep(self, purpose: Purpose, candidate: ExaminedTune, reason: str, *, accepted: bool) -> None:
        """Note a round; an accepted one becomes the tune that stands."""
        self.rounds.append(Round(purpose, candidate.draft, accepted, reason))
        if accepted:
            self.best = candidate


@dataclass
class Work:
    """A picture with its takes; `chosen` is the one that counts once all are written."""

    request: ComposeRequest
    takes: list[Take]
    chosen: Take | None = None
    explanation: Explanation | None = None

    @property
    def failed(self) -> Exception | None:
        """Why there is no tune: the chosen take's failure, before one is chosen the first of all if none is open.

        A picture of which one take is put off is put off as a whole, or its row would depend on when it was made.
        """
        if (
            put_off := next((take.failed for take in self.takes if isinstance(take.failed, PutOffError)), None)
        ) is not None:
            return put_off
        if self.chosen is not None:
            return self.chosen.failed
        if any(take.is_open for take in self.takes):
            return None
        return self.takes[0].failed

    @property
    def take(self) -> Take:
        """The take that was chosen."""
        assert self.chosen is not None
        return self.chosen


def rules_version() -> str:
    """Return the versions of all rules that change rows, beside prompts and models, which have their own."""
    versions = {
        "arranger": ARRANGER_VERSION,
        "autofix": AUTOFIX_VERSION,
        "check": CHECK_VERSION,
        "copies": COPY_VERSION,
        "critic": CRITIC_VERSION,
        "expression": EXPRESSION_VERSION,
        "listener": LISTENER_VERSION,
        "loop": LOOP_VERSION,
        "planner": PLANNER_VERSION,
        "rights": RIGHTS_VERSION,
    }
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def compose_batch(
    composer: Composer,
    requests: Sequence[ComposeRequest],
    settings: LoopSettings,
    attention_options: AttentionOptions = MAPS_ALONE,
) -> list[ComposedTune | Exception]:
    """Return a finished tune, or the reason why there is none, for each request in order.

    The answer to a request does not depend on which others share its batch.
    """
    batch = [_begun(request, settings.candidates) for request in requests]
    takes = [take for work in batch for take in work.takes]
    if settings.protocol == "plan":
        _plan(composer, _open(takes))
    _write(composer, _open(takes))
    for attempt in range(1, settings.rounds + 1):
        _repair(composer, [take for take in _open(takes) if take.standing.draft.errors], attempt)
    _fail_invalid(_open(takes))
    for work in batch:
        if work.failed is None:
            _choose(work)
    chosen = [work.take for work in batch if work.failed is None]
    if settings.rounds:
        (_edit if settings.protocol == "plan" else _refine)(composer, chosen)
    _explain(composer, [work for work in batch if work.failed is None], attention_options)
    return _finish(batch)


def _begun(request: ComposeRequest, candidates: int) -> Work:
    references: list[Voices] = []
    takes = [Take(request, references, number, request.plan) for number in range(candidates)]
    with takes[0].failing_alone():
        references += [voices_of_abc(reference.abc) for reference in request.references]
    for take in takes:
        take.failed = takes[0].failed
    return Work(request, takes)


def _open(takes: Sequence[Take]) -> list[Take]:
    return [take for take in takes if take.is_open]


def _plan(composer: Composer, takes: Sequence[Take]) -> None:
    """Get a plan for each take that passes the checks: mended by code, else asked for again."""
    for take in takes:
        if take.plan is not None:  # a person's
            with take.failing_alone():
                _check(take, take.plan)
                if take.plan_faults:
                    raise _bad_plan(take)
    for attempt in range(PLAN_ATTEMPTS):
        needy = [take for take in _open(takes) if take.needs_plan]
        last = attempt == PLAN_ATTEMPTS - 1
        for take, plan in _answers(composer.plan, needy, lambda take, n=attempt: _planning(take, n)):  # type: ignore[misc]
            with take.failing_alone():
                _check(take, plan)
                if not last:
                    take.plan_faults += take.misses
    for take in _open(takes):
        if take.needs_plan:
            take.failed = _bad_plan(take)


def _planning(take: Take, attempt: int) -> PlanningRequest:
    return PlanningRequest(take.request, take.number, attempt, take.plan_faults, take.plan, take.notes)


def _check(take: Take, plan: Plan) -> None:
    """Check a plan; how long its tune lasts and whether it loops is what was asked for, whoever made it."""
    length = next((one.length for one in take.request.constraints if one.length is not None), plan.length_s)
    loop = plan.loop or any(one.loop for one in take.request.constraints)
    checked = check_plan(replace(plan, length_s=length, loop=loop), read_motif)
    take.plan, take.plan_faults = checked.plan, checked.faults


def _bad_plan(take: Take) -> PlanError:
    return PlanError(f"the plan cannot be written: {'; '.join(take.plan_faults)}", reason="bad_plan")


def _write(composer: Composer, takes: Sequence[Take]) -> None:
    asked = _answers(composer.write, takes, lambda take: WriteRequest(take.request, take.plan, take.number, take.notes))
    for take, raw in asked:
        with take.failing_alone():
            candidate = take.examine(raw)
            take.keep("draft", candidate, candidate.draft.validity, accepted=not candidate.draft.errors)
            take.best = candidate  # a broken one is what the repairs go on from


def _repair(composer: Composer, takes: Sequence[Take], attempt: int) -> None:
    for take, raw in _answers(composer.repair, takes, lambda take: _repairing(take, attempt)):
        with take.failing_alone():
            candidate = take.examine(raw)
            fewer = candidate.draft.errors < take.standing.draft.errors
            take.keep("repair", candidate, candidate.draft.validity if fewer else "no_fewer_errors", accepted=fewer)


def _repairing(take: Take, attempt: int) -> RepairRequest:
    draft = take.standing.draft
    return RepairRequest(take.request, draft.abc, draft.diagnostics, attempt, take.plan, take.number, take.notes)


def _fail_invalid(takes: Sequence[Take]) -> None:
    for take in takes:
        if take.standing.draft.errors:
            take.failed = _invalid(take.standing.draft)


def _invalid(draft: Draft) -> AbcError:
    first = next(diagnostic for diagnostic in draft.diagnostics if diagnostic.severity == "error")
    text = " ".join(draft.abc.split())[:200]
    left = counted(draft.errors, "error")
    return AbcError(f"{left} left, the first: {first}; the tune: {text}", reason="invalid_abc")


def _choose(work: Work) -> None:
    """Keep the best take; the rounds of all of them go to the row, with what the others lacked."""
    standing = _open(work.takes)
    if not standing:
        return
    best = min(standing, key=lambda take: (take.order, take.number))
    if len(work.takes) > 1:
        best.rounds = [step for take in work.takes for step in _compared(take, best)]
    work.chosen = best


def _compared(take: Take, best: Take) -> list[Round]:
    """Return the rounds of a take, saying that it was chosen, or what it lacks beside the one that was."""
    if take is best:
        return [replace(step, reason="chosen") if step.accepted else step for step in take.rounds]
    if take.failed:
        reason = reason_of(take.failed)
    else:
        standing = take.standing
        reason = why_not(take.order, best.order) if standing.stands else standing.draft.validity
    return [replace(step, accepted=False, reason=reason) for step in take.rounds]


def _edit(composer: Composer, takes: Sequence[Take]) -> None:
    """Show each composer the weakest places of its tune, and take what it makes better."""
    for take, edits in _asked(composer.edit, takes, _editing):
        try:
            if isinstance(edits, Exception):
                raise edits
            assert take.plan is not None
            for candidate, reason, accepted in try_edits(
                take.standing, edits, take.examine, take.plan, take.request.album
            ):
                take.keep("edit", candidate, reason, accepted=accepted)
        except PutOffError as later:
            take.failed = later
        except Exception as error:  # a valid tune stands; an edit that fails must not cost it
            take.keep("edit", take.standing, reason_of(error), accepted=False)


def _editing(take: Take) -> EditRequest:
    standing = take.standing
    assert take.plan is not None and standing.sheet is not None
    return EditRequest(take.request, take.plan, standing.draft.abc, standing.sheet, take.number, take.notes)


def _refine(composer: Composer, takes: Sequence[Take]) -> None:
    """Refine each tune once by its metrics, as the paper does: what comes back is taken if it can be played.

    In an album it must leave out no more of what the album asks for.
    """
    for take, raw in _asked(composer.refine, takes, _refining):
        try:
            if isinstance(raw, Exception):
                raise raw
            candidate, part = take.examine(raw), take.request.album
            taken, reason = candidate.stands, "always" if candidate.stands else candidate.draft.validity
            if candidate.draft.abc == take.standing.draft.abc:
                taken, reason = False, UNCHANGED
            if candidate.score and part is not None and take.standing.score:
                now, before = (len(missing_constraints(s, part)) for s in (candidate.score, take.standing.score))
                taken, reason = (False, "keeps_less_of_the_album") if now > before else (taken, reason)
            take.keep("refine", candidate, reason, accepted=taken)
        except PutOffError as later:
            take.failed = later
        except Exception as error:  # a valid tune stands; a refinement that fails must not cost it
            take.keep("refine", take.standing, reason_of(error), accepted=False)


def _refining(take: Take) -> RefineRequest:
    draft = take.standing.draft
    assert draft.metrics is not None
    return RefineRequest(take.request, draft.abc, draft.metrics)


def _explain(composer: Composer, batch: Sequence[Work], attention_options: AttentionOptions) -> None:
    by_take = {id(work.take): work for work in batch}
    takes = [work.take for work in batch]
    for take, explanation in _answers(composer.explain, takes, lambda take: _explaining(take, attention_options)):
        by_take[id(take)].explanation = explanation


def _explaining(take: Take, attention_options: AttentionOptions) -> ExplainRequest:
    draft, tune = take.standing.draft, take.standing.tune
    assert draft.metrics is not None and tune is not None
    return ExplainRequest(
        take.request,
        draft.abc,
        tune.title,
        draft.metrics,
        attention_options,
        take.plan,
        take.notes,
        tuple(take.rounds),
    )


def _finish(batch: Sequence[Work]) -> list[ComposedTune | Exception]:
    composed = iter(map_catching(_composed, [work for work in batch if work.failed is None]))
    return [work.failed or next(composed) for work in batch]


def _composed(work: Work) -> ComposedTune:
    take, standing = work.take, work.take.standing
    tune, score = standing.tune, standing.score
    assert tune is not None and score is not None and work.explanation is not None
    tempo_qpm = score.tempos[0].qpm if score.tempos else DEFAULT_QPM
    plan = take.plan
    if plan is not None and plan.length_s is not None:
        plan = at_tempo(plan, tempo_qpm)
    return ComposedTune(
        draft=standing.draft,
        rounds=tuple(take.rounds),
        title=tune.title,
        key=tune.header("K"),
        meter=tune.header("M"),
        tempo_qpm=tempo_qpm,
        bars=count_bars(score),
        midi=performed_midi(tune, plan.length_s, plan.loop) if plan is not None else performed_midi(tune),
        explanation=work.explanation,
        plan=plan,
        unmet=take.unmet,
    )


def _asked(
    call: Callable[[Sequence[Asked]], Sequence[Answer]], takes: Sequence[Take], request_of: Callable[[Take], Asked]
) -> list[tuple[Take, Answer | Exception]]:
    """Ask for a batch; return each take with its answer, or with what was raised for it alone."""
    requests = [request_of(take) for take in takes]
    return list(zip(takes, batch_with_fallback(call, requests), strict=True))


def _answers(
    call: Callable[[Sequence[Asked]], Sequence[Answer]], takes: Sequence[Take], request_of: Callable[[Take], Asked]
) -> list[tuple[Take, Answer]]:
    """As `_asked`, for those that got an answer; the others keep their exception and are closed."""
    answered = []
    for take, answer in _asked(call, takes, request_of):
        if isinstance(answer, Exception):
            take.failed = answer
        else:
            answered.append((take, answer))
    return answered
