"""The rounds of a row as they are shown: each compared with the tune that stood when it began, with its verdict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any, Literal

_PIECES = re.compile(r"\s+|\||[^\s|]+")

WRITTEN_ANEW = 0.3
"""Below this share of kept text a comparison says nothing: the round shows its tune without marks."""


@dataclass(frozen=True)
class TextChange:
    """A stretch of ABC that is the same, gone or new."""

    kind: Literal["same", "gone", "new"]
    text: str


@dataclass(frozen=True)
class Move:
    """A metric before and after a round; `before` is None for the first tune."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class FaultView:
    """A place that a listener would point at, and what a round did to it; `new` all of them in a tune of its own."""

    change: Literal["gone", "new"]
    text: str


Verdict = Literal["chosen", "not chosen", "taken", "not taken"]


REASONS = {
    "chosen": "chosen",
    "composer_prefers_another": "the composer's own judgement prefers another",
    "less_musical": "the critic finds it less musical",
    "keeps_less_of_the_plan": "keeps less of the plan",
    "keeps_less_of_the_album": "keeps less of what the album asks",
    "more_faults": "more places that a listener would point at",
    "copies_more": "takes more from a reference",
    "no_better": "no better",
    "no_worse": "no worse, and the composer says what is better",
    "better": "better",
    "new_fault": "brings a fault that was not there",
    "voice_lost": "a voice falls silent that the plan asks for",
    "other_length": "has another length",
    "needs_mending": "had to be mended by rule",
    "bare_scale_or_double": "a bare scale, or a voice twice",
    "nothing_to_compare": "nothing to compare with",
}
"""Words for the reasons of the column `rounds`; others stand as they are."""


def reason_words(reason: str) -> str:
    """Return why a round was taken or not, in words."""
    return REASONS.get(reason, reason.replace("_", " "))


@dataclass(frozen=True)
class RoundView:
    """A round compared with the tune that stood when it began. `kept` is the share of its text from there, 0 to 1.

    `verdict` tells candidates that another one was preferred to ("not chosen") from answers that were no use.
    `candidate` is the number of the candidate that it belongs to, from 1; None for later rounds, and where there is one
    candidate alone. `places` counts what a listener would point at; None where rows have no such column.
    """

    purpose: str
    candidate: int | None
    verdict: Verdict
    reason: str
    diagnostics: Sequence[Mapping[str, Any]]
    critic: float | None
    places: int | None
    faults: tuple[FaultView, ...]
    kept: float | None
    changes: tuple[TextChange, ...]
    moves: tuple[Move, ...]

    @property
    def why(self) -> str:
        """The reason in words, "" where the verdict says it all."""
        return "" if self.reason == self.verdict else reason_words(self.reason)

    @property
    def accepted(self) -> bool:
        """Whether its tune became the one that stands."""
        return self.verdict in ("chosen", "taken")


def round_views(rounds: Sequence[Mapping[str, Any]]) -> list[RoundView]:
    """Return all rounds of a row, in order, each compared with the tune accepted before it.

    Each draft begins a candidate, to be compared with nothing; what comes after the candidates goes on from the one
    that was chosen.
    """
    several = sum(each["purpose"] == "draft" for each in rounds) > 1
    views: list[RoundView] = []
    standing: Mapping[str, Any] | None = None
    chosen: Mapping[str, Any] | None = None
    number = 0
    for at, each in enumerate(rounds):
        if each["purpose"] == "draft":
            standing, number = None, number + 1
        elif each["purpose"] != "repair":
            standing = chosen or standing
        candidate = number if several and each["purpose"] in ("draft", "repair") else None
        views.append(_view(each, standing, candidate, _verdict_of(rounds, at) if several else _taken(each)))
        if each["accepted"]:
            chosen = each
        if each["accepted"] or standing is None:
            standing = each
    return views


def _taken(each: Mapping[str, Any]) -> Verdict:
    return "taken" if each["accepted"] else "not taken"


def _verdict_of(rounds: Sequence[Mapping[str, Any]], at: int) -> Verdict:
    """Return the verdict on a round where there were several candidates: a draft and its repairs share their fate."""
    if rounds[at]["purpose"] not in ("draft", "repair"):
        return _taken(rounds[at])
    if rounds[at]["accepted"]:
        return "chosen"
    first = max(place for place in range(at + 1) if rounds[place]["purpose"] == "draft")
    own = [rounds[first], *takewhile(lambda each: each["purpose"] == "repair", rounds[first + 1 :])]
    return "not taken" if any(each["accepted"] for each in own) else "not chosen"


