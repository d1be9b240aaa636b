from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.music.grid import QUARTER, TempoMark, seconds_at_tick, tempo_text, tempos_of
from tests.image2music.music.midi_making import scale, score, track

TUNE = track(scale())


def test_a_score_without_tempo_goes_at_120() -> None:
    assert tempos_of(score(TUNE)) == (TempoMark(0, 120.0),)


def test_changes_too_small_to_hear_are_left_out() -> None:
    slower = score(TUNE, tempos=[(0, 100), (1, 100.4), (2, 99.7), (3, 90)])
    assert tempos_of(slower) == (TempoMark(0, 100), TempoMark(3 * QUARTER, 90))


def test_of_tempos_at_one_place_the_last_counts() -> None:
    assert tempos_of(score(TUNE, tempos=[(0, 100), (0, 90)])) == (TempoMark(0, 90),)


def test_a_second_passes_in_two_quarters_at_120_and_one_at_60() -> None:
    tempos = (TempoMark(0, 120), TempoMark(2 * QUARTER, 60))
    assert seconds_at_tick(3 * QUARTER, tempos) == pytest.approx(2.0)


@given(st.floats(5, 1000))
def test_the_written_tempo_is_within_one_per_cent(qpm: float) -> None:
    note, beats = tempo_text(qpm).split("=")
    assert int(beats) * 4 / int(note.removeprefix("1/")) == pytest.approx(qpm, rel=0.0101)
