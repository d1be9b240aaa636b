"""The vocabulary of music: lengths and resolutions, keys, scales, meters, tempos, chords, spelling.

Every other module takes these from here. Lengths of notation are exact: a length is a count of 1/`WHOLE` of a whole
note, an int where it divides and a Fraction where it does not. `WHOLE` divides by every note value down to 1/4096 and
by tuplets of 3, 5, 7, 9, 11 and 13, so nearly every length is an int; ints add about ten times faster than Fractions,
and nothing is rounded.

A quarter note is counted in three units, each with a name of its own: `QUARTER` (length units, exact, notation),
`TICKS_PER_QUARTER` (MIDI ticks, what is played) and `GRID_QUARTER` (grid ticks, what played notes are quantised to).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import Literal

from image2music.errors import PlanError

WHOLE = 2**12 * 3**3 * 5 * 7 * 11 * 13
"""Length units in a whole note."""
QUARTER = WHOLE // 4
"""Length units in a quarter note."""

TICKS_PER_QUARTER = 480
"""MIDI ticks in a quarter note, in every score and file that this package writes."""

GRID_QUARTER = 48
"""Grid ticks in a quarter note: the least number that holds both 1/64 notes and triplets of 1/32 notes."""

MIDDLE_C = 60
"""MIDI pitch of middle C, ABC's `C`."""

DRUM_CHANNEL = 9
"""General MIDI's percussion channel, counted from 0 (`%%MIDI channel 10`)."""

DEFAULT_QPM = 120.0
"""Tempo of a MIDI file or a tune that names none, in quarter notes a minute (Standard MIDI Files 1.0)."""

SLOW_BELOW_QPM, FAST_FROM_QPM = 80.0, 120.0
"""Bounds of `tempo_word`, in quarter notes a minute."""

DRUM_NAMES = (
    "acoustic-bass-drum", "bass-drum-1", "side-stick", "acoustic-snare", "hand-clap", "electric-snare",
    "low-floor-tom", "closed-hi-hat", "high-floor-tom", "pedal-hi-hat", "low-tom", "open-hi-hat", "low-mid-tom",
    "hi-mid-tom", "crash-cymbal-1", "high-tom", "ride-cymbal-1", "chinese-cymbal", "ride-bell", "tambourine",
    "splash-cymbal", "cowbell", "crash-cymbal-2", "vibraslap", "ride-cymbal-2", "hi-bongo", "low-bongo",
    "mute-hi-conga", "open-hi-conga", "low-conga", "high-timbale", "low-timbale", "high-agogo", "low-agogo",
    "cabasa", "maracas", "short-whistle", "long-whistle", "short-guiro", "long-guiro", "claves", "hi-wood-block",
    "low-wood-block", "mute-cuica", "open-cuica", "mute-triangle", "open-triangle",
)  # fmt: skip
"""General MIDI's drums from pitch 35 on, spelled as `%%percmap` names them."""
LOWEST_DRUM = 35

_TICK = QUARTER // TICKS_PER_QUARTER
_HALF_TICK = _TICK // 2
Length = int | Fraction


def scaled(length: Length, numerator: int, denominator: int) -> Length:
    """Return `length` · `numerator` / `denominator`, exactly. `denominator` must not be 0."""
    product = length * numerator
    if isinstance(product, int):
        quotient, remainder = divmod(product, denominator)
        return Fraction(product, denominator) if remainder else quotient
    result = product / denominator
    return result.numerator if result.denominator == 1 else result


def of_whole(numerator: int, denominator: int) -> Length:
    """Return the length of `numerator`/`denominator` of a whole note."""
    return scaled(WHOLE, numerator, denominator)


def ticks(length: Length) -> int:
    """Convert length units to MIDI ticks, rounded to the nearest."""
    return (length + _HALF_TICK) // _TICK


def as_fraction(length: Length) -> Fraction:
    """Return a length as a fraction of a whole note."""
    return Fraction(length) / WHOLE


def as_quarters(length: Length) -> Fraction:
    """Return a length in quarter notes."""
    return Fraction(length) / QUARTER


def spoken(length: Length) -> str:
    """Write a length as musicians do: eighths stay eighths where they fit, e.g. `5/8`, `3/16`, `1`."""
    value = as_fraction(length)
    if value.denominator < 8 and (value * 8).denominator == 1 and value < 8:
        return f"{value * 8}/8"
    return str(value)


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter. `length` is a bar's length in length units, None for free meter (`M:none`)."""

    numerator: int
    denominator: int
    length: Length | None

    @staticmethod
    @cache
    def of(numerator: int, denominator: int) -> Meter:
        """Return the meter of `numerator` notes of 1/`denominator` a bar."""
        return Meter(numerator, denominator, of_whole(numerator, denominator))

    @property
    def is_compound(self) -> bool:
        """Whether tuplets of 2, 4, 5, 7 and 9 go in the time of 3 (6/8, 9/8, 12/8; ABC 2.1, 4.13)."""
        return self.numerator % 3 == 0 and self.numerator > 3 and self.length is not None

    def __str__(self) -> str:
        return "none" if self.length is None else f"{self.numerator}/{self.denominator}"


