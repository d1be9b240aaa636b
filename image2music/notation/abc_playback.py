"""What a voice sounds like: pitches under key, accidentals and ties, grace notes, in played or in written order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from image2music.errors import AbcError
from image2music.notation.abc_fields import Key, Meter, Tempo
from image2music.notation.abc_lengths import Length, as_quarters, scaled
from image2music.notation.abc_repeats import Range, play_order
from image2music.notation.abc_tokens import Head
from image2music.notation.abc_tree import BarLine, Change, Element, Event, PartMark, Sound, Tune, Voice

MAX_NOTES = 200_000
DEFAULT_VELOCITY = 90
GRACE_DIVIDER = 4
"""A grace note lasts its length times the unit length over this, taken from the note behind it (abc2midi)."""

_SEMITONES = (0, 2, 4, 5, 7, 9, 11)


@dataclass(slots=True)
class PlayedNote:
    """A sounding note; onset and duration in the units of `abc_lengths`, from the start of the piece."""

    onset: Length
    duration: Length
    pitch: int
    velocity: int


@dataclass(slots=True)
class PlayedVoice:
    """The notes of one voice by (program, channel), and the changes it makes."""

    voice: Voice
    parts: dict[tuple[int, int | None], list[PlayedNote]] = field(default_factory=dict)
    changes: list[tuple[Length, Key | Meter | Tempo]] = field(default_factory=list)
    length: Length = 0


class WrittenNote(NamedTuple):
    """A note or chord as written: onset and duration in quarter notes from the voice's start, pitches, bar number."""

    onset: Fraction
    duration: Fraction
    pitches: tuple[int, ...]
    bar: int


class _Reader:
    """Reads pitches in written order: key, accidentals, transposition and sound as they stand on the page."""

    def __init__(self, tune: Tune, voice: Voice) -> None:
        self.alterations = tune.key.alterations
        self.octave_shift = self.transpose = voice.settings.transpose
        self.velocity = DEFAULT_VELOCITY
        self.program = 0
        self.channel: int | None = 9 if voice.settings.percussion else None
        self.accidentals: dict[int, int] = {}
        self.layer = 0
        for sound in tune.sounds:
            self.set_sound(sound)

    def set_sound(self, sound: Sound) -> None:
        """Applies one `%%MIDI` setting or dynamic mark."""
        what, number = sound
        if what == "program":
            self.program = number
        elif what == "channel":
            self.channel = number
        elif what == "transpose":
            self.transpose = self.octave_shift + number
        elif what == "octave":
            self.transpose += number - self.octave_shift
            self.octave_shift = number
        elif what == "velocity":
            self.velocity = number

    def change(self, change: Change) -> None:
        """Applies a change of key or sound; others do not touch pitches."""
        value = change.value
        if isinstance(value, Sound):
            self.set_sound(value)
        elif isinstance(value, Key):
            self.alterations = value.alterations
            self.accidentals.clear()

    def pitches(self, event: Event) -> tuple[list[int], list[int]]:
        """The MIDI pitches of an event's heads and those of its grace notes; they may lie outside 0-127."""
        if event.layer != self.layer:
            self.layer = event.layer
            self.accidentals.clear()
        grace = [self.pitch(head) for note in event.grace for head in note.heads] if event.grace else []
        return [self.pitch(head) for head in event.heads], grace

    def pitch(self, head: Head) -> int:
        """The MIDI pitch; an accidental holds for its letter in every octave to the end of the bar (ABC 2.1)."""
        alter = head.accidental
        if alter is None:
            alter = self.accidentals.get(head.step)
            if alter is None:
                alter = self.alterations[head.step]
        else:
            self.accidentals[head.step] = alter
        return 12 * (head.octave + 1) + _SEMITONES[head.step] + alter + self.transpose


