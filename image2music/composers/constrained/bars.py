"""Counts bars exactly while a tune is decoded, letter by letter, and finds a short way to the tune's end.

The text must keep to `constraint.TUNE`; the counter adds what a regular expression cannot say: every bar is exactly as
long as the meter in the header, and at the end all voices have the same number of bars. Lengths are in ticks. When the
tokens of an answer run out, the current note is held or a rest fills the bar, and voices that have fewer bars than
another get rests until they have as many.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from fractions import Fraction

UNIT = 64
"""Ticks of a note without a length."""
SHORTEST = UNIT // 8
TRIPLET = 2 * UNIT
_TRIPLET_NOTES = 3


@dataclass(slots=True)
class BarCounter:
    """The state of a tune. A note's length may still grow or shrink while its digits come, so it is `pending`."""

    line: str = ""
    in_header: bool = True
    meter: Fraction = Fraction(1)
    unit: Fraction = Fraction(1, 8)
    bar: int = 0
    filled: int = 0
    is_closed: bool = True
    pending: str | None = None
    triplet: int = 0
    bracket: str = ""
    voice: str = "1"
    bars: dict[str, int] = field(default_factory=dict)
    last: str = "\n"
    has_notes: bool = False

    def after(self, text: str) -> BarCounter | None:
        """Return the counter after more text, None if that text can lead to no exact bar. This one stays unchanged."""
        counter = copy.copy(self)
        return counter if counter.take(text) else None

    def take(self, text: str) -> bool:
        """Take more text in; return False if it can lead to no exact bar, after which the counter is of no more use."""
        return all(self._takes(letter) for letter in text)

    @property
    def may_end(self) -> bool:
        """Return whether all voices have the same number of whole bars, at least one."""
        return self.is_closed and min(self.bars.values(), default=0) == max(self.bars.values(), default=1)

    @property
    def lead(self) -> int:
        """Count the bars of the voice that has most."""
        return max(self.bars.values(), default=0)

    @property
    def missing(self) -> int:
        """Count the bars that all voices together still need until none has more than another."""
        return self.lead * len(self.bars) - sum(self.bars.values())

    @property
    def left(self) -> int:
        """Return the ticks that are left in the bar; a pending note has taken none of them yet."""
        return self.bar - self.filled

    def lag(self, voice: str) -> int:
        """Count the bars that a voice still needs until none has more."""
        return self.lead - self.bars.get(voice, 0)

    def _takes(self, letter: str) -> bool:
        self.last = letter
        if self.in_header or self.line:
            return self._takes_field(letter)
        if self.bracket:
            return self._takes_in_bracket(letter)
        return self._takes_music(letter)

    def _takes_field(self, letter: str) -> bool:
        """Header lines, and the lines that declare voices after the key."""
        if letter != "\n":
            self.line += letter
            return True
        name, _, value = self.line.partition(":")
        self.line = ""
        if name == "M":
            self.meter = Fraction(value)
        elif name == "L":
            self.unit = Fraction(value)
        elif name == "K":
            self.in_header, self.bar = False, int(self.meter / self.unit * UNIT)
        elif name == "V":
            self.bars = {**self.bars, value[:1]: 0}
        return True

    def _takes_in_bracket(self, letter: str) -> bool:
        """A chord, which counts as one note, or the name of a voice."""
        self.bracket += letter
        if letter != "]":
            return True
        if self.bracket.startswith("[V:"):
            self.voice = self.bracket[3:-1]
            if self.bars and self.voice not in self.bars:
                return False
        else:
            self.pending, self.is_closed, self.has_notes = "", False, True
        self.bracket = ""
        return True

    def _takes_music(self, letter: str) -> bool:
        if letter in "Vv%" and self._at_line_start:
            self.line = letter
            return True
        if letter == "3" and self.triplet > _TRIPLET_NOTES:
            self.triplet -= 1
            return True
        if letter.isdigit() or letter == "/":
            self.pending = (self.pending or "") + letter
            return self._fits(least_ticks(self.pending))
        if letter in ",'":
            return True
        return self._settle() and self._begins(letter)

    def _begins(self, letter: str) -> bool:
        """The first letter of something new, when the last note's length is settled."""
        if letter in "|:":
            return self._ends_bar()
        if letter == "\n":
            return self.is_closed
        if letter == "[":
            self.bracket = letter
            return self._fits(SHORTEST)
        if letter == "(":
            self.triplet, self.is_closed = _TRIPLET_NOTES + 1, False
            self.filled += TRIPLET
            return self.filled <= self.bar
        if letter in "^_=":
            return bool(self.triplet) or self._fits(SHORTEST)
        return self._begins_note(letter) if letter.isalpha() else True

    def _begins_note(self, letter: str) -> bool:
        self.is_closed = False
        self.has_notes |= letter != "z"
        if self.triplet:
            self.triplet -= 1
            return True
        self.pending = ""
        return self._fits(SHORTEST)

    def _ends_bar(self) -> bool:
        """Signs of one bar line follow each other; only the first of them ends the bar."""
        if self.is_closed:
            return True
        if self.filled != self.bar or self.triplet:
            return False
        self.filled, self.is_closed = 0, True
        self.bars = {**self.bars, self.voice: self.bars.get(self.voice, 0) + 1}
        return True

    def _settle(self) -> bool:
        if self.pending is not None:
            self.filled += ticks_of(self.pending)
            self.pending = None
        return self.filled <= self.bar

    def _fits(self, ticks: int) -> bool:
        return self.filled + ticks <= self.bar

    @property
    def _at_line_start(self) -> bool:
        return self.is_closed and not self.filled and self.pending is None


def ticks_of(text: str) -> int:
    """Return the ticks of `""`, `3`, `/`, `/4` or `3/2`; a slash alone halves."""
    number, slash, divisor = text.partition("/")
    return UNIT * int(number or 1) // int(divisor or 2 if slash else 1)


def least_ticks(text: str) -> int:
    """Return the ticks of the shortest length that begins with `text`."""
    number, slash, divisor = text.partition("/")
    return ticks_of(text) if slash and divisor else UNIT * int(number or 1) // 8


_LETTERS_A_BAR, _LETTERS_A_VOICE, _LETTERS_AT_ONCE = 6, 14, 28
_LONGEST_NUMERATOR = 99
_ACCIDENTALS = "^_="


def letters_to_close(counter: BarCounter) -> int:
    """Return an upper bound of the letters that `closing_letters` needs from here to the end of the tune."""
    return _LETTERS_A_BAR * counter.missing + _LETTERS_A_VOICE * len(counter.bars) + _LETTERS_AT_ONCE


def closing_letters(counter: BarCounter) -> str:
    """Return the letters that may come next on the shortest way to the end, best first.

    Take the first that is legal.
    """
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
    """A voice that is behind goes on; the voice that leads gives way; where none is behind, the tune closes."""
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
    """A rest; or a note where the tune would have none otherwise."""
    return "z" if counter.has_notes else "C"


def _length_of(ticks: int) -> str:
    """Write a length of that many ticks in ABC; a shorter one where it has no name."""
    length = Fraction(ticks, UNIT)
    if length.denominator > 1 and length.numerator <= _LONGEST_NUMERATOR:
        return str(length)
    return "" if int(length) == 1 else str(int(length))
