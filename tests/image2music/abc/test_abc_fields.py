from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.fields import names_key, read_key, read_meter, read_tempo, read_unit, read_voice_settings
from image2music.abc.lexer import read_bar_line, read_ending, read_tuplet
from image2music.abc.parser import parse
from image2music.abc.playback import abc_to_score
from image2music.music.theory import as_fraction


@pytest.mark.parametrize(
    ("text", "shown", "length"),
    [("4/4", "4/4", 1), ("C", "4/4", 1), ("C|", "2/2", 1), ("6/8", "6/8", Fraction(3, 4)),
     ("(2+3)/8", "5/8", Fraction(5, 8)), ("2+2+3/8", "7/8", Fraction(7, 8))],
)  # fmt: skip
def test_meters(text: str, shown: str, length: Fraction) -> None:
    meter = read_meter(text)
    assert meter is not None and meter.length is not None
    assert (str(meter), as_fraction(meter.length)) == (shown, length)


@pytest.mark.parametrize("text", ["4/0", "0/4", "4/3", "x", "4", "1000/4", "-3/4"])
def test_what_is_no_meter(text: str) -> None:
    assert read_meter(text) is None


def test_free_meter_has_no_bar_length() -> None:
    meter = read_meter("none")
    assert meter is not None and meter.length is None


@pytest.mark.parametrize(("text", "unit"), [("1/8", Fraction(1, 8)), ("1 / 16", Fraction(1, 16)), ("1", 1)])
def test_unit_lengths(text: str, unit: Fraction) -> None:
    found = read_unit(text)
    assert found is not None and as_fraction(found) == unit


@pytest.mark.parametrize("text", ["1/0", "0/8", "1/7", "8", ""])
def test_what_is_no_unit_length(text: str) -> None:
    assert read_unit(text) is None


@pytest.mark.parametrize(
    ("text", "qpm"),
    [("1/4=120", 120), ("120", 120), ("3/8=60", 90), ('"Slow" 1/4 = 40', 40), ("1/4 3/8=30", 75), ("C3=40", 60)],
)
def test_tempos_in_quarters_a_minute(text: str, qpm: float) -> None:
    tempo = read_tempo(text)
    assert tempo is not None and tempo.qpm == qpm


@pytest.mark.parametrize("text", ["1/4=0", "1/0=60", "1/4=99999", "fast", "1/4"])
def test_what_is_no_tempo(text: str) -> None:
    assert read_tempo(text) is None


@pytest.mark.parametrize(
    ("text", "sharps", "minor"),
    [("C", 0, False), ("Am", 0, True), ("A minor", 0, True), ("Bb", -2, False), ("F#m", 3, True), ("D dor", 0, False),
     ("Edorian", 2, False), ("G mixolydian", 0, False), ("Aphr", -1, False), ("Eb lyd", -2, False), ("HP", 2, False),
     ("D clef=bass", 2, False), ("G treble-8", 1, False), ("C#", 7, False), ("none", 0, False)],
)  # fmt: skip
def test_keys(text: str, sharps: int, minor: bool) -> None:
    key = read_key(text)
    assert key is not None
    assert (key.sharps, key.minor) == (sharps, minor)


def test_single_accidentals_change_a_key() -> None:
    assert read_key("D phr ^f").alterations == (0, 0, -1, 1, 0, 0, -1)
    assert read_key("D exp _b ^f").alterations == (0, 0, 0, 1, 0, 0, -1)
    assert read_key("C^f^c").alterations == (1, 0, 0, 1, 0, 0, 0)


@pytest.mark.parametrize("text", ["H dur", "G# major", "C blue", "?", "minor"])
def test_what_is_no_key(text: str) -> None:
    assert read_key(text) is None


def test_a_clef_alone_names_no_key() -> None:
    assert [names_key(text) for text in ("clef=bass", "bass", "treble-8 octave=1", "C", "Am bass")] == [
        False, False, False, True, True,
    ]  # fmt: skip


