"""Takes a tune out of what a model puts around it: JSON, escapes, code fences, prose, other tunes."""

from __future__ import annotations

import json
import re

from image2music.notation.abc_parser import parse
from image2music.notation.abc_tree import Tune
from image2music.notation.mending import Mending

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FIELD_LINE = re.compile(r"^[ \t*>]*[XTMLQKVxtmlqk]\**:", re.MULTILINE)
_BEHIND_MUSIC = re.compile(r"\n(?:[wWN%][:%][^\n]*)?(?=\n|$)")
_JSON_KEYS = ("abc", "tune", "music", "notation", "text")


def unwrap(mending: Mending) -> None:
    """Takes the text out of JSON, unescapes it, and drops control characters and foreign line ends."""
    _from_json(mending)
    text = mending.text
    if "\n" not in text.strip() and "\\n" in text:
        mending.note("mended-wrapping", "turned \\n into line ends")
        mending.text = text = text.replace("\\r", "").replace("\\n", "\n").replace('\\"', '"')
    clean = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    control = _CONTROL.search(clean)
    if control is not None:
        mending.note("mended-characters", "removed control characters")
        clean = _CONTROL.sub("", clean)
    mending.text = clean


def _from_json(mending: Mending) -> None:
    text = mending.text.strip()
    fenced = re.match(r"```(?:json)?\s*(\{.*\})\s*```$", text, re.DOTALL)
    text = fenced[1] if fenced else text
    if not text.startswith("{") or not text.endswith("}"):
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # No JSON after all: the text stands as it is, and the checker says what is wrong with it.
        return
    for key in _JSON_KEYS:
        if isinstance(value, dict) and isinstance(value.get(key), str):
            mending.note("mended-wrapping", f"took the tune out of the JSON field {key!r}")
            mending.text = value[key]
            return


def choose_tune(mending: Mending) -> None:
    """Keeps one tune: of several, the one with the most notes; of equals, the first. Prose around it goes.

    With code fences, each fenced block counts as one text of its own.
    """
    blocks = _blocks(mending.text)
    if len(blocks) > 1 or blocks[0] != mending.text:
        mending.note("mended-fence", "removed the code fences and what stands outside them")
    pieces = [piece for block in blocks for piece in _tunes(block)]
    if not pieces:
        mending.text = ""
        return
    best = max(pieces, key=lambda piece: piece[0])
    if len(pieces) > 1:
        mending.note("mended-choice", f"kept the longest of {len(pieces)} tunes")
    mending.text = best[1]


def _blocks(text: str) -> list[str]:
    """The fenced blocks that may be tunes; where there is none, the text without its fence lines."""
    fences = list(_FENCE.finditer(text))
    if not fences:
        return [text]
    ends = [fence.start() for fence in fences[1:]] + [len(text)]
    inside = [text[fence.end() + 1 : end] for fence, end in list(zip(fences, ends, strict=True))[::2]]
    tunes = [block for block in inside if _FIELD_LINE.search(block) or "|" in block]
    return tunes or [_FENCE.sub("", text)]


def _tunes(block: str) -> list[tuple[int, str]]:
    """(number of notes and rests, text) of each tune in a block; prose in front and behind is cut off."""
    parsed = parse(block)
    found = []
    for tune in parsed.tunes:
        events = sum(bar.n_events for voice in tune.voices.values() for bar in voice.bars)
        text = block[tune.start : _end(block, tune)]
        found.append((events, text.strip("\n") + "\n"))
    # A header that is written twice makes a tune without music.
    with_music = [piece for piece in found if piece[0]]
    return with_music or found[:1]


def _end(block: str, tune: Tune) -> int:
    """Where a tune's text ends: behind its last note, its lyrics and directives included."""
    if not tune.spans:
        return tune.end
    last = max(span.end for span in tune.spans)
    for match in _BEHIND_MUSIC.finditer(block, last, tune.end):
        if match.start() != last:
            break
        if not match[0].strip():
            break
        last = match.end()
    return last


def note_lost_text(mending: Mending, before: str) -> None:
    """Notes prose that `choose_tune` left out."""
    lost = len("".join(before.split())) - len("".join(mending.text.split()))
    if lost > 0 and not any(d.code in ("mended-fence", "mended-choice") for d in mending.diagnostics):
        mending.note("mended-prose", f"left out {lost} characters around the tune")
