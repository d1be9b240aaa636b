"""Lengths as engravers name them: a note type, dots, and the tuplet it stands in."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from image2music.notation.abc_lengths import Length, as_fraction

_NAMES = {
    Fraction(2): "breve",
    Fraction(1): "whole",
    Fraction(1, 2): "half",
    Fraction(1, 4): "quarter",
    Fraction(1, 8): "eighth",
    Fraction(1, 16): "16th",
    Fraction(1, 32): "32nd",
    Fraction(1, 64): "64th",
    Fraction(1, 128): "128th",
}
_TUPLETS = ((1, 1), (3, 2), (5, 4), (7, 4), (9, 8), (11, 8), (13, 8))


class NoteValue(NamedTuple):
    """`name` as MusicXML has it; `actual` notes in the time of `normal`, 1 and 1 outside tuplets."""

    name: str
    dots: int
    actual: int
    normal: int


@lru_cache(maxsize=1024)
def note_value(length: Length) -> NoteValue | None:
    """The plainest value of a length; None where no single note lasts so long, such as 5/8."""
    whole = as_fraction(length)
    for actual, normal in _TUPLETS:
        for dots in range(3):
            name = _NAMES.get(whole * actual / normal / (2 - Fraction(1, 2**dots)))
            if name is not None:
                return NoteValue(name, dots, actual, normal)
    return None
