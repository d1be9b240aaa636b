"""Note arrays to a standard MIDI file (format 1). Source: Standard MIDI Files 1.0, RP-001."""

from __future__ import annotations

import struct

from image2music.notation.score import Score, Track

_NAME_LIMIT = 127


def write_midi(score: Score) -> bytes:
    """The score as the bytes of a format 1 MIDI file: a conductor track, then one track for each of the score's.

    Ticks must lie below 2^28. Notes end before others of the same tick begin.
    """
    chunks = [_conductor(score), *(_track(track) for track in score.tracks)]
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(chunks), score.ticks_per_quarter)
    return header + b"".join(chunks)


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
    return _chunk(events)


def _track(track: Track) -> bytes:
    channel = track.channel & 15
    head: list[tuple[int, bytes]] = []
    if track.name:
        name = track.name.encode("utf-8")[:_NAME_LIMIT]
        head.append((0, b"\xff\x03" + bytes((len(name),)) + name))
    head.append((0, bytes((0xC0 | channel, track.program & 127))))
    on, off = 0x90 | channel, 0x80 | channel
    # (tick, 0 for off and 1 for on, pitch, velocity) sorts ends before beginnings.
    notes: list[tuple[int, int, int, int]] = []
    rows = zip(
        track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), track.velocities.tolist(), strict=True
    )
    for onset, duration, pitch, velocity in rows:
        notes.append((onset, 1, pitch, velocity))
        notes.append((onset + duration, 0, pitch, 64))
    notes.sort()
    body = [(tick, bytes((on if kind else off, pitch, velocity))) for tick, kind, pitch, velocity in notes]
    return _chunk(head + body)


def _chunk(events: list[tuple[int, bytes]]) -> bytes:
    data = bytearray()
    now = 0
    for tick, message in events:
        delta = tick - now
        now = tick
        if delta < 128:
            data.append(delta)
        else:
            data += _variable(delta)
        data += message
    data += b"\x00\xff\x2f\x00"
    return b"MTrk" + struct.pack(">I", len(data)) + bytes(data)


def _variable(value: int) -> bytes:
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | (value & 0x7F))
    return bytes(reversed(parts))
