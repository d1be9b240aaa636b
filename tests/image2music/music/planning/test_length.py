"""Lengths as people write them, the bars that they mean, and plans that last them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.errors import ConfigError
from image2music.music.planning.checks import check_plan
from image2music.music.planning.constraints import (
    PlanConstraints,
    apply_to_request,
    bars_meant,
    constraint_lines,
    unmet,
)
from image2music.music.planning.lasting import (
    bar_quarters,
    bars_lasting,
    duration_text,
    planned_seconds,
    read_duration,
)
from image2music.music.planning.plan import plan_as_json, plan_of_json
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.wishes import Wishes, constraints_of
from image2music.types import ImageMetadata

PLAN = plan_tune(PlanRequest(key="G", meter="3/4", qpm=90, bars=16))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("90s", 90), ("1:30", 90), ("1m30s", 90), ("1m30", 90), ("1 min 30 sec", 90), ("0:05", 5),
        ("30 Seconds", 30), ("7,5 Sekunden", 7.5), ("2.5min", 150), ("5m", 300), ("12.345", 12.345),
    ],
)  # fmt: skip
def test_lengths_are_read_as_people_write_them(text, seconds):
    assert read_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "4", "301", "0", "1:75", "6m", "12 cm", "-30"])
def test_other_texts_are_refused_in_one_line(text):
    with pytest.raises(ConfigError) as refused:
        read_duration(text)
    assert refused.value.reason == "bad_length"
    assert "\n" not in str(refused.value)


@given(st.floats(5, 300).map(lambda seconds: round(seconds, 4)))
def test_a_length_that_is_written_reads_the_same(seconds):
    assert read_duration(duration_text(seconds)) == seconds


@given(
    seconds=st.floats(5, 300),
    meter=st.sampled_from(["2/4", "3/4", "4/4", "6/8", "12/8", "5/4"]),
    qpm=st.floats(50, 150),
    loop=st.booleans(),
)
def test_bars_at_that_tempo_last_that_long_and_the_tempo_suits_if_any_bars_can(seconds, meter, qpm, loop):
    tempos = (qpm / 1.25, qpm * 1.25)
    _, bars, found = bars_lasting(seconds, (meter,), qpm, tempos, loop=loop)
    lasts = bars * bar_quarters(meter) * 60 / found
    assert lasts == pytest.approx(seconds, rel=0.09)
    able = [n for n in range(1, 401) if tempos[0] <= n * bar_quarters(meter) * 60 / seconds <= tempos[1]]
    slower, faster = tempos[0] * 0.99, tempos[1] * 1.1
    assert slower <= found <= faster or not able


def test_another_meter_is_taken_only_where_no_number_of_bars_can_do_it():
    assert bars_lasting(5, ("4/4", "3/4"), 66, (58, 76))[:2] == ("3/4", 2)
    assert bars_lasting(30, ("4/4", "3/4"), 66, (58, 76))[:2] == ("4/4", 8)


def test_a_plan_that_does_not_last_its_length_is_mended_by_its_tempo():
    checked = check_plan(replace(PLAN, length_s=40.0))
    assert planned_seconds(checked.plan) == pytest.approx(40, rel=0.001)
    assert checked.faults == ()
    assert any(line.startswith("length: 16 bars of 3/4 last 32.0 seconds, not 40") for line in checked.mended)
    assert check_plan(checked.plan).mended == ()


def test_a_length_that_no_tempo_gives_is_given_up_and_named():
    wanted = constraints_of(Wishes(length="5:00"))
    plan = check_plan(replace(PLAN, length_s=300.0)).plan
    assert plan.length_s is None
    assert unmet(wanted, plan) == ("length '5:00': asked for 300 seconds, the plan lasts 32",)
    assert unmet(wanted, replace(plan, length_s=300.0)) == ()


@pytest.mark.parametrize("text", ["abc", "3 hours"])
def test_a_length_of_a_row_that_is_none_is_named_and_leaves_the_run_its_own(text):
    for wishes in (Wishes(length=text), Wishes(length=text, mood="happy")):
        (wanted,) = ImageMetadata(wishes=wishes).constraints(length="15s")
        assert wanted.length == 15
        plan = plan_tune(apply_to_request(PlanRequest(), wanted))
        assert plan.length_s == 15
        assert [line.partition(": ")[0] for line in unmet(wanted, plan)] == [f"length {text!r}"]
    (wanted,) = ImageMetadata(wishes=Wishes(length="20")).constraints(length="15s")
    assert wanted.length == 20


def test_a_wish_that_is_no_length_is_named():
    wanted = constraints_of(Wishes(length="12 cm"))
    assert wanted.length is None
    assert wanted.remarks[0].startswith("length '12 cm'")


def test_a_loop_does_not_end_on_the_tonic():
    loop = plan_tune(PlanRequest(key="Am", bars=8, loop=True))
    assert loop.loop and loop.harmony[-1] == "E7"
    closed = check_plan(replace(loop, harmony=(*loop.harmony[:-1], "Am"))).plan
    assert closed.harmony[-1] == "E7"


def test_what_is_asked_is_said_with_the_bars_it_means():
    wanted = PlanConstraints(length=30.0, meters=("4/4",), qpm=(80.0, 100.0))
    assert "lasts 30 seconds, as 11 bars of 4/4 at 90 quarter notes a minute do" in constraint_lines(wanted)
    assert bars_meant([PlanConstraints(), wanted]) == (10, 12)
    assert bars_meant([PlanConstraints(bars=(4, 8)), wanted]) == (4, 8)
    assert bars_meant([PlanConstraints()]) is None
    assert any("loop" in line for line in constraint_lines(PlanConstraints(loop=True)))


def test_length_and_loop_go_with_the_plan():
    timed = replace(PLAN, length_s=32.5, loop=True)
    assert plan_of_json(plan_as_json(timed)) == timed
    assert not {"length_s", "loop"} & plan_as_json(PLAN).keys()
