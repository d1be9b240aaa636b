"""The loop of the paper over a batch: draft, check and repair, measure and refine, explain.

Every call to the composer takes all tunes of the batch that still need it. A tune in the making is a `_Work`; whatever
is raised while one is worked on, by the composer or by this package, becomes that work's failure and no other's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from image2music.abc.autofix.rules import AUTOFIX_VERSION
from image2music.abc.checker import CHECK_VERSION
from image2music.abc.playback import tune_to_midi
from image2music.composers.album_part import missing_constraints
from image2music.composers.base import (
    AttentionOptions,
    Composer,
    ComposeRequest,
    ExplainRequest,
    RefineRequest,
    RepairRequest,
)
from image2music.errors import AbcError
from image2music.failures import batch_with_fallback, map_catching, reason_of
from image2music.loop.examine import ExaminedTune, Voices, examine, voices_of_abc
from image2music.loop.refinement import Targets, accepts, complaints, targets_of
from image2music.music.score import count_bars
from image2music.music.similarity import COPY_VERSION
from image2music.music.theory import DEFAULT_QPM
from image2music.settings import AcceptRule, LoopSettings
from image2music.types import ComposedTune, Draft, Explanation, Purpose, Round

Request = TypeVar("Request")
Answer = TypeVar("Answer")
LOOP_VERSION = 1
"""Raise it when the loop asks, accepts or measures otherwise."""

MAPS_ALONE = AttentionOptions()


@dataclass
class _Work:
    """A tune in the making. `failed` ends it."""

    request: ComposeRequest
    targets: Targets = field(default_factory=dict)
    references: list[Voices] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    best: ExaminedTune | None = None
    explanation: Explanation | None = None
    failed: Exception | None = None

    @property
    def is_open(self) -> bool:
        return self.failed is None

    @property
    def standing(self) -> ExaminedTune:
        """The tune that counts so far."""
        assert self.best is not None
        return self.best

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Turn an exception of the block into the work's failure; the first one stays."""
        try:
            yield
        except Exception as error:  # a mistake in reading one tune must not cost the others of the batch
            self.failed = self.failed or error

    def examine(self, raw: str) -> ExaminedTune:
        return examine(raw, self.references)

    def take(self, purpose: Purpose, candidate: ExaminedTune, reason: str, *, accepted: bool) -> None:
        self.rounds.append(Round(purpose, candidate.draft, accepted, reason))
        if accepted:
            self.best = candidate


def rules_version() -> str:
    """Return the versions of all rules that change rows, beside prompts and models, which have their own."""
    versions = {"autofix": AUTOFIX_VERSION, "check": CHECK_VERSION, "copies": COPY_VERSION, "loop": LOOP_VERSION}
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
    batch = [_begun(request) for request in requests]
    _draft(composer, [work for work in batch if work.is_open])
    for attempt in range(1, settings.rounds + 1):
        _repair(composer, [work for work in batch if work.is_open and work.standing.draft.errors], attempt)
    _fail_invalid(batch)
    for attempt in range(1, settings.rounds + 1):
        _refine(composer, [work for work in batch if work.is_open], attempt, settings.accept)
    _explain(composer, [work for work in batch if work.is_open], attention_options)
    return _finish(batch)


def _begun(request: ComposeRequest) -> _Work:
    work = _Work(request)
    with work.failing_alone():
        work.references = [voices_of_abc(reference.abc) for reference in request.references]
        work.targets = targets_of(request.references)
    return work


def _draft(composer: Composer, batch: Sequence[_Work]) -> None:
    for work, raw in _answers(composer.compose, batch, lambda work: work.request):
        with work.failing_alone():
            candidate = work.examine(raw)
            work.best = candidate
            work.take("draft", candidate, candidate.draft.validity, accepted=not candidate.draft.errors)


def _repair(composer: Composer, batch: Sequence[_Work], attempt: int) -> None:
    for work, raw in _answers(composer.repair, batch, lambda work: _repair_request(work, attempt)):
        with work.failing_alone():
            candidate = work.examine(raw)
            fewer = candidate.draft.errors < work.standing.draft.errors
            work.take("repair", candidate, candidate.draft.validity if fewer else "no_fewer_errors", accepted=fewer)


