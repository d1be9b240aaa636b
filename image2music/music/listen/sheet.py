"""The sheet: what a listener found in a tune."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from image2music.music.metrics import Metrics

LISTENER_VERSION = 2
"""Raise it when other faults are heard in the same notes, or another adherence."""

FaultKind = Literal[
    "chord", "bass", "rub", "parallel_octaves", "parallel_fifths", "range", "leap", "cadence", "ending", "climax",
    "ceiling", "repeat", "empty_voice", "long_hold", "motif",
]  # fmt: skip
"""chord: what sounds is not the plan's chord; bass: another bass than planned. rub: a semitone or major seventh that
lasts on a beat. range: outside of the instrument's or the plan's range. leap: one that does not recover. cadence,
ending: no close where there should be one. climax: the peak is missing or elsewhere; ceiling: a note above it. repeat:
bars or voices literally again, more than the plan says. empty_voice, long_hold: silent or holding for more than a
section. motif: it does not come (back) where the plan says."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One place: `bar` from 1, `beat` from 1 in beats of the meter's denominator (2.5 is the second half of beat 2).

    `voices` are the places of the voices in the tune, from 1. `weight` (0 to 1) is how much it is heard. `last_bar` is
    set where the place is longer than one bar.
    """

    kind: FaultKind
    bar: int
    beat: float
    voices: tuple[int, ...]
    message: str
    weight: float = 0.5
    last_bar: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return kind, bar, beat, voices and message, as programs read it."""
        return {
            "kind": self.kind,
            "bar": self.bar,
            "beat": self.beat,
            "voices": list(self.voices),
            "message": self.message,
        }


@dataclass(frozen=True)
class Sheet:
    """All that was noticed.

    `faults` are sorted, worst first; `shown` are the at most eight that are worth a composer's time. `features` are
    numbers for programs (`faults_per_bar`, `density`, `highest_1`, ...). `remarks` are lines on what is no fault:
    highest note of each voice with its bars, density and loudness by section, the motif's returns. `adherence` (0 to
    1) tells how far the tune keeps its plan; None without one.
    """

    faults: tuple[Fault, ...]
    shown: tuple[Fault, ...]
    features: dict[str, float]
    remarks: tuple[str, ...]
    metrics: Metrics
    bars: int
    adherence: float | None = None
    missed: tuple[str, ...] = field(default_factory=tuple)
