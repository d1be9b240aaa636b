"""How alike two pieces are, and the motif of an album, which is made by rule and found by ear."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise, product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from image2music.music.planning.plan import LINE_ROLES, Plan
from image2music.music.score import Score, Track
from image2music.music.theory import GRID_QUARTER, SCALES

COPY_VERSION = 2
"""Raise it when another stretch of notes counts as copied."""

LONGEST_ALLOWED = 16
"""Notes in a row that a tune may share with a reference. Four bars of quarters: a motif, not yet a melody."""

Step = tuple[int, int]
"""Semitones to the next note, and the time until it in 48ths of a quarter."""


def top_line(track: Track) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return onsets (ticks) and pitches of the highest note at each onset of a track, int64[n] each."""
    order = np.lexsort((track.pitches, track.onsets))
    onsets, pitches = track.onsets[order], track.pitches[order]
    top = np.append(onsets[1:] != onsets[:-1], True) if len(onsets) else np.zeros(0, dtype=bool)
    return onsets[top], pitches[top]


def melody_steps(track: Track, ticks_per_quarter: int) -> list[Step]:
    """Return the top line of a track as steps, so that a transposed copy reads the same. n notes make n - 1 steps."""
    onsets, pitches = top_line(track)
    gaps = np.rint(np.diff(onsets) * (GRID_QUARTER / ticks_per_quarter)).astype(np.int64)
    return list(zip(np.diff(pitches).tolist(), gaps.tolist(), strict=True))


def voice_steps(score: Score) -> list[list[Step]]:
    """Return the steps of every pitched track."""
    return [melody_steps(track, score.ticks_per_quarter) for track in score.tracks if not track.is_drum]


def sung_steps(score: Score, plan: Plan | None) -> list[list[Step]]:
    """Return the steps of what is sung (`sung_tracks`)."""
    return [melody_steps(track, score.ticks_per_quarter) for _, track in sung_tracks(score, plan)]


def sung_tracks(score: Score, plan: Plan | None) -> list[tuple[int, Track]]:
    """Return what is sung, with the place of its track from 0: where the plan gives a voice the tune or a line beside.

    Accompaniment, basses and harmony are common property, and a figure that is taken from a reference is cited, no
    copy. Without a plan, or where nothing sounds of what it has sung, all pitched tracks count.
    """
    pitched = [(at, track) for at, track in enumerate(score.tracks) if not track.is_drum]
    if plan is None:
        return pitched
    starts = np.array([start.tick for start in score.bar_starts], dtype=np.int64)
    numbers = [start.number for start in score.bar_starts]
    found = []
    for at, track in enumerate(score.tracks):
        if track.is_drum or at >= len(plan.voices):
            continue
        roles = [plan.role_at(plan.voices[at].id, number) for number in numbers]
        sung = np.array([False, *(role in LINE_ROLES | {"melody"} for role in roles)])
        kept = sung[np.searchsorted(starts, track.onsets, "right")]
        if kept.any():
            found.append((at, replace(track, onsets=track.onsets[kept], pitches=track.pitches[kept])))
    return found or pitched


class SharedRun(NamedTuple):
    """Where a run of `notes` notes begins: in which of some lines, at which note of it, and the same in the others."""

    notes: int
    line: int
    start: int
    other: int
    other_start: int


def find_shared_run(voices: Sequence[Sequence[Step]], others: Sequence[Sequence[Step]]) -> SharedRun | None:
    """Return the longest run that any of `voices` shares with any of `others`, the first of equal ones; None if none.

    A run of one step repeated (a drone, a scale in equal values) is nobody's melody and does not count.
    """
    symbols: dict[Step, str] = {}
    lines = [_spell(voice, symbols) for voice in voices]
    other_lines = [_spell(other, symbols) for other in others]
    best: SharedRun | None = None
    for number, line in enumerate(lines):
        for place, other in enumerate(other_lines):
            steps, start = _longest(line, other)
            if steps and steps + 1 > (best.notes if best else 0):
                best = SharedRun(steps + 1, number, start, place, other.index(line[start : start + steps]))
    return best


def longest_shared_run(voices: Sequence[Sequence[Step]], others: Sequence[Sequence[Step]]) -> int:
    """Return the notes in the longest run of `find_shared_run`; 0 if there is none."""
    run = find_shared_run(voices, others)
    return run.notes if run else 0


