"""Pitches to ABC note names in a key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

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
