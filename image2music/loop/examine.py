"""What a draft is worth: diagnostics, metrics, copies, and its distance to the references.

From a composer's raw answer to a draft that can be judged.

Where a tune's metrics should lie: in the range of its references, as the paper asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache

from image2music.abc.autofix.rules import autofix
from image2music.abc.checker import check
from image2music.abc.diagnostics import Diagnostic, Severity
from image2music.abc.playback import abc_to_score
from image2music.errors import AbcError
from image2music.music.metrics import Metrics, metrics_of_score
from image2music.music.score import Score
from image2music.music.similarity import LONGEST_ALLOWED, Step, longest_shared_run, voice_steps
from image2music.types import Draft, Reference

Voices = Sequence[Sequence[Step]]


def examine(raw: str, references: Sequence[Voices]) -> Draft:
    """Mend, check, play and measure an answer; never raises for what stands in it.

    `references` are the voices of the retrieved tunes (`voices_of_abc`), to see how much was copied.
    """
    raw = raw.encode("utf-8", "replace").decode()  # a model may write half of a surrogate pair: no file can hold it
    try:
        mended = autofix(raw)
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
    copied = max((longest_shared_run(voice_steps(score), reference) for reference in references), default=0)
    return replace(draft, metrics=metrics_of_score(score), longest_copy=copied)


@lru_cache(maxsize=1024)
def voices_of_abc(abc: str) -> Voices:
    """The steps of every voice of a tune; none if it cannot be played, for then nothing can be copied by ear.

    Kept for the next picture: one tune is a reference of many.
    """
    try:
        return voice_steps(abc_to_score(abc))
    except AbcError:
        return []


def count_bars(score: Score) -> int:
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


Targets = dict[str, tuple[float, float] | None]

_MARGIN = 0.1
"""Share of the larger bound that is let through beyond the references' range: few references span little."""
_SHARES = ("scale_consistency", "empty_beat_rate")
_SHARE_MARGIN = 0.05


def targets_of(references: Sequence[Reference]) -> Targets:
    """(low, high) of each metric over the references, widened by a tenth; None where none of them defines it."""
    return targets_over([reference.metrics for reference in references])


def targets_over(metrics: Sequence[Metrics]) -> Targets:
    """The same, from the references' metrics alone."""
    rows = [asdict(one) for one in metrics]
    names = Metrics.__dataclass_fields__
    return {name: _interval(name, [row[name] for row in rows if row[name] is not None]) for name in names}


def _interval(name: str, values: Sequence[float]) -> tuple[float, float] | None:
    if not values:
        return None
    if name in _SHARES:
        return max(0.0, min(values) - _SHARE_MARGIN), min(1.0, max(values) + _SHARE_MARGIN)
    margin = _MARGIN * max(values)
    return max(0.0, min(values) - margin), max(values) + margin


def metrics_distance(metrics: Metrics, targets: Targets) -> float:
    """How far the metrics lie outside of their targets: sum of the gaps, each as a share of the target's high end.

    0 means that every metric lies within. A metric that is undefined on either side adds nothing.
    """
    return sum(_gap(value, targets.get(name)) for name, value in asdict(metrics).items())


def _gap(value: float | None, target: tuple[float, float] | None) -> float:
    if value is None or target is None:
        return 0.0
    low, high = target
    return max(low - value, value - high, 0.0) / max(high, 1e-9)


def complaints(draft: Draft, targets: Targets) -> tuple[str, ...]:
    """What is to change about a valid tune, in plain English; empty if nothing is."""
    assert draft.metrics is not None
    found = [
        f"{name} is {value:.3g}, the references lie between {target[0]:.3g} and {target[1]:.3g}"
        for name, value in asdict(draft.metrics).items()
        if (target := targets.get(name)) is not None and _gap(value, target) > 0
    ]
    if draft.longest_copy > LONGEST_ALLOWED:
        found.append(f"shares {draft.longest_copy} notes in a row with a reference: move away from it")
    return tuple(found)


def rank(draft: Draft, targets: Targets) -> tuple[int, float]:
    """What `--accept better` compares, smaller is better: notes copied beyond the bound, then `metrics_distance`."""
    assert draft.metrics is not None
    return max(0, draft.longest_copy - LONGEST_ALLOWED), metrics_distance(draft.metrics, targets)
