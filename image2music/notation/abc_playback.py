"""What a voice sounds like: its notes in the order they are played, with ties joined and grace notes placed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from image2music.errors import AbcError
from image2music.notation.abc_fields import Key, Meter, Tempo
from image2music.notation.abc_lengths import Length, scaled
from image2music.notation.abc_pitches import DEFAULT_VELOCITY, PitchReader
from image2music.notation.abc_repeats import Range, play_order
from image2music.notation.abc_tree import BarLine, Change, Element, Event, PartMark, Sound, Tune, Voice

MAX_NOTES = 200_000
GRACE_DIVIDER = 4
"""A grace note lasts its length times the unit length over this, taken from the note behind it (abc2midi)."""


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


class _Player:
    """Plays ranges of one voice's elements; keeps ties while it goes."""

    def __init__(self, tune: Tune, voice: Voice) -> None:
        self.played = PlayedVoice(voice)
        self.readings = _readings(PitchReader(tune, voice), voice.elements, self.played)
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


def _readings(reader: PitchReader, elements: list[Element], played: PlayedVoice) -> list[_Reading | None]:
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
