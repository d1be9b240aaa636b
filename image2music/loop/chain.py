"""The loop of the paper over a batch: draft, check and repair, measure and refine, explain.

Every call to the composer takes all tunes of the batch that still need it. A tune in the making is a `_Work`; what is
wrong with it ends that work alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

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
from image2music.music.theory import DEFAULT_QPM
from image2music.settings import AcceptRule, LoopSettings
from image2music.types import ComposedTune, Draft, Explanation, Purpose, Round

Request = TypeVar("Request")
Answer = TypeVar("Answer")
MAPS_ALONE = AttentionOptions()


@dataclass
class _Work:
    """A tune in the making. `failed` ends it."""

    request: ComposeRequest
    targets: Targets
    references: list[Voices]
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

    def examine(self, raw: str) -> ExaminedTune:
        return examine(raw, self.references)

    def take(self, purpose: Purpose, candidate: ExaminedTune, reason: str, *, accepted: bool) -> None:
        self.rounds.append(Round(purpose, candidate.draft, accepted, reason))
        if accepted:
            self.best = candidate


def compose_batch(
    composer: Composer,
    requests: Sequence[ComposeRequest],
    settings: LoopSettings,
    attention_options: AttentionOptions = MAPS_ALONE,
) -> list[ComposedTune | Exception]:
    """Return a finished tune, or the reason why there is none, for each request in order.

    The answer to a request does not depend on which others share its batch.
    """
    batch = [_begin(request) for request in requests]
    _draft(composer, batch)
    for attempt in range(1, settings.rounds + 1):
        _repair(composer, [work for work in batch if work.is_open and work.standing.draft.errors], attempt)
    _fail_invalid(batch)
    for attempt in range(1, settings.rounds + 1):
        _refine(composer, [work for work in batch if work.is_open], attempt, settings.accept)
    _explain(composer, [work for work in batch if work.is_open], attention_options)
    return _finish(batch)


def _begin(request: ComposeRequest) -> _Work:
    references = [voices_of_abc(reference.abc) for reference in request.references]
    return _Work(request=request, targets=targets_of(request.references), references=references)


def _draft(composer: Composer, batch: Sequence[_Work]) -> None:
    for work, raw in _answered(composer.compose, batch, [work.request for work in batch]):
        candidate = work.examine(raw)
        work.best = candidate
        work.take("draft", candidate, candidate.draft.validity, accepted=not candidate.draft.errors)


def _repair(composer: Composer, batch: Sequence[_Work], attempt: int) -> None:
    for work, raw in _answered(composer.repair, batch, [_repair_request(work, attempt) for work in batch]):
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
    needy = [(work, found) for work in batch if (found := _complaints(work))]
    requests = [_refine_request(work, found, attempt) for work, found in needy]
    for (work, _), raw in zip(needy, batch_with_fallback(composer.refine, requests), strict=True):
        if isinstance(raw, Exception):
            # A valid tune stands; a call that fails must not cost it.
            work.take("refine", work.standing, reason_of(raw), accepted=False)
            continue
        candidate = work.examine(raw)
        accepted, reason = accepts(candidate, work.standing, work.targets, accept, work.request.album)
        work.take("refine", candidate, reason, accepted=accepted)


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
    requests = [_explain_request(work, attention_options) for work in batch]
    for work, explanation in _answered(composer.explain, batch, requests):
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


def _answered(
    call: Callable[[Sequence[Request]], Sequence[Answer]], batch: Sequence[_Work], requests: Sequence[Request]
) -> list[tuple[_Work, Answer]]:
    """Ask for a batch and return the works that got an answer; the others keep their exception and are closed."""
    answered = []
    for work, answer in zip(batch, batch_with_fallback(call, requests), strict=True):
        if isinstance(answer, Exception):
            work.failed = answer
        else:
            answered.append((work, answer))
    return answered
