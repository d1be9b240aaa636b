"""Which of several candidates for a picture is kept."""

from __future__ import annotations

from typing import NamedTuple

from image2music.composers.album_part import missing_constraints
from image2music.loop.examine import ExaminedTune
from image2music.music.similarity import LONGEST_ALLOWED
from image2music.types import AlbumPart

GOOD_ENOUGH = 0.5
"""A critic's score from which on a higher one counts no more: chosen by the critic alone, the blandest tune wins."""

_CRITIC_STEP, _ADHERENCE_STEP, _FAULTS_STEP = 0.25, 0.05, 0.05
"""Differences below these mean nothing; rounding to them also keeps another processor's last bits from deciding."""


class Order(NamedTuple):
    """What candidates are compared by, in this order; smaller is better.

    The album's demands that are missed; notes copied beyond the bound; how far the critic's score lies below
    `GOOD_ENOUGH`; what is missing from the plan; faults that are heard, a bar, by their weight.
    """

    misses_album: int
    copies: int
    below: float
    misses_plan: float
    faults: float


def order_of(candidate: ExaminedTune, album: AlbumPart | None = None) -> Order:
    """Return what a valid candidate is compared by."""
    score, sheet, draft = candidate.score, candidate.sheet, candidate.draft
    assert score is not None and sheet is not None and draft.critic is not None
    adherence = 1.0 if draft.adherence is None else draft.adherence
    weight = sum(fault.weight for fault in sheet.faults) / max(1, sheet.bars)
    return Order(
        misses_album=len(missing_constraints(score, album)) if album is not None else 0,
        copies=max(0, draft.longest_copy - LONGEST_ALLOWED),
        below=_stepped(max(0.0, GOOD_ENOUGH - draft.critic), _CRITIC_STEP),
        misses_plan=_stepped(1 - adherence, _ADHERENCE_STEP),
        faults=_stepped(weight, _FAULTS_STEP),
    )


def why_not(candidate: ExaminedTune, chosen: ExaminedTune, album: AlbumPart | None = None) -> str:
    """Name the first thing in which a candidate is behind the chosen one."""
    if not candidate.stands:
        return candidate.draft.validity
    mine, other = order_of(candidate, album), order_of(chosen, album)
    behind = next((name for name in Order._fields if getattr(mine, name) > getattr(other, name)), None)
    return {
        "misses_album": "keeps_less_of_the_album",
        "copies": "copies_more",
        "below": "less_musical",
        "misses_plan": "keeps_less_of_the_plan",
        "faults": "more_faults",
        None: "no_better",
    }[behind]


def _stepped(value: float, step: float) -> float:
    return round(round(value, 6) / step) * step
