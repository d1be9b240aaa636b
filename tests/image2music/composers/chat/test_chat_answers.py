import json

import pytest
from chat_fakes import TUNE
from hypothesis import given
from hypothesis import strategies as st

from image2music.composers.chat.answers import (
    json_in,
    prose_in,
    prose_of,
    scene_in,
    sentences,
    tune_in,
    without_thinking,
)
from image2music.errors import ModelError

OTHER = "X:1\nT:Sketch\nM:4/4\nL:1/4\nK:C\nC D E F |]\n"


@pytest.mark.parametrize(
    "answer",
    [
        TUNE,
        f"```abc\n{TUNE}```",
        f"Here is your tune:\n\n{TUNE}\nI hope that you like it!",
        f"<think>Perhaps\n{TUNE.replace('C', 'D')}\nor so?</think>\n{TUNE}",
        f"Let me see.\n{OTHER}</think>\n\n{TUNE}",
        f"<answer>\n{TUNE}</answer>",
        f"◁think▷{OTHER}◁/think▷{TUNE}",
        f"A sketch:\n```\n{OTHER}```\nThe whole:\n```abc\n{TUNE}```\n",
    ],
)
def test_the_tune_is_found_in_whatever_stands_around_it(answer):
    assert tune_in(answer).strip() == TUNE.strip()


def test_thoughts_that_are_broken_off_hold_no_tune():
    assert tune_in(f"<think>maybe\n{TUNE}") == ""


def test_an_answer_without_a_tune_comes_back_for_the_checker():
    assert tune_in("I cannot write music.") == "I cannot write music."


@pytest.mark.parametrize(
    "answer",
    [
        "The lake is still. So the tune is slow.",
        "**Motivation:** The lake is still. So the tune is slow.",
        "## Motivation\n\n- The lake is *still*.\n- So the tune is **slow**.",
        "<think>Hm. X:1</think>The lake is still.\nSo the tune is slow.",
        "The lake is still.\n```abc\nX:1\nK:C\nC |]\n```\nSo the tune is slow.",
        "The lake is still.\n\nX:1\nK:C\nC D E F |]\n\nSo the tune is slow.",
    ],
)
def test_a_motivation_is_its_prose_in_one_paragraph(answer):
    assert prose_in(answer) == "The lake is still. So the tune is slow."


def test_sentences_end_where_a_new_one_begins():
    text = 'It is in A minor, at ca. 60 beats. "Why?" Because it rains! No end'
    assert [text[a:b] for a, b in sentences(text)] == [
        "It is in A minor, at ca. 60 beats.",
        '"Why?"',
        "Because it rains!",
        "No end",
    ]


@given(st.text())
def test_any_text_can_be_read(text):
    tune_in(text)
    assert without_thinking(without_thinking(text)) is not None
    assert "\n" not in prose_in(text)


@given(st.text(alphabet="ab .!?A\n", max_size=80))
def test_sentences_hold_all_that_is_no_blank(text):
    covered = "".join(text[a:b] for a, b in sentences(text))
    assert "".join(covered.split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Sure!\n```json\n{"a": [1, 2,], // two\n "b": "x\\"{y"}\n```\nDone.', {"a": [1, 2], "b": 'x"{y'}),
        ('<think>{"no": 1}</think>{"a": {"b": 2}}', {"a": {"b": 2}}),
        ("{“a”: “smart”}", {"a": "smart"}),
        ('{"a": 1, "b": {"c": [1, 2, {"d": "unfin', {"a": 1, "b": {"c": [1, 2]}}),
        ('{"a": 1} and again, longer: {"a": 1, "b": 2}', {"a": 1, "b": 2}),
    ],
)
def test_json_is_found_in_whatever_stands_around_it(answer, found):
    assert json_in(answer) == found


@pytest.mark.parametrize("answer", ["", "I would rather not.", "{", "{}", '{"a"', "{broken: yes}"])
def test_where_there_is_no_object_it_says_so(answer):
    with pytest.raises(ModelError) as raised:
        json_in(answer)
    assert raised.value.reason == "no_json"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=12),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
                    max_leaves=12),
       st.integers(0, 200))  # fmt: skip
def test_an_object_that_breaks_off_anywhere_gives_a_part_of_itself_or_an_error(value, cut):
    text = json.dumps({"value": value, "end": 1})
    try:
        found = json_in(text[:cut])
    except ModelError:
        return
    assert set(found) <= {"value", "end"}


def test_a_scene_is_read_leniently_and_told_in_prose():
    scene = scene_in({"subject": "A dog", "things": [{"name": "dog"}, "ball", 3], "people": "2", "eye_path": "dog",
                      "valence": "0.5", "arousal": 7, "palette": None, "mood": ["glad"]})  # fmt: skip
    assert scene.things == (("dog", 1.0), ("ball", 1.0), ("3", 1.0))
    assert (scene.people, scene.valence, scene.arousal, scene.mood) == (2, 0.5, 1.0, "glad")
    assert prose_of(scene) == "A dog. The mood is glad."
