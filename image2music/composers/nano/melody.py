"""A melody as nano thinks of it: bars of pitches relative to the tonic, and lengths in unit notes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

MODES = ("major", "minor", "dorian", "mixolydian")

# Semitones of each mode's seven degrees above its tonic.
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}


class Note(NamedTuple):
    """`pitch` in semitones above the tonic's reference octave (None for a rest), `length` in unit notes (L:)."""

    pitch: int | None
    length: Fraction


@dataclass(frozen=True)
class Melody:
    """One voice, bar by bar.

    `tonic` is a pitch class 0-11; pitch 0 of a note is the tonic in the octave that starts at middle C
    (MIDI 60 + tonic). `meter` is written as in ABC ("6/8"), `unit` is the unit note's part of a whole note.
    `section_ends` holds the indices of bars that end a section (the last bar always does).
    """

    meter: str
    unit: Fraction
    tonic: int
    mode: str
    bars: tuple[tuple[Note, ...], ...]
    section_ends: frozenset[int]

    @property
    def bar_capacity(self) -> Fraction:
        """Length of a full bar in unit notes."""
        return meter_fraction(self.meter) / self.unit

    @property
    def has_pickup(self) -> bool:
        """True when the first bar is shorter than the meter asks for."""
        return bool(self.bars) and sum((note.length for note in self.bars[0]), Fraction()) < self.bar_capacity

    def sounding(self) -> list[Note]:
        """All notes in order, without rests."""
        return [note for bar in self.bars for note in bar if note.pitch is not None]


def meter_fraction(meter: str) -> Fraction:
    """`"6/8"` to 3/4 of a whole note."""
    numerator, denominator = meter.split("/")
    return Fraction(int(numerator), int(denominator))


def without_pickups(melody: Melody) -> Melody | None:
    """The same tune with full bars only, or None where that would change more than a section's edges.

    Notes before a section's first full bar go; a section's short last bar gets a longer last note. Short bars in
    other places make it None.
    """
    capacity = melody.bar_capacity
    bars: list[tuple[Note, ...]] = []
    ends: set[int] = set()
    starts_section = True
    for i, bar in enumerate(melody.bars):
        missing = capacity - sum((note.length for note in bar), Fraction())
        is_end = i in melody.section_ends
        if missing and starts_section and not is_end:
            starts_section = False
            continue
        if missing and not is_end:
            return None
        if missing:
            bar = (*bar[:-1], Note(bar[-1].pitch, bar[-1].length + missing))
        bars.append(bar)
        if is_end:
            ends.add(len(bars) - 1)
        starts_section = is_end
    return Melody(melody.meter, melody.unit, melody.tonic, melody.mode, tuple(bars), frozenset(ends))
