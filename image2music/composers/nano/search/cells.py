"""Themes: two bars of rhythm from human music with a contour worth developing, and what can be made of their bars.

A contour is drawn many times and judged by what makes a theme: one or two leaps that turn back, a single peak, notes
outside the chord that resolve, steps that are neither expected throughout nor wild. A bar is moved, inverted,
ornamented, broken up, slowed, and set on other chords. The dice are the seed's.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from image2music.composers.nano.pools import RhythmPair, cadence_rhythms, rhythm_pairs, surprise_table
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
    "calm": {"dotted": 0.5, "long-end": 0.2, "syncopation": -0.8, "triplet": -0.2},
    "flowing": {"dotted": 0.5, "long-end": 0.0, "triplet": 0.2},
    "playful": {"dotted": 0.3, "upbeat-rest": 0.4, "syncopation": 0.4},
    "grand": {"dotted": 0.9, "long-end": 0.2, "syncopation": -0.4},
    "dark": {"dotted": 0.6, "long-end": 0.1, "upbeat-rest": 0.3},
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
        score += 0.5 * (len(lengths) >= 3) - 0.8 * (bar - second[-1][0] >= bar * 2 // 3 > 12)
        score -= 2.0 * (len({length for _, length in first}) == 1 and len(first) > 2)
        score -= 1.0 * (len({length for _, length in second}) == 1 and len(second) > 2)
        score += sum(wants.get(kind, 0.0) for kind in pair.kinds)
        # A rest inside a theme cuts it in two.
        rests = 2 * bar - first[0][0] - sum(length for line in pair.bars for _, length in line)
        score -= 0.6 * max(0, rests) / beat
        plain = sum(length == beat for line in pair.bars for _, length in line) / pair.density
        score -= 1.5 * max(0.0, plain - 0.6)
        if character in ("driving", "playful"):
            score -= 0.08 * max(0, max(lengths) - 24)
        # Lengths of many kinds in two bars are fussy.
        score -= 0.5 * max(0, len(lengths) - 3)
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
_STEP_CHANCES = (20, 20, 8, 9, 4, 6, 6, 4, 3, 10, 1.5)
_SHAPES: dict[str, tuple[float, float]] = {
    "arch": (0.5, -0.5), "rise": (0.8, 0.5), "fall": (-0.6, -0.8), "wave": (0.5, -0.3), "leaping": (0.3, 0.0),
    "still": (0.0, 0.0),
}  # fmt: skip
"""Scale steps that the first and second bar should gain from beginning to end, a note."""


def draw_motif(
    rhythm: Sequence[Rhythm], places: tuple[ChordPlace, ChordPlace], low: int, high: int, rng: random.Random, *,
    tries: int, shape: str = "arch", moves: bool = False,
) -> Theme:  # fmt: skip
    """Draw contours for a rhythm over two bars' places and return one of the best, between `low` and `high`.

    With `moves` they repeat no notes if they can help it.
    """
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
        if moves:
            worth -= 0.9 * sum(a[2] == b[2] for bar in bars for a, b in pairwise(bar))
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
        elif abs(steps[at]) in (8, 9):
            worth -= 0.8
    still = sum(step == 0 for step in steps)
    # Repeated notes are one bar's idea; in both they go stale before the theme has come back.
    if still > 1:
        worth -= 1.6 * all(any(a[2] == b[2] for a, b in itertools.pairwise(bar)) for bar in bars)
    worth -= 0.25 * still + 1.0 * max(0, still - 2)
    worth += _foreign_worth(bars, places, pitches)
    turns = sum(a * b < 0 for a, b in itertools.pairwise(steps))
    worth -= 0.5 * max(0, turns - max(2, len(steps) // 2)) + 0.8 * (turns == 0)
    worth += 0.8 * (pitches.count(top) == 1) - 0.3 * max(0, top - high) - 0.3 * max(0, low - bottom)
    bits = bits_of(pitches, places[0].tonic, places[0].minor)
    if bits:
        mean = sum(bits) / len(bits)
        worth -= 1.2 * max(0.0, mean - 4.2) + 1.0 * max(0.0, 2.6 - mean)
        worth -= 0.25 * sum(max(0.0, one - 7.0) for one in bits)
    near = sum(abs(step) <= 2 for step in steps) / len(steps)
    worth -= 4.0 * max(0.0, 0.5 - near) + 0.5 * max(0, min(5, len(pitches) - 1) - len(set(pitches)))
    back = sum(a == b for a, b in zip(pitches, pitches[2:], strict=False))
    worth -= 0.7 * max(0, back - 1) + 0.5 * max(0, sum(3 <= abs(step) <= 4 for step in steps) - 2)
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
            worth -= 0.0 if resolves and length <= 9 else 1.5 if resolves and length < 18 else 3.0
    share = foreign / len(pitches)
    worth += 1.0 * (0 < share <= 0.45) - 1.5 * (foreign == 0) - 2.0 * (share > 0.5)
    return worth - 1.0 * (pitches[-1] % 12 not in places[1].tones)


@lru_cache(maxsize=4096)
def uneven_cells(rhythm: Rhythm, bar: int, beat: int) -> tuple[Rhythm, ...]:
    """Return the halves of a bar's rhythm that are heard as a cell: notes of different lengths, from their beat on."""
    half = bar // 2 // beat * beat or bar // 2
    halves = (
        tuple((on - start, length) for on, length in rhythm if start <= on < end)
        for start, end in ((0, half), (half, bar))
    )
    return tuple(dict.fromkeys(one for one in halves if len({length for _, length in one}) > 1))


