"""What tokens of music sound like under a unit length, remembered from tune to tune.

A few hundred tokens make up nearly all music, so most notes are looked up and not read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from image2music.notation.abc_lengths import Length
from image2music.notation.abc_tokens import Head

_MOST_TOKENS = 16384
_LONGEST_TOKEN = 64


class Sounding(NamedTuple):
    """A note, chord or rest without anything wrong: heads, length, ties, and its characters without blanks."""

    heads: tuple[Head, ...]
    length: Length
    ties: int
    size: int


class Soundings(dict[str, Sounding]):
    """Tokens as they stand in a line, with the blanks behind them, and what they sound like."""

    def remember(self, token: str, sounding: Sounding) -> None:
        """Keeps one token; forgets all others where there are too many."""
        if len(token) > _LONGEST_TOKEN:
            return
        if len(self) >= _MOST_TOKENS:
            self.clear()
        self[token] = sounding


@lru_cache(maxsize=32)
def soundings(unit: Length) -> Soundings:
    """The tokens met so far under a unit length; one object for each unit length, shared by all tunes."""
    return Soundings()
