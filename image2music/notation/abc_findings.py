"""Where readers put what they find: a list of diagnostics that knows the table of codes and does not grow forever."""

from __future__ import annotations

from image2music.notation.abc_codes import CODES
from image2music.notation.diagnostic import Diagnostic

MAX_FINDINGS = 500


class Findings:
    """Diagnostics in the order they were found, at most `MAX_FINDINGS` and one that says so."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []

    def add(
        self, code: str, message: str, line: int, column: int, voice: str | None = None, bar: int | None = None
    ) -> None:
        """Notes one finding; `code` must be in `CODES`."""
        count = len(self.diagnostics)
        if count > MAX_FINDINGS:
            return
        if count == MAX_FINDINGS:
            code, message = "too-many-findings", f"more than {MAX_FINDINGS} findings: mend these first"
        self.diagnostics.append(Diagnostic(line, column, voice, bar, code, CODES[code][0], message))
