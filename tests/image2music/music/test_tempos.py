from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.music.grid import tempo_text, tempos_of
from image2music.music.score import TempoChange, seconds_at
from image2music.music.theory import GRID_QUARTER, tempo_word
from tests.image2music.music.midi_making import scale, score, track

TUNE = track(scale())


def test_a_score_without_tempo_goes_at_120() -> None:
    assert tempos_of(score(TUNE)) == (TempoChange(0, 120.0),)


def test_changes_too_small_to_hear_are_left_out() -> None:
    slower = score(TUNE, tempos=[(0, 100), (1, 100.4), (2, 99.7), (3, 90)])
    assert tempos_of(slower) == (TempoChange(0, 100), TempoChange(3 * GRID_QUARTER, 90))


def test_of_tempos_at_one_place_the_last_counts() -> None:
    assert tempos_of(score(TUNE, tempos=[(0, 100), (0, 90)])) == (TempoChange(0, 90),)


def test_a_second_passes_in_two_quarters_at_120_and_one_at_60() -> None:
    tempos = (TempoChange(0, 120), TempoChange(2 * GRID_QUARTER, 60))
    assert seconds_at(3, tempos, GRID_QUARTER) == pytest.approx(2.0)


def test_before_the_first_tempo_it_is_120() -> None:
    assert seconds_at(3, (), GRID_QUARTER) == pytest.approx(1.5)
    assert seconds_at(3, (TempoChange(GRID_QUARTER, 60),), GRID_QUARTER) == pytest.approx(2.5)


def test_tempos_have_three_words() -> None:
    assert [tempo_word(qpm) for qpm in (79.9, 80, 119.9, 120)] == ["slow", "moderate", "moderate", "fast"]


@given(st.floats(5, 1000))
def test_the_written_tempo_is_within_one_per_cent(qpm: float) -> None:
    note, beats = tempo_text(qpm).split("=")
    assert int(beats) * 4 / int(note.removeprefix("1/")) == pytest.approx(qpm, rel=0.0101)