class _Player:
    """Plays ranges of one voice's elements; keeps ties while it goes."""

    def __init__(self, tune: Tune, voice: Voice) -> None:
        self.played = PlayedVoice(voice)
        self.readings = _readings(_Reader(tune, voice), voice.elements, self.played)
        self.velocity = DEFAULT_VELOCITY
        self.notes: list[PlayedNote] = []
        self.open_ties: dict[int, dict[tuple[int, int], PlayedNote]] = {}
        self.count = 0

    def play(self, ranges: Iterable[Range]) -> PlayedVoice:
        """Plays the ranges one after the other.

        Raises:
            AbcError: `too_long` above `MAX_NOTES` notes.
        """
        elements = self.played.voice.elements
        total = self.played.voice.length
        position: Length = 0
        for first, last in ranges:
            shift = position - elements[first].onset
            for index in range(first, last):
                element = elements[index]
                if type(element) is Event:
                    reading = self.readings[index]
                    if reading is not None:
                        self.event(element, reading, element.onset + shift)
                    elif self.open_ties:
                        self.open_ties.pop(element.layer, None)
                elif type(element) is Change and not isinstance(element.value, Sound | PartMark):
                    self.played.changes.append((element.onset + shift, element.value))
            position = (elements[last].onset if last < len(elements) else total) + shift
            if self.count > MAX_NOTES:
                raise AbcError(f"more than {MAX_NOTES} notes in one voice: shorten the tune", reason="too_long")
        self.played.length = position
        return self.played

    def event(self, event: Event, reading: _Reading, onset: Length) -> None:
        """A note or chord at its played onset."""
        self.notes, self.velocity = reading.notes, reading.velocity
        duration = event.duration
        if event.grace:
            onset, duration = self.grace(event, reading.grace, onset)
        waiting = self.open_ties.get(event.layer) if self.open_ties else None
        if waiting or event.ties:
            self.tied_event(event, reading.pitches, onset, duration, waiting or {})
            return
        velocity, notes = self.velocity, self.notes
        for pitch in reading.pitches:
            if 0 <= pitch <= 127:
                notes.append(PlayedNote(onset, duration, pitch, velocity))
                self.count += 1

    def tied_event(
        self,
        event: Event,
        pitches: list[int],
        onset: Length,
        duration: Length,
        waiting: dict[tuple[int, int], PlayedNote],
    ) -> None:
        """A note or chord that continues ties, starts them, or both."""
        starting: dict[tuple[int, int], PlayedNote] = {}
        for index, head in enumerate(event.heads):
            key = (head.step, head.octave)
            note = waiting.get(key)
            if (
                note is not None
                and note.onset + note.duration == onset
                and (head.accidental is None or pitches[index] == note.pitch)
            ):
                note.duration += duration
            else:
                note = self.sound(pitches[index], onset, duration)
            if event.ties >> index & 1 and note is not None:
                starting[key] = note
        if starting:
            self.open_ties[event.layer] = starting
        else:
            self.open_ties.pop(event.layer, None)

    def sound(self, pitch: int, onset: Length, duration: Length) -> PlayedNote | None:
        """Adds one note, None where MIDI has no such pitch."""
        if not 0 <= pitch <= 127:
            return None
        note = PlayedNote(onset, duration, pitch, self.velocity)
        self.notes.append(note)
        self.count += 1
        return note

    def grace(self, event: Event, pitches: list[int], onset: Length) -> tuple[Length, Length]:
        """Plays the grace notes and returns what is left of the note: its onset and duration."""
        lengths = [
            scaled(event.grace_unit, grace.numerator, grace.denominator * GRACE_DIVIDER) for grace in event.grace
        ]
        taken = sum(lengths)
        if taken >= event.duration:
            # abc2midi leaves out grace notes that would swallow their note.
            return onset, event.duration
        at = onset
        waiting = iter(pitches)
        for grace, length in zip(event.grace, lengths, strict=True):
            for _ in grace.heads:
                self.sound(next(waiting), at, length)
            at += length
        return at, event.duration - taken


@dataclass(slots=True)
class _Reading:
    """How one event is read on the page: its pitches, where its notes go and how loud."""

    pitches: list[int]
    grace: list[int]
    notes: list[PlayedNote]
    velocity: int


def _readings(reader: _Reader, elements: list[Element], played: PlayedVoice) -> list[_Reading | None]:
    """One reading for each element that sounds. Read in written order, so that a repeat finds its own key again."""
    readings: list[_Reading | None] = []
    part = played.parts.setdefault((reader.program, reader.channel), [])
    for element in elements:
        reading = None
        if type(element) is Event:
            if element.heads:
                pitches, grace = reader.pitches(element)
                reading = _Reading(pitches, grace, part, reader.velocity)
        elif type(element) is BarLine:
            reader.accidentals.clear()
        elif type(element) is Change:
            reader.change(element)
            part = played.parts.setdefault((reader.program, reader.channel), [])
        readings.append(reading)
    return readings


def play_voice(tune: Tune, voice: Voice) -> PlayedVoice:
    """Plays one voice with its repeats, endings and parts.

    Raises:
        AbcError: `too_long` when the repeats unfold beyond reason.
    """
    return _Player(tune, voice).play(play_order(voice.elements, tune.parts))


def voice_notes(tune: Tune) -> dict[str, list[WrittenNote]]:
    """Each voice's notes in written order, repeats not played, tied notes apart, grace notes and rests left out.

    Pitches are MIDI pitches under key, accidentals, clef and `%%MIDI transpose`; those outside 0-127 are left out.
    """
    return {voice.id: _written(tune, voice) for voice in tune.voices.values()}


def _written(tune: Tune, voice: Voice) -> list[WrittenNote]:
    reader = _Reader(tune, voice)
    notes: list[WrittenNote] = []
    bars = iter(voice.bars)
    bar = next(bars, None)
    held: dict[tuple[int, int, int], int] = {}
    for element in voice.elements:
        if isinstance(element, BarLine):
            reader.accidentals.clear()
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
    reader: _Reader, event: Event, held: dict[tuple[int, int, int], int]
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