Steps = tuple[tuple[int, int, int], ...]
"""Onset and length in ticks, scale steps from the first note."""
Version = tuple[str, float, Steps]
"""The operation's letter, what it costs, the bar."""

OPERATIONS = {"": "T", "i": "I", "f": "F", "o": "TO", "x": "TXOI", "d": "DF", "s": "ST", "g": "FD"}
"""The operations that an idea's letter allows."""


def scale_steps_of(notes: Sequence[Note], place: ChordPlace) -> Steps:
    """Return a bar as scale steps from its first note."""
    rung = place.rung
    first = rung[notes[0][2]]
    return tuple((onset, length, rung[pitch] - first) for onset, length, pitch in notes)


@lru_cache(maxsize=4096)
def versions_of_bar(steps: Steps, letters: str, bar: int, beat: int) -> tuple[Version, ...]:
    """Return what a bar becomes by the operations of `letters`.

    T as it is, I upside down, O ornamented, X its last two notes joined, F its head twice, D in half values and held,
    S half a beat late.
    """
    found: list[Version] = []
    for letter in letters:
        found += [(letter, cost, made) for cost, made in _MAKERS[letter](steps, bar, beat) if made]
    return tuple(dict.fromkeys(found))


_Made = list[tuple[float, Steps]]


def _moved(steps: Steps, bar: int, beat: int) -> _Made:
    return [(0.0, steps)]


def _inverted(steps: Steps, bar: int, beat: int) -> _Made:
    return [(0.0, tuple((onset, length, -step) for onset, length, step in steps))]


