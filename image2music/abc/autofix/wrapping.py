"""A text that is being corrected, and the rules for what models write around a tune and into it.

Edits are made at character offsets, and each is recorded. The rules take away JSON, escapes, code fences and prose, and
write foreign signs as ABC has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from image2music.abc.ast import Tune
from image2music.abc.diagnostics import CODES, Diagnostic
from image2music.abc.music_line import VELOCITIES
from image2music.abc.parser import ParsedAbc, parse
from image2music.abc.repairs.signs import with_accidentals_before

MAX_MENDS = 200


class TextEdit(NamedTuple):
    """Replace the characters `start` to `end` by `text`."""

    start: int
    end: int
    text: str


class TextEditor:
    """A text in work. Places of diagnostics are lines and columns of the text as it stands when they are noted."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.diagnostics: list[Diagnostic] = []
        self._parsed: tuple[str, ParsedAbc] | None = None

    @property
    def parsed(self) -> ParsedAbc:
        """The text as it stands now, parsed once for as long as it does not change."""
        if self._parsed is None or self._parsed[0] != self.text:
            self._parsed = self.text, parse(self.text)
        return self._parsed[1]

    def note(self, code: str, message: str, offset: int = 0, voice: str | None = None, bar: int | None = None) -> None:
        """Note one mend at a character offset; the first `MAX_MENDS` are told."""
        if len(self.diagnostics) >= MAX_MENDS:
            return
        line = self.text.count("\n", 0, offset) + 1
        column = offset - (self.text.rfind("\n", 0, offset) + 1) + 1
        self.diagnostics.append(Diagnostic(line, column, voice, bar, code, CODES[code][0], message))

    def apply(self, edits: Iterable[TextEdit]) -> None:
        """Apply edits that do not overlap; of two at one place the first wins."""
        pieces: list[str] = []
        at = 0
        for edit in sorted(edits, key=lambda edit: edit.start):
            if edit.start < at:
                continue
            pieces += (self.text[at : edit.start], edit.text)
            at = edit.end
        pieces.append(self.text[at:])
        self.text = "".join(pieces)


_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FIELD_OF_TUNE = re.compile(r"^[ \t*>]*[XTMLQKVxtmlqk]\**:", re.MULTILINE)
_BEHIND_MUSIC = re.compile(r"\n(?:[wWN%][:%][^\n]*)?(?=\n|$)")
_JSON_KEYS = ("abc", "tune", "music", "notation", "text")


def unwrap(editor: TextEditor) -> None:
    """Take the text out of JSON, unescape it, and drop control characters and foreign line ends."""
    _from_json(editor)
    text = editor.text
    if "\n" not in text.strip() and "\\n" in text:
        editor.note("mended-wrapping", "turned \\n into line ends")
        editor.text = text = text.replace("\\r", "").replace("\\n", "\n").replace('\\"', '"')
    clean = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    control = _CONTROL.search(clean)
    if control is not None:
        editor.note("mended-characters", "removed control characters")
        clean = _CONTROL.sub("", clean)
    editor.text = clean


def _from_json(editor: TextEditor) -> None:
    text = editor.text.strip()
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
            editor.note("mended-wrapping", f"took the tune out of the JSON field {key!r}")
            editor.text = value[key]
            return


def choose_tune(editor: TextEditor) -> None:
    """Keep one tune: of several, the one with the most notes; of equals, the first. Prose around it goes.

    With code fences, each fenced block counts as one text of its own.
    """
    blocks = _blocks(editor.text)
    if len(blocks) > 1 or blocks[0] != editor.text:
        editor.note("mended-fence", "removed the code fences and what stands outside them")
    pieces = [
        piece for block in blocks for piece in _tunes(block, editor.parsed if block == editor.text else parse(block))
    ]
    if not pieces:
        editor.text = ""
        return
    best = max(pieces, key=lambda piece: piece[0])
    if len(pieces) > 1:
        editor.note("mended-choice", f"kept the longest of {len(pieces)} tunes")
    editor.text = best[1]


def _blocks(text: str) -> list[str]:
    """Return the fenced blocks that may be tunes; where there is none, the text without its fence lines."""
    fences = list(_FENCE.finditer(text))
    if not fences:
        return [text]
    ends = [fence.start() for fence in fences[1:]] + [len(text)]
    inside = [text[fence.end() + 1 : end] for fence, end in list(zip(fences, ends, strict=True))[::2]]
    tunes = [block for block in inside if _FIELD_OF_TUNE.search(block) or "|" in block]
    return tunes or [_FENCE.sub("", text)]


def _tunes(block: str, parsed: ParsedAbc) -> list[tuple[int, str]]:
    """(number of notes and rests, text) of each tune in a block; prose in front and behind is cut off."""
    found = []
    for tune in parsed.tunes:
        events = sum(bar.n_events for voice in tune.voices.values() for bar in voice.bars)
        text = block[tune.start : _end(block, tune)]
        found.append((events, text.strip("\n") + "\n"))
    # A header that is written twice makes a tune without music.
    with_music = [piece for piece in found if piece[0]]
    return with_music or found[:1]


def _end(block: str, tune: Tune) -> int:
    """Return where a tune's text ends: behind its last note, its lyrics and directives included."""
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


def note_lost_text(editor: TextEditor, before: str) -> None:
    """Note prose that `choose_tune` left out."""
    lost = len("".join(before.split())) - len("".join(editor.text.split()))
    if lost > 0 and not any(d.code in ("mended-fence", "mended-choice") for d in editor.diagnostics):
        editor.note("mended-prose", f"left out {lost} characters around the tune")


