"""A melody as nano decodes it, bars of pitches relative to the tonic and lengths in unit notes, and its ABC text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from image2music.abc.writer.text import length_text, note_name
from image2music.music.theory import MIDDLE_C, MODE_SHARPS, Spelling, key_name, spelling


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
        """Return the length of a full bar in unit notes."""
        return meter_fraction(self.meter) / self.unit

    @property
    def has_pickup(self) -> bool:
        """Return whether the first bar is shorter than the meter."""
        return bool(self.bars) and sum((note.length for note in self.bars[0]), Fraction()) < self.bar_capacity

    def sounding(self) -> list[Note]:
        """Return all notes in order, without rests."""
        return [note for bar in self.bars for note in bar if note.pitch is not None]


def meter_fraction(meter: str) -> Fraction:
    """Convert `"6/8"` to 3/4 of a whole note."""
    numerator, denominator = meter.split("/")
    return Fraction(int(numerator), int(denominator))


def without_pickups(melody: Melody) -> Melody | None:
    """Return the tune with full bars only, or None where that would change more than a section's edges.

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


BARS_A_LINE = 4
_DOTS = (Fraction(7, 4), Fraction(3, 2), Fraction(1))
LONG, SHORT = Fraction(3, 2), Fraction(1, 2)

_SUFFIX = {"major": "", "minor": "m", "dorian": "dor", "mixolydian": "mix"}


def signature(tonic: int, mode: str) -> int:
    """Return the sharps (flats negative, -6 to 6) of a key whose tonic is a pitch class 0-11."""
    return _tonic_fifths(tonic, mode) + MODE_SHARPS[mode]


def _tonic_fifths(tonic: int, mode: str) -> int:
    """The tonic's place on the line of fifths (C is 0), spelled so that the signature has at most six signs."""
    fifths = (tonic * 7 + 5) % 12 - 5
    return fifths if fifths + MODE_SHARPS[mode] >= -6 else fifths + 12


def melody_key(tonic: int, mode: str) -> str:
    """Return the key as K: takes it: `D`, `Bm`, `Ador`, `Amix`."""
    if mode == "minor":
        return key_name(signature(tonic, mode), minor=True)
    return key_name(_tonic_fifths(tonic, mode), minor=False) + _SUFFIX[mode]


def key_words(tonic: int, mode: str) -> str:
    """Return the key in words: `D major`, `A dorian`."""
    name = melody_key(tonic, mode).removesuffix(_SUFFIX[mode]) if _SUFFIX[mode] else melody_key(tonic, mode)
    return f"{name} {mode}"


def melody_bars(melody: Melody) -> list[str]:
    """Return the ABC of each bar without its bar line."""
    names = spelling(signature(melody.tonic, melody.mode), melody.mode in ("minor", "dorian"))
    beat = beat_length(melody.meter) / melody.unit
    return [_bar_text(bar, melody.tonic, names, beat) for bar in melody.bars]


def body_text(melody: Melody) -> str:
    """Return the melody's bars, four a line."""
    return wrap_bars(melody_bars(melody), melody.section_ends)


def wrap_bars(bars: Sequence[str], section_ends: frozenset[int]) -> str:
    """Return bars with their bar lines, four a line, the last one closed by `|]`."""
    closes = ["||" if i in section_ends else "|" for i in range(len(bars))]
    closes[-1] = "|]"
    cells = [f"{bar} {close}" for bar, close in zip(bars, closes, strict=True)]
    return "\n".join(" ".join(cells[i : i + BARS_A_LINE]) for i in range(0, len(cells), BARS_A_LINE))


def beat_length(meter: str) -> Fraction:
    """Return what is beamed together, in whole notes: a dotted quarter in compound meters, else a quarter or a half."""
    if meter.endswith("/8"):
        return Fraction(3, 8)
    return Fraction(1, 2) if meter in ("2/2", "4/4") else Fraction(1, 4)


def _bar_text(bar: Sequence[Note], tonic: int, names: Spelling, beat: Fraction) -> str:
    said: dict[str, str] = {}
    text, onset, i = "", Fraction(), 0
    while i < len(bar):
        if text and onset % beat == 0:
            text += " "
        group = _group_size(bar, i)
        if group == 1:
            text += _single_text(bar[i], tonic, names, said)
        else:
            heads = [_head(note, tonic, names, said) for note in bar[i : i + group]]
            text += _group_text(bar[i : i + group], heads)
        onset += sum((note.length for note in bar[i : i + group]), Fraction())
        i += group
    return text


def _group_size(bar: Sequence[Note], i: int) -> int:
    if bar[i].length.denominator == 3:
        return 3
    pair = bar[i : i + 2]
    broken = {note.length for note in pair} == {LONG, SHORT} and all(note.pitch is not None for note in pair)
    return 2 if broken else 1


def _group_text(group: Sequence[Note], heads: Sequence[str]) -> str:
    if len(group) == 3:
        return "(3" + "".join(h + _length(n.length * Fraction(3, 2)) for h, n in zip(heads, group, strict=True))
    return heads[0] + (">" if group[0].length == LONG else "<") + heads[1]


def _single_text(note: Note, tonic: int, names: Spelling, said: dict[str, str]) -> str:
    tie = "" if note.pitch is None else "-"
    return tie.join(_head(note, tonic, names, said) + _length(part) for part in drawable(note.length))


def drawable(length: Fraction) -> list[Fraction]:
    """Split a length into note values that can be drawn, with up to two dots, the longest first.

    5 is 4 and 1, 9 is 6 and 3.

    `length` is in unit notes, with a power of two below the line.
    """
    if length.numerator in (9, 18):
        return [length * 2 / 3, length / 3]
    parts: list[Fraction] = []
    while length:
        power = Fraction(1)
        while power * 2 <= length:
            power *= 2
        while power > length:
            power /= 2
        parts.append(next(power * dots for dots in _DOTS if power * dots <= length))
        length -= parts[-1]
    return parts


def _head(note: Note, tonic: int, names: Spelling, said: dict[str, str]) -> str:
    return "z" if note.pitch is None else note_name(MIDDLE_C + tonic + note.pitch, names, said)


def _length(length: Fraction) -> str:
    return length_text(length.numerator, length.denominator)
