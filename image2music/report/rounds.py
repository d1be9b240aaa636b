"""What each round of the loop changed of the tune that stood before it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

_PIECES = re.compile(r"\s+|\||[^\s|]+")

WRITTEN_ANEW = 0.3
"""Below this share of kept text a comparison tells nothing: the round shows its tune without marks."""


@dataclass(frozen=True)
class Change:
    """A stretch of ABC that stayed, went or came."""

    kind: Literal["same", "gone", "new"]
    text: str


@dataclass(frozen=True)
class Move:
    """A metric before and after a round; `before` is None for the first tune."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class RoundView:
    """A round beside the tune that stood when it began. `kept` is the share of its text that was there, 0 to 1."""

    purpose: str
    accepted: bool
    reason: str
    diagnostics: Sequence[Mapping[str, Any]]
    kept: float | None
    changes: tuple[Change, ...]
    moves: tuple[Move, ...]


def round_views(rounds: Sequence[Mapping[str, Any]]) -> list[RoundView]:
    """All rounds of a row, in order."""
    views: list[RoundView] = []
    standing: Mapping[str, Any] | None = None
    for each in rounds:
        views.append(_view(each, standing))
        if each["accepted"] or standing is None:
            standing = each
    return views


def changes(before: str, after: str) -> tuple[Change, ...]:
    """How `after` came from `before`, word by word and bar by bar. What stayed and what is new make up `after`."""
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    found = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(Change("same", "".join(new[k:m])))
            continue
        gone, came = "".join(old[i:j]), "".join(new[k:m])
        found += [Change("gone", gone)] if gone else []
        found += [Change("new", came)] if came else []
    return tuple(found)


def _view(each: Mapping[str, Any], standing: Mapping[str, Any] | None) -> RoundView:
    marked: tuple[Change, ...] = (Change("same", each["abc"]),)
    kept = None
    if standing is not None:
        compared = changes(standing["abc"], each["abc"])
        kept = _ink("".join(change.text for change in compared if change.kind == "same")) / max(_ink(each["abc"]), 1)
        marked = compared if kept >= WRITTEN_ANEW else marked
    moves = tuple(_moves(each["metrics"], standing["metrics"] if standing else None))
    return RoundView(each["purpose"], each["accepted"], each["reason"], each["diagnostics"], kept, marked, moves)


def _ink(abc: str) -> int:
    """Characters but for bar lines and blanks, which any two tunes share."""
    return sum(not (letter.isspace() or letter == "|") for letter in abc)


def _moves(after: Mapping[str, float | None] | None, before: Mapping[str, float | None] | None) -> Iterator[Move]:
    """The metrics that a round moved, or all of the first tune's."""
    for name, value in (after or {}).items():
        old = before[name] if before else None
        if before is None or old != value:
            yield Move(name, old, value)
