"""Answers of a judge, of listeners or of SongEval, as they stand in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


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
