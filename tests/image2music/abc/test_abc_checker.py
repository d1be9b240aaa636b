from __future__ import annotations

from pathlib import Path

import pytest

from image2music.abc import diagnostics
from image2music.abc.autofix.rules import autofix
from image2music.abc.checker import check
from image2music.abc.diagnostics import CODES, Diagnostic, Severity
from image2music.abc.playback import abc_to_score

HEADER = "X:1\nT:t\nM:4/4\nL:1/8\nK:C\n"

# The tune of Figure 2 of Zhao, Jin and Zhou, "Zero-Effort Image-to-Music Generation" (ICMR 2026): its notes, which are
# facts, without the comments that the paper prints between them. Every bar holds 3/8 under M:6/4.
_A = "E3/4 A3/4 | D3/4 G3/4 | A3/4 D3/4 | E3/4 A3/4 |"
_B = "^C3/8 A3/8 F3/8 ^C3/8 | ^G3/8 E3/8 C3/8 ^G3/8 |"
FIGURE_2 = "\n".join([
    "X:1", "T: Sunset Over the Coast", "M:6/4", "L:1/4", "Q:60", "K:A minor", _A, _B,
    "A3/4 G3/4 | F3/4 E3/4 | D3/4 C3/4 | B3/4 A3/4 |", _A, _B,
    "D3/8 A3/8 D3/8 A3/8 | G3/8 D3/8 G3/8 D3/8 |", _A,
    "^C3/8 ^C3/8 ^C3/8 ^C3/8 | ^G3/8 ^G3/8 ^G3/8 ^G3/8 |", "A3/4 D3/4 | E3/4 A3/4 |", _A, "",
])  # fmt: skip


def found(music: str, header: str = HEADER) -> list[Diagnostic]:
    return check(header + music)


def codes(music: str, header: str = HEADER) -> list[str]:
    return [finding.code for finding in found(music, header)]


def test_a_right_tune_has_no_findings() -> None:
    assert found('|: "C"CDEF GABc | (3cde !f!f2 [CEG]4 :|\n') == []


def test_a_short_bar_says_what_it_holds_what_is_asked_and_how_to_mend_it() -> None:
    (finding,) = found("CDEF GABc | CDEF G | c8 |]\n")
    assert (finding.line, finding.column, finding.voice, finding.bar) == (6, 13, "1", 2)
    assert finding.severity is Severity.ERROR
    assert str(finding) == (
        "6:13: error bar-too-short bar 2 of voice 1 holds 5/8 of 4/4: 3/8 too short, add notes or rests, such as z3 "
        "at its end"
    )


def test_a_long_bar_is_an_error_in_its_voice() -> None:
    (finding,) = found("V:high\nc8 | d8 | e8 |]\nV:low\nC8 | D8 z | z7 |]\n")[:1]
    assert (finding.code, finding.voice, finding.bar) == ("bar-too-long", "low", 2)


def test_figure_2_of_the_paper_has_thirty_wrong_bars_and_still_plays() -> None:
    wrong = [code for code in (finding.code for finding in check(FIGURE_2)) if code == "bar-too-short"]
    assert 28 <= len(wrong) <= 30
    assert abc_to_score(FIGURE_2).n_notes == 76


@pytest.mark.parametrize(
    "music",
    [
        "G2 | C8 | D8 | E6 |]",  # a pick-up, completed by the last bar
        "G2 |: C8 | E6 :|",  # a pick-up before a repeat
        "|: G2 | C8 | E6 :: A2 | D8 | F6 :|",  # a pick-up in each section
        "G2 | C8 | D8 | E8 |]",  # a pick-up that nothing completes
        "|: G2 | C8 |1 E6 :|2 E8 |]",  # the last ending full
        "|: C8 | G4 :| E4 | c8 |]",  # a repeat in the middle of a bar
        "C4 :|: D4 | E8 |]",
    ],
)
def test_pick_ups_and_the_bars_that_complete_them_are_right(music: str) -> None:
    assert [code for code in codes(music + "\n") if code.startswith("bar")] == []


