"""MidiCaps' captions file: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from image2music.errors import CaptionError
from image2music.stages import CaptionedMidi


def parse_caption_line(line: str) -> CaptionedMidi:
    """One line to what is needed of it: location, caption, genre, mood and instruments. Other keys are let through.

    Raises:
        CaptionError: no JSON (`bad_json`), no location or no caption (`bad_caption_line`), or a location that is not
            a relative path inside the folder (`outside_midi_root`).
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise CaptionError(f"not a line of JSON: {error}", reason="bad_json") from error
    if not isinstance(row, dict):
        raise CaptionError(f"a line must hold a JSON object, not {type(row).__name__}", reason="bad_caption_line")
    location = _text(row, "location")
    if PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts:
        message = f"{location} leaves --midi_root; locations are relative paths inside of it"
        raise CaptionError(message, reason="outside_midi_root")
    return CaptionedMidi(
        location,
        _text(row, "caption"),
        genre=_texts(row, "genre"),
        mood=_texts(row, "mood"),
        instruments=_texts(row, "instrument_summary"),
    )


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise CaptionError(f"{key} must be a text that is not empty, not {value!r:.60}", reason="bad_caption_line")
    # JSON can spell half of a surrogate pair, which no file can hold.
    return value.encode("utf-8", "replace").decode()


def _texts(row: dict[str, Any], key: str) -> tuple[str, ...]:
    """MidiCaps gives a list, older rows a single text or null."""
    value = row.get(key)
    if isinstance(value, str):
        return (value,)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
