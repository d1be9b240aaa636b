"""The paper's questions (answered from 1 to 7 by a judge model and by people), anonymous tunes, and stored answers."""

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
"""The judge's questions by conversation: about the music alone, and about the music beside its picture."""

STUDY = (*GROUPS["music"], *GROUPS["consistency"], "explanation")
"""The listeners' questions: the judge's eight, and whether the explanation convinces."""
_FOLDER = "image2music.composers.prompts"


@cache
def wording() -> dict[str, str]:
    """Return each question's wording by its name, from prompts/judge/questions.txt."""
    text = (files(_FOLDER) / "judge" / "questions.txt").read_text(encoding="utf-8")
    return {name: words.strip() for name, _, words in (line.partition(":") for line in text.splitlines() if line)}


def judge_prompts_version() -> str:
    """Return the first 16 hex digits of the sha256 over the judge's prompt files, which no composition depends on."""
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
    """Return a tune without title, remarks, comments and names of voices: the notes and what they need to play."""
    text = _TELLING.sub("", abc.replace("\r\n", "\n"))
    lines = [line if line.startswith("%%") else _COMMENT.sub("", line) for line in text.split("\n")]
    text = _VOICE_LINE.sub(lambda line: _NAMES.sub("", line[0]), "\n".join(lines))
    return "\n".join(["X:1", *(line.rstrip() for line in text.split("\n") if line.strip())]) + "\n"


def answer_entry(who: str, question: str, points: Sequence[float]) -> dict[str, Any]:
    """Return an entry of the column `answers` of schemas/score.py: mean and standard deviation of the points."""
    return {
        "who": who,
        "question": question,
        "mean": float(np.mean(points)),
        "spread": float(np.std(points, ddof=1)) if len(points) > 1 else None,
        "answers": len(points),
    }


def add_answers(rows: Sequence[dict[str, Any]], who: str, given: Iterable[tuple[int, str, float]]) -> None:
    """Add answers, given as (index of the row, question, points), to the rows' column `answers`."""
    gathered: dict[tuple[int, str], list[float]] = {}
    for place, question, points in given:
        gathered.setdefault((place, question), []).append(points)
    for (place, question), collected in gathered.items():
        rows[place]["answers"].append(answer_entry(who, question, collected))


def mean_spread(rows: Iterable[Mapping[str, Any]], who: str) -> float | None:
    """Return the mean standard deviation of answers to the same question; None where each was answered once."""
    spreads = [a["spread"] for row in rows for a in row["answers"] if a["who"] == who and a["spread"] is not None]
    return float(np.mean(spreads)) if spreads else None
