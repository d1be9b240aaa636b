"""Harmony of a plan: chord symbols, cadences by name, whether a motif fits its chords, and progressions by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil
from typing import Literal, NamedTuple

import numpy as np

from image2music.errors import Image2MusicError, PlanError
from image2music.music.planning.plan import Cadence, Motif, pitch_name
from image2music.music.theory import Chord, Tonality, fifths_name, fifths_of, read_chord

METERS: tuple[str, ...] = (
    "2/4", "3/4", "4/4", "5/4", "6/4", "7/4", "2/2", "3/2", "3/8", "5/8", "6/8", "7/8", "9/8", "12/8",
)  # fmt: skip
"""The meters that tunes are planned in."""


class MotifNote(NamedTuple):
    """A note of a motif: MIDI pitch, onset and length in quarter notes."""

    pitch: int
    onset: Fraction
    length: Fraction


MotifReader = Callable[[str, str, str], Sequence[MotifNote]]
"""Reads a motif's ABC in a key and a meter; raises Image2MusicError for what is no music."""


_MORE = re.compile(r"(?:add|no|omit|sus|maj|min|dim|aug|alt|[mM#b+()-]|[0-9]|/[A-G0-9]?)*")
"""What may stand behind a symbol that is read without it."""


def nearest_symbol(symbol: str) -> str | None:
    """Return a symbol that can be read: the same, or with a capital, a shorter quality, no bass; None for none."""
    head, slash, bass = (symbol[:1].upper() + symbol[1:]).partition("/")
    for end in (slash + bass, ""):
        for length in range(len(head), 0, -1):
            left_out = head[length:] + (slash + bass if not end else "")
            if _MORE.fullmatch(left_out) and _can_be_read(head[:length] + end):
                return head[:length] + end
    return None


def _can_be_read(symbol: str) -> bool:
    try:
        read_chord(symbol)
    except PlanError:
        return False
    return True


def cadences_of(chords: Sequence[Chord], tonic: int) -> tuple[Cadence, ...]:
    """Name the cadence that chords end with over a tonic (pitch class): the labels that fit, the best one first.

    Roots decide. Equal roots in a row count as one chord, so that `A7sus4 A` is V. What comes to I from elsewhere than
    V, VII, IV or II is called full or plagal.
    """
    roots = [(chord.root - tonic) % 12 for chord in chords]
    last = roots[-1]
    before = next((root for root in reversed(roots) if root != last), None)
    if last == 7:
        return ("half",)
    if last == 0:
        if before in (7, 11):
            return ("full",)
        return ("plagal",) if before in (2, 5) else ("plagal", "full") if before is not None else ("full", "plagal")
    return ("deceptive",) if last in (8, 9) and before == 7 else ("open",)


def tonic_symbol(tonality: Tonality) -> str:
    """Return the symbol of a key's tonic triad."""
    diminished = tonality.mode == "locrian"
    return tonality.tonic + ("dim" if diminished else "m" if tonality.is_minor else "")


def last_symbol(tonality: Tonality, loop: bool) -> str:
    """Return what a tune ends on: its tonic, or, in a loop, the dominant that leads back to the beginning."""
    return f"{fifths_name(fifths_of(tonality.tonic) + 1)}7" if loop else tonic_symbol(tonality)


def motif_chord_faults(motif: Motif, key: str, meter: str, motif_notes: MotifReader) -> list[str]:
    """Name the motif's notes on strong beats that neither belong to its chords nor step to a note that does."""
    try:
        chords = [[read_chord(one) for one in bar.split()] for bar in _motif_bars(motif.chords)]
        played = motif_notes(motif.abc, key, meter)
    except Image2MusicError as error:
        return [f"motif: {error}"]
    top, bottom = map(int, meter.split("/"))
    bar_length = Fraction(4 * top, bottom)
    bars = ceil(max((note.onset + note.length for note in played), default=Fraction(0)) / bar_length)
    if not played or bars != len(chords):
        return [f"motif: {bars} bars of notes and chords for {len(chords)}; write one chord a bar"]
    faults = []
    for number, note in enumerate(played):
        bar, beat = divmod(note.onset, bar_length)
        if beat not in _strong_beats(meter):
            continue
        here = chords[bar][min(int(beat * len(chords[bar]) / bar_length), len(chords[bar]) - 1)]
        after = played[number + 1] if number + 1 < len(played) else None
        resolves = after is not None and abs(after.pitch - note.pitch) in (1, 2) and after.pitch % 12 in here.classes
        if note.pitch % 12 not in here.classes | {here.bass} and not resolves:
            faults.append(
                f"motif: {pitch_name(note.pitch)} on beat {beat + 1} of its bar {bar + 1} is not in {here.symbol}; "
                "change the note or the chord"
            )
    return faults


