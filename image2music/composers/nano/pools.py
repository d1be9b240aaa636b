"""What the search draws from: progressions, rhythms and contours, most of them mined from the repertoire.

`mining` writes the tables; here they are read when first asked for. `tables/TABLES.md` says what they come from.
Times are in ticks of a twelfth of a quarter note; a rhythm is the (onset, length) of each note of a bar.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from image2music.composers.suiting import Character
from image2music.music.theory import Mode

TABLES = Path(__file__).parent / "tables"

HarmonicRole = Literal[
    "intro", "open", "close", "imperfect", "deceptive", "middle", "sequence", "retransition", "climax", "coda"
]
HARMONIC_ROLES: tuple[HarmonicRole, ...] = get_args(HarmonicRole)
"""open ends on V; close on I after V; imperfect on I, but lightly; deceptive on vi or bVI after V; middle on neither;
sequence repeats its roots' steps; retransition ends on a long V; climax has chords from outside the key; coda ends with
two bars of I."""
HarmonicStyle = Literal["classic", "jazz"]

Rhythm = tuple[tuple[int, int], ...]
RhythmKind = Literal["syncopation", "dotted", "upbeat-rest", "long-end", "even", "triplet"]
CHARACTERS: tuple[Character, ...] = get_args(Character)
POOL_METERS = (
    "2/4", "3/4", "4/4", "6/8", "9/8", "12/8", "5/4", "3/8", "2/2", "6/4", "7/8", "5/8", "7/4", "3/2",
)  # fmt: skip
"""The meters that have rhythms. Those that the repertoire hardly has are put together from others (5/4 = 3/4 + 2/4)."""

RUN_INTERVALS = 15
"""Intervals in a row that one hash of `training_runs` stands for."""
RUN_STRIDE = 2
"""Every second run of a training melody is kept."""
WIDEST = 13
"""Wider steps count as this many semitones in `surprise_table`."""


@dataclass(frozen=True, slots=True)
class Progression:
    """The chords of each bar, one or two symbols, in C; `source` counts the pieces that have it, or says `hand`."""

    bars: tuple[str, ...]
    weight: float
    source: str


@dataclass(frozen=True, slots=True)
class RhythmPair:
    """The rhythm of two bars. `density` is its number of notes.

    `characters` says how much more often than usual music of each of `CHARACTERS` has it: 1 is as usual.
    """

    bars: tuple[Rhythm, Rhythm]
    weight: float
    density: int
    kinds: frozenset[RhythmKind]
    characters: tuple[float, ...]

    def weight_in(self, character: Character) -> float:
        """Return the weight for music of a character."""
        return self.weight * self.characters[CHARACTERS.index(character)]


@dataclass(frozen=True, slots=True)
class CadenceRhythm:
    """The rhythm of a phrase's last bar."""

    bar: Rhythm
    weight: float


@dataclass(frozen=True, slots=True)
class Contour:
    """Rhythm of a bar, or two, with its notes' steps of the scale above (below) the first note."""

    bars: tuple[Rhythm, ...]
    steps: tuple[int, ...]
    weight: float


@lru_cache(maxsize=256)
def progressions(
    mode: Mode, role: HarmonicRole, bars: int, style: HarmonicStyle = "classic"
) -> tuple[Progression, ...]:
    """Return progressions in C major or C minor (C dorian, C mixolydian), heaviest first.

    Where a style or mode has none of a role, those of the mode's classic style, then of its nearest mode stand in. Two
    to six bars are there for every role (an intro has at most four); other lengths give an empty tuple.
    """
    near: Mode = "minor" if mode in ("minor", "dorian") else "major"
    for at in (f"{mode} {style}", f"{mode} classic", f"{near} {style}", f"{near} classic"):
        rows = _pools()["progressions"].get(f"{at} {role} {bars}")
        if rows:
            return tuple(Progression(tuple(text.split("|")), weight, source) for text, weight, source in rows)
    return ()


@lru_cache(maxsize=32)
def rhythm_pairs(meter: str) -> tuple[RhythmPair, ...]:
    """Return rhythms of two bars, heaviest first; empty for a meter that is not one of `POOL_METERS`."""
    found = []
    for text, weight, kinds, lifts in _pools()["rhythms"].get(meter, ()):
        first, second = _rhythms(text)
        found.append(
            RhythmPair((first, second), weight, len(first) + len(second), frozenset(kinds.split()), tuple(lifts))
        )
    return tuple(found)


