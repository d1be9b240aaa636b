"""ABC to MusicXML 4.0 (score-partwise): parts, keys, meters, tempi, repeats, endings, chords, ties, grace notes.

Slurs, lyrics, chord symbols and decorations of the ABC are left out; beams are left to the reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from image2music.abc.ast import Bar, BarLine, Event, StateChange, Tune, Voice
from image2music.abc.lexer import GraceNote, Head
from image2music.abc.parser import parse
from image2music.abc.reading_order import PitchReader
from image2music.errors import AbcError
from image2music.music.theory import LETTERS, NATURALS, Key, Length, Meter, Tempo, as_fraction, as_quarters

_NAMES = {
    Fraction(2): "breve",
    Fraction(1): "whole",
    Fraction(1, 2): "half",
    Fraction(1, 4): "quarter",
    Fraction(1, 8): "eighth",
    Fraction(1, 16): "16th",
    Fraction(1, 32): "32nd",
    Fraction(1, 64): "64th",
    Fraction(1, 128): "128th",
}
_TUPLETS = ((1, 1), (3, 2), (5, 4), (7, 4), (9, 8), (11, 8), (13, 8))


class NoteValue(NamedTuple):
    """`name` as MusicXML has it; `actual` notes in the time of `normal`, 1 and 1 outside tuplets."""

    name: str
    dots: int
    actual: int
    normal: int


@lru_cache(maxsize=1024)
def note_value(length: Length) -> NoteValue | None:
    """Return the plainest value of a length; None where no single note lasts so long, such as 5/8."""
    whole = as_fraction(length)
    for actual, normal in _TUPLETS:
        for dots in range(3):
            name = _NAMES.get(whole * actual / normal / (2 - Fraction(1, 2**dots)))
            if name is not None:
                return NoteValue(name, dots, actual, normal)
    return None


_ACCIDENTALS = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}

_BASS_BELOW = 57
"""Voices whose mean pitch is lower stand in the bass clef: ABC's clef= is not kept by the parser."""

_HEAD = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE score-partwise PUBLIC '
    b'"-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">\n'
)


def abc_to_music_xml(abc: str) -> bytes:
    """Return the first tune of an ABC text as MusicXML, UTF-8. Repeats are written, not played out.

    Raises:
        AbcError: the text holds no tune with music (`no_music`).
    """
    tune = next((tune for tune in parse(abc).tunes if tune.has_music), None)
    if tune is None:
        raise AbcError("there is no music to write as MusicXML", reason="no_music")
    score = Element("score-partwise", version="4.0")
    _add(_add(score, "work"), "work-title", tune.title)
    parts = _add(score, "part-list")
    voices = [voice for voice in tune.voices.values() if voice.bars]
    for number, voice in enumerate(voices, start=1):
        _declare(parts, f"P{number}", voice, PitchReader(tune, voice))
        _Part(_add(score, "part", id=f"P{number}"), tune, voice, is_first=number == 1).write()
    return _HEAD + tostring(score, encoding="utf-8")


def _declare(parts: Element, part_id: str, voice: Voice, reader: PitchReader) -> None:
    part = _add(parts, "score-part", id=part_id)
    _add(part, "part-name", voice.settings.name or voice.id)
    _add(_add(part, "score-instrument", id=f"{part_id}-I1"), "instrument-name", voice.settings.name or voice.id)
    instrument = _add(part, "midi-instrument", id=f"{part_id}-I1")
    if reader.channel is not None:
        _add(instrument, "midi-channel", reader.channel + 1)
    _add(instrument, "midi-program", reader.program + 1)


