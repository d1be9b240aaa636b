"""Chord symbols as musicians write them: `D`, `Bm7`, `F#m7b5`, `C/G`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from image2music.errors import PlanError
from image2music.music.theory import LETTERS, NATURALS

QUALITIES: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7), "maj": (0, 4, 7), "M": (0, 4, 7),
    "m": (0, 3, 7), "min": (0, 3, 7), "-": (0, 3, 7),
    "dim": (0, 3, 6), "o": (0, 3, 6), "°": (0, 3, 6),
    "aug": (0, 4, 8), "+": (0, 4, 8),
    "5": (0, 7), "sus4": (0, 5, 7), "sus": (0, 5, 7), "sus2": (0, 2, 7),
    "6": (0, 4, 7, 9), "m6": (0, 3, 7, 9), "69": (0, 4, 7, 9, 2), "6/9": (0, 4, 7, 9, 2),
    "7": (0, 4, 7, 10), "maj7": (0, 4, 7, 11), "M7": (0, 4, 7, 11), "Δ": (0, 4, 7, 11), "Δ7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10), "min7": (0, 3, 7, 10), "-7": (0, 3, 7, 10),
    "mmaj7": (0, 3, 7, 11), "mM7": (0, 3, 7, 11), "m(maj7)": (0, 3, 7, 11),
    "m7b5": (0, 3, 6, 10), "ø": (0, 3, 6, 10), "ø7": (0, 3, 6, 10), "dim7": (0, 3, 6, 9), "o7": (0, 3, 6, 9),
    "°7": (0, 3, 6, 9), "aug7": (0, 4, 8, 10), "+7": (0, 4, 8, 10), "7#5": (0, 4, 8, 10), "7b5": (0, 4, 6, 10),
    "7sus4": (0, 5, 7, 10), "7sus": (0, 5, 7, 10),
    "9": (0, 4, 7, 10, 2), "m9": (0, 3, 7, 10, 2), "maj9": (0, 4, 7, 11, 2),
    "add9": (0, 4, 7, 2), "madd9": (0, 3, 7, 2),
    "7b9": (0, 4, 7, 10, 1), "7#9": (0, 4, 7, 10, 3), "11": (0, 4, 7, 10, 2, 5), "m11": (0, 3, 7, 10, 2, 5),
    "13": (0, 4, 7, 10, 2, 9), "maj7#11": (0, 4, 7, 11, 6), "7#11": (0, 4, 7, 10, 6), "add4": (0, 4, 7, 5),
}  # fmt: skip
"""Semitones above the root of each quality's tones, in the order root, third, fifth, seventh, further ones."""

_SYMBOL = re.compile(r"([A-G])(##|bb|[#b♯♭]?)(.*?)(?:/([A-G])(##|bb|[#b♯♭]?))?")
_SIGNS = {"": 0, "#": 1, "♯": 1, "##": 2, "b": -1, "♭": -1, "bb": -2}


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord by its pitch classes (0-11).

    `root` and `bass` are pitch classes, `tones` the semitones above the root in the order root, third, fifth, seventh,
    further ones. The bass is one of the tones, or foreign to them (`D/C`).
    """

    symbol: str
    root: int
    tones: tuple[int, ...]
    bass: int

    @property
    def classes(self) -> frozenset[int]:
        """The pitch classes of root, third, fifth and so on, without a foreign bass."""
        return frozenset((self.root + tone) % 12 for tone in self.tones)

    @property
    def third(self) -> int | None:
        """The pitch class of the third; None for sus chords and bare fifths."""
        return (self.root + self.tones[1]) % 12 if self.tones[1] in (3, 4) else None

    @property
    def fifth(self) -> int:
        """The pitch class of the fifth, altered or not."""
        tone = next((tone for tone in self.tones if tone in (6, 7, 8)), 7)
        return (self.root + tone) % 12

    @property
    def is_minor(self) -> bool:
        """Whether the third is minor."""
        return self.tones[1] == 3

    def degree(self, number: int) -> int:
        """Return the semitones above the root of a degree of the chord: 1 root, 3 third, 5, 7, 8 octave, 10, 12 ...

        Degrees that the chord doesn't have come from its scale: 2 and 9, 4 and 11, 6 and 13.
        """
        octave, step = divmod(number - 1, 7)
        third = self.tones[1] if self.tones[1] in (2, 3, 4, 5) else 4
        seventh = next((tone for tone in self.tones if tone in (9, 10, 11) and len(self.tones) > 3), 10)
        fifth = (self.fifth - self.root) % 12
        return 12 * octave + (0, 2, third, 5, fifth, 9, seventh)[step]


@lru_cache(maxsize=4096)
def read_chord(symbol: str) -> Chord:
    """Read a chord symbol.

    Raises:
        PlanError: `bad_chord`, with the symbol and what a symbol looks like.
    """
    found = _SYMBOL.fullmatch(symbol.strip())
    quality = found.group(3) if found else None
    if found is None or quality not in QUALITIES:
        raise PlanError(f"{symbol!r} is no chord symbol; write D, Bm7, F#m7b5 or C/G", reason="bad_chord")
    root = _pitch_class(found.group(1), found.group(2))
    bass = root if found.group(4) is None else _pitch_class(found.group(4), found.group(5))
    return Chord(symbol.strip(), root, QUALITIES[quality], bass)


def _pitch_class(letter: str, sign: str) -> int:
    return (NATURALS[LETTERS.index(letter)] + _SIGNS[sign]) % 12
