"""The motif of an album: one bar that any of its keys can sing, made by rule and found again by ear."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import Literal, NamedTuple

import numpy as np

from image2music.music.score import Score
from image2music.music.similarity import Step, voice_steps
from image2music.music.theory import GRID_QUARTER, SCALES

AlbumMode = Literal["major", "minor"]


class Sung(NamedTuple):
    """A note of a motif: `pitch` in semitones above the tonic at or over middle C, `eighths` its length."""

    pitch: int
    eighths: int


Line = tuple[Sung, ...]
METERS = ("3/4", "4/4", "6/8")
BAR_EIGHTHS = {"3/4": 6, "4/4": 8, "6/8": 6}

# Five notes to a bar, strong beats where the meter has them, in eighths.
_RHYTHMS = {
    "4/4": ((2, 1, 1, 2, 2), (3, 1, 1, 1, 2), (1, 1, 2, 2, 2), (2, 2, 1, 1, 2), (3, 1, 2, 1, 1)),
    "3/4": ((2, 1, 1, 1, 1), (1, 1, 2, 1, 1), (1, 1, 1, 1, 2)),
    "6/8": ((2, 1, 1, 1, 1), (1, 1, 1, 2, 1)),
}

# Degrees that major and minor have in common, in semitones: the fifth below, then 1, 2, 4, 5 and the octave. A motif
# of these is the same to the semitone in every key of the album.
_COMMON = (-5, 0, 2, 5, 7, 12)
_STABLE = (0, 7)

_LANDING_EIGHTHS = 2


def make_motif(meter: str, *, rising: bool, seed: int) -> Line:
    """Return one bar of five notes, and the note that it lands on (two eighths of the next bar).

    It starts on 1 or 5, lands on 1 or 5, ends higher than it started if `rising`, else lower or level, turns at
    least once, has a leap of a fourth or more and no note twice in a row.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    lines = _candidates(rising)
    pitches = lines[int(rng.integers(len(lines)))]
    rhythm = _RHYTHMS[meter][int(rng.integers(len(_RHYTHMS[meter])))]
    return tuple(Sung(pitch, length) for pitch, length in zip(pitches, (*rhythm, _LANDING_EIGHTHS), strict=True))


@lru_cache(maxsize=2)
def _candidates(rising: bool) -> list[tuple[int, ...]]:
    middles = product(_COMMON, repeat=4)
    lines = [(start, *middle, end) for middle in middles for start in _STABLE for end in _STABLE]
    return sorted(line for line in lines if _sings(line) and (line[-1] > line[0]) == rising)


def _sings(line: Sequence[int]) -> bool:
    moves = [b - a for a, b in pairwise(line)]
    turns = sum((a > 0) != (b > 0) for a, b in pairwise(moves))
    leaps = sum(abs(move) >= 5 for move in moves)
    return (
        all(0 < abs(move) <= 7 for move in moves)
        and max(line) - min(line) <= 12
        and len(set(line)) >= 4
        and 1 <= turns <= 3
        and 1 <= leaps <= 2
    )


def make_answer(motif: Line, meter: str, mode: AlbumMode, *, seed: int) -> Line:
    """Return a second bar for a theme: from the motif's landing note by steps and thirds of the scale to 1, 2 or 5."""
    rng = np.random.Generator(np.random.Philox(seed))
    rhythm = _RHYTHMS[meter][int(rng.integers(len(_RHYTHMS[meter])))]
    scale = (*SCALES[mode], 12)
    start = scale.index(motif[-1].pitch)
    walks = [walk for walk in _walks(start, len(scale)) if scale[walk[-1]] % 12 in (0, 2, 7)]
    walk = walks[int(rng.integers(len(walks)))]
    return tuple(Sung(scale[degree], length) for degree, length in zip(walk, rhythm, strict=True))


def _walks(start: int, degrees: int) -> list[tuple[int, ...]]:
    moves = product((-2, -1, 1, 2), repeat=4)
    walks = [tuple(start + sum(steps[:n]) for n in range(5)) for steps in moves]
    return [walk for walk in walks if all(0 <= degree < degrees for degree in walk)]


def opening_of(motif: Line, answer: Line | None) -> tuple[Line, ...]:
    """Return the bars that a tune begins with: the motif, then its answer, or only the note it lands on."""
    return motif[:-1], answer if answer is not None else motif[-1:]


def steps_of(motif: Line) -> list[Step]:
    """Return the motif as an ear without absolute pitch hears it: n notes make n - 1 steps."""
    return [(after.pitch - note.pitch, note.eighths * GRID_QUARTER // 2) for note, after in pairwise(motif)]


def count_motif(score: Score, motif: Line) -> int:
    """Count how often the motif sounds in the top line of a voice, in any key: each interval and each time fits."""
    wanted = steps_of(motif)
    return sum(
        steps[at : at + len(wanted)] == wanted
        for steps in voice_steps(score)
        for at in range(len(steps) - len(wanted) + 1)
    )
