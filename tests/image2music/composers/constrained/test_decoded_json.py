"""JSON while it is decoded: whatever the network prefers, the document keeps to its schema and ends in time."""

import json

import numpy as np
import pytest
import tiny_vlms
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.composers.constrained.constraint import AbcVocabulary
from image2music.composers.constrained.forms import JsonForm, decodable
from image2music.music.planning.schema import decodable_plan_schema

TEXT = {"type": "string"}
VOICE = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "low": {"type": "string", "pattern": "^[A-G][#b]?[0-8]$"},
        "solo": {"type": "boolean"},
    },
    "required": ["name", "low"],
    "additionalProperties": False,
}
LOOK = {
    "type": "object",
    "properties": {
        "mood": TEXT,
        "wish": {"anyOf": [TEXT, {"type": "null"}]},
        "energy": {"type": "number", "minimum": 0, "maximum": 1},
        "pace": {"enum": ["slow", "fast"]},
        "voices": {"type": "array", "minItems": 1, "items": VOICE},
        "chords": {"type": "object", "patternProperties": {"^[1-9]$": TEXT}, "additionalProperties": False},
        "end": TEXT,
    },
    "required": ["mood", "energy", "voices", "chords", "end"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def vocabulary():
    tokenizer = tiny_vlms.tokenizer_of("llava")
    return AbcVocabulary(tokenizer, [tokenizer.eos_token_id], len(tokenizer))


def written(vocabulary, schema, most, seed):
    """A document of random tokens of those that are allowed."""
    state, dice, tokens = vocabulary.state(JsonForm.of("x", schema), most), np.random.default_rng(seed), []
    while not state.has_ended:
        words = np.frombuffer(state.matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(words, count=vocabulary.size, bitorder="little").astype(bool)
        state.narrow(allowed)
        tokens.append(int(dice.choice(np.flatnonzero(allowed))))
        state.take(tokens[-1])
        assert len(tokens) <= most
    return vocabulary.tokenizer.decode_bytes(tokens[:-1]).decode()


@settings(max_examples=30, deadline=None)
@given(st.integers(150, 700), st.integers(0, 2**32))
def test_a_random_document_keeps_to_its_schema_and_ends_in_time(vocabulary, most, seed):
    text = written(vocabulary, LOOK, most, seed)
    shape = json.loads(text)
    assert set(LOOK["required"]) <= set(shape) <= set(LOOK["properties"])
    assert [name for name in LOOK["properties"] if name in shape] == list(shape)
    assert 0 <= shape["energy"] <= 1
    assert shape.get("pace", "slow") in ("slow", "fast")
    assert 1 <= len(shape["voices"]) <= 16
    assert all({"name", "low"} <= set(voice) <= set(VOICE["properties"]) for voice in shape["voices"])
    assert text == json.dumps(shape, ensure_ascii=False, separators=(",", ":")) or "." in text or "e" in text


def test_what_can_be_decoded_is_bounded_and_has_no_escapes(vocabulary):
    bounded = decodable(LOOK)
    assert bounded["properties"]["voices"]["maxItems"] == 16
    assert bounded["properties"]["chords"]["maxProperties"] == 16
    assert bounded["properties"]["voices"]["items"]["properties"]["low"] == VOICE["properties"]["low"]
    for seed in range(10):
        assert "\\" not in written(vocabulary, {"type": "array", "items": TEXT}, 300, seed)


def test_names_are_read_in_one_go(vocabulary):
    state = vocabulary.state(JsonForm.of("look", LOOK), 400)
    assert vocabulary.tokenizer.decode_bytes(state.forced()).decode().startswith('{"mood')


def test_a_plan_with_few_tokens_is_a_short_one(vocabulary):
    text = written(vocabulary, decodable_plan_schema((4, 16), (2, 4)), 700, 1)
    assert len(json.loads(text)["voices"]) >= 2


def test_forms_of_one_kind_are_kept(vocabulary):
    first = vocabulary.state(JsonForm.of("look", LOOK), 400)
    second = vocabulary.state(JsonForm.of("look", LOOK), 400)
    first.take(vocabulary.letters["{"])
    assert not first.matcher.validate_tokens([vocabulary.letters["{"]])
    assert second.matcher.validate_tokens([vocabulary.letters["{"]])
