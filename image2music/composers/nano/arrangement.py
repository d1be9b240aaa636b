"""From a decoded melody to what a plan needs of it: chords by functional harmony, bars, voices.

Chords are tonic, subdominant and dominant triads, found by Viterbi search: each stretch of a bar gets the triad that
fits its notes best, given what usually follows what. Source of the method: harmonisation as a hidden Markov model, as
in Allan and Williams 2005; the tables here are written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.melody import Melody, Note, melody_key, meter_fraction, signature
from image2music.composers.nano.vocabulary import TONICS, Controls
from image2music.music.lines import Bar, LineEvent
from image2music.music.planning.plan import Plan
from image2music.music.theory import MIDDLE_C, Chord, read_chord, spelling

Function = str


@dataclass(frozen=True)
class Triad:
    """A triad above the tonic: `classes` are semitones 0-11 from root, third and fifth; `function` is T, S or D."""

    name: str
    classes: tuple[int, int, int]
    function: Function


CHORDS: dict[str, tuple[Triad, ...]] = {
    "major": (
        Triad("I", (0, 4, 7), "T"),
        Triad("IV", (5, 9, 0), "S"),
        Triad("V", (7, 11, 2), "D"),
        Triad("vi", (9, 0, 4), "T"),
        Triad("ii", (2, 5, 9), "S"),
    ),
    "minor": (
        Triad("i", (0, 3, 7), "T"),
        Triad("iv", (5, 8, 0), "S"),
        Triad("V", (7, 11, 2), "D"),
        Triad("v", (7, 10, 2), "D"),
        Triad("VI", (8, 0, 3), "S"),
        Triad("VII", (10, 2, 5), "D"),
        Triad("III", (3, 7, 10), "T"),
    ),
    "dorian": (
        Triad("i", (0, 3, 7), "T"),
        Triad("IV", (5, 9, 0), "S"),
        Triad("VII", (10, 2, 5), "D"),
        Triad("v", (7, 10, 2), "D"),
        Triad("III", (3, 7, 10), "T"),
    ),
    "mixolydian": (
        Triad("I", (0, 4, 7), "T"),
        Triad("VII", (10, 2, 5), "D"),
        Triad("IV", (5, 9, 0), "S"),
        Triad("v", (7, 10, 2), "D"),
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


def harmonise(melody: Melody) -> list[tuple[Stretch, Triad]]:
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


def _flow(a: Triad, b: Triad) -> float:
    return _STAY if a == b else _FLOW.get((a.function, b.function), 0.0)


def _fit(melody: Melody, place: Stretch, chords: Sequence[Triad]) -> NDArray[np.float64]:
    """Score how well each chord suits the notes of a stretch; long notes and the first one count most."""
    sounding = _notes_within(melody.bars[place.bar], place)
    score = np.array([_PRIMARY * (chord.name.upper() in ("I", "IV", "V", "VII")) for chord in chords])
    for onset, pitch, length in sounding:
        weight = float(length / place.length) * (1.5 if onset == place.onset else 1.0)
        for k, chord in enumerate(chords):
            score[k] += weight * _agreement(pitch % 12, chord)
    return score


def _agreement(pitch_class: int, chord: Triad) -> float:
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


def melody_chords(melody: Melody) -> tuple[str, ...]:
    """Return one or two chord symbols for every bar of a melody whose bars are full (`G`, `Am D`)."""
    names: list[list[str]] = [[] for _ in melody.bars]
    for place, triad in harmonise(melody):
        symbol = symbol_of(triad, melody)
        if not names[place.bar] or names[place.bar][-1] != symbol:
            names[place.bar].append(symbol)
    return tuple(" ".join(bar) for bar in names)


_SIGNS = {"=": "", "^": "#", "_": "b", "^^": "##", "__": "bb"}


def symbol_of(triad: Triad, melody: Melody) -> str:
    """Spell a triad in the melody's key: `F#m`, `Bb`, `Bdim`."""
    names = spelling(signature(melody.tonic, melody.mode), melody.mode in ("minor", "dorian"))
    root = MIDDLE_C + (melody.tonic + triad.classes[0]) % 12
    third, fifth = ((tone - triad.classes[0]) % 12 for tone in triad.classes[1:])
    quality = {(4, 7): "", (3, 7): "m", (3, 6): "dim", (4, 8): "aug"}[third, fifth]
    return names.letters[root][0].upper() + _SIGNS[names.accidentals[root]] + quality


def melody_bars_written(melody: Melody) -> tuple[Bar, ...]:
    """Return a melody as written bars, in MIDI pitches and quarter notes; short bars are filled up with a rest."""
    quarters, full = melody.unit * 4, meter_fraction(melody.meter) * 4
    return tuple(_bar(bar, melody.tonic, quarters, full) for bar in melody.bars)


def _bar(bar: Sequence[Note], tonic: int, quarters: Fraction, full: Fraction) -> Bar:
    events, left = [], 0
    for note in bar:
        begins = left == 0 and note.length.denominator == 3
        left = 2 if begins else max(0, left - 1)
        events.append(_event(note, tonic, quarters, tuplet=3 if begins else 0))
    missing = full - sum((event.length for event in events), Fraction())
    return (*events, LineEvent((), missing)) if missing > 0 else tuple(events)


