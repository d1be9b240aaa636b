"""A whole ABC tune from controls and melody: a second voice by functional harmony, and both voices as text.

Chords are tonic, subdominant and dominant triads, found by Viterbi search: each stretch of a bar gets the triad that
fits its notes best, given what usually follows what. Source of the method: harmonisation as a hidden Markov model, as
in Allan and Williams 2005; the tables here are written by hand. The voice is derived by rule, and marked so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from image2music.abc.writer.text import length_text, note_name
from image2music.composers.nano.controls import TONICS, Controls
from image2music.composers.nano.melody import (
    Melody,
    Note,
    drawable,
    melody_bars,
    melody_key,
    meter_fraction,
    signature,
    wrap_bars,
)
from image2music.composers.nano.reading import MANNER
from image2music.music.theory import Spelling, spelling

Function = str


@dataclass(frozen=True)
class Chord:
    """A triad above the tonic: `classes` are semitones 0-11 from root, third and fifth; `function` is T, S or D."""

    name: str
    classes: tuple[int, int, int]
    function: Function


CHORDS: dict[str, tuple[Chord, ...]] = {
    "major": (
        Chord("I", (0, 4, 7), "T"),
        Chord("IV", (5, 9, 0), "S"),
        Chord("V", (7, 11, 2), "D"),
        Chord("vi", (9, 0, 4), "T"),
        Chord("ii", (2, 5, 9), "S"),
    ),
    "minor": (
        Chord("i", (0, 3, 7), "T"),
        Chord("iv", (5, 8, 0), "S"),
        Chord("V", (7, 11, 2), "D"),
        Chord("v", (7, 10, 2), "D"),
        Chord("VI", (8, 0, 3), "S"),
        Chord("VII", (10, 2, 5), "D"),
        Chord("III", (3, 7, 10), "T"),
    ),
    "dorian": (
        Chord("i", (0, 3, 7), "T"),
        Chord("IV", (5, 9, 0), "S"),
        Chord("VII", (10, 2, 5), "D"),
        Chord("v", (7, 10, 2), "D"),
        Chord("III", (3, 7, 10), "T"),
    ),
    "mixolydian": (
        Chord("I", (0, 4, 7), "T"),
        Chord("VII", (10, 2, 5), "D"),
        Chord("IV", (5, 9, 0), "S"),
        Chord("v", (7, 10, 2), "D"),
    ),
}

# How welcome a step from one function to the next is.
_FLOW = {
    ("T", "S"): 0.3, ("T", "D"): 0.2, ("S", "D"): 0.5, ("D", "T"): 0.6, ("S", "T"): 0.1, ("D", "S"): -0.5,
}  # fmt: skip
_STAY = 0.25
_PRIMARY = 0.35
_TONIC_CLOSE = 3.0
_HALF_CLOSE = 0.8
_DIGITS = 9


@dataclass(frozen=True)
class Stretch:
    """Part of a bar under one chord: from `onset`, `length` unit notes long."""

    bar: int
    onset: Fraction
    length: Fraction


def stretches(melody: Melody) -> list[Stretch]:
    """Split bars: halves of four-beat and compound bars, whole bars elsewhere."""
    capacity = melody.bar_capacity
    parts = 2 if melody.meter in ("4/4", "2/2", "6/8", "12/8", "6/4") else 1
    step = capacity / parts
    return [Stretch(bar, step * part, step) for bar in range(len(melody.bars)) for part in range(parts)]


def harmonise(melody: Melody) -> list[tuple[Stretch, Chord]]:
    """Return the best chord for each stretch of a melody whose bars are full; the last one is the tonic."""
    chords, places = CHORDS[melody.mode], stretches(melody)
    fit = np.stack([_fit(melody, place, chords) for place in places])
    fit[-1, 0] += _TONIC_CLOSE
    per_bar = len(places) // len(melody.bars)
    for i, place in enumerate(places):
        closes = place.bar in melody.section_ends and i % per_bar == per_bar - 1
        if closes:
            fit[i] += [_HALF_CLOSE if chord.function in "TD" else 0.0 for chord in chords]
    flow = np.array([[_flow(a, b) for b in chords] for a in chords])
    path = viterbi(fit, flow)
    return [(place, chords[k]) for place, k in zip(places, path, strict=True)]


def viterbi(fit: NDArray[np.float64], flow: NDArray[np.float64]) -> list[int]:
    """Return the states of the best path: `fit` float64[n, states] plus `flow` float64[states, states] between them."""
    best, came_from = fit[0], []
    for row in fit[1:]:
        # Rounded, so that of two paths as good as each other the first state wins, however the sums were rounded.
        total = (best[:, None] + flow).round(_DIGITS)
        came_from.append(total.argmax(0))
        best = (total.max(0) + row).round(_DIGITS)
    path = [int(best.argmax())]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    return path[::-1]


def _flow(a: Chord, b: Chord) -> float:
    return _STAY if a == b else _FLOW.get((a.function, b.function), 0.0)


def _fit(melody: Melody, place: Stretch, chords: Sequence[Chord]) -> NDArray[np.float64]:
    """Score how well each chord suits the notes of a stretch; long notes and the first one count most."""
    sounding = _notes_within(melody.bars[place.bar], place)
    score = np.array([_PRIMARY * (chord.name.upper() in ("I", "IV", "V", "VII")) for chord in chords])
    for onset, pitch, length in sounding:
        weight = float(length / place.length) * (1.5 if onset == place.onset else 1.0)
        for k, chord in enumerate(chords):
            score[k] += weight * _agreement(pitch % 12, chord)
    return score


def _agreement(pitch_class: int, chord: Chord) -> float:
    if pitch_class in chord.classes:
        return 2.0
    clashes = any((pitch_class - tone) % 12 in (1, 11) for tone in chord.classes)
    return -0.8 if clashes else -0.3


def _notes_within(bar: Sequence[Note], place: Stretch) -> list[tuple[Fraction, int, Fraction]]:
    found, onset = [], Fraction()
    for note in bar:
        end = onset + note.length
        overlap = min(end, place.onset + place.length) - max(onset, place.onset)
        if note.pitch is not None and overlap > 0:
            found.append((onset, note.pitch, overlap))
        onset = end
    return found


def beats(meter: str, unit: Fraction) -> list[Fraction]:
    """Return the lengths of a bar's beats in unit notes: dotted ones in compound meters."""
    numerator, denominator = (int(part) for part in meter.split("/"))
    if denominator >= 8 and numerator % 3 == 0:
        return [Fraction(3, denominator) / unit] * (numerator // 3)
    if meter == "6/4":
        return [Fraction(3, 4) / unit] * 2
    beat = Fraction(1, 2) if denominator == 2 else Fraction(1, 4)
    return [beat / unit] * int(meter_fraction(meter) / beat)


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
    """Return a second voice for a melody whose bars are full; each of its bars is as long as the melody's."""
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


def accompaniment_bars(accompaniment: Accompaniment, melody: Melody) -> list[str]:
    """Return the ABC of each bar without its bar line."""
    names = spelling(signature(melody.tonic, melody.mode), melody.mode in ("minor", "dorian"))
    texts = []
    for bar in accompaniment.bars:
        said: dict[str, str] = {}
        texts.append(" ".join(_text(struck, names, said) for struck in bar))
    return texts


def _text(struck: Struck, names: Spelling, said: dict[str, str]) -> str:
    """Write a chord with its length, tied where one note value cannot show it."""
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
    """Put the root in the bass, the other two tones in the octave above `CHORD_FLOOR`."""
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
    """Split a stretch: a dotted beat into two thirds and one; others into beats, or a single beat into halves."""
    if beat.numerator % 3 == 0:
        return [part for _ in range(int(length / beat)) for part in (beat * 2 / 3, beat / 3)]
    count = int(length / beat)
    return [beat] * count if count > 1 else [beat / 2] * 2


def _joined(bar: Sequence[Struck]) -> list[Struck]:
    """Strike a chord that goes on under the next stretch once."""
    joined: list[Struck] = []
    for struck in bar:
        if joined and len(struck.pitches) > 1 and joined[-1].pitches == struck.pitches:
            joined[-1] = Struck(struck.pitches, joined[-1].length + struck.length)
        else:
            joined.append(struck)
    return joined


def _head(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else "[" + "".join(names) + "]"


QPM = {"slow": (58, 84), "moderate": (92, 126), "fast": (134, 168)}
DERIVED_NOTE = "Voice 2 is derived from voice 1 by rule (functional harmony), not decoded by the model."

# General MIDI programs (from 0) that suit a mood: melody, accompaniment.
_PROGRAMS = {"minor": ((40, 42), (68, 46), (71, 48)), "major": ((73, 24), (40, 0), (21, 24), (0, 0))}


@dataclass(frozen=True)
class Setting:
    """What the model does not decide: tempo in quarter notes a minute, figure of the second voice, programs."""

    qpm: int
    figure: Figure
    programs: tuple[int, int]


def setting(controls: Controls, energy: float, seed: int) -> Setting:
    """Choose tempo, figure and programs by the controls, the picture's energy (0 to 1) and the seed."""
    rng = np.random.Generator(np.random.Philox([seed, 2]))
    low, high = QPM[controls["tempo"]]
    qpm = round(low + (high - low) * float(np.clip(0.7 * energy + 0.3 * rng.random(), 0, 1)))
    figures = FIGURES[:2] + FIGURES[3:] if controls["tempo"] == "slow" else FIGURES[2:]
    family = "minor" if controls["mode"] in ("minor", "dorian") else "major"
    programs = _PROGRAMS[family]
    return Setting(qpm, figures[int(rng.integers(len(figures)))], programs[int(rng.integers(len(programs)))])


def melody_of(controls: Controls, bars: tuple[tuple[Note, ...], ...], section_ends: frozenset[int]) -> Melody:
    """Return decoded bars in the key and meter of their controls."""
    unit = Fraction(controls["unit"])
    return Melody(controls["meter"], unit, TONICS.index(controls["tonic"]), controls["mode"], bars, section_ends)


def arrange(melody: Melody, setting: Setting, title: str, kind: str, remarks: tuple[str, ...] = ()) -> str:
    """Return the whole tune as ABC: melody in voice 1, derived accompaniment in voice 2, every bar full.

    `kind` and `remarks` go to N: lines.
    """
    second = accompany(melody, setting.figure)
    header = [
        "X:1",
        f"T:{title}",
        f"N:{MANNER}{kind}",
        f"N:{DERIVED_NOTE}",
        *(f"N:{remark}" for remark in remarks),
        f"M:{melody.meter}",
        f"L:{melody.unit}",
        f"Q:1/4={setting.qpm}",
        f"K:{melody_key(melody.tonic, melody.mode)}",
    ]
    voices = [
        ("V:1", setting.programs[0], melody_bars(melody)),
        ('V:2 clef=bass name="Accompaniment"', setting.programs[1], accompaniment_bars(second, melody)),
    ]
    for field, program, bars in voices:
        header += [field, f"%%MIDI program {program}", wrap_bars(bars, melody.section_ends)]
    return "\n".join(header) + "\n"
