"""A blind listening test: choose the tunes and their order, hide who wrote them, render the form, read the answers."""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from image2music.errors import ConfigError
from image2music.evaluation.pieces import Piece
from image2music.evaluation.questions import HIGHEST, LOWEST, STUDY, wording


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
