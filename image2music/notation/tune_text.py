"""A sheet to ABC text: the header, the head of each voice, its bars with their inline fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from image2music.notation.abc_writer import write_layer
from image2music.notation.sheet import Sheet, Voice
from image2music.notation.spelling import key_name, spelling
from image2music.notation.tempos import tempo_text
from image2music.notation.timeline import QUARTER, Meter, beats_of, windows_of

_BARS_A_LINE = 4
_BASS_BELOW = 57.0
_LONGEST_TITLE = 100


def bars_by_voice(sheet: Sheet) -> list[list[str]]:
    """Text of each bar of each voice, inline fields included; changes of tempo stand in the first voice."""
    windows, beats = windows_of(sheet.bars), beats_of(sheet.bars)
    spellings = [spelling(*key) for key in sheet.keys]
    bar_fields = {at: text for at in range(1, len(sheet.bars)) if (text := _bar_fields(sheet, at))}
    fields = {tempo.tick: f"[Q:{tempo_text(tempo.qpm)}]" for tempo in sheet.tempos[1:]}
    voices = []
    for voice in sheet.voices:
        bars = write_layer(voice.layer, sheet.bars, windows, beats, spellings, sheet.unit, fields)
        for at, text in bar_fields.items():
            bars[at] = text + bars[at]
        voices.append(bars)
        fields = {}
    return voices


def tune_text(sheet: Sheet, title: str | None, voices: Sequence[Sequence[str]]) -> str:
    """The whole tune; `voices` holds the bars of each of the sheet's voices."""
    lines = header_lines(sheet, title)
    for number, (voice, bars) in enumerate(zip(sheet.voices, voices, strict=True), 1):
        lines += [*voice_head(voice, number, len(sheet.voices)), *_music_lines(bars)]
    return "\n".join(lines) + "\n"


def header_lines(sheet: Sheet, title: str | None) -> list[str]:
    """The tune's header, `X:` to `K:`."""
    text = one_line(title or "")
    return [
        "X:1",
        *([f"T:{text}"] if text else []),
        f"M:{meter_text(sheet.bars.meters[0])}",
        f"L:1/{4 * QUARTER // sheet.unit}",
        f"Q:{tempo_text(sheet.tempos[0].qpm)}",
        f"K:{key_name(*sheet.keys[0])}",
    ]


def voice_head(voice: Voice, number: int, of: int) -> list[str]:
    """The `V:` line of a voice, where it says anything, and its channel and program."""
    mean_pitch = float(np.mean([chord[0] for chord in voice.layer.chords]))
    clef = " clef=perc" if voice.is_drum else " clef=bass" if mean_pitch < _BASS_BELOW else ""
    lines = [f"V:{number}{clef}"] if of > 1 or clef else []
    lines.append(f"%%MIDI channel {voice.channel + 1}")
    return lines if voice.is_drum else [*lines, f"%%MIDI program {voice.program}"]


def meter_text(meter: Meter) -> str:
    """`(4, 4)` as `4/4`."""
    return f"{meter[0]}/{meter[1]}"


def one_line(text: str) -> str:
    """Text that is safe in an ABC field: printable, one line, at most 100 characters, no comment, no escape."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.replace("%", " ").replace("\\", " ").split())[:_LONGEST_TITLE].rstrip()


def _bar_fields(sheet: Sheet, at: int) -> str:
    meters, keys = sheet.bars.meters, sheet.keys
    meter = f"[M:{meter_text(meters[at])}]" if meters[at] != meters[at - 1] else ""
    key = f"[K:{key_name(*keys[at])}]" if keys[at] != keys[at - 1] else ""
    return meter + key


def _music_lines(bars: Sequence[str]) -> list[str]:
    lines = [" | ".join(bars[at : at + _BARS_A_LINE]) + " |" for at in range(0, len(bars), _BARS_A_LINE)]
    return [*lines[:-1], lines[-1] + "]"]