def _event(note: Note, tonic: int, quarters: Fraction, tuplet: int) -> LineEvent:
    pitches = () if note.pitch is None else (MIDDLE_C + tonic + note.pitch,)
    return LineEvent(pitches, note.length * quarters, tuplet=tuplet)


def melody_of(controls: Controls, bars: tuple[tuple[Note, ...], ...], section_ends: frozenset[int]) -> Melody:
    """Return decoded bars in the key and meter of their controls."""
    unit = Fraction(controls["unit"])
    return Melody(controls["meter"], unit, TONICS.index(controls["tonic"]), controls["mode"], bars, section_ends)


def key_of(melody: Melody) -> str:
    """Return the key as a plan has it."""
    return melody_key(melody.tonic, melody.mode)


def melody_lines(plan: Plan, bars: Sequence[Bar]) -> dict[int, tuple[Bar | None, ...]]:
    """Give each bar of a melody to the voice that has the tune there, in an octave that it can play.

    A stretch of bars in one voice moves as a whole; a single note that is still out of range moves alone.
    """
    owners = [plan.melody_at(bar) for bar in range(1, plan.bars + 1)]
    written: dict[int, list[Bar | None]] = {id: [None] * plan.bars for id in dict.fromkeys(owners) if id}
    start = 0
    while start < plan.bars:
        end = start
        while end < plan.bars and owners[end] == owners[start]:
            end += 1
        if owners[start]:
            voice = plan.voice(owners[start])
            for at, bar in enumerate(_in_range(bars[start:end], voice.low, voice.high), start):
                written[voice.id][at] = bar
        start = end
    return {id: tuple(bars) for id, bars in written.items()}


def _in_range(bars: Sequence[Bar], low: int, high: int) -> list[Bar]:
    pitches = [pitch for bar in bars for event in bar for pitch in event.pitches]
    if not pitches:
        return list(bars)
    shift = min(range(-36, 37, 12), key=lambda by: (sum(not low <= p + by <= high for p in pitches), abs(by)))
    return [
        tuple(replace(e, pitches=tuple(_folded(p + shift, low, high) for p in e.pitches)) for e in bar) for bar in bars
    ]


def _folded(pitch: int, low: int, high: int) -> int:
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch if pitch >= low else pitch + 12


def misfit(plan: Plan, bars: Sequence[Bar]) -> float:
    """Return the quarter notes of a melody that lie on beats and outside of the plan's chords."""
    return float(sum(event.length for _, _, event, chord in _on_beats(plan, bars) if not _fits(event, chord)))


def fitted(plan: Plan, bars: Sequence[Bar]) -> tuple[Bar, ...]:
    """Move notes on beats that lie outside of the plan's chords to the nearest chord tone, down where two are as near.

    The plan's climax becomes the highest note: it is set in its bar, and what passes it elsewhere goes down an octave.
    """
    changed = [list(bar) for bar in bars]
    for bar, at, event, chord in _on_beats(plan, bars):
        if not _fits(event, chord):
            changed[bar][at] = replace(event, pitches=(_nearest_tone(event.pitches[0], chord),))
    if plan.climax is not None and plan.climax.bar <= len(changed):
        _set_climax(changed, plan.climax.bar - 1, plan.climax.pitch)
    return tuple(tuple(bar) for bar in changed)


def _set_climax(bars: list[list[LineEvent]], peak_bar: int, peak: int) -> None:
    for number, bar in enumerate(bars):
        for at, event in enumerate(bar):
            if event.pitches and event.pitches[0] >= peak:
                bar[at] = replace(event, pitches=(event.pitches[0] - 12,))
        sounding = [at for at, event in enumerate(bar) if event.pitches]
        if number == peak_bar and sounding:
            highest = max(sounding, key=lambda at: (bar[at].pitches[0], bar[at].length, -at))
            bar[highest] = replace(bar[highest], pitches=(peak,))


def _on_beats(plan: Plan, bars: Sequence[Bar]) -> Iterator[tuple[int, int, LineEvent, Chord]]:
    """Yield bar and place of each note that begins on a beat, with the chord under it."""
    beat = beat_of(plan.meter)
    for number, bar in enumerate(bars[: plan.bars]):
        chords = [read_chord(symbol) for symbol in plan.harmony[number].split()]
        full = meter_fraction(plan.meter) * 4
        onset = Fraction()
        for at, event in enumerate(bar):
            if event.pitches and onset % beat == 0:
                yield number, at, event, chords[min(len(chords) - 1, int(onset * len(chords) / full))]
            onset += event.length


def beat_of(meter: str) -> Fraction:
    """Return a beat in quarter notes: dotted in compound meters."""
    numerator, denominator = (int(part) for part in meter.split("/"))
    compound = denominator >= 8 and numerator % 3 == 0
    return Fraction(12 if compound else 4, denominator)


def _fits(event: LineEvent, chord: Chord) -> bool:
    return event.pitches[0] % 12 in chord.classes


def _nearest_tone(pitch: int, chord: Chord) -> int:
    return min(
        (pitch + step for step in range(-6, 7) if (pitch + step) % 12 in chord.classes),
        key=lambda p: (abs(p - pitch), p),
    )
