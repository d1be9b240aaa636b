"""Small MIDI files and scores for the tests: notes are (onset, duration, pitch), times in quarters."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import mido
import numpy as np

from image2music.music.score import KeyChange, MeterChange, Score, TempoChange, Track

TICKS = 480
Note = tuple[float, float, int]


def track(notes: Iterable[Note], *, program: int = 0, channel: int = 0) -> Track:
    """A track at 480 ticks to the quarter; channel 9 is drums."""
    rows = sorted((round(onset * TICKS), pitch, round(duration * TICKS)) for onset, duration, pitch in notes)
    onsets, pitches, durations = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Track(onsets, durations, pitches, np.full(len(onsets), 90), program, channel, channel == 9)


def score(
    *tracks: Track,
    tempos: Sequence[tuple[float, float]] = (),
    meters: Sequence[tuple[float, int, int]] = (),
    keys: Sequence[tuple[float, int, bool]] = (),
) -> Score:
    """A score whose changes are given at quarters."""
    return Score(
        TICKS,
        tracks,
        tuple(TempoChange(round(at * TICKS), qpm) for at, qpm in tempos),
        tuple(MeterChange(round(at * TICKS), n, d) for at, n, d in meters),
        tuple(KeyChange(round(at * TICKS), sharps, minor) for at, sharps, minor in keys),
    )


def midi(*parts: Sequence[Note], program: int = 0, drums: bool = False, meta: Sequence[mido.MetaMessage] = ()) -> bytes:
    """A type 1 file with one track a part; `drums` makes the last part drums."""
    file = mido.MidiFile(ticks_per_beat=TICKS)
    for number, notes in enumerate(parts):
        channel = 9 if drums and number == len(parts) - 1 else number
        events = [(round(on * TICKS), 1, "note_on", pitch) for on, _, pitch in notes]
        events += [(round((on + length) * TICKS), 0, "note_off", pitch) for on, length, pitch in notes]
        messages = mido.MidiTrack([*(meta if number == 0 else ())])
        messages.append(mido.Message("program_change", program=program, channel=channel))
        now = 0
        for tick, _, kind, pitch in sorted(events):
            messages.append(mido.Message(kind, note=pitch, velocity=90, channel=channel, time=tick - now))
            now = tick
        file.tracks.append(messages)
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def scale(start: float = 0.0, step: float = 1.0, n: int = 8) -> list[Note]:
    """C major upwards, one note each `step` quarters."""
    pitches = (60, 62, 64, 65, 67, 69, 71, 72)
    return [(start + step * at, step, pitches[at % 8]) for at in range(n)]
