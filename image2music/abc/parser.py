"""ABC text to syntax trees: which line belongs to which tune, and what kind of line it is. Source: ABC standard 2.1.

Reading is linear in the text's length, never recursive, opens no file and follows no directive; what cannot be read
becomes a diagnostic and reading goes on behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from image2music.abc.ast import Tune
from image2music.abc.builder import KNOWN_FIELDS, Position, TuneBuilder
from image2music.abc.diagnostics import Diagnostic, Findings
from image2music.abc.music_line import NOT_NOTES, MusicLine, looks_like_prose

MAX_CHARS = 4_000_000
"""Longer texts are refused: a file of this size holds thousands of tunes."""

_FIELD = re.compile(r"([A-Za-z+]):(?:(?<=[H-WYh-w+]:)|(?![|:]))")
"""Behind the letter of a note or a rest, `:|` and `::` are bar lines; a title may begin with them."""
_INLINE = re.compile(r"\[[A-Za-z]:")
_MUSIC_FIELDS = frozenset("KLMQVPw")
_LOOKS_MUSICAL = re.compile(r"[\sA-Ga-gzxZXy0-9|:\[\](){}/,'^_=\-<>.~&+HLMOPSTuv\\$]*")
_BLOCK = re.compile(r"%%\s*begin(\w+)")
_NO_KEY = "the header ends without a key: write K: and the key as its last line, K:C"


@dataclass(frozen=True, slots=True)
class ParsedAbc:
    """All tunes of a text in order, what was found while reading them, and the text itself."""

    tunes: tuple[Tune, ...]
    diagnostics: tuple[Diagnostic, ...]
    text: str = field(default="", compare=False, repr=False)


def parse(text: str) -> ParsedAbc:
    """Read an ABC text of one or more tunes.

    Lines may end in LF, CRLF or CR. Never raises for any text; a text above `MAX_CHARS` gives no tune and one
    diagnostic `text-too-long`.
    """
    if len(text) > MAX_CHARS:
        findings = Findings()
        findings.add("text-too-long", f"{len(text)} characters, at most {MAX_CHARS} are read: split the file", 1, 1)
        return ParsedAbc((), tuple(findings.diagnostics), text)
    return _Parser(text).parse()


class _Parser:
    """Walk the lines. `tune` is None outside a tune; `blank_line` is the number of a blank line just passed, or 0."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.findings = Findings()
        self.position = Position()
        self.tunes: list[Tune] = []
        self.tune: TuneBuilder | None = None
        self.has_references = re.search(r"^X:", text, re.MULTILINE) is not None
        self.references: set[str] = set()
        self.file_header: list[tuple[str, str]] = []
        self.outside_reported = False
        self.block: str | None = None
        self.blank_line = 0

    def parse(self) -> ParsedAbc:
        text = self.text
        start = 1 if text.startswith("\ufeff") else 0
        size = len(text)
        if not text.strip("\ufeff \t\r\n"):
            self.findings.add("empty-text", "there is no text: write a tune from X: to its last bar line", 1, 1)
            return ParsedAbc((), tuple(self.findings.diagnostics), text)
        while start < size:
            end = text.find("\n", start)
            end = size if end < 0 else end
            self._lines(text[start:end], start)
            start = end + 1
        self._end_tune(size)
        if not self.tunes:
            self.findings.add("no-music", "no tune was found: write one from X: to its last bar line", 1, 1)
        return ParsedAbc(tuple(self.tunes), tuple(self.findings.diagnostics), text)

    def _lines(self, line: str, start: int) -> None:
        """A line without its LF: it may end in CR, or be several lines that end in CR alone."""
        parts = line.split("\r") if "\r" in line else [line]
        if len(parts) > 1 and not parts[-1]:
            parts.pop()
        for part in parts:
            self.position.line += 1
            self.position.start = start
            self._read_line(part.rstrip())
            start += len(part) + 1

    def _read_line(self, line: str) -> None:
        if self.block is not None:
            if line.startswith("%%") and line[2:].strip().startswith("end" + self.block):
                self.block = None
            return
        if not line:
            self._blank()
            return
        if line[0] == "%":
            self._comment(line)
            return
        match = _FIELD.match(line)
        if match is not None and match[1] == "X":
            self._start_tune(line[2:])
        elif self.tune is None:
            self._outside(line, match)
        elif self.blank_line:
            self._after_blank(self.tune, line, match)
        elif match is not None:
            self.tune.field(match[1], line[2:])
        else:
            self._music(self.tune, line)

    def _comment(self, line: str) -> None:
        block = _BLOCK.match(line)
        if block is not None:
            self.block = block[1]
        elif line.startswith("%%") and self.tune is not None:
            self.tune.directive(line)

    def _blank(self) -> None:
        if self.tune is not None:
            self.blank_line = self.blank_line or self.position.line
        self.outside_reported = False

    def _after_blank(self, tune: TuneBuilder, line: str, match: re.Match[str] | None) -> None:
        """Music behind a blank line still belongs to the tune; anything else is outside it."""
        if match is not None and match[1] in (KNOWN_FIELDS if tune.in_header else _MUSIC_FIELDS):
            goes_on = True
        else:
            goes_on = _looks_musical(line) and ("|" in line or _INLINE.match(line) is not None)
        blank_line, self.blank_line = self.blank_line, 0
        if goes_on:
            message = "the blank line ends the tune, so what follows is lost: remove it"
            self.findings.add("blank-line", message, blank_line, 1)
            self._read_line(line)
            return
        if not tune.in_header:
            self._end_tune(self.position.start)
        self._outside(line, match)

    def _outside(self, line: str, match: re.Match[str] | None) -> None:
        """A line outside any tune: a file header's field, the start of a tune without X:, or text."""
        may_start = not self.has_references and not self.tunes and self.tune is None
        if match is not None and match[1] in KNOWN_FIELDS:
            if may_start:
                self._start_tune(None).field(match[1], line[2:])
            else:
                self.file_header.append((match[1], line[2:]))
        elif may_start and "|" in line and _looks_musical(line):
            self._music(self._start_tune(None), line)
        elif not self.outside_reported:
            message = f"{line[:30]!r} stands outside any tune and is not read: remove it or put % before it"
            self.findings.add("text-outside-tune", message, self.position.line, 1)
            self.outside_reported = True

    def _music(self, tune: TuneBuilder, line: str) -> None:
        if line.startswith("```"):
            tune.report("text-in-music", "a code fence is no music: remove it", 1)
            return
        if looks_like_prose(line) or (tune.in_header and not _looks_musical(line)):
            shown = line if len(line) <= 30 else line[:27] + "..."
            tune.report("text-in-music", f"{shown!r} is no music: remove it or put % before it", 1)
            return
        if tune.in_header:
            tune.report("missing-key", _NO_KEY, 1)
            tune.end_header(self.position.start)
        MusicLine(tune, line).read()

    def _start_tune(self, reference: str | None) -> TuneBuilder:
        self._end_tune(self.position.start)
        self.findings.start_tune()
        builder = TuneBuilder(self.position, self.findings)
        self.tune = builder
        for letter, value in self.file_header:
            if letter in "LMQR" or (letter == "I" and value.strip().startswith("decoration")):
                builder.field(letter, value)
        if reference is None:
            builder.report("missing-reference", "the tune has no X: line: begin it with X:1", 1)
            return builder
        number = reference.split("%", 1)[0].strip()
        builder.tune.reference = number
        if not number.isascii() or not number.isdigit():
            builder.report("bad-reference", f"X:{number[:20]} is no number: write X:1", 1)
        elif number in self.references:
            builder.report("duplicate-reference", f"X:{number} is used twice: number each tune anew", 1)
        self.references.add(number)
        return builder

    def _end_tune(self, end: int) -> None:
        if self.tune is not None:
            self.tunes.append(self.tune.finish(end))
        self.tune, self.blank_line = None, 0


def _looks_musical(line: str) -> bool:
    rest = NOT_NOTES.sub("", line)
    return _LOOKS_MUSICAL.fullmatch(rest) is not None or "|" in rest or _INLINE.match(line) is not None