@pytest.mark.parametrize(
    ("music", "bar"),
    [
        ("CDEF GAB | c8 | c8 | c8 |]", 1),  # a first bar that is no pick-up
        ("C8 | c8 | c8 | c6 |]", 4),  # a last bar that nothing completes
        ("G2 | C8 | c8 | c5 |]", 4),  # a last bar that does not complete the pick-up
        ("|: C8 | c7 :| c8 | c8 |]", 2),  # a repeat's end that nothing completes
    ],
)
def test_first_and_last_bars_are_checked_too(music: str, bar: int) -> None:
    assert bar in [finding.bar for finding in found(music + "\n") if finding.code == "bar-too-short"]


@pytest.mark.parametrize(
    ("music", "code"),
    [
        ("[CEG c2B2 | A8 |]", "unclosed-chord"),
        ("CEG] c2B2 z | A8 |]", "unopened-chord"),
        ("{CDEF GABc | c8 |]", "unclosed-grace"),
        ('"Am CDEF GABc | c8 |]', "unclosed-string"),
        ("!f CDEF GAB | c8 |]", "unclosed-decoration"),
        ("(CDEF GABc | c8 |]", "unclosed-slur"),
        ("CDEF) GABc | c8 |]", "unopened-slur"),
        ("(3CD | c8 |]", "short-tuplet"),
        ("(9:0:3CDE c4 z | c8 |]", "bad-tuplet"),
        (">CDEF GABc | c8 |]", "bad-broken-rhythm"),
        ("CDEF GABc- | d8 |]", "tie-not-continued"),
        ("-CDEF GABc | c8 |]", "stray-tie"),
        ("C^ DEF GABc | c8 |]", "stray-accidental"),
        ("C♯DEF GABc | c8 |]", "unexpected-character"),
        ("CDEF softly GABc | c8 |]", "text-in-music"),
        ("c'''''''' z7 | c8 |]", "pitch-out-of-range"),
        ("C8 | D0 z7 |]", "bad-length"),
        ("C999 | D8 |]", "length-out-of-range"),
        ("[K:H] C8 |]", "bad-key"),
        ("[M:x] C8 |]", "bad-meter"),
        ("[L:1/0] C8 |]", "bad-unit"),
        ("[Q:1/4=0] C8 |]", "bad-tempo"),
        ("C8 & D4 | E8 |]", "overlay-length"),
        ("C8 |99 D8 |]", "bad-ending"),
        ("|: C8 |1 D8 |2 E8 |]", "ending-without-repeat"),
        ("|: C8 | D8 |]", "repeat-not-closed"),
        ("C8 | D8", "missing-bar-line"),
        ("C8 |\n\nD8 |]", "blank-line"),
        ("k:C\nC8 |]", "lowercase-field"),
        ("%%MIDI program 200\nC8 |]", "bad-midi-directive"),
    ],
)
def test_each_mistake_has_its_code(music: str, code: str) -> None:
    assert code in codes(music + "\n")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("M:4/4\nL:1/8\nK:C\n", "missing-reference"),
        ("X:1\nM:4/4\nL:1/8\n", "missing-key"),
        ("X:1\nL:1/8\nK:C\n", "missing-meter"),
        ("X:1\nM:4/0\nL:1/8\nK:C\n", "bad-meter"),
        ("X:1\nM:4/4\nL:1/7\nK:C\n", "bad-unit"),
        ("X:1\nM:4/4\nQ:Allegro\nK:C\n", "tempo-without-number"),
        ("X:1\nM:4/4\nK:H dur\n", "bad-key"),
        ("X:one\nM:4/4\nK:C\n", "bad-reference"),
        ("X:1\nM:4/4\nV:\nK:C\n", "bad-voice"),
        ("X:1\nM:4/4\nV:7\nK:C\nV:1\n", "voice-empty"),
    ],
)
def test_each_mistake_in_the_header_has_its_code(header: str, code: str) -> None:
    assert code in codes("C8 | C8 |]\n", header)


def test_voices_of_unequal_length_are_told_where_the_short_one_ends() -> None:
    (finding,) = found("V:1\nc8 | d8 | e8 |]\nV:2\nC8 | D8 |]\n")
    assert (finding.code, finding.voice, finding.bar) == ("voices-unequal", "2", 2)
    assert "2 bars against 3" in finding.message


def test_the_voice_that_differs_from_most_is_the_one_told() -> None:
    findings = found("V:1\nG2 | c8 | d6 |]\nV:2\nG2 | C8 | D8 |]\nV:3\nG2 | E8 | F6 |]\n")
    assert [(f.code, f.voice, f.bar) for f in findings] == [("voices-unequal", "2", 3)]


