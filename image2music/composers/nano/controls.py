"""nano's control tokens.

Qualities of a tune (tempo, mode, meter, bars, range, ...) that stand as tokens before its notes.

nano predicts them from the picture and the references, and any of them can be set from outside instead. Values are
words, so that a tune's controls read like a sentence in a log.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from image2music.composers.nano.melody import Melody
from image2music.music.theory import MODES, SCALES

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
