"""Answers cleared of the place at which their question stood."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """Points for one `subject` (a tune and a question), asked at `place` (from 0) among the questions of `group`."""

    subject: tuple[int, str]
    group: str
    place: int
    points: float


def cleared(answers: Sequence[Answer]) -> list[Answer]:
    """The answers, each less the effect of its place, per group; effects sum to 0 over the places.

    Points are taken as the sum of what the subject is worth and what its place adds (two-way analysis of variance,
    fitted by least squares within subjects). Where no subject was asked at two places there is nothing to tell them
    apart, and the answers stay as they are.
    """
    effects = {group: place_effects([a for a in answers if a.group == group]) for group in {a.group for a in answers}}
    return [
        Answer(answer.subject, answer.group, answer.place, answer.points - float(effects[answer.group][answer.place]))
        for answer in answers
    ]


def place_effects(answers: Sequence[Answer]) -> NDArray[np.float64]:
    """float64[places]: what each place adds to the points of one group's answers."""
    places = max(answer.place for answer in answers) + 1
    subjects = _numbered([answer.subject for answer in answers])
    design = np.zeros((len(answers), places))
    design[np.arange(len(answers)), [answer.place for answer in answers]] = 1.0
    points = np.array([[answer.points] for answer in answers])
    within = _less_mean(np.hstack([design, points]), subjects)
    # The solution of least norm: places that nothing compares get 0, the others sum to 0.
    return np.linalg.lstsq(within[:, :-1], within[:, -1], rcond=None)[0].astype(np.float64)


def _less_mean(rows: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    sums = np.zeros((groups.max() + 1, rows.shape[1]))
    np.add.at(sums, groups, rows)
    means: NDArray[np.float64] = sums / np.bincount(groups)[:, None]
    return rows - means[groups]


def _numbered(names: Sequence[Hashable]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
