"""The paper's questions, answered from 1 to 7 by a judge model and by people."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

LOWEST, HIGHEST = 1, 7

GROUPS: dict[str, tuple[str, ...]] = {
    "music": ("music_overall", "melody", "rhythm", "authenticity", "harmony"),
    "consistency": ("consistency_overall", "semantics", "emotion"),
}
"""What a judge is asked, by conversation: the music alone, and the music beside its picture."""

STUDY = (*GROUPS["music"], *GROUPS["consistency"], "explanation")
"""What people are asked: the same eight, and whether the explanation convinces."""

_FOLDER = "image2music.prompts"


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
