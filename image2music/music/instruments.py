"""General MIDI's 128 instruments: what they can play, what they play well, and how they make their sound.

Names and numbers are those of General MIDI 1. Ranges are what sounds (a double bass sounds an octave below its
notation), in MIDI pitches; for real instruments they are what orchestration books agree on for good amateurs, for
synthetic sounds what still speaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

InstrumentKind = Literal["keys", "mallet", "organ", "plucked", "bowed", "sung", "blown", "struck", "synth", "effect"]
"""keys: a piano's or harpsichord's decaying tones. mallet: bars and bells. organ: held by a key (accordions too).
plucked: guitars, harps, basses. bowed: strings, alone or as a section. sung: voices. blown: brass, reeds and flutes.
struck: timpani and other drums. synth: leads and pads. effect: noises that are no notes."""
INSTRUMENT_KINDS: tuple[InstrumentKind, ...] = get_args(InstrumentKind)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One General MIDI program (0-127).

    `lowest` to `highest` can be played, `comfortable_low` to `comfortable_high` sounds well without effort (MIDI
    pitches). `chords` is how many notes sound at once at most: 1 for a wind instrument, 2 for a violin, 10 for keys;
    sections of strings and voices, which divide, have 3 or 4. `sustains` tells that a tone keeps its loudness as long
    as it is held; a piano's, a harp's and a bell's dies away.
    """

    program: int
    name: str
    kind: InstrumentKind
    lowest: int
    highest: int
    comfortable_low: int
    comfortable_high: int
    chords: int
    sustains: bool


def instrument_of(program: int) -> Instrument:
    """Return the instrument of a General MIDI program, 0-127. IndexError outside of these."""
    if not 0 <= program <= 127:
        raise IndexError(f"there is no program {program}: General MIDI has 0 to 127")
    return _instruments()[program]


def instrument_named(name: str) -> Instrument | None:
    """Return the instrument of a General MIDI name, whatever its capitals; None where there is none."""
    wanted = " ".join(name.lower().split())
    return next((one for one in _instruments() if one.name.lower() == wanted), None)


@cache
def _instruments() -> tuple[Instrument, ...]:
    rows = (line.split("|") for line in _TABLE.strip().splitlines())
    return tuple(_instrument(program, *(cell.strip() for cell in row)) for program, row in enumerate(rows))


def _instrument(
    program: int, name: str, kind: str, whole: str, comfortable: str, chords: str, holds: str
) -> Instrument:
    lowest, highest = map(int, whole.split())
    low, high = map(int, comfortable.split())
    kinds: dict[str, InstrumentKind] = {one: one for one in INSTRUMENT_KINDS}
    return Instrument(program, name, kinds[kind], lowest, highest, low, high, int(chords), holds == "holds")


