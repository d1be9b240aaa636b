"""What stands on the time line of an arrangement: notes, stretches of chords, lines; and paths through choices.

Times are MIDI ticks (`TICKS_PER_QUARTER`) from the start of the piece, pitches MIDI numbers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache

from image2music.music.instruments import Instrument
from image2music.music.lines import Bar
from image2music.music.theory import TICKS_PER_QUARTER, Chord

EIGHTH = TICKS_PER_QUARTER // 2


@dataclass(slots=True)
class PlacedNote:
    """A note or chord that was set: `pitches` low to high. `light` asks for a short, detached one."""

    on: int
    dur: int
    pitches: tuple[int, ...]
    light: bool = False
    bound: bool = False

    @property
    def end(self) -> int:
        """The tick at which it ends."""
        return self.on + self.dur


@dataclass(frozen=True, slots=True)
class ChordSpan:
    """A stretch of one bar (from 0) under one chord. `early` tells that the chord came before its bar, for the tune.

    `classes` are the chord's pitch classes, `own` the same root first, at most four; both without a foreign bass.
    `leans` tells that it is a dominant: a major third and a minor seventh, whose third wants to rise.
    """

    on: int
    dur: int
    chord: Chord
    bar: int
    scale: frozenset[int]
    early: bool = False
    classes: frozenset[int] = field(init=False)
    own: tuple[int, ...] = field(init=False)
    third: int | None = field(init=False)
    seventh: int | None = field(init=False)
    leans: bool = field(init=False)

    def __post_init__(self) -> None:
        chord, tones = self.chord, self.chord.tones
        seventh = (chord.root + tones[3]) % 12 if len(tones) > 3 and tones[3] in (9, 10, 11) else None
        for name, value in (
            ("classes", chord.classes),
            ("own", _own_tones(chord)),
            ("third", chord.third),
            ("seventh", seventh),
            ("leans", tones[1] == 4 and 10 in tones),
        ):
            object.__setattr__(self, name, value)

    @property
    def end(self) -> int:
        """The tick at which it ends."""
        return self.on + self.dur

    def step(self, pitch: int, steps: int) -> int:
        """Return the note `steps` scale steps away."""
        way = 1 if steps > 0 else -1
        while steps:
            pitch += way
            if pitch % 12 in self.scale:
                steps -= way
        return pitch


@lru_cache(maxsize=1024)
def _own_tones(chord: Chord) -> tuple[int, ...]:
    tones = chord.tones if len(chord.tones) < 5 else (chord.tones[1], *chord.tones[3:5], chord.tones[0])
    return tuple((chord.root + tone) % 12 for tone in tones)


def rungs_of(span: ChordSpan, foot: int, high: int, omit: tuple[int, ...], least: int | None = None) -> list[int]:
    """Return chord tones from `foot` up to `high`, at least `least` semitones apart: by default wide at the bottom."""
    tones = [tone for tone in span.own if tone not in omit]
    if not set(tones) - {foot % 12}:
        tones = list(span.own)
    third = span.third
    rungs = [foot]
    while True:
        below = rungs[-1]
        gap = least or (7 if below < 43 else 5 if below < 50 else 3)
        if len(rungs) == 2 and rungs[0] < 50 and third in tones and all(p % 12 != third for p in rungs):
            above = next((p for p in range(below + 3, high + 1) if p % 12 == third), None)
        else:
            above = next((p for p in range(below + gap, high + 1) if p % 12 in tones), None)
        if above is None:
            return rungs
        rungs.append(above)


@dataclass
class TimedLine:
    """One line by time: its notes and their onsets."""

    notes: list[PlacedNote]

    @cached_property
    def onsets(self) -> list[int]:
        """The onset of each note."""
        return [note.on for note in self.notes]

    def between(self, start: int, end: int) -> list[PlacedNote]:
        """Return the notes that sound from `start` to before `end`."""
        first = max(0, bisect_right(self.onsets, start) - 1)
        return [note for note in self.notes[first : bisect_left(self.onsets, end)] if note.end > start]


def notes_of_bars(bars: Sequence[Bar | None], length: int) -> list[PlacedNote]:
    """Return the notes of written bars of `length` ticks, ties joined; bars that are None are silent."""
    notes: list[PlacedNote] = []
    tied = False
    for number, bar in enumerate(bars):
        at = Fraction(number * length)
        for event in bar or ():
            start, at = round(at), at + event.length * TICKS_PER_QUARTER
            if tied and event.pitches and notes and notes[-1].pitches == event.pitches:
                notes[-1].dur = round(at) - notes[-1].on
            elif event.pitches:
                notes.append(PlacedNote(start, round(at) - start, event.pitches))
            tied = event.tied
        tied = tied and bar is not None
    return notes


def cheapest_path(costs: Sequence[Sequence[int]], move: Callable[[int, int, int], int]) -> list[int]:
    """Return the choice in every row that costs least in all: dynamic programming, the first of equals.

    `costs[n][k]` is what choice k of row n costs by itself, `move(n, j, k)` what going there from choice j of the row
    before costs.
    """
    totals, back = list(costs[0]), []
    for number in range(1, len(costs)):
        picked = [
            min((totals[j] + move(number, j, k), j) for j in range(len(totals))) for k in range(len(costs[number]))
        ]
        totals = [best + own for (best, _), own in zip(picked, costs[number], strict=True)]
        back.append([j for _, j in picked])
    path = [totals.index(min(totals))]
    for picks in reversed(back):
        path.append(picks[path[-1]])
    return path[::-1]


def longest_tone(instrument: Instrument, qpm: float, bar: int) -> int:
    """Return the ticks for which a tone is worth holding: a tone that dies away is not held long."""
    if instrument.sustains:
        return 4 * bar
    seconds = {"keys": 3.2, "plucked": 2.6}.get(instrument.kind, 0.9)
    if instrument.program in (45, 105, 106):
        seconds = 0.8
    beats = max(1, int(seconds * qpm / 60))
    return beats * TICKS_PER_QUARTER


def cost_of_move(
    was: int, foot: int, old: list[int], ladder: list[int], tunes: tuple[int | None, int | None], low: bool
) -> int:
    """Return what a figure costs that goes from one ladder of chord tones to another: how far the hand moves.

    `was` and `foot` are where the ladders stand, `tunes` the tune beside both; `low` tells that it has the bass.
    """
    moved = 0
    for x in ladder:
        nearest = 99
        for y in old:
            away = x - y if x > y else y - x
            nearest = min(nearest, away)
        moved += nearest
    cost = moved * (5 if low else 18) + 25 * max(0, abs(foot - was) - 5)
    before, now = tunes
    if before is not None and now is not None and before != now and was != foot:
        same = (now - foot) % 12 == (before - was) % 12 and (now - foot) % 12 in (0, 7)
        if same and (foot - was) * (now - before) > 0:
            cost += 150
    return cost


def goes_along(tune_before: int | None, tune: int | None, before: int, pitch: int) -> bool:
    """Whether two voices move the same way from one octave or fifth to another."""
    if tune_before is None or tune is None or (tune - tune_before) * (pitch - before) <= 0:
        return False
    return (tune - pitch) % 12 in (0, 7) and (tune - pitch) % 12 == (tune_before - before) % 12
