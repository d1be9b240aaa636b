from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.generated_midicaps import DataSet, generate, more_lines
from benchmarks.midi_variants import original
from image2music.index.maintenance import parse_caption_line
from image2music.music.midi import read_midi
from tests.image2music.music.midi_making import midi, scale

FIELDS = {
    "location", "caption", "genre", "genre_prob", "mood", "mood_prob", "key", "time_signature", "tempo", "tempo_word",
    "duration", "duration_word", "chord_summary", "chord_summary_occurence", "instrument_summary",
    "instrument_numbers_sorted", "all_chords", "all_chords_timestamps", "test_set",
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> DataSet:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "a.mid").write_bytes(midi(scale()))
    (folder / "b.mid").write_bytes(midi(scale(n=5)))
    return generate(folder, 30, tmp_path / "bench")


@settings(deadline=None)
@given(semitones=st.integers(-60, 67), slower=st.floats(0.5, 2.0))
def test_a_variant_has_the_same_notes_in_another_key_and_tempo(semitones: int, slower: float) -> None:
    data = midi(scale())
    before, after = read_midi(data), read_midi(original(data).variant(semitones, slower))
    (old,), (new,) = before.tracks, after.tracks
    moved = set((new.pitches - old.pitches).tolist())
    assert moved == {min(max(semitones, -int(old.pitches.min())), 127 - int(old.pitches.max()))}
    assert np.array_equal(new.onsets, old.onsets)
    assert after.tempos[0].qpm == pytest.approx(120 / slower, rel=1e-3)


def test_what_is_no_midi_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a standard MIDI file"):
        original(b"not at all")


def test_every_row_has_a_file_of_its_own_and_all_fields(made: DataSet) -> None:
    rows = [json.loads(line) for line in made.lines()]
    assert len(rows) == made.rows == 30
    assert len({(made.midi / row["location"]).read_bytes() for row in rows}) == 30
    assert all(set(row) == FIELDS for row in rows)
    assert {parse_caption_line(line).location for line in made.lines()} == {row["location"] for row in rows}


def test_rows_are_the_same_in_a_data_set_of_any_size(made: DataSet, tmp_path: Path) -> None:
    larger = generate(tmp_path / "real", 40, tmp_path / "elsewhere")
    assert larger.lines()[:30] == made.lines()
    assert more_lines(tmp_path / "real", made, range(30, 40)) == larger.lines()[30:]


def test_what_is_there_is_not_made_again(made: DataSet, tmp_path: Path) -> None:
    made.captions.write_text("kept")
    assert generate(tmp_path / "real", 30, tmp_path / "bench").lines() == ["kept"]
