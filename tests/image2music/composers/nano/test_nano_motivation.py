"""What nano says of a tune: facts of scene and plan, in a number of words that people read."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from image2music.composers.nano.gestures import DEVICE_WORDS
from image2music.composers.nano.motivation import FEWEST_WORDS, MOST_WORDS, motivate
from image2music.composers.suiting import instrument_called, suiting_music
from image2music.images.scene import Scene
from image2music.music.planning.plan import Device, Surprise
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.types import Description

SCENE = Scene(
    "dog", things=(("dog", 0.9),), people=0, place="beach", palette=("blue", "grey"), mood="calm", motion="still",
    light="softly lit", focal_point="the dog in the middle", eye_path=("the dog in the middle", "the sea on the left"),
)  # fmt: skip
PLAN = plan_tune(PlanRequest(key="Dm", meter="4/4", qpm=72, bars=16, picture_parts=("the dog", "the sea"), seed=1))
PLAN = replace(
    PLAN,
    device=Device(DEVICE_WORDS["call"], 9, (1,)),
    surprise=Surprise(7, "the chord Eb, which is foreign to D minor", "the ear is led off for a moment"),
)


def said(plan=PLAN, scene=SCENE, album=None, constraints=(), asked=None):
    request = SimpleNamespace(
        album=album, plan=asked, constraints=constraints, references=(), description=Description("", scene=scene)
    )
    return motivate(SimpleNamespace(request=request, plan=plan))


def test_it_speaks_of_what_is_there():
    assert "a dog on a beach" in said()
    assert "the colours are blue and grey" in said(plan=None)
    assert "he eye goes from the dog in the middle to the sea on the left" in said(plan=None)


def test_it_speaks_of_the_tune_as_it_is_planned():
    text = said()
    assert "at 72 quarter notes a minute in D minor and 4/4" in text
    assert "for the dog" in text and "for the sea" in text
    assert all(instrument_called(voice.program) in text for voice in PLAN.voices)


def test_it_has_as_many_words_as_people_read():
    assert FEWEST_WORDS <= len(said().split()) <= MOST_WORDS
    parts = [f"the {'very ' * 9}large thing number {n}" for n in range(6)]
    many = plan_tune(PlanRequest(bars=32, programs=(73, 71, 48, 46, 42), picture_parts=tuple(parts), seed=2))
    assert len(said(many).split()) <= MOST_WORDS


def test_it_names_the_device_its_bars_and_what_prompted_it():
    section = PLAN.section_at(9)
    assert f"one voice calls and another answers, higher at the end (bars 9 to {section.last})" in said()
    assert "prompted by somebody who looks up, the dog" in said()
    stranger = replace(PLAN, device=Device("the bass becomes the tune", 9, (1,)))
    assert "the bass becomes the tune (bars 9" in said(stranger) and "prompted" not in said(stranger)


def test_it_names_the_event_in_the_harmony():
    assert "In bar 7 comes the chord Eb, which is foreign to D minor: the ear" in said()


def test_it_says_who_sings_where():
    first, second = PLAN.voices[0].id, PLAN.voices[1].id
    shared = replace(PLAN, melody=(first,) * 8 + (second,) * 6 + (0,) + (first,))
    text = said(shared)
    assert "in bars 1 to 8 and 16" in text and "in bars 9 to 14" in text


def test_what_was_lent_is_cited():
    lent = replace(PLAN, idea="calm music; the beat of its drums is taken from «Blue Train»; a harp for waves")
    assert "The beat of its drums is taken from «Blue Train»." in said(lent)
    heard = replace(PLAN.sections[1], new="a harp is taken from «Wind; Waves»; drums play along, as they do in «Reel»")
    both = replace(PLAN, sections=(PLAN.sections[0], heard, *PLAN.sections[2:]))
    assert "A harp is taken from «Wind; Waves»; drums play along, as they do in «Reel»." in said(both)
    assert "«" not in said()


def test_it_says_what_is_assumed():
    assert "drawn by lot from those that suit, which is an assumption." in said()
    assert "what was wished for goes first" in said(constraints=("slow",))


def test_an_instrument_is_called_as_people_call_it_and_said_once():
    voices = tuple(
        replace(voice, program=49 if voice.role in ("figure", "bass") else 5, name="?") for voice in PLAN.voices
    )
    text = said(replace(PLAN, voices=voices))
    assert text.lower().count("the strings") == 1
    assert "over their own bass" in text and "The electric piano" in text
    assert not set("?") & set(text)


@pytest.mark.parametrize("number", range(4))
def test_an_instrument_has_the_reason_that_suits_the_scene(number):
    band = suiting_music(SCENE).ensembles[number]
    lead = replace(PLAN.voices[0], program=band.programs[0])
    clauses = [clause for one in suiting_music(SCENE).ensembles for clause in one.reason.split("; ")]
    called = instrument_called(lead.program)
    reasons = [clause.partition(" for ")[2] for clause in clauses if called in clause.partition(" for ")[0]]
    text = said(replace(PLAN, voices=(lead, *PLAN.voices[1:])))
    assert not reasons or f"The {called}, chosen for {reasons[0]}, sing" in text


def test_an_album_is_what_key_and_motif_come_from():
    assert "Its album asks for D minor, 4/4" in said(album=object())
