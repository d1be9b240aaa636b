"""Reads what a chat model said: without thoughts, fences and chatter, as a tune, as prose, as JSON or as a scene.

Models think aloud, wrap what they say in fences, add commas, or break off. Whatever can be understood is taken; what
cannot is named, so that the model can be asked again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from image2music.abc.autofix.wrapping import TextEditor, choose_tune, unwrap
from image2music.errors import ModelError
from image2music.images.scene import Scene

_THINKING = re.compile(
    r"<(think|thinking|thought|reasoning|analysis)\b[^>]*>.*?(?:</\1>|\Z)|◁think▷.*?(?:◁/think▷|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_END_OF_THINKING = re.compile(r"</(?:think|thinking|thought|reasoning|analysis)>|◁/think▷", re.IGNORECASE)
_ANSWER_TAG = re.compile(r"</?(?:answer|final|response|abc|music|tune)>|<\|(?:begin|end)_of_box\|>", re.IGNORECASE)
_FENCED = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n.*?(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_LABEL = re.compile(r"\A[\s#*_>]*(?:motivation|description|answer|explanation|rationale)[\s*_]*(?::[\s*_]*|\n)", re.I)
_MARKDOWN = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]*|[-*•][ \t]+|\d{1,2}[.)][ \t]+)", re.MULTILINE)
_ABC_LINE = re.compile(r"^(?:[XTCMLQKV]:.*|\[V:.*|%%.*|[^\n]*\|[\]:|]?[ \t]*)$\n?", re.MULTILINE)
_EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")
_SENTENCE = re.compile(r"\S.*?(?:[.!?…]+[\"'”\u2019)\]]*(?=\s+[\"'“\u2018(\[]?[A-Z])|\Z)", re.DOTALL)


def without_thinking(answer: str) -> str:
    """Remove thoughts from an answer, closed or broken off; a tag that only closes ends thoughts begun earlier."""
    rest = _THINKING.sub("", answer)
    ends = list(_END_OF_THINKING.finditer(rest))
    return _ANSWER_TAG.sub("", rest[ends[-1].end() :] if ends else rest).strip()


def tune_in(answer: str) -> str:
    """Return the tune in an answer: of several the longest, without fences, JSON or prose around it.

    An answer without a tune is returned whole, without its thoughts, so that the checker says what is wrong.
    """
    text = without_thinking(answer)
    mending = TextEditor(text)
    unwrap(mending)
    choose_tune(mending)
    return mending.text or text


def prose_in(answer: str) -> str:
    """Return the prose of an answer as one paragraph: no thoughts, fences, ABC, headings, list marks or emphasis."""
    text = _FENCED.sub("\n", without_thinking(answer))
    text = _ABC_LINE.sub("", _LABEL.sub("", text))
    text = _EMPHASIS.sub(r"\2", _MARKDOWN.sub("", text))
    return " ".join(text.split())


def sentences(text: str) -> list[tuple[int, int]]:
    """Return start and end of each sentence of a paragraph, in characters."""
    return [match.span() for match in _SENTENCE.finditer(text)]


_TYPOGRAPHIC = str.maketrans({"“": '"', "”": '"', "„": '"', "\u00a0": " "})
_COMMENT = re.compile(r"(?m)(?<!:)//[^\n\"]*$|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_CLOSING = {"{": "}", "[": "]"}


def json_in(answer: str) -> dict[str, Any]:
    """Return the JSON object in an answer: of several the longest.

    Fences, thoughts, comments and commas too many are left out; where the answer breaks off, what is open is closed.

    Raises:
        ModelError: there is none (`no_json`); the message says where reading stopped.
    """
    text = without_thinking(answer)
    if "{" not in text:
        raise ModelError("it holds no {", reason="no_json")
    tidy = _TRAILING_COMMA.sub(r"\1", _COMMENT.sub("", text.translate(_TYPOGRAPHIC)))
    for some in (text, tidy):
        if found := _longest_object(some):
            return found
    try:
        json.JSONDecoder(strict=False).raw_decode(tidy, tidy.index("{"))
    except (ValueError, RecursionError) as error:
        raise ModelError(" ".join(str(error).split()), reason="no_json") from error
    raise ModelError("its object is empty", reason="no_json")


def _longest_object(text: str) -> dict[str, Any]:
    """Return the longest object that can be read; none where what can be read is a small part of the text."""
    found: dict[str, Any] = {}
    longest = read = 0
    at = first = text.find("{")
    while at >= 0:
        value, end = _object_at(text, at)
        if value and end - at > longest:
            found, longest = value, end - at
        read += end - at if value else 0
        at = text.find("{", end if value else at + 1)
    return found if 2 * read >= len(text.rstrip("` \n")) - first else {}


def _object_at(text: str, at: int) -> tuple[dict[str, Any], int]:
    """Return the object that begins here, closed where it breaks off, and where it ends; an empty one if none does."""
    decoder = json.JSONDecoder(strict=False)
    for attempt, end in ((text[at:], None), (_closed(text[at:]), len(text))):
        try:
            value, length = decoder.raw_decode(attempt)
        except (ValueError, RecursionError):
            continue
        return (value, end or at + length) if isinstance(value, dict) else ({}, at)
    return {}, at


def _closed(text: str) -> str:
    """Cut an object that breaks off behind its last whole value, and close what is open."""
    stack: list[str] = []
    in_string = escaped = False
    whole, open_there = 0, ["{"]
    for at, letter in enumerate(text):
        if in_string:
            in_string = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            in_string = True
        elif letter in "{[":
            stack.append(letter)
        elif letter in "}]":
            stack = stack[:-1]
            whole, open_there = at + 1, list(stack)
        elif letter == ",":
            whole, open_there = at, list(stack)
    return text[:whole] + "".join(_CLOSING[letter] for letter in reversed(open_there))


def scene_in(shape: Mapping[str, Any]) -> Scene:
    """Return the scene that a model's JSON describes; what is missing or of another kind stays empty."""
    path = _texts(shape.get("eye_path"))
    return Scene(
        subject=_text(shape.get("subject")),
        things=tuple((name, 1.0) for name in _texts(shape.get("things"))),
        people=_count(shape.get("people")),
        place=_text(shape.get("place")),
        far=_text(shape.get("far")),
        middle=_text(shape.get("middle")),
        near=_text(shape.get("near")),
        focal_point=path[0] if path else "",
        eye_path=path,
        motion=_text(shape.get("motion")),
        light=_text(shape.get("light")),
        palette=_texts(shape.get("palette")),
        mood=_text(shape.get("mood")),
        valence=_between(shape.get("valence"), -1.0, 1.0),
        arousal=_between(shape.get("arousal"), 0.0, 1.0),
    )


def prose_of(scene: Scene) -> str:
    """Return a scene in plain sentences, as captions and descriptions are embedded."""
    parts = [scene.subject, scene.place]
    parts += [f"{name}: {text}" for name, text in zip(("Far", "Middle", "Near"), (scene.far, scene.middle, scene.near),
                                                      strict=True) if text]  # fmt: skip
    parts += [scene.motion, f"Light: {scene.light}" if scene.light else ""]
    parts += [f"Colours: {', '.join(scene.palette)}" if scene.palette else ""]
    parts += [f"The mood is {scene.mood}" if scene.mood else ""]
    return " ".join(f"{part[0].upper()}{part[1:].rstrip('. ')}." for part in parts if part)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_text, value)))
    return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""


def _texts(value: object) -> tuple[str, ...]:
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    named = [item.get("name", "") if isinstance(item, dict) else item for item in items]
    return tuple(dict.fromkeys(text for item in named if (text := _text(item))))


def _count(value: object) -> int | None:
    number = _between(value, 0.0, 1e5)
    return None if number is None else int(number)


def _between(value: object, low: float, high: float) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return round(min(max(number, low), high), 3) if number == number else None
