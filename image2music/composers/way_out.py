"""A short way to the end of a tune from anywhere in its music, for when the tokens of an answer run out.

The note that is being written is held, or a rest fills what is left of the bar; voices that have fewer bars than
another get rests until they have as many. Letter by letter, so that it can be taken from any state.
"""

from __future__ import annotations

from fractions import Fraction

from image2music.composers.bar_rules import UNIT, BarCounter, ticks_of

_LETTERS_A_BAR, _LETTERS_A_VOICE, _LETTERS_AT_ONCE = 6, 14, 28
_LONGEST_NUMERATOR = 99
_ACCIDENTALS = "^_="


def letters_to_end(counter: BarCounter) -> int:
    """At least as many letters as `next_letters` needs from here to the end of the tune."""
    return _LETTERS_A_BAR * counter.missing + _LETTERS_A_VOICE * len(counter.bars) + _LETTERS_AT_ONCE


def next_letters(counter: BarCounter) -> str:
    """The letters that may come next on the way out, best first; the first that the grammar allows is the one."""
    if counter.bracket:
        return _in_bracket(counter)
    if counter.triplet:
        return "3" if counter.triplet > 3 else "C"
    if counter.last in _ACCIDENTALS:
        return "C"
    return _between_bars(counter) if counter.is_closed else _in_bar(counter)


def _in_bracket(counter: BarCounter) -> str:
    inside = counter.bracket[1:]
    if not inside:
        return "VC"
    if inside[0] == "V":
        behind = min(counter.bars, key=lambda voice: (counter.bars[voice], voice), default="1")
        return f"V:{behind}]"[len(inside)]
    if inside[-1] in _ACCIDENTALS or sum(letter.isalpha() for letter in inside) < 2:
        return "C" if "C" not in inside else "E"
    return "]"


def _between_bars(counter: BarCounter) -> str:
    """A voice that is behind goes on; the one that leads gives way; where none is behind, the tune closes."""
    item = _item(counter)
    if counter.lag(counter.voice):
        return item + "|:\n["
    return f"]\n{item}|:[" if counter.may_end else f"\n{item}|:["


def _in_bar(counter: BarCounter) -> str:
    pending = counter.pending
    if pending is None:
        return _item(counter) if counter.left else "|"
    held = _length_of(counter.left)
    if held.startswith(pending) and held != pending:
        return held[len(pending)]
    if "/" in pending[1:] and pending[-1] == "/":
        return "8"
    if ticks_of(pending) == counter.left:
        return "|"
    if ticks_of(pending) > counter.left:
        return "8" if "/" in pending else "/"
    return _item(counter)


def _item(counter: BarCounter) -> str:
    """A rest; a note where the tune would have none otherwise, for that is no tune."""
    return "z" if counter.has_notes else "C"


def _length_of(ticks: int) -> str:
    """A length of that many ticks as ABC writes it; a shorter one where it has no name."""
    length = Fraction(ticks, UNIT)
    if length.denominator > 1 and length.numerator <= _LONGEST_NUMERATOR:
        return str(length)
    return "" if int(length) == 1 else str(int(length))
