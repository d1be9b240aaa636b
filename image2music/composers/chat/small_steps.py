"""The plan protocol for models of a few billion parameters: the plan in parts from lists, the tune bar by bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from image2music.composers.base import PlanningRequest, WriteRequest
from image2music.composers.chat.conversations import AnswerLengths, Question
from image2music.music.planning.plan import Plan


class SmallSteps:
    """Not yet."""

    def __init__(self, ask: Callable[[Sequence[Question]], list[str]], lengths: AnswerLengths) -> None:
        self._ask, self._lengths = ask, lengths

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        raise NotImplementedError

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        raise NotImplementedError
