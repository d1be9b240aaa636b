"""Mends single signs in the music: foreign accidentals and quotes, brackets left open, words among notes."""

from __future__ import annotations

import re

from image2music.notation.abc_music import VELOCITIES
from image2music.notation.abc_parser import parse
from image2music.notation.diagnostic import Diagnostic
from image2music.notation.mending import Edit, Mending

_PROTECTED = re.compile(r"\"[^\"]*\"|\[[A-Za-z]:[^\[\]]*\]|![^!\s]*!|%.*")
_FIELD_LINE = re.compile(r"[A-Za-z+]:(?![|:])|%")
_SIGNS = {"♯": "^", "#": "^", "♭": "_", "♮": "="}
_SIGN_BEFORE = re.compile(r"([♯♭♮#])([A-Ga-g])")
_SIGN_BEHIND = re.compile(r"(?<![\^_=])([A-Ga-g])([♯♭♮#])")
_CARET_BEHIND = re.compile(r"(?<![\^_=])([A-Ga-g])([\^_])(?=[\s|]|$)")
_FOREIGN = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e", '"'),  # curly double quotes
        **dict.fromkeys("\u2018\u2019", "'"),  # curly single quotes
        **dict.fromkeys("\u2013\u2014", "-"),  # dashes
        **dict.fromkeys("\u00a0♩♪♫", " "),
    }
)
_CHORD_BODY = re.compile(r"\[((?:[\^_=]{0,2}[A-Ga-g][,']*\d*(?:/+\d*)?-?){1,12})(?=[\s|]|$)")
_SYMBOL_BODY = re.compile(r"\"([A-G][#b]?(?:m|min|maj|dim|aug|sus|add)?\d{0,2}(?:/[A-G][#b]?)?)(?=[\s|]|$)")
_DECORATIONS = (*VELOCITIES, "trill", "fermata", "accent", "turn", "mordent", "roll", "staccato", "tenuto", "coda")
_DECORATION_BODY = re.compile(rf"!({'|'.join(sorted(_DECORATIONS, key=len, reverse=True))})(?=[\s|]|$)")
_OPENINGS = frozenset({"unclosed-chord", "unclosed-grace", "unclosed-string", "unclosed-decoration"})
_FRAGMENT = re.compile(r"\S{1,12}\s*$")
_PARENTHESIS = re.compile(r"\([A-Za-z ,.']*\)")


def mend_characters(mending: Mending) -> None:
    """Unicode accidentals, sharps behind letters, curly quotes, notes drawn as pictures, bold marks."""
    lines = mending.text.split("\n")
    start = _music_start(lines)
    offset = sum(len(line) + 1 for line in lines[:start])
    for index in range(start, len(lines)):
        line = lines[index]
        mended = line if _FIELD_LINE.match(line) else _outside_strings(line.translate(_FOREIGN))
        if mended != line:
            mending.note("mended-accidental", "wrote accidentals and quotes as ABC does", offset)
        lines[index] = mended
        offset += len(line) + 1
    mending.text = "\n".join(lines)


def _music_start(lines: list[str]) -> int:
    return next((index + 1 for index, line in enumerate(lines) if line.startswith("K:")), 0)


def _outside_strings(line: str) -> str:
    pieces: list[str] = []
    at = 0
    for match in _PROTECTED.finditer(line):
        pieces += (_music(line[at : match.start()]), match[0])
        at = match.end()
    return "".join([*pieces, _music(line[at:])])


def _music(text: str) -> str:
    text = _CARET_BEHIND.sub(lambda match: match[2] + match[1], text)
    text = _SIGN_BEHIND.sub(lambda match: _SIGNS[match[2]] + match[1], text)
    text = _SIGN_BEFORE.sub(lambda match: _SIGNS[match[1]] + match[2], text)
    return text.replace("**", "")


def mend_lines(mending: Mending) -> None:
    """Removes blank lines and code fences inside the tune, and lines of prose among the music."""
    lines = mending.text.rstrip("\n").split("\n")
    kept = [line.rstrip() for line in lines if line.strip() and not line.startswith(("```", "~~~"))]
    if len(kept) < len(lines):
        mending.note("mended-blank-line", "removed blank lines inside the tune")
    mending.text = "\n".join(kept) + "\n"
    prose = {
        finding.line
        for finding in parse(mending.text).diagnostics
        if finding.code == "text-in-music" and finding.column == 1 and "|" not in kept[finding.line - 1]
    }
    for number in sorted(prose):
        mending.note("mended-prose", f"left out the words {kept[number - 1][:40]!r}")
    mending.text = "\n".join(line for number, line in enumerate(kept, 1) if number not in prose) + "\n"


def mend_signs(mending: Mending) -> None:
    """Closes chords, chord symbols and decorations whose end is plain, and removes words in parentheses."""
    text = mending.text
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    edits = []
    for finding in parse(text).diagnostics:
        offset = starts[finding.line - 1] + finding.column - 1
        edit = _sign_edit(text, finding, offset)
        if edit is not None:
            where = f"bar {finding.bar}" if finding.bar else f"line {finding.line}"
            message = f"put {edit.text!r} for {text[edit.start : edit.end]!r} in {where}"
            mending.note("mended-sign", message, offset, finding.voice, finding.bar)
            edits.append(edit)
    mending.apply(edits)


def _sign_edit(text: str, finding: Diagnostic, offset: int) -> Edit | None:
    code = finding.code
    if code in _OPENINGS and _FRAGMENT.match(text, offset):
        closed = _closed(_CHORD_BODY, text, offset, "]") if code == "unclosed-chord" else None
        return closed or Edit(offset, len(text.rstrip()), "")
    if code == "unclosed-chord":
        return _closed(_CHORD_BODY, text, offset, "]")
    if code == "unclosed-string":
        return _closed(_SYMBOL_BODY, text, offset, '"')
    if code == "unclosed-decoration":
        return _closed(_DECORATION_BODY, text, offset, "!") or Edit(offset, offset + 1, "")
    if code in ("unopened-chord", "unopened-grace", "stray-tie", "unopened-slur"):
        return Edit(offset, offset + 1, "")
    if code == "text-in-music" and text[offset : offset + 1].isalpha():
        opening = text.rfind("(", max(0, offset - 40), offset)
        match = _PARENTHESIS.match(text, opening) if opening >= 0 else None
        return Edit(match.start(), match.end(), "") if match is not None and match.end() > offset else None
    return None


def _closed(pattern: re.Pattern[str], text: str, offset: int, closing: str) -> Edit | None:
    match = pattern.match(text, offset)
    return Edit(offset, match.end(), match[0] + closing) if match is not None else None