def changes(before: str, after: str) -> tuple[TextChange, ...]:
    """Return the changes from `before` to `after`, word by word. The stretches "same" and "new" make up `after`."""
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    found = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(TextChange("same", "".join(new[k:m])))
            continue
        gone, came = "".join(old[i:j]), "".join(new[k:m])
        found += [TextChange("gone", gone)] if gone else []
        found += [TextChange("new", came)] if came else []
    return tuple(found)


def _view(
    each: Mapping[str, Any], standing: Mapping[str, Any] | None, candidate: int | None, verdict: Verdict
) -> RoundView:
    marked: tuple[TextChange, ...] = (TextChange("same", each["abc"]),)
    kept = None
    if standing is not None:
        compared = changes(standing["abc"], each["abc"])
        kept = _ink("".join(change.text for change in compared if change.kind == "same")) / max(_ink(each["abc"]), 1)
        marked = compared if kept >= WRITTEN_ANEW else marked
    return RoundView(
        purpose=each["purpose"],
        candidate=candidate,
        verdict=verdict,
        reason=each["reason"],
        diagnostics=each["diagnostics"],
        critic=each.get("critic"),
        places=None if each.get("faults") is None or each["metrics"] is None else len(each["faults"]),
        faults=_fault_views(each, standing),
        kept=kept,
        changes=marked,
        moves=tuple(_moves(each["metrics"], standing["metrics"] if standing else None)),
    )


def _fault_views(each: Mapping[str, Any], standing: Mapping[str, Any] | None) -> tuple[FaultView, ...]:
    """Return what is no longer heard, then what is heard for the first time; rows of earlier releases have neither."""
    if each["metrics"] is None:  # it cannot be played: nothing was heard
        return ()
    before = Counter(fault_lines(standing)) if standing else Counter[str]()
    after = Counter(fault_lines(each))
    gone = [FaultView("gone", line) for line in (before - after).elements()]
    return (*gone, *(FaultView("new", line) for line in (after - before).elements()))


def standing_round(rounds: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the round whose tune stands in the end; an empty one where the row names none."""
    return next((each for each in reversed(rounds) if each["accepted"]), {})


def fault_lines(each: Mapping[str, Any]) -> list[str]:
    """Return a line for each place that a listener would point at in a round's tune, worst first."""
    return [_fault_line(fault) for fault in each.get("faults") or ()]


def _fault_line(fault: Mapping[str, Any]) -> str:
    return f"bar {fault['bar']} beat {fault['beat']:g}: {fault['message']}"


def _ink(abc: str) -> int:
    """Count the characters without bar lines and blanks, which any two tunes share."""
    return sum(not (letter.isspace() or letter == "|") for letter in abc)


def _moves(after: Mapping[str, float | None] | None, before: Mapping[str, float | None] | None) -> Iterator[Move]:
    """Yield the metrics that a round changed, or all of the first tune's."""
    for name, value in (after or {}).items():
        old = before[name] if before else None
        if before is None or old != value:
            yield Move(name, old, value)


@dataclass(frozen=True)
class RowCandidate:
    """A candidate of a row as it was left: its number from 1, and the last of its own rounds."""

    number: int
    round: Mapping[str, Any]


def row_candidates(rounds: Sequence[Mapping[str, Any]]) -> list[RowCandidate]:
    """Return the candidates of a row: each draft as its repairs left it. Edits belong to the one that was chosen."""
    found: list[RowCandidate] = []
    for each in rounds:
        if each["purpose"] == "draft":
            found.append(RowCandidate(len(found) + 1, each))
        elif each["purpose"] == "repair" and found:
            found[-1] = RowCandidate(found[-1].number, each)
    return found


def rival(rounds: Sequence[Mapping[str, Any]]) -> RowCandidate | None:
    """Return the candidate that the critic ranks first of those that were not chosen; None where there is none.

    Only what can be played takes part, and nothing that is the chosen tune once more.
    """
    known = row_candidates(rounds)
    chosen = {each.round["abc"] for each in known if each.round["accepted"]}
    if not chosen:
        return None
    rest = [each for each in known if each.round["abc"] not in chosen and each.round.get("critic") is not None]
    return max(rest, key=lambda each: (round(each.round["critic"], 4), -each.number), default=None)
