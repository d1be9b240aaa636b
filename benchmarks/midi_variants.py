"""Many distinct MIDI files from one: other keys and tempi, written by changing bytes where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DRUMS = 9
_TEMPO = b"\x00\xff\x51\x03"
_HALF_A_SECOND = (500_000).to_bytes(3, "big")
_LONGEST_QUARTER_US = (1 << 24) - 1
_LENGTHS = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}


@dataclass(frozen=True)
class Original:
    """A MIDI file and where in it the pitches (int64[n], drums left out) and the tempi (starts of 3 bytes) stand."""

    data: bytes
    pitches: NDArray[np.int64]
    tempi: tuple[int, ...]

    def variant(self, semitones: int, slower: float) -> bytes:
        """The same music moved by `semitones`, as far as pitches allow, with each quarter `slower` times as long."""
        content = np.frombuffer(self.data, dtype=np.uint8).copy()
        if len(self.pitches):
            notes = content[self.pitches].astype(np.int64)
            content[self.pitches] = notes + min(max(semitones, -int(notes.min())), 127 - int(notes.max()))
        for place in self.tempi:
            quarter_us = round(int.from_bytes(self.data[place : place + 3], "big") * slower)
            written = min(max(quarter_us, 1), _LONGEST_QUARTER_US).to_bytes(3, "big")
            content[place : place + 3] = np.frombuffer(written, dtype=np.uint8)
        return content.tobytes()


def original(data: bytes) -> Original:
    """Find pitches and tempi; a file without a tempo is given one of 120 quarters a minute.

    Raises:
        ValueError: this is no standard MIDI file, or its events do not fit its tracks.
    """
    pitches, tempi = _places(data)
    if not tempi:
        data = _with_tempo(data)
        pitches, tempi = _places(data)
    return Original(data, np.array(pitches, dtype=np.int64), tuple(tempi))


def _places(data: bytes) -> tuple[list[int], list[int]]:
    pitches: list[int] = []
    tempi: list[int] = []
    try:
        for start, end in _tracks(data):
            for place, status, kind in _events(data, start, end):
                if status in (0x80, 0x90, 0xA0) and kind != _DRUMS:
                    pitches.append(place)
                elif status == 0xFF and kind == 0x51 and data[place - 1] == 3:
                    tempi.append(place)
    except IndexError as error:
        raise ValueError("an event does not fit its track") from error
    return pitches, tempi


def _tracks(data: bytes) -> Iterator[tuple[int, int]]:
    if data[:4] != b"MThd":
        raise ValueError("this is not a standard MIDI file")
    place = 8 + int.from_bytes(data[4:8], "big")
    while place + 8 <= len(data):
        end = place + 8 + int.from_bytes(data[place + 4 : place + 8], "big")
        if end > len(data):
            raise ValueError("a track is longer than the file")
        if data[place : place + 4] == b"MTrk":
            yield place + 8, end
        place = end


def _events(data: bytes, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(place of the first data byte, status without channel, channel), for meta events (place, 0xFF, their type)."""
    running = 0
    while place < end:
        _, place = _number(data, place)
        status = data[place]
        if status in (0xF0, 0xF7, 0xFF):
            kind = data[place + 1] if status == 0xFF else 0
            length, place = _number(data, place + (2 if status == 0xFF else 1))
            yield place, status, kind
            place += length
            continue
        if status >= 0x80:
            running, place = status, place + 1
        if running & 0xF0 not in _LENGTHS:
            raise ValueError("a track begins without an event")
        yield place, running & 0xF0, running & 0x0F
        place += _LENGTHS[running & 0xF0]


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and where the next byte stands."""
    value = 0
    while True:
        byte = data[place]
        value, place = value << 7 | byte & 0x7F, place + 1
        if byte < 0x80:
            return value, place


def _with_tempo(data: bytes) -> bytes:
    start, end = next(_tracks(data), (0, 0))
    if not start:
        raise ValueError("a file without a track")
    event = _TEMPO + _HALF_A_SECOND
    length = (end - start + len(event)).to_bytes(4, "big")
    return data[: start - 4] + length + event + data[start:]
