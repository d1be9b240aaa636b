"""A text that is being corrected: edits at character offsets, and the record of what was changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from image2music.abc.diagnostics import CODES, Diagnostic
from image2music.abc.parser import ParsedAbc, parse

MAX_MENDS = 200


class Edit(NamedTuple):
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

    def apply(self, edits: Iterable[Edit]) -> None:
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