FREE_METER = Meter(4, 4, None)
COMMON_TIME = Meter.of(4, 4)


@dataclass(frozen=True, slots=True)
class Tempo:
    """A tempo in quarter notes a minute, and the words beside it (`"Allegro"`)."""

    qpm: float
    words: str = ""


def tempo_word(qpm: float) -> Literal["slow", "moderate", "fast"]:
    """Return name a tempo: slow below 80 quarter notes a minute, fast from 120.

    Two other scales stay where they are: nano's plan words (`composers.nano.controls`: 88 and 132, by which its
    training tunes were labelled, so that a change would need new weights) and the Italian words of generated captions
    (`demo.captions`, in MidiCaps' manner).
    """
    return "slow" if qpm < SLOW_BELOW_QPM else "moderate" if qpm < FAST_FROM_QPM else "fast"


LETTERS = "CDEFGAB"
"""Note letters by step, 0 to 6."""
NATURALS = (0, 2, 4, 5, 7, 9, 11)
"""Semitones above C of each step without an accidental."""
FIFTHS = "FCGDAEB"
"""Note letters on the line of fifths, which is also the order in which sharps enter a signature."""
ACCIDENTALS = {-2: "__", -1: "_", 0: "=", 1: "^", 2: "^^"}
"""ABC's signs by semitones."""

Mode = Literal["major", "minor", "dorian", "mixolydian"]
MODES: tuple[Mode, ...] = ("major", "minor", "dorian", "mixolydian")
"""The modes that tunes are composed in; ABC's other modes are read as signatures (`abc.fields`)."""

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
"""Semitones of each mode's seven degrees above its tonic; minor is natural minor."""

MODE_SHARPS = {
    "major": 0, "ionian": 0, "minor": -3, "aeolian": -3,
    "dorian": -2, "phrygian": -4, "lydian": 1, "mixolydian": -1, "locrian": -5,
}  # fmt: skip
"""Sharps of each mode's signature, less those of the major key with the same tonic (ABC 2.1, 3.1.14)."""

_MAJOR_KEYS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINOR_KEYS = ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")


def fifths_of(name: str) -> int:
    """Return the place of a note name on the line of fifths, C at 0: `F` -1, `G` 1, `F#` 6, `Bb` -2."""
    return FIFTHS.index(name[0]) - 1 + 7 * (name.count("#") - name.count("b"))


def key_name(sharps: int, minor: bool) -> str:
    """Return name a key as ABC writes it: `D`, `F#m`. `sharps` is -7 to 7, flats negative."""
    return (_MINOR_KEYS if minor else _MAJOR_KEYS)[sharps + 7]


def tonic_pitch_class(sharps: int, minor: bool) -> int:
    """Return the pitch class (0-11) of the tonic of a signature."""
    return (sharps * 7 + (9 if minor else 0)) % 12


def fifths_name(fifths: int) -> str:
    """Return the inverse of `fifths_of`: 6 is `F#`, -2 `Bb`."""
    sharps = (fifths + 1) // 7
    return FIFTHS[(fifths + 1) % 7] + ("#" * sharps if sharps > 0 else "b" * -sharps)


_MODE_SUFFIXES = {"major": "", "minor": "m", "dorian": "dor", "phrygian": "phr", "lydian": "lyd", "mixolydian": "mix",
                  "locrian": "loc"}  # fmt: skip
_SAME_MODE = {"ionian": "major", "aeolian": "minor"}
_TONALITY = re.compile(r"([A-G])[ -]?(#|b|sharp|flat)?[ -]?([a-z]*)\.?")


@dataclass(frozen=True, slots=True)
class Tonality:
    """A tonic (`F#`) and a mode (`major`, `minor`, `dorian`, `phrygian`, `lydian`, `mixolydian`, `locrian`)."""

    tonic: str
    mode: str

    @property
    def pitch_class(self) -> int:
        """The pitch class of the tonic, 0-11."""
        return fifths_of(self.tonic) * 7 % 12

    @property
    def sharps(self) -> int:
        """The signature, -7 to 7, flats negative."""
        return fifths_of(self.tonic) + MODE_SHARPS[self.mode]

    @property
    def is_minor(self) -> bool:
        """Whether the third of the tonic's triad is minor."""
        return MODE_SHARPS[self.mode] < -1

    @property
    def classes(self) -> frozenset[int]:
        """The pitch classes of the seven degrees."""
        return frozenset((self.sharps + step) * 7 % 12 for step in range(-1, 6))

    def __str__(self) -> str:
        """As ABC writes it: `D`, `F#m`, `Ddor`."""
        return self.tonic + _MODE_SUFFIXES[self.mode]


