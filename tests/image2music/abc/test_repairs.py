"""A finding that carries a repair: the repair alone, made by a script, leaves the tune valid or with one error less."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.generated_tunes import sample_tune
from benchmarks.roundtrip import abc2midi
from image2music.abc.autofix.rules import autofix
from image2music.abc.checker import MAX_REPAIRED_CHARS, REPAIRABLE, check, check_parsed, count_faults, count_severe
from image2music.abc.diagnostics import CODES, Diagnostic, Repair, Severity, apply_repair, repair_between
from image2music.abc.parser import parse
from image2music.abc.playback import abc_to_score

HEADER = "X:1\nT:t\nM:4/4\nL:1/8\nK:C\n"


def tune(music: str, header: str = HEADER) -> str:
    return header + music + "\n"


def headed(field: str, music: str = "C8 | D8 |]") -> str:
    """A tune with a header field in place of the one of that letter."""
    lines = [line for line in HEADER.splitlines() if line[0] != field[0].upper()]
    if field[:2] == "K:" or not field:
        return "\n".join([*lines, *([field] if field else []), music, ""])
    return "\n".join([*lines[:-1], field, lines[-1], music, ""])


EXAMPLES: dict[str, list[str]] = {
    "text-outside-tune": ["Here it is:\nI like it.\n\n" + tune("C8 |]"), tune("C8 |]") + "\nThat was all.\n"],
    "blank-line": [tune("C8 |\n\nD8 |]"), "X:1\nT:t\n\n\nM:4/4\nL:1/8\nK:C\nC8 |]\n"],
    "duplicate-reference": [tune("C8 |]") + "\n" + tune("D8 |]")],
    "missing-reference": ["T:t\nM:4/4\nL:1/8\nK:C\nC8 |]\n"],
    "missing-key": ["X:1\nT:t\nM:4/4\nL:1/8\nC8 |]\n", "X:1\nT:t\nM:4/4\nL:1/8\n"],
    "missing-meter": ["X:1\nL:1/8\nK:C\nC6 | D6 |]\n", "X:1\nL:1/8\nK:C\nC6 | D5 | E4 |]\n"],
    "bad-reference": [tune("C8 |]", HEADER.replace("X:1", "X:one"))],
    "bad-meter": [headed("M:4-4"), headed("M:4/0", "C6 | D6 | E6 |]"), tune("[M:x] C8 | D8 |]")],
    "bad-unit": [headed("L:1/0"), headed("L:eighth", "C4 D4 E4 F4 | C16 |]"), tune("[L:1/7] C8 |]")],
    "bad-tempo": [headed("Q:1/4=0"), tune("C8 |\nQ:1/4=99999\nD8 |]"), tune("C8 | [Q:0] D8 |]")],
    "tempo-without-number": [headed('Q:"Allegro"'), headed("Q:slow")],
    "bad-key": [headed("K:H dur"), headed("K:A blues"), tune("[K:H] C8 |]")],
    "bad-voice": [tune("V:1\nC8 |]\nV:\nD8 |]"), tune("C8 | [V:] D8 |]"), headed("V:")],
    "unknown-field": [headed("J:x")],
    "lowercase-field": [tune("k:G\nC8 |]"), headed("x:3")],
    "misplaced-field": [tune("C8 | [X:2] D8 |]")],
    "forbidden-directive": [tune("%%abc-include x.abc\nC8 |]")],
    "bad-midi-directive": [tune("%%MIDI program 200\nC8 |]"), tune("[I:MIDI program 300] C8 |]")],
    "bad-length": [tune("C8 | D0 z7 |]"), tune("C4 D//3 E2 | c8 |]"), tune("Z/2 | c8 |]")],
    "length-out-of-range": [tune("C999 | D8 |]"), tune("C4 z999 | D8 |]")],
    "odd-divisor": [tune("C4/3 D4/3 E4/3 F4 | D8 |]"), tune("C2/3 D2/3 E2/3 C2 G4 | [CE]8/5 D32/5 |]")],
    "pitch-out-of-range": [tune("c'''''''' z7 | c8 |]"), tune("[C,,,,,,,,E] z7 | c8 |]")],
    "microtone": [tune("^/C4 _/D4 | c8 |]")],
    "empty-chord": [tune("C4 [.]4 | D8 |]"), tune("C8 [ ] | D8 |]")],
    "chord-lengths-differ": [tune("[C2E3G4] C6 | D8 |]")],
    "unclosed-chord": [tune("[CEG C2 B2 A2 z | A8 |]"), tune("[CEG CDEF G2 z | A8 |]"), tune("C4 [CEG4 | c8 |]")],
    "unopened-chord": [tune("CEG] C2 B2 A | A8 |]"), tune("CEG]4 C4 | A8 |]")],
    "unclosed-grace": [tune("{gab C4 D4 | c8 |]"), tune("{CDEF GABc | c8 |]")],
    "unopened-grace": [tune("CDEF} GABc | c8 |]"), tune("ga}C4 D4 | c8 |]")],
    "bad-grace": [tune("{gxb}C8 | c8 |]"), tune("{?}C8 | c8 |]")],
    "unclosed-string": [tune('"Am CDEF GABc | c8 |]'), tune('CDEF "GABc | c8 |]')],
    "unclosed-decoration": [tune("!trill CDEF GABc | c8 |]"), tune("!CDEF GABc | c8 |]")],
    "unclosed-slur": [tune("(CDEF GABc | c8 |]"), tune("CDEF GAB(c | c8 |]")],
    "unopened-slur": [tune("CDEF) GABc | c8 |]")],
    "bad-tuplet": [tune("(9:0:3CDE c4 z | c8 |]"), tune("(1CDE c4 z | c8 |]"), tune("(99CDE c6 | c8 |]")],
    "short-tuplet": [tune("(3CD | c8 |]"), tune("c6 (3C2D2 | c8 |]"), tune("c6 (3CD")],
    "bad-broken-rhythm": [tune(">CDEF GABc | c8 |]"), tune("CDEF GABc > | c8 |]"), tune("C>>>>D EF GABc | c8 |]")],
    "stray-tie": [tune("-CDEF GABc | c8 |]"), tune("z4- C4 | c8 |]")],
    "tie-not-continued": [tune("CDEF GABc- | d8 |]"), tune("[C-E-]4 [DF]4 | c8 |]"), tune("[CE]4- D4 | c8 |]")],
    "stray-accidental": [tune("C^ DEF GABc | c8 |]"), tune("^ CDEF GABc | c8 |]"), tune("CDEF GABc ^ | c8 |]")],
    "unknown-decoration": [tune("tC4 D4 | c8 |]")],
    "text-in-music": [
        tune("CDEF softly GABc | c8 |]"),
        tune("CDEF then slowly more GABc | c8 |]"),
        tune("CDEF GABc (play softly) | c8 |]"),
        tune("C8 |\nNow comes the other part\nD8 |]"),
        tune("C8 |]\n```"),
        tune("CDEF softly GAB | c8 |]"),
    ],
    "unexpected-character": [tune("C♯DEF G#ABc | c8 |]"), tune("+CEG+ C7 | c8 |]"), tune("CDEF? G?ABc | c8 |]")],
    "bad-inline-field": [tune("[y:1] C8 | [J:x] D8 |]")],
    "bar-too-short": [
        tune("CDEF GABc | CDEF G | c8 |]"),
        tune("CDEF GAB | c8 | c8 |]"),  # the first bar
        tune("C8 | D8 | E2 |]"),  # the last bar
        tune("C8 | C4 | D4 | c8 |]"),  # a bar line too many
        tune("C8 | C2 DE F2 | G2 A8 | c8 |]"),  # a bar line too early
        headed("M:4/4", "C6 | D6 | E6 | F6 |]"),  # a wrong meter
        tune("V:1\nC8 | D8 | E8 |]\nV:2\nC4 | D4 | E4 |]"),  # one voice in another unit length
        tune("V:1\nCDEFGAB|c8|c8|]\nV:2\nC,8|C,8|C,8|]"),
    ],
    "bar-too-long": [
        tune("C8 | CDEF GABc d2 | c8 |]"),
        tune("C8 | CDEF GABd4 | c8 |]"),
        tune("C8 | CDEF GABc z2 | c8 |]"),
        tune("C8 | CDEF GABc- cBAG FEDC | c8 |]"),  # a bar line is missing
        tune('C8 | C4 D4 "Am" !f! E4 F4 (G4 A4) | c8 |]'),  # two are
        tune("C8 | C2 DE F2 G2 A2 | B6 | c8 |]"),  # a bar line too late
        tune("V:1\nC8 | D8 | E8 |]\nV:2\nC8D8 | E8F8 | G8A8 |]"),
        tune("C8 | CDEF GA (3ABc B | c8 | c8 |]"),
    ],
    "overlay-length": [tune("C8 & E4 | c8 |]"), tune("C8 & E6 F4 | c8 |]"), tune("& C8 | c8 |]")],
    "missing-bar-line": [tune("C8 | D8"), tune("V:1\nC8 | D4 (D4\nV:2\nC8 | D4 D4) |]")],
    "repeat-not-closed": [
        tune("|: C8 | D8 |]"),
        tune("|: C8 | D8 || E8 |]"),
        tune("V:1\n|: C8 | D8 |]\nV:2\n|: C8 | D8 |]"),
    ],
    "bad-ending": [tune("|: C8 |1 D8 :|99 E8 |]"), tune("|: C8 |0 D8 :|2 E8 |]"), tune("|: C8 [9-3 D8 :| E8 |]")],
    "ending-without-repeat": [tune("|: C8 |1 D8 |2 E8 |]"), tune("|: C8 |[1 D8 |[2 E8 |]")],
    "voices-unequal": [
        tune("V:1\nc8 | d8 | e8 |]\nV:2\nC8 | D8 |]"),
        tune("V:1\nc8 | d8 |]\nV:2\nC8 | D8 |]\nV:3\nC8 | D8 | E8 |]"),
        tune("V:1\nG2 | c8 | d6 |]\nV:2\nG2 | C8 | D8 |]\nV:3\nG2 | E8 | F6 |]"),
        tune("V:1\nG2 | c8 | d6 |]\nV:2\nG2 | C8 | D4 |]"),
    ],
    "pickup-alone": [tune("V:1\nG2 | c8 | d6 |]\nV:2\nC8 | D8 |]")],
    "voice-empty": [
        tune("V:1\nC8 |]", HEADER.replace("K:C", "V:7\nK:C")),
        tune("V:1\nC8 | D8 |]\nV:2\n"), tune("V:1\nC8 | D8 |]\n[V:2]\n"),
    ],
    "repeats-differ": [tune("V:1\n|: c8 | d8 :|\nV:2\nC8 | D8 |]"), tune("V:1\nc8 :: d8 :|\nV:2\n|: C8 | D8 :|")],
}  # fmt: skip
"""Code -> tunes that have it."""

CASES = [(code, text) for code, texts in EXAMPLES.items() for text in texts]


def repaired_check(text: str) -> list[Diagnostic]:
    """All findings, with repairs of warnings too where there is no error."""
    return check_parsed(parse(text), repairs=True)


def with_code(text: str, code: str) -> list[Diagnostic]:
    return [finding for finding in repaired_check(text) if finding.code == code]


def is_mended(before: str, after: str, finding: Diagnostic) -> bool:
    """Whether errors are fewer; for a warning, whether warnings are and errors are no more."""
    was, now = count_severe(check(before)), count_severe(check(after))
    if finding.severity is Severity.ERROR:
        return now[0] < was[0]
    return now[0] <= was[0] and sum(now) < sum(was)


def test_every_code_that_can_carry_a_repair_has_an_example() -> None:
    assert EXAMPLES.keys() == REPAIRABLE
    left = {code for code, (severity, _) in CODES.items() if severity is not Severity.INFO} - REPAIRABLE
    assert left == {"empty-text", "text-too-long", "too-many-findings", "no-music"}


@pytest.mark.parametrize(("code", "text"), CASES)
def test_the_repair_alone_mends_the_finding(code: str, text: str) -> None:
    findings = with_code(text, code)
    assert findings, [finding.code for finding in check(text)]
    for finding in findings:
        assert finding.repair is not None, finding
        assert is_mended(text, apply_repair(text, finding.repair), finding), apply_repair(text, finding.repair)


@pytest.mark.parametrize("code", EXAMPLES)
def test_repairs_count_characters_whatever_ends_a_line(code: str) -> None:
    for text in EXAMPLES[code]:
        other = "\ufeff" + text.replace("\n", "\r\n")
        for finding in with_code(other, code):
            assert finding.repair is not None, finding
            assert is_mended(other, apply_repair(other, finding.repair), finding), apply_repair(other, finding.repair)


def test_a_finding_is_the_same_with_and_without_its_repair() -> None:
    text = tune("C8 | D7 | E8 |]")
    (finding,) = check(text)
    (bare,) = check_parsed(parse(text), repairs=False)
    assert finding.repair == Repair(32, 32, "z ")
    assert bare.repair is None
    assert (finding.line, finding.column, finding.code) == (bare.line, bare.column, bare.code)


def test_a_right_tune_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image2music.abc.checker._Repairs", None)
    assert check(sample_tune(1).abc()) == []


def test_long_texts_and_texts_full_of_errors_carry_no_repairs_or_few() -> None:
    bad = "C8 | C8 | C7 |\n"
    assert all(finding.repair is None for finding in check(tune(bad * (MAX_REPAIRED_CHARS // 10))))
    assert all(finding.repair is None for finding in check(tune(bad * 1000)))
    many = [finding.repair for finding in check(tune(bad * 400)) if finding.code == "bar-too-short"]
    assert many[0] is not None
    assert many[-1] is None


def test_a_text_that_stands_is_read_once_unless_asked_for() -> None:
    text = tune("(C8 | D8 |]")
    assert [finding.repair for finding in check(text)] == [None]
    assert [finding.repair for finding in repaired_check(text)] != [None]


def test_a_repair_of_another_text_is_refused() -> None:
    with pytest.raises(ValueError, match="text of 3"):
        apply_repair("abc", Repair(2, 4, ""))


@given(st.text("ab|\n", max_size=12), st.text("ab|\n", max_size=12))
def test_the_repair_between_two_texts_makes_one_of_the_other(before: str, after: str) -> None:
    repair = repair_between(before, after)
    assert apply_repair(before, repair) == after
    assert repair.end - repair.start <= len(before)


# --- pick-ups


def written(meter: tuple[int, int], voices: list[list[int]], *, interleaved: bool) -> str:
    """A tune whose voices hold bars of so many eighths; every bar begins with a chord symbol or a mark."""
    names = range(1, len(voices) + 1)
    bars = [[f'"C" {"CEGc"[n % 4]}{length} |' for n, length in enumerate(voice)] for voice in voices]
    if interleaved:
        lines = [
            f"[V:{name}] {voice[row]}"
            for row in range(max(map(len, bars)))
            for name, voice in zip(names, bars, strict=True)
            if row < len(voice)
        ]
    else:
        lines = [line for name, voice in zip(names, bars, strict=True) for line in (f"V:{name}", " ".join(voice))]
    return f"X:1\nT:t\nM:{meter[0]}/{meter[1]}\nL:1/8\nK:C\n" + "\n".join(lines) + "\n"


@st.composite
def uneven_starts(draw: st.DrawFn) -> tuple[str, int]:
    """A tune in which some voices have a pick-up and others begin with a full bar, and its number of notes."""
    meter = draw(st.sampled_from([(4, 4), (3, 4), (6, 8), (2, 4)]))
    whole = meter[0] * 8 // meter[1]
    pickup = draw(st.integers(1, whole * 2 // 3))
    last = draw(st.sampled_from([whole, whole - pickup]))
    with_it = [pickup] + [whole] * draw(st.integers(1, 5)) + [last]
    n_full = len(with_it) + draw(st.sampled_from([-1, 0]))
    kinds = draw(st.permutations([True, False, *draw(st.lists(st.booleans(), max_size=2))]))
    voices = [with_it if kind else [whole] * n_full for kind in kinds]
    return written(meter, voices, interleaved=draw(st.booleans())), sum(map(len, voices))


@settings(max_examples=150, deadline=None)
@given(uneven_starts())
def test_a_pick_up_of_some_voices_is_named_and_converges_in_one_round(case: tuple[str, int]) -> None:
    text, n_notes = case
    named = [finding for finding in repaired_check(text) if finding.code in ("voices-unequal", "pickup-alone")]
    assert named
    for finding in named:
        assert "pick-up" in finding.message
        assert finding.repair is not None
        repaired = apply_repair(text, finding.repair)
        assert check(repaired) == []
        assert abc_to_score(repaired).n_notes == n_notes


@settings(max_examples=100, deadline=None)
@given(uneven_starts())
def test_a_pick_up_of_some_voices_is_mended_by_rule(case: tuple[str, int]) -> None:
    text, n_notes = case
    fixed = autofix(text)
    assert check(fixed.abc) == []
    assert [finding.code for finding in fixed.diagnostics] == ["mended-pickup"]
    assert abc_to_score(fixed.abc).n_notes == n_notes
    assert autofix(fixed.abc).abc == fixed.abc


@pytest.mark.parametrize(
    ("music", "said", "repaired"),
    [
        (
            "V:1\nG2 | c8 | d8 |]\nV:2\nC8 | D8 |]",
            "voice 1 begins with a pick-up of 2/8, voice 2 begins with a full bar: begin voice 2 with z2 |",
            "V:1\nG2 | c8 | d8 |]\nV:2\nz2 | C8 | D8 |]",
        ),
        (
            "V:1\nC8 | D8 |]\nV:2\nG2 | c8 | d8 |]\nV:3\nE8 | F8 |]",
            "voice 2 begins with a pick-up of 2/8, voices 1 and 3 begin with a full bar: begin voice 1 with z2 | and "
            "begin voice 3 with z2 |",
            "V:1\nz2 | C8 | D8 |]\nV:2\nG2 | c8 | d8 |]\nV:3\nz2 | E8 | F8 |]",
        ),
        (
            "V:1\nG2 | c8 | d8 |]\nV:2\nC8 | D8 | E8 |]",
            "voice 1 begins with a pick-up of 2/8, voice 2 begins with a full bar: begin voice 1 with z6",
            "V:1\nz6 G2 | c8 | d8 |]\nV:2\nC8 | D8 | E8 |]",
        ),
        (
            "V:1\nG2 |: c8 | d8 :|\nV:2\n|: C8 | D8 :|",
            "voice 1 begins with a pick-up of 2/8, voice 2 begins with a full bar: begin voice 2 with z2 |:",
            "V:1\nG2 |: c8 | d8 :|\nV:2\nz2 |: C8 | D8 :|",
        ),
        (
            "V:1\nG2 | c8 | d8 |]\nV:2\nG | C8 | D8 |]",
            "the pick-ups differ: voice 1 with 2/8, voice 2 with 1/8: begin voice 2 with z",
            "V:1\nG2 | c8 | d8 |]\nV:2\nz G | C8 | D8 |]",
        ),
    ],
)
def test_what_is_said_of_a_pick_up_and_what_mends_it(music: str, said: str, repaired: str) -> None:
    (finding,) = check(tune(music))
    assert finding.message == said
    assert finding.repair is not None
    assert apply_repair(tune(music), finding.repair) == tune(repaired)
    assert check(tune(repaired)) == []
    assert "Warning" not in abc2midi(tune(repaired)).said
    assert "Error" not in abc2midi(tune(repaired)).said


# --- what the mender does with bar lines


@pytest.mark.parametrize(
    ("music", "expected"),
    [
        ("c8 | CDEF | GABc | c8 |]", "c8 | CDEF  GABc | c8 |]"),
        ("c8 | CDEF GABc cBAG FEDC | c8 |]", "c8 | CDEF GABc | cBAG FEDC | c8 |]"),
        ("c8 | CDEF GA | Bc c8 | c8 |]", "c8 | CDEF GA  Bc | c8 | c8 |]"),
        ("V:1\nc8 | d4 | e4 |]\nV:2\nC8 | D8 |]", "V:1\nc8 | d4  e4 |]\nV:2\nC8 | D8 |]"),
    ],
)
def test_bar_lines_are_mended_and_no_note_changes(music: str, expected: str) -> None:
    fixed = autofix(tune(music))
    assert fixed.abc.split() == tune(expected).split()
    assert {finding.code for finding in fixed.diagnostics} == {"mended-bar-line"}


def test_half_bars_of_a_voice_that_is_too_short_are_filled_as_its_bars_count() -> None:
    fixed = autofix(tune("V:1\nc8 | d8 | e8 | f8 | g8 | a8 |]\nV:2\nC8 | D4 | E4 | F8 | G8 | A8 |]"))
    assert fixed.abc.endswith("V:2\nC8 | D4 z4 | E4 z4 | F8 | G8 | A8 |]\n")


# --- every finding of broken tunes


def broken(seed: int) -> st.SearchStrategy[str]:
    """A right tune with one to three characters removed, added or changed."""
    text = sample_tune(seed).abc()
    edit = st.tuples(st.integers(0, len(text)), st.integers(0, 1), st.sampled_from([*'|[](){}!"^-><&3/zC:? ', ""]))

    def apply(edits: list[tuple[int, int, str]]) -> str:
        new = text
        for at, size, character in edits:
            new = new[:at] + character + new[at + size :]
        return new

    return st.lists(edit, min_size=1, max_size=3).map(apply)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20).flatmap(broken))
def test_whatever_is_broken_a_repair_leaves_fewer_errors(text: str) -> None:
    for finding in repaired_check(text):
        if finding.repair is not None:
            assert is_mended(text, apply_repair(text, finding.repair), finding)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 20).flatmap(broken))
def test_repairs_made_one_after_the_other_come_to_an_end(text: str) -> None:
    for _ in range(5 * sum(count_severe(check(text)))):
        finding = next((finding for finding in repaired_check(text) if finding.repair is not None), None)
        if finding is None or finding.repair is None:
            break
        text = apply_repair(text, finding.repair)
    assert not any(finding.repair for finding in repaired_check(text))


# --- counts


@pytest.mark.parametrize(
    ("music", "voices", "bars", "said"),
    [
        ("V:1\nC8 | D8 |]\nV:2\nC8 | D8 |]", 2, 2, ()),
        ("V:1\nG2 | C8 | D6 |]\nV:2\nz2 | Z2 |]", 2, 2, ()),
        ("V:1\nC8 | D8 |]\nV:2\nC8 |]", 2, 2, ("voice 2 has 1 bar, the plan asks for 2: write one more bar",)),
        (
            "V:1\nC8 | D8 | E8 |]\nV:2\nZ3 |]",
            3,
            1,
            (
                "the tune has 2 voices (1, 2), the plan asks for 3: write one more voice",
                "voice 1 has 3 bars, the plan asks for 1: take 2 bars out",
                "voice 2 has 3 bars, the plan asks for 1: take 2 bars out",
            ),
        ),
        ("no tune", 1, 4, ("the tune has 0 voices, the plan asks for 1: write one more voice",)),
        (
            "G2 | C8 | D8 |]",
            1,
            4,
            ("voice 1 has 2 bars behind its pick-up, the plan asks for 4: write 2 more bars",),
        ),
    ],
)
def test_voices_and_bars_are_held_against_the_plan(music: str, voices: int, bars: int, said: tuple[str, ...]) -> None:
    assert count_faults("no tune" if music == "no tune" else tune(music), voices, bars) == said
