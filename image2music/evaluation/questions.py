"""The paper's questions, blind tunes, and answers as they stand in a row.

The paper's questions, answered from 1 to 7 by a judge model and by people.

A tune without anything that tells who wrote it, and for what.

Answers of a judge, of listeners or of SongEval, as they stand in a row.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

LOWEST, HIGHEST = 1, 7

GROUPS: dict[str, tuple[str, ...]] = {
    "music": ("music_overall", "melody", "rhythm", "authenticity", "harmony"),
    "consistency": ("consistency_overall", "semantics", "emotion"),
}
"""What a judge is asked, by conversation: the music alone, and the music beside its picture."""

STUDY = (*GROUPS["music"], *GROUPS["consistency"], "explanation")
"""What people are asked: the same eight, and whether the explanation convinces."""
_FOLDER = "image2music.composers.prompts"


@cache
def wording() -> dict[str, str]:
    """Each question in words, from prompts/judge/questions.txt."""
    text = (files(_FOLDER) / "judge" / "questions.txt").read_text(encoding="utf-8")
    return {name: words.strip() for name, _, words in (line.partition(":") for line in text.splitlines() if line)}


def judge_prompts_version() -> str:
    """First 16 hex digits of the sha256 over the judge's prompt files. They are no part of a composition's settings."""
    digest = hashlib.sha256()
    entries = [entry for entry in (files(_FOLDER) / "judge").iterdir() if entry.name.endswith(".txt")]
    for entry in sorted(entries, key=lambda entry: entry.name):
        digest.update(entry.name.encode() + b"\0" + entry.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


_TELLING = re.compile(r"^(?:[A-JNORSTWXZw]:(?!\|)|%(?!%MIDI (?:program|channel|transpose)\b)).*$", re.MULTILINE)
_NAMES = re.compile(r"\s*\b(?:name|nm|subname|snm|sname)\s*=\s*(?:\"[^\"\n]*\"|\S+)")
_VOICE_LINE = re.compile(r"^V:.*$", re.MULTILINE)
_COMMENT = re.compile(r"(?<!\\)%(?!%).*$", re.MULTILINE)


def anonymize(abc: str) -> str:
    """The notes and what they need: title, remarks, comments and names of voices are left out."""
    text = _TELLING.sub("", abc.replace("\r\n", "\n"))
    lines = [line if line.startswith("%%") else _COMMENT.sub("", line) for line in text.split("\n")]
    text = _VOICE_LINE.sub(lambda line: _NAMES.sub("", line[0]), "\n".join(lines))
    return "\n".join(["X:1", *(line.rstrip() for line in text.split("\n") if line.strip())]) + "\n"


def answer_entry(who: str, question: str, points: Sequence[float]) -> dict[str, Any]:
    """An entry of the column `answers` of schemas/score.py."""
    return {
        "who": who,
        "question": question,
        "mean": float(np.mean(points)),
        "spread": float(np.std(points, ddof=1)) if len(points) > 1 else None,
        "answers": len(points),
    }


def add_answers(rows: Sequence[dict[str, Any]], who: str, given: Iterable[tuple[int, str, float]]) -> None:
    """Put (place of the row, question, points) into the rows, as mean and spread."""
    gathered: dict[tuple[int, str], list[float]] = {}
    for place, question, points in given:
        gathered.setdefault((place, question), []).append(points)
    for (place, question), collected in gathered.items():
        rows[place]["answers"].append(answer_entry(who, question, collected))


def mean_spread(rows: Iterable[Mapping[str, Any]], who: str) -> float | None:
    """Mean over all tunes and questions of how far the answers to the same thing lie apart; None for single answers."""
    spreads = [a["spread"] for row in rows for a in row["answers"] if a["who"] == who and a["spread"] is not None]
    return float(np.mean(spreads)) if spreads else None
