"""Music as it is written: voices of bars of notes, chords and rests with their marks.

A `Score` is what sounds; lines are what stands on paper: exact lengths, ties, dynamics, articulation. The arranger
makes them and `abc.writer.parts` writes them as ABC.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Event:
    """A note, chord (`pitches` low to high, MIDI numbers) or rest (none), `length` quarter notes long.

    `tied` means that it goes on into the next event, which has the same pitches. `marks` are ABC's decorations
    without exclamation marks, in the order in which they stand before the note (`mf`, `crescendo(`, `staccato`,
    `accent`, `fermata`); `slur_starts` and `slur_ends` count brackets. `tuplet` is the number of events of the tuplet
    that begins here (3 for a triplet); its events' `length` is what sounds.
    """

    pitches: tuple[int, ...]
    length: Fraction
    tied: bool = False
    marks: tuple[str, ...] = ()
    slur_starts: int = 0
    slur_ends: int = 0
    tuplet: int = 0


Bar = tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One voice: its id in the plan, instrument and bars.

    `derived` tells that it was written by rule. `qpm_at` maps a bar (from 1) to a tempo that begins there; only one
    line of a tune has any.
    """

    voice: int
    name: str
    program: int
    bars: tuple[Bar, ...]
    derived: bool = False
    is_drums: bool = False
    qpm_at: tuple[tuple[int, float], ...] = ()
