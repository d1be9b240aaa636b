"""The second voice: chords turned into figures that suit meter and tempo. Derived by rule, and marked so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from image2music.composers.nano.abc_text import drawable, signature
from image2music.composers.nano.harmony import Chord, Stretch, beats, harmonise
from image2music.composers.nano.melody import Melody
from image2music.notation.abc_writer import length_text, note_name
from image2music.notation.spelling import Spelling, spelling

Figure = Literal["held", "open fifths", "bass and chord", "arpeggio"]
FIGURES: tuple[Figure, ...] = ("held", "open fifths", "bass and chord", "arpeggio")

LOWEST_BASS, HIGHEST_BASS = 41, 52
CHORD_FLOOR = 53


class Struck(NamedTuple):
    """Pitches (MIDI numbers, low to high; empty for a rest) struck together for `length` unit notes."""

    pitches: tuple[int, ...]
    length: Fraction


@dataclass(frozen=True)
class Accompaniment:
    """Bars of the second voice and the chord names they follow."""

    figure: Figure
    bars: tuple[tuple[Struck, ...], ...]
    chords: tuple[tuple[str, ...], ...]


def accompany(melody: Melody, figure: Figure) -> Accompaniment:
    """A second voice for a melody whose bars are full; each of its bars is as long as the melody's."""
    bars: list[list[Struck]] = [[] for _ in melody.bars]
    names: list[list[str]] = [[] for _ in melody.bars]
    beat = beats(melody.meter, melody.unit)[0]
    last = len(melody.bars) - 1
    for place, chord in harmonise(melody):
        voiced = _voice(chord, melody.tonic)
        shape: Figure = "held" if place.bar == last else figure
        bars[place.bar].extend(_figure(shape, voiced, place, min(beat, place.length)))
        names[place.bar].append(chord.name)
    return Accompaniment(figure, tuple(tuple(_joined(bar)) for bar in bars), tuple(tuple(n) for n in names))


def bar_texts(accompaniment: Accompaniment, melody: Melody) -> list[str]:
    """Each bar without its bar line."""
    names = spelling(signature(melody.tonic, melody.mode), melody.mode in ("minor", "dorian"))
    texts = []
    for bar in accompaniment.bars:
        said: dict[str, str] = {}
        texts.append(" ".join(_text(struck, names, said) for struck in bar))
    return texts


def _text(struck: Struck, names: Spelling, said: dict[str, str]) -> str:
    """A chord with its length, tied where one note value cannot show it."""
    return "-".join(
        _head([note_name(pitch, names, said) for pitch in struck.pitches])
        + length_text(part.numerator, part.denominator)
        for part in drawable(struck.length)
    )


class _Voiced(NamedTuple):
    bass: int
    fifth: int
    upper: tuple[int, ...]


def _voice(chord: Chord, tonic: int) -> _Voiced:
    """Root in the bass, the other two tones in the octave above `CHORD_FLOOR`."""
    root, third, fifth = (tonic + tone for tone in chord.classes)
    bass = _at_least(root, LOWEST_BASS)
    bass = bass - 12 if bass > HIGHEST_BASS else bass
    upper = tuple(sorted(_at_least(tone, CHORD_FLOOR) for tone in (third, fifth)))
    return _Voiced(bass, bass + (chord.classes[2] - chord.classes[0]) % 12, upper)


def _at_least(pitch_class: int, floor: int) -> int:
    return floor + (pitch_class - floor) % 12


def _figure(figure: Figure, voiced: _Voiced, place: Stretch, beat: Fraction) -> list[Struck]:
    if figure == "held":
        return [Struck((voiced.bass, *voiced.upper), place.length)]
    if figure == "open fifths":
        return [Struck((voiced.bass, voiced.fifth), place.length)]
    steps = _steps(place.length, beat)
    if figure == "arpeggio":
        ring: Sequence[int] = (voiced.bass, voiced.upper[0], voiced.upper[1], voiced.upper[0])
        return [Struck((ring[i % 4],), length) for i, length in enumerate(steps)]
    return [Struck((voiced.bass,) if i == 0 else voiced.upper, length) for i, length in enumerate(steps)]


def _steps(length: Fraction, beat: Fraction) -> list[Fraction]:
    """A dotted beat falls into two thirds and one; other stretches into beats, or halves of a single one."""
    if beat.numerator % 3 == 0:
        return [part for _ in range(int(length / beat)) for part in (beat * 2 / 3, beat / 3)]
    count = int(length / beat)
    return [beat] * count if count > 1 else [beat / 2] * 2


def _joined(bar: Sequence[Struck]) -> list[Struck]:
    """A chord that is held on under the next stretch is struck once."""
    joined: list[Struck] = []
    for struck in bar:
        if joined and len(struck.pitches) > 1 and joined[-1].pitches == struck.pitches:
            joined[-1] = Struck(struck.pitches, joined[-1].length + struck.length)
        else:
            joined.append(struck)
    return joined


def _head(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else "[" + "".join(names) + "]"
