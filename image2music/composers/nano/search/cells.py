"""Motifs: two bars of rhythm from human music, and a contour over their chords that is worth developing.

A contour is drawn many times and judged by what makes a theme: one or two leaps that turn back, a single peak, notes
outside the chord that resolve, steps that are neither expected throughout nor wild. The dice are the seed's.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from image2music.composers.nano.pools import RhythmPair, rhythm_pairs, surprise_table
from image2music.composers.nano.search.harmony import ChordPlace
from image2music.composers.nano.sketch import Note, bar_ticks, beat_ticks
from image2music.composers.suiting import Character

Bars = tuple[tuple[Note, ...], ...]
Rhythm = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Theme:
    """Two bars, the places that they were written over, and how good a theme they make (higher is better)."""

    bars: Bars
    places: tuple[ChordPlace, ChordPlace]
    worth: float

    @property
    def notes(self) -> tuple[Note, ...]:
        """Both bars' notes, onsets within their own bar."""
        return self.bars[0] + self.bars[1]


_DENSITY: dict[Character, float] = {
    "calm": 1.35, "flowing": 1.75, "playful": 2.1, "grand": 1.6, "dark": 1.5, "driving": 2.2,
}  # fmt: skip
"""Notes a second in the theme; a slow tempo has shorter note values."""
_KINDS: dict[Character, dict[str, float]] = {
    "calm": {"dotted": 0.5, "long-end": 0.8, "syncopation": -0.8, "triplet": -0.2},
    "flowing": {"dotted": 0.5, "long-end": 0.4, "triplet": 0.2},
    "playful": {"dotted": 0.3, "upbeat-rest": 0.4, "syncopation": 0.4},
    "grand": {"dotted": 0.9, "long-end": 0.6, "syncopation": -0.4},
    "dark": {"dotted": 0.6, "long-end": 0.5, "upbeat-rest": 0.3},
    "driving": {"syncopation": 0.9, "dotted": 0.3, "upbeat-rest": 0.2},
}


def wanted_density(character: Character, qpm: float, meter: str, busy: float) -> float:
    """Return the notes in two bars that a theme should have, `busy` (-1 to 1) making it fuller or emptier."""
    seconds = 2 * bar_ticks(meter) / 12 * 60 / qpm
    beats = 2 * bar_ticks(meter) / beat_ticks(meter)
    by_time = _DENSITY[character] * seconds
    return min(max(by_time * (1 + 0.25 * busy), 0.6 * beats), 2.2 * beats)


