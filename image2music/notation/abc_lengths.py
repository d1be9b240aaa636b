"""Exact lengths. A length is a count of 1/WHOLE of a whole note: an int where it divides, else a Fraction.

WHOLE divides by every note value down to 1/4096 and by tuplets of 3, 5, 7, 9, 11 and 13, so nearly every length
is an int. Ints add about ten times faster than Fractions, and nothing is ever rounded.
"""

from __future__ import annotations

from fractions import Fraction

WHOLE = 2**12 * 3**3 * 5 * 7 * 11 * 13
"""Length units in a whole note."""

QUARTER = WHOLE // 4

TICKS_PER_QUARTER = 480
"""MIDI ticks, of which every quarter note played has so many."""

_TICK = QUARTER // TICKS_PER_QUARTER
_HALF_TICK = _TICK // 2

Length = int | Fraction


def scaled(length: Length, numerator: int, denominator: int) -> Length:
    """`length` · `numerator` / `denominator`, exactly. `denominator` is not 0."""
    product = length * numerator
    if isinstance(product, int):
        quotient, remainder = divmod(product, denominator)
        return Fraction(product, denominator) if remainder else quotient
    result = product / denominator
    return result.numerator if result.denominator == 1 else result


def of_whole(numerator: int, denominator: int) -> Length:
    """The length of `numerator`/`denominator` of a whole note."""
    return scaled(WHOLE, numerator, denominator)


def ticks(length: Length) -> int:
    """Length units to MIDI ticks, to the nearest."""
    return (length + _HALF_TICK) // _TICK


def as_fraction(length: Length) -> Fraction:
    """The length as a fraction of a whole note."""
    return Fraction(length) / WHOLE


def as_quarters(length: Length) -> Fraction:
    """The length in quarter notes."""
    return Fraction(length) / QUARTER


def spoken(length: Length) -> str:
    """The length as musicians write it: eighths stay eighths where they fit, e.g. `5/8`, `3/16`, `1`."""
    value = as_fraction(length)
    if value.denominator < 8 and (value * 8).denominator == 1 and value < 8:
        return f"{value * 8}/8"
    return str(value)