def test_voice_settings() -> None:
    settings = read_voice_settings('clef=treble-8 octave=1 transpose=2 name="Flute"')
    assert (settings.transpose, settings.percussion, settings.name) == (2, False, "Flute")
    assert read_voice_settings("clef=perc").percussion


@pytest.mark.parametrize(
    ("text", "repeats", "opens", "section", "ending"),
    [("|", 0, False, False, ""), ("||", 0, False, True, ""), ("|]", 0, False, True, ""), ("|:", 0, True, True, ""),
     (":|", 1, False, True, ""), ("::", 1, True, True, ""), (":||:", 1, True, True, ""), ("::|", 2, False, True, ""),
     (":|2,4", 1, False, True, "2,4"), ("|1", 0, False, True, "1"), (".|", 0, False, False, "")],
)  # fmt: skip
def test_bar_lines(text: str, repeats: int, opens: bool, section: bool, ending: str) -> None:
    assert read_bar_line(text) == (repeats, opens, section, ending)


@pytest.mark.parametrize(
    ("text", "passes"), [("1", (1,)), ("1,3", (1, 3)), ("1-3", (1, 2, 3)), ("2.", (2,)), ("99", ())]
)
def test_endings(text: str, passes: tuple[int, ...]) -> None:
    assert read_ending(text)[0] == passes


@pytest.mark.parametrize(
    ("text", "compound", "numbers"),
    [("(3", False, (3, 2, 3)), ("(2", False, (2, 3, 2)), ("(5", False, (5, 2, 5)), ("(5", True, (5, 3, 5)),
     ("(3:2:2", False, (3, 2, 2)), ("(3::2", False, (3, 2, 2)), ("(9:0:3", False, None), ("(9999", False, None)],
)  # fmt: skip
def test_tuplets(text: str, compound: bool, numbers: tuple[int, int, int] | None) -> None:
    assert read_tuplet(text, compound) == numbers


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_meter, read_unit, read_tempo, read_key, read_voice_settings):
        read(text)


@pytest.mark.parametrize(("unit", "qpm"), [("1/4", 120), ("1/8", 60), ("1/16", 30)])
@pytest.mark.parametrize("header", ["L:{}\nQ:C=120\n", "Q:C=120\nL:{}\n", "Q:1/4=99\nL:{}\nQ:C=120\n"])
def test_an_old_tempo_counts_unit_lengths(header: str, unit: str, qpm: float) -> None:
    (tune,) = parse(f"X:1\nM:4/4\n{header.format(unit)}K:C\nC4|]\n").tunes
    assert tune.tempo is not None and tune.tempo.qpm == qpm


def test_an_old_tempo_in_the_music_counts_the_unit_lengths_there() -> None:
    score = abc_to_score("X:1\nM:4/4\nL:1/4\nK:C\nC4|[Q:C=120]C4|[L:1/8][Q:C3=40]C8|]\n")
    assert [tempo.qpm for tempo in score.tempos] == [120, 60]


@pytest.mark.parametrize(
    ("key", "pitches"),
    [
        ("D =c", [72, 74, 76, 78]),
        ("D maj =c", [72, 74, 76, 78]),
        ("D=c", [72, 74, 76, 78]),
        ("Bb =e", [72, 74, 76, 77]),
        ("D =c =f", [72, 74, 76, 77]),
        ("D =c clef=bass-8", [60, 62, 64, 66]),
        ("C clef = bass", [72, 74, 76, 77]),
    ],
)
def test_naturals_of_a_key_are_no_properties(key: str, pitches: list[int]) -> None:
    assert abc_to_score(f"X:1\nM:4/4\nL:1/4\nK:{key}\nc d e f|]\n").tracks[0].pitches.tolist() == pitches
    inline = abc_to_score(f"X:1\nM:4/4\nL:1/4\nK:F#\n[K:{key}]c d e f|]\n").tracks[0].pitches.tolist()
    assert inline == pitches
