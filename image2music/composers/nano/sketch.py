"""A tune in the making: a melody bar by bar over its chords, before other voices are there.

What the search writes, the network reads and mining takes from human music all have this form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from image2music.composers.suiting import Character
from image2music.music.planning.plan import Dynamic

TICKS = 12
"""Ticks in a quarter note: sixteenths are 3, the notes of an eighth triplet 4."""

Note = tuple[int, int, int]
"""Onset in its bar and length in ticks, MIDI pitch. A length may pass the bar's end: the note is held over."""

Purpose = Literal["intro", "statement", "again", "contrast", "drive", "return", "climax", "coda"]
"""What a section is for: the theme first and once more, another theme and its working out, the theme's return, the
peak, the close; an intro has accompaniment alone."""
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


@dataclass(frozen=True, slots=True)
class SketchBar:
    """One bar: chord symbols in equal parts of it, the tune's notes, what its section is for, and who sings how loud.

    `section` counts from 0, `singer` is the voice's id in the plan (0 for none), `program` its General MIDI instrument.
    """

    chords: tuple[str, ...]
    notes: tuple[Note, ...]
    section: int
    purpose: Purpose
    dynamic: Dynamic
    singer: int
    program: int


@dataclass(frozen=True, slots=True)
class Sketch:
    """A melody with its chords. `key` as in ABC (`D`, `F#m`, `Ddor`), `meter` as `6/8`, `qpm` quarters a minute."""

    key: str
    meter: str
    qpm: float
    character: Character
    bars: tuple[SketchBar, ...]

    def notes(self) -> Iterator[tuple[int, int, int]]:
        """Yield all notes, their onsets counted from the start of the piece in ticks."""
        length = bar_ticks(self.meter)
        for number, bar in enumerate(self.bars):
            for onset, duration, pitch in bar.notes:
                yield number * length + onset, duration, pitch


def bar_ticks(meter: str) -> int:
    """Return the length of a bar in ticks: 48 for `4/4`, 36 for `3/4` and `6/8`."""
    number, _, unit = meter.partition("/")
    return int(number) * 4 * TICKS // int(unit)


def beat_ticks(meter: str) -> int:
    """Return the length of a beat in ticks: a dotted quarter (18) in compound meters, else the meter's unit."""
    number, _, unit = meter.partition("/")
    if int(unit) >= 8 and int(number) % 3 == 0:
        return 18 * 8 // int(unit)
    return 4 * TICKS // int(unit)
