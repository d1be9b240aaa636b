"""A piece laid out for writing: voices on the grid, bars, keys, tempos; not yet text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from image2music.notation.keys import Key, keys_of
from image2music.notation.layers import Layer, layers_of
from image2music.notation.parts import Part, parts_of
from image2music.notation.pickup import pickup_of
from image2music.notation.quantise import QuantiseConfig, Written, quantise
from image2music.notation.score import IntArray, Score
from image2music.notation.tempos import Tempo, tempos_of
from image2music.notation.timeline import QUARTER, Bars, bars_after_pickup, bars_of, only_meter, windows_of

MAX_VOICES = 30
"""Most voices in a sheet: abc2midi stops at about forty."""

MAX_LAYERS = 6
_EIGHTHS_SHARE = 0.6


@dataclass(frozen=True)
class Voice:
    """A layer and the part that plays it."""

    layer: Layer
    program: int
    channel: int
    is_drum: bool

    @property
    def n_notes(self) -> int:
        """Notes, those of a chord one by one."""
        return sum(map(len, self.layer.chords))


@dataclass(frozen=True)
class Sheet:
    """Everything that is written. `keys` holds (sharps, minor) of each bar; the first tempo is at 0.

    `unit` is the unit note length in grid ticks.
    """

    voices: tuple[Voice, ...]
    bars: Bars
    keys: tuple[Key, ...]
    tempos: tuple[Tempo, ...]
    unit: int


def sheet_of(score: Score, config: QuantiseConfig) -> Sheet:
    """Put a whole score on the grid.

    Raises:
        MidiError: reason `too_large` where the meters make too many bars.
    """
    parts = parts_of(score)
    bars = bars_with_pickup(score, parts)
    windows = windows_of(bars)
    notes = [written(part, windows, config) for part in parts]
    voices = _within_limits(parts, notes)
    return Sheet(tuple(voices), bars, keys_of(score, parts, bars), tempos_of(score), unit_of(voices))


def bars_with_pickup(score: Score, parts: Sequence[Part]) -> Bars:
    """Bars of a whole piece, the first of them a pick-up where the notes show one."""
    end, meter = _grid_end(parts), only_meter(score)
    pickup = pickup_of(parts, meter) if meter else 0
    return bars_after_pickup(pickup, meter, end) if meter and pickup else bars_of(score, end)


def _grid_end(parts: Sequence[Part]) -> int:
    """Grid tick that the bars must reach.

    A note that begins within a rounding of the last bar line needs another bar to begin in.
    """
    end = max(float((part.onsets + part.durations).max()) for part in parts)
    last = max(float(part.onsets.max()) for part in parts)
    return int(max(end, last + QUARTER / 8 + 1))


def _within_limits(parts: Sequence[Part], notes: Sequence[Written]) -> list[Voice]:
    """Voices of all parts, with as many layers for each as keep them within `MAX_VOICES`."""
    for most_layers in range(MAX_LAYERS, 0, -1):
        voices = [voice for part, own in zip(parts, notes, strict=True) for voice in voices_of(part, own, most_layers)]
        if len(voices) <= MAX_VOICES:
            break
    return voices


def written(part: Part, windows: IntArray, config: QuantiseConfig) -> Written:
    """A part's notes on the grid."""
    return quantise(part.onsets, part.durations, part.pitches, windows, config)


def voices_of(part: Part, notes: Written, most_layers: int) -> list[Voice]:
    """Layers of one part."""
    layers = layers_of(notes, most_layers)
    return [Voice(layer, part.program, part.channel, part.is_drum) for layer in layers]


def unit_of(voices: Sequence[Voice]) -> int:
    """Grid ticks of the unit length that keeps the text short: an eighth, or a sixteenth where notes are short."""
    lengths = np.concatenate([voice.layer.ends - voice.layer.starts for voice in voices])
    eighth = QUARTER // 2
    # A third of a quarter is written as an eighth in a triplet.
    plain = (lengths % eighth == 0) | (lengths % (QUARTER // 3) == 0)
    return eighth if plain.mean() >= _EIGHTHS_SHARE else eighth // 2
