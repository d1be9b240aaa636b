"""MIDI to ABC: one voice for each part or layer of a part, every bar full."""

from __future__ import annotations

from dataclasses import dataclass

from image2music.notation.midi_reader import read_midi
from image2music.notation.quantise import FAITHFUL
from image2music.notation.score import Score
from image2music.notation.sheet import Sheet, sheet_of
from image2music.notation.spelling import key_name
from image2music.notation.tempos import seconds_at
from image2music.notation.tune_text import bars_by_voice, meter_text, tune_text


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


def midi_to_abc(data: bytes, *, title: str | None = None) -> ConvertedTune:
    """Convert a MIDI file to ABC.

    Args:
        data: the bytes of the file.
        title: what to write as the tune's title, cleaned to one line; none is written without it.

    Raises:
        MidiError: with the reasons of `read_midi`.
    """
    return score_to_abc(read_midi(data), title=title)


def score_to_abc(score: Score, *, title: str | None = None) -> ConvertedTune:
    """Convert a score to ABC.

    Raises:
        MidiError: `too_large` where its meters make too many bars.
    """
    sheet = sheet_of(score, FAITHFUL)
    return converted(sheet, tune_text(sheet, title, bars_by_voice(sheet)))


def converted(sheet: Sheet, abc: str) -> ConvertedTune:
    """A sheet's text with what its header says."""
    end = max(int(voice.layer.ends[-1]) for voice in sheet.voices)
    return ConvertedTune(
        abc=abc,
        key=key_name(*sheet.keys[0]),
        meter=meter_text(sheet.bars.meters[0]),
        tempo_qpm=round(sheet.tempos[0].qpm, 3),
        duration_s=round(seconds_at(end, sheet.tempos), 3),
        bars=len(sheet.bars),
        voices=len(sheet.voices),
        n_notes=sum(voice.n_notes for voice in sheet.voices),
    )
