"""Where a tune moves: a chord in its local key, with the scale and the chord tones that it has there.

And what a bar of a tune costs over its chords.
Progressions are written in C and moved along the line of fifths, so that every chord keeps its spelling.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

from image2music.composers.nano.pools import HarmonicRole, HarmonicStyle, Progression, progressions
from image2music.composers.nano.search.form import BarTask
from image2music.composers.nano.search.ground import scale_under
from image2music.composers.nano.sketch import Note
from image2music.music.theory import (
    MODE_SHARPS,
    Chord,
    Mode,
    Tonality,
    fifths_name,
    fifths_of,
    read_chord,
    read_tonality,
)

_NAME = re.compile(r"(?<![A-Za-z])([A-G])(##|bb|[#b]?)")
_LOWEST, _HIGHEST = 12, 120


@dataclass(frozen=True, eq=False, slots=True)
class ChordPlace:
    """A chord in a local key.

    `ladder` holds the scale's pitches in order, `rung[p]` is the place of the ladder's pitch that is nearest to MIDI
    pitch p. `tones` are the chord's pitch classes without a foreign bass.
    """

    chord: Chord
    tonic: int
    minor: bool
    scale: frozenset[int]
    tones: frozenset[int]
    ladder: tuple[int, ...]
    rung: tuple[int, ...]

    def step(self, pitch: int, steps: int) -> int:
        """Return the pitch `steps` scale steps from the ladder's nearest to `pitch`."""
        return self.ladder[self.rung[pitch] + steps]

    def nearest_tone(self, pitch: int) -> int:
        """Return the chord tone nearest to a pitch, the lower of two that are as near."""
        for away in range(7):
            if (pitch - away) % 12 in self.tones:
                return pitch - away
            if (pitch + away) % 12 in self.tones:
                return pitch + away
        return pitch


@dataclass(frozen=True, slots=True)
class SingingRange:
    """Where a voice sings: `low` to `high` is where a tune lies well, `lowest` to `highest` what it may touch."""

    low: int
    high: int
    lowest: int
    highest: int

    def pitch_at(self, height: float) -> float:
        """Return the pitch at a height of 0 to 1."""
        return self.low + height * (self.high - self.low)


@lru_cache(maxsize=8192)
def place_of(symbol: str, key: str) -> ChordPlace:
    """Return the place of a chord symbol in a local key (`Am`, `Ddor`)."""
    chord, tonality = read_chord(symbol), local_key(key)
    scale = scale_under(symbol, key)
    return ChordPlace(chord, tonality.pitch_class, tonality.is_minor, scale, chord.classes, *_rungs(scale))


