"""The JSON form of plans, and its schema, which a small validator of our own reads."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.errors import PlanError
from image2music.music.planning.plan import Device, Motif, Surprise, pitch_name, plan_as_json, plan_of_json, read_pitch
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.schema import PLAN_SCHEMA

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": int | float, "boolean": bool}
KEYWORDS = {
    "$schema", "title", "type", "properties", "required", "additionalProperties", "patternProperties", "items",
    "minItems", "maxItems", "minimum", "maximum", "pattern", "enum",
}  # fmt: skip


def violations(schema, value, place="$"):
    """What a value breaks of a JSON Schema, for the keywords that the plan's schema uses."""
    assert set(schema) <= KEYWORDS, schema
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{place}: {value!r}"]
    if not isinstance(value, TYPES[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return [f"{place}: {value!r} is no {schema['type']}"]
    found = []
    if isinstance(value, dict):
        found += [f"{place}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, one in value.items():
            inner = schema.get("properties", {}).get(name)
            patterns = schema.get("patternProperties", {}).items()
            inner = inner or next((one for pattern, one in patterns if re.search(pattern, name)), None)
            found += [f"{place}.{name} is unknown"] if inner is None else violations(inner, one, f"{place}.{name}")
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{place}: {len(value)} items")
        found += [line for n, one in enumerate(value) for line in violations(schema["items"], one, f"{place}[{n}]")]
    elif isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{place}: {value!r}")
    elif not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{place}: {value}")
    return found


REQUESTS = st.builds(
    PlanRequest,
    title=st.text(max_size=8),
    key=st.sampled_from(["", "C", "F#m", "Bb", "Ddor", "Gmix", "Ebm"]),
    meter=st.sampled_from(["3/4", "4/4", "6/8", "5/4", "2/2"]),
    qpm=st.sampled_from([30.0, 66.5, 220.0]),
    bars=st.integers(1, 60),
    programs=st.lists(st.integers(0, 127), min_size=1, max_size=5).map(tuple),
    arousal=st.floats(0, 1),
    valence=st.floats(-1, 1),
    seed=st.integers(0, 2**32),
    tune_moves=st.booleans(),
    drums=st.booleans(),
    picture_parts=st.lists(st.sampled_from(["sky", "lake"]), max_size=3).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(REQUESTS)
def test_every_plan_keeps_its_schema_and_comes_back(request):
    plan = plan_tune(request)
    shape = json.loads(json.dumps(plan_as_json(plan)))
    assert violations(PLAN_SCHEMA, shape) == []
    again = plan_of_json(shape)
    assert again == plan_of_json(plan_as_json(again))
    assert (again.sections, again.voices, again.harmony) == (plan.sections, plan.voices, plan.harmony)


def full_shape():
    shape = plan_as_json(plan_tune(PlanRequest(bars=16, key="D", tune_moves=True, programs=(73, 40, 0, 42))))
    shape["device"] = {"what": "mirror", "payoff_bar": 12, "voices": [1, 2]}
    shape["motif"] = {"chords": "D Bm7", "abc": "D3 A B2 A2 | A4 F4"}
    shape["surprise"] = {"bar": 13, "what": "Gm", "why": "a shadow"}
    shape["free_bars"] = [3]
    return shape


def test_a_plan_with_everything_keeps_its_schema_and_comes_back():
    shape = full_shape()
    assert violations(PLAN_SCHEMA, shape) == []
    plan = plan_of_json(shape)
    assert plan.device == Device("mirror", 12, (1, 2))
    assert plan.motif == Motif("D3 A B2 A2 | A4 F4", "D Bm7")
    assert plan.surprise == Surprise(13, "Gm", "a shadow")
    assert plan_as_json(plan) == shape


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("bars",), "16"), (("bars",), 0), (("key",), None), (("voices",), []), (("voices", 0, "program"), 128),
        (("sections", 0, "dynamic"), "loud"), (("sections", 0, "bars"), "one to two"), (("harmony", "x"), "D"),
        (("sections", 0, "qpm"), 5), (("sections", 0, "roles", "1"), "solo"), (("climax", "note"), "high"),
        (("more",), 1), (("voices", 0, "derived"), 1),
    ],
)  # fmt: skip
def test_the_schema_refuses(path, value):
    shape = full_shape()
    inner = shape
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert len(violations(PLAN_SCHEMA, shape)) == 1


def test_harmony_may_be_a_list_and_numbers_may_be_text():
    shape = full_shape()
    lenient = shape | {"harmony": list(shape["harmony"].values()), "bars": "16"}
    assert plan_of_json(lenient) == plan_of_json(shape)


def test_a_word_may_have_more_behind_it():
    shape = full_shape()
    shape["sections"][0]["cadence"] = "half on A7"
    assert plan_of_json(shape).sections[0].cadence == "half"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"sections": []}, "sections"), ({"sections": [{"bars": "x"}]}, r"sections\[1\].bars"),
        ({"voices": None}, "voices"), ({"bars": 10**9}, "bars"), ({"climax": {"bar": 3, "voice": 1}}, "climax.note"),
        ({"harmony": {"0": "D"}}, "harmony"), ({"voices": [{"id": 1}, {"id": 1}]}, "voices"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_its_place(change, place):
    with pytest.raises(PlanError, match=place):
        plan_of_json(full_shape() | change)


@given(st.integers(0, 127))
def test_pitches_come_back_from_their_names(pitch):
    assert read_pitch(pitch_name(pitch)) == pitch == read_pitch(str(pitch))


@pytest.mark.parametrize(("text", "pitch"), [("C4", 60), ("e'", 88), ("^f", 78), ("_B,", 58), ("Bb3", 58), ("G♯4", 68)])
def test_pitches_are_read_in_both_notations(text, pitch):
    assert read_pitch(text) == pitch


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-500, 500) | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_nothing_but_a_plan_error_comes_of_a_broken_plan(data):
    shape = full_shape()
    name = data.draw(st.sampled_from(sorted(shape)))
    shape[name] = data.draw(JSON)
    section = full_shape()["sections"][0]
    section[data.draw(st.sampled_from(sorted(section)))] = data.draw(JSON)
    if name != "sections":
        shape["sections"] = [section]
    try:
        plan = plan_of_json(shape)
    except PlanError:
        return
    assert plan_as_json(plan)
