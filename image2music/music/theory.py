"""The words of music: lengths, keys, meters, tempos and how pitches are spelt.

Exact lengths. A length is a count of 1/WHOLE of a whole note: an int where it divides, else a Fraction.

WHOLE divides by every note value down to 1/4096 and by tuplets of 3, 5, 7, 9, 11 and 13, so nearly every length
is an int. Ints add about ten times faster than Fractions, and nothing is ever rounded.

Readings of the header fields M:, L:, Q: and V: (keys: `abc_keys`). Each returns None where nothing is usable.

Pitches to ABC note names in a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

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


@dataclass(frozen=True, slots=True)
class Meter:
    """M:. `length` is a bar's length in length units, None for free meter (`none`)."""

    numerator: int
    denominator: int
    length: Length | None

    @property
    def is_compound(self) -> bool:
        """Whether tuplets of 2, 4, 5, 7 and 9 go in the time of 3 (6/8, 9/8, 12/8)."""
        return self.numerator % 3 == 0 and self.numerator > 3 and self.length is not None

    def __str__(self) -> str:
        return "none" if self.length is None else f"{self.numerator}/{self.denominator}"


FREE_METER = Meter(4, 4, None)
COMMON_TIME = Meter(4, 4, WHOLE)


@dataclass(frozen=True, slots=True)
class Tempo:
    """Q:. Quarter notes a minute, and the words beside them."""

    qpm: float
    words: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """K:. `sharps` -7 to 7 with flats negative; `alterations[step]` in semitones for the steps C D E F G A B."""

    sharps: int
    minor: bool
    alterations: tuple[int, ...]
    tonic: str = "C"
    explicit: bool = False


C_MAJOR = Key(0, False, (0,) * 7)
_MAJOR = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINOR = ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")
_FIFTHS = "FCGDAEB"
_NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {-2: "__", -1: "_", 0: "=", 1: "^", 2: "^^"}


def key_name(sharps: int, minor: bool) -> str:
    """Name of a key as ABC writes it: `D`, `F#m`. `sharps` is -7 to 7."""
    return (_MINOR if minor else _MAJOR)[sharps + 7]


@dataclass(frozen=True, eq=False)
class Spelling:
    """Names of the 128 pitches in one key; `spelling` makes one object for each key.

    `letters` have no accidental (`c'`), `accidentals` are what must be written where the bar has not said so,
    `classes` the letter in any octave (`C*`), `altered` whether the pitch is outside the key's signature.
    """

    letters: tuple[str, ...]
    accidentals: tuple[str, ...]
    classes: tuple[str, ...]
    altered: tuple[bool, ...]


@cache
def spelling(sharps: int, minor: bool) -> Spelling:
    """Spell each pitch class by a near name on the line of fifths; in minor, leading notes are sharps."""
    signature = {letter: 0 for letter in _FIFTHS}
    for nth in range(abs(sharps)):
        signature[_FIFTHS[nth] if sharps > 0 else _FIFTHS[6 - nth]] += 1 if sharps > 0 else -1
    lowest = sharps - (2 if minor else 3)
    names: dict[int, tuple[str, int]] = {}
    for fifth in range(lowest, lowest + 12):
        names[fifth * 7 % 12] = (_FIFTHS[(fifth + 1) % 7], (fifth + 1) // 7)
    letters, accidentals, classes, altered = [], [], [], []
    for pitch in range(128):
        letter, alteration = names[pitch % 12]
        octave = (pitch - alteration - _NATURAL[letter]) // 12 - 5
        letters.append(letter + "," * -octave if octave <= 0 else letter.lower() + "'" * (octave - 1))
        accidentals.append(_ACCIDENTALS[alteration])
        classes.append(letter + "*")
        altered.append(signature[letter] != alteration)
    return Spelling(tuple(letters), tuple(accidentals), tuple(classes), tuple(altered))
