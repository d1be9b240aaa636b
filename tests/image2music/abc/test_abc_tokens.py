from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.lexer import KINDS, MUSIC, TOKENS, read_grace, read_note, read_note_group, read_rest
from image2music.music.theory import WHOLE, as_fraction, scaled, spoken


def kinds(line: str) -> list[str]:
    return [KINDS[match.lastindex] for match in MUSIC.finditer(line) if match.lastindex]


def test_a_line_is_cut_into_notes_bars_and_the_rest() -> None:
    line = '|: "Am"[CEG]2 ^c\'/2> d (3abc {g}z !trill!.e- | (f_g) :|2 [V:2] & y $ % end'
    assert kinds(line) == [
        "bar", "string", "chord", "note", "broken", "note", "tuplet", "note", "note", "note", "grace", "rest",
        "decoration", "decoration", "note", "tie", "bar", "slur_open", "note", "note", "slur_close", "bar", "field",
        "overlay", "spacer", "spacer", "comment",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "step", "octave", "accidental", "length"),
    [
        ("C", 0, 4, None, Fraction(1)),
        ("c'", 0, 6, None, Fraction(1)),
        ("^f3/2", 3, 5, 1, Fraction(3, 2)),
        ("__B,,/", 6, 2, -2, Fraction(1, 2)),
        ("=e//", 2, 5, 0, Fraction(1, 4)),
        ("A/8", 5, 4, None, Fraction(1, 8)),
    ],
)
def test_a_note_is_its_letter_octave_accidental_and_length(
    text: str, step: int, octave: int, accidental: int | None, length: Fraction
) -> None:
    note = read_note(text)
    assert (note.heads[0].step, note.heads[0].octave, note.heads[0].accidental) == (step, octave, accidental)
    assert Fraction(note.numerator, note.denominator) == length
    assert note.problem == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [("C0", "bad-length"), ("C/0", "bad-length"), ("C99999", "bad-length"), ("C4/3", "odd-divisor"),
     ("C,,,,,,,", "pitch-out-of-range"), ("^/C", "microtone")],
)  # fmt: skip
def test_an_odd_note_names_its_problem(text: str, problem: str) -> None:
    assert read_note(text).problem == problem


def test_a_chord_lasts_as_long_as_its_first_note_times_the_length_behind_it() -> None:
    chord = read_note_group("[C2E2-G2]3/2")
    assert (len(chord.heads), Fraction(chord.numerator, chord.denominator), chord.ties) == (3, 3, 0b010)


def test_a_chord_of_different_lengths_is_told() -> None:
    assert read_note_group("[C2E4]").problem == "chord-lengths-differ"


def test_a_rest_has_a_length_and_no_heads() -> None:
    rest = read_rest("z3/2")
    assert (rest.heads, rest.numerator, rest.denominator) == ((), 3, 2)


def test_grace_notes_may_be_chords_and_begin_with_a_stroke() -> None:
    notes, problem = read_grace("{/g[ac]2b/}")
    assert ([len(note.heads) for note in notes], problem) == ([1, 2, 1], "")


@given(st.integers(1, 64), st.sampled_from([1, 2, 3, 5, 7, 11, 17, 32]))
def test_lengths_are_exact_whatever_the_divisor(numerator: int, denominator: int) -> None:
    assert as_fraction(scaled(WHOLE, numerator, denominator)) == Fraction(numerator, denominator)


def test_lengths_are_spoken_in_eighths_where_they_fit() -> None:
    assert [spoken(scaled(WHOLE, n, d)) for n, d in [(5, 8), (1, 4), (3, 16)]] == ["5/8", "2/8", "3/16"]


@given(st.text(alphabet="ABCabc[]{}()|:\"!'^_=/,-<>&%.~123 zZV\\", max_size=200))
def test_every_character_of_any_line_belongs_to_one_token(line: str) -> None:
    rebuilt = "".join(match[0] for match in MUSIC.finditer(line))
    assert rebuilt.strip(" \t`") == line.strip(" \t`")


@given(st.text(alphabet="ABCabc[]{}()|:\"!'^_=/,-<>&%.~123 zZV\\", max_size=200))
def test_the_quick_expression_cuts_a_line_as_the_full_one_does(line: str) -> None:
    line = line.strip(" \t`")
    slow = [match[match.lastindex] for match in MUSIC.finditer(line) if match.lastindex]
    assert [token.rstrip(" \t`") for token in TOKENS.findall(line)] == [token.rstrip(" \t`") for token in slow]