@lru_cache(maxsize=512)
def _rungs(scale: frozenset[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a scale's pitches from low to high, and for each MIDI pitch the index of the nearest of them."""
    ladder = tuple(p for p in range(_LOWEST, _HIGHEST) if p % 12 in scale)
    rung = tuple(min(range(len(ladder)), key=lambda at: (abs(ladder[at] - p), at)) for p in range(128))
    return ladder, rung


@lru_cache(maxsize=256)
def local_key(key: str) -> Tonality:
    """Read a key that is known to be one."""
    tonality = read_tonality(key)
    assert tonality is not None, key
    return tonality


@lru_cache(maxsize=16384)
def moved(text: str, fifths: int) -> str:
    """Move chord symbols along the line of fifths: `Am7 D/F#` by 2 is `Bm7 E/G#`."""
    return _NAME.sub(lambda found: fifths_name(fifths_of(found[1] + found[2]) + fifths), text) if fifths else text


def mode_of(key: Tonality) -> Mode:
    """Return the pool's mode for a key: `major`, `minor`, `dorian`, `mixolydian`."""
    modal: dict[str, Mode] = {"dorian": "dorian", "mixolydian": "mixolydian"}
    return modal.get(key.mode, "minor" if key.is_minor else "major")


_WRITTEN_BEST: frozenset[HarmonicRole] = frozenset({"climax", "coda", "retransition"})
_BY_HAND = 6.0
"""How much heavier progressions by hand are where foreign chords stand: mined ones lose what led to them."""


_DRAWN = 6
"""How many progressions are drawn for a phrase; the one that flows best is taken."""
_CADENTIAL: frozenset[HarmonicRole] = frozenset({"open", "close", "imperfect", "deceptive", "climax"})
_QUICKENS = 0.35
"""What it is worth that harmony moves twice as fast in the bar before the last."""


class Harmonist:
    """Draws progressions for one tune, none twice while others are left."""

    def __init__(self, style: HarmonicStyle, rng: random.Random) -> None:
        self.style, self.rng = style, rng
        self.used: set[tuple[str, ...]] = set()

    def phrase(
        self, role: HarmonicRole, bars: int, key: Tonality, *, head: Sequence[str] = (), before: str = "",
        after: str = "", among: int = _DRAWN,
    ) -> tuple[str, ...]:  # fmt: skip
        """Return chord texts for a phrase of a role in a key, one a bar: what flows best `among` some that are drawn.

        It begins with the bars `head`; `before` and `after` are the chords that it stands between.
        """
        length, mode = max(2, bars), mode_of(key)
        while not progressions(mode, role, length, self.style) and length > 2:
            length -= 1
        pool, weights = _weighted(mode, role, length, self.style)
        drawn = self.rng.choices(pool, cum_weights=weights, k=among)
        fresh = [one for one in drawn if one.bars not in self.used] or drawn
        found, name = [], str(key)
        for number, one in enumerate(fresh):
            # A phrase longer than any in the pool goes on from its own beginning and keeps its end.
            longer = (one.bars * (bars // len(one.bars) + 1))[-bars:]
            chords = tuple(moved(bar, fifths_of(key.tonic)) for bar in longer)
            chords = (*head, *chords[len(head) :])[: len(chords)]
            cost = flow_cost(chords, name, before=before, after=after)
            cost -= _QUICKENS * (role in _CADENTIAL and len(chords) > 1 and " " in chords[-2])
            found.append((round(cost, 6), number, one.bars, chords))
        _, _, taken, chords = min(found)
        self.used.add(taken)
        return chords

    def close(self, key: Tonality, bars: int, *, before: str = "") -> tuple[str, ...]:
        """Draw a full close: a dominant that was led to, with its leading note, and one chord in the last bar."""
        drawn = [with_leading_note(self.phrase("close", bars, key, before=before, among=3), key) for _ in range(4)]

        def cost(chords: tuple[str, ...]) -> float:
            return round(close_cost(chords, key) + flow_cost(chords, str(key), before=before), 6)

        return min(drawn, key=cost)

    def dominant(self, bars: int, key: Tonality, *, before: str, after: str) -> tuple[str, ...]:
        """Draw how a key's dominant comes, in one bar or two, before a return."""
        draws = 3 if bars == 1 else 1
        drawn = [self.phrase("retransition", 2, key, before=before, after=after)[-bars:] for _ in range(draws)]
        return smoothest(drawn, key, before=before, after=after)


def smoothest(drawn: Sequence[tuple[str, ...]], key: Tonality, *, before: str = "", after: str = "") -> tuple[str, ...]:
    """Return the chords that flow best in a key, the first of equals."""
    return min(drawn, key=lambda chords: round(flow_cost(chords, str(key), before=before, after=after), 6))


@lru_cache(maxsize=256)
def _weighted(
    mode: Mode, role: HarmonicRole, bars: int, style: HarmonicStyle
) -> tuple[tuple[Progression, ...], list[float]]:
    """Return a pool's progressions with their weights, added up."""
    pool = progressions(mode, role, bars, style)
    weights = [
        one.weight * (_BY_HAND if one.source.startswith("hand") and role in _WRITTEN_BEST else 1.0) for one in pool
    ]
    return pool, list(accumulate(weights))


# ---------------------------------------------------------------- how chords go on


_UNPREPARED, _ASTRAY, _FOREIGN = 0.5, 1.6, 0.05
"""What a foreign tone costs that comes from nowhere, a foreign chord that does not go where it leads, and any."""
_BASS_MOVES = (0.05, 0.0, 0.0, 0.12, 0.12, 0.06, 0.4)
"""What a move of the bass costs, by semitones up or down within half an octave."""


def flow_cost(chords: Sequence[str], key: str, *, before: str = "", after: str = "") -> float:
    """Return how badly chords (texts of bars) lead on in a key; differences of .3 are heard.

    Foreign chords want to be prepared by near tones and to go where they lead, basses to move by step or to roots,
    sixth-fourth chords and sevenths in the bass to resolve; dominants do not fall back.
    """
    symbols = [*before.split()[-1:], *" ".join(chords).split(), *after.split()[:1]]
    cost = 0.0
    last = "none"
    for one, two in pairwise(symbols):
        turn, way = _turn(one, two, key)
        cost += turn - (0.12 if way == last else 0.0)
        last = way or "none"
    return cost


@lru_cache(maxsize=32768)
def _turn(before: str, after: str, key: str) -> tuple[float, str]:
    """Return what going from a chord to the next costs, and which way the bass steps: `up`, `down`, or not at all."""
    one, two, tonic = read_chord(before), read_chord(after), local_key(key).pitch_class
    if before == after:
        return 0.22, ""
    own = _own_classes(key)
    apart = (two.bass - one.bass) % 12
    cost = _BASS_MOVES[min(apart, 12 - apart)]
    strange = two.classes - own
    if strange and one.root != two.root:
        lost = sum(all((tone - other) % 12 not in (0, 1, 11) for other in one.classes) for tone in strange)
        cost += _FOREIGN + _UNPREPARED * (lost + (not one.classes & two.classes))
    if one.classes - own:
        if one.root != two.root:
            cost += 0.0 if leads_to(one, two, tonic) else _ASTRAY
        elif not strange:
            cost += 0.8
    if one.root != two.root and (one.root - tonic) % 12 == 7 and 4 in one.tones:
        cost += 0.5 * ((two.root - tonic) % 12 in (2, 4, 5, 10) and two.bass != tonic and not strange)
    if one.bass != one.root and one.bass == one.fifth:
        cadential = two.root == one.bass
        cost += 0.0 if cadential or one.bass == two.bass else 0.25 if apart in (1, 2, 10, 11) else 0.7
    if len(one.tones) > 3 and one.bass != one.root and (one.bass - one.root) % 12 in (9, 10, 11):
        cost += 0.0 if apart in (10, 11) else 0.7
    return cost, "up" if apart in (1, 2) else "down" if apart in (10, 11) else ""


@lru_cache(maxsize=256)
def _own_classes(key: str) -> frozenset[int]:
    """Return the pitch classes of a key, in minor and modes with the raised sixth and the leading tone."""
    tonality = local_key(key)
    raised = {11, 9} if tonality.mode == "minor" or tonality.is_minor else {11}
    return tonality.classes | {(tonality.pitch_class + tone) % 12 for tone in raised}


def is_strange(chords: str, key: str) -> bool:
    """Whether a bar has a chord from outside a key."""
    return any(not read_chord(symbol).classes <= _own_classes(key) for symbol in chords.split())


_FROM_MINOR = frozenset({1, 2, 5, 8})
"""Degrees in semitones whose chords, foreign ones, lead to the dominant."""


def leads_to(chord: Chord, after: Chord, tonic: int) -> bool:
    """Whether a chord from outside a key goes where it leads, to another root.

    A dominant falls by a fifth, or rises to the sixth degree of where it leads; diminished and augmented chords rise by
    a semitone;
    chords borrowed from minor and the augmented sixth go to the dominant, the sixth-fourth chord before it, or on
    among themselves; the lowered seventh degree to the first, third and fourth.
    """
    here, there = (chord.root - tonic) % 12, (after.root - tonic) % 12
    up = (after.root - chord.root) % 12
    before_dominant = there == 7 or (there == 0 and after.bass != after.root and after.bass == after.fifth)
    if 4 in chord.tones and here not in (1, 8, 10) and (up in (5, 2) or (up == 1 and here in (4, 7))):
        return True
    if here == 2 and before_dominant:
        return True
    if 4 in chord.tones and 8 in chord.tones and (chord.root + 9) % 12 in after.classes:
        return True
    if 3 in chord.tones and 6 in chord.tones:
        roots = (0, 3, 6, 9) if 9 in chord.tones else (0,)
        if any((chord.root + root + 1 - after.root) % 12 == 0 for root in roots) or before_dominant:
            return True
        if 3 in after.tones and 6 in after.tones:
            return True
    if here in _FROM_MINOR and (before_dominant or there == 11):
        return True
    if here in _FROM_MINOR and there in _FROM_MINOR:
        return there in (1, 8) or (after.is_minor and (there == 5 or 6 in after.tones))
    if here == 5 and chord.is_minor:
        return there == 0
    after_flat: dict[int, tuple[int, ...]] = {10: (0, 3, 5), 8: (10,), 3: (5, 8, 10)}
    if here in (0, 7) and chord.is_minor:
        return there in (2, 5, 7, 9, 10)
    return there in after_flat.get(here, ())


_NO_DOMINANT, _INVERTED, _UNHERALDED = 1.5, 0.8, 0.6


def close_cost(chords: Sequence[str], key: Tonality) -> float:
    """Return how weakly chords close in a key: 0 where a root-position dominant stands after what leads to it."""
    tonic = key.pitch_class
    read = [read_chord(symbol) for bar in chords for symbol in bar.split()]
    while read and read[-1].root == tonic and (read[-1].bass != read[-1].fifth or read[-1].bass == read[-1].root):
        read.pop()
    if not read or (read[-1].root - tonic) % 12 != 7 or 4 not in read[-1].tones:
        return _NO_DOMINANT + (" " in chords[-1])
    cost = _INVERTED * (read[-1].bass != read[-1].root) + (" " in chords[-1])
    while read and (read[-1].root - tonic) % 12 == 7:
        read.pop()
    led = bool(read) and (
        (read[-1].root - tonic) % 12 in _FROM_MINOR or (read[-1].root == tonic and read[-1].bass != tonic)
    )
    return cost + _UNHERALDED * (not led)


def with_leading_note(chords: Sequence[str], key: Tonality) -> tuple[str, ...]:
    """Return a close whose minor chord on the fifth degree, before the last bar, is a dominant."""
    if key.mode not in ("dorian", "mixolydian", "minor") or len(chords) < 2:
        return tuple(chords)
    *first, last = chords[-2].split()
    read = read_chord(last)
    if read.is_minor and (read.root - key.pitch_class) % 12 == 7:
        last = fifths_name(fifths_of(key.tonic) + 1) + "7"
    return (*chords[:-2], " ".join([*first, last]), chords[-1])


_LONGEST_HOME = 2


def comes_home(chords: Sequence[str], key: Tonality) -> bool:
    """Whether a bass comes to the tonic at the end from the fifth, fourth or second degree, and soon enough."""
    read = [read_chord(symbol) for bar in chords for symbol in bar.split()]
    tonic = key.pitch_class
    before = next((chord for chord in reversed(read) if (chord.root - tonic) % 12), None)
    home = sum(all(read_chord(one).root == tonic for one in bar.split()) for bar in chords[-3:])
    return (
        before is not None
        and (before.root - tonic) % 12 in (2, 5, 7)
        and before.bass != tonic
        and home <= _LONGEST_HOME
    )


_AWAY: dict[bool, tuple[tuple[int, str, float], ...]] = {
    False: ((3, "minor", 3.0), (-1, "major", 2.0), (1, "major", 1.5), (0, "minor", 0.4)),
    True: ((-3, "major", 3.0), (-1, "minor", 1.5), (1, "minor", 1.0), (0, "major", 0.4)),
}
"""Where a contrast goes, by whether home is minor: fifths from the tonic, mode, weight."""
_MOST_SIGNS = 5


def key_away(home: Tonality, rng: random.Random) -> Tonality:
    """Draw the local key of a contrast: the relative, the subdominant, a third away; never more than six signs."""
    place = fifths_of(home.tonic)
    options = [
        (Tonality(fifths_name(place + fifths), mode), weight)
        for fifths, mode, weight in _AWAY[home.is_minor]
        if abs(place + fifths + MODE_SHARPS[mode]) <= _MOST_SIGNS
    ]
    if not options:
        return home
    return rng.choices([key for key, _ in options], [weight for _, weight in options])[0]


def fits_notes(chords: str, key: str, notes: Sequence[tuple[int, int, int]], bar: int, beat: int) -> float:
    """Return what a bar's notes cost over chords: 0 where they all belong; foreign ones by length and place."""
    places = [place_of(one, key) for one in chords.split()]
    cost = 0.0
    for onset, length, pitch in notes:
        place = places[min(len(places) - 1, onset * len(places) // bar)]
        if pitch % 12 not in place.tones:
            cost += 0.05 * length if onset % beat == 0 or length >= beat else 0.02 * length
            cost += 2.0 if pitch % 12 not in place.scale else 0.0
    return cost


# ---------------------------------------------------------------- a bar of a tune over its chords

_BARE_RUN = 0.4
"""What each step of a scale costs from the fourth on; twice as much at the climax, which wants a melody."""


def bar_cost(
    notes: tuple[Note, ...], task: BarTask, window: SingingRange, places: Sequence[ChordPlace], bar: int
) -> float:
    """Return what a tune's bar costs by itself: its chords, leaps, height, peak, holes; one unit is a heard fault."""
    if not notes:
        return 3.0
    low, high = window.low, window.high
    goal, span = window.pitch_at(task.height), high - low
    count = len(places)
    cost, sounding, weighted, top, bottom = 0.0, 0, 0, 0, 127
    pitches = [note[2] for note in notes]
    end = len(notes) - 1
    for at, (onset, length, pitch) in enumerate(notes):
        sounding += length
        weighted += pitch * length
        top = pitch if pitch > top else top
        bottom = pitch if pitch < bottom else bottom
        place = places[0] if count == 1 else places[min(count - 1, onset * count // bar)]
        pc = pitch % 12
        if pc not in place.tones:
            after = pitches[at + 1] if at < end else None
            if after is not None and 0 < abs(after - pitch) <= 2:
                cost += 0.1 if length <= 6 else 0.3 if length < 12 else 0.7
            else:
                cost += 0.5 if after is None and length <= 6 else 1.6
        elif place.chord.bass == pc and length >= 12 and place.chord.third == pc and 10 in place.chord.tones:
            cost += 0.8  # the bass has the leading note
        if at < end:
            step = pitches[at + 1] - pitch
            away = abs(step)
            if away in (10, 11) or away > 12:
                cost += 2.0
            elif away == 6:
                cost += 1.5
            elif away == 9:
                cost += 0.35
            elif away == 12:
                cost += 0.3
            elif away == 3 and abs(place.rung[pitch] - place.rung[pitches[at + 1]]) == 1:
                cost += 1.2
            if at + 1 < end:
                further = pitches[at + 2] - pitches[at + 1]
                if step * further > 0:
                    cost += 1.0 if away >= 7 else 0.4 if away >= 5 else 0.0
                    cost += 1.0 if away >= 5 and abs(further) >= 5 else 0.0
                elif away >= 5 and abs(further) >= 5:
                    cost += 0.5 + 1.0 * (min(away, abs(further)) >= 8)  # back over the same ground it fills nothing
                elif step == 0 and further == 0:
                    cost += 0.8
                if step and step == -further and at + 3 <= end and pitches[at + 3] == pitches[at + 1]:
                    cost += 0.8  # to and fro
    if not task.close:
        cost += 0.07 * max(0, bar - sounding - 6) + (0.5 if notes[0][0] >= 18 and task.idea[0] not in "=~N" else 0.0)
    mean = weighted / sounding
    cost += 0.1 * max(0.0, abs(mean - goal) - 2) ** 1.3
    if task.peak:
        cost += 0.25 * abs(top - (low + span * 0.97)) + (0.6 if pitches.count(top) > 1 else 0.0)
    else:
        cost += 0.8 * max(0.0, top - (low + span * (0.87 if task.near else 0.78)))
    if bottom < low or top > high:
        cost += 0.7 * sum([not low <= pitch <= high for pitch in pitches])
    if len(pitches) > 2 and top == bottom:
        cost += 1.5
    if end == 0 and not task.close:
        cost += 0.9
    if end >= 4 and top - bottom >= 6:
        cost += _BARE_RUN * (1 + task.peak) * max(0, longest_run(pitches) - 3)
    return cost


def longest_run(pitches: Sequence[int]) -> int:
    """Return the most steps that go the same way one after another."""
    longest = run = way = 0
    for one, after in pairwise(pitches):
        step = after - one
        now = 0 if not -3 < step < 3 or not step else 1 if step > 0 else -1
        run = 0 if not now else run + 1 if now == way else 1
        way = now
        longest = max(longest, run)
    return longest
