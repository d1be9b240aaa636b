"""How lengths are written: note values and dots, notes tied together, brackets of tuplets, beams by the meter.

All lengths and places are exact fractions of a whole note. Beams show the beats, as engravers have them; where all
are eighths one beam may join them over half a bar of 4/4, and over a whole bar of 2/4 and 3/4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from image2music.music.theory import Length, Meter, as_fraction, of_whole

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
_FLAGS = {"eighth": 1, "16th": 2, "32nd": 3, "64th": 4, "128th": 5}
_TUPLETS = ((1, 1), (3, 2), (5, 4), (7, 4), (9, 8), (11, 8), (13, 8))
_PLAIN = sorted((name * (2 - Fraction(1, 2**dots)) for name in _NAMES for dots in range(2)), reverse=True)
_MOST_PIECES = 8


class NoteValue(NamedTuple):
    """`name` as MusicXML has it; `actual` notes in the time of `normal`, 1 and 1 outside tuplets."""

    name: str
    dots: int
    actual: int
    normal: int

    @property
    def flags(self) -> int:
        """How many flags or beams it has: 1 for an eighth."""
        return _FLAGS.get(self.name, 0)


@lru_cache(maxsize=1024)
def note_value(length: Length) -> NoteValue | None:
    """Return the plainest value of a length; None where no single note lasts so long, such as 5/8."""
    whole = as_fraction(length)
    for actual, normal in _TUPLETS:
        for dots in range(3):
            name = _NAMES.get(whole * actual / normal / (2 - Fraction(1, 2**dots)))
            if name is not None:
                return NoteValue(name, dots, actual, normal)
    return None


@lru_cache(maxsize=1024)
def written_pieces(length: Fraction, *, long_first: bool = True) -> tuple[Fraction, ...]:
    """Return the lengths of the notes, tied together, that write a length; as few as there can be.

    The long one comes first where the note begins on a beat. A length that no notes write comes back as it is.
    """
    pieces: list[Fraction] = []
    rest = length
    while rest and len(pieces) < _MOST_PIECES:
        if _value(rest) is not None:
            return tuple([*pieces, rest] if long_first else [rest, *pieces[::-1]])
        fits = [piece for piece in _PLAIN if piece < rest]
        piece = next((piece for piece in fits if _value(rest - piece) is not None), fits[0] if fits else None)
        if piece is None:
            break
        pieces.append(piece)
        rest -= piece
    return (length,)


def _value(whole: Fraction) -> NoteValue | None:
    return note_value(of_whole(whole.numerator, whole.denominator))


@dataclass(frozen=True)
class WrittenValue:
    """One sign of a bar: where it begins in the bar, its length, its value, and whether it is a rest."""

    onset: Fraction
    length: Fraction
    value: NoteValue | None
    is_rest: bool = False


def tuplet_brackets(signs: Sequence[WrittenValue]) -> list[tuple[bool, bool]]:
    """Say of each sign of a layer whether a bracket of a tuplet begins with it and whether one ends with it.

    A tuplet is over where its signs fill a time that needs no tuplet, where the next sign is of another kind, and at
    the end of the bar.
    """
    begins, ends = [False] * len(signs), [False] * len(signs)
    open_at: int | None = None
    filled = Fraction(0)
    for at, sign in enumerate(signs):
        kind = sign.value[2:] if sign.value is not None and sign.value.actual > 1 else None
        before = signs[at - 1].value if at else None
        if open_at is not None and before is not None and kind != before[2:]:
            ends[at - 1], open_at = True, None
        if kind is None:
            continue
        if open_at is None:
            open_at, filled, begins[at] = at, Fraction(0), True
        filled += sign.length
        if filled.denominator & (filled.denominator - 1) == 0:
            ends[at], open_at = True, None
    if open_at is not None:
        ends[-1] = True
    return list(zip(begins, ends, strict=True))


def beats_of_meter(meter: Meter) -> tuple[Fraction, ...]:
    """Return the lengths of a bar's beats: dotted ones in 6/8, of two and three in 5/8, 7/8 and their like."""
    unit = Fraction(1, meter.denominator)
    if meter.length is None:
        return (Fraction(1, 4),)
    if meter.denominator >= 8:
        if meter.numerator % 3 == 0:
            return (3 * unit,) * (meter.numerator // 3)
        if meter.numerator == 5:
            return (3 * unit, 2 * unit)
        odd = (3 * unit,) if meter.numerator % 2 else ()
        return (2 * unit,) * ((meter.numerator - 3 * len(odd)) // 2) + odd or (unit,)
    if meter.is_compound:
        return (3 * unit,) * (meter.numerator // 3)
    return (unit,) * meter.numerator


_JOINED = {(4, 4): 2, (2, 4): 2, (3, 4): 3}
"""How many beats a beam may join where all under it are eighths."""


def beams(signs: Sequence[WrittenValue], meter: Meter) -> list[tuple[str, ...]]:
    """Return of each sign of a layer what its beams do, the longest first, as MusicXML says it; () where it has none.

    The words are `begin`, `continue`, `end`, `forward hook` and `backward hook`. Places in the bar are those of a full
    one: in a pick-up they begin behind the silence that is left out.
    """
    groups = _groups(signs, meter)
    written: list[tuple[str, ...]] = [()] * len(signs)
    for key, run in groupby(range(len(signs)), key=lambda at: groups[at]):
        members = list(run)
        if key is None or len(members) < 2:
            continue
        flags = [value.flags if (value := signs[at].value) else 0 for at in members]
        for nth, at in enumerate(members):
            written[at] = tuple(_beam(flags, nth, level, signs[at]) for level in range(1, flags[nth] + 1))
    return written


def _beam(flags: Sequence[int], nth: int, level: int, sign: WrittenValue) -> str:
    left, right = nth > 0 and flags[nth - 1] >= level, nth + 1 < len(flags) and flags[nth + 1] >= level
    if left and right:
        return "continue"
    if left or right:
        return "end" if left else "begin"
    if nth == 0:
        return "forward hook"
    # A short note in the middle belongs to the half of its beat that it stands in.
    on_it = (sign.onset / (2 * sign.length)).denominator == 1
    return "forward hook" if on_it and nth + 1 < len(flags) else "backward hook"


def _groups(signs: Sequence[WrittenValue], meter: Meter) -> list[tuple[int, int] | None]:
    """Return a name for the beam of each sign, the same for neighbours that share one; None where it has none."""
    beats = beats_of_meter(meter)
    joined = _JOINED.get((meter.numerator, meter.denominator), 1) if meter.length is not None else 1
    numbers = [_beat_number(sign.onset, beats) for sign in signs]
    mixed = {
        number // joined
        for sign, number in zip(signs, numbers, strict=True)
        if not sign.is_rest and (sign.value is None or sign.value != ("eighth", 0, 1, 1))
    }
    stretch = 0
    groups: list[tuple[int, int] | None] = []
    for sign, number in zip(signs, numbers, strict=True):
        if sign.is_rest or sign.value is None or not sign.value.flags:
            stretch += 1
            groups.append(None)
        else:
            groups.append((stretch, number if number // joined in mixed else -1 - number // joined))
    return groups


def _beat_number(onset: Fraction, beats: Sequence[Fraction]) -> int:
    bar = sum(beats, Fraction(0))
    number, rest = int(onset // bar) * len(beats), onset % bar
    for beat in beats:
        if rest < beat:
            break
        rest -= beat
        number += 1
    return number
