"""The sound of a film, however long, in stretches that memory holds, at one loudness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from image2music.music.loudness import TARGET_LUFS, levels_over_channels, limited, loudness_of_pieces
from image2music.music.midi import read_midi
from image2music.music.render import RATE, SoundRenderer, pan_positions
from image2music.music.score import Score, seconds_at

Sound = NDArray[np.float32]

LONGEST_STRETCH = 60.0
"""Seconds of music that are played at once, about: a minute takes 100 MB while it is made."""

_BLOCK = 20 * RATE
_SILENT = 10 ** (-66 / 20)
_FADE = RATE // 20
_ROUNDS = 4
_CLOSE_ENOUGH = 0.1
_SAMPLE_BYTES = 8
_PAN = 10


def stretches(bar_lines: Sequence[float], longest: float = LONGEST_STRETCH) -> list[float]:
    """Return the bar lines, in quarters or seconds, at which a tune is cut: as few as `longest` allows, and the first.

    A bar that is longer than `longest` is a stretch of its own.
    """
    cuts = list(bar_lines[:1])
    for before, line in pairwise(bar_lines):
        if line - cuts[-1] > longest and before > cuts[-1]:
            cuts.append(before)
    return cuts


@dataclass(frozen=True)
class FilmSound:
    """The music of a film on disk: float32[n, 2] at `path`, `RATE` samples a second."""

    path: Path

    def __len__(self) -> int:
        return self.path.stat().st_size // _SAMPLE_BYTES

    def part(self, first: int, length: int) -> Sound:
        """Return `length` samples from `first` on, silence behind the end, float32[length, 2]."""
        with self.path.open("rb") as file:
            file.seek(first * _SAMPLE_BYTES)
            data = file.read(length * _SAMPLE_BYTES)
        return np.frombuffer(data.ljust(length * _SAMPLE_BYTES, b"\0"), dtype=np.float32).reshape(-1, 2)

    def pieces(self) -> Iterator[tuple[int, Sound]]:
        """Yield (first sample, sound) of pieces one after the other."""
        for first in range(0, len(self), _BLOCK):
            yield first, self.part(first, min(_BLOCK, len(self) - first))


def make_sound(midi: bytes, bar_lines: Sequence[float], renderer: SoundRenderer, path: Path) -> FilmSound:
    """Play a tune of any length into a file, at -16 LUFS and without the silence at its end.

    Each stretch is what begins between two bar lines, and rings on into the next. All of them get the same gain.

    Args:
        midi: the tune.
        bar_lines: in quarters from its beginning, ascending.
        renderer: plays it.
        path: is there whole or not at all; files beside it hold the sound meanwhile.

    Raises:
        MidiError: as `SoundRenderer.unmastered`.
    """
    played, mastered = FilmSound(path.with_suffix(".played")), FilmSound(path.with_suffix(".mastered"))
    _play(midi, bar_lines, renderer, played.path)
    measured = loudness_of_pieces((sound for _, sound in played.pieces()), RATE)
    gain = 0.0
    for _ in range(_ROUNDS):
        if not np.isfinite(measured):
            break
        gain += TARGET_LUFS - measured
        measured = _master(played, 10 ** (gain / 20), mastered.path)
        if abs(TARGET_LUFS - measured) < _CLOSE_ENOUGH:
            break
    if not gain:
        _master(played, 1.0, mastered.path)
    end = _audible(mastered)
    fade = min(_FADE, end)
    faded = mastered.part(end - fade, fade) * np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    with mastered.path.open("r+b") as file:
        file.seek((end - fade) * _SAMPLE_BYTES)
        file.write(faded.tobytes())
        file.truncate()
    mastered.path.replace(path)
    played.path.unlink()
    return FilmSound(path)


def _master(played: FilmSound, gain: float, target: Path) -> float:
    """Write a sound times a gain, held below its true peak; return how loud that is."""

    def pieces() -> Iterator[Sound]:
        for _, sound in played.pieces():
            held = np.asarray(limited(sound * np.float32(gain), RATE), dtype=np.float32)
            file.write(held.tobytes())
            yield held

    with target.open("wb") as file:
        return loudness_of_pieces(pieces(), RATE)


def _play(midi: bytes, bar_lines: Sequence[float], renderer: SoundRenderer, target: Path) -> None:
    """Write the sound as it is played, stretch over stretch."""
    score = read_midi(midi)
    cuts = set(stretches([_second(score, line) for line in bar_lines]))
    starts = [0.0, *(line for line in bar_lines[1:] if _second(score, line) in cuts)]
    with target.open("w+b") as file:
        for start, stop in pairwise([*starts, float("inf")]):
            part = _stretch(midi, score, start, stop)
            if part is None:
                continue
            sound = renderer.unmastered(part).copy()
            first = round(_second(score, start) * RATE) * _SAMPLE_BYTES
            file.seek(first)
            under = np.frombuffer(file.read(sound.nbytes), dtype=np.float32).reshape(-1, 2)
            sound[: len(under)] += under
            file.seek(first)
            file.write(sound.tobytes())


def _second(score: Score, quarters: float) -> float:
    return seconds_at(quarters, score.tempos, score.ticks_per_quarter)


def _stretch(midi: bytes, score: Score, start: float, stop: float) -> bytes | None:
    """Return the notes that begin in a stretch as a file of its own; None where there are none.

    Parts sit where they do in the whole tune, and what controllers said before the stretch still holds.
    """
    import symusic

    whole = symusic.Score.from_midi(midi)
    first = round(start * whole.tpq)
    last = whole.end() + 1 if stop == float("inf") else round(stop * whole.tpq)
    tracks = [track for track in whole.tracks if len(track.notes)]
    is_placed = any(event.number == _PAN for track in tracks for event in track.controls)
    for track, pan in zip(tracks, pan_positions(score.tracks), strict=False):
        held: dict[int, int] = {} if is_placed else {_PAN: pan}
        later = []
        for event in track.controls:
            if event.time <= first:
                held[event.number] = event.value
            elif event.time < last:
                later.append(symusic.ControlChange(event.time - first, event.number, event.value))
        bends = [bend for bend in track.pitch_bends if first <= bend.time < last]
        track.controls = [symusic.ControlChange(0, number, value) for number, value in held.items()] + later
        track.pitch_bends = [symusic.PitchBend(bend.time - first, bend.value) for bend in bends]
        notes = [note for note in track.notes if first <= note.time < last]
        track.notes = [symusic.Note(note.time - first, note.duration, note.pitch, note.velocity) for note in notes]
        track.pedals = []
    whole.tracks = tracks
    if not any(len(track.notes) for track in tracks):
        return None
    before = [tempo for tempo in whole.tempos if tempo.time <= first][-1:]
    after = [tempo for tempo in whole.tempos if first < tempo.time < last]
    whole.tempos = [symusic.Tempo(max(0, tempo.time - first), mspq=tempo.mspq) for tempo in (*before, *after)]
    whole.time_signatures, whole.key_signatures, whole.markers = [], [], []
    return bytes(whole.dumps_midi())


def _audible(sound: FilmSound) -> int:
    """Return the samples until nothing is heard any more."""
    end = len(sound)
    for first in range((len(sound) - 1) // _BLOCK * _BLOCK, -1, -_BLOCK):
        loud = np.flatnonzero(levels_over_channels(sound.part(first, end - first)) > _SILENT)
        if len(loud):
            return min(len(sound), first + int(loud[-1]) + 1 + _FADE)
        end = first
    return len(sound)
