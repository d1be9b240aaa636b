"""Reads what a chat model said: as a tune, prose, JSON or a scene; and holds what it says of a tune against that tune.

Models think aloud, wrap what they say in fences, add commas, or break off. Whatever can be understood is taken; what
cannot is named, so that the model can be asked again. And they describe the tune that they meant to write: what a
motivation says in words that can be checked (`in D minor`, `at 92`, `bar 27`, `the highest note, in bar 20`) is checked
here; all else is theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from image2music.abc.autofix.wrapping import TextEditor, choose_tune, unwrap
from image2music.errors import ModelError, PlanError
from image2music.images.scene import Scene
from image2music.music.planning.plan import Plan
from image2music.music.score import Score, count_bars
from image2music.music.theory import Chord, read_chord, read_tonality

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


def prose_of(scene: Scene, language: str = "en") -> str:
    """Return a scene in plain sentences, as captions and descriptions are embedded; words of ours are for English."""
    parts = [scene.subject, scene.place]
    if language != "en":
        parts += [scene.far, scene.middle, scene.near, scene.motion, scene.light, ", ".join(scene.palette)]
        return " ".join(f"{part[0].upper()}{part[1:].rstrip('. ')}." for part in parts if part)
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


_KEY = re.compile(
    r"\b([A-G])[ -]?(sharp|flat|#|b|♯|♭)?[ -](major|minor|dorian|mixolydian|phrygian|lydian)\b"
    r"(?!\s+(?:seventh|chord|third|sixth|ninth))"
)
_TEMPO = re.compile(
    r"\b(?:(\d{2,3})\s*(?:quarter[ -]notes?|beats|bpm|quarters)\b"
    r"|(?:tempo|pace|pulse|quarter)\s*(?:of|=|is|at)\s*(\d{2,3})\b)",
    re.I,
)
_BARS = re.compile(r"\bbars?\s+((?:\d+(?:\s*(?:-|\u2013|to|and|,|or)\s*)?)+)", re.I)
_PEAK = re.compile(r"\b(?:climax|peak|highest\s+(?:note|point|pitch|tone)|summit)\b[^.;:]{0,60}?\bbar\s+(\d+)", re.I)
_SIGNS = {"sharp": "#", "#": "#", "♯": "#", "flat": "b", "b": "b", "♭": "b", "": ""}
_MINOR_MODES = ("minor", "dorian", "phrygian")
_QPM_TOLERANCE = 1.5
_BARS_TOLERANCE = 1


@dataclass(frozen=True)
class FalseClaim:
    """A sentence of the motivation (its place, from 0), and what is not true in it, in plain English."""

    sentence: int
    why: str


def false_claims(text: str, score: Score, plan: Plan | None = None) -> tuple[FalseClaim, ...]:
    """Return what a motivation says that the tune does not bear out."""
    found = []
    for place, (start, end) in enumerate(sentences(text)):
        said = text[start:end]
        found += [FalseClaim(place, why) for why in (*_keys(said, score, plan), *_tempos(said, score),
                                                     *_bars(said, score), *_peaks(said, score))]  # fmt: skip
    return tuple(found)


def without(text: str, claims: tuple[FalseClaim, ...]) -> str:
    """Return a motivation without the sentences that hold false claims; the text itself where none would be left."""
    wrong = {claim.sentence for claim in claims}
    kept = [text[start:end] for place, (start, end) in enumerate(sentences(text)) if place not in wrong]
    return " ".join(kept) or text


def _keys(said: str, score: Score, plan: Plan | None) -> list[str]:
    own = [read_tonality(plan.key)] if plan is not None else []
    allowed = {(key.tonic, key.minor) for key in score.keys} | {(one.pitch_class, one.is_minor) for one in own if one}
    if plan is not None:  # a passage may stand in the key of one of its chords
        allowed |= {(chord.root, chord.is_minor) for symbol in " ".join(plan.harmony).split()
                    if (chord := _chord(symbol)) is not None}  # fmt: skip
    found = []
    for letter, sign, mode in _KEY.findall(said):
        name = f"{letter}{_SIGNS[sign.lower()]}"
        claimed = read_tonality(name + ("m" if mode.lower() in _MINOR_MODES else ""))
        if claimed is not None and (claimed.pitch_class, claimed.is_minor) not in allowed:
            found.append(f"it names {name} {mode.lower()}, a key that the tune has nowhere")
    return found


def _chord(symbol: str) -> Chord | None:
    try:
        return read_chord(symbol)
    except PlanError:
        return None


def _tempos(said: str, score: Score) -> list[str]:
    tempos = [tempo.qpm for tempo in score.tempos]
    if not tempos:
        return []
    return [
        f"it names a tempo of {number}; the tune goes at {', '.join(f'{qpm:g}' for qpm in tempos)}"
        for pair in _TEMPO.findall(said)
        if (number := next(filter(None, pair)))
        and not any(abs(float(number) - qpm) <= _QPM_TOLERANCE for qpm in tempos)
    ]


def _bars(said: str, score: Score) -> list[str]:
    last = count_bars(score)
    numbers = [int(number) for run in _BARS.findall(said) for number in re.findall(r"\d+", run)]
    return [
        f"it names bar {number}; the tune has {last}" for number in dict.fromkeys(numbers) if not 1 <= number <= last
    ]


def _peaks(said: str, score: Score) -> list[str]:
    claimed = [int(number) for number in _PEAK.findall(said)]
    if not claimed:
        return []
    peaks = highest_bars(score)
    return [
        f"it sets the peak in bar {bar}; the highest note stands in bar {', '.join(map(str, peaks))}"
        for bar in claimed
        if peaks and min(abs(bar - peak) for peak in peaks) > _BARS_TOLERANCE
    ]


def highest_bars(score: Score) -> list[int]:
    """Return the bars, from 1, in which the highest note of all pitched tracks begins."""
    tracks = [track for track in score.tracks if len(track) and not track.is_drum]
    if not tracks:
        return []
    top = max(int(track.pitches.max()) for track in tracks)
    onsets = sorted({int(onset) for track in tracks for onset in track.onsets[track.pitches == top]})
    starts = [start.tick for start in score.bar_starts]
    return sorted({sum(start <= onset for start in starts) for onset in onsets})
