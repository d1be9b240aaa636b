"""Note arrays or note lists to a standard MIDI file (format 1). Source: Standard MIDI Files 1.0, RP-001."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import sub
from typing import NamedTuple

from image2music.notation.score import Score, Track

_NAME_LIMIT = 127
_VOLUME_OF_ENDS = 64


class NoteList(NamedTuple):
    """The notes of one track as (start tick, end tick, pitch, velocity), in any order."""

    notes: Sequence[tuple[int, int, int, int]]
    program: int
    channel: int
    name: str


def write_midi(score: Score) -> bytes:
    """The score as the bytes of a format 1 MIDI file: a conductor track, then one track for each of the score's.

    Ticks must lie below 2^28. Notes end before others of the same tick begin.
    """
    return write_note_lists(score, [_note_list(track) for track in score.tracks])


def write_note_lists(conductor: Score, tracks: Iterable[NoteList]) -> bytes:
    """As `write_midi`, with the tempos, meters and keys of `conductor` and other tracks than its own."""
    chunks = [_conductor(conductor), *(_track(track) for track in tracks)]
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(chunks), conductor.ticks_per_quarter)
    return header + b"".join(chunks)


def _note_list(track: Track) -> NoteList:
    ends = (track.onsets + track.durations).tolist()
    columns = (track.onsets.tolist(), ends, track.pitches.tolist(), track.velocities.tolist())
    return NoteList(list(zip(*columns, strict=True)), track.program, track.channel, track.name)


def _conductor(score: Score) -> bytes:
    events: list[tuple[int, bytes]] = []
    for meter in score.meters:
        power = meter.denominator.bit_length() - 1
        events.append((meter.tick, bytes((0xFF, 0x58, 4, min(meter.numerator, 255), power, 24, 8))))
    for key in score.keys:
        events.append((key.tick, bytes((0xFF, 0x59, 2, key.sharps & 0xFF, int(key.minor)))))
    for tempo in score.tempos:
        micros = min(max(round(60_000_000 / tempo.qpm), 1), 0xFFFFFF)
        events.append((tempo.tick, b"\xff\x51\x03" + micros.to_bytes(3, "big")))
    events.sort(key=lambda event: event[0])
    parts = []
    now = 0
    for tick, message in events:
        parts.append(_variable(tick - now) + message)
        now = tick
    return _chunk(parts)


def _track(track: NoteList) -> bytes:
    channel = track.channel & 15
    parts = []
    if track.name:
        name = track.name.encode("utf-8")[:_NAME_LIMIT]
        parts.append(b"\x00\xff\x03" + bytes((len(name),)) + name)
    parts.append(bytes((0, 0xC0 | channel, track.program & 127)))
    on, off = (0x90 | channel) << 16, (0x80 | channel) << 16 | _VOLUME_OF_ENDS
    # One integer for each event, the tick and behind it the three bytes of the message, sorts ends before beginnings.
    events = [start << 24 | on | pitch << 8 | velocity for start, _, pitch, velocity in track.notes]
    events += [end << 24 | off | pitch << 8 for _, end, pitch, _ in track.notes]
    events.sort()
    ticks = [event >> 24 for event in events]
    deltas = map(sub, ticks, [0, *ticks])
    parts += [
        (delta << 24 | event & 0xFFFFFF).to_bytes(4, "big")
        if delta < 128
        else _variable(delta) + (event & 0xFFFFFF).to_bytes(3, "big")
        for event, delta in zip(events, deltas, strict=True)
    ]
    return _chunk(parts)


def _chunk(events: list[bytes]) -> bytes:
    data = b"".join(events)
    return b"MTrk" + struct.pack(">I", len(data) + 4) + data + b"\x00\xff\x2f\x00"


@lru_cache(maxsize=4096)
def _variable(value: int) -> bytes:
    """A time as MIDI writes it: seven bits a byte, the eighth bit set in all but the last."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | (value & 0x7F))
    return bytes(reversed(parts))