class _Part:
    """One voice, written bar by bar."""

    def __init__(self, part: Element, tune: Tune, voice: Voice, *, is_first: bool) -> None:
        self.part, self.tune, self.voice, self.is_first = part, tune, voice, is_first
        self.reader = PitchReader(tune, voice)
        self.events = [element for element in voice.elements if isinstance(element, Event)]
        self.divisions = lcm(*(as_quarters(event.duration).denominator for event in self.events)) if self.events else 1
        self.tied: dict[int, set[int]] = {}
        self.ending: tuple[int, ...] = ()

    def write(self) -> None:
        """Add all measures to the part."""
        for bar, elements in self.by_bar():
            measure = _add(self.part, "measure", number=str(bar.number))
            if bar is self.voice.bars[0]:
                self.begin(measure, bar)
            self.open(measure, bar.opening)
            for _ in range(bar.count - 1):
                self.whole_rest(measure, bar)
                measure = _add(self.part, "measure", number=str(len(self.part) + 1))
            self.fill(measure, bar, elements)
            self.close(measure, bar.closing)

    def by_bar(self) -> Iterator[tuple[Bar, list[Event | BarLine | StateChange]]]:
        """Return every bar with the elements that stand in it or, for changes, before it."""
        waiting = iter(self.voice.elements)
        element = next(waiting, None)
        for bar in self.voice.bars:
            own = []
            while element is not None and (element.start < bar.end or bar is self.voice.bars[-1]):
                own.append(element)
                element = next(waiting, None)
            yield bar, own

    def begin(self, measure: Element, bar: Bar) -> None:
        """Divisions, key, meter, clef and tempo at the beginning of the part."""
        attributes = _add(measure, "attributes")
        _add(attributes, "divisions", self.divisions)
        _key(attributes, self.tune.key)
        _time(attributes, bar.meter)
        pitches = [12 * head.octave + 12 + NATURALS[head.step] for event in self.events for head in event.heads]
        sign, line = ("F", 4) if pitches and sum(pitches) / len(pitches) < _BASS_BELOW else ("G", 2)
        clef = _add(attributes, "clef")
        _add(clef, "sign", sign)
        _add(clef, "line", line)
        if self.reader.transpose:
            _add(_add(attributes, "transpose"), "chromatic", self.reader.transpose)
        if self.is_first and self.tune.tempo is not None:
            _tempo(measure, self.tune.tempo)

    def fill(self, measure: Element, bar: Bar, elements: list[Event | BarLine | StateChange]) -> None:
        """Notes, rests and changes. Further `&` layers begin again at the start of the bar."""
        layer, at = 0, bar.onset
        for element in elements:
            if isinstance(element, BarLine):
                self.reader.bar_line()
            elif isinstance(element, StateChange):
                self.change(measure, element)
            elif bar.count > 1:
                self.whole_rest(measure, bar)
            else:
                if element.layer != layer:
                    _add(_add(measure, "backup"), "duration", self.units(at - bar.onset))
                    layer = element.layer
                self.event(measure, element)
                at = element.onset + element.duration

    def change(self, measure: Element, change: StateChange) -> None:
        """A new key, meter, tempo or transposition."""
        transpose = self.reader.transpose
        self.reader.change(change)
        if self.reader.transpose != transpose:
            _add(_add(_add(measure, "attributes"), "transpose"), "chromatic", self.reader.transpose)
        if isinstance(change.value, Key):
            _key(_add(measure, "attributes"), change.value)
        elif isinstance(change.value, Meter):
            _time(_add(measure, "attributes"), change.value)
        elif isinstance(change.value, Tempo) and self.is_first:
            _tempo(measure, change.value)

    def event(self, measure: Element, event: Event) -> None:
        """A note, chord or rest, with the grace notes before it."""
        if not event.heads:
            self.tied.pop(event.layer, None)
            note = _add(measure, "note")
            _add(note, "rest")
            self.length(note, event)
            return
        pitches, grace = self.reader.pitches(event)
        self.grace(measure, event.grace, iter(grace), event.layer)
        before, after = self.tied.get(event.layer, set()), set()
        for index, (head, pitch) in enumerate(zip(event.heads, pitches, strict=True)):
            note = _add(measure, "note")
            if index:
                _add(note, "chord")
            self.pitch(note, head, pitch)
            ties = ["stop"] if pitch in before else []
            if event.ties >> index & 1:
                ties.append("start")
                after.add(pitch)
            self.length(note, event, ties, head.accidental)
        self.tied[event.layer] = after

    def grace(self, measure: Element, graces: tuple[GraceNote, ...], pitches: Iterator[int], layer: int) -> None:
        """Small notes without a length of their own."""
        for grace in graces:
            for index, head in enumerate(grace.heads):
                note = _add(measure, "note")
                _add(note, "grace")
                if index:
                    _add(note, "chord")
                self.pitch(note, head, next(pitches))
                _add(note, "voice", layer + 1)
                _add(note, "type", "eighth")

    def pitch(self, note: Element, head: Head, pitch: int) -> None:
        """The written pitch: what sounds, less the transposition."""
        element = _add(note, "pitch")
        _add(element, "step", LETTERS[head.step])
        alter = pitch - self.reader.transpose - (12 * head.octave + 12 + NATURALS[head.step])
        if alter:
            _add(element, "alter", alter)
        _add(element, "octave", head.octave)

    def length(self, note: Element, event: Event, ties: list[str] | None = None, accidental: int | None = None) -> None:
        """Duration, ties, voice, type, dots, accidental and tuplet, in the order that the format asks for."""
        _add(note, "duration", self.units(event.duration))
        for tie in ties or ():
            _add(note, "tie", type=tie)
        _add(note, "voice", event.layer + 1)
        value = note_value(event.duration)
        if value is not None:
            _add(note, "type", value.name)
            for _ in range(value.dots):
                _add(note, "dot")
        if accidental in _ACCIDENTALS:
            _add(note, "accidental", _ACCIDENTALS[accidental])
        if value is not None and value.actual > 1:
            tuplet = _add(note, "time-modification")
            _add(tuplet, "actual-notes", value.actual)
            _add(tuplet, "normal-notes", value.normal)
        if ties:
            notations = _add(note, "notations")
            for tie in ties:
                _add(notations, "tied", type=tie)

    def whole_rest(self, measure: Element, bar: Bar) -> None:
        """One silent bar of several that one sign stands for."""
        note = _add(measure, "note")
        _add(note, "rest", measure="yes")
        _add(note, "duration", self.units(bar.meter.length or bar.length))
        _add(note, "voice", 1)

    def open(self, measure: Element, line: BarLine | None) -> None:
        """The sign of a repeat or of an ending before a bar."""
        if line is None or not (line.opens_repeat or line.ending):
            return
        sign = _add(measure, "barline", location="left")
        if line.ending:
            self.ending = line.ending
            _add(sign, "ending", number=",".join(map(str, line.ending)), type="start")
        if line.opens_repeat:
            _add(sign, "repeat", direction="forward")

    def close(self, measure: Element, line: BarLine | None) -> None:
        """The sign of a repeat, of the end of an ending or of a section behind a bar."""
        if line is None or not (line.repeats or line.is_section):
            return
        sign = _add(measure, "barline", location="right")
        _add(sign, "bar-style", "light-heavy" if line.repeats or line is self.voice.bars[-1].closing else "light-light")
        if self.ending:
            _add(sign, "ending", number=",".join(map(str, self.ending)), type="stop")
            self.ending = ()
        if line.repeats == 1:
            _add(sign, "repeat", direction="backward")
        elif line.repeats:
            _add(sign, "repeat", direction="backward", times=str(line.repeats + 1))

    def units(self, length: Length) -> int:
        """Return a length in the part's divisions of a quarter note."""
        return round(as_quarters(length) * self.divisions)


def _key(attributes: Element, key: Key) -> None:
    element = _add(attributes, "key")
    _add(element, "fifths", key.sharps)
    _add(element, "mode", "minor" if key.minor else "major")


def _time(attributes: Element, meter: Meter) -> None:
    if meter.length is None:
        _add(_add(attributes, "time"), "senza-misura")
        return
    element = _add(attributes, "time")
    _add(element, "beats", meter.numerator)
    _add(element, "beat-type", meter.denominator)


def _tempo(measure: Element, tempo: Tempo) -> None:
    direction = _add(measure, "direction", placement="above")
    metronome = _add(_add(direction, "direction-type"), "metronome")
    _add(metronome, "beat-unit", "quarter")
    _add(metronome, "per-minute", f"{tempo.qpm:g}")
    _add(direction, "sound", tempo=f"{tempo.qpm:g}")


def _add(parent: Element, tag: str, text: str | int | None = None, **attributes: str) -> Element:
    element = SubElement(parent, tag, attributes)
    if text is not None:
        element.text = str(text)
    return element