_PROTECTED = re.compile(r"\"[^\"]*\"|\[[A-Za-z]:[^\[\]]*\]|![^!\s]*!|%.*")
_FIELD_LINE = re.compile(r"[A-Za-z+]:(?![|:])|%")
_CARET_BEHIND = re.compile(r"(?<![\^_=])([A-Ga-g])([\^_])(?=[\s|]|$)")

_FOREIGN = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e", '"'),  # curly double quotes
        **dict.fromkeys("\u2018\u2019", "'"),  # curly single quotes
        **dict.fromkeys("\u2013\u2014", "-"),  # dashes
        **dict.fromkeys("\u00a0♩♪♫", " "),
    }
)
_CHORD_BODY = re.compile(r"\[((?:[\^_=]{0,2}[A-Ga-g][,']*[0-9]*(?:/+[0-9]*)?-?){1,12})(?=[\s|]|$)")
_SYMBOL_BODY = re.compile(r"\"([A-G][#b]?(?:m|min|maj|dim|aug|sus|add)?[0-9]{0,2}(?:/[A-G][#b]?)?)(?=[\s|]|$)")
_DECORATIONS = (*VELOCITIES, "trill", "fermata", "accent", "turn", "mordent", "roll", "staccato", "tenuto", "coda")
_DECORATION_BODY = re.compile(rf"!({'|'.join(sorted(_DECORATIONS, key=len, reverse=True))})(?=[\s|]|$)")
_OPENINGS = frozenset({"unclosed-chord", "unclosed-grace", "unclosed-string", "unclosed-decoration"})
_FRAGMENT = re.compile(r"\S{1,12}\s*$")
_NOTES_ALONE = re.compile(r"[A-Ga-gzxZX0-9,'/^_=|:\]\[(){}<>\-.]+")
_PARENTHESIS = re.compile(r"\([A-Za-z ,.']*\)")
"""Letters, so that each word of it may be told from notes."""


def mend_characters(editor: TextEditor) -> None:
    """Rewrite Unicode accidentals, sharps behind letters, curly quotes, notes drawn as pictures, bold marks."""
    lines = editor.text.split("\n")
    start = _music_start(lines)
    offset = sum(len(line) + 1 for line in lines[:start])
    for index in range(start, len(lines)):
        line = lines[index]
        mended = line if _FIELD_LINE.match(line) else _outside_strings(line.translate(_FOREIGN))
        if mended != line:
            editor.note("mended-accidental", "wrote accidentals and quotes as ABC does", offset)
        lines[index] = mended
        offset += len(line) + 1
    editor.text = "\n".join(lines)


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
    return with_accidentals_before(text).replace("**", "")


def mend_lines(editor: TextEditor) -> None:
    """Remove blank lines and code fences inside the tune, and lines of prose among the music."""
    lines = editor.text.rstrip("\n").split("\n")
    kept = [line.rstrip() for line in lines if line.strip() and not line.startswith(("```", "~~~"))]
    if len(kept) < len(lines):
        editor.note("mended-blank-line", "removed blank lines inside the tune")
    editor.text = "\n".join(kept) + "\n"
    prose = {
        finding.line
        for finding in editor.parsed.diagnostics
        if finding.code == "text-in-music" and finding.column == 1 and "|" not in kept[finding.line - 1]
    }
    for number in sorted(prose):
        editor.note("mended-prose", f"left out the words {kept[number - 1][:40]!r}")
    editor.text = "\n".join(line for number, line in enumerate(kept, 1) if number not in prose) + "\n"


def mend_signs(editor: TextEditor) -> None:
    """Close chords, chord symbols and decorations whose end is plain, and remove words in parentheses."""
    text = editor.text
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    edits = []
    for finding in editor.parsed.diagnostics:
        offset = starts[finding.line - 1] + finding.column - 1
        edit = _sign_edit(text, finding, offset)
        if edit is not None:
            where = f"bar {finding.bar}" if finding.bar else f"line {finding.line}"
            message = f"put {edit.text!r} for {text[edit.start : edit.end]!r} in {where}"
            editor.note("mended-sign", message, offset, finding.voice, finding.bar)
            edits.append(edit)
    editor.apply(edits)


def _sign_edit(text: str, finding: Diagnostic, offset: int) -> TextEdit | None:
    code = finding.code
    if code in _OPENINGS and _FRAGMENT.match(text, offset):
        closed = _closed(_CHORD_BODY, text, offset, "]") if code == "unclosed-chord" else None
        # A fragment that may be notes stays: only the sign before it goes.
        end = offset + 1 if _NOTES_ALONE.fullmatch(text[offset + 1 :].rstrip()) else len(text.rstrip())
        return closed or TextEdit(offset, end, "")
    if code == "unclosed-chord":
        return _closed(_CHORD_BODY, text, offset, "]")
    if code == "unclosed-string":
        return _closed(_SYMBOL_BODY, text, offset, '"')
    if code == "unclosed-decoration":
        return _closed(_DECORATION_BODY, text, offset, "!") or TextEdit(offset, offset + 1, "")
    if code in ("unopened-chord", "unopened-grace", "stray-tie", "unopened-slur"):
        return TextEdit(offset, offset + 1, "")
    if code == "text-in-music" and text[offset : offset + 1].isalpha():
        opening = text.rfind("(", max(0, offset - 40), offset)
        match = _PARENTHESIS.match(text, opening) if opening >= 0 else None
        if match is None or match.end() <= offset or any(map(_NOTES_ALONE.fullmatch, match[0][1:-1].split())):
            return None
        return TextEdit(match.start(), match.end(), "")
    return None


def _closed(pattern: re.Pattern[str], text: str, offset: int, closing: str) -> TextEdit | None:
    match = pattern.match(text, offset)
    return TextEdit(offset, match.end(), match[0] + closing) if match is not None else None
