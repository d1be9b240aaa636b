"""From a composer's raw answer to a draft that can be judged: mended, checked, played, listened to and measured.

The text is parsed here and nowhere later: its tree and its score stay with the draft while the loop works on it. They
are not part of the draft itself, which goes on to the row and is pickled between Beam's stages.

What is kept: the best of several candidates, and edits that a listener hears to be better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from image2music.abc.ast import Tune
from image2music.abc.autofix.rules import autofix
from image2music.abc.checker import check_parsed
from image2music.abc.diagnostics import Diagnostic, Severity
from image2music.abc.lasting import abc_lasting
from image2music.abc.parser import parse
from image2music.abc.playback import first_tune, tune_to_score
from image2music.abc.writer.excerpt import splice_bar
from image2music.composers.base import missing_constraints
from image2music.composers.nano.borrowing import played_reference
from image2music.errors import AbcError
from image2music.music.critic.model import criticise
from image2music.music.listen.listener import listen
from image2music.music.listen.sheet import Sheet
from image2music.music.planning.plan import Plan
from image2music.music.score import Score, count_bars, length_in_bars
from image2music.music.similarity import LONGEST_ALLOWED, Step, longest_shared_run, sung_steps, voice_steps
from image2music.types import AlbumPart, Draft, Edit

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
    is heard is held against it, what it has sung alone counts as copied, and its length becomes the tune's.
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
        parsed = fixed.parsed
        if plan is not None and plan.length_s is not None:
            draft = replace(draft, abc=abc_lasting(draft.abc, plan.length_s, *_TEMPOS))
            parsed = parse(draft.abc)
        tune = first_tune(parsed)
        score = tune_to_score(tune)
    except AbcError as error:
        return ExaminedTune(_with_error(draft, error.reason, str(error)))
    judgement = criticise(score)
    if judgement is None:
        return ExaminedTune(_with_error(draft, "no_notes", "write a tune that has notes"))
    sheet = listen(score, plan)
    sung = sung_steps(score, plan)
    copied = max((longest_shared_run(sung, reference) for reference in references), default=0)
    draft = replace(
        draft,
        metrics=sheet.metrics,
        longest_copy=copied,
        faults=sheet.shown,
        critic=judgement.score,
        adherence=sheet.adherence,
    )
    return ExaminedTune(draft, tune, score, sheet)


_TEMPOS = (24.0, 280.0)
"""Quarter notes a minute at which a tune may be played so that it has its length; a plan's tempos lie closer."""


@lru_cache(maxsize=1024)
def voices_of_abc(abc: str) -> Voices:
    """Return the steps of every voice of a tune; none if it cannot be played, for then nothing can be copied by ear.

    Cached for the next picture: one tune is a reference of many.
    """
    score = played_reference(abc)
    return [] if score is None else voice_steps(score)


def _with_error(draft: Draft, reason: str, message: str) -> Draft:
    return replace(draft, diagnostics=(*draft.diagnostics, _error(reason, message)))


def _error(reason: str, message: str) -> Diagnostic:
    code = reason.replace("_", "-")
    return Diagnostic(line=1, column=1, voice=None, bar=None, code=code, severity=Severity.ERROR, message=message)


GOOD_ENOUGH = 0.5
"""A critic's score from which on a higher one counts no more: chosen by the critic alone, the blandest tune wins."""
_FLOOR = -0.25
"""The same for tunes whose composer says how good they are: it has heard the critic, and knows more."""

_CRITIC_STEP, _WORTH_STEP, _ADHERENCE_STEP, _FAULTS_STEP = 0.25, 0.1, 0.05, 0.05
"""Differences below these mean nothing; rounding to them also keeps another processor's last bits from deciding."""


class Order(NamedTuple):
    """What candidates are compared by, in this order; smaller is better.

    The album's demands that are missed; notes copied beyond the bound; how far the critic's score lies below what is
    good enough; the composer's own judgement, with its sign changed; what is missing from the plan; faults that are
    heard, a bar, by their weight.
    """

    misses_album: int
    copies: int
    below: float
    worth: float
    misses_plan: float
    faults: float


def order_of(candidate: ExaminedTune, album: AlbumPart | None = None, worth: float | None = None) -> Order:
    """Return what a valid candidate is compared by; `worth` is what its composer says of it, if anything."""
    score, sheet, draft = candidate.score, candidate.sheet, candidate.draft
    assert score is not None and sheet is not None and draft.critic is not None
    adherence = 1.0 if draft.adherence is None else draft.adherence
    weight = sum(fault.weight for fault in sheet.faults) / max(1, sheet.bars)
    return Order(
        misses_album=len(missing_constraints(score, album)) if album is not None else 0,
        copies=max(0, draft.longest_copy - LONGEST_ALLOWED),
        below=_stepped(max(0.0, (GOOD_ENOUGH if worth is None else _FLOOR) - draft.critic), _CRITIC_STEP),
        worth=_stepped(-(worth or 0.0), _WORTH_STEP),
        misses_plan=_stepped(1 - adherence, _ADHERENCE_STEP),
        faults=_stepped(weight, _FAULTS_STEP),
    )


