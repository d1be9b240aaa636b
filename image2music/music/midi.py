"""Standard MIDI files: read in bounded time and memory, and written. Source: Standard MIDI Files 1.0, RP-001.

symusic reads for speed; mido reads what symusic refuses (SMPTE division, long headers, data bytes above 127).
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import sub
from typing import Any, NamedTuple

import numpy as np

from image2music.errors import MidiError
from image2music.music.score import KeyChange, MeterChange, Score, TempoChange, Track
from image2music.music.theory import DEFAULT_QPM, DRUM_CHANNEL, fifths_of

_MAX_TICK = 2**40


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
        tracks=_tracks_of_events(events),
        tempos=(TempoChange(0, DEFAULT_QPM),)
        if smpte
        else tuple(sorted(events.tempos, key=lambda change: change.tick)),
        meters=tuple(sorted(events.meters, key=lambda change: change.tick)),
        keys=tuple(sorted(events.keys, key=lambda change: change.tick)),
    )


def _division(division: int) -> tuple[int, bool]:
    """Return the ticks to the quarter, and whether the file is timed in SMPTE frames (sign bit set)."""
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
    """Return the signed count of sharps of a key named as mido names it: `Bb` -2, `F#m` 3."""
    minor = key.endswith("m")
    return max(-7, min(7, fifths_of(key) - 3 * minor))


def _tracks_of_events(events: _Events) -> tuple[Track, ...]:
    return tuple(
        _track_of_events(np.array(sorted(rows), dtype=np.int64), program, channel, events.names.get(number, ""))
        for (number, channel, program), rows in events.parts.items()
    )


def _track_of_events(rows: np.ndarray[Any, np.dtype[np.int64]], program: int, channel: int, name: str) -> Track:
    order = np.lexsort((rows[:, 2], rows[:, 0]))
    onsets, durations, pitches, velocities = rows[order].T
    return Track(onsets, durations, pitches, velocities, program, channel, channel == DRUM_CHANNEL, name)


MAX_BYTES = 8_000_000
"""Largest file read, in bytes. Two hundred thousand notes take about 1.6 million."""

MAX_FALLBACK_BYTES = 200_000
"""Largest file handed to mido, which is pure Python and takes about 20 microseconds a byte."""

MAX_NOTES = 300_000
"""Most notes in a file that is read."""

MAX_QUARTERS = 50_000
"""Greatest length of a file, in quarter notes: about seven hours at 120 a minute."""


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
    """Return the channel of the n-th part that is not drums: 0-15 without 9, starting again after fifteen."""
    return (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15)[nth % 15]


def _tempos(source: Any) -> tuple[TempoChange, ...]:
    """Return the tempo changes; of several within a 1/32 note only the last is kept, since some files have 70,000."""
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


_NAME_LIMIT = 127
_VOLUME_OF_ENDS = 64


class NoteList(NamedTuple):
    """The notes of one track as (start tick, end tick, pitch, velocity), and its control changes, in any order.

    A control change is (tick, number, value); it comes behind the notes of its tick.
    """

    notes: Sequence[tuple[int, int, int, int]]
    program: int
    channel: int
    name: str
    controls: Sequence[tuple[int, int, int]] = ()


def write_midi(score: Score) -> bytes:
    """Return the score as the bytes of a format 1 MIDI file: a conductor track, then one track for each of the score's.

    Tracks without notes are left out. Ticks must lie below 2^28. Notes end before others of the same tick begin.
    """
    return write_note_lists(score, [_note_list(track) for track in score.tracks if len(track)])


def write_note_lists(conductor: Score, tracks: Iterable[NoteList]) -> bytes:
    """As `write_midi`, with the title, tempos, meters and keys of `conductor` and other tracks than its own."""
    chunks = [_conductor(conductor), *(_track_chunk(track) for track in tracks)]
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(chunks), conductor.ticks_per_quarter)
    return header + b"".join(chunks)


def with_markers(data: bytes, markers: Iterable[tuple[int, str]]) -> bytes:
    """Return a MIDI file with markers, (tick, text), in the first track of those that `write_midi` writes.

    Raises:
        ValueError: the first track has other events than those of a conductor.
    """
    size = int.from_bytes(data[18:22], "big")
    track, at, tick, events = data[22 : 22 + size], 0, 0, list[tuple[int, bytes]]()
    while at < size:
        delta, at = _read_variable(track, at)
        start = at
        if track[at] != 0xFF:
            raise ValueError("the first track of the MIDI file is no conductor")
        length, at = _read_variable(track, at + 2)
        at, tick = at + length, tick + delta
        events.append((tick, track[start:at]))
    for tick, text in markers:
        name = text.encode("utf-8")
        events.insert(len(events) - 1, (tick, b"\xff\x06" + _variable(len(name)) + name))
    return data[:14] + _meta_chunk(events[:-1]) + data[22 + size :]


def _read_variable(data: bytes, at: int) -> tuple[int, int]:
    """Return the value that `_variable` wrote at a place, and the place behind it."""
    value = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        value = value << 7 | data[at] & 0x7F
    return value, at + 1


def _note_list(track: Track) -> NoteList:
    ends = (track.onsets + track.durations).tolist()
    columns = (track.onsets.tolist(), ends, track.pitches.tolist(), track.velocities.tolist())
    return NoteList(list(zip(*columns, strict=True)), track.program, track.channel, track.name)


def _conductor(score: Score) -> bytes:
    events = [(0, _name_event(score.title))] if score.title else []
    for meter in score.meters:
        power = meter.denominator.bit_length() - 1
        events.append((meter.tick, bytes((0xFF, 0x58, 4, min(meter.numerator, 255), power, 24, 8))))
    for key in score.keys:
        events.append((key.tick, bytes((0xFF, 0x59, 2, key.sharps & 0xFF, int(key.minor)))))
    for tempo in score.tempos:
        micros = min(max(round(60_000_000 / tempo.qpm), 1), 0xFFFFFF)
        events.append((tempo.tick, b"\xff\x51\x03" + micros.to_bytes(3, "big")))
    return _meta_chunk(events)


def _meta_chunk(events: list[tuple[int, bytes]]) -> bytes:
    """Return a track of events, (tick, message), in the order of their ticks."""
    events.sort(key=lambda event: event[0])
    parts = []
    now = 0
    for tick, message in events:
        parts.append(_variable(tick - now) + message)
        now = tick
    return _chunk(parts)


def _track_chunk(track: NoteList) -> bytes:
    channel = track.channel & 15
    parts = [b"\0" + _name_event(track.name)] if track.name else []
    parts.append(bytes((0, 0xC0 | channel, track.program & 127)))
    on, off = (0x90 | channel) << 16, (0x80 | channel) << 16 | _VOLUME_OF_ENDS
    # One integer for each event, the tick and behind it the three bytes of the message, sorts ends before beginnings.
    events = [start << 24 | on | pitch << 8 | velocity for start, _, pitch, velocity in track.notes]
    events += [end << 24 | off | pitch << 8 for _, end, pitch, _ in track.notes]
    change = (0xB0 | channel) << 16
    events += [tick << 24 | change | number << 8 | value for tick, number, value in track.controls]
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


def _name_event(name: str) -> bytes:
    """Return the event that names a track, and in the first track the piece."""
    text = name.encode("utf-8")[:_NAME_LIMIT].decode("utf-8", "ignore").encode("utf-8")
    return b"\xff\x03" + bytes((len(text),)) + text


def _chunk(events: list[bytes]) -> bytes:
    data = b"".join(events)
    return b"MTrk" + struct.pack(">I", len(data) + 4) + data + b"\x00\xff\x2f\x00"


@lru_cache(maxsize=4096)
def _variable(value: int) -> bytes:
    """Return a time as MIDI writes it: seven bits a byte, the eighth bit set in all but the last."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | (value & 0x7F))
    return bytes(reversed(parts))
