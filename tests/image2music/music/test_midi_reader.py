from __future__ import annotations

import io
import struct

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.errors import MidiError
from image2music.music import midi as midi_files
from image2music.music.midi import MAX_BYTES, read_midi
from tests.image2music.music.midi_making import TICKS, midi, scale


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body)) + body


def raw(events: bytes, *, kind: int = 0, tracks: int = 1, division: int = TICKS) -> bytes:
    header = struct.pack(">HHH", kind, tracks, division & 0xFFFF)
    return chunk(b"MThd", header) + chunk(b"MTrk", events + b"\x00\xff\x2f\x00")


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"


def reason_of(data: bytes) -> str:
    with pytest.raises(MidiError) as caught:
        read_midi(data)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_notes_come_with_their_times_pitches_and_part() -> None:
    score = read_midi(midi(scale(n=3), [(0, 1, 36)], program=40, drums=True))
    violin, drums = score.tracks
    assert score.ticks_per_quarter == TICKS
    assert violin.onsets.tolist() == [0, TICKS, 2 * TICKS]
    assert violin.durations.tolist() == [TICKS] * 3
    assert violin.pitches.tolist() == [60, 62, 64]
    assert (violin.program, violin.is_drum) == (40, False)
    assert (drums.channel, drums.is_drum) == (9, True)


def test_tempo_meter_and_key_changes_are_kept() -> None:
    meta = [
        mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(90)),
        mido.MetaMessage("time_signature", numerator=6, denominator=8),
        mido.MetaMessage("key_signature", key="F#m"),
    ]
    score = read_midi(midi(scale(), meta=meta))
    assert score.tempos[0].qpm == pytest.approx(90, abs=1e-3)
    assert (score.meters[0].numerator, score.meters[0].denominator) == (6, 8)
    assert (score.keys[0].sharps, score.keys[0].minor) == (3, True)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("data bytes above 127", raw(b"\x00\x90\x3c\xc0\x60\x80\x3c\x40")),
        ("format 3", raw(NOTE, kind=3)),
        ("notes never released", raw(b"\x00\x90\x3c\x40\x60\xb0\x07\x40")),
        ("a RIFF wrapper", b"RIFF" + struct.pack("<I", 99) + b"RMID" + chunk(b"data", raw(NOTE))),
    ],
)
def test_files_that_symusic_refuses_or_finds_empty_are_read(what: str, data: bytes) -> None:
    assert read_midi(data).tracks[0].pitches.tolist() == [60], what


def test_smpte_frames_become_quarters_at_120() -> None:
    score = read_midi(raw(NOTE, division=((256 - 25) << 8) | 40))
    assert (score.ticks_per_quarter, score.tempos[0].qpm) == (500, 120.0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_midi"),
        (b"X:1\nK:C\nCDE|\n", "not_midi"),
        (b"\x00" * (MAX_BYTES + 1), "too_large"),
        (raw(NOTE)[:-6], "truncated"),
        (raw(b""), "no_notes"),
        (raw(NOTE, division=0), "damaged"),
        (raw(b"\x00\x90\x3c\x40\x00\xf4"), "damaged"),
        (raw(b"\x00\x90\x3c\x40" + b"\xff\xff\xff\x7f\x80\x3c\x40"), "too_large"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


def test_more_notes_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi_files, "MAX_NOTES", 7)
    assert reason_of(midi(scale(n=8))) == "too_large"


def test_a_large_damaged_file_is_not_handed_to_the_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi_files, "MAX_FALLBACK_BYTES", 10)
    assert reason_of(raw(NOTE, kind=3)) == "damaged"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_gives_a_score_or_a_midi_error_and_nothing_else(data: st.DataObject) -> None:
    contents = bytearray(midi(scale(), [(0, 1, 36)], drums=True))
    for _ in range(data.draw(st.integers(1, 8))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(contents)))
    try:
        assert read_midi(bytes(contents[:cut])).n_notes > 0
    except MidiError as error:
        assert error.reason in {"not_midi", "truncated", "damaged", "no_notes", "too_large"}


def test_mido_and_symusic_agree_on_a_whole_file() -> None:
    from image2music.music.midi import read_with_mido

    data = midi(scale(), scale(0.5, 0.25), [(0, 1, 36), (0, 1, 42)], drums=True)
    assert mido.MidiFile(file=io.BytesIO(data)).ticks_per_beat == TICKS
    for ours, theirs in zip(read_midi(data).tracks, read_with_mido(data).tracks, strict=True):
        assert ours.onsets.tolist() == theirs.onsets.tolist()
        assert ours.durations.tolist() == theirs.durations.tolist()
        assert ours.pitches.tolist() == theirs.pitches.tolist()
