"""Music as note arrays: what MIDI is read into, what ABC plays as, what metrics are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """From `tick` on, a signature of `sharps` (-7 to 7, flats negative), minor or major."""

    tick: int
    sharps: int
    minor: bool


@dataclass(frozen=True)
class Score:
    """A whole piece. Change lists are sorted by tick and may be empty where the source names none."""

    ticks_per_quarter: int
    tracks: tuple[Track, ...]
    tempos: tuple[TempoChange, ...] = ()
    meters: tuple[MeterChange, ...] = ()
    keys: tuple[KeyChange, ...] = ()

    @property
    def n_notes(self) -> int:
        """Number of notes over all tracks, drums included."""
        return sum(len(track) for track in self.tracks)
