"""From an exception to the Failure that is written."""

from __future__ import annotations

import re

from image2music.errors import Image2MusicError
from image2music.stages import Failure

_LONGEST_MESSAGE = 500
_TRACEBACK = "Traceback (most recent call last)"
_IN_RUST = re.compile(r",? /\S+\.rs:\d+:\d+")


def failure_from(error: Exception, *, stage: str, id: str, uri: str) -> Failure:
    """The failure of one element in one stage."""
    return Failure(stage=stage, id=id, uri=uri, reason=reason_of(error), message=one_line(error))


def reason_of(error: Exception) -> str:
    """The error's own word; for errors that are not this project's, one made of the name of their class."""
    if isinstance(error, Image2MusicError):
        return error.reason
    if isinstance(error, OSError):
        return "unreadable_file"
    return f"unexpected_{type(error).__name__}"


def one_line(error: Exception) -> str:
    """The message without line breaks, shortened to what a person reads; the class's name where it is empty.

    Where a worker process sends a whole traceback as its message, only its last line counts. Lance names places in its
    own source, which are left out.
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith(_TRACEBACK):
        lines = [lines[-1].removeprefix("RuntimeError: ")]
    text = _IN_RUST.sub("", " ".join(" ".join(lines).split())) or type(error).__name__
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 3]}..."
