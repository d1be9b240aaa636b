"""How lengths are written: values, ties, brackets and beams."""

from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.music.rhythm import (
    WrittenValue,
    beams,
    beats_of_meter,
    note_value,
    tuplet_brackets,
    written_pieces,
)
from image2music.music.theory import FREE_METER, Meter, of_whole


def signs(text):
    """Signs one behind the other: `1/8` is a note, `z1/8` a rest."""
    lengths = [Fraction(word.removeprefix("z")) for word in text.split()]
    onsets = [Fraction(0), *accumulate(lengths)]
    return [
        WrittenValue(onset, length, note_value(of_whole(length.numerator, length.denominator)), word.startswith("z"))
        for word, onset, length in zip(text.split(), onsets, lengths, strict=False)
    ]


def beamed(text, meter):
    """The first beam of each sign, a letter for each: begin, continue, end; a dot where there is none."""
    numerator, _, denominator = meter.partition("/")
    return "".join(
        found[0][0] if found else "." for found in beams(signs(text), Meter.of(int(numerator), int(denominator)))
    )


@pytest.mark.parametrize(
    ("meter", "text", "letters"),
    [
        ("4/4", "1/8 " * 8, "bccebcce"),
        ("4/4", "1/8 1/8 1/16 1/16 1/8 1/4 1/8 1/8", "bebce.be"),
        ("4/4", "1/8 1/4 1/8 1/8 1/4 1/8", "......"),
        ("4/4", "z1/8 1/8 1/8 1/8 1/2", ".bce."),
        ("2/4", "1/8 1/8 1/8 1/8", "bcce"),
        ("3/4", "1/8 1/8 1/8 1/8 1/8 1/8", "bcccce"),
        ("3/4", "1/4 1/8 1/8 1/8 1/8", ".bebe"),
        ("6/8", "1/8 1/8 1/8 1/8 1/8 1/8", "bcebce"),
        ("6/8", "1/4 1/8 1/8 1/4", "...."),
        ("3/8", "1/8 1/8 1/8", "bce"),
        ("5/8", "1/8 1/8 1/8 1/8 1/8", "bcebe"),
        ("7/8", "1/8 " * 7, "bebebce"),
        ("4/4", "1/12 1/12 1/12 1/8 1/8 1/2", "bcebe."),
        ("4/4", "3/16 1/16 1/4 1/2", "be.."),
    ],
)
def test_beams_show_the_beats(meter, text, letters):
    assert beamed(text, meter) == letters


def test_a_lone_short_note_has_a_hook_on_the_side_of_its_beat():
    assert [found[1:] for found in beams(signs("3/16 1/16 1/16 3/16"), Meter.of(4, 4))] == [
        (), ("backward hook",), ("forward hook",), (),
    ]  # fmt: skip


def test_a_pickup_is_beamed_as_the_end_of_a_full_bar():
    pickup = [WrittenValue(sign.onset + Fraction(3, 4), sign.length, sign.value) for sign in signs("1/16 1/16 1/8")]
    assert [found[0] for found in beams(pickup, Meter.of(4, 4))] == ["begin", "continue", "end"]
    late = [WrittenValue(sign.onset + Fraction(5, 8), sign.length, sign.value) for sign in signs("1/16 1/16 1/8 1/8")]
    assert [found[0] for found in beams(late, Meter.of(4, 4))] == ["begin", "end", "begin", "end"]


SHORT = st.sampled_from([Fraction(1, n) for n in (4, 8, 8, 8, 16, 16, 32, 12, 24)] + [Fraction(3, 16), Fraction(3, 8)])
METERS = st.sampled_from([(4, 4), (3, 4), (2, 4), (6, 8), (9, 8), (5, 8), (7, 8), (2, 2), (3, 8)])


@given(st.lists(st.tuples(SHORT, st.booleans()), max_size=12), METERS)
def test_beams_of_every_level_open_and_close_and_none_crosses_a_rest(notes, meter):
    written = signs(" ".join(f"{'z' if is_rest else ''}{length}" for length, is_rest in notes))
    found = beams(written, Meter.of(*meter))
    for sign, words in zip(written, found, strict=True):
        assert len(words) in (0, sign.value.flags)
        assert not (sign.is_rest and words)
    for level in range(5):
        is_open = False
        for words in found:
            word = words[level] if level < len(words) else None
            assert is_open == (word in ("continue", "end"))
            is_open = word in ("begin", "continue")
        assert not is_open


@given(METERS)
def test_beats_fill_the_bar(meter):
    assert sum(beats_of_meter(Meter.of(*meter))) == Fraction(*meter)
    assert beats_of_meter(FREE_METER) == (Fraction(1, 4),)


@given(st.integers(1, 256), st.sampled_from([64, 48, 96, 40]), st.booleans())
def test_pieces_add_up_to_the_length_and_each_has_a_value(numerator, denominator, long_first):
    length = Fraction(numerator, denominator)
    pieces = written_pieces(length, long_first=long_first)
    assert sum(pieces) == length
    assert len(pieces) == 1 or all(note_value(of_whole(piece.numerator, piece.denominator)) for piece in pieces)


def test_a_length_that_no_note_has_is_written_with_its_long_note_on_the_beat():
    assert written_pieces(Fraction(5, 8), long_first=True) == (Fraction(1, 2), Fraction(1, 8))
    assert written_pieces(Fraction(5, 8), long_first=False) == (Fraction(1, 8), Fraction(1, 2))


@pytest.mark.parametrize(
    ("text", "brackets"),
    [
        ("1/12 1/12 1/12 1/4", "(.)."),
        ("1/6 1/12 1/12 1/12 1/12", "()(.)"),
        ("1/12 z1/12 1/12", "(.)"),
        ("1/20 1/20 1/20 1/20 1/20 1/12 1/12 1/12", "(...)(.)"),
        ("1/12 1/12 1/8", "()."),
    ],
)
def test_a_bracket_holds_one_tuplet(text, brackets):
    marks = ["(" if begins else ")" if ends else "." for begins, ends in tuplet_brackets(signs(text))]
    assert "".join(marks) == brackets
