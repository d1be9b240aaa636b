"""A sketch as the network sees it: one row of small numbers for every control, bar line, chord, note and rest.

A tune is `begin, meter, mode, tempo, character, bars` and then, for each bar, `bar, head, chords, notes`. A row's first
symbol says what it is: a control's value, a chord by its root above the tonic and its quality, a pitch in semitones
above the tonic. Its second one is a note's length or a chord's bass. Beside them stand what a reader of music has in
view: the place in the bar where the next note begins, the chord that sounds there, the bar's place in its section and
in the tune. What is not known is 0 in every column, so that each condition may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.sketch import PURPOSES, Note, Sketch, SketchBar, bar_ticks
from image2music.composers.suiting import Character
from image2music.errors import ModelError
from image2music.music.planning.plan import DYNAMICS
from image2music.music.theory import MIDDLE_C, Chord, Tonality, read_chord, read_tonality

Rows = NDArray[np.int16]

METERS: Final = (
    "2/4", "3/4", "4/4", "6/8", "9/8", "12/8", "5/4", "3/8", "2/2", "6/4", "3/2", "5/8", "7/8", "4/8", "7/4", "4/2",
)  # fmt: skip
MODES: Final = ("major", "minor", "dorian", "mixolydian", "phrygian", "lydian", "locrian")
TEMPO_EDGES: Final = (66.0, 88.0, 112.0, 140.0)
"""Quarter notes a minute that part the five classes of tempo."""
CHARACTERS: tuple[Character, ...] = get_args(Character)
LINE_BARS: Final = 64
"""The most bars that are counted; longer tunes are cut into pieces for reading."""
DENSITY_EDGES: Final = (0.5, 1.0, 1.5, 2.5)
"""Notes a quarter that part the five classes of density."""
REGISTER_LOWEST, REGISTER_STEP, REGISTERS = 36, 4, 15
SINGERS: Final = ("voice", "strings")
LONGEST_BAR: Final = 96
LENGTHS: Final = (
    *range(1, 13), 14, 15, 16, 18, 20, 21, 22, 24, 27, 28, 30, 32, 33, 36, 39, 40, 42, 44, 45, 48, 51, 54, 57, 60, 63,
    66, 69, 72, 78, 84, 90, 96, 108, 120, 132, 144,
)  # fmt: skip
"""Lengths of notes in ticks; others are rounded to the nearest."""
LOWEST_STEP, HIGHEST_STEP = -24, 36
"""Semitones above the tonic nearest to middle C; what lies outside is folded by octaves."""
CHORD_KINDS: Final = ("maj", "min", "dim", "aug", "7", "maj7", "m7", "half", "dim7", "sus")
MOST_CHORDS: Final = 4

_NEAREST_LENGTH = tuple(
    1 + min(range(len(LENGTHS)), key=lambda i: (abs(LENGTHS[i] - ticks), i)) for ticks in range(LENGTHS[-1] + 1)
)

# Symbols of the first column, in blocks; 0 pads.
BEGIN, END, BAR, HEAD, REST = 1, 2, 3, 4, 5
METER_AT = 6
MODE_AT = METER_AT + 1 + len(METERS)
TEMPO_AT = MODE_AT + 1 + len(MODES)
CHARACTER_AT = TEMPO_AT + 2 + len(TEMPO_EDGES)
BARS_AT = CHARACTER_AT + 1 + len(CHARACTERS)
CHORD_AT = BARS_AT + 1 + LINE_BARS
PITCH_AT = CHORD_AT + 1 + 12 * len(CHORD_KINDS)
FIRSTS = PITCH_AT + HIGHEST_STEP - LOWEST_STEP + 1
"""How many first symbols there are. Each control's block, and that of the chords, begins with `unknown`."""
BASS_AT = 1 + len(LENGTHS)
SECONDS = BASS_AT + 12
"""How many second symbols there are: none, lengths, basses (semitones above the chord's root)."""
CHORDS = 1 + 12 * len(CHORD_KINDS)
PLACES = len(METERS) * (LONGEST_BAR + 1)
HEAD_SIZES: Final = (1 + len(PURPOSES), 1 + len(DYNAMICS), 2 + len(DENSITY_EDGES), 1 + REGISTERS, 1 + len(SINGERS))
"""Values of what a bar's head says: purpose, dynamic, density, register, singer; 0 is unknown."""
MOST_IN_SECTION: Final = 15

# Columns of a row.
FIRST, SECOND, PLACE, HARMONY, NUMBER, IN_SECTION, SECTION_LEFT, SECTION, KIND, HEADS = range(10)
COLUMNS = HEADS + len(HEAD_SIZES)
CONTROL_ROW, BAR_ROW, HEAD_ROW, CHORD_ROW, NOTE_ROW, END_ROW = range(6)
PREFIX: Final = 6
"""Rows before the first bar."""


