"""What the prepared program for a GPU asks and estimates; it is itself tried by `--size tiny`."""

import pytest

from benchmarks.accelerator import ANSWERS, LEAST_SHARE, PlanFigures, estimate, plan_questions, share_of_answers
from image2music.composers.constrained.forms import JsonForm, LinesForm


def test_questions_are_those_of_a_recorded_run_each_going_on_from_the_one_before():
    questions, replayed = plan_questions(lambda text: len(text) // 3)
    assert [one.step for one in questions] == list(ANSWERS)
    assert [len(one.conversation.messages) for one in questions] == [1, 3, 5, 7, 9, 11, 13]
    forms = {one.step: type(one.form) for one in questions}
    assert forms["plan"] is forms["look"] is JsonForm and forms["melody"] is forms["write"] is LinesForm
    assert "V:5" in replayed.messages[-3].text


def test_what_does_not_fit_into_the_minutes_is_decoded_in_part():
    fixed, whole = estimate((1, 8, 32), 128)
    assert 0 < LEAST_SHARE < share_of_answers(300 - fixed, whole) < 1
    assert share_of_answers(-5, whole) == LEAST_SHARE
    assert share_of_answers(10_000, whole) == 1
    assert estimate((32,), 128)[0] < fixed


def test_pictures_an_hour_count_the_maps_where_they_are_made():
    row = PlanFigures(True, 32, 0.5, {"look": 50.0, "plan": 30.0}, 1000, 10.0, 64, 64, 10.0, 5000, 30.0)
    assert row.tokens_per_second == 100
    assert row.pictures_per_hour(maps=False) == pytest.approx(3600 * 32 / 80)
    assert row.pictures_per_hour(maps=True) == pytest.approx(3600 * 32 / 90)
