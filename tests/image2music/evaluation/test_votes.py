import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.errors import ConfigError
from image2music.evaluation.votes import (
    VOTE_COLUMNS,
    Vote,
    count_votes,
    is_vote_file,
    preferences,
    read_votes,
    tune_mark,
)

HEADER = ",".join(VOTE_COLUMNS)


def vote(choice="a", *, a="one", b="two", image_id="p1", compared="run"):
    return Vote("Ann", image_id, compared, "out", a, "other", b, choice)


def test_a_file_of_votes_is_told_from_answers_to_the_listening_form():
    assert is_vote_file(f"\ufeff{HEADER}\n")
    assert not is_vote_file("listener,item,melody\n")
    assert not is_vote_file("")


LINE = "Ann,p1,SKU-1,run,out,one,other,two,a,2026-01-01T10:00:00Z"


def test_a_line_is_one_pair_that_somebody_heard():
    assert read_votes(f"{HEADER}\n{LINE}\n", "votes.csv") == [vote()]


@pytest.mark.parametrize("before", ["", "\ufeff", "sep={0}\n"])
@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_what_a_spreadsheet_saved_is_read_whatever_parts_its_cells(delimiter, before):
    text = before.format(delimiter) + f"{HEADER}\n{LINE}\n".replace(",", delimiter).replace("\n", "\r\n")
    assert is_vote_file(text)
    assert read_votes(text, "votes.csv") == [vote()]


def test_votes_of_a_page_that_knew_no_catalogue_are_read():
    text = f"{HEADER}\n{LINE}\n".replace("catalog_id,", "").replace("SKU-1,", "")
    assert read_votes(text, "votes.csv") == [vote()]


@pytest.mark.parametrize(("column", "word"), [("vote", "maybe"), ("compared", "dream")])
def test_a_word_that_is_not_known_is_refused_with_its_line(column, word):
    cells = dict(zip(VOTE_COLUMNS, ["Ann", "p1", "", "run", "out", "one", "other", "two", "a", ""], strict=True))
    text = f"{HEADER}\n{','.join((cells | {column: word}).values())}\n"
    with pytest.raises(ConfigError, match=f"votes.csv, line 2: {column} must be one of"):
        read_votes(text, "votes.csv")


def test_a_file_without_its_columns_is_refused():
    with pytest.raises(ConfigError, match=r"votes\.csv lacks the columns listener"):
        read_votes("vote,a_tune,b_tune\n", "votes.csv")


@given(st.sampled_from(["a", "b", "same"]))
def test_the_shares_of_both_tunes_make_one(choice):
    given_vote = vote(choice)
    assert (given_vote.share_of("one") or 0) + (given_vote.share_of("two") or 0) == 1


def test_neither_prefers_none_and_a_tune_that_was_not_heard_has_no_share():
    assert vote("neither").share_of("one") is None
    assert vote("a").share_of("three") is None


def test_a_system_gets_the_votes_on_the_tunes_that_it_still_has():
    votes = [vote("a"), vote("b"), vote("same"), vote("a", a="gone", b="lost"), vote("b", compared="candidate")]
    assert preferences(votes, {"p1": "one"}) == [
        ("p1", "preferred_to_run", 1.0),
        ("p1", "preferred_to_run", 0.0),
        ("p1", "preferred_to_run", 0.5),
        ("p1", "preferred_to_candidate", 0.0),
    ]
    counts = count_votes(votes, frozenset({"one", "two"}))
    assert (counts.votes, counts.gone, counts.choices) == (5, 1, {"a": 2, "b": 2, "same": 1})
    assert counts.line == "5 votes, 1 for both, 0 for neither, 1 for tunes that are no longer there."


def test_a_mark_depends_on_the_tune_alone():
    assert tune_mark("X:1\n") == tune_mark("X:1\n") != tune_mark("X:2\n")
    assert len(tune_mark("")) == 16