def tonality_of(key: str) -> Tonality:
    """Read a sketch's key.

    Raises:
        ModelError: `bad_key`.
    """
    found = read_tonality(key)
    if found is None:
        raise ModelError(f"{key!r} is no key", reason="bad_key")
    return found


def home_pitch(key: str) -> int:
    """Return the tonic nearest to middle C, 55 to 66: pitches are counted from it."""
    return MIDDLE_C + (tonality_of(key).pitch_class + 5) % 12 - 5


def pitch_symbol(pitch: int, home: int) -> int:
    """Return the first symbol of a pitch, folded by octaves into the range that has symbols."""
    step = pitch - home
    while step < LOWEST_STEP:
        step += 12
    while step > HIGHEST_STEP:
        step -= 12
    return PITCH_AT + step - LOWEST_STEP


def length_symbol(ticks: int) -> int:
    """Return the second symbol of a length, the nearest that has one."""
    return _NEAREST_LENGTH[min(max(ticks, 1), LENGTHS[-1])]


def chord_kind(chord: Chord) -> int:
    """Return the place of a chord's quality in `CHORD_KINDS`."""
    tones = set(chord.tones)
    if tones & {2, 5} and not tones & {3, 4}:
        return CHORD_KINDS.index("sus")
    if 3 in tones and 6 in tones:
        return CHORD_KINDS.index("dim7" if 9 in tones else "half" if 10 in tones else "dim")
    if 3 in tones:
        return CHORD_KINDS.index("m7" if 10 in tones else "min")
    if 8 in tones and 10 not in tones:
        return CHORD_KINDS.index("aug")
    return CHORD_KINDS.index("7" if 10 in tones else "maj7" if 11 in tones else "maj")


@lru_cache(maxsize=8192)
def chord_symbols(symbol: str, tonic: int) -> tuple[int, int]:
    """Return first and second symbol of a chord over a tonic (pitch class); the unknown ones for an empty text."""
    if not symbol:
        return CHORD_AT, 0
    chord = read_chord(symbol)
    root = (chord.root - tonic) % 12
    return CHORD_AT + 1 + root * len(CHORD_KINDS) + chord_kind(chord), BASS_AT + (chord.bass - chord.root) % 12


def tempo_class(qpm: float) -> int:
    """Return 1 (slowest) to 5; 0 for an unknown tempo, which is 0."""
    return 0 if qpm <= 0 else 1 + sum(qpm >= edge for edge in TEMPO_EDGES)


def density_class(n_notes: int, ticks: int) -> int:
    """Return 1 (sparse) to 5 of so many notes in a bar."""
    return 1 + sum(12 * n_notes > edge * ticks for edge in DENSITY_EDGES)


