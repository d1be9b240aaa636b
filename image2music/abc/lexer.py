"""The tokens of a line of ABC music: one compiled expression, and cached readings of each kind of token.

Every repetition in the expression is either over one character class that excludes its own opening bracket, or
bounded, so a line is read in linear time whatever it holds. A few hundred tokens make up nearly all music, so most
notes are looked up and not read (`TokenCache`). Source: ABC standard 2.1, chapters 4 and 7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from image2music.music.theory import LETTERS, Length

# All repetitions are bounded, so that the readings of tokens can be cached without filling the memory, and possessive
# where they can be, which is quicker.
_LENGTH = r"[0-9]{0,8}+(?:/{1,8}+[0-9]{0,8}+)?+"
_NOTE = rf"(?:[A-Ga-g]|(?:\^\^|__|=|[\^_](?:[0-9]?/[0-9]?)?)[A-Ga-g])[,']{{0,16}}+{_LENGTH}"
_DECORATION = r"![^!\s|\[\]\"]{1,40}!|\+(?:[a-z0-9().<>]{2,20}|[fp0-5>^]|D\.[CS]\.[A-Za-z]{0,10})\+"
_IN_CHORD = rf"{_NOTE}\.?-?|[ \t.~HLMOPSTuv()]|\"[^\"]{{0,80}}\"|{_DECORATION}"

KINDS = (
    "",
    "note",
    "bar",
    "rest",
    "string",
    "chord",
    "decoration",
    "tuplet",
    "slur_open",
    "slur_close",
    "tie",
    "broken",
    "grace",
    "field",
    "ending",
    "overlay",
    "spacer",
    "comment",
    "continuation",
    "junk",
)

(_, NOTE, BAR, REST, STRING, CHORD, DECORATION, TUPLET, SLUR_OPEN, SLUR_CLOSE, TIE, BROKEN, GRACE, FIELD, ENDING,
 OVERLAY, SPACER, COMMENT, CONTINUATION, JUNK) = range(len(KINDS))  # fmt: skip

_PATTERNS = (
    _NOTE,
    r"\.?(?:\[\||:{1,8}\||\||::)[|:\]]{0,8}(?:[0-9][0-9,\-.]{0,15})?",
    rf"[zxZX]{_LENGTH}",
    r"\"[^\"]*\"",
    rf"\[(?>(?:{_IN_CHORD}){{1,64}})\]{_LENGTH}",
    rf"{_DECORATION}|\.(?![(\-|])|[~HLMOPSTuv]",
    r"\([0-9]{1,4}(?::[0-9]{0,4}){0,2}",
    r"\.?\(",
    r"\)",
    r"\.?-",
    r"<+|>+",
    r"\{[^{}]{0,200}\}",
    r"\[[A-Za-z]:[^\[\]]{0,1000}\]",
    r"\[[ ]?[0-9][0-9,\-.]{0,15}|\[\"[^\"]{0,40}\"",
    r"&",
    r"y[0-9]*(?:/[0-9]*)?|[$]",
    r"%.*",
    r"\\$",
    r".",
)

BLANKS = " \t`"
"""What may stand between tokens."""

MUSIC = re.compile(rf"[{BLANKS}]*+(?:{'|'.join(f'({pattern})' for pattern in _PATTERNS)})")
"""Matches one token with the blanks before it; `lastindex` is its kind (an index into `KINDS`)."""

TOKENS = re.compile(rf"(?:{'|'.join(_PATTERNS)})[{BLANKS}]*+")
"""Matches one token with the blanks behind it, without telling its kind: twice as fast as `MUSIC`."""
_NOTE_PARTS = re.compile(r"(\^\^|__|=|[\^_](?:[0-9]?/[0-9]?)?)?([A-Ga-g])([,']*)([0-9]*)((?:/+[0-9]*)?)")
_CHORD_NOTE = re.compile(rf"\"[^\"]*\"|{_DECORATION}|({_NOTE})\.?(-?)|.")
_GRACE_NOTE = re.compile(rf"({_NOTE})|\[((?:{_NOTE}|-){{1,32}})\]({_LENGTH})|([ \t/()\-~.])|(.)")
_STEPS = {letter: index for index, letter in enumerate(LETTERS)}
_ACCIDENTALS = {"": None, "=": 0, "^": 1, "^^": 2, "_": -1, "__": -2}

MAX_FACTOR = 9999
"""The largest number that counts as a length in a note such as `C8` or `C/16`."""


class Head(NamedTuple):
    """One written pitch: `step` 0-6 from C, `octave` with 4 for `C`, `accidental` in semitones or None.

    Quarter-tone accidentals (`^/`, `_/`) count as 0: MIDI has no place for them.
    """

    step: int
    octave: int
    accidental: int | None
    microtone: bool = False


@dataclass(frozen=True, slots=True)
class TokenMusic:
    """What one note, chord or rest says: its heads and its length as a multiple of the unit length.

    `ties` has bit i set where head i is tied inside the chord. `problem` is a code of `diagnostics.CODES` or "".
    """

    heads: tuple[Head, ...]
    numerator: int
    denominator: int
    ties: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class GraceNote:
    """One grace note or grace chord; the length is a multiple of the grace unit."""

    heads: tuple[Head, ...]
    numerator: int
    denominator: int


_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")


def read_int(text: str) -> int | None:
    """Read an integer of at most nine ASCII digits, with one sign or none; None for any other text.

    `str.isdigit` and the class d of regular expressions will not do: they take `²` or the digits of other scripts for
    numbers, and `int` raises at `²`.
    """
    return int(text) if _INTEGER.fullmatch(text) else None


def read_length(digits: str, slashes: str) -> tuple[int, int, str]:
    """Read `3`, `/`, `/4`, `3//` as numerator, denominator and a problem code ("" where there is none)."""
    if len(digits) > 4 or len(slashes) > 6:
        return 1, 1, "bad-length"
    numerator = int(digits) if digits else 1
    denominator = 1
    if slashes:
        count = slashes.count("/")
        divisor = slashes[count:]
        if divisor and count > 1:
            return numerator or 1, 1, "bad-length"
        denominator = int(divisor) if divisor else 1 << count
    if not numerator or not denominator:
        return 1, 1, "bad-length"
    # Powers of two are all that abc2midi and most readers take; other divisors are what tuplets are for.
    problem = "odd-divisor" if denominator & (denominator - 1) and numerator % denominator else ""
    return numerator, denominator, problem


@lru_cache(maxsize=16384)
def read_note(text: str) -> TokenMusic:
    """Read a note token such as `^c'3/2`."""
    match = _NOTE_PARTS.match(text)
    if match is None:
        raise ValueError(f"not a note token: {text!r}")
    head = _head(match[1] or "", match[2], match[3])
    numerator, denominator, problem = read_length(match[4], match[5])
    if not -1 <= head.octave <= 9:
        problem = "pitch-out-of-range"
    elif head.microtone and not problem:
        problem = "microtone"
    return TokenMusic((head,), numerator, denominator, 0, problem)


def _head(accidental: str, letter: str, marks: str) -> Head:
    octave = (5 if letter.islower() else 4) + marks.count("'") - marks.count(",")
    microtone = "/" in accidental or any(c.isdigit() for c in accidental)
    return Head(_STEPS[letter.upper()], octave, 0 if microtone else _ACCIDENTALS[accidental], microtone)


@lru_cache(maxsize=4096)
def read_rest(text: str) -> TokenMusic:
    """Read a rest token such as `z3/2` or `Z4`."""
    digits = text[1:].split("/", 1)[0]
    numerator, denominator, problem = read_length(digits, text[1 + len(digits) :])
    return TokenMusic((), numerator, denominator, 0, problem)


@lru_cache(maxsize=4096)
def read_note_group(text: str) -> TokenMusic:
    """Read a chord token such as `[C2E2G2]3/2`. Its length is that of its first note times the outer one."""
    inside, outside = text[1:].rsplit("]", 1)
    heads: list[Head] = []
    lengths: list[tuple[int, int]] = []
    ties, problem = 0, ""
    for match in _CHORD_NOTE.finditer(inside):
        if not match[1]:
            continue
        spelling = read_note(match[1])
        problem = problem or spelling.problem
        ties |= (1 << len(heads)) if match[2] else 0
        heads.append(spelling.heads[0])
        lengths.append((spelling.numerator, spelling.denominator))
    if not heads:
        return TokenMusic((), 1, 1, 0, "empty-chord")
    digits = outside.split("/", 1)[0]
    numerator, denominator, outer_problem = read_length(digits, outside[len(digits) :])
    problem = problem or outer_problem
    if not problem and any(a * lengths[0][1] != lengths[0][0] * b for a, b in lengths):
        problem = "chord-lengths-differ"
    return TokenMusic(tuple(heads), numerator * lengths[0][0], denominator * lengths[0][1], ties, problem)


@lru_cache(maxsize=4096)
def read_grace(text: str) -> tuple[tuple[GraceNote, ...], str]:
    """Read a grace token such as `{/gab}`: its notes, and a problem code or ""."""
    notes: list[GraceNote] = []
    problem = ""
    for match in _GRACE_NOTE.finditer(text[1:-1]):
        if match[1]:
            spelling = read_note(match[1])
        elif match[2]:
            spelling = read_note_group(f"[{match[2]}]{match[3]}")
        else:
            problem = problem or ("bad-grace" if match[5] and match[5] not in '"!<>|' else "")
            continue
        notes.append(GraceNote(spelling.heads, spelling.numerator, spelling.denominator))
    return tuple(notes), problem or ("" if notes else "bad-grace")


MAX_PASSES = 16
"""The highest ending, and the most times that a section is played."""
MAX_TUPLET = 64
_MAX_COLONS = 8
_DEFAULT_Q = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
_ENDING_PART = re.compile(r"([0-9]{1,2})(?:-([0-9]{1,2}))?$")


class BarSign(NamedTuple):
    """What a bar line says. `ending` is the text of an ending's number behind it, "" where there is none."""

    repeats: int
    opens_repeat: bool
    is_section: bool
    ending: str