def why_not(mine: Order, other: Order) -> str:
    """Name the first thing in which a candidate is behind the chosen one."""
    behind = next((name for name in Order._fields if getattr(mine, name) > getattr(other, name)), None)
    return {
        "misses_album": "keeps_less_of_the_album",
        "copies": "copies_more",
        "below": "less_musical",
        "worth": "composer_prefers_another",
        "misses_plan": "keeps_less_of_the_plan",
        "faults": "more_faults",
        None: "no_better",
    }[behind]


def _stepped(value: float, step: float) -> float:
    return round(round(value, 6) / step) * step


MOST_EDITS = 16
"""Bars that one round may change; a composer that sends more rewrites the tune."""

_TOLERANCE = 0.02
"""Of the critic, in its own units: below this a difference means nothing."""
_ADHERENCE_TOLERANCE = 0.005
_BETTER = 0.05
"""By how much the critic must rise for an edit that mends no fault."""
_FEWEST_OF_A_RUN = 5
"""Notes from which on a line that goes one way in equal values counts as a bare scale."""
_SHARE_OF_A_RUN = 0.85

_TRUSTED_FROM = 0.0
"""The critic's score of a middling human piece (hymns: median .01, quarters -.74 and .53). Above it the critic tells
little about a bar, and a composer who says what is better is believed."""
_TOLERANCE_WHERE_TRUSTED = 0.06

UNCHANGED = "nothing_changed"
TAKEN = ("better", "no_worse")
"""Reasons for which an edit is taken. no_worse: nothing that can be measured suffers, and the composer says why."""

Trial = tuple[ExaminedTune, str, bool]
"""The tune with the edit in it, why it was taken or not, and whether it was."""


def try_edits(
    standing: ExaminedTune,
    edits: Sequence[Edit],
    examine: Callable[[str], ExaminedTune],
    plan: Plan | None = None,
    album: AlbumPart | None = None,
) -> Iterator[Trial]:
    """Try the edits bar by bar, all voices of a bar at once, then one by one; each on the tune that stands by then.

    Yield one trial a bar: what was taken, or the first attempt and why it was not. A bar that stays the same is no
    trial.
    """
    by_bar = sorted(edits[:MOST_EDITS], key=lambda edit: edit.bar)
    for _, group in groupby(by_bar, key=lambda edit: edit.bar):
        together, taken = list(group), False
        refused: Trial | None = None
        for some in [together] if len(together) == 1 else [together, *([edit] for edit in together)]:
            candidate, reason = _tried(standing, some, examine, plan, album)
            if reason in TAKEN:
                standing, taken = candidate, True
                yield candidate, reason, True
                if some is together:
                    break
            elif reason != UNCHANGED:
                refused = refused or (candidate, reason, False)
        if refused is not None and not taken:
            yield refused


def _tried(
    standing: ExaminedTune,
    edits: Sequence[Edit],
    examine: Callable[[str], ExaminedTune],
    plan: Plan | None,
    album: AlbumPart | None,
) -> tuple[ExaminedTune, str]:
    abc = standing.draft.abc
    try:
        for edit in edits:
            abc = splice_bar(abc, edit.voice, edit.bar, edit.abc)
    except AbcError as error:
        return standing, error.reason
    if abc == standing.draft.abc:
        return standing, UNCHANGED
    candidate = examine(abc)
    meant = all(edit.better for edit in edits)
    return candidate, judge_edit(standing, candidate, [edit.bar for edit in edits], plan, album, meant=meant)


