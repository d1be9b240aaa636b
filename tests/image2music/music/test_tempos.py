from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.music.grid import tempo_text, tempos_of
from image2music.music.score import TempoChange, micros_of, seconds_at, tempos_lasting
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


@given(
    tempos=st.lists(st.tuples(st.integers(0, 90), st.integers(30, 250)), max_size=6),
    end=st.integers(91, 400),
    seconds=st.floats(5, 300),
)
def test_tempos_can_be_made_to_last_a_time_to_the_microsecond(
    tempos: list[tuple[int, int]], end: int, seconds: float
) -> None:
    """The oracle counts as a MIDI player does: whole microseconds a quarter, so many ticks each."""
    given_tempos = tuple(TempoChange(480 * beat, float(qpm)) for beat, qpm in sorted(dict(tempos).items()))
    made = tempos_lasting(given_tempos, 480 * end, seconds, 480)
    stops = [*(change.tick for change in made[1:]), 480 * end]
    micros = sum(micros_of(c.qpm) * (stop - c.tick) / 480 for c, stop in zip(made, stops, strict=True))
    assert micros == pytest.approx(seconds * 1e6, abs=0.6)
    assert len(made) <= len([one for one in given_tempos if one.tick]) + 2