_TABLE = """
Acoustic Grand Piano    | keys    | 21 108 | 33 96 | 10 | dies
Bright Acoustic Piano   | keys    | 21 108 | 33 96 | 10 | dies
Electric Grand Piano    | keys    | 21 108 | 33 96 | 10 | dies
Honky-tonk Piano        | keys    | 21 108 | 33 96 | 10 | dies
Electric Piano 1        | keys    | 28 103 | 36 91 | 10 | dies
Electric Piano 2        | keys    | 28 103 | 36 91 | 10 | dies
Harpsichord             | keys    | 29 89  | 36 84 | 10 | dies
Clavinet                | keys    | 29 88  | 36 84 | 10 | dies
Celesta                 | mallet  | 60 108 | 60 103 | 10 | dies
Glockenspiel            | mallet  | 79 108 | 79 105 | 2 | dies
Music Box               | mallet  | 60 96  | 60 91 | 6 | dies
Vibraphone              | mallet  | 53 89  | 53 86 | 4 | dies
Marimba                 | mallet  | 36 96  | 45 89 | 4 | dies
Xylophone               | mallet  | 65 108 | 67 103 | 2 | dies
Tubular Bells           | mallet  | 60 77  | 60 77 | 2 | dies
Dulcimer                | mallet  | 45 86  | 50 81 | 2 | dies
Drawbar Organ           | organ   | 36 96  | 36 91 | 10 | holds
Percussive Organ        | organ   | 36 96  | 36 91 | 10 | holds
Rock Organ              | organ   | 36 96  | 36 91 | 10 | holds
Church Organ            | organ   | 24 108 | 36 91 | 10 | holds
Reed Organ              | organ   | 29 96  | 36 89 | 10 | holds
Accordion               | organ   | 41 93  | 48 89 | 8 | holds
Harmonica               | organ   | 60 96  | 60 91 | 4 | holds
Tango Accordion         | organ   | 41 93  | 48 89 | 8 | holds
Acoustic Guitar (nylon) | plucked | 40 83  | 40 76 | 6 | dies
Acoustic Guitar (steel) | plucked | 40 84  | 40 79 | 6 | dies
Electric Guitar (jazz)  | plucked | 40 86  | 40 81 | 6 | dies
Electric Guitar (clean) | plucked | 40 86  | 40 81 | 6 | dies
Electric Guitar (muted) | plucked | 40 86  | 40 81 | 6 | dies
Overdriven Guitar       | plucked | 40 88  | 40 84 | 6 | holds
Distortion Guitar       | plucked | 40 88  | 40 84 | 6 | holds
Guitar Harmonics        | plucked | 40 88  | 52 88 | 6 | dies
Acoustic Bass           | plucked | 24 67  | 28 55 | 2 | dies
Electric Bass (finger)  | plucked | 23 67  | 28 55 | 2 | dies
Electric Bass (pick)    | plucked | 23 67  | 28 55 | 2 | dies
Fretless Bass           | plucked | 23 67  | 28 55 | 2 | dies
Slap Bass 1             | plucked | 23 67  | 28 55 | 2 | dies
Slap Bass 2             | plucked | 23 67  | 28 55 | 2 | dies
Synth Bass 1            | synth   | 23 72  | 28 60 | 2 | holds
Synth Bass 2            | synth   | 23 72  | 28 60 | 2 | holds
Violin                  | bowed   | 55 103 | 55 93 | 2 | holds
Viola                   | bowed   | 48 91  | 48 81 | 2 | holds
Cello                   | bowed   | 36 81  | 36 72 | 2 | holds
Contrabass              | bowed   | 24 67  | 28 55 | 2 | holds
Tremolo Strings         | bowed   | 28 103 | 36 91 | 8 | holds
Pizzicato Strings       | plucked | 28 103 | 36 88 | 8 | dies
Orchestral Harp         | plucked | 23 103 | 31 96 | 8 | dies
Timpani                 | struck  | 36 60  | 40 57 | 1 | dies
String Ensemble 1       | bowed   | 28 103 | 36 93 | 8 | holds
String Ensemble 2       | bowed   | 28 103 | 36 93 | 8 | holds
Synth Strings 1         | bowed   | 28 103 | 36 93 | 8 | holds
Synth Strings 2         | bowed   | 28 103 | 36 93 | 8 | holds
Choir Aahs              | sung    | 38 84  | 43 79 | 8 | holds
Voice Oohs              | sung    | 38 84  | 43 79 | 8 | holds
Synth Voice             | sung    | 36 88  | 43 84 | 8 | holds
Orchestra Hit           | effect  | 36 96  | 48 84 | 4 | dies
Trumpet                 | blown   | 52 86  | 58 79 | 1 | holds
Trombone                | blown   | 40 74  | 43 67 | 1 | holds
Tuba                    | blown   | 26 65  | 29 55 | 1 | holds
Muted Trumpet           | blown   | 54 86  | 58 79 | 1 | holds
French Horn             | blown   | 35 77  | 43 72 | 1 | holds
Brass Section           | blown   | 36 86  | 43 79 | 6 | holds
Synth Brass 1           | blown   | 33 91  | 43 84 | 6 | holds
Synth Brass 2           | blown   | 33 91  | 43 84 | 6 | holds
Soprano Sax             | blown   | 56 88  | 58 82 | 1 | holds
Alto Sax                | blown   | 49 81  | 51 76 | 1 | holds
Tenor Sax               | blown   | 44 76  | 46 71 | 1 | holds
Baritone Sax            | blown   | 36 69  | 39 64 | 1 | holds
Oboe                    | blown   | 58 91  | 60 84 | 1 | holds
English Horn            | blown   | 52 81  | 53 77 | 1 | holds
Bassoon                 | blown   | 34 75  | 36 67 | 1 | holds
Clarinet                | blown   | 50 94  | 52 86 | 1 | holds
Piccolo                 | blown   | 74 108 | 76 103 | 1 | holds
Flute                   | blown   | 59 98  | 62 93 | 1 | holds
Recorder                | blown   | 60 93  | 65 89 | 1 | holds
Pan Flute               | blown   | 55 96  | 60 89 | 1 | holds
Blown Bottle            | blown   | 55 91  | 60 84 | 1 | holds
Shakuhachi              | blown   | 55 91  | 60 86 | 1 | holds
Whistle                 | blown   | 60 103 | 67 96 | 1 | holds
Ocarina                 | blown   | 60 89  | 64 84 | 1 | holds
Lead 1 (square)         | synth   | 36 103 | 48 91 | 2 | holds
Lead 2 (sawtooth)       | synth   | 36 103 | 48 91 | 2 | holds
Lead 3 (calliope)       | synth   | 48 103 | 55 91 | 2 | holds
Lead 4 (chiff)          | synth   | 48 103 | 55 91 | 2 | holds
Lead 5 (charang)        | synth   | 36 96  | 48 88 | 2 | holds
Lead 6 (voice)          | synth   | 36 96  | 48 84 | 2 | holds
Lead 7 (fifths)         | synth   | 36 96  | 43 84 | 2 | holds
Lead 8 (bass + lead)    | synth   | 28 96  | 36 84 | 2 | holds
Pad 1 (new age)         | synth   | 28 103 | 36 91 | 8 | holds
Pad 2 (warm)            | synth   | 28 103 | 36 91 | 8 | holds
Pad 3 (polysynth)       | synth   | 28 103 | 36 91 | 8 | holds
Pad 4 (choir)           | synth   | 28 96  | 36 86 | 8 | holds
Pad 5 (bowed)           | synth   | 28 103 | 36 91 | 8 | holds
Pad 6 (metallic)        | synth   | 28 103 | 36 91 | 8 | holds
Pad 7 (halo)            | synth   | 28 103 | 36 91 | 8 | holds
Pad 8 (sweep)           | synth   | 28 103 | 36 91 | 8 | holds
FX 1 (rain)             | synth   | 36 103 | 48 91 | 8 | dies
FX 2 (soundtrack)       | synth   | 28 96  | 36 84 | 8 | holds
FX 3 (crystal)          | synth   | 48 108 | 60 100 | 8 | dies
FX 4 (atmosphere)       | synth   | 36 103 | 40 88 | 8 | dies
FX 5 (brightness)       | synth   | 36 103 | 48 91 | 8 | holds
FX 6 (goblins)          | synth   | 28 96  | 36 84 | 8 | holds
FX 7 (echoes)           | synth   | 36 103 | 48 91 | 8 | holds
FX 8 (sci-fi)           | synth   | 36 103 | 48 91 | 8 | holds
Sitar                   | plucked | 41 84  | 48 77 | 2 | dies
Banjo                   | plucked | 48 86  | 48 81 | 5 | dies
Shamisen                | plucked | 45 84  | 50 79 | 3 | dies
Koto                    | plucked | 43 91  | 48 86 | 5 | dies
Kalimba                 | plucked | 48 88  | 55 84 | 2 | dies
Bagpipe                 | blown   | 55 81  | 65 81 | 3 | holds
Fiddle                  | bowed   | 55 98  | 55 88 | 2 | holds
Shanai                  | blown   | 58 86  | 60 81 | 1 | holds
Tinkle Bell             | mallet  | 72 108 | 72 103 | 4 | dies
Agogo                   | struck  | 60 84  | 60 79 | 1 | dies
Steel Drums             | mallet  | 52 88  | 55 84 | 4 | dies
Woodblock               | struck  | 48 84  | 55 79 | 1 | dies
Taiko Drum              | struck  | 28 67  | 33 60 | 1 | dies
Melodic Tom             | struck  | 33 72  | 40 65 | 1 | dies
Synth Drum              | struck  | 33 72  | 40 65 | 1 | dies
Reverse Cymbal          | effect  | 36 84  | 48 72 | 1 | dies
Guitar Fret Noise       | effect  | 36 84  | 48 72 | 1 | dies
Breath Noise            | effect  | 36 84  | 48 72 | 1 | dies
Seashore                | effect  | 36 84  | 48 72 | 1 | dies
Bird Tweet              | effect  | 36 108 | 60 96 | 1 | dies
Telephone Ring          | effect  | 36 84  | 48 72 | 1 | dies
Helicopter              | effect  | 36 84  | 48 72 | 1 | dies
Applause                | effect  | 36 84  | 48 72 | 1 | dies
Gunshot                 | effect  | 36 84  | 48 72 | 1 | dies
"""