def read_tonality(text: str) -> Tonality | None:
    """Read `D`, `F#m`, `Ddor`, `B flat major`, `e minor`; None for what is no key with at most seven signs."""
    words = text.strip().replace("♯", "#").replace("♭", "b")
    found = _TONALITY.fullmatch(words[:1].upper() + (words[1:] if words[1:] in ("M", "m") else words[1:].lower()))
    if found is None:
        return None
    sign = {None: "", "#": "#", "b": "b", "sharp": "#", "flat": "b"}[found.group(2)]
    name = found.group(3)
    if name in ("", "M"):
        mode = "major"
    elif name in ("m", "min"):
        mode = "minor"
    else:
        mode = next((mode for mode in MODE_SHARPS if len(name) >= 3 and mode.startswith(name)), "")
    mode = _SAME_MODE.get(mode, mode)
    if not mode or not -7 <= fifths_of(found.group(1) + sign) + MODE_SHARPS[mode] <= 7:
        return None
    return Tonality(found.group(1) + sign, mode)


@dataclass(frozen=True, slots=True)
class Key:
    """A key: `sharps` -7 to 7 with flats negative; `alterations[step]` in semitones for the steps C D E F G A B.

    `tonic` is a note name (`F#`). `explicit` is true where accidentals were named one by one and `sharps` is only what
    the tonic and the mode say.
    """

    sharps: int
    minor: bool
    alterations: tuple[int, ...]
    tonic: str = "C"
    explicit: bool = False

    @staticmethod
    @cache
    def of(sharps: int, minor: bool) -> Key:
        """Return the major or minor key of a signature."""
        return Key(sharps, minor, signature_alterations(sharps), key_name(sharps, minor).removesuffix("m"))


@cache
def signature_alterations(sharps: int) -> tuple[int, ...]:
    """Return what a signature of -7 to 7 sharps does to the steps C D E F G A B, in semitones."""
    altered = FIFTHS[:sharps] if sharps > 0 else FIFTHS[7 + sharps :]
    sign = (sharps > 0) - (sharps < 0)
    return tuple(sign if letter in altered else 0 for letter in LETTERS)


C_MAJOR = Key.of(0, False)


@dataclass(frozen=True, eq=False)
class Spelling:
    """The names of the 128 pitches in one key. `spelling` makes one object for each key.

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
    return _spelled(sharps, _names_by_fifths(sharps, minor))


@lru_cache(maxsize=4096)
def spelling_under(sharps: int, minor: bool, chords: str) -> Spelling:
    """Spell a bar's notes in a key, the tones of its chords by their own letters: `Ab` in G has A flat, not G sharp.

    `chords` are symbols with blanks between; of two that differ the first one counts.
    """
    names = _names_by_fifths(sharps, minor)
    told: set[int] = set()
    for symbol in chords.split():
        for letter, tone in lettered_tones(read_chord(symbol)):
            alteration = (tone - NATURALS[letter] + 6) % 12 - 6
            if tone not in told and abs(alteration) <= 2:
                names[tone] = (LETTERS[letter], alteration)
            told.add(tone)
    return _spelled(sharps, names)


def _names_by_fifths(sharps: int, minor: bool) -> dict[int, tuple[str, int]]:
    """Return letter and alteration of each pitch class."""
    lowest = sharps - (2 if minor else 3)
    names: dict[int, tuple[str, int]] = {}
    for fifth in range(lowest, lowest + 12):
        names[fifth * 7 % 12] = (FIFTHS[(fifth + 1) % 7], (fifth + 1) // 7)
    return names


def _spelled(sharps: int, names: dict[int, tuple[str, int]]) -> Spelling:
    signature = dict(zip(LETTERS, signature_alterations(sharps), strict=True))
    letters, accidentals, classes, altered = [], [], [], []
    for pitch in range(128):
        letter, alteration = names[pitch % 12]
        octave = (pitch - alteration - NATURALS[LETTERS.index(letter)]) // 12 - 5
        letters.append(letter + "," * -octave if octave <= 0 else letter.lower() + "'" * (octave - 1))
        accidentals.append(ACCIDENTALS[alteration])
        classes.append(letter + "*")
        altered.append(signature[letter] != alteration)
    return Spelling(tuple(letters), tuple(accidentals), tuple(classes), tuple(altered))


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


def lettered_tones(chord: Chord) -> list[tuple[int, int]]:
    """Return (place of the letter from C, pitch class) of a chord's tones, ninths and the like included."""
    root = LETTERS.index(chord.symbol[0])
    steps = {0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4, 7: 4, 8: 4, 9: 5, 10: 6, 11: 6}
    if 3 in chord.tones and 4 in chord.tones:
        steps[3] = 1
    if 6 in chord.tones and 7 in chord.tones:
        steps[6] = 3
    if chord.tones[:4] == (0, 3, 6, 9):
        steps[9] = 6
    found = [((root + steps[tone]) % 7, (chord.root + tone) % 12) for tone in chord.tones]
    if "/" in chord.symbol and chord.bass not in chord.classes:
        found.append((LETTERS.index(chord.symbol.rpartition("/")[2][0]), chord.bass))
    return found
