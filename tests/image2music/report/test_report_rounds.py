from hypothesis import given
from hypothesis import strategies as st

from image2music.report.rounds import Move, TextChange, changes, round_views

ABC = st.text(alphabet="CDE2| \n", max_size=60)


def one_round(abc, *, accepted=True, pitch_range=8.0):
    return {"purpose": "refine", "abc": abc, "accepted": accepted, "reason": "valid", "diagnostics": [],
            "metrics": {"pitch_range": pitch_range, "polyphony": 1.0}}  # fmt: skip


def test_a_bar_that_was_written_anew_is_marked_and_the_others_are_not():
    assert changes("C D | E F | G2 |", "C D | E A | G2 |") == (
        TextChange("same", "C D | E "),
        TextChange("gone", "F"),
        TextChange("new", "A"),
        TextChange("same", " | G2 |"),
    )


@given(ABC, ABC)
def test_what_stayed_and_went_is_the_old_tune_what_stayed_and_came_the_new_one(before, after):
    found = changes(before, after)
    assert "".join(change.text for change in found if change.kind != "new") == before
    assert "".join(change.text for change in found if change.kind != "gone") == after


def test_a_round_is_compared_with_the_tune_that_stood_not_with_one_that_was_turned_down():
    rounds = [one_round("C D E F|"), one_round("c d e f|", accepted=False), one_round("C D E G|", pitch_range=9.0)]
    last = round_views(rounds)[-1]
    assert [change.text for change in last.changes if change.kind == "gone"] == ["F"]
    assert last.moves == (Move("pitch_range", 8.0, 9.0),)


def test_a_tune_written_anew_is_shown_without_marks():
    view = round_views([one_round("C D E F|"), one_round("a b c' d'|")])[1]
    assert view.changes == (TextChange("same", "a b c' d'|"),)


def test_the_first_tune_shows_its_metrics_and_has_nothing_to_be_compared_with():
    (first,) = round_views([one_round("C D|")])
    assert first.kept is None
    assert first.moves == (Move("pitch_range", None, 8.0), Move("polyphony", None, 1.0))