def _motif_bars(chords: str) -> list[str]:
    """Split at bar lines, or, where there are none, take each symbol for a bar."""
    return [bar for bar in chords.split("|") if bar.strip()] if "|" in chords else chords.split()


def _strong_beats(meter: str) -> tuple[Fraction, ...]:
    """The beats, in quarter notes from the bar line, where a note outside the chord stands out."""
    top, bottom = map(int, meter.split("/"))
    if top in (4, 6, 12) and not (top == 6 and bottom == 4):
        return (Fraction(0), Fraction(2 * top, bottom))
    return (Fraction(0),)


PhraseRole = Literal["open", "middle", "climb", "close"]
"""What a phrase does: sets out and stays open, goes elsewhere, rises toward the climax, comes home."""

_PROGRESSIONS: dict[str, dict[PhraseRole, tuple[str, ...]]] = {
    "major": {
        "open": ("I | vi | IV | V", "I | V/3 | vi | ii V", "I | IV/5 | I | V7"),
        "middle": ("vi | iii | IV | I/3", "IV | I/3 | ii7 | V/3", "vi | ii | bVII | IV"),
        "climb": ("ii7 | V7/3 | I | IV", "IV | iv | I/5 | V7", "vi | IV | ii7 | Vsus4 V"),
        "close": ("I/3 | IV | V7 | I", "vi | ii7 | V7 | I", "IV | iv | I/5 V7 | I"),
    },
    "minor": {
        "open": ("i | bVI | iv | V", "i | bVII | bVI | V", "i | iv/5 | i | V7/3"),
        "middle": ("bIII | bVII | bVI | bIII/3", "bVI | bIII/3 | iv | bVII", "iv | bVII | bIII | bVI"),
        "climb": ("iv | i/3 | iim7b5 | V", "bVI | bVII | i | iv", "i/3 | iv | bVI | Vsus4 V"),
        "close": ("i/3 | iv | V7 | i", "bVI | iim7b5 | V7 | i", "iv | bVI | i/5 V7 | i"),
    },
    "dorian": {
        "open": ("i | IV | i | bVII", "i | bIII | IV | v"),
        "middle": ("bIII | bVII | IV | i/3", "v | IV | bIII | bVII"),
        "climb": ("i | bIII | bVII | IV", "ii | bIII | IV | v"),
        "close": ("bIII | IV | v | i", "i/3 | IV | bVII | i"),
    },
    "mixolydian": {
        "open": ("I | bVII | IV | I/3", "I | v | IV | bVII"),
        "middle": ("vi | IV | bVII | I/3", "ii | v | IV | bVII"),
        "climb": ("IV | ii | v | bVII", "vi | v | IV | bVII"),
        "close": ("I/3 | IV | bVII | I", "ii | v | IV | I"),
    },
}
"""Written by hand, by mode and role: a chord or two a bar, as degrees of the major scale of the tonic."""

_DEGREE = re.compile(r"(b?)([IViv]+)([^/]*)(?:/([35]))?")
_FIFTHS_ABOVE = {"I": 0, "II": 2, "III": 4, "IV": -1, "V": 1, "VI": 3, "VII": 5}


def degree_symbol(degree: str, tonality: Tonality) -> str:
    """Write a degree (`V7`, `bVI`, `ii7`, `i/3` for a third in the bass) as a symbol of a key, spelled in that key.

    Numerals are those of the major scale on the tonic; small ones are minor.
    """
    found = _DEGREE.fullmatch(degree)
    if found is None:
        raise PlanError(f"{degree!r} is no degree; write V7, bVI or i/3", reason="bad_chord")
    flat, numeral, quality, bass = found.groups()
    minor = numeral.islower() and not quality.startswith("m")
    root = fifths_of(tonality.tonic) + _FIFTHS_ABOVE[numeral.upper()] - (7 if flat else 0)
    symbol = fifths_name(root) + ("m" if minor else "") + quality
    if bass is None:
        return symbol
    return f"{symbol}/{fifths_name(root + (1 if bass == '5' else -3 if numeral.islower() else 4))}"


def progression_for(role: PhraseRole, tonality: Tonality, rng: np.random.Generator) -> tuple[str, ...]:
    """Draw a progression of four bars and write it in a key."""
    family = tonality.mode if tonality.mode in _PROGRESSIONS else "minor" if tonality.is_minor else "major"
    pool = _PROGRESSIONS[family][role]
    progression = pool[int(rng.integers(len(pool)))].split("|")
    return tuple(" ".join(degree_symbol(one, tonality) for one in bar.split()) for bar in progression)