def _repair_request(work: _Work, attempt: int) -> RepairRequest:
    draft = work.standing.draft
    return RepairRequest(work.request, draft.abc, draft.diagnostics, attempt)


def _fail_invalid(batch: Sequence[_Work]) -> None:
    for work in batch:
        if work.is_open and work.standing.draft.errors:
            work.failed = _invalid(work.standing.draft)


def _invalid(draft: Draft) -> AbcError:
    first = next(diagnostic for diagnostic in draft.diagnostics if diagnostic.severity == "error")
    text = " ".join(draft.abc.split())[:200]
    return AbcError(f"{draft.errors} errors left, the first: {first}; the tune: {text}", reason="invalid_abc")


def _refine(composer: Composer, batch: Sequence[_Work], attempt: int, accept: AcceptRule) -> None:
    needy, requests = [], []
    for work in batch:
        with work.failing_alone():
            if found := _complaints(work):
                requests.append(_refine_request(work, found, attempt))
                needy.append(work)
    for work, raw in zip(needy, batch_with_fallback(composer.refine, requests), strict=True):
        try:
            if isinstance(raw, Exception):
                raise raw
            candidate = work.examine(raw)
            accepted, reason = accepts(candidate, work.standing, work.targets, accept, work.request.album)
            work.take("refine", candidate, reason, accepted=accepted)
        except Exception as error:  # a valid tune stands; a refinement that fails must not cost it
            work.take("refine", work.standing, reason_of(error), accepted=False)


def _complaints(work: _Work) -> tuple[str, ...]:
    """Return what is to change; what the album misses comes first."""
    part, standing = work.request.album, work.standing
    assert standing.score is not None
    missed = missing_constraints(standing.score, part) if part is not None else ()
    return (*missed, *complaints(standing.draft, work.targets))


def _refine_request(work: _Work, found: tuple[str, ...], attempt: int) -> RefineRequest:
    draft = work.standing.draft
    assert draft.metrics is not None
    return RefineRequest(work.request, draft.abc, draft.metrics, work.targets, found, attempt)


def _explain(composer: Composer, batch: Sequence[_Work], attention_options: AttentionOptions) -> None:
    for work, explanation in _answers(composer.explain, batch, lambda work: _explain_request(work, attention_options)):
        work.explanation = explanation


def _explain_request(work: _Work, attention_options: AttentionOptions) -> ExplainRequest:
    draft, tune = work.standing.draft, work.standing.tune
    assert draft.metrics is not None and tune is not None
    return ExplainRequest(work.request, draft.abc, tune.title, draft.metrics, attention_options)


def _finish(batch: Sequence[_Work]) -> list[ComposedTune | Exception]:
    composed = iter(map_catching(_composed, [work for work in batch if work.is_open]))
    return [work.failed or next(composed) for work in batch]


def _composed(work: _Work) -> ComposedTune:
    tune, score = work.standing.tune, work.standing.score
    assert tune is not None and score is not None and work.explanation is not None
    return ComposedTune(
        draft=work.standing.draft,
        rounds=tuple(work.rounds),
        title=tune.title,
        key=tune.header("K"),
        meter=tune.header("M"),
        tempo_qpm=score.tempos[0].qpm if score.tempos else DEFAULT_QPM,
        bars=count_bars(score),
        midi=tune_to_midi(tune),
        explanation=work.explanation,
    )


def _answers(
    call: Callable[[Sequence[Request]], Sequence[Answer]],
    batch: Sequence[_Work],
    request_of: Callable[[_Work], Request],
) -> list[tuple[_Work, Answer]]:
    """Ask for a batch and return the works that got an answer; the others keep their exception and are closed."""
    answered = []
    requests = [request_of(work) for work in batch]
    for work, answer in zip(batch, batch_with_fallback(call, requests), strict=True):
        if isinstance(answer, Exception):
            work.failed = answer
        else:
            answered.append((work, answer))
    return answered
