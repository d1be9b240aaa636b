import pytest

from image2music.errors import ConfigError
from image2music.evaluation.compare import differences, regressions
from image2music.evaluation.measures import MEASURES, bounds_of


def rows(values, measure="bars_right_first"):
    empty = dict.fromkeys(MEASURES) | {"metrics": None, "faithfulness": None, "answers": []}
    return [empty | {"image_id": f"id{n}", measure: value} for n, value in enumerate(values)]


def test_a_fall_beyond_the_bound_is_a_regression_and_says_so():
    found = differences(rows([0.9] * 20), rows([1.0] * 20), seed=0)
    reason = regressions(found)[0].reason()
    assert reason.startswith("bars_right_first fell from 1 to 0.9 over 20 pictures")
    assert reason.endswith("more bars are broken")


@pytest.mark.parametrize("here", [0.985, 1.0])
def test_a_fall_within_the_bound_and_no_fall_are_none(here):
    assert not regressions(differences(rows([here] * 20), rows([1.0] * 20), seed=0))


def test_a_fall_that_the_interval_does_not_exclude_is_none():
    here = [0.5, *[1.0] * 19]
    found = differences(rows(here), rows([1.0] * 20), seed=0)
    assert found[0].change.mean == pytest.approx(-0.025)
    assert not regressions(found)


def test_for_what_should_be_low_a_rise_is_the_regression():
    low, high = rows([4.0] * 9, "longest_copy"), rows([30.0] * 9, "longest_copy")
    assert regressions(differences(high, low, 0))
    assert not regressions(differences(low, high, 0))


def test_pictures_are_paired_by_id_and_others_left_out():
    found = differences(rows([1.0] * 12), rows([1.0] * 9)[::-1], seed=0)
    assert found[0].change.n == 9


def test_nothing_in_common_leaves_nothing_to_compare():
    other = [row | {"image_id": "other"} for row in rows([1.0])]
    assert differences(rows([1.0]), other, seed=0) == []


def test_a_bound_of_one_s_own_replaces_the_table_s():
    here, there = rows([0.9] * 20), rows([1.0] * 20)
    assert not regressions(differences(here, there, 0, bounds_of(["bars_right_first=0.2"])))


@pytest.mark.parametrize("text", ["bars_right", "bars_right=x", "nonsense=1", "groove_consistency=1", "bars_right=-1"])
def test_a_bound_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError, match="a bound is NAME=VALUE"):
        bounds_of([text])
