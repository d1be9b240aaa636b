import pytest

from image2music.abc.playback import abc_to_score
from image2music.evaluation.measures import Asked, asked_by, heard_key, key_match, tempo_match
from image2music.music.theory import Key

MAJOR = "X:1\nM:4/4\nL:1/4\nQ:1/4=150\nK:G\nG A B c | d4 | B G A F | G4 |]\n"
MINOR = "X:1\nM:4/4\nL:1/4\nQ:1/4=60\nK:Am\nA B c d | e4 | c A B ^G | A4 |]\n"


@pytest.mark.parametrize(
    ("description", "asked"),
    [
        ("A wall.", Asked()),
        ("The mood is joyful: full of energy.", Asked(minor=False, fast=True)),
        ("A dark street. The mood is melancholy.", Asked(minor=True, fast=False)),
        ("A happy child. The mood is sombre.", Asked(minor=True)),
        ("A piece in D minor at 96 bpm.", Asked(minor=True, sharps=-1, qpm=96.0)),
        ("Set in B flat major.", Asked(minor=False, sharps=-2)),
    ],
)
def test_a_description_asks_for_what_its_mood_leans_to(description, asked):
    assert asked_by(description) == asked


def test_the_key_that_is_heard_counts_and_not_the_one_that_is_written():
    lying = abc_to_score(MINOR.replace("K:Am", "K:C"))
    assert heard_key(lying) == Key.of(0, True)
    assert key_match(lying, Asked(minor=True)) == 1.0
    assert key_match(lying, Asked(minor=False)) == 0.0


def test_a_named_key_needs_its_signature_too():
    assert key_match(abc_to_score(MAJOR), Asked(minor=False, sharps=1)) == 1.0
    assert key_match(abc_to_score(MAJOR), Asked(minor=False, sharps=2)) == 0.0


@pytest.mark.parametrize(("asked", "points"), [(Asked(fast=True), 1.0), (Asked(fast=False), 0.0), (Asked(), None)])
def test_a_fast_tune_suits_an_excited_picture(asked, points):
    assert tempo_match(abc_to_score(MAJOR), asked) == points


def test_a_medium_tempo_is_half_right_and_a_named_one_right_within_a_tenth():
    medium = abc_to_score(MAJOR.replace("150", "100"))
    assert tempo_match(medium, Asked(fast=True)) == 0.5
    assert tempo_match(medium, Asked(qpm=108.0)) == 1.0
    assert tempo_match(medium, Asked(qpm=120.0)) == 0.0
