"""A piece of the demo before it becomes a file, and how to choose among many without a die."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from image2music.notation.score import Score


@dataclass(frozen=True)
class Piece:
    """A real piece with a setting chosen for the demo.

    name: path of its MIDI file below `midi/`, without ending.
    kind: what it is, in one word or two: "reel", "slow air", "chorale".
    score: its notes, with one tempo, meter and key at the start.
    """

    name: str
    title: str
    kind: str
    score: Score


def draw(text: str, sides: int) -> int:
    """0 to sides - 1, decided by the text: the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % sides


def sample(names: Iterable[str], count: int) -> list[str]:
    """`count` of the names, spread evenly over their sorted order."""
    ordered = sorted(names)
    if len(ordered) <= count:
        return ordered
    return [ordered[index * len(ordered) // count] for index in range(count)]