def judge_edit(
    standing: ExaminedTune,
    candidate: ExaminedTune,
    bars: Sequence[int],
    plan: Plan | None = None,
    album: AlbumPart | None = None,
    *,
    meant: bool = False,
) -> str:
    """Return one of `TAKEN` if the candidate is to take the place of the standing tune, else why not.

    It must pass the check, keep its length, its voices and what the album asks for, bring no fault that was not there,
    and lose nothing by critic and plan. And it must gain something: a fault less, or a clearly higher critic's score.
    Where it is `meant`, because the composer says what is better (dullness is heard by no sheet), and the tune is no
    worse than a middling human piece before and after, it need not gain anything that can be measured.
    """
    before, after = standing.score, candidate.score
    if not candidate.stands or before is None or after is None or standing.sheet is None or candidate.sheet is None:
        return candidate.draft.validity if not candidate.stands else "nothing_to_compare"
    if candidate.draft.mends:  # the standing tune is mended already, so these are the edit's
        return "needs_mending"
    if count_bars(after) != count_bars(before) or len(after.tracks) != len(before.tracks):
        return "other_length"
    lost = _emptied(before, after, bars)
    if any(plan is None or _is_asked_for(plan, voice, bar) for voice, bar in lost):
        return "voice_lost"
    if album is not None and len(missing_constraints(after, album)) > len(missing_constraints(before, album)):
        return "keeps_less_of_the_album"
    if candidate.draft.longest_copy > max(LONGEST_ALLOWED, standing.draft.longest_copy):
        return "copies_more"
    if _is_bare(before, after, bars):
        return "bare_scale_or_double"
    had, has = _faults(standing), _faults(candidate)
    if has - had:
        return "new_fault"
    critic_before, critic_after = standing.draft.critic, candidate.draft.critic
    assert critic_before is not None and critic_after is not None
    gain = round(critic_after - critic_before, 4)
    trusted = meant and round(min(critic_before, critic_after), 4) >= _TRUSTED_FROM
    if gain < -(_TOLERANCE_WHERE_TRUSTED if trusted else _TOLERANCE):
        return "less_musical"
    kept_before, kept_after = standing.draft.adherence, candidate.draft.adherence
    if kept_before is not None and kept_after is not None and kept_after < kept_before - _ADHERENCE_TOLERANCE:
        return "keeps_less_of_the_plan"
    if had - has or gain >= _BETTER:
        return "better"
    return "no_worse" if trusted else "no_better"


def _faults(tune: ExaminedTune) -> Counter[tuple[str, int, tuple[int, ...]]]:
    assert tune.sheet is not None
    return Counter((fault.kind, fault.bar, fault.voices) for fault in tune.sheet.faults)


def _is_asked_for(plan: Plan, voice: int, bar: int) -> bool:
    return voice >= len(plan.voices) or plan.role_at(plan.voices[voice].id, bar) != "rest"


def _bar_ticks(score: Score, bar: int) -> tuple[int, int]:
    """Return where a bar as written begins and ends, in ticks; of a repeated one the first time."""
    starts = [(start.tick, start.number) for start in score.bar_starts]
    at = next((at for at, (_, number) in enumerate(starts) if number == bar), None)
    if at is None:
        return 0, 0
    return starts[at][0], starts[at + 1][0] if at + 1 < len(starts) else length_in_bars(score)


def _notes(score: Score, voice: int, bar: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    start, end = _bar_ticks(score, bar)
    track = score.tracks[voice]
    inside = (track.onsets < end) & (track.onsets + track.durations > start)
    return track.onsets[inside] - start, track.durations[inside], track.pitches[inside]


def _emptied(before: Score, after: Score, bars: Sequence[int]) -> list[tuple[int, int]]:
    """Return (track, bar) of voices that had notes in a bar and have none, or less than half, any more."""
    found = []
    for bar in sorted(set(bars)):
        for voice in range(len(before.tracks)):
            had, has = (float(_notes(score, voice, bar)[1].sum()) for score in (before, after))
            if had > 0 and has < had / 2:
                found.append((voice, bar))
    return found


def _is_bare(before: Score, after: Score, bars: Sequence[int]) -> bool:
    """Whether a changed bar became a bare scale, one note again and again, or another voice's copy at the octave."""
    for bar in sorted(set(bars)):
        for voice in range(len(after.tracks)):
            new, old = _notes(after, voice, bar), _notes(before, voice, bar)
            if all(np.array_equal(a, b) for a, b in zip(new, old, strict=True)):
                continue
            if _runs_one_way(new) and not _runs_one_way(old):
                return True
            if _doubles(after, voice, bar, new) and not _doubles(before, voice, bar, old):
                return True
    return False


def _runs_one_way(notes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bool:
    onsets, durations, pitches = notes
    if len(pitches) < _FEWEST_OF_A_RUN or len(np.unique(onsets)) < len(onsets) or len(np.unique(durations)) > 1:
        return False
    steps = np.diff(pitches)
    ways = ((steps > 0) & (steps <= 2), (steps < 0) & (steps >= -2), steps == 0)
    # A scale that begins anew in the bar is one still.
    return any(int(way.sum()) >= _SHARE_OF_A_RUN * len(steps) for way in ways)


def _doubles(score: Score, voice: int, bar: int, notes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bool:
    onsets, _, pitches = notes
    if len(onsets) < 2:
        return False
    for other in range(len(score.tracks)):
        if other == voice or score.tracks[other].is_drum:
            continue
        theirs = _notes(score, other, bar)
        if np.array_equal(theirs[0], onsets) and np.array_equal(theirs[2] % 12, pitches % 12):
            return True
    return False
