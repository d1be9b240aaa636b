"""What lines stand on: a bar in ticks, scales under chords, a tune bar by bar, and what each pitch costs beside it.

Times are ticks (`sketch.TICKS`), pitches MIDI numbers, costs whole numbers, lower is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.sketch import TICKS, Note
from image2music.errors import PlanError
from image2music.music.arrange.stage import bar_shape
from image2music.music.theory import (
    LETTERS,
    NATURALS,
    TICKS_PER_QUARTER,
    Tonality,
    lettered_tones,
    read_chord,
    read_tonality,
    signature_alterations,
)

Classes = int
"""A set of pitch classes, a bit each."""
Lines = dict[int, tuple[Note, ...]]
Rhythm = tuple[tuple[int, int], ...]
"""Onsets and lengths of a bar's notes."""
Table = NDArray[np.int32]

HARD = 2000
"""The cost of what must not be."""
_FREE = (14, 30, 12, -2, -2, 3, 7, 1, -2, -2, 7, 20, 4, 24, 9, -2, -2, 2, 5, 1, -1, -1, 5, 14, 4, 18, 6, -1, -1)
_CHORDAL = (14, 30, 8, -2, -2, 1, 2, 0, -2, -2, 2, 9, 4, 22, 4, -2, -2, 1, 2, 1, -1, -1, 2, 8, 4, 16, 3, -1, -1)
"""What an interval to the tune costs a tick, by semitones: any two notes, and two tones of the chord."""
_WIDEST, _DOUBLES_BASS, _RUBS_BASS = 40, 2, 5
_COSTS = np.array([*_FREE, *[2] * 12, *_CHORDAL, *[2] * 12], np.int32)
_RUBS = np.array([away % 12 in ((1, 11) if free else (1,)) for free in (True, False) for away in range(_WIDEST + 1)])
LEAPS = (54, 0, 0, 18, 24, 42, 210, 66, 130, 150, 260, 300, 110, *(400,) * 115)
"""What a step or leap costs, by semitones."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a line stands on: meter, key (as in ABC) and the chords of every bar, cut as the arranger does.

    `keys` are local keys by bar, where a section has another one; a bar without one is in `key`.
    """

    meter: str
    key: str
    chords: tuple[tuple[str, ...], ...]
    keys: tuple[str, ...] = ()


# pitches


@lru_cache(maxsize=4096)
def scale_under(chord: str, key: str) -> frozenset[int]:
    """Return the seven pitch classes that a line moves through under a chord of a key.

    It is the key's scale, each tone of the chord in the place of the degree with its letter. A chord that lowers the
    third or sixth of a major key borrows from minor and lowers the others of third, sixth and seventh too. In minor a
    dominant without a third takes the leading tone as well.

    Raises:
        PlanError: `bad_key`, `bad_chord`.
    """
    tonality, read = _tonality(key), read_chord(chord)
    letters = {letter: NATURALS[letter] + sign for letter, sign in enumerate(signature_alterations(tonality.sharps))}
    tonic = LETTERS.index(tonality.tonic[0])
    own = {letter: tone for letter, tone in lettered_tones(read) if tone % 12 != letters[letter] % 12}
    third, sixth, seventh = (tonic + 2) % 7, (tonic + 5) % 7, (tonic + 6) % 7
    kept = {letter for letter, _ in lettered_tones(read)}
    lowered = {letter for letter, tone in own.items() if (tone - letters[letter]) % 12 == 11}
    if not tonality.is_minor and lowered & {third, sixth}:
        letters |= {letter: letters[letter] - 1 for letter in (third, sixth, seventh) if letter not in kept}
    if tonality.is_minor and read.root == (tonality.pitch_class + 7) % 12 and read.third is None:
        letters[seventh] = tonality.pitch_class - 1
    return frozenset(tone % 12 for tone in (letters | own).values()) | read.classes


