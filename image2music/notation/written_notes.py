"""The notes of a tune in written order: repeats not played, tied notes apart."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from image2music.notation.abc_lengths import as_quarters
from image2music.notation.abc_pitches import PitchReader
from image2music.notation.abc_tree import BarLine, Change, Event, Tune, Voice


class WrittenNote(NamedTuple):
    """A note or chord as written: onset and duration in quarter notes from the voice's start, pitches, bar number."""

    onset: Fraction
    duration: Fraction
    pitches: tuple[int, ...]
    bar: int


def voice_notes(tune: Tune) -> dict[str, list[WrittenNote]]:
    """Each voice's notes in written order, repeats not played, tied notes apart, grace notes and rests left out.

    Pitches are MIDI pitches under key, accidentals, clef and `%%MIDI transpose`; those outside 0-127 are left out.
    """
    return {voice.id: _written(tune, voice) for voice in tune.voices.values()}


def _written(tune: Tune, voice: Voice) -> list[WrittenNote]:
    reader = PitchReader(tune, voice)
    notes: list[WrittenNote] = []
    bars = iter(voice.bars)
    bar = next(bars, None)
    held: dict[tuple[int, int, int], int] = {}
    for element in voice.elements:
        if isinstance(element, BarLine):
            reader.bar_line()
        elif isinstance(element, Change):
            reader.change(element)
        else:
            while bar is not None and element.start >= bar.end > 0:
                bar = next(bars, None)
            pitches, held = _written_pitches(reader, element, held)
            if pitches:
                number = bar.number if bar is not None else 0
                notes.append(WrittenNote(as_quarters(element.onset), as_quarters(element.duration), pitches, number))
    return notes


def _written_pitches(
    reader: PitchReader, event: Event, held: dict[tuple[int, int, int], int]
) -> tuple[tuple[int, ...], dict[tuple[int, int, int], int]]:
    """An event's pitches, and the pitches that its ties hold for the next event."""
    found = []
    holding = {key: pitch for key, pitch in held.items() if key[2] != event.layer}
    read, _ = reader.pitches(event)
    for index, head in enumerate(event.heads):
        key = (head.step, head.octave, event.layer)
        tied = held.get(key) if head.accidental is None else None
        pitch = read[index] if tied is None else tied
        if event.ties >> index & 1:
            holding[key] = pitch
        if 0 <= pitch <= 127:
            found.append(pitch)
    return tuple(found), holding