def register_class(pitch: float) -> int:
    """Return 1 (lowest) to 15 of a mean pitch."""
    return 1 + min(max(int(pitch - REGISTER_LOWEST) // REGISTER_STEP, 0), REGISTERS - 1)


def singer_class(program: int) -> int:
    """Return 1 for voices, 2 for strings and fiddles, 0 for instruments that no training line has."""
    if 52 <= program <= 54:
        return 1
    return 2 if 40 <= program <= 44 or 48 <= program <= 49 or program == 110 else 0


def control_symbols(key: str, meter: str, qpm: float, character: Character | None, n_bars: int) -> list[int]:
    """Return the first symbols of `begin` and the five controls; a tempo of 0, no character, 0 bars are unknown.

    Raises:
        ModelError: `bad_meter`, for a meter that the network does not know; `bad_key`.
    """
    if meter not in METERS:
        raise ModelError(f"no meter of the network's: {meter}", reason="bad_meter")
    return [
        BEGIN,
        METER_AT + 1 + METERS.index(meter),
        MODE_AT + 1 + MODES.index(tonality_of(key).mode),
        TEMPO_AT + tempo_class(qpm),
        CHARACTER_AT + (0 if character is None else 1 + CHARACTERS.index(character)),
        BARS_AT + min(n_bars, LINE_BARS),
    ]


def prefix_rows(controls: Sequence[int]) -> Rows:
    """Return the rows of the controls, int16[6, columns]."""
    rows = np.zeros((PREFIX, COLUMNS), np.int16)
    rows[:, FIRST] = controls
    return rows


def head_of(bar: SketchBar, length: int, register: int, *, purpose: bool = True, dynamic: bool = True) -> list[int]:
    """Return what a bar's head says; purpose and dynamic are left out where they are not known."""
    return [
        1 + PURPOSES.index(bar.purpose) if purpose else 0,
        1 + DYNAMICS.index(bar.dynamic) if dynamic else 0,
        density_class(len(bar.notes), length),
        register,
        singer_class(bar.program),
    ]


def melody_row(onset: int, symbol: int, length: int) -> tuple[int, int, int]:
    """Return first and second symbol and the onset of what follows."""
    return symbol, length_symbol(length), onset + length


def bar_events(notes: Iterable[Note], held: int, length: int, home: int) -> list[tuple[int, int, int]]:
    """Return a bar's notes and rests as (first, second, onset of the next); the first `held` ticks belong to others.

    A note's length is cut where the next one begins, and nothing but the last note passes the bar's end.
    """
    events: list[tuple[int, int, int]] = []
    at = held
    ordered = sorted(note for note in notes if note[0] >= held and note[0] < length)
    ends = ([note[0] for note in ordered[1:]] + [10_000])[: len(ordered)]
    for (onset, duration, pitch), end in zip(ordered, ends, strict=True):
        if onset >= end:
            continue
        if onset > at:
            events.append(melody_row(at, REST, onset - at))
        events.append(melody_row(onset, pitch_symbol(pitch, home), min(duration, end - onset)))
        at = events[-1][2]
    if at < length:
        events.append(melody_row(at, REST, length - at))
    return events


def encode_sketch(sketch: Sketch, *, unknown: frozenset[str] = frozenset()) -> Rows:
    """Return int16[n, columns]: the controls, every bar and the end.

    `unknown` names what the sketch only seems to say: tempo, character, purpose, dynamic.

    Raises:
        ModelError: `bad_meter` or `bad_key`.
        PlanError: `bad_chord`.
    """
    qpm = 0.0 if "tempo" in unknown else sketch.qpm
    character = None if "character" in unknown else sketch.character
    prefix = prefix_rows(control_symbols(sketch.key, sketch.meter, qpm, character, len(sketch.bars)))
    home, tonic = home_pitch(sketch.key), tonality_of(sketch.key).pitch_class
    length, meter_at = bar_ticks(sketch.meter), METERS.index(sketch.meter) * (LONGEST_BAR + 1)
    prefix[-1, PLACE] = meter_at
    spans = section_spans([bar.section for bar in sketch.bars])
    rows: list[list[int]] = []
    held = register = 0
    for number, bar in enumerate(sketch.bars):
        first, last = spans[number]
        where = [number, min(number - first, MOST_IN_SECTION), min(last - number, MOST_IN_SECTION)]
        where.append(bar.section)
        chords = [chord_symbols(symbol, tonic) for symbol in bar.chords[:MOST_CHORDS]] or [(CHORD_AT, 0)]
        sounding = bar.notes
        if sounding:
            register = register_class(sum(note[2] for note in sounding) / len(sounding))
        knows = {name: name not in unknown for name in ("purpose", "dynamic")}
        head = head_of(bar, length, register, **knows)
        nothing = [0] * len(HEAD_SIZES)
        start = min(held, length)
        place, harmony = meter_at + start, harmony_at(chords, start, length)
        rows.append([BAR, 0, place, 0, *where, BAR_ROW, *nothing])
        rows.append([HEAD, 0, place, 0, *where, HEAD_ROW, *head])
        for at, ((first_symbol, second), before) in enumerate(zip(chords, [None, *chords], strict=False)):
            if before != (first_symbol, second):
                here = meter_at + at * length // len(chords)
                rows.append([first_symbol, second, here, harmony, *where, CHORD_ROW, *nothing])
        after = start
        for first_symbol, second, after in bar_events(bar.notes, start, length, home):
            place, harmony = meter_at + min(after, length), harmony_at(chords, after, length)
            rows.append([first_symbol, second, place, harmony, *where, NOTE_ROW, *nothing])
        held = max(held, after) - length
    end = [END, 0, meter_at, 0, len(sketch.bars), 0, 0, 0, END_ROW, *[0] * len(HEAD_SIZES)]
    return np.concatenate([prefix, np.array([*rows, end], np.int16)])


def harmony_at(chords: Sequence[tuple[int, int]], onset: int, length: int) -> int:
    """Return the chord (1 to 120, 0 unknown) at an onset of a bar of `length` ticks whose chords last alike."""
    return chords[min(onset * len(chords) // length, len(chords) - 1)][0] - CHORD_AT


def section_spans(sections: Sequence[int]) -> list[tuple[int, int]]:
    """Return for each bar the first and the last bar of its section."""
    edges = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(sections)) if a != b), len(sections)]
    return [(first, end - 1) for first, end in pairwise(edges) for _ in range(first, end)]
