"""ABC trees to melodies: training tunes and references are read the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from image2music.composers.nano.melody import Melody, Note
from image2music.composers.nano.plan import KINDS, METERS, Plan, plan_of, tempo_word
from image2music.errors import AbcError
from image2music.notation.abc_fields import Key, default_unit
from image2music.notation.abc_lengths import as_fraction
from image2music.notation.abc_parser import parse
from image2music.notation.abc_tokens import Head
from image2music.notation.abc_tree import BarLine, Change, Event, Tune, Voice

# Not R:, since abc2midi swings a tune whose R: says hornpipe.
MANNER = "In the manner of: "

_STEP_SEMITONES = (0, 2, 4, 5, 7, 9, 11)
_LETTERS = "CDEFGAB"
_FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
_MODE_BY_FIFTHS = {1: "major", 0: "major", -1: "mixolydian", -2: "dorian", -3: "minor", -4: "minor", -5: "minor"}
MIDDLE_C = 60


@dataclass
class _Bar:
    notes: list[Note] = field(default_factory=list)
    ending: tuple[int, ...] = ()
    closes_section: bool = False


def tonic_and_mode(key: Key) -> tuple[int, str]:
    """Pitch class of the tonic and one of the four modes; lydian counts as major, phrygian as minor."""
    letter, sign = key.tonic[0], key.tonic[1:]
    fifths = _FIFTHS[letter] + {"": 0, "#": 7, "b": -7}[sign]
    return fifths * 7 % 12, _MODE_BY_FIFTHS.get(key.sharps - fifths, "major")


def read_melody(tune: Tune, voice: Voice) -> Melody | None:
    """The top notes of a voice, or None where it has none or its meter is not one of `METERS`.

    Repeats are written once. Of several endings the last is kept. A note tied over a bar line is struck again.
    """
    unit = as_fraction(tune.unit if tune.unit is not None else default_unit(tune.meter))
    if str(tune.meter) not in METERS or unit not in (Fraction(1, 4), Fraction(1, 8), Fraction(1, 16)):
        return None
    tonic, mode = tonic_and_mode(tune.key)
    bars = _without_first_endings(list(_bars(tune.key, voice, unit, MIDDLE_C + tonic)))
    if not any(note.pitch is not None for bar in bars for note in bar.notes):
        return None
    ends = frozenset(i for i, bar in enumerate(bars) if bar.closes_section) | {len(bars) - 1}
    return Melody(str(tune.meter), unit, tonic, mode, tuple(tuple(bar.notes) for bar in bars), ends)


def _bars(key: Key, voice: Voice, unit: Fraction, reference: int) -> Iterator[_Bar]:
    bar = _Bar()
    said: dict[tuple[int, int], int] = {}
    tied: int | None = None
    for element in voice.elements:
        if isinstance(element, Change):
            key = element.value if isinstance(element.value, Key) else key
        elif isinstance(element, BarLine):
            bar.closes_section = element.is_section or element.repeats > 0 or element.opens_repeat
            if bar.notes:
                yield bar
                bar = _Bar(ending=() if bar.closes_section else bar.ending)
            bar.ending = element.ending or bar.ending
            said, tied = {}, None
        elif isinstance(element, Event) and element.layer == 0:
            pitch = _pitch(element, key, said, reference)
            length = as_fraction(element.duration) / unit
            if tied is not None and pitch == tied:
                bar.notes[-1] = Note(pitch, bar.notes[-1].length + length)
            else:
                bar.notes.append(Note(pitch, length))
            tied = pitch if element.ties else None
    if bar.notes:
        yield bar


def _pitch(event: Event, key: Key, said: dict[tuple[int, int], int], reference: int) -> int | None:
    """Semitones of the highest head above `reference`, None for a rest; remembers the bar's accidentals."""
    return max((_head_pitch(head, key, said) - reference for head in event.heads), default=None)


def _head_pitch(head: Head, key: Key, said: dict[tuple[int, int], int]) -> int:
    place = (head.step, head.octave)
    if head.accidental is not None:
        said[place] = head.accidental
    alteration = said.get(place, key.alterations[head.step])
    return MIDDLE_C + 12 * (head.octave - 4) + _STEP_SEMITONES[head.step] + alteration


def _without_first_endings(bars: list[_Bar]) -> list[_Bar]:
    kept: list[_Bar] = []
    for i, bar in enumerate(bars):
        later = next((other.ending for other in bars[i + 1 :] if other.ending != bar.ending), ())
        if bar.ending and later and max(later) > max(bar.ending):
            continue
        kept.append(bar)
    return kept


def read_plan_and_melody(abc: str) -> tuple[Plan, Melody]:
    """What a tune of nano's delivers, read back from its first voice, N: and Q:.

    Raises:
        AbcError: there is no tune, or its first voice is not one that nano could have written.
    """
    tunes = parse(abc).tunes
    melody = read_melody(tunes[0], next(iter(tunes[0].voices.values()))) if tunes and tunes[0].voices else None
    if melody is None:
        raise AbcError("the first voice cannot be read as a melody of nano's", reason="unreadable_tune")
    kind = next((note[len(MANNER) :] for note in tunes[0].fields.get("N", []) if note.startswith(MANNER)), None)
    qpm = tunes[0].tempo.qpm if tunes[0].tempo is not None else 120.0
    return plan_of(melody, kind=kind if kind in KINDS else None, tempo=tempo_word(qpm)), melody
