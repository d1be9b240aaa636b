"""What a voice sounds like: its notes in the order they are played, with ties joined and grace notes placed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from image2music.errors import AbcError
from image2music.notation.abc_fields import Key, Meter, Tempo
from image2music.notation.abc_lengths import Length, scaled, ticks
from image2music.notation.abc_pitches import PitchReader
from image2music.notation.abc_repeats import Range, play_order
from image2music.notation.abc_tree import BarLine, Change, Element, Event, PartMark, Sound, Tune, Voice

MAX_NOTES = 200_000
GRACE_DIVIDER = 4
"""A grace note lasts its length times the unit length over this, taken from the note behind it (abc2midi)."""

PlayedNote = tuple[int, int, int, int]
"""Start and end in ticks from the start of the piece, pitch, velocity. A plain tuple: there are very many."""

Notes = list[PlayedNote]


@dataclass(slots=True)
class PlayedVoice:
    """The notes of one voice by (program, channel), and the changes it makes."""

    voice: Voice
    parts: dict[tuple[int, int | None], Notes] = field(default_factory=dict)
    changes: list[tuple[Length, Key | Meter | Tempo]] = field(default_factory=list)
    length: Length = 0


_Reading = tuple[list[int], list[int], Notes, int]
"""How one event is read on the page: its pitches, those of its grace notes, where its notes go and how loud."""


@dataclass(slots=True)
class _TiedNote:
    """The note at `index` of `notes`, which waits for another at `end` (exact, in the units of `abc_lengths`)."""

    notes: Notes
    index: int
    end: Length

    @property
    def pitch(self) -> int:
        return self.notes[self.index][2]

    def prolong(self, end: Length) -> None:
        """Lets the note sound to `end`."""
        start, _, pitch, velocity = self.notes[self.index]
        self.notes[self.index] = (start, max(ticks(end), start + 1), pitch, velocity)
        self.end = end


class _Player:
    """Plays ranges of one voice's elements; keeps ties while it goes."""

    def __init__(self, tune: Tune, voice: Voice) -> None:
        self.played = PlayedVoice(voice)
        self.readings = _readings(PitchReader(tune, voice), voice.elements, self.played)
        self.open_ties: dict[int, dict[tuple[int, int], _TiedNote]] = {}

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
            self.play_range(first, last, shift)
            position = (elements[last].onset if last < len(elements) else total) + shift
            if sum(map(len, self.played.parts.values())) > MAX_NOTES:
                raise AbcError(f"more than {MAX_NOTES} notes in one voice: shorten the tune", reason="too_long")
        self.played.length = position
        return self.played

    def play_range(self, first: int, last: int, shift: Length) -> None:
        """Plays the elements from `first` to before `last`, `shift` later than written."""
        for element, reading in zip(self.played.voice.elements[first:last], self.readings[first:last], strict=True):
            if reading is None or type(element) is not Event:
                self.silent(element, shift)
                continue
            onset = element.onset + shift
            if element.ties or element.grace or self.open_ties:
                self.joined(element, reading, onset)
                continue
            pitches, _, notes, velocity = reading
            start, end = ticks(onset), ticks(onset + element.duration)
            for pitch in pitches:
                if 0 <= pitch <= 127:
                    notes.append((start, end if end > start else start + 1, pitch, velocity))

    def silent(self, element: Element, shift: Length) -> None:
        """A rest ends the ties of its layer; a change takes place; a bar line does nothing."""
        if type(element) is Event:
            if self.open_ties:
                self.open_ties.pop(element.layer, None)
        elif type(element) is Change and not isinstance(element.value, Sound | PartMark):
            self.played.changes.append((element.onset + shift, element.value))

    def joined(self, event: Event, reading: _Reading, onset: Length) -> None:
        """A note or chord with grace notes before it, that continues ties, starts them, or several of these."""
        end = onset + event.duration
        if event.grace:
            onset = _play_grace(event, reading, onset)
        waiting = self.open_ties.get(event.layer, {})
        starting: dict[tuple[int, int], _TiedNote] = {}
        pitches, _, notes, velocity = reading
        for index, head in enumerate(event.heads):
            key = (head.step, head.octave)
            pitch = pitches[index]
            note = waiting.get(key)
            if note is not None and note.end == onset and (head.accidental is None or pitch == note.pitch):
                note.prolong(end)
            else:
                note = _sound(notes, onset, end, pitch, velocity)
            if event.ties >> index & 1 and note is not None:
                starting[key] = note
        if starting:
            self.open_ties[event.layer] = starting
        else:
            self.open_ties.pop(event.layer, None)


def _sound(notes: Notes, onset: Length, end: Length, pitch: int, velocity: int) -> _TiedNote | None:
    """Adds one note, None where MIDI has no such pitch."""
    if not 0 <= pitch <= 127:
        return None
    start = ticks(onset)
    notes.append((start, max(ticks(end), start + 1), pitch, velocity))
    return _TiedNote(notes, len(notes) - 1, end)


def _play_grace(event: Event, reading: _Reading, onset: Length) -> Length:
    """Plays the grace notes and returns where the note itself begins."""
    _, pitches, notes, velocity = reading
    lengths = [scaled(event.grace_unit, grace.numerator, grace.denominator * GRACE_DIVIDER) for grace in event.grace]
    if sum(lengths) >= event.duration:
        # abc2midi leaves out grace notes that would swallow their note.
        return onset
    waiting = iter(pitches)
    for grace, length in zip(event.grace, lengths, strict=True):
        for _ in grace.heads:
            _sound(notes, onset, onset + length, next(waiting), velocity)
        onset += length
    return onset


def _readings(reader: PitchReader, elements: list[Element], played: PlayedVoice) -> list[_Reading | None]:
    """One reading for each element that sounds. Read in written order, so that a repeat finds its own key again."""
    readings: list[_Reading | None] = []
    part = played.parts.setdefault((reader.program, reader.channel), [])
    for element in elements:
        reading = None
        if type(element) is Event:
            if element.heads:
                pitches, grace = reader.pitches(element)
                reading = (pitches, grace, part, reader.velocity)
        elif type(element) is BarLine:
            reader.bar_line()
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
