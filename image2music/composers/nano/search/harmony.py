"""Where a tune moves: a chord in its local key, with the scale and the chord tones that it has there.

Progressions are written in C and moved along the line of fifths, so that every chord keeps its spelling.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from image2music.composers.nano.pools import HarmonicRole, HarmonicStyle, progressions
from image2music.composers.nano.search.ground import scale_under
from image2music.music.theory import MODE_SHARPS, Chord, Tonality, fifths_name, fifths_of, read_chord, read_tonality

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
    ladder = tuple(p for p in range(_LOWEST, _HIGHEST) if p % 12 in scale)
    rung = tuple(min(range(len(ladder)), key=lambda at: (abs(ladder[at] - p), at)) for p in range(128))
    return ChordPlace(chord, tonality.pitch_class, tonality.is_minor, scale, chord.classes, ladder, rung)


@lru_cache(maxsize=256)
def local_key(key: str) -> Tonality:
    """Read a key that is known to be one."""
    tonality = read_tonality(key)
    assert tonality is not None, key
    return tonality


def moved(text: str, fifths: int) -> str:
    """Move chord symbols along the line of fifths: `Am7 D/F#` by 2 is `Bm7 E/G#`."""
    return _NAME.sub(lambda found: fifths_name(fifths_of(found[1] + found[2]) + fifths), text) if fifths else text


def mode_of(key: Tonality) -> str:
    """Return the pool's mode for a key: `major`, `minor`, `dorian`, `mixolydian`."""
    if key.mode in ("dorian", "mixolydian"):
        return key.mode
    return "minor" if key.is_minor else "major"


_WRITTEN_BEST: frozenset[HarmonicRole] = frozenset({"climax", "coda", "retransition"})
_BY_HAND = 6.0
"""How much heavier progressions by hand are where foreign chords stand: mined ones lose what led to them."""


class Harmonist:
    """Draws progressions for one tune, none twice while others are left."""

    def __init__(self, style: HarmonicStyle, rng: random.Random) -> None:
        self.style, self.rng = style, rng
        self.used: set[tuple[str, ...]] = set()

    def phrase(self, role: HarmonicRole, bars: int, key: Tonality) -> tuple[str, ...]:
        """Return chord texts for a phrase of a role in a key, one a bar."""
        length = max(2, bars)
        pool = progressions(mode_of(key), role, length, style=self.style)
        while not pool and length > 2:
            length -= 1
            pool = progressions(mode_of(key), role, length, style=self.style)
        fresh = [one for one in pool if one.bars not in self.used] or list(pool)
        weights = [
            one.weight * (_BY_HAND if one.source.startswith("hand") and role in _WRITTEN_BEST else 1.0) for one in fresh
        ]
        drawn = self.rng.choices(fresh, weights)[0].bars
        self.used.add(drawn)
        # A phrase longer than any in the pool goes on from its own beginning and keeps its end.
        longer = (drawn * (bars // len(drawn) + 1))[-bars:]
        return tuple(moved(bar, fifths_of(key.tonic)) for bar in longer)


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