def _ornamented(steps: Steps, bar: int, beat: int) -> _Made:
    """Fill thirds with the note between; give a long last note a turn; or let one note only escape or run."""
    made: list[tuple[int, int, int]] = []
    short = beat // 2 if beat % 2 == 0 and beat != 18 else 6
    for at, (onset, length, step) in enumerate(steps):
        after = steps[at + 1][2] if at + 1 < len(steps) else None
        if length >= 2 * short and after is not None and abs(after - step) == 2:
            made += [(onset, length - short, step), (onset + length - short, short, (step + after) // 2)]
        elif length >= 4 * short and after is None:
            end = onset + length
            made += [
                (onset, length - 2 * short, step),
                (end - 2 * short, short, step - 1),
                (end - short, short, step + 1),
            ]
        else:
            made.append((onset, length, step))
    found = [(0.3, tuple(made))] if len(made) > len(steps) else []
    for at, ((onset, length, step), (_, _, after)) in enumerate(pairwise(steps)):
        gap, way = abs(after - step), 1 if after > step else -1
        if gap in (0, 2) or gap > 5 or length < 2 * short:
            continue
        # A step is decorated by the note on its other side, a wider interval by a run.
        passed = (
            [step - way] if gap == 1 else [after - way * n for n in range(min(gap - 1, length // short - 1), 0, -1)]
        )
        start = onset + length - short * len(passed)
        run = tuple((start + n * short, short, one) for n, one in enumerate(passed))
        found.append((0.4, (*steps[:at], (onset, start - onset, step), *run, *steps[at + 1 :])))
    return found


def _joined(steps: Steps, bar: int, beat: int) -> _Made:
    if len(steps) < 3:
        return []
    (onset, length, step), (_, more, _) = steps[-2:]
    return [(0.5, (*steps[:-2], (onset, length + more, step)))]


def _head_twice(steps: Steps, bar: int, beat: int) -> _Made:
    """State the head of a bar, then once more one or two steps on."""
    if len(steps) < 3:
        return []
    half = bar // 2 if bar % (2 * beat) == 0 else beat if bar // beat == 3 else bar // beat // 2 * beat
    late = 0.4 * (steps[0][0] > 0)  # a head that begins with a rest breaks the line
    made: _Made = []
    for cut in dict.fromkeys((half, bar - half)):
        head = tuple((o, min(d, cut - o), s) for o, d, s in steps if o < cut)
        if len(head) < 2:
            continue
        for move in (1, -1, 2, -2):
            tail = tuple((o + cut, min(d, bar - cut - o), s + move) for o, d, s in head if o < bar - cut)
            made.append((late + (0.3 if bar - cut >= cut else 0.4), head + tail))
    return made


def _shortened(steps: Steps, bar: int, beat: int) -> _Made:
    if len(steps) < 2 or any(length % 6 for _, length, _ in steps) or bar % 24 or beat == 18:
        return []
    onset, _, step = steps[-1]
    return [(0.5, (*((o // 2, d // 2, s) for o, d, s in steps[:-1]), (onset // 2, bar - onset // 2, step)))]


def _late(steps: Steps, bar: int, beat: int) -> _Made:
    last = len(steps) - 1
    if steps[0][0] or steps[-1][1] <= 6:
        return []
    return [(0.6, tuple((o + 6, d if at < last else d - 6, s) for at, (o, d, s) in enumerate(steps)))]


_MAKERS = {
    "T": _moved, "I": _inverted, "O": _ornamented, "X": _joined, "F": _head_twice, "D": _shortened,
    "S": _late,
}  # fmt: skip


def in_double_values(notes: Sequence[Note], second_half: bool, bar: int) -> tuple[Note, ...]:
    """Return half a bar of a theme twice as slow."""
    half = bar // 2
    if second_half:
        part = [(o - half, d, p) for o, d, p in notes if o >= half] or [(0, half, notes[-1][2])]
    else:
        part = [(o, min(d, half - o), p) for o, d, p in notes if o < half] or [(0, half, notes[0][2])]
    slow = [(2 * o, 2 * d, p) for o, d, p in part]
    if slow[0][0] > 0:
        slow = [(0, slow[0][0] + slow[0][1], slow[0][2]), *slow[1:]]
    return tuple(slow)


def set_on(steps: Steps, base: int, places: Sequence[ChordPlace], bar: int, beat: int) -> tuple[list[int], int]:
    """Return the pitches of a bar that begins near `base` over its chords, and how many had to move.

    Notes that are strong or long and foreign to the chord move to the nearest tone, unless they resolve by step.
    """
    first, count = places[0], len(places)
    if count == 1:
        ladder, root = first.ladder, first.rung[base]
        pitches = [ladder[root + step] for _, _, step in steps]
        here = [first] * len(pitches)
    else:
        pitches, here = [], []
        last_step = 0
        for onset, _, step in steps:
            place = places[min(count - 1, onset * count // bar)]
            pitches.append(place.step(pitches[-1], step - last_step) if pitches else place.step(base, 0))
            here.append(place)
            last_step = step
    moved, end = 0, len(pitches) - 1
    strong = bar // 2 if bar % (2 * beat) == 0 else bar
    for at, (onset, length, _) in enumerate(steps):
        pitch = pitches[at]
        if pitch % 12 in here[at].tones:
            continue
        after = pitches[at + 1] if at < end else None
        if after is None:
            wrong = length >= 12
        else:
            resolves = 0 < abs(after - pitch) <= 2 and after % 12 in here[at + 1].tones
            wrong = (onset % strong == 0 or length >= 12) and not (resolves and length <= 18)
        if wrong:
            pitches[at] = here[at].nearest_tone(pitch)
            moved += 1
    return pitches, moved


def bar_on_other_chords(notes: Sequence[Note], places: Sequence[ChordPlace], bar: int) -> tuple[Note, ...]:
    """Set notes of an earlier bar on other chords: what is foreign and neither passes nor resolves moves a little."""
    count = len(places)
    here = [places[min(count - 1, onset * count // bar)] for onset, _, _ in notes]
    pitches = [
        pitch if pitch % 12 in place.scale else place.step(pitch, 0)
        for (_, _, pitch), place in zip(notes, here, strict=True)
    ]
    for at, ((onset, length, _), place) in enumerate(zip(notes, here, strict=True)):
        if pitches[at] % 12 in place.tones:
            continue
        into = abs(pitches[at] - pitches[at - 1]) if at else 9
        out = abs(pitches[at + 1] - pitches[at]) if at + 1 < len(pitches) else 9
        resolves = 0 < out <= 2 and pitches[at + 1] % 12 in here[at + 1].tones
        passing = 0 < into <= 2 and 0 < out <= 2 and length < 12 and onset
        if not (passing or (resolves and length <= 18)):
            pitches[at] = place.nearest_tone(pitches[at])
    return tuple((o, d, p) for (o, d, _), p in zip(notes, pitches, strict=True))


@lru_cache(maxsize=64)
def _closing_rhythms(meter: str, last: bool) -> tuple[Rhythm, ...]:
    """The rhythms of a phrase's last bar, or the tune's, which stays on a long note."""
    bar = bar_ticks(meter)
    found = [one.bar for one in cadence_rhythms(meter, last) if one.bar]
    resting = [rhythm for rhythm in found if rhythm[-1][1] >= (bar // 2 if last else bar // 3)]
    if not last and bar > 36:
        # Inside a tune a whole long bar on one note stops everything.
        resting = [rhythm for rhythm in resting if rhythm[-1][1] <= bar * 3 // 4] or resting
    return tuple((resting or found)[:10])


_APPROACHES: dict[int, tuple[tuple[tuple[int, ...], float], ...]] = {
    0: (((), 0.0),),
    1: (((1,), 0.0), ((-1,), 0.1), ((2,), 0.6), ((3,), 0.7), ((4,), 0.7)),
    2: (((2, 1), 0.0), ((1, -1), 0.0), ((-1, 1), 0.2), ((-2, -1), 0.1), ((3, 1), 0.5)),
    3: (((3, 2, 1), 0.0), ((1, 2, 1), 0.1), ((2, 1, -1), 0.0), ((4, 2, 1), 0.2), ((-3, -2, -1), 0.2)),
    4: (((4, 3, 2, 1), 0.0), ((2, 3, 2, 1), 0.0), ((1, -1, -2, -1), 0.1), ((3, 2, 1, -1), 0.0)),
    5: (((5, 4, 3, 2, 1), 0.0), ((3, 4, 3, 2, 1), 0.0)),
}  # fmt: skip
"""Scale steps from the last note of the notes before it, and what each costs: steps close better than broken chords."""


def closing_bars(
    places: Sequence[ChordPlace], ends: Sequence[int], meter: str, *, last: bool
) -> list[tuple[tuple[Note, ...], float]]:
    """Return bars that come to rest on one of the pitches `ends`, with their costs; `last` ends the tune."""
    here, first, bar = places[-1], places[0], bar_ticks(meter)
    changes = len(places) > 1
    found = []
    for rhythm in _closing_rhythms(meter, last):
        single = len(rhythm) == 1
        for end in ends:
            if single and changes and end % 12 not in first.tones and first.chord.tones[1] != 5:
                continue
            for approach, cost in _APPROACHES.get(len(rhythm) - 1, ()):
                notes = [(o, d, here.step(end, away)) for (o, d), away in zip(rhythm, approach, strict=False)]
                onset, length = rhythm[-1]
                notes.append((onset, bar - onset if last else length, end))
                foreign = notes[0][2] % 12 not in first.tones
                if foreign and changes and not single:
                    continue
                leaning = foreign and not single and abs(approach[0]) == 1 and rhythm[0][1] >= 12
                praise = 1.1 if approach and approach[0] > 0 else 0.7
                total = cost + 0.5 * foreign - praise * leaning + 0.4 * (single and not last)
                found.append((tuple(notes), total))
    if not found and changes:
        # No note suits both chords: wait for the second one.
        half = bar * (len(places) - 1) // len(places) // 3 * 3
        found = [(((half, bar - half, end),), 0.8) for end in ends]
    return found


def leading_bars(
    theme: Sequence[Note], places: Sequence[ChordPlace], goals: Sequence[int], bar: int, beat: int
) -> list[tuple[tuple[Note, ...], float]]:
    """Return bars that move by step into a note of the next bar, one of the pitches `goals`, with their costs.

    They begin as the theme does, or on a long note, and gather speed.
    """
    short = 6 if bar >= 24 else 3
    half = bar // 2 // beat * beat or beat
    head = tuple((o, min(d, half - o)) for o, d, _ in theme if o < half)
    found = []
    for begins, cost in ((head, 0.0), (((0, half),), 0.1), (((0, bar - beat),), 0.8)):
        if not begins or begins[0][0]:
            continue
        start = begins[-1][0] + begins[-1][1]
        rhythm = (*begins, *((onset, short) for onset in range(start, bar, short)))
        count = len(rhythm)
        up, down = tuple(range(-count, 0)), tuple(range(count, 0, -1))
        turn = min(3, count - 1)
        rises = (*range(turn - count + 1, 1), *range(1, turn)) if count > 3 else up
        paths = [up, down, (*rises[:-1], 1), (*(-one for one in rises[:-1]), -1)]
        for goal in goals:
            for path in dict.fromkeys(one for one in paths if len(one) == count and max(map(abs, one)) < 9):
                notes = tuple((o, d, places[-1].step(goal, away)) for (o, d), away in zip(rhythm, path, strict=True))
                found.append((notes, cost))
    return found
