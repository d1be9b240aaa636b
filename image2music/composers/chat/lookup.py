"""Prompt lookup: an answer that repeats its prompt is proposed from there, and checked many tokens at a time.

Source: Saxena, "Prompt Lookup Decoding" (2023); speculative decoding of Leviathan, Kalman and Matias (ICML 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST, SHORTEST = 5, 3
"""Tokens in a row that must agree before what followed them is proposed: the most, and the fewest, tried in order."""

MOST = 16
_FIRST = 4
_ENOUGH = 3
"""Tokens that must come true to count as success: a proposal of one row makes the pass of its whole batch wider."""

_FIRST_PAUSE, _LONGEST_PAUSE = 8, 256


class Lookup:
    """Proposes what followed the last few tokens in the prompt. It costs nothing much where the answer is new.

    Proposals grow while they come true, shrink when they do not, and pause for ever longer where none does.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        self._prompt = list(prompt)
        self._places = {
            size: {tuple(self._prompt[at : at + size]): at + size for at in range(len(self._prompt) - size)}
            for size in range(LONGEST, SHORTEST - 1, -1)
        }
        self._length, self._pause, self._silent_until = _FIRST, _FIRST_PAUSE, 0

    def draft(self, written: Sequence[int], most: int) -> list[int]:
        """At most `most` tokens that may follow; often none."""
        if len(written) < self._silent_until:
            return []
        for size, places in self._places.items():
            at = places.get(tuple(written[-size:]))
            if at is not None:
                return self._prompt[at : at + min(self._length, most)]
        return []

    def learn(self, proposed: int, came_true: int, written: int) -> None:
        """What came of a proposal, when `written` tokens were there."""
        if came_true == proposed:
            self._length, self._pause = min(MOST, 2 * self._length), _FIRST_PAUSE
        elif came_true >= _ENOUGH:
            self._length, self._pause = came_true, _FIRST_PAUSE
        else:
            self._silent_until = written + self._pause
            self._length, self._pause = _FIRST, min(_LONGEST_PAUSE, 2 * self._pause)