@lru_cache(maxsize=256)
def _tonality(key: str) -> Tonality:
    found = read_tonality(key)
    if found is None:
        raise PlanError(f"{key!r} is no key; write D, F#m or Ddor", reason="bad_key")
    return found


@lru_cache(maxsize=1024)
def classes_of(tones: frozenset[int]) -> Classes:
    """Return pitch classes as bits."""
    return sum(1 << tone for tone in tones)


def turned(classes: Classes, semitones: int) -> Classes:
    """Return pitch classes moved down by 0 to 11 semitones."""
    return (classes >> semitones | classes << 12 - semitones) & 0xFFF


@lru_cache(maxsize=1024)
def ladder(scale: Classes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the pitches of a scale from low to high, and for each MIDI pitch the place of the next one at or below."""
    pitches = tuple(pitch for pitch in range(128) if scale >> pitch % 12 & 1)
    places, at = [], 0
    for pitch in range(128):
        at += at + 1 < len(pitches) and pitches[at + 1] <= pitch
        places.append(at)
    return pitches, tuple(places)


def stepped(pitch: int, steps: int, scale: Classes) -> int:
    """Return the pitch some steps up or down a scale; one that is not in it counts as between its neighbours.

    0 steps lead from such a pitch down into the scale.
    """
    pitches, places = ladder(scale)
    at = places[pitch]
    if steps < 0 and pitches[at] < pitch:
        at += 1
    return pitches[min(max(at + steps, 0), len(pitches) - 1)]


@lru_cache(maxsize=4096)
def _leaning(chord: str, key: str) -> tuple[Classes, Classes]:
    """Return the tones of a chord that want to rise (the third of a dominant) and to fall (a seventh)."""
    read = read_chord(chord)
    on_fifth = read.root == (_tonality(key).pitch_class + 7) % 12
    rises = read.tones[1] == 4 and (10 in read.tones or on_fifth)
    falls = 10 in read.tones or (11 in read.tones and read.tones[1] == 4)
    seventh = (read.root + (10 if 10 in read.tones else 11)) % 12
    return (1 << (read.root + 4) % 12) * rises, (1 << seventh) * falls


# time


class BarTimes(NamedTuple):
    """A meter's bar in ticks: its length, where beats and strong beats begin, and where its second half does."""

    length: int
    beats: tuple[int, ...]
    strong: tuple[int, ...]
    half: int


@lru_cache(maxsize=64)
def bar_times(meter: str) -> BarTimes:
    """Return the bar of a meter.

    Raises:
        PlanError: `bad_meter`.
    """
    shape = bar_shape(meter)
    length, half, *rest = (
        tick * TICKS // TICKS_PER_QUARTER for tick in (shape.ticks, shape.half, *shape.beats, *shape.strong)
    )
    return BarTimes(length, tuple(rest[: len(shape.beats)]), tuple(rest[len(shape.beats) :]), half)


@lru_cache(maxsize=256)
def _edges(meter: str, parts: int) -> tuple[int, ...]:
    """Return where the chords of a bar begin, and its end."""
    bar = bar_times(meter)
    if parts == 1:
        return 0, bar.length
    if parts == 2:
        return 0, next((beat for beat in bar.beats if 2 * beat >= bar.length), bar.length // 2), bar.length
    if len(bar.beats) >= parts:
        return *(bar.beats[at * len(bar.beats) // parts] for at in range(parts)), bar.length
    return tuple(bar.length * at // parts for at in range(parts + 1))


@lru_cache(maxsize=64)
def long_rhythms(meter: str) -> tuple[Rhythm, ...]:
    """Return bar rhythms that go beside any tune: long notes, long notes that move on, beats, late entries, runs."""
    bar = bar_times(meter)
    length, beats, last = bar.length, bar.beats, bar.beats[-1]
    cut = last + (12 if length - last == 18 else (length - last) // 2)
    found: list[tuple[int, ...]] = [(0, length), (0, bar.half, length), (0, last, length), (0, last), (0, bar.half)]
    found += [(0, last, cut, length), (beats[min(1, len(beats) - 1)], length), (*beats, length)]
    if len(beats) > 2:
        found += [(0, beats[-2], last, length), (*beats[1:], length), (0, beats[1], length), (0, *beats[1:-1], last)]
        found += [(beats[1], last, length), (beats[1], last, cut, length)]
    if beats[1:] and beats[1] > 6:
        found += [(beats[1] - 6, length), (beats[1] - 6, bar.half, last, length)]
    if len(beats) > 3:
        found += [(0, beats[1], beats[3], length), (bar.half, last, length)]
    run = tuple(range(bar.half, length, 6))
    if bar.half % 6 == 0 and 2 < len(run) < 5:
        found += [(0, *run, length), (*run, length), (*range(0, bar.half, 6), bar.half, length)]
    ordered = dict.fromkeys(edges for edges in found if all(one < after for one, after in pairwise(edges)))
    return tuple(tuple((one, after - one) for one, after in pairwise(edges)) for edges in ordered)


class BarView(NamedTuple):
    """One bar as a second voice sees it.

    `tune` are (start, end, pitch) within the bar, `before` the tune's pitch just before it (0 for a rest), `heard` its
    last pitch up to then; `parts` are (start, end, chord tones, scale, bass); `rising` and `falling` are tones of the
    last chord that want to go on by step; `side` is -1 under the tune, 1 above, 0 free.
    """

    meter: str
    tune: tuple[tuple[int, int, int], ...]
    attacks: tuple[int, ...]
    before: int
    heard: int
    parts: tuple[tuple[int, int, Classes, Classes, int], ...]
    rising: Classes
    falling: Classes
    low: int
    high: int
    side: int

    def tune_at(self, tick: int) -> int:
        """Return the tune's pitch at a tick of the bar, 0 for a rest; before the bar at -1."""
        if tick < 0:
            return self.before
        return next((pitch for start, end, pitch in self.tune if start <= tick < end), 0)

    def place(self, start: int, length: int) -> tuple[Classes, Classes]:
        """Return the chord tones that hold through a note, and the scale where it begins."""
        end = min(start + length, self.parts[-1][1])
        under = [part for part in self.parts if part[0] < end and part[1] > start]
        tones = under[0][2]
        for part in under[1:]:
            tones &= part[2]
        return tones, under[0][3]

    def gaps(self) -> list[Rhythm]:
        """Return the rhythm of the beats on which the tune strikes nothing, if there are any."""
        bar = bar_times(self.meter)
        idle = [beat for beat in bar.beats if beat not in self.attacks]
        return [tuple((one, after - one) for one, after in pairwise((*idle, bar.length)))] if idle else []

    def still(self) -> list[tuple[int, int]]:
        """Return stretches from a beat on, half a bar or 18 ticks at least, in which the tune strikes nothing."""
        bar = bar_times(self.meter)
        least = min(18, bar.length // 2)
        marks = sorted({*self.attacks, *(end for _, end, _ in self.tune if end < bar.length), bar.length})
        stretches, since, strikes = [], 0, False
        for mark in marks:
            free = since + (6 if strikes else 0)
            start = next((beat for beat in bar.beats if beat >= free), bar.length)
            if mark - start >= least:
                stretches.append((start, mark))
            since, strikes = mark, mark in self.attacks
        return stretches


def bar_views(
    ground: Ground, melody: Sequence[tuple[Note, ...]], bars: range, low: int, high: int, side: int
) -> dict[int, BarView]:
    """Return a tune's bars, as a voice in a range sees them, by their numbers from 0.

    Raises:
        PlanError: `bad_key`, `bad_chord`, `bad_meter`.
    """
    length = bar_times(ground.meter).length
    sung = [[number * length + on, dur, pitch] for number, bar in enumerate(melody) for on, dur, pitch in sorted(bar)]
    for one, after in pairwise(sung):
        one[1] = min(one[1], after[0] - one[0])
    views: dict[int, BarView] = {}
    at = heard = before = 0
    tonality = _tonality(ground.key)
    chords: tuple[str, ...] = (tonality.tonic + "m" * tonality.is_minor,)
    for number in range(bars.stop):
        start, end = number * length, (number + 1) * length
        while at < len(sung) and sung[at][0] + sung[at][1] <= start:
            heard = sung[at][2]
            at += 1
        chords = (ground.chords[number] if number < len(ground.chords) else ()) or chords
        if number < bars.start:
            continue
        here = [note for note in sung[at : at + 64] if note[0] < end]
        tune = tuple((max(on, start) - start, min(on + dur, end) - start, pitch) for on, dur, pitch in here if dur > 0)
        if at and not views and sung[at - 1][0] + sung[at - 1][1] == start:
            before = sung[at - 1][2]
        if tune and here[0][0] < start:
            before = here[0][2]
        key = (ground.keys[number] if number < len(ground.keys) else "") or ground.key
        parts = tuple(
            (
                one,
                after,
                classes_of(read_chord(symbol).classes),
                classes_of(scale_under(symbol, key)),
                read_chord(symbol).bass,
            )
            for symbol, (one, after) in zip(chords, pairwise(_edges(ground.meter, len(chords))), strict=True)
        )
        attacks = tuple(on - start for on, dur, _ in here if on >= start and dur > 0)
        views[number] = BarView(
            ground.meter, tune, attacks, before, heard, parts, *_leaning(chords[-1], key), low, high, side
        )
        before = tune[-1][2] if tune and tune[-1][1] == length else 0
        heard = tune[-1][2] if tune else heard
    return views


@lru_cache(maxsize=2048)
def tune_table(view: BarView) -> Table:
    """Return what each pitch from `low` on has cost up to each tick, shape [ticks + 1, pitches]."""
    bar = bar_times(view.meter)
    pitches = np.arange(view.low, view.high + 1, dtype=np.int32)
    middle, slack = (view.low + view.high) // 2, (view.high - view.low) // 3
    cost = np.zeros((bar.length + 1, len(pitches)), np.int32)
    cost[1:] = np.maximum(0, np.abs(pitches - middle) - slack)
    heard, at = view.heard, 0
    tune = np.zeros((bar.length, 1), np.int32)
    for start, end, pitch in (*view.tune, (bar.length, bar.length, 0)):
        if view.side and at < start and heard:
            cost[at + 1 : start + 1] += 2 * np.maximum(0, view.side * (heard - pitches) - 2)
        tune[start:end] = pitch
        heard, at = pitch, end
    lengths = [end - start for start, end, *_ in view.parts]
    tones = np.repeat([part[2] for part in view.parts], lengths)[:, None]
    basses = np.repeat([part[4] for part in view.parts], lengths)[:, None]
    weight = np.ones((bar.length, 1), np.int32)
    weight[list(bar.beats)] = 4
    weight[list(bar.strong)] = 8
    above = (pitches - basses) % 12
    cost[1:] += weight * (_DOUBLES_BASS * (above == 0) + _RUBS_BASS * (_RUBS[above] & (tones >> pitches % 12 & 1 == 0)))
    weight[tune == 0] = 0
    away = np.minimum(np.abs(pitches - tune), _WIDEST)
    both = (tones >> pitches % 12) & (tones >> tune % 12) & 1
    kind = away + (_WIDEST + 1) * both
    cost[1:] += _COSTS[kind] * weight
    if view.side:
        cost[1:] += HARD * ((view.side * (pitches - tune) < 0) & (tune > 0))
    rubs = _RUBS[kind] & (tune > 0)
    for beat in bar.beats:
        if beat + 6 <= bar.length:
            cost[beat + 6] += HARD * rubs[beat : beat + 6].all(axis=0)
    return np.cumsum(cost, axis=0, dtype=np.int32)
