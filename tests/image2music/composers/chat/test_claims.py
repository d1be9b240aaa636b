"""What a motivation says that can be checked is checked."""

import pytest

from image2music.abc.playback import abc_to_score
from image2music.composers.chat.answers import false_claims, highest_bars, without

TUNE = """X:1
T:Hill
M:4/4
L:1/4
Q:1/4=72
K:Dm
V:1
V:2
[V:1] D F A d | c A F D | [Q:1/4=96] E G c e | d4 |]
[V:2] D,4 | F,4 | C,4 | D,4 |]
"""


@pytest.fixture(scope="module")
def score():
    return abc_to_score(TUNE)


@pytest.mark.parametrize(
    "said",
    [
        "The dark hill is D minor at a tempo of 72.",
        "The light in bars 3-4 goes at 96 quarter notes a minute.",
        "The climax stands in bar 3, the highest note of all.",
        "A minor third and the 12 birds; a major seventh rises over the 1950 hill.",
        "Its peak, the flute's high E, comes in bar 4.",  # within a bar
    ],
)
def test_what_is_true_or_cannot_be_checked_stands(score, said):
    assert false_claims(said, score) == ()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("The hill is in E flat major.", "names Eb major"),
        ("It walks at 120 beats a minute.", "tempo of 120"),
        ("Bars 3 to 9 are bright.", "names bar 9"),
        ("The climax is reached in bar 1.", "stands in bar 3"),
    ],
)
def test_what_is_false_is_named(score, said, why):
    (claim,) = false_claims(f"The hill is dark. {said}", score)
    assert claim.sentence == 1
    assert why in claim.why


def test_only_the_false_sentence_is_left_out_and_something_always_stays(score):
    text = "The hill is dark. It is in E flat major. Bar 3 is light."
    assert without(text, false_claims(text, score)) == "The hill is dark. Bar 3 is light."
    alone = "It is in E flat major."
    assert without(alone, false_claims(alone, score)) == alone


def test_the_highest_note_is_found_in_its_bar(score):
    assert highest_bars(score) == [3]
