"""MidiCaps' captions file: one JSON object a line."""

from __future__ import annotations

import json
from typing import Any

from image2music.errors import CaptionError
from image2music.stages import CaptionedMidi

_LONGEST_PLACE = 1024


def parse_caption_line(line: str) -> CaptionedMidi:
    """One line to what is needed of it; other keys are let through.

    `location` and `caption` are wanted; `image`, the place of a picture, may stand beside the caption or instead of it.

    Raises:
        CaptionError: no JSON (`bad_json`), no location, or neither caption nor image (`bad_caption_line`), or a place
            that is not a relative path inside the folder (`outside_midi_root`).
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and brackets without end
        raise CaptionError(f"not a line of JSON: {error}", reason="bad_json") from error
    if not isinstance(row, dict):
        raise CaptionError(f"a line must hold a JSON object, not {type(row).__name__}", reason="bad_caption_line")
    image = _place(row, "image") if row.get("image") is not None else ""
    return CaptionedMidi(
        _place(row, "location"),
        "" if image and row.get("caption") in (None, "") else _text(row, "caption"),
        genre=_texts(row, "genre"),
        mood=_texts(row, "mood"),
        instruments=_texts(row, "instrument_summary"),
        image=image,
    )


def _place(row: dict[str, Any], key: str) -> str:
    place = _text(row, key)
    if len(place) > _LONGEST_PLACE or "\0" in place:
        message = f"{key} must be a path of at most {_LONGEST_PLACE} characters, not {place!r:.60}"
        raise CaptionError(message, reason="bad_caption_line")
    if place.startswith("/") or ".." in place.split("/"):
        message = f"{key} {place} leaves --midi_root; places are relative paths inside of it"
        raise CaptionError(message, reason="outside_midi_root")
    return place


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
    return tuple([item for item in value if isinstance(item, str)]) if isinstance(value, list) else ()
