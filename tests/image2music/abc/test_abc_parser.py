from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from image2music.abc.ast import BarLine, Event, Tune
from image2music.abc.autofix.rules import autofix
from image2music.abc.parser import MAX_CHARS, parse
from image2music.abc.reading_order import voice_notes
from image2music.music.theory import as_fraction

HEADER = "X:1\nT:t\nM:4/4\nL:1/8\nK:C\n"


def tune(music: str, header: str = HEADER) -> Tune:
    return parse(header + music).tunes[0]


def lengths(music: str) -> list[Fraction]:
    return [as_fraction(bar.length) for bar in tune(music).voices["1"].bars]


def test_a_title_may_begin_with_a_colon_and_a_line_with_a_note_before_a_repeat() -> None:
    read = tune("C8 |\nA:|\n", "X:1\nT:: or so\nM:4/4\nL:1/8\nK:C\n")
    assert read.title == ": or so"
    assert [bar.n_events for bar in read.voices["1"].bars] == [1, 1]


def test_the_header_is_read_into_fields() -> None:
    read = tune("C8 |]", "X:7\nT:Sea\nT:second title\nM:6/8\nL:1/16\nQ:3/8=60\nK:Em\n")
    assert (read.reference, read.title, str(read.meter), as_fraction(read.unit)) == ("7", "Sea", "6/8", Fraction(1, 16))
    assert (read.key.sharps, read.key.minor, read.tempo.qpm) == (1, True, 90.0)


def test_the_unit_length_follows_the_meter_where_none_is_given() -> None:
    assert as_fraction(tune("C |]", "X:1\nM:2/4\nK:C\n").unit) == Fraction(1, 16)
    assert as_fraction(tune("C |]", "X:1\nM:3/4\nK:C\n").unit) == Fraction(1, 8)


def test_bars_add_up_notes_chords_rests_tuplets_and_broken_rhythm() -> None:
    assert lengths("C2 [CEG]2 z4 | (3CDE C>D C<<D C2 | (5CDEFG C2 |]") == [1, Fraction(1), Fraction(1, 2)]


def test_a_tuplet_of_five_goes_in_three_under_a_compound_meter() -> None:
    read = tune("(5CDEFG ABc |]", "X:1\nM:6/8\nL:1/8\nK:C\n")
    assert as_fraction(read.voices["1"].bars[0].length) == Fraction(6, 8)


def test_a_z_rest_counts_bars() -> None:
    bars = tune("Z3 | C8 |]").voices["1"].bars
    assert [(bar.number, as_fraction(bar.length)) for bar in bars] == [(1, 3), (4, 1)]


def test_an_overlay_is_a_second_layer_of_its_bar() -> None:
    bar = tune("C8 & E4 G4 | c8 |]").voices["1"].bars[0]
    assert [as_fraction(length) for length in bar.lengths] == [1, 1]


def test_voices_are_read_from_lines_and_from_brackets() -> None:
    by_line = tune("V:1\nC8 |]\nV:low\nE8 |]\n")
    inline = tune("[V:1] C8 | [V:low] E8 |\n[V:1] D8 |]\n[V:low] F8 |]\n")
    assert list(by_line.voices) == list(inline.voices) == ["1", "low"]
    assert [len(voice.bars) for voice in inline.voices.values()] == [2, 2]


def test_bar_lines_know_repeats_and_endings() -> None:
    lines = [e for e in tune("|: C8 |1 D8 :|2,4 E8 :: F8 |]").voices["1"].elements if isinstance(e, BarLine)]
    assert [(line.repeats, line.opens_repeat, line.ending) for line in lines] == [
        (0, True, ()), (0, False, (1,)), (1, False, (2, 4)), (1, True, ()), (0, False, ()),
    ]  # fmt: skip


def test_inline_meter_and_unit_change_what_follows() -> None:
    bars = tune("C8 | [M:3/4] C6 | [L:1/16] C12 |]").voices["1"].bars
    assert [as_fraction(bar.expected) for bar in bars] == [1, Fraction(3, 4), Fraction(3, 4)]
    assert [as_fraction(bar.length) for bar in bars] == [1, Fraction(3, 4), Fraction(3, 4)]


def test_decorations_lyrics_comments_and_symbols_take_no_time() -> None:
    assert lengths('"^slow"!trill!C2 .D2 uE2 "Am"F2 | % C8\nw: la la\nG8 |]') == [1, 1]


def test_spans_tell_the_voice_and_bar_of_every_character() -> None:
    text = HEADER + "V:1\nCDEF GABc | c8 |]\nV:2\n[CE]8 | z8 |]\n"
    read = parse(text).tunes[0]
    places = [(read.span_at(text.index(part)).voice, read.span_at(text.index(part)).bar)
              for part in ("CDEF", "Bc |", "c8", "[CE]", "z8")]  # fmt: skip
    assert places == [("1", 1), ("1", 1), ("1", 2), ("2", 1), ("2", 2)]
    assert read.span_at(text.index("M:4/4")) is None


def test_several_tunes_of_a_file_are_read_with_the_file_header() -> None:
    tunes = parse("L:1/4\n\n% a comment\nX:1\nM:4/4\nK:C\nC4|]\n\nsome words\n\nX:2\nM:3/4\nK:G\nC3|]\n").tunes
    assert [(t.reference, as_fraction(t.unit), as_fraction(t.voices["1"].length)) for t in tunes] == [
        ("1", Fraction(1, 4), 1), ("2", Fraction(1, 4), Fraction(3, 4)),
    ]  # fmt: skip


def test_line_ends_and_a_byte_order_mark_make_no_difference() -> None:
    text = HEADER + "C8 | D8 |]\n"
    variants = [text.replace("\n", "\r\n"), text.replace("\n", "\r"), "\ufeff" + text]
    assert [len(parse(variant).tunes[0].voices["1"].bars) for variant in variants] == [2, 2, 2]


