"""Edits on trial, with the real listener and critic."""

from image2music.loop.choose import examine, judge_edit, try_edits
from image2music.types import Edit

TUNE = """X:1
T:Hymn
M:4/4
L:1/4
Q:1/4=84
K:G
V:1
V:2
V:3
V:4 clef=bass
[V:1] G G A B | c B A2 | B A G F | G4 | B B c d | d c B A | G A B A | G4 |]
[V:2] D E F G | G G F2 | G F E D | D4 | G G G A | B A G F | E F G F | D4 |]
[V:3] B, B, D D | E D D2 | D D B, A, | B,4 | D D E F | G F D D | B, D D C | B,4 |]
[V:4] G,, E, D, G,, | C, G,, D,2 | G,, D, E, D, | G,,4 | G, G, C D, | G, A, B, D, | E, D, G,, D, | G,,4 |]
"""


def edited(abc, *edits):
    standing = examine(abc, [])
    trials = list(try_edits(standing, edits, lambda raw: examine(raw, [])))
    return trials


def test_an_edit_that_mends_a_fault_is_taken():
    wrong = TUNE.replace("[V:2] D E F G |", "[V:2] D E F ^A |")
    (trial,) = edited(wrong, Edit(1, "2", "D E F G"))
    assert trial[1:] == ("better", True)
    assert trial[0].draft.abc == TUNE


def test_an_edit_that_brings_a_fault_is_not():
    (trial,) = edited(TUNE, Edit(1, "2", "D E F ^A"))
    assert trial[1:] == ("new_fault", False)


def test_an_edit_that_changes_nothing_is_no_trial():
    assert edited(TUNE, Edit(1, "2", "D E F G")) == []


def test_a_voice_cannot_be_silenced():
    assert edited(TUNE, Edit(2, "4", "z4"))[0][1:] == ("voice_lost", False)
    assert edited(TUNE, Edit(2, "4", "C,/ z3 z/"))[0][1:] == ("voice_lost", False)


def test_a_bar_must_be_full():
    assert edited(TUNE, Edit(2, "4", "C, G,,"))[0][1] == "needs_mending"


def test_a_bare_scale_and_a_doubled_voice_are_refused():
    assert edited(TUNE, Edit(3, "1", "G/A/B/c/ d/e/f/g/"))[0][1] == "bare_scale_or_double"
    assert edited(TUNE, Edit(3, "3", "B, A, G, F,"))[0][1] == "bare_scale_or_double"


def test_a_bar_that_is_not_there_is_named():
    assert edited(TUNE, Edit(30, "1", "G4"))[0][1:] == ("no_such_bar", False)


def test_edits_of_one_bar_are_tried_together_and_then_one_by_one():
    wrong = TUNE.replace("[V:2] D E F G |", "[V:2] D E F ^A |")
    (trial,) = edited(wrong, Edit(1, "2", "D E F G"), Edit(1, "4", "z4"))
    assert trial[2]
    assert trial[0].draft.abc == TUNE


def test_a_shorter_tune_is_never_better():
    shorter = TUNE.replace(" | G4 |]", " |]").replace(" | D4 |]", " |]").replace(" | B,4 |]", " |]")
    shorter = shorter.replace(" | G,,4 |]", " |]")
    assert judge_edit(examine(TUNE, []), examine(shorter, []), [8]) == "other_length"
