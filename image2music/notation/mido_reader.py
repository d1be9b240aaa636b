"""The second reader: files that symusic refuses (SMPTE division, long headers, data bytes above 127)."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from image2music.errors import MidiError
from image2music.notation.score import KeyChange, MeterChange, Score, TempoChange, Track

_MAX_TICK = 2**40
_DRUM_CHANNEL = 9


@dataclass
class _Events:
    """What has been gathered from all tracks so far: rows of (onset, duration, pitch, velocity) by part."""

    parts: dict[tuple[int, int, int], list[tuple[int, int, int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    names: dict[int, str] = field(default_factory=dict)
    tempos: list[TempoChange] = field(default_factory=list)
    meters: list[MeterChange] = field(default_factory=list)
    keys: list[KeyChange] = field(default_factory=list)


def read_with_mido(data: bytes) -> Score:
    """Read MIDI bytes with mido; data bytes above 127 are clipped and notes never released end with their track.

    A file timed in SMPTE frames has no tempo: it is given 120 quarters a minute and ticks to match.

    Raises:
        MidiError: with the reason `truncated` or `damaged`.
    """
    import mido

    try:
        source = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except EOFError:
        raise MidiError("the file ends in the middle of a track", reason="truncated") from None
    except Exception as refused:  # mido lets through whatever its parsing trips over, from KeyError to OSError
        message = " ".join(str(refused).split())[:120] or type(refused).__name__
        raise MidiError(f"the file is damaged: {message}", reason="damaged") from None
    events = _Events()
    for number, track in enumerate(source.tracks):
        _gather(number, track, events)
    ticks_per_quarter, smpte = _division(int(source.ticks_per_beat))
    return Score(
        ticks_per_quarter=ticks_per_quarter,
        tracks=_tracks(events),
        tempos=(TempoChange(0, 120.0),) if smpte else tuple(sorted(events.tempos, key=lambda change: change.tick)),
        meters=tuple(sorted(events.meters, key=lambda change: change.tick)),
        keys=tuple(sorted(events.keys, key=lambda change: change.tick)),
    )


def _division(division: int) -> tuple[int, bool]:
    """Ticks to the quarter, and whether the file is timed in SMPTE frames (sign bit set)."""
    if 0 < division < 0x8000:
        return division, False
    frames, ticks = 256 - ((division >> 8) & 0xFF), division & 0xFF
    if division == 0 or frames not in (24, 25, 29, 30) or ticks == 0:
        raise MidiError(f"the file's division {division} means nothing", reason="damaged")
    return max(1, frames * ticks // 2), True


def _gather(number: int, track: Any, events: _Events) -> None:
    tick = 0
    programs = [0] * 16
    sounding: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for message in track:
        tick += message.time
        if tick > _MAX_TICK:
            raise MidiError("the file's times overflow", reason="too_large")
        if message.type == "note_on" and message.velocity > 0:
            start = (tick, message.velocity, programs[message.channel])
            sounding[message.channel, message.note].append(start)
        elif message.type in ("note_on", "note_off"):
            _release(number, message.channel, message.note, tick, sounding, events)
        elif message.type == "program_change":
            programs[message.channel] = message.program
        else:
            _note_change(number, message, tick, events)
    for channel, pitch in list(sounding):
        while sounding[channel, pitch]:
            _release(number, channel, pitch, tick, sounding, events)


def _release(
    number: int,
    channel: int,
    pitch: int,
    tick: int,
    sounding: dict[tuple[int, int], list[tuple[int, int, int]]],
    events: _Events,
) -> None:
    waiting = sounding[channel, pitch]
    if not waiting:
        return
    onset, velocity, program = waiting.pop(0)
    events.parts[number, channel, program].append((onset, tick - onset, pitch, velocity))


def _note_change(number: int, message: Any, tick: int, events: _Events) -> None:
    if message.type == "set_tempo" and message.tempo > 0:
        events.tempos.append(TempoChange(tick, 60e6 / message.tempo))
    elif message.type == "time_signature":
        events.meters.append(MeterChange(tick, int(message.numerator), int(message.denominator)))
    elif message.type == "key_signature":
        events.keys.append(KeyChange(tick, _sharps(message.key), message.key.endswith("m")))
    elif message.type == "track_name":
        events.names.setdefault(number, str(message.name))


def _sharps(key: str) -> int:
    """Signed count of sharps of a key named as mido names it: `Bb` -2, `F#m` 3."""
    minor = key.endswith("m")
    fifths = "FCGDAEB".index(key[0]) - 1 + 7 * (key.count("#") - key.count("b"))
    return max(-7, min(7, fifths - 3 * minor))


def _tracks(events: _Events) -> tuple[Track, ...]:
    return tuple(
        _track(np.array(sorted(rows), dtype=np.int64), program, channel, events.names.get(number, ""))
        for (number, channel, program), rows in events.parts.items()
    )


def _track(rows: np.ndarray[Any, np.dtype[np.int64]], program: int, channel: int, name: str) -> Track:
    order = np.lexsort((rows[:, 2], rows[:, 0]))
    onsets, durations, pitches, velocities = rows[order].T
    return Track(onsets, durations, pitches, velocities, program, channel, channel == _DRUM_CHANNEL, name)
