"""From a composer's raw answer to a draft that can be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from image2music.copying import Step, longest_shared_run, voices_of
from image2music.errors import AbcError
from image2music.notation.abc_checker import check
from image2music.notation.abc_to_midi import abc_to_score
from image2music.notation.diagnostic import Diagnostic, Severity
from image2music.notation.mend import mend
from image2music.notation.metrics import metrics_of_score
from image2music.notation.score import Score
from image2music.stages import Draft

Voices = Sequence[Sequence[Step]]


def examine(raw: str, references: Sequence[Voices]) -> Draft:
    """Mend, check, play and measure an answer; never raises for what stands in it.

    `references` are the voices of the retrieved tunes (`voices_of_abc`), to see how much was copied.
    """
    raw = raw.encode("utf-8", "replace").decode()  # a model may write half of a surrogate pair: no file can hold it
    try:
        mended = mend(raw)
    except AbcError as error:
        return Draft(abc=raw, diagnostics=(_error(error.reason, str(error)),), metrics=None)
    draft = Draft(abc=mended.abc, diagnostics=tuple(check(mended.abc)), metrics=None, mends=mended.diagnostics)
    return draft if draft.errors else _measure(draft, references)


def _measure(draft: Draft, references: Sequence[Voices]) -> Draft:
    try:
        score = abc_to_score(draft.abc)
    except AbcError as error:
        return replace(draft, diagnostics=(*draft.diagnostics, _error(error.reason, str(error))))
    if score.n_notes == 0:
        return replace(draft, diagnostics=(*draft.diagnostics, _error("no_notes", "write a tune that has notes")))
    copied = max((longest_shared_run(voices_of(score), reference) for reference in references), default=0)
    return replace(draft, metrics=metrics_of_score(score), longest_copy=copied)


@lru_cache(maxsize=1024)
def voices_of_abc(abc: str) -> Voices:
    """The steps of every voice of a tune; none if it cannot be played, for then nothing can be copied by ear.

    Kept for the next picture: one tune is a reference of many.
    """
    try:
        return voices_of(abc_to_score(abc))
    except AbcError:
        return []


def bars_of(score: Score) -> int:
    """Bars of the longest voice, the last one counted even where it is not full. Without a meter: 4/4."""
    end = max((int((track.onsets + track.durations).max()) for track in score.tracks if len(track)), default=0)
    meters = [(change.tick, change.numerator, change.denominator) for change in score.meters] or [(0, 4, 4)]
    starts = [0, *(tick for tick, _, _ in meters[1:])]
    bars = 0
    for (_, numerator, denominator), start, stop in zip(meters, starts, [*starts[1:], end], strict=True):
        bar = score.ticks_per_quarter * 4 * numerator // denominator
        bars += -(-max(0, min(stop, end) - start) // bar)
    return bars


def _error(reason: str, message: str) -> Diagnostic:
    code = reason.replace("_", "-")
    return Diagnostic(line=1, column=1, voice=None, bar=None, code=code, severity=Severity.ERROR, message=message)