@lru_cache(maxsize=1024)
def read_bar_line(text: str) -> BarSign:
    """Read `|`, `||`, `|]`, `[|`, `|:`, `:|`, `::`, `:|2` and the like."""
    ending = text.lstrip(".|:[]")
    signs = text[: len(text) - len(ending)]
    leading = signs[: len(signs) - len(signs.lstrip(".:["))].count(":")
    trailing = len(signs) - len(signs.rstrip(":"))
    if not signs.strip(".:"):
        # `::` alone closes and opens.
        leading = trailing = 1
    is_section = bool(leading or trailing or ending) or signs.strip(".") != "|"
    return BarSign(min(leading, _MAX_COLONS), trailing > 0, is_section, ending)


@lru_cache(maxsize=256)
def read_ending(text: str) -> tuple[tuple[int, ...], str]:
    """Read `1`, `1,3`, `1-3`: the passes that play what follows, and a message ("" where it is fine)."""
    passes: set[int] = set()
    for part in text.strip(",.-").split(","):
        match = _ENDING_PART.match(part.strip(". "))
        if match is None:
            return (), f"the ending {text[:20]} cannot be read: write 1, 2, 1,3 or 1-3"
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= MAX_PASSES:
            return (), f"the ending {text[:20]} is not between 1 and {MAX_PASSES}: number endings from 1 upwards"
        passes.update(range(first, last + 1))
    return tuple(sorted(passes)), ""


