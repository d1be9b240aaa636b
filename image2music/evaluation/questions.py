"""The paper's questions, answered from 1 to 7 by a judge model and by people, and the blind test that asks people.

Anonymous tunes and stored answers are both's. The test chooses tunes and their order, hides who wrote them, renders the
form and reads the answers.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from image2music.errors import ConfigError
from image2music.evaluation.pieces import Piece

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


@dataclass(frozen=True)
class Shown:
    """An item as the page shows it; `picture` is a `data:` address, "" where the picture could not be opened."""

    code: str
    picture: str
    motivation: str


def render_form(items: Sequence[Shown]) -> str:
    """Render the form as one HTML page that needs no server and sends nothing; it plays sounds/CODE.wav beside it."""
    return _template().render(items=items, questions={name: wording()[name] for name in STUDY})


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("image2music.evaluation"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    return environment.get_template("study.html")


ANSWER_COLUMNS = ("listener", "item", *STUDY)
"""Header of an answers file: one line for each tune that somebody heard."""
_CODE_LENGTH = 10


@dataclass(frozen=True)
class Item:
    """A tune on the form. `code` reveals nothing; `system` stands in the answer key alone."""

    code: str
    system: str
    piece: Piece


@dataclass(frozen=True)
class ListenerAnswer:
    """One listener's points for one question about one item."""

    listener: str
    code: str
    question: str
    points: int


def choose_items(systems: Mapping[str, Sequence[Piece]], pictures: int, seed: int) -> list[Item]:
    """Choose at most `pictures` random pictures that every system has a tune for; return all their tunes, shuffled.

    Raises:
        ConfigError: no picture has a tune by every system (`nothing_to_hear`).
    """
    playable = {name: {piece.image_id: piece for piece in pieces if piece.score} for name, pieces in systems.items()}
    shared = sorted(set.intersection(*(set(pieces) for pieces in playable.values())))
    if not shared:
        raise ConfigError("no picture has a tune by every system: there is nothing to hear", reason="nothing_to_hear")
    dice = random.Random(seed)
    chosen = dice.sample(shared, min(pictures, len(shared)))
    items = [
        Item(_code(seed, name, image_id), name, pieces[image_id])
        for image_id in chosen
        for name, pieces in playable.items()
    ]
    dice.shuffle(items)
    return items


def _code(seed: int, system: str, image_id: str) -> str:
    return hashlib.sha256(f"{seed}/{system}/{image_id}".encode()).hexdigest()[:_CODE_LENGTH]


def answer_key_csv(items: Iterable[Item]) -> str:
    """Return the answer key as CSV: which system wrote each item. Listeners must not see it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("item", "system", "image_id"))
    writer.writerows((item.code, item.system, item.piece.image_id) for item in items)
    return out.getvalue()


def read_answer_key(text: str) -> dict[str, tuple[str, str]]:
    """Parse the answer key into (system, image_id) by code."""
    return {line["item"]: (line["system"], line["image_id"]) for line in csv.DictReader(io.StringIO(text))}


def read_answers(text: str, codes: Iterable[str], name: str) -> list[ListenerAnswer]:
    """Parse the answers of a file; an empty cell is a question that was not answered.

    Raises:
        ConfigError: columns are missing, an item is not on the form, or a cell holds no whole number from 1 to 7
            (`bad_answers`).
    """
    known = set(codes)
    table = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    missing = [column for column in ANSWER_COLUMNS if column not in (table.fieldnames or ())]
    if missing:
        raise ConfigError(f"{name} lacks the columns {', '.join(missing)}", reason="bad_answers")
    heard = []
    for number, line in enumerate(table, start=2):
        if line["item"] not in known:
            message = f"{name}, line {number}: no item {line['item']!r} on the form"
            raise ConfigError(message, reason="bad_answers")
        for question in STUDY:
            cell = (line[question] or "").strip()
            if cell:
                heard.append(
                    ListenerAnswer(
                        line["listener"] or "", line["item"], question, _points(cell, name, number, question)
                    )
                )
    return heard


def _points(cell: str, name: str, number: int, question: str) -> int:
    if not (cell.isascii() and cell.isdigit() and LOWEST <= int(cell) <= HIGHEST):
        message = f"{name}, line {number}: {question} must be a whole number from 1 to 7, not {cell!r:.20}"
        raise ConfigError(message, reason="bad_answers")
    return int(cell)
