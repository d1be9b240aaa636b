"""Tempo changes on the grid, few enough to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from image2music.notation.score import Score
from image2music.notation.timeline import QUARTER

DEFAULT_QPM = 120.0
_SLOWEST, _FASTEST = 5.0, 1000.0
_LEAST_CHANGE = 0.01
_BEAT = QUARTER // 4


@dataclass(frozen=True)
class Tempo:
    """From grid tick `tick` on, `qpm` quarter notes a minute."""

    tick: int
    qpm: float


def tempos_of(score: Score) -> tuple[Tempo, ...]:
    """Tempos at whole sixteenths, the first at 0; changes of less than one per cent are left out."""
    latest: dict[int, float] = {}
    for change in score.tempos:
        tick = round(change.tick * QUARTER / score.ticks_per_quarter / _BEAT) * _BEAT
        latest[tick] = min(_FASTEST, max(_SLOWEST, change.qpm))
    tempos = [Tempo(0, latest.pop(0, DEFAULT_QPM))]
    for tick in sorted(latest):
        if abs(latest[tick] / tempos[-1].qpm - 1) >= _LEAST_CHANGE:
            tempos.append(Tempo(tick, latest[tick]))
    return tuple(tempos)


def tempo_text(qpm: float) -> str:
    """`1/4=120`; slow tempos count a shorter note, so that the whole number is within one per cent."""
    for note in (4, 8, 16, 32):
        beats = qpm * note / 4
        if abs(round(beats) - beats) <= 0.01 * beats:
            return f"1/{note}={round(beats)}"
    return f"1/64={round(qpm * 16)}"


def seconds_at(tick: int, tempos: Sequence[Tempo]) -> float:
    """Seconds from the beginning to a grid tick."""
    seconds = 0.0
    for here, after in zip(tempos, [*tempos[1:], None], strict=True):
        stop = tick if after is None else min(tick, after.tick)
        seconds += max(0, stop - here.tick) / QUARTER * 60 / here.qpm
    return seconds
