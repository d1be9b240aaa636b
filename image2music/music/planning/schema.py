"""The JSON Schema of a plan: what a model is held to while it writes one, and what a person's plan is checked by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from image2music.music.planning.plan import CADENCES, DYNAMICS, FAMILIES, MOST_BARS, ROLES, SWELLS

MOST_VOICES = 8
SLOWEST_QPM, FASTEST_QPM = 30.0, 220.0
"""Tempos of a plan, in quarter notes a minute."""

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
        },
        optional=("device", "style", "melody", "motif", "surprise", "climax", "silences", "free_bars"),
    ),
}
"""JSON Schema (draft 2020-12) of `plan_as_json`; parts stand in the order in which they are best thought of."""
