"""The JSON Schemas of a plan: what a person's plan is checked by, and what a model is held to while it writes one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from image2music.music.planning.harmony import METERS
from image2music.music.planning.plan import CADENCES, DYNAMICS, FAMILIES, MOST_BARS, ROLES, SWELLS
from image2music.music.theory import MODE_SHARPS, QUALITIES, Tonality, fifths_name

MOST_VOICES = 8
SLOWEST_QPM, FASTEST_QPM = 30.0, 220.0
"""Tempos of a plan, in quarter notes a minute."""
SHORTEST_S, LONGEST_S = 5.0, 300.0
"""Seconds that a tune may be asked to last."""
TIMED = ("length_s", "loop")
"""Parts of a plan that nobody who writes a plan is asked for: they are what was asked of him."""

_TEXT = {"type": "string"}
_BAR = {"type": "integer", "minimum": 1, "maximum": MOST_BARS}
_BARS = {"type": "string", "pattern": "^[0-9]{1,3}(-[0-9]{1,3})?$"}
_VOICE = {"type": "integer", "minimum": 1}
_PITCH = {"type": "string", "pattern": "^[A-G][#b]?-?[0-9]$"}


def _object_schema(properties: dict[str, Any], optional: Sequence[str] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _map_schema(keys: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "patternProperties": {keys: values}, "additionalProperties": False}


_SECTION_SCHEMA = _object_schema(
    {
        "name": _TEXT,
        "bars": _BARS,
        "picture_part": _TEXT,
        "qpm": {"type": "number", "minimum": SLOWEST_QPM, "maximum": FASTEST_QPM},
        "dynamic": {"enum": list(DYNAMICS)},
        "swell": {"enum": list(SWELLS)},
        "roles": _map_schema("^[0-9]+$", {"enum": list(ROLES)}),
        "figures": _map_schema("^[0-9]+$", _object_schema({"family": {"enum": list(FAMILIES)}, "degrees": _TEXT})),
        "rhythm": _TEXT,
        "new": _TEXT,
        "cadence": {"enum": list(CADENCES)},
    }
)
PLAN_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Plan",
    **_object_schema(
        {
            "title": _TEXT,
            "idea": _TEXT,
            "device": _object_schema({"what": _TEXT, "payoff_bar": _BAR, "voices": {"type": "array", "items": _VOICE}}),
            "key": _TEXT,
            "meter": _TEXT,
            "bars": _BAR,
            "style": _TEXT,
            "voices": {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_VOICES,
                "items": _object_schema(
                    {
                        "id": _VOICE,
                        "name": _TEXT,
                        "program": {"type": "integer", "minimum": 0, "maximum": 127},
                        "low": _PITCH,
                        "high": _PITCH,
                        "role": {"enum": list(ROLES)},
                        "derived": {"type": "boolean"},
                    },
                    optional=("role", "derived"),
                ),
            },
            "sections": {"type": "array", "minItems": 1, "items": _SECTION_SCHEMA},
            "harmony": _map_schema("^[0-9]+$", _TEXT),
            "melody": _map_schema("^[0-9]+(-[0-9]+)?$", _VOICE),
            "motif": _object_schema({"chords": _TEXT, "abc": _TEXT}),
            "surprise": _object_schema({"bar": _BAR, "what": _TEXT, "why": _TEXT}),
            "climax": _object_schema({"bar": _BAR, "voice": _VOICE, "note": _PITCH}),
            "silences": {"type": "array", "items": _object_schema({"voice": _VOICE, "bars": _BARS})},
            "free_bars": {"type": "array", "items": _BAR},
            "ending": _TEXT,
            "length_s": {"type": "number", "minimum": SHORTEST_S, "maximum": LONGEST_S},
            "loop": {"type": "boolean"},
        },
        optional=("device", "style", "melody", "motif", "surprise", "climax", "silences", "free_bars", *TIMED),
    ),
}
"""JSON Schema (draft 2020-12) of `plan_as_json`; parts stand in the order in which they are best thought of."""


MOST_DECODED_BARS, _MOST_DECODED_SECTIONS = 99, 10
_MOST_SIGNS = 7
_DECODED_MODES = ("major", "minor", "dorian", "phrygian", "lydian", "mixolydian")


def _keys() -> list[str]:
    """All keys with at most seven signs, as ABC writes them, those with few signs first."""
    signed = [
        (abs(sharps), str(Tonality(fifths_name(sharps - MODE_SHARPS[mode]), mode)))
        for mode in _DECODED_MODES
        for sharps in range(-_MOST_SIGNS, _MOST_SIGNS + 1)
    ]
    return [key for _, key in sorted(signed, key=lambda one: one[0]) if key.count("#") < 2 and key.count("b") < 2]


def _span_pattern(bars: int) -> str:
    """A bar or a range of bars up to `bars`, of two digits, whose first bar is not behind its last one."""
    spans = (f"{first}(?:-(?:{_numbers(first, bars)}))?" for first in range(1, bars + 1))
    return f"^(?:{'|'.join(spans)})$"


def _numbers(first: int, last: int) -> str:
    """The numbers from one to another, ten by ten."""
    tens = ((ten, max(first - 10 * ten, 0), min(last - 10 * ten, 9)) for ten in range(first // 10, last // 10 + 1))
    return "|".join(f"{ten or ''}[{low}-{high}]" for ten, low, high in tens)


def _chords_pattern(most: int, between: str = " ") -> str:
    """One chord symbol that can be read, or several."""
    qualities = "|".join(re.escape(one) for one in QUALITIES if one and one.isascii())
    note = "[A-G][#b]?"
    chord = f"{note}(?:{qualities})?(?:/{note})?"
    return f"^{chord}(?:{between}{chord}){{0,{most - 1}}}$"


def _text(most: int, least: int = 0) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most}


def _by_number(last: int, values: dict[str, Any], required: int = 0) -> dict[str, Any]:
    names = [str(number) for number in range(1, last + 1)]
    return _object_schema({name: values for name in names}, optional=names[required:])


def decodable_plan_schema(
    bars: tuple[int, int] = (1, MOST_DECODED_BARS), voices: tuple[int, int] = (1, MOST_VOICES)
) -> dict[str, Any]:
    """Return what a model that runs here is held to, within bounds.

    Whatever keeps to it keeps to `PLAN_SCHEMA` and can be read as a plan: keys, meters, chords and ranges of bars are
    those that exist, voices are numbered, texts and lists have bounds. What one part says of another is still for
    `checks` and `mending`.

    Args:
        bars: fewest and most, at most `MOST_DECODED_BARS`.
        voices: fewest and most, at most `MOST_VOICES`.
    """
    most_bars, most_voices = bars[1], voices[1]
    bar = {"type": "integer", "minimum": 1, "maximum": most_bars}
    span = {"type": "string", "pattern": _span_pattern(most_bars)}
    voice = {"type": "integer", "minimum": 1, "maximum": most_voices}
    pitch = {"type": "string", "pattern": "^[A-G][#b]?[0-8]$"}
    figure = _object_schema(
        {
            "family": {"enum": list(FAMILIES)},
            "degrees": {"type": "string", "pattern": "^(?:[1-9]|1[0-5])(?: (?:[1-9]|1[0-5])){0,11}$"},
        }
    )
    section = {
        "name": _text(24, 1),
        "bars": span,
        "picture_part": _text(120),
        "qpm": {"type": "integer", "minimum": int(SLOWEST_QPM), "maximum": int(FASTEST_QPM)},
        "dynamic": {"enum": list(DYNAMICS)},
        "swell": {"enum": list(SWELLS)},
        "roles": _by_number(most_voices, {"enum": list(ROLES)}, required=1),
        "figures": _by_number(most_voices, figure),
        "rhythm": _text(120),
        "new": _text(120),
        "cadence": {"enum": list(CADENCES)},
    }
    seats = [
        _object_schema(
            {
                "id": {"const": number},
                "name": _text(30, 1),
                "program": {"type": "integer", "minimum": 0, "maximum": 127},
                "low": pitch,
                "high": pitch,
            }
        )
        for number in range(1, most_voices + 1)
    ]
    plan = _object_schema(
        {
            "title": _text(60, 1),
            "idea": _text(300),
            "device": _object_schema(
                {
                    "what": _text(300),
                    "payoff_bar": bar,
                    "voices": {"type": "array", "maxItems": most_voices, "items": voice},
                }
            ),
            "key": {"enum": _keys()},
            "meter": {"enum": list(METERS)},
            "bars": {"type": "integer", "minimum": bars[0], "maximum": most_bars},
            "style": _text(60),
            "voices": {"type": "array", "minItems": voices[0], "prefixItems": seats, "items": False},
            "sections": {
                "type": "array",
                "minItems": 1,
                "maxItems": _MOST_DECODED_SECTIONS,
                "items": _object_schema(section),
            },
            "harmony": _by_number(most_bars, {"$ref": "#/$defs/chords"}, required=1),
            "melody": {
                "type": "object",
                "patternProperties": {span["pattern"]: voice},
                "additionalProperties": False,
                "maxProperties": 2 * _MOST_DECODED_SECTIONS,
            },
            "motif": _object_schema(
                {
                    "chords": {"type": "string", "pattern": _chords_pattern(4, r" (?:\| )?")},
                    "abc": {"type": "string", "pattern": r"^[A-Ga-gz][A-Ga-gz0-9/,'^_=|()\[\]. -]{0,79}$"},
                }
            ),
            "surprise": _object_schema({"bar": bar, "what": _text(200), "why": _text(200)}),
            "climax": _object_schema({"bar": bar, "voice": voice, "note": pitch}),
            "silences": {"type": "array", "maxItems": 8, "items": _object_schema({"voice": voice, "bars": span})},
            "free_bars": {"type": "array", "maxItems": 8, "items": bar},
            "ending": _text(200),
        },
        optional=("style", "melody", "silences"),
    )
    return {"$defs": {"chords": {"type": "string", "pattern": _chords_pattern(2)}}, **plan}


DECODABLE_PLAN_SCHEMA: dict[str, Any] = decodable_plan_schema()
"""The same with the widest bounds."""