def test_voices_that_repeat_at_different_places_are_told() -> None:
    assert codes("V:1\n|: c8 | d8 :|\nV:2\nC8 | D8 |]\n") == ["repeats-differ"]


def test_free_meter_has_no_bars_to_check() -> None:
    assert codes("CDE | F | GABc defg a |]\n", "X:1\nM:none\nL:1/8\nK:C\n") == []


def test_a_tuplet_may_be_closed_like_a_slur() -> None:
    assert codes("(3CDE) ((3FGA) B) c3 | c8 |]\n") == []


def test_only_the_cause_is_told_of_a_bar_that_cannot_be_read() -> None:
    assert codes("[CEG c2 softly D? | c8 |]\n") == ["unclosed-chord"]


def test_nothing_is_told_twice_of_an_empty_text() -> None:
    assert [finding.code for finding in check(" \n")] == ["empty-text"]


def test_findings_are_sorted_by_place() -> None:
    findings = found("C | D | E |\nF? | G |]\n")
    assert [(f.line, f.column) for f in findings] == sorted((f.line, f.column) for f in findings)


def test_findings_are_bounded() -> None:
    findings = found("C |" * 2000 + "\n")
    assert len(findings) == 501
    assert "too-many-findings" in {finding.code for finding in findings}


def test_every_code_of_the_table_is_used_somewhere() -> None:
    folder = Path(diagnostics.__file__).parent
    sources = "".join(path.read_text("utf-8") for path in folder.glob("*.py") if path.name != "abc_codes.py")
    assert [code for code in CODES if f'"{code}"' not in sources] == []


def test_a_meter_that_cannot_be_read_is_not_called_missing() -> None:
    codes = [found.code for found in check("X:1\nT:t\nM:0/0\nL:1/8\nK:C\nC8 |]\n")]
    assert "bad-meter" in codes
    assert "missing-meter" not in codes


@pytest.mark.parametrize(
    "music",
    [
        "V:1\nCDEFGA|c8|c8|]\nV:2\nC,6|C,8|C,8|]",  # three beats of four in all voices
        "V:1\nCDEFGAB|c8|c8|]\nV:2\nz7|C,8|C,8|]",
        "M:3/8\nge|cBA|Acf|AGc|]",  # two beats of three in one voice
        "M:3/4\nc2e2|c6|c6|]",
    ],
)
def test_a_pickup_before_a_full_last_bar_is_legal(music: str) -> None:
    text = f"X:1\nT:t\nM:4/4\nL:1/8\nK:C\n{music}\n"
    assert check(text) == []
    assert autofix(text).abc == text


@pytest.mark.parametrize(
    "music", ["V:1\nCDEFGA|c8|c8|]\nV:2\nC,8|C,8|C,8|]", "V:1\nCDEFGA|c8|c7|]\nV:2\nC,6|C,8|C,7|]"]
)
def test_a_short_first_bar_of_one_voice_or_beside_other_short_bars_is_no_pickup(music: str) -> None:
    assert "bar-too-short" in [finding.code for finding in check(f"X:1\nT:t\nM:4/4\nL:1/8\nK:C\n{music}\n")]


def test_a_tune_full_of_errors_does_not_keep_the_later_tunes_of_a_book_from_being_checked() -> None:
    bad = "X:1\nM:4/4\nL:1/8\nK:C\n" + "C8|C9|\n" * 600
    later = "\nX:2\nM:4/4\nL:1/8\nK:C\nC8|C9|C8|]\n"
    found = check(bad + later)
    assert [finding.code for finding in found if finding.line > bad.count("\n")] == ["bar-too-long"]
    assert sum(finding.code == "too-many-findings" for finding in found) == 1


@pytest.mark.parametrize("line", ["m:~G3=G{A}G{F}G", "%%MIDI drum dzdz 36 42", "%%MIDI drumon", "I:MIDI=drumon"])
def test_what_is_read_and_not_played_is_told(line: str) -> None:
    (finding,) = check(f"X:1\nM:4/4\nL:1/8\n{line}\nK:C\nC8|]\n")
    assert (finding.code, finding.severity) == ("unplayed-setting", Severity.INFO)