@lru_cache(maxsize=64)
def cadence_rhythms(meter: str, closing: bool) -> tuple[CadenceRhythm, ...]:
    """Return rhythms of last bars, of whole tunes (`closing`) or of phrases inside, heaviest first."""
    rows = _pools()["cadences"].get(f"{meter} {'closing' if closing else 'inner'}", ())
    return tuple(CadenceRhythm(_rhythms(text)[0], weight) for text, weight in rows)


@lru_cache(maxsize=32)
def contour_pairs(meter: str) -> tuple[Contour, ...]:
    """Return shapes of two bars at the beginning of phrases that several pieces share, heaviest first."""
    return _contours("contour_pairs", meter)


@lru_cache(maxsize=32)
def contour_bars(meter: str) -> tuple[Contour, ...]:
    """Return shapes of one bar that several pieces share, heaviest first."""
    return _contours("contour_bars", meter)


def _contours(table: str, meter: str) -> tuple[Contour, ...]:
    rows = _pools()[table].get(meter, ())
    return tuple(Contour(_rhythms(text), tuple(steps), weight) for text, steps, weight in rows)


@lru_cache(maxsize=1)
def surprise_table() -> NDArray[np.float32]:
    """Return float32[2, 12, 27, 27]: bits of the next interval in a melody.

    By mode (major, minor), the last note's semitones above the tonic, the last interval + `WIDEST` and the next one
    (likewise): an interpolated trigram.
    """
    with np.load(TABLES / "melody.npz") as tables:
        bits: NDArray[np.float32] = tables["surprise"].astype(np.float32) / 12
    bits.flags.writeable = False
    return bits


@lru_cache(maxsize=1)
def training_runs() -> NDArray[np.uint64]:
    """Return the sorted hashes, uint64[n], of runs of `RUN_INTERVALS` intervals in the melodies that training may see.

    Of each melody every `RUN_STRIDE`-th run is there, so that whatever shares more than 16 notes shares one.
    """
    with np.load(TABLES / "melody.npz") as tables:
        runs = np.cumsum(
            tables["runs_low"].astype(np.uint64) + (tables["runs_high"].astype(np.uint64) << np.uint64(16))
        )
    runs.flags.writeable = False
    return runs


def hashes_of_runs(pitches: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a hash of 38 bits, uint64[n], of every run of `RUN_INTERVALS` intervals; of a repeated interval, 0."""
    steps = np.diff(np.asarray(pitches, dtype=np.int64))
    if len(steps) < RUN_INTERVALS:
        return np.zeros(0, dtype=np.uint64)
    runs = np.lib.stride_tricks.sliding_window_view(steps, RUN_INTERVALS)
    hashes = np.full(len(runs), 0xCBF29CE484222325, dtype=np.uint64)
    for column in range(RUN_INTERVALS):
        hashes = (hashes ^ (runs[:, column] & 0xFF).astype(np.uint64)) * np.uint64(0x100000001B3)
        hashes ^= hashes >> np.uint64(29)
    hashes = (hashes >> np.uint64(26)) | np.uint64(1)
    return np.where((runs == runs[:, :1]).all(axis=1), np.uint64(0), hashes)


def longest_training_run(pitches: Sequence[int]) -> int:
    """Return how many notes in a row a melody shares with one of the training melodies, in any key.

    The table holds every second run of 16 notes: shorter ones are 0, and what is shared may be one note less or more
    than what is said, so that more than 16 notes are never taken for fewer. Rhythm is not compared; one interval again
    and again is nobody's melody.
    """
    hashes = hashes_of_runs(pitches)
    known = training_runs()
    if not len(known) or not len(hashes):
        return 0
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    shared = ((known[places] == hashes) & (hashes > 0)).tolist()
    longest = 0
    lengths = [0] * len(shared)
    for at, hit in enumerate(shared):
        if hit:
            before = lengths[at - RUN_STRIDE] if at >= RUN_STRIDE else 0
            lengths[at] = before + RUN_STRIDE if before else RUN_INTERVALS + RUN_STRIDE
            longest = max(longest, lengths[at])
    return longest


@lru_cache(maxsize=1)
def _pools() -> dict[str, Any]:
    with gzip.open(TABLES / "pools.json.gz", "rt", encoding="utf-8") as file:
        pools: dict[str, Any] = json.load(file)
    return pools


def _rhythms(text: str) -> tuple[Rhythm, ...]:
    """Read bars as the tables write them: `0:12 12:12 24:24|0:48`."""
    return tuple(
        tuple((int(onset), int(length)) for onset, _, length in (note.partition(":") for note in bar.split()))
        for bar in text.split("|")
    )
