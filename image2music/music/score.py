"""Music as note arrays: what MIDI is read into, what ABC plays as, what metrics are computed from.

Also what is counted on a score (seconds, bars), and several scores joined one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from image2music.music.theory import DEFAULT_QPM, TICKS_PER_QUARTER, tonic_pitch_class

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Track:
    """The notes of one part, sorted by onset, then pitch.

    `onsets` and `durations` are int64[n] in ticks, `pitches` int64[n] 0-127, `velocities` int64[n] 1-127,
    `program` 0-127 (General MIDI), `channel` 0-15 (9 is drums).
    """

    onsets: IntArray
    durations: IntArray
    pitches: IntArray
    velocities: IntArray
    program: int = 0
    channel: int = 0
    is_drum: bool = False
    name: str = ""

    def __len__(self) -> int:
        return len(self.onsets)


@dataclass(frozen=True)
class TempoChange:
    """From `tick` on, `qpm` quarter notes a minute."""

    tick: int
    qpm: float


@dataclass(frozen=True)
class MeterChange:
    """From `tick` on, bars of `numerator`/`denominator`."""

    tick: int
    numerator: int
    denominator: int


@dataclass(frozen=True)
class KeyChange:
    """From `tick` on, a signature of `sharps` (-7 to 7, flats negative), minor or major.

    `home` is the tonic's pitch class where a mode has another than major or minor with this signature (dorian, ...).
    """

    tick: int
    sharps: int
    minor: bool
    home: int | None = None

    @property
    def tonic(self) -> int:
        """The tonic's pitch class, 0-11."""
        return tonic_pitch_class(self.sharps, self.minor) if self.home is None else self.home


@dataclass(frozen=True)
class BarStart:
    """At `tick` bar `number` begins, as it is written (from 1, a pick-up counted): a repeated bar comes twice."""

    tick: int
    number: int


@dataclass(frozen=True)
class Score:
    """A whole piece. Change lists are sorted by tick and may be empty where the source names none.

    A track without notes is a voice that is declared and never sounds. `bar_starts` is empty where the source has no
    bar lines of its own (MIDI): there the meters tell. `title` is that of a tune in ABC; of MIDI it is not read.
    """

    ticks_per_quarter: int
    tracks: tuple[Track, ...]
    tempos: tuple[TempoChange, ...] = ()
    meters: tuple[MeterChange, ...] = ()
    keys: tuple[KeyChange, ...] = ()
    bar_starts: tuple[BarStart, ...] = ()
    title: str = ""

    @property
    def n_notes(self) -> int:
        """Number of notes over all tracks, drums included."""
        return sum(len(track) for track in self.tracks)


_COMMON_TIME = MeterChange(0, 4, 4)


def seconds_at(quarters: float, tempos: Sequence[TempoChange], ticks_per_quarter: int) -> float:
    """Return the seconds from the beginning until `quarters` quarter notes have passed.

    `tempos` are sorted by tick, of which a quarter has `ticks_per_quarter`; before the first it is `DEFAULT_QPM`.
    """
    changes = tempos if tempos and tempos[0].tick <= 0 else (TempoChange(0, DEFAULT_QPM), *tempos)
    seconds = 0.0
    ends: list[float] = [change.tick / ticks_per_quarter for change in changes[1:]]
    for change, end in zip(changes, [*ends, float("inf")], strict=True):
        start = change.tick / ticks_per_quarter
        seconds += max(0.0, min(quarters, end) - start) * 60 / change.qpm
    return seconds


def count_bars(score: Score) -> int:
    """Return the bars of the longest voice, the last one counted even where it is not full. Without a meter: 4/4."""
    end = max((int((track.onsets + track.durations).max()) for track in score.tracks if len(track)), default=0)
    meters = [(change.tick, change.numerator, change.denominator) for change in score.meters] or [(0, 4, 4)]
    starts = [0, *(tick for tick, _, _ in meters[1:])]
    bars = 0
    for (_, numerator, denominator), start, stop in zip(meters, starts, [*starts[1:], end], strict=True):
        bar = score.ticks_per_quarter * 4 * numerator // denominator
        bars += -(-max(0, min(stop, end) - start) // bar)
    return bars


def length_in_bars(score: Score) -> int:
    """Return the ticks until the end of the last bar, were it full."""
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks if len(track))
    last = (score.meters or (_COMMON_TIME,))[-1]
    bar = score.ticks_per_quarter * 4 * last.numerator // last.denominator
    return last.tick + -(-max(0, end - last.tick) // bar) * bar


def joined(scores: Sequence[Score]) -> tuple[Score, list[int]]:
    """Return one score and the tick at which each of its parts begins.

    Sounding track n of every part is one voice, played by the instrument that has it first; drums are one of their own.
    All scores have 480 ticks a quarter, as `abc_to_score` makes them. A part without a meter is in 4/4.
    """
    starts = [0, *np.cumsum([length_in_bars(score) for score in scores]).tolist()]
    placed = [_shifted(score, start) for score, start in zip(scores, starts, strict=False)]
    voices = zip_longest(*([track for track in score.tracks if len(track) and not track.is_drum] for score in placed))
    tracks = [_one([track for track in voice if track is not None]) for voice in voices]
    drums = [track for score in placed for track in score.tracks if len(track) and track.is_drum]
    return (
        Score(
            TICKS_PER_QUARTER,
            tuple([*tracks, _one(drums)] if drums else tracks),
            tuple(change for score in placed for change in score.tempos),
            tuple(change for score in placed for change in score.meters),
            tuple(change for score in placed for change in score.keys),
        ),
        starts[:-1],
    )


def _shifted(score: Score, by: int) -> Score:
    return Score(
        score.ticks_per_quarter,
        tuple(replace(track, onsets=track.onsets + by) for track in score.tracks),
        tuple(TempoChange(change.tick + by, change.qpm) for change in score.tempos),
        tuple(MeterChange(c.tick + by, c.numerator, c.denominator) for c in score.meters or (_COMMON_TIME,)),
        tuple(replace(change, tick=change.tick + by) for change in score.keys),
    )


def _one(tracks: Sequence[Track]) -> Track:
    onsets, durations, pitches, velocities = (
        np.concatenate([getattr(track, name) for track in tracks])
        for name in ("onsets", "durations", "pitches", "velocities")
    )
    order = np.lexsort((pitches, onsets))
    return replace(
        tracks[0],
        onsets=onsets[order],
        durations=durations[order],
        pitches=pitches[order],
        velocities=velocities[order],
    )
