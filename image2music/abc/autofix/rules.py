"""Correct ABC by rule before any model is asked. Every correction is told as a diagnostic of severity info.

The rules, in order: take the text out of JSON and escapes; keep one tune, the one with the most notes (of equals the
first); bring header fields into ABC's form and add X:, L:, K: and (where the bars agree on one) M: if they are missing;
remove blank lines and prose; write accidentals, quotes and brackets as ABC does; take the meter that two thirds of the
bars have; fit bars that are a little short or long; fill up voices that end early. What has no clear meaning stays as
it is and is left to the checker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from image2music.abc.autofix.structure import mend_bar_lengths, mend_ends, mend_field_names, mend_header, mend_meter
from image2music.abc.autofix.wrapping import (
    TextEditor,
    choose_tune,
    mend_characters,
    mend_lines,
    mend_signs,
    note_lost_text,
    unwrap,
)
from image2music.abc.checker import check_parsed
from image2music.abc.diagnostics import MAX_FINDINGS, Diagnostic, Severity
from image2music.abc.parser import ParsedAbc, parse
from image2music.errors import AbcError

AUTOFIX_VERSION = 1
"""Raise it when a rule changes what comes out: rows of other versions are not mixed unasked."""

MAX_MODEL_CHARS = 65_536
"""A longer text is no answer that a model should have given."""

MAX_ROUNDS = 3
"""One mend can make room for another, as a closed bracket does for a bar that can then be counted."""

LONG_CHARS = 16_384
"""A longer text is mended in one round: it is no single tune with a few slips."""
_STEPS = (mend_header, mend_characters, mend_lines, mend_signs, mend_meter, mend_bar_lengths, mend_ends)
_TUNE_START = re.compile(r"^(?=X:)", re.MULTILINE)


@dataclass(frozen=True)
class Autofixed:
    """The mended text, parsed, and one diagnostic (severity info) for each mend.

    A diagnostic's line and column count in the text as it stood at that step.
    """

    abc: str
    parsed: ParsedAbc = field(compare=False, repr=False)
    diagnostics: tuple[Diagnostic, ...] = ()


def autofix(text: str) -> Autofixed:
    """Correct one tune as a model writes it. A text without errors or warnings comes back as it is.

    Raises:
        AbcError: `text_too_long` above `MAX_MODEL_CHARS` characters, `no_music` where the text holds no tune.
    """
    if len(text) > MAX_MODEL_CHARS:
        raise AbcError(
            f"{len(text)} characters, at most {MAX_MODEL_CHARS} are mended: ask for less", reason="text_too_long"
        )
    editor = TextEditor(text)
    unwrap(editor)
    if editor.text == text and _is_fine(editor.parsed) and len(editor.parsed.tunes) == 1:
        return Autofixed(text, editor.parsed)
    mend_field_names(editor)
    before = editor.text
    choose_tune(editor)
    note_lost_text(editor, before)
    if not editor.text.strip():
        raise AbcError("there is no tune in the text: write one from X: to its last bar line", reason="no_music")
    _mend_tune(editor)
    return Autofixed(editor.text, editor.parsed, tuple(editor.diagnostics))


def autofix_file(text: str) -> Autofixed:
    """Correct every tune of a file, which may hold several; text between tunes stays.

    Raises:
        AbcError: as `autofix`, for each tune on its own.
    """
    pieces = _TUNE_START.split(text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff"))
    if len(pieces) <= 2:
        return autofix(text)
    mended = [pieces[0]]
    diagnostics: list[Diagnostic] = []
    for piece in pieces[1:]:
        if len(piece) > MAX_MODEL_CHARS or _is_fine(parse(piece)):
            mended.append(piece)
            continue
        part = autofix(piece)
        mended.append(part.abc.rstrip("\n") + "\n\n")
        diagnostics += part.diagnostics
    whole = "".join(mended)
    return Autofixed(whole, parse(whole), tuple(diagnostics))


def _mend_tune(editor: TextEditor) -> None:
    for _ in range(MAX_ROUNDS if len(editor.text) <= LONG_CHARS else 1):
        before = editor.text
        findings = check_parsed(editor.parsed)
        # So many findings are no slips: the text is not a tune, and only a composer can write it anew.
        if len(findings) > MAX_FINDINGS or all(finding.severity is Severity.INFO for finding in findings):
            return
        for step in _STEPS:
            step(editor)
        if editor.text == before:
            return


def _is_fine(parsed: ParsedAbc) -> bool:
    return all(finding.severity is Severity.INFO for finding in check_parsed(parsed))
