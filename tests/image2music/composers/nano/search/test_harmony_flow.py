"""How chords go on: what leads, what closes, and that drawn phrases do both."""

import random
from itertools import pairwise

import pytest

from image2music.composers.nano.search.form_making import FormMaker
from image2music.composers.nano.search.harmony import (
    Harmonist,
    close_cost,
    flow_cost,
    is_strange,
    leads_to,
    with_leading_note,
)
from image2music.music.theory import Tonality, read_chord

C = Tonality("C", "major")


@pytest.mark.parametrize(
    "one, two",
    [
        ("D7", "G"), ("E7", "Am"), ("A7/C#", "Dm"), ("F#dim7", "G7"), ("Ab7", "C/G"), ("Db/F", "G7"), ("Fm", "C"),
        ("Bb", "F"), ("C+", "F"),
    ],
)  # fmt: skip
def test_a_foreign_chord_leads_where_it_is_heard_to_lead(one: str, two: str) -> None:
    assert leads_to(read_chord(one), read_chord(two), 0)


@pytest.mark.parametrize("one, two", [("Ab", "F"), ("B7", "G"), ("Db", "C"), ("E7", "Dm"), ("Ab", "Dm")])
def test_other_steps_leave_it_hanging(one: str, two: str) -> None:
    assert not leads_to(read_chord(one), read_chord(two), 0)


def test_what_resolves_flows_better_than_what_is_left() -> None:
    assert flow_cost(("C", "D7", "G"), "C") < flow_cost(("C", "D7", "F"), "C")
    assert flow_cost(("C", "Ab", "G7", "C"), "C") < flow_cost(("C", "Ab", "F", "C"), "C")
    assert flow_cost(("C/G", "G7"), "C") < flow_cost(("C/G", "Am"), "C")


def test_what_stands_around_a_phrase_counts() -> None:
    assert flow_cost(("G7",), "C", before="D7") < flow_cost(("F",), "C", before="D7")
    assert flow_cost(("Am", "D7"), "C", after="G") < flow_cost(("Am", "D7"), "C", after="F")


def test_a_close_wants_what_leads_to_the_dominant_and_the_dominant() -> None:
    best, bare, turned, none = (close_cost(one.split("|"), C) for one in ("F|G7|C", "C|G7|C", "F|G7/B|C", "C|F|C"))
    assert best == 0 < bare < none
    assert best < turned < none


def test_a_mode_closes_with_a_leading_note() -> None:
    assert with_leading_note(("F", "Gm", "Cm"), Tonality("C", "dorian")) == ("F", "G7", "Cm")


def test_a_phrase_keeps_the_head_that_is_asked_for() -> None:
    drawn = Harmonist("classic", random.Random(1)).phrase("close", 4, Tonality("D", "major"), head=("D", "G"))
    assert drawn[:2] == ("D", "G") and len(drawn) == 4


def test_foreign_chords_in_whole_forms_are_mostly_led_on() -> None:
    led = left = 0
    for seed in range(30):
        tasks = FormMaker(C, 24, "flowing", "shrink", random.Random(seed), leads=1).form.tasks
        symbols = [(one, task.key) for task in tasks for one in task.chords.split()]
        for (one, key), (two, _) in pairwise(symbols):
            if key == "C" and is_strange(one, key) and read_chord(one).root != read_chord(two).root:
                goes = leads_to(read_chord(one), read_chord(two), 0)
                led, left = led + goes, left + (not goes)
    assert led > 8 * left


def test_tunes_end_by_a_dominant_that_was_led_to() -> None:
    full = 0
    for seed in range(30):
        tasks = FormMaker(C, 24, "calm", "shrink", random.Random(seed), leads=1).form.tasks
        full += close_cost([task.chords for task in tasks[-4:]], C) == 0
    assert full >= 24
