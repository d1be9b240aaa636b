from dataclasses import replace
from types import SimpleNamespace

import pytest

from image2music.composers.nano.explaining import motivate
from image2music.composers.suiting import instrument_called, suiting_music
from image2music.images.scene import Scene
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.types import Description

CONTROLS = dict.fromkeys(("density", "range", "leaps"), "middle")
CONTROLS |= {"tempo": "slow", "mode": "major", "tonic": "C", "kind": "air", "meter": "3/4"}
SCENE = Scene(
    "dog", things=(("dog", 0.9),), people=0, place="beach", palette=("blue", "grey"), mood="calm", motion="still",
    light="softly lit", focal_point="the dog in the middle", eye_path=("the dog in the middle", "the sea on the left"),
)  # fmt: skip
PLAN = plan_tune(PlanRequest(key="Dm", meter="4/4", qpm=72, bars=16, picture_parts=("the dog", "the sea"), seed=1))


def sentences(*captions, plan=None):
    references = tuple(SimpleNamespace(caption=caption, contributes="") for caption in captions)
    request = SimpleNamespace(album=None, references=references, description=Description("", scene=SCENE))
    return motivate(CONTROLS, SimpleNamespace(request=request, plan=plan), n_references=2)


@pytest.mark.parametrize(
    ("captions", "end"),
    [
        ((), "by leaps as well as steps."),
        (("A waltz. It is slow.",), "one tune from the index was in its ear, the nearest of them “A waltz”."),
        (("", "A reel."), "2 tunes from the index were in its ear."),
    ],
)
def test_the_nearest_tune_is_named_by_its_caption_where_it_has_one(captions, end):
    assert sentences(*captions)[-1].text.endswith(end)


def test_it_speaks_of_what_is_there():
    first = sentences()[0].text
    assert "a dog on a beach; the colours are blue and grey. It is softly lit, and " in first
    assert "the eye goes from the dog in the middle to the sea on the left" in first


def test_it_speaks_of_the_tune_as_it_is_planned():
    text = " ".join(one.text for one in sentences(plan=PLAN))
    assert "at 72 quarter notes a minute in D minor and 4/4" in text
    assert "stand for the dog" in text and "for the sea" in text
    assert all(instrument_called(voice.program) in text for voice in PLAN.voices)
    assert f"comes in bar {PLAN.climax.bar}" in text


def test_only_a_sentence_on_what_control_tokens_decided_has_slots():
    assert [bool(one.slots) for one in sentences()] == [False, True, True, True]
    planned = [bool(one.slots) for one in sentences(plan=PLAN)]
    assert planned == [False] * (len(planned) - 2) + [True, True]


def test_an_instrument_is_called_as_people_call_it_and_said_once():
    voices = tuple(
        replace(voice, program=49 if voice.role in ("figure", "bass") else 5, name="?") for voice in PLAN.voices
    )
    text = " ".join(one.text for one in sentences(plan=replace(PLAN, voices=voices)))
    assert text.count("the strings") == 1
    assert "over their own bass" in text and "The electric piano" in text
    assert not set("()?") & set(text)


def test_an_instrument_has_the_reason_that_suits_the_scene():
    clauses = [clause for one in suiting_music(SCENE).ensembles for clause in one.reason.split("; ")]
    program = suiting_music(SCENE).ensembles[0].programs[0]
    lead = replace(PLAN.voices[0], program=program)
    text = " ".join(one.text for one in sentences(plan=replace(PLAN, voices=(lead, *PLAN.voices[1:]))))
    why = next(clause.partition(" for ")[2] for clause in clauses if instrument_called(program) in clause)
    assert f"The {instrument_called(program)}, chosen for {why}, " in text


def test_a_caption_that_tells_the_name_gives_the_name():
    assert sentences('A quartet by Haydn named "Quartet op. 1 no. 1". Calm.')[-1].text.endswith(
        "“Quartet op. 1 no. 1”."
    )