def test_no_directive_is_followed_but_those_for_sound(tmp_path) -> None:
    secret = tmp_path / "secret.abc"
    secret.write_text("c8 c8 c8 |\n")
    parsed = parse(HEADER + f"%%abc-include {secret}\nC8 |]\n")
    assert len(parsed.tunes[0].voices["1"].bars) == 1
    assert [finding.code for finding in parsed.diagnostics] == ["forbidden-directive"]


def test_written_notes_have_onsets_in_quarters_pitches_and_bars() -> None:
    notes = voice_notes(tune("^C2 C2 [EG]4 | |: C4 z4 :|\n"))["1"]
    assert [(note.onset, note.duration, note.pitches, note.bar) for note in notes] == [
        (0, 1, (61,), 1), (1, 1, (61,), 1), (2, 2, (64, 67), 1), (4, 2, (60,), 2),
    ]  # fmt: skip


def test_a_text_above_the_limit_is_refused_in_one_diagnostic() -> None:
    parsed = parse("C" * (MAX_CHARS + 1))
    assert (parsed.tunes, [finding.code for finding in parsed.diagnostics]) == ((), ["text-too-long"])


@example("C\n[1")
@given(st.text(alphabet="XTMLKVQ:\n|[]CDEc'2/ z-(){}\"!%&<>1", max_size=300))
def test_spans_never_overlap_and_lie_in_the_text(text: str) -> None:
    for read in parse(HEADER + text).tunes:
        ends = 0
        for span in read.spans:
            assert ends <= span.start < span.end <= len(HEADER + text)
            ends = span.end


@given(st.lists(st.sampled_from(["C", "D2", "z", "[CE]/", "(3abc", "c>d", "|", "&", "{g}"]), max_size=60))
def test_onsets_never_go_back_but_at_overlays(tokens: list[str]) -> None:
    for voice in tune(" ".join(tokens) + " |]").voices.values():
        events = [event for event in voice.elements if isinstance(event, Event)]
        for first, second in itertools.pairwise(events):
            assert second.onset == first.onset + first.duration or second.layer != first.layer


@pytest.mark.parametrize(("letter", "value"), [("T", "A title"), ("K", "Dm"), ("C", "")])
def test_a_header_field_has_its_first_value_without_its_comment(letter: str, value: str) -> None:
    (tune,) = parse("X:1\nT:A title\nT:Another\nK:Dm % minor\nA|]").tunes
    assert tune.header(letter) == value


def test_written_bars_are_counted_in_the_longest_voice() -> None:
    (tune,) = parse("X:1\nM:2/4\nL:1/4\nK:C\nV:1\nCD|:EF:|]\nV:2\nCD|EF|GA|]").tunes
    assert tune.last_bar == 3


@pytest.mark.parametrize(
    ("music", "plain"),
    [
        ("tC D E F|JG A RB c|]", "C D E F|G A B c|]"),
        ("tCDEF|tCtDtEtF|]", "CDEF|CDEF|]"),
        ("t^C D E F|t[CE] D E F|]", "^C D E F|[CE] D E F|]"),
        ("tC tD tE tF\n|CDEF|]", "C D E F\n|CDEF|]"),
        ('h"Am"C D E F|n{g}C D E F|]', '"Am"C D E F|{g}C D E F|]'),
        ("C/tD/ E F jz|]", "C/D/ E F z|]"),
        ("t C D E F|]", "C D E F|]"),
    ],
)
def test_a_letter_that_the_standard_leaves_free_never_costs_its_note(music: str, plain: str) -> None:
    header = "X:1\nT:t\nM:none\nL:1/4\nK:C\n"
    assert voice_notes(tune(music, header)) == voice_notes(tune(plain, header))
    assert {finding.code for finding in parse(header + music).diagnostics} == {"unknown-decoration"}
    assert autofix(header + music).abc.split("K:C\n")[1].strip() == music


@pytest.mark.parametrize("music", ["softly C D E F|]", "Tune C D|]", "C D hold|]", "Am C D|]", "he made the sea\nC|]"])
def test_words_are_no_decorations(music: str) -> None:
    assert "text-in-music" in [finding.code for finding in parse(HEADER + music).diagnostics]


@pytest.mark.parametrize(
    "line", ['"2nd time: cut time (2/4)"', '"^slowly and with a heavy heart" % so they say', '"Am" "these are words"']
)
def test_a_line_of_annotations_alone_is_legal(line: str) -> None:
    text = f"X:1\nT:t\nM:4/4\nL:1/4\nK:C\n{line}\nCDEF|GABc|]\n"
    assert parse(text).diagnostics == ()
    assert autofix(text).abc == text


@pytest.mark.parametrize("setting", ["I:decoration +\n", "%%decoration +\n", ""])
def test_decorations_between_plus_signs_add_no_notes(setting: str) -> None:
    header = f"X:1\n{setting}T:t\nM:none\nL:1/4\nK:C\n"
    for music in ("C D E +f+F|+D.C.+C D E F|]", "+p+C +trill+D E F|C D E +D.S.alcoda+F|]"):
        assert [note.pitches for note in voice_notes(tune(music, header))["1"]] == [(60,), (62,), (64,), (65,)] * 2
        assert parse(header + music).diagnostics == ()


def test_any_name_stands_between_plus_signs_where_the_tune_says_so() -> None:
    header = "X:1\nI:decoration +\nT:t\nM:none\nL:1/4\nK:C\n"
    assert [note.pitches for note in voice_notes(tune("+Fine+C +BCD+D|]", header))["1"]] == [(60,), (62,)]
