from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.checker import check
from image2music.abc.writer.excerpt import excerpt_abc
from image2music.errors import ConfigError, MidiError
from image2music.music.score import Score
from tests.image2music.music.midi_making import Note, midi, scale, score, track

RIFF = (60, 64, 67, 64)


def song(bars: int = 40, intro: int = 6) -> Score:
    """Silence, then the same riff in every bar over a bass, with drums."""
    tune = [(4.0 * bar + at, 1.0, RIFF[at] + 12) for bar in range(intro, bars) for at in range(4)]
    bass = [(4.0 * bar, 4.0, 36) for bar in range(intro, bars)]
    drums = [(4.0 * bar + at, 0.5, 42) for bar in range(bars) for at in range(4)]
    return score(track(tune), track(bass, program=32, channel=1), track(drums, channel=9))


def test_the_silent_introduction_is_passed_over() -> None:
    tune = excerpt_abc(song(), title="Song")
    assert tune.bars == 16
    assert "c2 e2 g2 e2 | c2 e2 g2 e2 |" in tune.abc
    assert "z8 | z8" not in tune.abc


def test_the_passage_most_like_the_rest_is_chosen() -> None:
    strange = [(float(at), 1.0, 61 + at % 2 * 6) for at in range(32)]
    usual = [(32.0 + at, 1.0, RIFF[at % 4]) for at in range(128)]
    tune = excerpt_abc(score(track(strange + usual)), max_bars=8)
    assert tune.n_notes == 32
    assert "^" not in tune.abc.split("K:")[1]


def test_limits_hold_and_drums_go_first() -> None:
    tune = excerpt_abc(song(), max_bars=12, max_voices=2, max_chars=700)
    assert (tune.bars <= 12, tune.voices, len(tune.abc) <= 700) == (True, 2, True)
    assert "clef=perc" not in tune.abc
    assert "clef=bass" in tune.abc


def test_a_part_that_doubles_another_is_left_out() -> None:
    tune, third = scale(n=64), [(onset, length, pitch - 3) for onset, length, pitch in scale(n=64)]
    octave = [(onset, length, pitch - 12) for onset, length, pitch in tune]
    excerpt = excerpt_abc(score(track(tune), track(third, channel=1), track(octave, channel=2)), max_chars=3000)
    assert excerpt.voices == 2
    assert excerpt.n_notes == 2 * len(tune)


def test_a_note_held_beyond_the_end_is_not_tied_to_nothing() -> None:
    tune = excerpt_abc(score(track([(0, 40, 60), *scale(start=40, n=40)])), max_bars=8)
    assert not tune.abc.rstrip().removesuffix("|]").rstrip().endswith("-")
    assert [str(found) for found in check(tune.abc)] == []


def test_what_is_said_about_the_tune_is_about_the_excerpt() -> None:
    tune = excerpt_abc(score(track(scale(n=200)), tempos=[(0, 120), (40, 60)]), max_bars=8)
    assert tune.n_notes == 32
    assert tune.duration_s == pytest.approx(32 * 60 / tune.tempo_qpm)


def test_a_short_file_is_its_own_excerpt() -> None:
    assert excerpt_abc(midi(scale(n=8))).bars == 2


def test_a_crowded_bar_is_thinned_until_it_fits() -> None:
    crowd = [(at / 16, 0.05, 30 + (at * 7 + layer * 11) % 60) for at in range(64 * 4) for layer in range(6)]
    tune = excerpt_abc(score(track(crowd)), max_chars=400)
    assert len(tune.abc) <= 400
    assert tune.n_notes > 0


def test_a_last_note_just_before_a_bar_line_is_not_lost() -> None:
    assert excerpt_abc(score(track([(3.875, 0.0, 60)]))).n_notes == 1


@pytest.mark.parametrize("limits", [{"max_bars": 0}, {"max_voices": 0}, {"max_chars": 50}])
def test_limits_that_nothing_fits_in_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigError) as caught:
        excerpt_abc(midi(scale()), **limits)
    assert caught.value.reason == "bad_excerpt"


def test_a_file_without_notes_says_so() -> None:
    with pytest.raises(MidiError) as caught:
        excerpt_abc(midi([]))
    assert caught.value.reason == "no_notes"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 99), st.floats(0, 6), st.integers(30, 90)), min_size=1, max_size=80),
    st.lists(st.tuples(st.floats(0, 99), st.floats(0, 6), st.integers(30, 90)), max_size=80),
    st.integers(1, 20),
    st.integers(1, 5),
)
def test_every_excerpt_is_sound_and_within_its_limits(one: list[Note], two: list[Note], bars: int, voices: int) -> None:
    tune = excerpt_abc(score(track(one), track(two, channel=9)), max_bars=bars, max_voices=voices)
    assert tune.bars <= bars
    assert tune.voices <= voices
    assert len(tune.abc) <= 1500
    assert [str(found) for found in check(tune.abc)] == []


@pytest.mark.parametrize("pickup", [1.0, 3.0])
def test_an_excerpt_of_a_tune_with_a_pickup_has_no_torn_bars(pickup: float) -> None:
    tune = [(0.0, pickup, 67)] + [
        (pickup + 4 * bar + at, 1.0 + (at == 0), 72 - bar % 3) for bar in range(20) for at in (0, 2, 3)
    ]
    bass = [(pickup + 4.0 * bar, 4.0, 48) for bar in range(20)]
    for max_bars in (6, 16, 40):
        excerpt = excerpt_abc(score(track(tune), track(bass, channel=1)), max_bars=max_bars)
        assert [str(found) for found in check(excerpt.abc)] == []
