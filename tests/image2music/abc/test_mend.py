from __future__ import annotations

import json

import pytest

from benchmarks.generated_tunes import sample_tune
from image2music.abc.autofix.rules import MAX_MODEL_CHARS, autofix, autofix_file
from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.playback import abc_to_score
from image2music.errors import AbcError

HEADER = "X:1\nT:t\nM:4/4\nL:1/8\nK:C\n"
MUSIC = "CDEF GABc | c8 |]\n"


def mended(text: str) -> str:
    return autofix(text).abc


def codes(text: str) -> list[str]:
    return [finding.code for finding in autofix(text).diagnostics]


@pytest.mark.parametrize("seed", range(10))
def test_a_right_tune_comes_back_as_it_is(seed: int) -> None:
    abc = sample_tune(seed).abc()
    assert autofix(abc).abc == abc
    assert autofix(abc).diagnostics == ()


@pytest.mark.parametrize(
    "text",
    [
        f"```abc\n{HEADER}{MUSIC}```\n",
        f"Here is your tune:\n\n{HEADER}{MUSIC}\nI hope that you like this very much!\n",
        f"Here it is:\n```\n{HEADER}{MUSIC}```\nIt is in C major.\n",
        json.dumps({"abc": HEADER + MUSIC, "explanation": "calm"}),
        (HEADER + MUSIC).replace("\n", "\\n"),
        (HEADER + MUSIC).replace("\n", "\r\n"),
        HEADER + HEADER + MUSIC,
    ],
)
def test_what_stands_around_a_tune_is_taken_away(text: str) -> None:
    assert mended(text) == HEADER + MUSIC


def test_of_several_tunes_the_longest_is_kept() -> None:
    result = autofix(HEADER + "C8 |]\n\n" + HEADER.replace("X:1", "X:2") + MUSIC)
    assert result.abc == HEADER.replace("X:1", "X:2") + MUSIC
    assert [finding.code for finding in result.diagnostics] == ["mended-choice"]


def test_of_equals_the_first_is_kept() -> None:
    assert mended(HEADER + MUSIC + "\n" + HEADER.replace("X:1", "X:2") + MUSIC) == HEADER + MUSIC


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("T:t\nM:4/4\nL:1/8\nK:C\n", HEADER),
        ("X:1\nT:t\nM:4/4\nL:1/8\n", HEADER),
        ("X:1\nT:t\nL:1/8\nK:C\n", "X:1\nT:t\nL:1/8\nM:4/4\nK:C\n"),
        ("x:1\nt:t\nm:4/4\nl:1/8\nk:C\n", HEADER),
        ("X:1\nT:t\nM:4/4\nL:1/8\nK:H dur\n", HEADER),
        ("X:1\nT:t\nM:4/4\nL:1/0\nK:C\n", "X:1\nT:t\nM:4/4\nL:1/8\nK:C\n"),
        ("**X:** 1\n**T:** t\nM:4/4\nL:1/8\nK:C\n", HEADER),
    ],
)
def test_headers_are_brought_into_form(header: str, expected: str) -> None:
    assert mended(header + MUSIC) == expected + MUSIC


@pytest.mark.parametrize(
    ("field", "expected"),
    [("K:A minor", "K:Am"), ("K:B♭", "K:Bb"), ("K:a min", "K:Am"), ("K:F# major", "K:F#"), ("K:D dorian", "K:D dorian"),
     ("Q:Allegro", "Q:1/4=132"), ("Q:about 90 bpm", "Q:1/4=90"), ("M:4-4", "M:4/4"), ("M:common time", "M:4/4")],
)  # fmt: skip
def test_values_for_people_become_values_for_abc(field: str, expected: str) -> None:
    broken = HEADER.replace("T:t\n", f"T:t\n{field}\n" if field[0] == "Q" else "T:t\n")
    broken = broken.replace("K:C", field) if field[0] == "K" else broken
    broken = broken.replace("M:4/4", field) if field[0] == "M" else broken
    assert expected in mended(broken + MUSIC + "? c8 |]\n").split("\n")


