"""Lines of bars that a model wrote, and the score that code makes of them."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_player import recorded

from image2music.abc.checker import check, read_motif
from image2music.abc.parser import parse
from image2music.composers.chat.manuscript import (
    OpenLine,
    bars_in,
    by_place,
    carrying_lines,
    form_of,
    open_lines,
    overview,
    payoff_bars,
    read_lines,
    score_so_far,
    sung_lines,
    systems,
    to_abc,
    units_of,
)
from image2music.music.planning.checks import check_plan
from image2music.music.planning.plan import plan_of_json


@pytest.fixture(scope="module", params=["storm", "astronaut"])
def plan(request):
    return by_place(check_plan(plan_of_json(json.loads(recorded(request.param, "plan"))), read_motif).plan)


@pytest.fixture(scope="module")
def astronaut():
    return by_place(check_plan(plan_of_json(json.loads(recorded("astronaut", "plan"))), read_motif).plan)


def errors(abc):
    return [str(one) for one in check(abc) if one.severity == "error"]


def test_systems_have_four_bars_and_end_where_a_section_ends(astronaut):
    assert list(systems(astronaut))[:4] == [(1, 4), (5, 8), (9, 10), (11, 14)]


@pytest.mark.parametrize(("meter", "units"), [("4/4", 8), ("3/4", 6), ("6/8", 6), ("2/2", 8), ("3/8", 3), ("7/8", 7)])
def test_a_bar_is_counted_in_eighths(meter, units):
    assert units_of(meter) == units


@pytest.mark.parametrize(
    "line",
    [
        "5-8 [V:2] A4 | B4 | c4 | d4 |",
        "**5-8 [V:2]** A4 | B4 | c4 | d4 |]",
        "- 5-8, V:2: A4 | B4 | c4 | d4",
        "[V:2] 5-8: A4 | B4 | c4 | d4 |",
        "bars 5-8 [V:2] | A4 | B4 | c4 | d4 |",
    ],
)
def test_a_line_is_read_however_it_is_dressed(astronaut, line):
    read = read_lines(f"Here it is:\n```\n{line}\n```", astronaut)
    assert read.bars == {(2, 5): "A4", (2, 6): "B4", (2, 7): "c4", (2, 8): "d4"}
    assert read.remarks == ()


def test_a_staccato_that_begins_a_line_is_music(astronaut):
    assert read_lines("1-2 [V:1] .A4 | .B4 |", astronaut).bars == {(1, 1): ".A4", (1, 2): ".B4"}


def test_too_many_bars_lose_the_last_and_too_few_leave_them_open_and_both_are_said(astronaut):
    read = read_lines("1-2 [V:1] A8 | B8 | c8 |\n3-4 [V:1] d8 |\n90-92 [V:1] z8 |\n1 [V:9] z8 |", astronaut)
    assert read.bars == {(1, 1): "A8", (1, 2): "B8", (1, 3): "d8"}
    assert read.remarks[:2] == ("1-2 [V:1] had 3 bars, not 2", "3-4 [V:1] had 1 bars, not 2")
    assert all("names no bars or voice" in remark for remark in read.remarks[2:])


def test_lines_that_only_repeat_the_question_are_no_music(astronaut):
    assert read_lines("1-4 [V:1] ... | ... | ... | ... |\n1-4 [V:2] ? | ? | ? | ? |", astronaut).bars == {}


def test_marks_that_are_code_s_work_are_left_out_of_a_bar():
    assert bars_in('!mf!(A2 "Am"B2) [Q:1/4=80] c4 | !>!d8 |]') == ["(A2 B2) c4", "!>!d8"]


def test_melody_and_bass_are_asked_for_first_then_all_that_is_open(plan):
    lines = carrying_lines(plan)
    assert {plan.melody_at(bar) for line in lines for bar in line.bars} >= {line.voice for line in lines[:3]}
    low = len(plan.voices)
    assert lines[-1].voice == low
    written = {(line.voice, bar): "z" for line in lines for bar in line.bars}
    others = open_lines(plan, written)
    assert others and not {(line.voice, line.first) for line in others} & {(line.voice, line.first) for line in lines}
    everything = {(line.voice, bar) for line in [*lines, *others] for bar in line.bars}
    assert all(
        (voice.id, bar) in everything or plan.role_at(voice.id, bar) == "rest"
        for voice in plan.voices
        for bar in range(1, plan.bars + 1)
    )


def test_the_form_of_an_answer_is_the_lines_that_were_asked_for(astronaut):
    form = form_of(astronaut, [OpenLine(3, 1, 4), OpenLine(5, 9, 10)])
    assert form.meter == "4/4"
    assert [(line.prefix, line.bars) for line in form.lines] == [("1-4 [V:3] ", 4), ("9-10 [V:5] ", 2)]


def test_a_whole_score_is_made_of_recorded_lines(plan):
    name = "astronaut" if plan.title.startswith("The Ring") else "storm"
    melody, write = (read_lines(recorded(name, step), plan) for step in ("melody", "write"))
    assert melody.remarks == write.remarks == ()
    abc = to_abc(plan, {**melody.bars, **write.bars}, 1)
    assert errors(abc) == []
    tune = parse(abc).tunes[0]
    assert [len(voice.bars) for voice in tune.voices.values()] == [plan.bars] * len(plan.voices)


def test_what_the_model_leaves_out_is_set_by_rule(plan):
    name = "astronaut" if plan.title.startswith("The Ring") else "storm"
    abc = to_abc(plan, read_lines(recorded(name, "melody"), plan).bars, 1, derived=frozenset({4}))
    assert errors(abc) == []
    assert "N:derived by rule: voices 4 (" in abc


def test_a_bar_that_is_not_full_stays_as_it_was_written_for_the_checker_to_name(astronaut):
    bars = read_lines(recorded("astronaut", "melody"), astronaut).bars
    abc = to_abc(astronaut, {**bars, (3, 3): "A4 GF"}, 1)
    assert any("bar 3 of voice 3" in one for one in errors(abc))


def test_voices_are_numbered_by_their_places(astronaut):
    swapped = replace(astronaut, voices=(*astronaut.voices[1:], astronaut.voices[0]))
    numbered = by_place(swapped)
    assert [voice.id for voice in numbered.voices] == [1, 2, 3, 4, 5]
    assert numbered.voices[-1].name == "Flute"
    assert numbered.melody_at(23) == 5, "the flute has the tune in bar 23"
    assert numbered.climax.voice == 5
    assert by_place(numbered) is numbered


def test_the_payoff_s_bars_are_taken_where_they_are_full(astronaut):
    found = payoff_bars({"1": "a4 gf d'2 | c'6 z2", "V2": "z8 | G2 c2", "9": "z8", "3": None}, astronaut)
    assert found == {(1, 23): "a4 gf d'2", (1, 24): "c'6 z2", (2, 23): "z8"}


def test_the_score_so_far_shows_chords_written_bars_and_what_an_open_voice_is_to_do(astronaut):
    shown = score_so_far(astronaut, read_lines(recorded("astronaut", "melody"), astronaut).bars).splitlines()
    assert shown[0] == "% bars 1-4, A: F | Bb/F | F | C/E"
    assert "[V:4] ? | ? | ? | ? | Harp: figure broken 1 5 8 5" in shown
    assert not any(line.startswith("[V:1]") for line in shown[:5]), "a voice that rests is not shown"
    assert "11-14 B (mf, 92): Dm | C | Bb | Gm7 - tune: 2 Trumpet" in overview(astronaut)


def test_short_steps_ask_for_lines_and_leave_figures_to_the_arranger(astronaut):
    asked = {line.voice for line in sung_lines(astronaut)}
    assert asked == {1, 2, 3, 5}, "the harp has figures alone"


@given(st.text(max_size=300))
def test_no_answer_breaks_the_reader(astronaut_plan, answer):
    for place, text in read_lines(answer, astronaut_plan).bars.items():
        assert 1 <= place[0] <= 5 and 1 <= place[1] <= 32 and "|" not in text


@pytest.fixture(scope="module")
def astronaut_plan(astronaut):
    return astronaut