@lru_cache(maxsize=512)
def _scored_rhythms(meter: str, character: Character, density: int) -> tuple[tuple[RhythmPair, float], ...]:
    """The best rhythm cells for a density (in tenths of notes), with their weights."""
    bar, beat, wants = bar_ticks(meter), beat_ticks(meter), _KINDS[character]
    scored = []
    for pair in rhythm_pairs(meter):
        first, second = pair.bars
        if not first or not second or (first == second and meter not in ("2/4", "3/8")):
            continue
        lengths = {length for line in pair.bars for _, length in line}
        if len(lengths) < 2 or max(lengths) < min(bar // 2, 2 * beat) or (len(first) == 1 and first[0][1] >= bar):
            continue
        score = 0.5 * math.log(pair.weight_in(character) + 1) - 0.55 * abs(pair.density - density / 10)
        score += 0.8 * (len(lengths) >= 3) + 0.3 * (len(lengths) >= 4) + 0.5 * (second[-1][1] >= bar // 2)
        score -= 2.0 * (len({length for _, length in first}) == 1 and len(first) > 2)
        score -= 1.0 * (len({length for _, length in second}) == 1 and len(second) > 2)
        score += sum(wants.get(kind, 0.0) for kind in pair.kinds)
        plain = sum(length == beat for line in pair.bars for _, length in line) / pair.density
        score -= 2.5 * max(0.0, plain - 0.5)
        score -= 0.7 * sum(a[1] * 3 <= b[1] and a[0] % beat == 0 for line in pair.bars for a, b in pairwise(line))
        scored.append((pair, score))
    scored.sort(key=lambda one: (-round(one[1], 6), one[0].bars))
    return tuple((pair, math.exp(score - scored[0][1])) for pair, score in scored[:90])


def draw_rhythm(
    meter: str, character: Character, density: float, rng: random.Random, other: tuple[Rhythm, Rhythm] | None = None
) -> tuple[Rhythm, Rhythm]:
    """Draw a two-bar rhythm for a theme; with `other`, one that is heard to be another."""
    options = _scored_rhythms(meter, character, round(10 * density))
    if other is not None:
        apart = [o for o in options if o[0].bars[0] != other[0] and abs(len(o[0].bars[0]) - len(other[0])) >= 1]
        options = tuple(apart) or options
    drawn = rng.choices([pair for pair, _ in options], [weight for _, weight in options])[0]
    return drawn.bars


_STEPS = (-1, 1, -2, 2, -3, 3, 4, 5, -4, 0, 7)
_STEP_CHANCES = (20, 20, 8, 9, 4, 6, 6, 4, 3, 4, 1.5)
_SHAPES: dict[str, tuple[float, float]] = {
    "arch": (0.5, -0.5), "rise": (0.8, 0.5), "fall": (-0.6, -0.8), "wave": (0.5, -0.3), "leaping": (0.3, 0.0),
    "still": (0.0, 0.0),
}  # fmt: skip
"""Scale steps that the first and second bar should gain from beginning to end, a note."""


def draw_motif(
    rhythm: Sequence[Rhythm], places: tuple[ChordPlace, ChordPlace], low: int, high: int, rng: random.Random, *,
    tries: int, shape: str = "arch",
) -> Theme:  # fmt: skip
    """Draw contours for a rhythm over two bars' places and return one of the best, between `low` and `high`."""
    middle = (low + high) // 2
    starts = [p for p in range(middle - 7, middle + 5) if p % 12 in places[0].tones]
    shape_weight = _SHAPES.get(shape, (0.0, 0.0))
    found: list[tuple[float, int, Bars]] = []
    for number in range(tries):
        bars = _drawn_contour(rhythm, places, low, high, starts, rng)
        worth = motif_worth(bars, places, low, high)
        for bar, wish in zip(bars, shape_weight, strict=True):
            gain = (bar[-1][2] - bar[0][2]) / (2 * max(1, len(bar) - 1))
            worth += 0.5 * min(1.0, max(-1.0, gain * wish * 2))
        if shape == "still":
            worth -= 0.12 * max(0, max(n[2] for b in bars for n in b) - min(n[2] for b in bars for n in b) - 7)
        found.append((-round(worth, 6), number, bars))
    found.sort(key=lambda one: one[:2])
    at = min(int(rng.expovariate(0.5)), 8, len(found) - 1)
    return Theme(found[at][2], places, -found[at][0])


def _drawn_contour(
    rhythm: Sequence[Rhythm], places: tuple[ChordPlace, ChordPlace], low: int, high: int, starts: Sequence[int],
    rng: random.Random,
) -> Bars:  # fmt: skip
    pitch = starts[int(rng.random() * len(starts))]
    first = True
    bars = []
    moves = iter(rng.choices(_STEPS, _STEP_CHANCES, k=sum(len(line) for line in rhythm)))
    for line, place in zip(rhythm, places, strict=True):
        notes = []
        for onset, length in line:
            if not first:
                steps = next(moves)
                there = place.step(pitch, steps)
                pitch = there if low - 4 <= there <= high + 4 else place.step(pitch, -steps)
                if (length >= 12 or onset == 0) and pitch % 12 not in place.tones and rng.random() < 0.75:
                    pitch = place.nearest_tone(pitch)
            first = False
            notes.append((onset, length, pitch))
        bars.append(tuple(notes))
    return tuple(bars)


@lru_cache(maxsize=1)
def _surprise() -> list[float]:
    """Bits of the next interval, flat: mode, degree of the last note, last interval, next interval."""
    return [float(one) for one in surprise_table().reshape(-1)]


def bits_of(pitches: Sequence[int], tonic: int, minor: bool) -> list[float]:
    """Return the bits of each pitch from the third on, as human melodies have them (an interpolated trigram)."""
    table, result = _surprise(), []
    base = 12 * 729 * minor
    before, here = pitches[0], pitches[1] if len(pitches) > 1 else 0
    for after in pitches[2:]:
        last = min(13, max(-13, here - before)) + 13
        step = min(13, max(-13, after - here)) + 13
        result.append(table[base + ((here - tonic) % 12) * 729 + last * 27 + step])
        before, here = here, after
    return result


def motif_worth(bars: Bars, places: tuple[ChordPlace, ChordPlace], low: int, high: int) -> float:
    """Return how good a theme two bars make; differences of one are heard."""
    pitches = [note[2] for bar in bars for note in bar]
    if len(pitches) < 2:
        return -9.0
    steps = [b - a for a, b in itertools.pairwise(pitches)]
    top, bottom = max(pitches), min(pitches)
    worth = -1.0 * max(0, 5 - (top - bottom)) - 0.8 * max(0, top - bottom - 11)
    leaps = [at for at, step in enumerate(steps) if abs(step) >= 5]
    worth += 2.0 * (1 <= len(leaps) <= 2) - 1.5 * max(0, len(leaps) - 2)
    for at in leaps:
        if at + 1 < len(steps):
            worth += 0.9 if steps[at] * steps[at + 1] < 0 and abs(steps[at + 1]) <= 2 else -0.6
        if abs(steps[at]) in (6, 10, 11) or abs(steps[at]) > 12:
            worth -= 2.5
    still = sum(step == 0 for step in steps)
    worth -= 1.2 * still + 0.5 * (still == 1)
    worth += _foreign_worth(bars, places, pitches)
    turns = sum(a * b < 0 for a, b in itertools.pairwise(steps))
    worth -= 0.5 * max(0, turns - max(2, len(steps) // 2)) + 0.8 * (turns == 0)
    worth += 0.8 * (pitches.count(top) == 1) - 0.3 * max(0, top - high) - 0.3 * max(0, low - bottom)
    bits = bits_of(pitches, places[0].tonic, places[0].minor)
    if bits:
        mean = sum(bits) / len(bits)
        worth -= 1.2 * max(0.0, mean - 4.2) + 1.0 * max(0.0, 2.6 - mean)
        worth -= 0.25 * sum(max(0.0, one - 7.0) for one in bits)
    for at in range(len(steps) - 3):
        worth -= 0.5 * (steps[at : at + 2] == steps[at + 2 : at + 4])
    for bar in bars:
        worth -= 3.0 * (len(bar) > 1 and len({note[2] for note in bar}) == 1)
    return worth - 1.5 * all(abs(step) <= 2 for step in steps)


def _foreign_worth(bars: Bars, places: tuple[ChordPlace, ChordPlace], pitches: Sequence[int]) -> float:
    foreign, worth, at = 0, 0.0, 0
    for bar, place in zip(bars, places, strict=True):
        for _, length, pitch in bar:
            at += 1
            if pitch % 12 in place.tones:
                continue
            foreign += 1
            resolves = at < len(pitches) and 0 < abs(pitches[at] - pitch) <= 2
            worth -= 0.0 if resolves and length <= 12 else 0.8 if resolves else 2.5
    share = foreign / len(pitches)
    worth += 1.0 * (0 < share <= 0.45) - 1.5 * (foreign == 0) - 2.0 * (share > 0.5)
    return worth - 1.0 * (pitches[-1] % 12 not in places[1].tones)
