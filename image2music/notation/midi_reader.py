"""MIDI bytes to a `Score`: symusic for speed, mido where symusic refuses a file that can still be read."""

from __future__ import annotations

from typing import Any

import numpy as np

from image2music.errors import MidiError
from image2music.notation.mido_reader import read_with_mido
from image2music.notation.score import KeyChange, MeterChange, Score, TempoChange, Track

MAX_BYTES = 8_000_000
"""Largest file read, in bytes. Two hundred thousand notes take about 1.6 million."""

MAX_FALLBACK_BYTES = 200_000
"""Largest file handed to mido, which is pure Python and takes about 20 microseconds a byte."""

MAX_NOTES = 300_000
"""Most notes in a file that is read."""

MAX_QUARTERS = 50_000
"""Greatest length of a file, in quarter notes: about seven hours at 120 a minute."""

DRUM_CHANNEL = 9


def read_midi(data: bytes) -> Score:
    """Read a standard MIDI file, in bounded time and memory whatever the bytes are.

    Args:
        data: the bytes of a `.mid` file, or of one inside a RIFF (`.rmi`) wrapper.

    Returns:
        A score with at least one note. Tracks are split by channel and program, as symusic does. Notes that are
        never released are left out, unless the file has no others.

    Raises:
        MidiError: with the reason `too_large` (more than `MAX_BYTES`, `MAX_NOTES` or `MAX_QUARTERS`), `not_midi`,
            `truncated`, `damaged` or `no_notes`.
    """
    if len(data) > MAX_BYTES:
        raise MidiError(f"the file has {len(data)} bytes; at most {MAX_BYTES} are read", reason="too_large")
    data = _unwrapped(data)
    if data[:4] != b"MThd":
        raise MidiError("this is not a standard MIDI file: it does not begin with MThd", reason="not_midi")
    return _checked(_read(data))


def _read(data: bytes) -> Score:
    try:
        score = _read_with_symusic(data)
    except (RuntimeError, ValueError, IndexError, OverflowError, MemoryError) as refused:
        if len(data) > MAX_FALLBACK_BYTES:
            raise MidiError(
                f"the file is damaged and too large to mend: {_one_line(refused)}", reason="damaged"
            ) from None
        return read_with_mido(data)
    if score.n_notes == 0 and len(data) <= MAX_FALLBACK_BYTES:
        # symusic forgets notes that are never released; mido shows them.
        return _read_with_mido_or(score, data)
    return score


def _read_with_mido_or(score: Score, data: bytes) -> Score:
    try:
        return read_with_mido(data)
    except MidiError:
        return score


def _read_with_symusic(data: bytes) -> Score:
    import symusic

    source = symusic.Score.from_midi(data)
    return Score(
        ticks_per_quarter=int(source.ticks_per_quarter),
        tracks=_tracks(source),
        tempos=_tempos(source),
        meters=tuple(MeterChange(int(m.time), int(m.numerator), int(m.denominator)) for m in source.time_signatures),
        keys=tuple(
            KeyChange(int(k.time), max(-7, min(7, int(k.key))), bool(k.tonality)) for k in source.key_signatures
        ),
    )


def _tracks(source: Any) -> tuple[Track, ...]:
    tracks: list[Track] = []
    pitched = 0
    for track in source.tracks:
        if not len(track.notes):
            continue
        channel = DRUM_CHANNEL if track.is_drum else pitched_channel(pitched)
        pitched += not track.is_drum
        columns = track.notes.numpy()
        onsets, pitches = columns["time"].astype(np.int64), columns["pitch"].astype(np.int64)
        order = np.lexsort((pitches, onsets))
        tracks.append(
            Track(
                onsets=onsets[order],
                durations=columns["duration"].astype(np.int64)[order],
                pitches=pitches[order],
                velocities=columns["velocity"].astype(np.int64)[order],
                program=int(track.program),
                channel=channel,
                is_drum=bool(track.is_drum),
                name=str(track.name),
            )
        )
    return tuple(tracks)


def pitched_channel(nth: int) -> int:
    """Channel of the n-th part that is not drums: 0-15 without 9, starting again after fifteen."""
    return (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15)[nth % 15]


def _tempos(source: Any) -> tuple[TempoChange, ...]:
    """Tempo changes; of several within a 1/32 note only the last is kept, since some files have 70,000."""
    if not len(source.tempos):
        return ()
    columns = source.tempos.numpy()
    right = columns["mspq"] > 0
    ticks, micros = columns["time"][right].astype(np.int64), columns["mspq"][right]
    place = ticks * 8 // max(1, int(source.ticks_per_quarter))
    is_first = np.append(True, np.diff(place) != 0)[: len(ticks)]
    firsts, lasts = ticks[is_first].tolist(), micros[np.append(is_first[1:], True)[: len(ticks)]].tolist()
    return tuple(TempoChange(tick, 60e6 / mspq) for tick, mspq in zip(firsts, lasts, strict=True))


def _checked(score: Score) -> Score:
    if score.n_notes == 0:
        raise MidiError("the file holds no notes", reason="no_notes")
    if score.n_notes > MAX_NOTES:
        raise MidiError(f"the file has {score.n_notes} notes; at most {MAX_NOTES} are read", reason="too_large")
    if score.ticks_per_quarter < 1:
        raise MidiError("the file's division is 0 ticks to the quarter note", reason="damaged")
    if min(int(track.onsets.min()) for track in score.tracks) < 0:
        raise MidiError("the file's times overflow", reason="damaged")
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks)
    if end > MAX_QUARTERS * score.ticks_per_quarter:
        raise MidiError(f"the file is longer than {MAX_QUARTERS} quarter notes", reason="too_large")
    return score


def _unwrapped(data: bytes) -> bytes:
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return data
    return data[max(0, data.find(b"MThd", 12, 64)) :]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
