"""Counts bars exactly while a tune is decoded, letter by letter, and finds a short way to the tune's end.

The text must keep to the grammar in `grammars`; the counter adds what a regular expression cannot say: every bar is
exactly as long as the meter, slurs and swells that a line opens are closed in it, and at the end all voices have the
same number of bars (`BarCounter`), or every line has the number that its form names (`LineCounter`). Lengths are in
ticks. When the tokens of an answer run out, the current note is held or a rest fills the bar, and whatever has too few
bars gets rests.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from fractions import Fraction

from image2music.composers.constrained.forms import BarsOfLine, LinesForm

UNIT = 64
"""Ticks of a note without a length."""
SHORTEST = UNIT // 8
TRIPLET = 2 * UNIT
_TRIPLET_NOTES = 3


@dataclass(slots=True)
class BarCounter:
    """The state of a tune. A note's length may still grow or shrink while its digits come, so it is `pending`.

    `bracket` is what is open, with its contents so far: a chord or field `[`, a sign `!`, grace notes `{`, or a `(`
    that may begin a triplet or a slur. `swell` is `<` or `>` while one lasts.
    """

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
    slur: bool = False
    swell: str = ""
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
        return self._is_even and not self.has_marks

    @property
    def _is_even(self) -> bool:
        return self.is_closed and min(self.bars.values(), default=0) == max(self.bars.values(), default=1)

    @property
    def has_marks(self) -> bool:
        """Return whether a slur or a swell lasts."""
        return self.slur or bool(self.swell)

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
        kind = self.bracket[0]
        if kind == "(":
            return self._takes_after_paren(letter)
        self.bracket += letter
        if kind == "!":
            return self._takes_in_sign(letter)
        if letter != ("}" if kind == "{" else "]"):
            return True
        if self.bracket.startswith("[V:"):
            self.voice = self.bracket[3:-1]
            if self.bars and self.voice not in self.bars:
                return False
        elif kind == "[" and not self.bracket.startswith("[Q"):
            self.pending, self.is_closed, self.has_notes = "", False, True
        self.bracket = ""
        return True

    def _takes_after_paren(self, letter: str) -> bool:
        """A triplet; or a slur, of which one may last at a time."""
        self.bracket = ""
        if letter == "3":
            self.triplet = _TRIPLET_NOTES
            self.filled += TRIPLET
            return self.filled <= self.bar
        if self.slur:
            return False
        self.slur = True
        return self._takes_music(letter)

    def _takes_in_sign(self, letter: str) -> bool:
        """Dynamics and the like, which need a note behind them, and the ends of swells, which need none."""
        sign = self.bracket
        if not self._fits(SHORTEST) and not (self.swell and f"!{self.swell})!".startswith(sign)):
            return False
        if letter != "!":
            return self._may_swell(sign)
        self.bracket = ""
        if sign[-2] == "(":
            self.swell = sign[1]
        elif sign[-2] == ")":
            self.swell = ""
        return True

    def _may_swell(self, sign: str) -> bool:
        if sign[-1] in "()":
            return self.swell == (sign[1] if sign[-1] == ")" else "")
        return not (sign[-1] == "<" and self.swell == ">")

    def _takes_music(self, letter: str) -> bool:
        if letter in "Vv%" and self._at_line_start:
            self.line = letter
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
            return self._ends_bar(letter)
        if letter == "\n":
            return self.is_closed and self._ends_line()
        if letter == "]":
            return self._stands_alone()
        if letter == "[":
            self.bracket = letter
            return self._fits(SHORTEST)
        if letter in "({.":
            self.bracket, self.is_closed = letter.strip("."), False
            return self._fits(TRIPLET if letter == "(" and self.slur else SHORTEST)
        if letter == "!":
            self.bracket, self.is_closed = letter, False
            return bool(self.swell) or self._fits(SHORTEST)
        if letter == ")":
            is_open, self.slur = self.slur, False
            return is_open
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

    def _ends_line(self) -> bool:
        return self._stands_alone()

    def _stands_alone(self) -> bool:
        """Return whether a line may end here: nothing that it opened lasts."""
        return not self.has_marks

    def _ends_bar(self, sign: str) -> bool:
        """Signs of one bar line follow each other; only the first ends the bar. All but `|` alone end a line."""
        if self.is_closed:
            return self._stands_alone()
        if self.filled != self.bar or self.triplet or (sign == ":" and not self._stands_alone()):
            return False
        self._begin_bar()
        return True

    def _begin_bar(self) -> None:
        self.filled, self.is_closed = 0, True
        self.bars = {**self.bars, self.voice: self.bars.get(self.voice, 0) + 1}

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


_ONE_BAR = LinesForm("4/4", (BarsOfLine("", 1),))


@dataclass(slots=True)
class LineCounter(BarCounter):
    """The state of lines, each a text that is given and a number of bars.

    `at` is the number of the line, from 0; `given` what is left of its text, less the spaces at its end; `there` its
    bars so far.
    """

    form: LinesForm = _ONE_BAR
    at: int = 0
    given: str = ""
    there: int = 0

    @classmethod
    def of(cls, form: LinesForm) -> LineCounter:
        """Return the counter at the beginning of a form."""
        bar = int(Fraction(form.meter) / Fraction(1, 8) * UNIT)
        return cls(in_header=False, bar=bar, form=form, given=form.lines[0].prefix.rstrip(" "))

    @property
    def may_end(self) -> bool:
        """Return whether all lines have their bars."""
        return self.at == len(self.form.lines) or (self.is_whole and self.at == len(self.form.lines) - 1)

    @property
    def wanted(self) -> int:
        """Return the bars that the line is to have."""
        return self.form.lines[self.at].bars if self.at < len(self.form.lines) else 0

    @property
    def is_whole(self) -> bool:
        """Return whether the line has all its bars."""
        return self.is_closed and not self.given and self.there == self.wanted

    @property
    def missing(self) -> int:
        """Count the bars that are still to be begun."""
        later = sum(line.bars for line in self.form.lines[self.at + 1 :])
        return self.wanted - self.there - (not self.is_closed) + later

    def _takes(self, letter: str) -> bool:
        if self.given:
            is_right = letter == self.given[0]
            self.last, self.given = letter, self.given[1:]
            return is_right
        return self.at < len(self.form.lines) and BarCounter._takes(self, letter)

    def _begins(self, letter: str) -> bool:
        return (letter in "]\n" or not self.is_whole) and BarCounter._begins(self, letter)

    def _stands_alone(self) -> bool:
        return self.is_whole

    def _ends_line(self) -> bool:
        is_whole = self.is_whole
        self.at, self.there = self.at + 1, 0
        if self.at < len(self.form.lines):
            self.given = self.form.lines[self.at].prefix.rstrip(" ")
        return is_whole

    def _ends_bar(self, sign: str) -> bool:
        is_last = self.there + 1 == self.wanted
        return not (is_last and self.has_marks) and BarCounter._ends_bar(self, sign)

    def _begin_bar(self) -> None:
        self.filled, self.is_closed, self.there = 0, True, self.there + 1


_LETTERS_A_BAR, _LETTERS_A_VOICE, _LETTERS_AT_ONCE, _LETTERS_OF_MARKS = 6, 14, 28, 12
_LONGEST_NUMERATOR = 99
_ACCIDENTALS = "^_="


def letters_to_close(counter: BarCounter) -> int:
    """Return an upper bound of the letters that `closing_letters` needs from here to the end.

    Of lines it leaves the texts that are given out of account, all but the one that is begun.
    """
    at_once = _LETTERS_AT_ONCE + _LETTERS_OF_MARKS * (counter.has_marks or counter.bracket[:1] in ("!", "("))
    if isinstance(counter, LineCounter):
        return _LETTERS_A_BAR * counter.missing + len(counter.given) + len(counter.form.lines) - counter.at + at_once
    # A slur that lasts at a bar line takes one more bar of every voice.
    bars = counter.missing + (len(counter.bars) + 1) * counter.has_marks
    return _LETTERS_A_BAR * bars + _LETTERS_A_VOICE * len(counter.bars) + at_once


def closing_letters(counter: BarCounter) -> str:
    """Return the letters that may come next on the shortest way to the end, best first.

    Take the first that is legal.
    """
    if counter.line:
        return "\n "
    if counter.bracket:
        return _in_bracket(counter)
    if counter.triplet or counter.last in _ACCIDENTALS:
        return "C"
    if isinstance(counter, LineCounter) and counter.given:
        return counter.given[0]
    return _between_bars(counter) if counter.is_closed else _mark_ends(counter) + _in_bar(counter)


def _in_bracket(counter: BarCounter) -> str:
    kind, inside = counter.bracket[0], counter.bracket[1:]
    if kind == "(":
        return "3" if counter.slur else "C"
    if kind == "!":
        end = f"{counter.swell})!" if counter.swell else ""
        return end[len(inside)] if end.startswith(inside) and len(inside) < len(end) else "!pfz()"
    if kind == "{":
        return "C" if not inside or inside[-1] in _ACCIDENTALS else "}"
    if not inside:
        return "VC"
    if inside[0] == "V":
        behind = min(counter.bars, key=lambda voice: (counter.bars[voice], voice), default="1")
        return f"V:{behind}]"[len(inside)]
    if inside[0] == "Q":
        return "]" + "Q:1/4=90]"[len(inside) :][:1]
    if inside[-1] in _ACCIDENTALS or sum(letter.isalpha() for letter in inside) < 2:
        return "C" if "C" not in inside else "E"
    return "]"


def _between_bars(counter: BarCounter) -> str:
    """A voice that is behind goes on; the voice that leads gives way; where none is behind, the tune closes."""
    item = _item(counter)
    if isinstance(counter, LineCounter):
        return "\n" if counter.is_whole else item
    if counter.has_marks:
        return item
    if counter.lag(counter.voice):
        return item + "|:\n["
    return f"]\n{item}|:[" if counter.may_end else f"\n{item}|:["


def _mark_ends(counter: BarCounter) -> str:
    """The ends of a slur and a swell, where the note before them may be as long as it is."""
    if counter.pending is not None and ticks_of(counter.pending) > counter.left:
        return ""
    return ")" * counter.slur + "!" * bool(counter.swell)


def _in_bar(counter: BarCounter) -> str:
    pending = counter.pending
    if pending is None:
        return _item(counter) + "C" if counter.left else "|"
    held = _length_of(counter.left)
    if held.startswith(pending) and held != pending:
        return held[len(pending)]
    if "/" in pending[1:] and pending[-1] == "/":
        return "8"
    if ticks_of(pending) == counter.left:
        return "|"
    if ticks_of(pending) > counter.left:
        return "8" if "/" in pending else "/"
    return _item(counter) + "C"


def _item(counter: BarCounter) -> str:
    """A rest; or a note where the tune would have none otherwise."""
    return "z" if counter.has_notes else "C"


def _length_of(ticks: int) -> str:
    """Write a length of that many ticks in ABC; a shorter one where it has no name."""
    length = Fraction(ticks, UNIT)
    if length.denominator > 1 and length.numerator <= _LONGEST_NUMERATOR:
        return str(length)
    return "" if int(length) == 1 else str(int(length))