@lru_cache(maxsize=512)
def read_tuplet(text: str, is_compound: bool) -> tuple[int, int, int] | None:
    """Read `(p:q:r`: p notes in the time of q, for the next r notes; None where it is impossible.

    Left out, q depends on p and on whether the meter is compound, and r is p.
    """
    parts = text[1:].split(":")
    if any(len(part) > 3 for part in parts):
        return None
    p = int(parts[0])
    q = int(parts[1]) if len(parts) > 1 and parts[1] else _DEFAULT_Q.get(p, 3 if is_compound else 2)
    r = int(parts[2]) if len(parts) > 2 and parts[2] else p
    if not (2 <= p <= MAX_TUPLET and 1 <= q <= MAX_TUPLET and 1 <= r <= MAX_TUPLET):
        return None
    return p, q, r


_MOST_TOKENS = 16384
_LONGEST_TOKEN = 64


class ReadToken(NamedTuple):
    """A note, chord or rest without anything wrong: heads, length, ties, and its characters without blanks."""

    heads: tuple[Head, ...]
    length: Length
    ties: int
    size: int


class TokenCache(dict[str, ReadToken]):
    """Tokens as they stand in a line, with the blanks behind them, and what they sound like."""

    def remember(self, token: str, sounding: ReadToken) -> None:
        """Keep one token; forget all others where there are too many."""
        if len(token) > _LONGEST_TOKEN:
            return
        if len(self) >= _MOST_TOKENS:
            self.clear()
        self[token] = sounding


@lru_cache(maxsize=32)
def token_cache(unit: Length) -> TokenCache:
    """Return the tokens met so far under a unit length; one object for each unit length, shared by all tunes."""
    return TokenCache()
