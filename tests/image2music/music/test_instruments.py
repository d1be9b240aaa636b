"""General MIDI's instruments: every program has a range that a plan can trust."""

import pytest

from image2music.music.instruments import INSTRUMENT_KINDS, instrument_named, instrument_of

ALL = [instrument_of(program) for program in range(128)]


def test_every_program_has_an_instrument_with_a_name_of_its_own():
    assert [one.program for one in ALL] == list(range(128))
    assert len({one.name for one in ALL}) == 128
    assert {one.kind for one in ALL} == set(INSTRUMENT_KINDS)


def test_what_is_comfortable_lies_in_what_is_possible_and_is_an_octave_at_least():
    for one in ALL:
        assert 0 <= one.lowest <= one.comfortable_low < one.comfortable_high <= one.highest <= 127, one
        assert one.comfortable_high - one.comfortable_low >= 12 or one.kind == "struck", one


@pytest.mark.parametrize(
    ("program", "name", "lowest", "chords", "sustains"),
    [
        (0, "Acoustic Grand Piano", 21, 10, False),
        (40, "Violin", 55, 2, True),
        (42, "Cello", 36, 2, True),
        (46, "Orchestral Harp", 23, 8, False),
        (73, "Flute", 59, 1, True),
        (127, "Gunshot", 36, 1, False),
    ],
)
def test_well_known_ones(program, name, lowest, chords, sustains):
    one = instrument_of(program)
    assert (one.name, one.lowest, one.chords, one.sustains) == (name, lowest, chords, sustains)


def test_instruments_are_found_by_name():
    assert instrument_named(" english  HORN ") == instrument_of(69)
    assert instrument_named("Theremin") is None


@pytest.mark.parametrize("program", [-1, 128])
def test_there_are_128_programs(program):
    with pytest.raises(IndexError):
        instrument_of(program)
