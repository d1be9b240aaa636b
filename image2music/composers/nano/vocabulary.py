"""nano's control words and its tokens: one for a control value, a bar line, or a pair of pitch and length."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.melody import Melody, Note
from image2music.composers.suiting import Character
from image2music.errors import PlanError
from image2music.music.planning.plan import Plan
from image2music.music.planning.planner import PlanRequest
from image2music.music.theory import MODES, SCALES, read_tonality
from image2music.types import AlbumPart

TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
METERS = ("2/4", "3/4", "4/4", "2/2", "6/8", "9/8", "12/8", "3/8", "3/2", "6/4")
KINDS = ("air", "reel", "hornpipe", "jig", "slip jig", "waltz", "march", "strathspey", "polka", "song")

DANCED_IN = {
    "reel": ("4/4", "2/2", "2/4"),
    "hornpipe": ("4/4", "2/2", "2/4", "3/2"),
    "jig": ("6/8", "12/8"),
    "slip jig": ("9/8",),
    "waltz": ("3/4", "3/8"),
    "march": ("2/4", "4/4", "2/2", "6/8"),
    "strathspey": ("4/4", "2/2"),
    "polka": ("2/4",),
}
"""Meters of each dance; airs and songs have any. The model cannot be trusted with it: some of the tunes that it learned
from are named after a dance whose meter they do not have."""
TEMPI = ("slow", "moderate", "fast")
LEVELS = ("lowest", "low", "middle", "high", "highest")
MAX_BARS = 64
SLOW_BELOW_QPM, FAST_FROM_QPM = 88, 132


@dataclass(frozen=True)
class ControlSlot:
    """One quality and the words it can take."""

    name: str
    values: tuple[str, ...]


CONTROL_SLOTS = (
    ControlSlot("tempo", TEMPI),
    ControlSlot("mode", MODES),
    ControlSlot("kind", KINDS),
    ControlSlot("meter", METERS),
    ControlSlot("unit", ("1/4", "1/8", "1/16")),
    ControlSlot("tonic", TONICS),
    ControlSlot("pickup", ("no", "yes")),
    ControlSlot("bars", tuple(str(n) for n in range(1, MAX_BARS + 1))),
    ControlSlot("density", LEVELS),
    ControlSlot("range", LEVELS),
    ControlSlot("register", LEVELS),
    ControlSlot("n_pitches_used", LEVELS),
    ControlSlot("pitch_entropy", LEVELS),
    ControlSlot("pitch_class_entropy", LEVELS),
    ControlSlot("scale_consistency", LEVELS),
    ControlSlot("leaps", LEVELS),
    ControlSlot("rests", ("none", "some")),
)

# Upper edges of the first four levels: rounded fifths of the 3,743 training tunes, but for range, whose first level is
# an octave.
LEVEL_EDGES = {
    "density": (5.8, 6.4, 6.8, 7.3),
    "range": (12.0, 16.0, 18.0, 20.0),
    "register": (4.0, 5.6, 7.6, 10.6),
    "n_pitches_used": (9.0, 10.0, 11.0, 12.0),
    "pitch_entropy": (2.95, 3.1, 3.23, 3.37),
    "pitch_class_entropy": (2.52, 2.615, 2.68, 2.74),
    "scale_consistency": (0.955, 0.975, 0.985, 0.9999),
    "leaps": (0.28, 0.345, 0.415, 0.5),
}


class Controls(UserDict[str, str]):
    """Slot name to word; a slot that is not set is absent."""

    def merged(self, other: Controls) -> Controls:
        """Return these controls overridden by the slots of `other`."""
        return Controls({**self.data, **other.data})


def tempo_control(qpm: float) -> str:
    """Return slow, moderate or fast, by quarter notes a minute."""
    return "slow" if qpm < SLOW_BELOW_QPM else "moderate" if qpm < FAST_FROM_QPM else "fast"


def level(slot: str, value: float) -> str:
    """Return the word for a measured value."""
    return LEVELS[int(np.searchsorted(LEVEL_EDGES[slot], round(value, 6), side="left"))]


def melody_levels(melody: Melody) -> dict[str, float]:
    """Measure the slots that have levels, as numbers.

    density: notes in eight unit notes; range: semitones from lowest to highest; register: mean pitch in semitones
    above the tonic's reference octave; entropies: bits; scale_consistency: share of notes in the mode's scale; leaps:
    share of intervals larger than two semitones.
    """
    notes = melody.sounding()
    pitches = np.array([note.pitch for note in notes])
    n_bars = max(1, len(melody.bars))
    scale = set(SCALES[melody.mode])
    steps = np.abs(np.diff(pitches))
    return {
        "density": len(notes) / n_bars * 8 / float(melody.bar_capacity),
        "range": float(pitches.max() - pitches.min()),
        "register": float(pitches.mean()),
        "n_pitches_used": float(len(set(pitches.tolist()))),
        "pitch_entropy": entropy(pitches),
        "pitch_class_entropy": entropy(pitches % 12),
        "scale_consistency": float(np.mean([int(p) % 12 in scale for p in pitches])),
        "leaps": float((steps > 2).mean()) if len(steps) else 0.0,
    }


def entropy(values: np.ndarray) -> float:
    """Return the Shannon entropy of the values' histogram, in bits."""
    _, counts = np.unique(values, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def controls_of(melody: Melody, *, kind: str | None = None, tempo: str | None = None) -> Controls:
    """Return the controls that a finished melody has; `kind` and `tempo` come from its source where that names them."""
    controls = Controls(
        mode=melody.mode,
        meter=melody.meter,
        unit=f"1/{melody.unit.denominator}",
        tonic=TONICS[melody.tonic],
        pickup="yes" if melody.has_pickup else "no",
        bars=str(min(MAX_BARS, len(melody.bars))),
        rests="some" if any(note.pitch is None for bar in melody.bars for note in bar) else "none",
    )
    controls.update({slot: level(slot, value) for slot, value in melody_levels(melody).items()})
    if kind is not None:
        controls["kind"] = kind
    if tempo is not None:
        controls["tempo"] = tempo
    return controls


AllowedWords = Mapping[str, tuple[str, ...]]


def control_distance(wanted: AllowedWords, delivered: Controls) -> int:
    """Count the levels or words in which a tune's controls differ from the wanted ones."""
    total = 0
    for slot, words in wanted.items():
        word = delivered.get(slot)
        if word is None or word in words:
            continue
        if word in LEVELS:
            total += min(abs(LEVELS.index(word) - LEVELS.index(other)) for other in words)
        else:
            total += 1
    return total


PITCHES = range(-15, 30)
STRAIGHT_LENGTHS = tuple(Fraction(n, 4) for n in (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 36, 48))
TRIPLET_LENGTHS = (Fraction(1, 3), Fraction(2, 3), Fraction(4, 3))
LENGTHS = (*STRAIGHT_LENGTHS, *TRIPLET_LENGTHS)
TICKS_PER_UNIT = 12
UNKNOWN = "?"


@dataclass(frozen=True)
class Vocabulary:
    """Maps between melodies and token ids. It has no state: equal everywhere, fixed by this module."""

    pad: int = 0
    begin: int = 1
    end: int = 2
    bar: int = 3
    section: int = 4

    @cached_property
    def control_offsets(self) -> dict[str, int]:
        """Return the first id of each slot's values; the id before a slot's first value means "not set"."""
        offsets, at = {}, 5
        for slot in CONTROL_SLOTS:
            offsets[slot.name] = at + 1
            at += 1 + len(slot.values)
        return offsets

    @cached_property
    def first_note(self) -> int:
        """Return the id of the first note token."""
        last = CONTROL_SLOTS[-1]
        return self.control_offsets[last.name] + len(last.values)

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """Return all note tokens in id order, rests first for each length."""
        pitches: tuple[int | None, ...] = (None, *PITCHES)
        return tuple(Note(pitch, length) for length in LENGTHS for pitch in pitches)

    @cached_property
    def note_ids(self) -> dict[Note, int]:
        """Map notes to token ids."""
        return {note: self.first_note + i for i, note in enumerate(self.notes)}

    def __len__(self) -> int:
        return self.first_note + len(self.notes)

    @cached_property
    def ticks(self) -> NDArray[np.int64]:
        """int64[len]: length of each token in twelfths of a unit note, 0 for what takes no time."""
        ticks = np.zeros(len(self), np.int64)
        for note, token in self.note_ids.items():
            ticks[token] = int(note.length * TICKS_PER_UNIT)
        return ticks

    @cached_property
    def pitch_index(self) -> NDArray[np.int64]:
        """int64[len]: 0 for tokens that are no notes, 1 for rests, then the pitches from low to high."""
        index = np.zeros(len(self), np.int64)
        for note, token in self.note_ids.items():
            index[token] = 1 if note.pitch is None else 2 + note.pitch - PITCHES.start
        return index

    @cached_property
    def length_index(self) -> NDArray[np.int64]:
        """int64[len]: 0 for tokens that are no notes, else 1 + the length's place in `LENGTHS`."""
        index = np.zeros(len(self), np.int64)
        for note, token in self.note_ids.items():
            index[token] = 1 + LENGTHS.index(note.length)
        return index

    def encode_controls(self, controls: Controls) -> list[int]:
        """Return one token a slot, in slot order."""
        tokens = []
        for slot in CONTROL_SLOTS:
            value = controls.get(slot.name)
            first = self.control_offsets[slot.name]
            tokens.append(first - 1 if value is None else first + slot.values.index(value))
        return tokens

    def decode_controls(self, tokens: Sequence[int]) -> Controls:
        """Invert `encode_controls`."""
        controls: dict[str, str] = {}
        for slot, token in zip(CONTROL_SLOTS, tokens, strict=True):
            place = token - self.control_offsets[slot.name]
            if place >= 0:
                controls[slot.name] = slot.values[place]
        return Controls(controls)

    def encode_melody(self, melody: Melody) -> list[int]:
        """Return the tokens of the bars, ended by `end`. Raises KeyError for a note that the vocabulary lacks."""
        tokens: list[int] = []
        for i, bar in enumerate(melody.bars):
            tokens.extend(self.note_ids[note] for note in bar)
            tokens.append(self.section if i in melody.section_ends else self.bar)
        tokens[-1] = self.end
        return tokens

    def decode_bars(self, tokens: Sequence[int]) -> tuple[tuple[tuple[Note, ...], ...], frozenset[int]]:
        """Return the bars of tokens up to `end`, and the indices of bars that end a section."""
        bars: list[tuple[Note, ...]] = []
        ends: set[int] = set()
        current: list[Note] = []
        for token in tokens:
            if token >= self.first_note:
                current.append(self.notes[token - self.first_note])
                continue
            if token not in (self.bar, self.section, self.end):
                continue
            bars.append(tuple(current))
            current = []
            if token != self.bar:
                ends.add(len(bars) - 1)
            if token == self.end:
                break
        return tuple(bars), frozenset(ends)


PLACED_NOTE = "The first notes of voice 1 are the album's motif, placed by rule; the model goes on from there."


def asked_words(part: AlbumPart) -> AllowedWords:
    """Return the control slots that the album decides, which override what suits the single picture."""
    return {
        "tempo": (tempo_control(part.tempo_qpm),),
        "mode": (part.mode,),
        "meter": (part.meter,),
        "unit": ("1/8",),
        "tonic": (TONICS[part.tonic],),
    }


_NEAREST_MODE = {"phrygian": "minor", "locrian": "minor", "lydian": "major"}


def planned_words(plan: Plan | PlanRequest) -> AllowedWords:
    """Return the control slots that a plan decides.

    Raises:
        PlanError: nano cannot write in that meter, or so many bars (`beyond_nano`).
    """
    key = read_tonality(plan.key)
    if key is None or plan.meter not in METERS or plan.bars > MAX_BARS:
        message = f"nano writes in {', '.join(METERS)} and up to {MAX_BARS} bars, not {plan.bars} bars of {plan.meter}"
        raise PlanError(message, reason="beyond_nano")
    return {
        "tempo": (tempo_control(plan.qpm),),
        "mode": (_NEAREST_MODE.get(key.mode, key.mode),),
        "meter": (plan.meter,),
        "tonic": (TONICS[key.pitch_class],),
        "bars": (str(plan.bars),),
    }


_KINDS_OF: dict[Character, tuple[str, ...]] = {
    "calm": ("air", "song"),
    "flowing": ("air", "song", "waltz"),
    "playful": ("song", "jig", "polka", "hornpipe", "waltz"),
    "grand": ("air", "song", "march"),
    "dark": ("air", "song"),
    "driving": ("reel", "jig", "polka", "hornpipe", "march"),
}
_DENSITIES: dict[Character, tuple[str, ...]] = {
    "calm": ("lowest", "low"),
    "flowing": ("lowest", "low", "middle"),
    "dark": ("lowest", "low", "middle"),
    "driving": ("middle", "high", "highest"),
}
"""How many notes suit a character; the others may have any number."""


def suiting_words(character: Character, meter: str) -> AllowedWords:
    """Return the control slots that a character decides in a meter: no dance where it is still, no pick-up, no rest."""
    kinds = tuple(kind for kind in _KINDS_OF[character] if meter in DANCED_IN.get(kind, METERS))
    words = {"pickup": ("no",), "rests": ("none",), "kind": kinds or ("air", "song")}
    return words | ({"density": _DENSITIES[character]} if character in _DENSITIES else {})


def placed_tokens(part: AlbumPart | None, vocabulary: Vocabulary) -> Mapping[tuple[int, int], int]:
    """Map (bar, onset in ticks) to the note token that stands there; empty without an album."""
    placed: dict[tuple[int, int], int] = {}
    for bar, line in enumerate(part.opening if part is not None else ()):
        onset = 0
        for pitch, eighths in line:
            placed[bar, onset] = vocabulary.note_ids[Note(pitch, Fraction(eighths))]
            onset += eighths * TICKS_PER_UNIT
    return placed


def placed_positions(part: AlbumPart | None, tokens: Sequence[int], start: int) -> frozenset[int]:
    """Return positions in a tune's tokens, from `start` on, that were placed by rule and so have no attention."""
    return frozenset(_positions(part, tokens, start)) if part is not None else frozenset()


def _positions(part: AlbumPart, tokens: Sequence[int], start: int) -> Iterator[int]:
    vocabulary = Vocabulary()
    at = start
    for line in part.opening:
        yield from range(at, at + len(line))
        while at < len(tokens) and tokens[at] not in (vocabulary.bar, vocabulary.section, vocabulary.end):
            at += 1
        at += 1