@pytest.mark.parametrize(
    ("music", "expected"),
    [
        ("C♯D♭EF GABc | c8 |]\n", "^C_DEF GABc | c8 |]\n"),
        ("C#DEF GABc | c8 |]\n", "^CDEF GABc | c8 |]\n"),
        ("[CEG c2B2 A2 | A8 |]\n", "[CEG] c2B2 A2 z | A8 |]\n"),
        ('"Am CDEF GABc | c8 |]\n', '"Am" CDEF GABc | c8 |]\n'),
        ("!f CDEF GABc | c8 |]\n", "!f! CDEF GABc | c8 |]\n"),
        ("CDEF GABc (play softly) | c8 |]\n", "CDEF GABc  | c8 |]\n"),
        ("CDEF GABc |\n\nc8 |]\n", "CDEF GABc |\nc8 |]\n"),
        ("**CDEF** GABc | c8 |]\n", "CDEF GABc | c8 |]\n"),
        ("CDEF GABc | c6", "CDEF GABc | c6 z2  |]\n"),
        ("CDEF GABc | c8 | CD", "CDEF GABc | c8 | CD z6  |]\n"),
        ("CDEF GAB | c8 | c8 |]\n", "CDEF GAB z | c8 | c8 |]\n"),
        ("CDEF GABc2 | c8 | c8 |]\n", "CDEF GABc | c8 | c8 |]\n"),
        ("CDEF GABc z2 | c8 | c8 |]\n", "CDEF GABc  | c8 | c8 |]\n"),
    ],
)
def test_slips_in_the_music_are_mended(music: str, expected: str) -> None:
    assert mended(HEADER + music).split() == (HEADER + expected).split()
    assert [f for f in check(mended(HEADER + music)) if f.severity is Severity.ERROR] == []


def test_a_meter_that_no_bar_follows_is_replaced_by_theirs() -> None:
    result = autofix(HEADER.replace("4/4", "6/4") + "C3/2 A3/2 | D3/2 G3/2 | A3/2 D3/2 | E3/2 A3/2 |]\n")
    assert "M:3/8" in result.abc
    assert [finding.code for finding in result.diagnostics] == ["mended-meter"]


def test_a_voice_that_ends_early_is_filled_up_with_rests() -> None:
    assert mended(HEADER + "V:1\nc8 | d8 | e8 |]\nV:2\nC8 |]\n").endswith("C8 |] z8 | z8 |\n")


@pytest.mark.parametrize(
    "music",
    [
        "CDEF GABc d2 | c8 | c8 |]\n",  # which note is too much?
        "c8 | CD | c8 | c8 |]\n",  # more than half a bar is missing
        "C0 DEF GABc | c8 |]\n",
        "CDEF GA (3ABc B | c8 | c8 |]\n",  # the last note is too short to give up what is too much
        "c8 | [c9e9] | c8 | c8 |]\n",  # the length stands inside the chord
        "c8 | c7 d>e | c8 | c8 |]\n",  # the last note's length comes from the rhythm
        "CDEF GAB | c7 | c7 | c6 | c8 |]\n",  # too many wrong bars for slips
    ],
)
def test_what_has_no_clear_meaning_is_left_to_the_checker(music: str) -> None:
    assert [f for f in check(mended(HEADER + music)) if f.severity is Severity.ERROR] != []


def test_every_mend_is_told_with_its_place() -> None:
    (finding,) = autofix(HEADER + "c8 | CDEF GAB | c8 | c8 |]\n").diagnostics
    assert (finding.code, finding.line, finding.column, finding.bar) == ("mended-bar", 6, 6, 2)
    assert finding.severity is Severity.INFO


def test_mending_keeps_every_note() -> None:
    for seed in range(10):
        abc = sample_tune(seed).abc().replace("X:1\n", "").replace(" |]", "").replace(" :|", "")
        assert abc_to_score(mended(abc)).n_notes == abc_to_score(abc).n_notes


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no_music"), ("no tune today", "no_music"), ("C" * (MAX_MODEL_CHARS + 1), "text_too_long")],
)
def test_what_is_no_tune_is_refused(text: str, reason: str) -> None:
    with pytest.raises(AbcError) as raised:
        autofix(text)
    assert raised.value.reason == reason


def test_a_file_keeps_all_its_tunes() -> None:
    result = autofix_file(HEADER + "CDEF GAB | c8 | c8 |]\n\n" + HEADER.replace("X:1", "X:2") + MUSIC)
    assert result.abc == HEADER + "CDEF GAB z | c8 | c8 |]\n\n" + HEADER.replace("X:1", "X:2") + MUSIC


@pytest.mark.parametrize(
    ("music", "kept"),
    [("(C D hold F)|C D E F|]", "(C D hold F)"), ('C D E F|G A"Bc', "GABc"), ("C D E F (softly)|]", "C D E F")],
)
def test_no_repair_deletes_what_may_be_notes(music: str, kept: str) -> None:
    assert kept.replace(" ", "") in autofix(f"X:1\nM:4/4\nL:1/4\nK:C\n{music}\n").abc.replace(" ", "")
