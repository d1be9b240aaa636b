"""The loop itself, over a batch: every call to the composer takes all tunes still in need of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from image2music.abc.playback import abc_to_midi, abc_to_score
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
from image2music.loop.examine import Targets, Voices, complaints, count_bars, examine, rank, targets_of, voices_of_abc
from image2music.music.theory import DEFAULT_QPM
from image2music.settings import AcceptRule, LoopSettings
from image2music.types import AlbumPart, ComposedTune, Draft, Explanation, Round

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
    best: Draft | None = None
    explanation: Explanation | None = None
    failed: Exception | None = None

    @property
    def standing(self) -> Draft:
        assert self.best is not None
        return self.best

    def take(self, step: Round) -> None:
        self.rounds.append(step)
        if step.accepted:
            self.best = step.draft


def compose_batch(
    composer: Composer,
    requests: Sequence[ComposeRequest],
    settings: LoopSettings,
    attention_options: AttentionOptions = MAPS_ALONE,
) -> list[ComposedTune | Exception]:
    """A finished tune or the reason why there is none, for each request in order.

    The answer to a request does not depend on which others share its batch.
    """
    batch = [_begin(request) for request in requests]
    _draft(composer, batch)
    for attempt in range(1, settings.rounds + 1):
        _repair(composer, [work for work in batch if _open(work) and work.standing.errors], attempt)
    for work in batch:
        if _open(work) and work.standing.errors:
            work.failed = _invalid(work.standing)
    for attempt in range(1, settings.rounds + 1):
        _refine(composer, [work for work in batch if _open(work)], attempt, settings.accept)
    return _finish(composer, batch, attention_options)


def _begin(request: ComposeRequest) -> _Work:
    references = [voices_of_abc(reference.abc) for reference in request.references]
    return _Work(request=request, targets=targets_of(request.references), references=references)


def _open(work: _Work) -> bool:
    return work.failed is None


def _asked(
    call: Callable[[Sequence[Request]], Sequence[Answer]], batch: Sequence[_Work], requests: Sequence[Request]
) -> list[tuple[_Work, Answer]]:
    """The works that got an answer; the others keep their exception."""
    answered = []
    for work, answer in zip(batch, batch_with_fallback(call, requests), strict=True):
        if isinstance(answer, Exception):
            work.failed = answer
        else:
            answered.append((work, answer))
    return answered


def _draft(composer: Composer, batch: Sequence[_Work]) -> None:
    for work, raw in _asked(composer.compose, batch, [work.request for work in batch]):
        draft = examine(raw, work.references)
        work.best = draft
        work.take(Round("draft", draft, accepted=draft.errors == 0, reason=_validity(draft)))


def _repair(composer: Composer, batch: Sequence[_Work], attempt: int) -> None:
    requests = [RepairRequest(work.request, work.standing.abc, work.standing.diagnostics, attempt) for work in batch]
    for work, raw in _asked(composer.repair, batch, requests):
        draft = examine(raw, work.references)
        fewer = draft.errors < work.standing.errors
        work.take(Round("repair", draft, accepted=fewer, reason=_validity(draft) if fewer else "no_fewer_errors"))


def _refine(composer: Composer, batch: Sequence[_Work], attempt: int, accept: AcceptRule) -> None:
    needy = [(work, found) for work in batch if (found := _complaints(work))]
    requests = [_refine_request(work, found, attempt) for work, found in needy]
    for (work, _), raw in zip(needy, batch_with_fallback(composer.refine, requests), strict=True):
        if isinstance(raw, Exception):
            # A valid tune stands; a call that fails must not cost it.
            work.take(Round("refine", work.standing, accepted=False, reason=reason_of(raw)))
            continue
        draft = examine(raw, work.references)
        accepted, reason = accepts(draft, work.standing, work.targets, accept, work.request.album)
        work.take(Round("refine", draft, accepted=accepted, reason=reason))


def _refine_request(work: _Work, found: tuple[str, ...], attempt: int) -> RefineRequest:
    metrics = work.standing.metrics
    assert metrics is not None
    return RefineRequest(work.request, work.standing.abc, metrics, work.targets, found, attempt)


def _complaints(work: _Work) -> tuple[str, ...]:
    """What the album misses comes first."""
    part = work.request.album
    missed = missing_constraints(work.standing.abc, part) if part is not None else ()
    return (*missed, *complaints(work.standing, work.targets))


def accepts(
    candidate: Draft, standing: Draft, targets: Targets, accept: AcceptRule, part: AlbumPart | None = None
) -> tuple[bool, str]:
    """Whether a refined tune takes the place of the one that stands, and why.

    An invalid one never does. By `always` (the paper's way) every valid one does; by `better` it must copy less
    beyond what is allowed, or copy no more and lie nearer to the targets (`targets.rank`). In an album it must first
    of all leave out no more of what the album asked for.
    """
    if candidate.errors:
        return False, _validity(candidate)
    if accept == "always":
        return True, "always"
    if part is not None:
        now, before = (len(missing_constraints(draft.abc, part)) for draft in (candidate, standing))
        if now != before:
            return now < before, "keeps_more_of_the_album" if now < before else "keeps_less_of_the_album"
    better = rank(candidate, targets) < rank(standing, targets)
    return better, "nearer_to_targets" if better else "no_nearer_to_targets"


def _validity(draft: Draft) -> str:
    return f"{draft.errors}_errors" if draft.errors else "valid"


def _invalid(draft: Draft) -> AbcError:
    first = next(diagnostic for diagnostic in draft.diagnostics if diagnostic.severity == "error")
    text = " ".join(draft.abc.split())[:200]
    return AbcError(f"{draft.errors} errors left, the first: {first}; the tune: {text}", reason="invalid_abc")


def _finish(
    composer: Composer, batch: Sequence[_Work], attention_options: AttentionOptions
) -> list[ComposedTune | Exception]:
    done = [work for work in batch if _open(work)]
    for work, explanation in _asked(composer.explain, done, [_explain(work, attention_options) for work in done]):
        work.explanation = explanation
    composed = iter(map_catching(_composed, [work for work in batch if _open(work)]))
    return [work.failed or next(composed) for work in batch]


def _explain(work: _Work, attention_options: AttentionOptions) -> ExplainRequest:
    metrics = work.standing.metrics
    assert metrics is not None
    return ExplainRequest(work.request, work.standing.abc, header(work.standing.abc, "T"), metrics, attention_options)


def _composed(work: _Work) -> ComposedTune:
    draft = work.standing
    assert work.explanation is not None
    score = abc_to_score(draft.abc)
    return ComposedTune(
        draft=draft,
        rounds=tuple(work.rounds),
        title=header(draft.abc, "T"),
        key=header(draft.abc, "K"),
        meter=header(draft.abc, "M"),
        tempo_qpm=score.tempos[0].qpm if score.tempos else DEFAULT_QPM,
        bars=count_bars(score),
        midi=abc_to_midi(draft.abc),
        explanation=work.explanation,
    )


def header(abc: str, field_name: str) -> str:
    """The first value of a header field (`T`, `M`, `K`), without its comment; empty if the tune has none."""
    lines = (line.partition("%")[0] for line in abc.splitlines())
    return next((line[2:].strip() for line in lines if line.startswith(f"{field_name}:")), "")
