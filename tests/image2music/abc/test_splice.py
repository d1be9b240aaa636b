import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.checker import check
from image2music.abc.playback import abc_to_score
from image2music.abc.writer.excerpt import splice_bar
from image2music.errors import AbcError

TUNE = """X:1
T:Two voices
M:4/4
L:1/8
Q:1/4=96
K:G
V:1
V:2 clef=bass
[V:1] !p!(G2 A2 B2 c2) | !crescendo(!d4 (e2 d2 | B4) !crescendo)!A4 | [Q:1/4=80]!f!G8 |]
[V:2] [G,D]8 | [F,A,]8 | [E,G,]4 [D,F,]4 | G,,8 |]
"""


def line(abc, voice):
    return next(line for line in abc.splitlines() if line.startswith(f"[V:{voice}]"))


def test_one_bar_changes_and_nothing_else():
    spliced = splice_bar(TUNE, "2", 2, "D,4 [F,A,]4")
    assert line(spliced, 2) == "[V:2] [G,D]8 | D,4 [F,A,]4 | [E,G,]4 [D,F,]4 | G,,8 |]"
    assert line(spliced, 1) == line(TUNE, 1)


def test_the_tempo_and_the_dynamic_that_begin_a_bar_stay():
    assert line(splice_bar(TUNE, "1", 4, "B8"), 1).endswith("[Q:1/4=80]!f!B8 |]")
    assert "!p!B8 |" in line(splice_bar(TUNE, "1", 1, "B8"), 1)


def test_a_dynamic_of_the_edit_takes_the_place_of_the_old_one():
    assert line(splice_bar(TUNE, "1", 4, "!pp!B8"), 1).endswith("[Q:1/4=80]!pp!B8 |]")


def test_swells_and_slurs_that_cross_the_bar_keep_their_ends():
    spliced = splice_bar(splice_bar(TUNE, "1", 2, "c4 d4"), "1", 3, "G4 F4")
    assert "!crescendo(!(c4 d4 | G4 !crescendo)!F4) |" in line(spliced, 1)
    assert check(spliced) == []


def test_a_slur_inside_the_old_bar_goes_with_it():
    assert "!p!B2 A2 B2 c2 |" in line(splice_bar(TUNE, "1", 1, "B2 A2 B2 c2"), 1)


@pytest.mark.parametrize("text", ["| B8 |", "B8 |]", "[V:1] B8", "  B8\n"])
def test_bar_lines_and_voices_around_the_edit_are_taken_off(text):
    assert line(splice_bar(TUNE, "1", 1, text), 1).startswith("[V:1] !p!B8 | ")


@pytest.mark.parametrize(("voice", "bar"), [("3", 1), ("1", 5), ("1", 0)])
def test_a_bar_that_is_not_there_is_refused(voice, bar):
    with pytest.raises(AbcError, match="no bar") as raised:
        splice_bar(TUNE, voice, bar, "B8")
    assert raised.value.reason == "no_such_bar"


def test_more_than_one_bar_is_refused():
    with pytest.raises(AbcError) as raised:
        splice_bar(TUNE, "1", 1, "B8 | c8")
    assert raised.value.reason == "more_than_a_bar"


@given(bar=st.integers(1, 4), notes=st.lists(st.sampled_from("CDEFGABc"), min_size=8, max_size=8))
def test_the_spliced_bar_sounds_and_all_others_as_before(bar, notes):
    before, after = (abc_to_score(abc).tracks for abc in (TUNE, splice_bar(TUNE, "2", bar, "".join(notes))))
    start, end = (bar - 1) * 4 * 480, bar * 4 * 480
    inside = (after[1].onsets >= start) & (after[1].onsets < end)
    assert inside.sum() == 8
    kept = (before[1].onsets < start) | (before[1].onsets >= end)
    assert after[1].pitches[~inside].tolist() == before[1].pitches[kept].tolist()
    assert after[0].pitches.tolist() == before[0].pitches.tolist()
