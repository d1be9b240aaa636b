"""MIDI to ABC: one voice for each part or layer of a part, every bar full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from image2music.notation.abc_writer import unit_of, write_layer
from image2music.notation.keys import keys_of
from image2music.notation.layers import Layer, layers_of
from image2music.notation.midi_reader import read_midi
from image2music.notation.parts import Part, parts_of
from image2music.notation.quantise import FAITHFUL, QuantiseConfig, quantise
from image2music.notation.score import IntArray, Score
from image2music.notation.spelling import key_name, spelling
from image2music.notation.tempos import Tempo, seconds_at, tempo_text, tempos_of
from image2music.notation.timeline import QUARTER, Bars, Meter, bars_of, beats_of, windows_of

MAX_VOICES = 30
"""Voices in a tune: abc2midi stops at about forty."""

MAX_LAYERS = 4
_BARS_A_LINE = 4
_BASS_BELOW = 57.0


@dataclass(frozen=True)
class ConvertedTune:
    """A tune in ABC and what its header says.

    `key` is as ABC writes it (`Am`), `meter` as `4/4`, `tempo_qpm` quarter notes a minute at the beginning,
    `duration_s` seconds until the last note ends, `bars` and `voices` counts, `n_notes` notes written.
    """

    abc: str
    key: str
    meter: str
    tempo_qpm: float
    duration_s: float
    bars: int
    voices: int
    n_notes: int


@dataclass(frozen=True)
class Voice:
    """A layer and the part that plays it."""

    layer: Layer
    program: int
    channel: int
    is_drum: bool


@dataclass(frozen=True)
class Sheet:
    """Everything that is written, before it is text. `keys` holds (sharps, minor) of each bar."""

    voices: tuple[Voice, ...]
    bars: Bars
    keys: tuple[tuple[int, bool], ...]
    tempos: tuple[Tempo, ...]


def midi_to_abc(data: bytes, *, title: str | None = None) -> ConvertedTune:
    """Convert a MIDI file to ABC.

    Args:
        data: the bytes of the file.
        title: what to write as the tune's title, cleaned to one line; none is written without it.

    Raises:
        MidiError: with the reasons of `read_midi`.
    """
    return score_to_abc(read_midi(data), title=title)


def score_to_abc(score: Score, *, title: str | None = None, config: QuantiseConfig = FAITHFUL) -> ConvertedTune:
    """Convert a score to ABC; see `midi_to_abc`."""
    return write_sheet(sheet_of(score, config, MAX_LAYERS), score, title)


def sheet_of(score: Score, config: QuantiseConfig, most_layers: int) -> Sheet:
    """Put a score on the grid and lay it out in voices."""
    parts = parts_of(score)
    scale = QUARTER / score.ticks_per_quarter
    end = max(float((part.onsets + part.durations).max()) for part in parts) * scale
    last = max(float(part.onsets.max()) for part in parts) * scale
    # A note that begins within a rounding of the last bar line needs a bar to begin in.
    bars = bars_of(score, int(max(end, last + QUARTER / 8)))
    windows = windows_of(bars)
    most_layers = max(1, min(most_layers, MAX_VOICES // len(parts)))
    voices = [voice for part in parts for voice in _voices(part, scale, windows, config, most_layers)]
    return Sheet(tuple(voices), bars, keys_of(score, parts, bars), tempos_of(score))


def _voices(
    part: Part, scale: float, windows: IntArray, config: QuantiseConfig, most_layers: int
) -> list[Voice]:
    notes = quantise(part.onsets * scale, part.durations * scale, part.pitches, windows, config)
    layers = layers_of(notes, most_layers)
    return [Voice(layer, part.program, part.channel, part.is_drum) for layer in layers]


def write_sheet(sheet: Sheet, score: Score, title: str | None) -> ConvertedTune:
    """Text of a sheet, with what its header says."""
    unit = unit_of([voice.layer for voice in sheet.voices])
    windows, beats = windows_of(sheet.bars), beats_of(sheet.bars)
    header = header_lines(sheet, unit, title)
    body = []
    for number, voice in enumerate(sheet.voices, 1):
        bars = voice_bars(sheet, voice, windows, beats, unit, leads=number == 1)
        body += [*voice_head(voice, number, len(sheet.voices)), *_lines(bars)]
    end = max(int(voice.layer.ends[-1]) for voice in sheet.voices)
    return ConvertedTune(
        abc="\n".join([*header, *body]) + "\n",
        key=key_name(*sheet.keys[0]),
        meter=meter_text(sheet.bars.meters[0]),
        tempo_qpm=round(sheet.tempos[0].qpm, 3),
        duration_s=round(seconds_at(end, sheet.tempos), 3),
        bars=len(sheet.bars),
        voices=len(sheet.voices),
        n_notes=sum(map(len, (chord for voice in sheet.voices for chord in voice.layer.chords))),
    )


def header_lines(sheet: Sheet, unit: int, title: str | None) -> list[str]:
    """The tune's header, `X:` to `K:`."""
    text = one_line(title or "")
    return [
        "X:1",
        *([f"T:{text}"] if text else []),
        f"M:{meter_text(sheet.bars.meters[0])}",
        f"L:1/{4 * QUARTER // unit}",
        f"Q:{tempo_text(sheet.tempos[0].qpm)}",
        f"K:{key_name(*sheet.keys[0])}",
    ]


def voice_head(voice: Voice, number: int, of: int) -> list[str]:
    """The `V:` line of a voice, where there are several, and its channel and program."""
    clef = " clef=perc" if voice.is_drum else " clef=bass" if _mean_pitch(voice.layer) < _BASS_BELOW else ""
    lines = [f"V:{number}{clef}"] if of > 1 or clef else []
    lines.append(f"%%MIDI channel {voice.channel + 1}")
    return lines if voice.is_drum else [*lines, f"%%MIDI program {voice.program}"]


def voice_bars(sheet: Sheet, voice: Voice, windows: IntArray, beats: IntArray, unit: int, *, leads: bool) -> list[str]:
    """Text of each bar of a voice with its inline fields; the tempo stands in the voice that leads."""
    spellings = [spelling(*key) for key in sheet.keys]
    tempos = {tempo.tick: f"[Q:{tempo_text(tempo.qpm)}]" for tempo in sheet.tempos[1:]} if leads else {}
    bars = write_layer(voice.layer, sheet.bars, windows, beats, spellings, unit, tempos)
    for at in range(1, len(bars)):
        bars[at] = _bar_fields(sheet, at) + bars[at]
    return bars


def _bar_fields(sheet: Sheet, at: int) -> str:
    meters, keys = sheet.bars.meters, sheet.keys
    meter = f"[M:{meter_text(meters[at])}]" if meters[at] != meters[at - 1] else ""
    key = f"[K:{key_name(*keys[at])}]" if keys[at] != keys[at - 1] else ""
    return meter + key


def _lines(bars: Sequence[str]) -> list[str]:
    lines = [" | ".join(bars[at : at + _BARS_A_LINE]) + " |" for at in range(0, len(bars), _BARS_A_LINE)]
    return [*lines[:-1], lines[-1] + "]"]


def meter_text(meter: Meter) -> str:
    """`(4, 4)` as `4/4`."""
    return f"{meter[0]}/{meter[1]}"


def _mean_pitch(layer: Layer) -> float:
    return float(np.mean([chord[0] for chord in layer.chords]))


def one_line(text: str) -> str:
    """Text that is safe in an ABC field: printable, one line, at most 100 characters, no comment, no escape."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.replace("%", " ").replace("\\", " ").split())[:100].rstrip()
