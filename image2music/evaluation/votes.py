"""Votes of people who heard two tunes for one picture, A and B, without knowing whose they are.

The report's page for comparing writes them as a CSV file. A vote names its tunes by their content, so it counts only as
long as the tune that was heard is still there.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from image2music.catalog import parted_table
from image2music.errors import ConfigError
from image2music.failures import counted

VOTE_COLUMNS = ("listener", "image_id", "catalog_id", "compared", "a", "a_tune", "b", "b_tune", "vote", "voted_at")
"""Header of a file of votes: one line for each pair that somebody heard."""

_READ = tuple(column for column in VOTE_COLUMNS if column not in ("catalog_id", "voted_at"))

Compared = Literal["candidate", "run"]
Choice = Literal["a", "b", "same", "neither"]
"""same: both are as good. neither: neither is good enough; the picture wants another take."""

PREFERRED = "preferred_to_"
"""Beginning of a question's name: `preferred_to_candidate`, `preferred_to_run`."""

_MARK_LENGTH = 16


def tune_mark(abc: str) -> str:
    """Return what a vote calls a tune: the first 16 hex digits of the sha256 of its ABC."""
    return hashlib.sha256(abc.encode("utf-8")).hexdigest()[:_MARK_LENGTH]


@dataclass(frozen=True)
class Vote:
    """One listener's vote on one pair. `a` and `b` are names of candidates or runs, `a_tune` and `b_tune` marks."""

    listener: str
    image_id: str
    compared: Compared
    a: str
    a_tune: str
    b: str
    b_tune: str
    choice: Choice

    def share_of(self, tune: str) -> float | None:
        """Return 1 where a tune was preferred, 0 where the other was, half where both are as good; else None."""
        if self.choice == "neither" or tune not in (self.a_tune, self.b_tune) or self.a_tune == self.b_tune:
            return None
        if self.choice == "same":
            return 0.5
        return float((self.a_tune if self.choice == "a" else self.b_tune) == tune)


def is_vote_file(text: str) -> bool:
    """Say whether a CSV text is a file of votes, and not one of answers to the listening form."""
    return {"vote", "a_tune", "b_tune"} <= {*(answer_table(text, VOTE_COLUMNS)[0].fieldnames or ())}


def answer_table(text: str, known: Collection[str]) -> tuple[csv.DictReader[str], int]:
    """Return the lines of a CSV text, as `parted_table` takes it apart, and the number of the first of them."""
    delimiter, table, skipped = parted_table(text.removeprefix("\ufeff"), known)
    return csv.DictReader(io.StringIO(table), delimiter=delimiter), skipped + 2


def read_votes(text: str, name: str) -> list[Vote]:
    """Parse a file of votes, also one that a spreadsheet saved with semicolons or tabs.

    Raises:
        ConfigError: columns are missing, or a cell holds a word that is not known (`bad_answers`).
    """
    table, first = answer_table(text, VOTE_COLUMNS)
    missing = [column for column in _READ if column not in (table.fieldnames or ())]
    if missing:
        raise ConfigError(f"{name} lacks the columns {', '.join(missing)}", reason="bad_answers")
    return [_vote(line, f"{name}, line {number}") for number, line in enumerate(table, start=first)]


def _vote(line: Mapping[str, str | None], place: str) -> Vote:
    cells = {column: (line[column] or "").strip() for column in _READ}
    for column, words in (("vote", get_args(Choice)), ("compared", get_args(Compared))):
        if cells[column] not in words:
            message = f"{place}: {column} must be one of {', '.join(words)}, not {cells[column]!r:.20}"
            raise ConfigError(message, reason="bad_answers")
    return Vote(
        cells["listener"], cells["image_id"], _compared(cells["compared"]), cells["a"], cells["a_tune"], cells["b"],
        cells["b_tune"], _choice(cells["vote"]),
    )  # fmt: skip


def _compared(word: str) -> Compared:
    return "run" if word == "run" else "candidate"


def _choice(word: str) -> Choice:
    return next(choice for choice in get_args(Choice) if choice == word)


def preferences(votes: Iterable[Vote], tunes: Mapping[str, str]) -> list[tuple[str, str, float]]:
    """Return (image_id, question, share) for each vote in which a system's tune was heard.

    `tunes` are the marks of the system's tunes by image_id.
    """
    given = []
    for vote in votes:
        mark = tunes.get(vote.image_id)
        share = vote.share_of(mark) if mark is not None else None
        if share is not None:
            given.append((vote.image_id, f"{PREFERRED}{vote.compared}", share))
    return given


@dataclass(frozen=True)
class VoteCounts:
    """Votes in all, by what was chosen, and how many are `gone`: none of their tunes is there any more."""

    votes: int
    gone: int
    choices: dict[str, int]

    @property
    def line(self) -> str:
        """The counts as one line for a person."""
        neither = self.choices.get("neither", 0)
        parts = [counted(self.votes, "vote"), f"{self.choices.get('same', 0)} for both", f"{neither} for neither"]
        return ", ".join([*parts, *([f"{self.gone} for tunes that are no longer there"] if self.gone else [])]) + "."


def count_votes(votes: Sequence[Vote], known: frozenset[str]) -> VoteCounts:
    """Count votes; `known` are the marks of all tunes that are there."""
    gone = sum(not {vote.a_tune, vote.b_tune} & known for vote in votes)
    return VoteCounts(len(votes), gone, dict(sorted(Counter(vote.choice for vote in votes).items())))
