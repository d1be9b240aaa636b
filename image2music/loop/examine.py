"""From a composer's raw answer to a draft that can be judged: mended, checked, played, listened to and measured.

The text is parsed here and nowhere later: its tree and its score stay with the draft while the loop works on it. They
are not part of the draft itself, which goes on to the row and is pickled between Beam's stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from image2music.abc.ast import Tune
from image2music.abc.autofix.rules import autofix
from image2music.abc.checker import check_parsed
from image2music.abc.diagnostics import Diagnostic, Severity
from image2music.abc.playback import abc_to_score, first_tune, tune_to_score
from image2music.errors import AbcError
from image2music.music.critic.model import criticise
from image2music.music.listen.listener import listen
from image2music.music.listen.sheet import Sheet
from image2music.music.planning.plan import Plan
from image2music.music.score import Score
from image2music.music.similarity import Step, longest_shared_run, voice_steps
from image2music.types import Draft

Voices = Sequence[Sequence[Step]]


@dataclass(frozen=True)
class ExaminedTune:
    """A draft with its syntax tree, its score and its sheet; all are there if, and only if, it has no errors."""

    draft: Draft
    tune: Tune | None = None
    score: Score | None = None
    sheet: Sheet | None = None

    @property
    def stands(self) -> bool:
        """Whether it can be played."""
        return self.score is not None


def examine(raw: str, references: Sequence[Voices], plan: Plan | None = None) -> ExaminedTune:
    """Mend, check, play, listen to and measure an answer; what is wrong with it becomes diagnostics.

    `references` are the voices of the retrieved tunes (`voices_of_abc`), to see how much was copied. With a plan, what
    is heard is held against it.
    """
    raw = raw.encode("utf-8", "replace").decode()  # a model may write half of a surrogate pair: no file can hold it
    try:
        fixed = autofix(raw)
    except AbcError as error:
        return ExaminedTune(Draft(abc=raw, diagnostics=(_error(error.reason, str(error)),), metrics=None))
    found = tuple(check_parsed(fixed.parsed))
    draft = Draft(abc=fixed.abc, diagnostics=found, metrics=None, mends=fixed.diagnostics)
    if draft.errors:
        return ExaminedTune(draft)
    try:
        tune = first_tune(fixed.parsed)
        score = tune_to_score(tune)
    except AbcError as error:
        return ExaminedTune(_with_error(draft, error.reason, str(error)))
    judgement = criticise(score)
    if judgement is None:
        return ExaminedTune(_with_error(draft, "no_notes", "write a tune that has notes"))
    sheet = listen(score, plan)
    copied = max((longest_shared_run(voice_steps(score), reference) for reference in references), default=0)
    draft = replace(
        draft,
        metrics=sheet.metrics,
        longest_copy=copied,
        faults=sheet.shown,
        critic=judgement.score,
        adherence=sheet.adherence,
    )
    return ExaminedTune(draft, tune, score, sheet)


@lru_cache(maxsize=1024)
def voices_of_abc(abc: str) -> Voices:
    """Return the steps of every voice of a tune; none if it cannot be played, for then nothing can be copied by ear.

    Cached for the next picture: one tune is a reference of many.
    """
    try:
        return voice_steps(abc_to_score(abc))
    except AbcError:
        return []


def _with_error(draft: Draft, reason: str, message: str) -> Draft:
    return replace(draft, diagnostics=(*draft.diagnostics, _error(reason, message)))


def _error(reason: str, message: str) -> Diagnostic:
    code = reason.replace("_", "-")
    return Diagnostic(line=1, column=1, voice=None, bar=None, code=code, severity=Severity.ERROR, message=message)
