"""Play a tune: ABC to note arrays and to MIDI, straight from the syntax tree.

Notes come in the order they are played, ties joined and grace notes placed. Chord symbols make no accompaniment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from image2music.abc.ast import BarLine, Element, Event, PartMark, Sound, StateChange, Tune, Voice
from image2music.abc.parser import ParsedAbc, parse
from image2music.abc.reading_order import PitchReader, Range, play_order
from image2music.errors import AbcError
from image2music.music.midi import NoteList, write_note_lists
from image2music.music.score import BarStart, KeyChange, MeterChange, Score, TempoChange, Track
from image2music.music.theory import (
    DRUM_CHANNEL,
    TICKS_PER_QUARTER,
    Key,
    Length,
    Meter,
    Tempo,
    fifths_of,
    scaled,
    ticks,
    tonic_pitch_class,
)

MAX_NOTES = 200_000

GRACE_DIVIDER = 4
"""A grace note lasts its length times the unit length over this, taken from the note behind it (abc2midi)."""

PlayedNote = tuple[int, int, int, int]
"""Start and end in ticks from the start of the piece, pitch, velocity. A plain tuple: there are very many."""
Notes = list[PlayedNote]


@dataclass(slots=True)
class PlayedVoice:
    """The notes of one voice by (program, channel), and the changes it makes.

    `controls` are MIDI control changes, (tick, number, value); whoever performs the tune puts them there.
    """

    voice: Voice
    parts: dict[tuple[int, int | None], Notes] = field(default_factory=dict)
    changes: list[tuple[Length, Key | Meter | Tempo]] = field(default_factory=list)
    length: Length = 0
    controls: list[tuple[int, int, int]] = field(default_factory=list)


_Reading = tuple[list[int], list[int], Notes, int]
"""How one event is read on the page: its pitches, those of its grace notes, where its notes go and how loud."""


@dataclass(slots=True)
class _TiedNote:
    """The note at `index` of `notes`, which waits for another at `end` (exact, in the units of `theory.Length`)."""

    notes: Notes
    index: int
    end: Length

    @property
    def pitch(self) -> int:
        return self.notes[self.index][2]

    def prolong(self, end: Length) -> None:
        """Let the note sound to `end`."""
        start, _, pitch, velocity = self.notes[self.index]
        self.notes[self.index] = (start, max(ticks(end), start + 1), pitch, velocity)
        self.end = end


class _Player:
    """Play ranges of one voice's elements; keeps ties while it goes."""

    def __init__(self, tune: Tune, voice: Voice) -> None:
        self.played = PlayedVoice(voice)
        self.readings = _readings(PitchReader(tune, voice), voice.elements, self.played)
        self.open_ties: dict[int, dict[tuple[int, int], _TiedNote]] = {}

    def play(self, ranges: Iterable[Range]) -> PlayedVoice:
        """Play the ranges one after the other.

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
        """Play the elements from `first` to before `last`, `shift` later than written."""
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
        """Let a rest end the ties of its layer, and note a change; a bar line does nothing."""
        if type(element) is Event:
            if self.open_ties:
                self.open_ties.pop(element.layer, None)
        elif type(element) is StateChange and not isinstance(element.value, Sound | PartMark):
            self.played.changes.append((element.onset + shift, element.value))

    def joined(self, event: Event, reading: _Reading, onset: Length) -> None:
        """Play a note or chord with grace notes before it, that continues ties, starts them, or several of these."""
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
    """Add one note, None where MIDI has no such pitch."""
    if not 0 <= pitch <= 127:
        return None
    start = ticks(onset)
    notes.append((start, max(ticks(end), start + 1), pitch, velocity))
    return _TiedNote(notes, len(notes) - 1, end)


def _play_grace(event: Event, reading: _Reading, onset: Length) -> Length:
    """Play the grace notes and return where the note itself begins."""
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
    """Read each element that sounds, in written order, so that a repeat finds its own key again."""
    readings: list[_Reading | None] = []
    part = played.parts.setdefault((reader.program, reader.channel), [])
    for element in elements:
        reading = None
        if type(element) is Event:
            if element.heads:
                pitches, grace = reader.played_pitches(element)
                reading = (pitches, grace, part, reader.velocity)
        elif type(element) is BarLine:
            reader.bar_line()
        elif type(element) is StateChange:
            reader.change(element)
            part = played.parts.setdefault((reader.program, reader.channel), [])
        readings.append(reading)
    return readings


def play_voice(tune: Tune, voice: Voice) -> PlayedVoice:
    """Play one voice with its repeats, endings and parts.

    Raises:
        AbcError: `too_long` when the repeats unfold beyond reason.
    """
    return _Player(tune, voice).play(play_order(voice.elements, tune.parts))


MAX_TICKS = 2**28 - 1
"""The longest time between two MIDI events."""
_MELODIC_CHANNELS = (*range(9), *range(10, 16))


def abc_to_score(abc: str) -> Score:
    """Play the first tune of an ABC text that has music.

    Voices sound in parallel, one track each (one more for every further program; a voice of rests has a track without
    notes); repeats, endings and parts are
    played out; ticks are 1/480 of a quarter note. Voices without a `%%MIDI channel` get channels in order, that of
    drums left out, and share them from the sixteenth on. Changes of tempo, meter and key are kept; where the text
    names no tempo or meter the lists are empty.

    Raises:
        AbcError: `no_music` when there is nothing to play, `too_long` when repeats unfold beyond reason,
            `text_too_long` for a text above 4 million characters.
    """
    return tune_to_score(first_tune(parse(abc)))


def abc_to_midi(abc: str) -> bytes:
    """Return a standard MIDI file (format 1) of the first tune with music; see `abc_to_score`.

    Raises:
        AbcError: as `abc_to_score`.
    """
    return tune_to_midi(first_tune(parse(abc)))


def tune_to_score(tune: Tune, *, may_be_silent: bool = False) -> Score:
    """Play one parsed tune; where it `may_be_silent`, one of rests only is a score without notes.

    Raises:
        AbcError: `no_music` when it holds no sounding note, `too_long` when repeats unfold beyond reason.
    """
    conductor, tracks = conducted(tune, play_voices(tune), with_silent=True, may_be_silent=may_be_silent)
    bars = tuple(BarStart(ticks(onset), number) for onset, number in bars_as_played(tune))
    return replace(conductor, tracks=tuple(map(_track, tracks)), bar_starts=bars)


def tune_to_midi(tune: Tune) -> bytes:
    """Play one parsed tune into a standard MIDI file; the same as `write_midi(tune_to_score(tune))`, but faster.

    Raises:
        AbcError: as `tune_to_score`.
    """
    return write_note_lists(*conducted(tune, play_voices(tune)))


def bars_as_played(tune: Tune) -> Iterator[tuple[Length, int]]:
    """Yield (length units from the beginning, number as written) of every bar of the first voice, repeats played out.

    A rest of several bars (`Z4`) is so many bars.
    """
    voice = next(voice for voice in tune.voices.values() if voice.bars)
    position: Length = 0
    for first, last in play_order(voice.elements, tune.parts):
        start = voice.elements[first].onset
        end = voice.elements[last].onset if last < len(voice.elements) else voice.length
        for bar in voice.bars:
            if bar.length and bar.onset < end and bar.onset + bar.length > start:
                onset = position + max(bar.onset, start) - start
                for nth in range(bar.count):
                    yield onset + scaled(bar.length, nth, bar.count), bar.number + nth
        position += end - start


def first_tune(parsed: ParsedAbc) -> Tune:
    """Return the first tune that has music.

    Raises:
        AbcError: `no_music` where there is none, `text_too_long` where the text was too long to be read.
    """
    if not parsed.tunes and any(finding.code == "text-too-long" for finding in parsed.diagnostics):
        raise AbcError("the text is too long to read: split it", reason="text_too_long")
    for tune in parsed.tunes:
        if tune.has_music:
            return tune
    raise AbcError("no tune with notes was found: write one from X: to its last bar line", reason="no_music")


def play_voices(tune: Tune) -> list[PlayedVoice]:
    """Play every voice, as `play_voice`."""
    return [play_voice(tune, voice) for voice in tune.voices.values()]


def conducted(
    tune: Tune, voices: list[PlayedVoice], *, with_silent: bool = False, may_be_silent: bool = False
) -> tuple[Score, list[NoteList]]:
    """Return a score with the title, tempos, meters and keys of a tune, and the notes of each track beside it.

    `with_silent` keeps one empty track for a voice that never sounds. A track holds the very list of its voice's part.

    Raises:
        AbcError: as `tune_to_score`.
    """
    if any(ticks(played.length) > MAX_TICKS for played in voices):
        raise AbcError("the tune lasts longer than MIDI can count: shorten its rests", reason="too_long")
    tracks = _note_lists(voices, with_silent=with_silent)
    if not may_be_silent and not any(track.notes for track in tracks):
        raise AbcError("the tune has rests only: write notes", reason="no_music")
    changes = _tempos(tune, voices), _meters(tune, voices), _keys(tune, voices)
    return Score(TICKS_PER_QUARTER, (), *changes, title=tune.title), tracks


def _note_lists(voices: list[PlayedVoice], *, with_silent: bool) -> list[NoteList]:
    taken = {channel for played in voices for _, channel in played.parts if channel is not None}
    free = [channel for channel in _MELODIC_CHANNELS if channel not in taken] or list(_MELODIC_CHANNELS)
    tracks = []
    used = 0
    for played in voices:
        name = played.voice.settings.name or played.voice.id
        sounding = [(sound, notes) for sound, notes in played.parts.items() if notes]
        if with_silent and not sounding:
            program, channel = list(played.parts)[-1]
            tracks.append(NoteList([], program, free[-1] if channel is None else channel, name))
        for (program, channel), notes in sounding:
            if channel is None:
                channel = free[used % len(free)]
                used += 1
            tracks.append(NoteList(notes, 0 if channel == DRUM_CHANNEL else program, channel, name, played.controls))
    return tracks


def _track(track: NoteList) -> Track:
    rows = np.array(track.notes, dtype=np.int64).reshape(-1, 4)
    rows = rows[np.lexsort((rows[:, 2], rows[:, 0]))]
    onsets = rows[:, 0]
    is_drum = track.channel == DRUM_CHANNEL
    return Track(onsets, rows[:, 1] - onsets, rows[:, 2], rows[:, 3], track.program, track.channel, is_drum, track.name)


def _tempos(tune: Tune, voices: list[PlayedVoice]) -> tuple[TempoChange, ...]:
    at = {0: tune.tempo.qpm} if tune.tempo is not None and tune.tempo.qpm else {}
    for played in voices:
        for onset, value in played.changes:
            if isinstance(value, Tempo):
                at[ticks(onset)] = value.qpm
    return tuple(TempoChange(tick, at[tick]) for tick in sorted(at))


def _meters(tune: Tune, voices: list[PlayedVoice]) -> tuple[MeterChange, ...]:
    at = {0: tune.meter} if tune.has_meter else {}
    for played in voices[:1]:
        at.update((ticks(onset), value) for onset, value in played.changes if isinstance(value, Meter))
    return tuple(
        MeterChange(tick, at[tick].numerator, at[tick].denominator)
        for tick in sorted(at)
        if at[tick].length is not None
    )


def _keys(tune: Tune, voices: list[PlayedVoice]) -> tuple[KeyChange, ...]:
    at = {0: tune.key} if tune.has_key else {}
    for played in voices[:1]:
        at.update((ticks(onset), value) for onset, value in played.changes if isinstance(value, Key))
    return tuple(KeyChange(tick, at[tick].sharps, at[tick].minor, _home(at[tick])) for tick in sorted(at))


def _home(key: Key) -> int | None:
    """Return the tonic's pitch class where signature and third do not tell it."""
    tonic = fifths_of(key.tonic) * 7 % 12
    return None if tonic == tonic_pitch_class(key.sharps, key.minor) else tonic
