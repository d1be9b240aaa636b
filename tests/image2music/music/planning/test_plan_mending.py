"""A plan that says anything at all comes out so that it can be played."""

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from image2music.abc.checker import read_motif
from image2music.music.planning.checks import check_plan
from image2music.music.planning.mending import consistent
from image2music.music.planning.plan import plan_as_json, plan_of_json
from image2music.music.planning.schema import DECODABLE_PLAN_SCHEMA, PLAN_SCHEMA, TIMED, decodable_plan_schema
from image2music.music.theory import read_tonality

WORDS = [
    *(f"{first}-{last}" for first in (1, 2, 5, 9, 17) for last in (1, 4, 8, 12, 20)),
    *("1", "7", "20", "C4", "F#8", "Bb0", "E5", "C3", "G2"),
    *("C", "G7", "Am7 D", "F#m7b5/C", "C | F", "C | G7 | C", "1 5 8", "1 3 5 8 5 3"),
    *("C2 E2 G4", "C8|D8", "zzz", "^C/", "((("),
]


def words(pattern):
    return st.sampled_from([word for word in WORDS if re.search(pattern, word)])


@st.composite
def values(draw: DrawFn, schema, definitions):
    """Any value that keeps to a schema, of the words that `decodable_plan_schema` uses."""
    if "$ref" in schema:
        return draw(values(definitions[schema["$ref"].rpartition("/")[2]], definitions))
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    match schema["type"]:
        case "object":
            found = {
                name: draw(values(one, definitions))
                for name, one in schema.get("properties", {}).items()
                if name in schema.get("required", ()) or draw(st.integers(0, 9)) < 4
            }
            for pattern, one in schema.get("patternProperties", {}).items():
                for key in draw(st.lists(words(pattern), max_size=3)):
                    found[key] = draw(values(one, definitions))
            return found
        case "array":
            seats = schema.get("prefixItems")
            most = len(seats) if seats else min(3, schema["maxItems"])
            number = draw(st.integers(schema.get("minItems", 0), most))
            return [draw(values(seats[at] if seats else schema["items"], definitions)) for at in range(number)]
        case "integer":
            return draw(st.integers(schema["minimum"], schema["maximum"]))
    if "pattern" in schema:
        return draw(words(schema["pattern"]))
    return draw(st.text("abc é", min_size=schema.get("minLength", 0), max_size=8))


SMALL = decodable_plan_schema((1, 20), (1, 4))


@settings(max_examples=60, deadline=None)
@given(values(SMALL, SMALL["$defs"]))
def test_any_plan_that_can_be_decoded_is_made_consistent(shape):
    plan = plan_of_json(json.loads(json.dumps(shape)))
    done = consistent(plan, read_motif)
    assert done.faults == ()
    assert check_plan(done.plan, read_motif).faults == ()
    again = plan_of_json(plan_as_json(done.plan))
    assert consistent(again, read_motif).plan.bars == done.plan.bars


def test_a_plan_without_faults_is_what_the_check_makes_of_it():
    shape = {
        "key": "D",
        "meter": "3/4",
        "voices": [{"id": 1, "program": 73, "low": "D5", "high": "C6"}, {"id": 2, "program": 42, "low": "C2"}],
        "sections": [{"bars": "1-2", "qpm": 70, "roles": {"1": "melody", "2": "bass"}}],
        "harmony": {"1": "A7", "2": "D"},
    }
    plan = plan_of_json(shape)
    assert consistent(plan) == check_plan(plan)


def test_what_cannot_be_read_is_replaced():
    shape = {
        "key": "none",
        "meter": "13/17",
        "voices": [{"id": number, "program": 400, "name": "?"} for number in range(12)],
        "sections": [{"bars": "1-30", "roles": {"0": "rest"}}],
        "device": {"what": "?", "payoff_bar": 90, "voices": [40]},
        "motif": {"chords": "D", "abc": "x!"},
        "climax": {"bar": 99, "voice": 77, "note": "C4"},
        "harmony": [],
    }
    done = consistent(plan_of_json(shape), read_motif)
    assert done.faults == ()
    assert len(done.plan.voices) == 8
    assert min(voice.id for voice in done.plan.voices) == 1
    assert done.plan.melody_at(1)
    assert any("took C" in line for line in done.mended)


def test_the_keys_that_can_be_decoded_are_keys():
    keys = DECODABLE_PLAN_SCHEMA["properties"]["key"]["enum"]
    assert {"C", "F#m", "Ddor", "Ebm"} <= set(keys)
    assert all(str(read_tonality(key)) == key for key in keys)


def test_ranges_of_bars_that_can_be_decoded_do_not_go_backwards():
    pattern = SMALL["properties"]["sections"]["items"]["properties"]["bars"]["pattern"]
    fits = {f"{a}-{b}" for a in range(25) for b in range(25) if re.search(pattern, f"{a}-{b}")}
    assert fits == {f"{a}-{b}" for a in range(1, 21) for b in range(a, 21)}


def test_what_can_be_decoded_names_what_a_plan_must_have():
    assert set(PLAN_SCHEMA["required"]) <= set(DECODABLE_PLAN_SCHEMA["required"])
    assert set(DECODABLE_PLAN_SCHEMA["properties"]) == set(PLAN_SCHEMA["properties"]) - set(TIMED)
