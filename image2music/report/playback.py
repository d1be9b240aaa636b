"""Times of the notes and bars of a tune in seconds, which a page plays and follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from image2music.abc.parser import parse
from image2music.abc.playback import bars_as_played
from image2music.music.midi import read_midi
from image2music.music.render import PlayedTrack
from image2music.music.score import Score, Track, seconds_at
from image2music.music.theory import QUARTER


@dataclass(frozen=True)
class Playback:
    """A tune in seconds. `bars` are (start, number of the bar as written, from 1); a repeated bar occurs twice."""

    seconds: float
    tracks: tuple[PlayedTrack, ...]
    bars: tuple[tuple[float, int], ...]


def playback(midi: bytes, abc: str) -> Playback:
    """Return the notes of a MIDI file and the bars of the ABC that it was made from.

    Raises:
        MidiError: as `read_midi`.
    """
    score = read_midi(midi)
    tracks = tuple(_played(track, score) for track in score.tracks)
    end = max(start + duration for track in tracks for start, duration, _, _ in track.notes)
    bars = tuple(
        (round(seconds_at(quarters, score.tempos, score.ticks_per_quarter), 4), number)
        for quarters, number in played_bars(abc)
    )
    return Playback(round(end, 4), tracks, bars)


def played_bars(abc: str) -> Iterator[tuple[float, int]]:
    """Yield (quarters from the beginning, bar number from 1) of every bar of the first voice, as it is played."""
    tune = next((tune for tune in parse(abc).tunes if tune.has_music), None)
    return iter(()) if tune is None else ((float(at / QUARTER), number) for at, number in bars_as_played(tune))


def _played(track: Track, score: Score) -> PlayedTrack:
    per_quarter = score.ticks_per_quarter
    notes = []
    for onset, duration, pitch, velocity in zip(
        track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), track.velocities.tolist(), strict=True
    ):
        start = seconds_at(onset / per_quarter, score.tempos, per_quarter)
        end = seconds_at((onset + duration) / per_quarter, score.tempos, per_quarter)
        notes.append((round(start, 4), round(end - start, 4), pitch, velocity))
    return PlayedTrack(track.name, track.program, track.is_drum, tuple(notes))