def _spell(voice: Sequence[Step], symbols: dict[Step, str]) -> str:
    """Return each step as one character, so that runs are substrings."""
    return "".join(symbols.setdefault(step, chr(0x10000 + len(symbols))) for step in voice)


def _longest(line: str, other: str) -> tuple[int, int]:
    """Return how many steps of a line the other one has too, and where in the line they begin."""
    # A longer run that starts later must be longer than the best so far, so each step either extends or moves on.
    longest = at = 0
    for start in range(len(line)):
        length = max(longest, _repeats(line, start)) + 1
        while start + length <= len(line) and line[start : start + length] in other:
            longest, at = length, start
            length += 1
    return longest, at


def _repeats(line: str, start: int) -> int:
    """Return how often the symbol at `start` stands in a row from there on."""
    return len(line) - start - len(line[start:].lstrip(line[start]))


def music_id(score: Score) -> str:
    """Return sha256 in hex over the distinct melodies of a score, equal where two scores are the same music.

    A melody is the top line of a pitched track as `melody_steps` reads it: semitones to the next note and the
    time until it. So neither transposition (of the piece or of a part by octaves), tempo, resolution, instruments,
    loudness, lengths of held notes, the order of tracks, doubled parts, drums nor rests at the beginning make
    another music. A score without a melody of two notes or more is only the same as one with the same notes.
    """
    melodies = {np.asarray(steps, dtype=np.int64).tobytes() for steps in voice_steps(score) if steps}
    parts = sorted(melodies) or [_as_they_are(score)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _as_they_are(score: Score) -> bytes:
    notes = [np.stack([track.onsets, track.pitches]).tobytes() for track in score.tracks if len(track)]
    return b"notes" + b"".join(len(part).to_bytes(8, "big") + part for part in notes)


_SORTED_STEPS = 64
"""Steps by which suffixes are sorted. Runs are compared in full, so this decides only which of long ones meet."""


def melody(score: Score) -> list[Step]:
    """Return the steps of the highest pitched part: accompaniments are alike in all tunes, and prove nothing."""
    pitched = [track for track in score.tracks if len(track) and not track.is_drum]
    if not pitched:
        return []
    return melody_steps(max(pitched, key=lambda track: float(track.pitches.mean())), score.ticks_per_quarter)


def longest_shared_with_others(melodies: Sequence[Sequence[Step]]) -> list[int]:
    """For each melody, notes in the longest run that it shares with any other one; 0 if it shares none.

    As `longest_shared_run` over all pairs, but by one sort of all suffixes: neighbours of different owners
    share the longest beginnings. A run of one step repeated does not count.
    """
    symbols: dict[Step, str] = {}
    lines = ["".join(symbols.setdefault(step, chr(0x100 + len(symbols))) for step in line) for line in melodies]
    suffixes = sorted(
        (line[start : start + _SORTED_STEPS], owner, start)
        for owner, line in enumerate(lines)
        for start in range(len(line))
    )
    longest = [0] * len(lines)
    for order in (suffixes, suffixes[::-1]):
        _meet(order, lines, longest)
    return [run + 1 if run else 0 for run in longest]


def _meet(order: Sequence[tuple[str, int, int]], lines: Sequence[str], longest: list[int]) -> None:
    """Compare each suffix with the nearest one before it that is another owner's."""
    last: tuple[int, int] | None = None
    other: tuple[int, int] | None = None
    for _, owner, start in order:
        if last is not None and last[0] != owner:
            other = last
        if other is not None:
            shared = _common(lines[owner], start, lines[other[0]], other[1])
            if shared > longest[owner] and shared > _repeats_in(lines[owner], start):
                longest[owner] = shared
        last = (owner, start)


def _common(line: str, start: int, other: str, other_start: int) -> int:
    """Return the length of the beginning that two suffixes share."""
    limit = min(len(line) - start, len(other) - other_start)
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if line[start : start + middle] == other[other_start : other_start + middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _repeats_in(line: str, start: int) -> int:
    """Return how often the symbol at `start` stands in a row from there on."""
    return len(line) - start - len(line[start:].lstrip(line[start]))


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
