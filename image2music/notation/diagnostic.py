"""What the checker says: one place, one code, one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is. An `ERROR` makes `check` exit with 1 and a draft go back to the composer."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, order=True)
class Diagnostic:
    """One finding in an ABC text.

    `line` and `column` count from 1 in the text as given; `bar` counts from 1 within its voice and is None
    outside the music; `voice` is the voice's id (`"1"` where the tune names none) or None outside the music.
    """

    line: int
    column: int
    voice: str | None
    bar: int | None
    code: str
    severity: Severity
    message: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.severity} {self.code} {self.message}"
