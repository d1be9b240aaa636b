"""A tune without anything that tells who wrote it, and for what."""

from __future__ import annotations

import re

_TELLING = re.compile(r"^(?:[A-JNORSTWXZw]:(?!\|)|%(?!%MIDI (?:program|channel|transpose)\b)).*$", re.MULTILINE)
_NAMES = re.compile(r"\s*\b(?:name|nm|subname|snm|sname)\s*=\s*(?:\"[^\"\n]*\"|\S+)")
_VOICE_LINE = re.compile(r"^V:.*$", re.MULTILINE)
_COMMENT = re.compile(r"(?<!\\)%(?!%).*$", re.MULTILINE)


def blind_abc(abc: str) -> str:
    """The notes and what they need: title, remarks, comments and names of voices are left out."""
    text = _TELLING.sub("", abc.replace("\r\n", "\n"))
    lines = [line if line.startswith("%%") else _COMMENT.sub("", line) for line in text.split("\n")]
    text = _VOICE_LINE.sub(lambda line: _NAMES.sub("", line[0]), "\n".join(lines))
    return "\n".join(["X:1", *(line.rstrip() for line in text.split("\n") if line.strip())]) + "\n"
