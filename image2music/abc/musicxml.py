"""ABC to MusicXML 4.0 (score-partwise).

Parts, keys, meters, tempi, sections, repeats, endings; chords, ties, grace notes, beams, tuplets; drums; and what
`abc.marks` knows: dynamics, swells, slurs, articulation, pedal, chord symbols. Lyrics and other text are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from math import lcm
from xml.etree.ElementTree import Element, SubElement, tostring

from image2music.abc.ast import Bar, BarLine, Event, PartMark, StateChange, Tune, Voice
from image2music.abc.lexer import GraceNote, Head
from image2music.abc.marks import OpenSigns, note_marks
from image2music.abc.parser import parse
from image2music.abc.reading_order import PitchReader, marks_by_element
from image2music.errors import AbcError
from image2music.music.rhythm import WrittenValue, beams, beats_of_meter, note_value, tuplet_brackets, written_pieces
from image2music.music.theory import (
    DRUM_CHANNEL,
    DRUM_NAMES,
    LETTERS,
    LOWEST_DRUM,
    NATURALS,
    Key,
    Length,
    Meter,
    Tempo,
    as_fraction,
    of_whole,
)

_ACCIDENTALS = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}

_BASS_BELOW = 57
"""Voices whose mean pitch is lower stand in the bass clef: ABC's clef= is not kept by the parser."""

_DRUM_PLACES = {
    35: ("F", 4, False), 36: ("F", 4, False), 37: ("C", 5, True), 38: ("C", 5, False), 39: ("C", 5, True),
    40: ("C", 5, False), 41: ("G", 4, False), 42: ("G", 5, True), 43: ("A", 4, False), 44: ("D", 4, True),
    45: ("B", 4, False), 46: ("G", 5, True), 47: ("B", 4, False), 48: ("D", 5, False), 49: ("A", 5, True),
    50: ("E", 5, False), 51: ("F", 5, True), 52: ("B", 5, True), 53: ("F", 5, True), 55: ("B", 5, True),
    57: ("A", 5, True), 59: ("F", 5, True),
}  # fmt: skip
"""Where a General MIDI drum stands on the staff, and whether its head is a cross (N. Weinberg, 1998)."""
_OTHER_DRUM = ("E", 5, True)

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
    numbered = enumerate(voices, start=1)
    for name, group in groupby(numbered, key=lambda pair: pair[1].settings.name or pair[1].id):
        members = list(group)
        if len(members) > 1:
            _brace(parts, "start")
        for number, voice in members:
            part = _Part(_add(score, "part", id=f"P{number}"), tune, voice, is_first=number == 1)
            part.write()
            part.declare(parts, name)
        if len(members) > 1:
            _brace(parts, "stop")
    return _HEAD + tostring(score, encoding="unicode").encode("utf-8")


def _brace(parts: Element, kind: str) -> None:
    """Begin or end what one player plays on several staves: neighbouring voices of one name."""
    group = _add(parts, "part-group", number="1", type=kind)
    if kind == "start":
        _add(group, "group-symbol", "brace")
        _add(group, "group-barline", "yes")


@dataclass(frozen=True)
class _Piece:
    """One of the notes that write an event: its length, and how it stands in the bar; ends of the event are told."""

    sign: WrittenValue
    beams: tuple[str, ...]
    begins_tuplet: bool
    ends_tuplet: bool
    is_first: bool
    is_last: bool


class _Part:
    """One voice, written bar by bar."""

    def __init__(self, part: Element, tune: Tune, voice: Voice, *, is_first: bool) -> None:
        self.part, self.tune, self.voice, self.is_first = part, tune, voice, is_first
        self.reader = PitchReader(tune, voice)
        self.events = [element for element in voice.elements if isinstance(element, Event)]
        marks = marks_by_element(voice)
        self.marks = {id(element): marks.get(at, []) for at, element in enumerate(voice.elements)}
        pieces = {piece for event in self.events for piece in written_pieces(as_fraction(event.duration))}
        self.divisions = lcm(*((4 * piece).denominator for piece in pieces)) if pieces else 1
        self.tied: dict[int, set[int]] = {}
        self.open_signs = OpenSigns()
        self.ending: tuple[int, ...] = ()
        self.unmarked = _unmarked_repeats(voice.bars)
        self.program, self.channel = self.first_sound()
        self.is_drums = self.channel == DRUM_CHANNEL
        self.drums: set[int] = set()

    def first_sound(self) -> tuple[int, int | None]:
        """Return program and channel at the first note."""
        reader = PitchReader(self.tune, self.voice)
        for element in self.voice.elements:
            if isinstance(element, StateChange):
                reader.change(element)
            elif isinstance(element, Event) and element.heads:
                break
        return reader.program, reader.channel

    def declare(self, parts: Element, name: str) -> None:
        """Add the part to the list of parts, with one instrument, or one for each drum that it plays."""
        part_id = self.part.get("id", "")
        part = _add(parts, "score-part", id=part_id)
        _add(part, "part-name", name)
        played = [
            (f"{part_id}-I{drum + 1}", DRUM_NAMES[drum - LOWEST_DRUM], drum)
            if 0 <= drum - LOWEST_DRUM < len(DRUM_NAMES)
            else (f"{part_id}-I{drum + 1}", f"drum {drum}", drum)
            for drum in sorted(self.drums)
        ]
        instruments: list[tuple[str, str, int | None]] = [*played] or [(f"{part_id}-I1", name, None)]
        for instrument_id, instrument_name, _ in instruments:
            _add(_add(part, "score-instrument", id=instrument_id), "instrument-name", instrument_name)
        for instrument_id, _, drum in instruments:
            instrument = _add(part, "midi-instrument", id=instrument_id)
            if self.channel is not None:
                _add(instrument, "midi-channel", self.channel + 1)
            _add(instrument, "midi-program", self.program + 1)
            if drum is not None:
                _add(instrument, "midi-unpitched", drum + 1)

    def write(self) -> None:
        """Add all measures to the part."""
        before: Length = 0
        for bar, elements in self.by_bar():
            missing = (bar.expected - bar.length) if bar.expected is not None and bar.count == 1 else 0
            is_pickup = bar is self.voice.bars[0] and missing > 0
            goes_on = missing > 0 and before > 0 and before == missing
            shift = missing if is_pickup or goes_on else 0
            before = bar.length if missing > 0 and not goes_on else 0
            measure = _add(self.part, "measure", number=str(bar.number))
            if shift:
                measure.set("implicit", "yes")
            if bar is self.voice.bars[0]:
                self.begin(measure, bar)
            self.open(measure, bar)
            for _ in range(bar.count - 1):
                self.whole_rest(measure, bar)
                measure = _add(self.part, "measure", number=str(len(self.part) + 1))
            self.fill(measure, bar, elements, shift)
            if bar is self.voice.bars[-1]:
                measure.extend(self.open_signs.at_the_end())
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
        _key(attributes, self.tune.key, is_shown=not self.is_drums)
        _time(attributes, bar.meter)
        pitches = [12 * head.octave + 12 + NATURALS[head.step] for event in self.events for head in event.heads]
        sign, line = ("F", 4) if pitches and sum(pitches) / len(pitches) < _BASS_BELOW else ("G", 2)
        clef = _add(attributes, "clef")
        _add(clef, "sign", "percussion" if self.is_drums else sign)
        _add(clef, "line", 3 if self.is_drums else line)
        if self.reader.transpose:
            _add(_add(attributes, "transpose"), "chromatic", self.reader.transpose)
        if self.is_first and self.tune.tempo is not None:
            _tempo(measure, self.tune.tempo, bar.meter)

    def fill(self, measure: Element, bar: Bar, elements: list[Event | BarLine | StateChange], shift: Length) -> None:
        """Notes, rests and changes. Further `&` layers begin again at the start of the bar."""
        layer, at = 0, bar.onset
        meter = next(
            (e.value for e in elements if isinstance(e, StateChange) and isinstance(e.value, Meter)), bar.meter
        )
        pieces: dict[int, list[_Piece]] = {}
        events = [element for element in elements if isinstance(element, Event)]
        for _, members in groupby(events, key=lambda event: event.layer):
            pieces |= _pieces(list(members), bar, meter, shift)
        for element in elements:
            if isinstance(element, BarLine):
                self.reader.bar_line()
            elif isinstance(element, StateChange):
                self.change(measure, element, meter)
            elif bar.count > 1:
                self.whole_rest(measure, bar)
            else:
                if element.layer != layer:
                    _add(_add(measure, "backup"), "duration", self.units(as_fraction(at - bar.onset)))
                    layer = element.layer
                self.event(measure, element, pieces[id(element)], bar)
                at = element.onset + element.duration

    def change(self, measure: Element, change: StateChange, meter: Meter) -> None:
        """A new key, meter, tempo, transposition or section."""
        transpose = self.reader.transpose
        self.reader.change(change)
        if self.reader.transpose != transpose:
            _add(_add(_add(measure, "attributes"), "transpose"), "chromatic", self.reader.transpose)
        if isinstance(change.value, Key):
            _key(_add(measure, "attributes"), change.value, is_shown=not self.is_drums)
        elif isinstance(change.value, Meter):
            _time(_add(measure, "attributes"), change.value)
        elif isinstance(change.value, Tempo) and self.is_first:
            _tempo(measure, change.value, meter)
        elif isinstance(change.value, PartMark) and self.is_first:
            direction = _add(_add(measure, "direction", placement="above"), "direction-type")
            _add(direction, "rehearsal", change.value.name)

    def event(self, measure: Element, event: Event, pieces: Sequence[_Piece], bar: Bar) -> None:
        """A note, chord or rest, with the marks and grace notes before it."""
        names = self.marks[id(event)]
        measure.extend(self.open_signs.directions(names))
        if not event.heads:
            self.tied.pop(event.layer, None)
            if event.duration == bar.meter.length and event.onset == bar.onset:
                self.whole_rest(measure, bar, event.layer + 1)
                return
            for piece in pieces:
                note = _add(measure, "note")
                _add(note, "rest")
                self.length(note, event, piece, names)
            return
        pitches, grace = self.reader.played_pitches(event) if self.is_drums else self.reader.pitches(event)
        self.grace(measure, event.grace, iter(grace), event.layer)
        before = self.tied.get(event.layer, set())
        after = {pitch for index, pitch in enumerate(pitches) if event.ties >> index & 1}
        for piece in pieces:
            for index, (head, pitch) in enumerate(zip(event.heads, pitches, strict=True)):
                note = _add(measure, "note")
                if index:
                    _add(note, "chord")
                self.pitch(note, head, pitch)
                ties = ["stop"] if not piece.is_first or pitch in before else []
                if not piece.is_last or pitch in after:
                    ties.append("start")
                self.length(note, event, piece, () if index else names, ties, head.accidental, pitch)
        self.tied[event.layer] = after

    def grace(self, measure: Element, graces: tuple[GraceNote, ...], pitches: Iterator[int], layer: int) -> None:
        """Small notes without a length of their own, under one beam where they are several."""
        for nth, grace in enumerate(graces):
            for index, head in enumerate(grace.heads):
                note = _add(measure, "note")
                _add(note, "grace")
                if index:
                    _add(note, "chord")
                self.pitch(note, head, pitch := next(pitches))
                self.instrument(note, pitch)
                _add(note, "voice", layer + 1)
                _add(note, "type", "eighth")
                if not self.is_drums and head.accidental in _ACCIDENTALS:
                    _add(note, "accidental", _ACCIDENTALS[head.accidental])
                if len(graces) > 1 and not index:
                    _add(note, "beam", _run_word(nth, len(graces)), number="1")

    def pitch(self, note: Element, head: Head, pitch: int) -> None:
        """The written pitch: what sounds, less the transposition; of a drum its place on the staff."""
        if self.is_drums:
            step, octave = _DRUM_PLACES.get(pitch, _OTHER_DRUM)[:2]
            unpitched = _add(note, "unpitched")
            _add(unpitched, "display-step", step)
            _add(unpitched, "display-octave", octave)
            self.drums.add(pitch)
            return
        element = _add(note, "pitch")
        _add(element, "step", LETTERS[head.step])
        alter = pitch - self.reader.transpose - (12 * head.octave + 12 + NATURALS[head.step])
        if alter:
            _add(element, "alter", alter)
        _add(element, "octave", head.octave)

    def instrument(self, note: Element, pitch: int | None) -> None:
        """Which drum it is."""
        if self.is_drums and pitch is not None:
            _add(note, "instrument", id=f"{self.part.get('id')}-I{pitch + 1}")

    def length(
        self,
        note: Element,
        event: Event,
        piece: _Piece,
        names: Sequence[str],
        ties: Sequence[str] = (),
        accidental: int | None = None,
        pitch: int | None = None,
    ) -> None:
        """Duration, ties, voice, type, dots, accidental, tuplet, beams and marks, in the order of the format."""
        _add(note, "duration", self.units(piece.sign.length))
        for tie in ties:
            _add(note, "tie", type=tie)
        self.instrument(note, pitch)
        _add(note, "voice", event.layer + 1)
        value = piece.sign.value
        if value is not None:
            _add(note, "type", value.name)
            for _ in range(value.dots):
                _add(note, "dot")
        if accidental in _ACCIDENTALS and piece.is_first and not self.is_drums:
            _add(note, "accidental", _ACCIDENTALS[accidental])
        if value is not None and value.actual > 1:
            tuplet = _add(note, "time-modification")
            _add(tuplet, "actual-notes", value.actual)
            _add(tuplet, "normal-notes", value.normal)
        if pitch is not None and self.is_drums and _DRUM_PLACES.get(pitch, _OTHER_DRUM)[2]:
            _add(note, "notehead", "x")
        is_head = note.find("chord") is None
        if is_head:
            for level, word in enumerate(piece.beams, start=1):
                _add(note, "beam", word, number=str(level))
        marks = [Element("tied", type=tie) for tie in ties]
        if is_head:
            ends = {"is_first": piece.is_first, "is_last": piece.is_last}
            marks += self.open_signs.slur_elements(names, **ends) if event.heads else []
            marks += [Element("tuplet", type="start")] if piece.begins_tuplet else []
            marks += [Element("tuplet", type="stop")] if piece.ends_tuplet else []
            marks += note_marks(names, **ends) if event.heads else []
        if marks:
            _add(note, "notations").extend(marks)

    def whole_rest(self, measure: Element, bar: Bar, voice: int = 1) -> None:
        """A silent bar."""
        note = _add(measure, "note")
        _add(note, "rest", measure="yes")
        _add(note, "duration", self.units(as_fraction(bar.meter.length or bar.length)))
        _add(note, "voice", voice)

    def open(self, measure: Element, bar: Bar) -> None:
        """The sign of a repeat or of an ending before a bar."""
        line = bar.opening
        opens = bar.number in self.unmarked or (line is not None and line.opens_repeat)
        if not opens and (line is None or not line.ending):
            return
        sign = _add(measure, "barline", location="left")
        if line is not None and line.ending:
            self.ending = line.ending
            _add(sign, "ending", number=",".join(map(str, line.ending)), type="start")
        if opens:
            _add(sign, "repeat", direction="forward")

    def close(self, measure: Element, line: BarLine | None) -> None:
        """The sign of a repeat, of the end of an ending or of a section behind a bar."""
        if line is None or not (line.repeats or (line.is_section and not line.ending)):
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

    def units(self, length: Fraction) -> int:
        """Return a part of a whole note in the part's divisions of a quarter."""
        return round(4 * length * self.divisions)


def _unmarked_repeats(bars: Sequence[Bar]) -> frozenset[int]:
    """Return the numbers of bars to which a `:|` goes back without a `|:` before them (ABC 2.1, 4.8).

    Programs that read MusicXML do not agree where that is: the sign is written for them. The first bar needs none.
    """
    found = set()
    start, is_marked, in_ending = bars[0].number if bars else 1, True, False
    for bar in bars:
        opening, closing = bar.opening, bar.closing
        if opening is not None and opening.opens_repeat:
            start, is_marked = bar.number, True
        in_ending = in_ending or (opening is not None and bool(opening.ending))
        if closing is None:
            continue
        if closing.repeats and not is_marked:
            found.add(start)
        if not closing.ending and (closing.repeats or (in_ending and closing.is_section)):
            start, is_marked, in_ending = bar.number + bar.count, False, False
    return frozenset(found)


def _pieces(events: Sequence[Event], bar: Bar, meter: Meter, shift: Length) -> dict[int, list[_Piece]]:
    """Return how each event of a layer is written, by its identity: pieces that are tied, with beams and brackets."""
    beat = beats_of_meter(meter)[0]
    owners, signs = [], []
    for event in events:
        onset = as_fraction(event.onset - bar.onset + shift)
        for length in written_pieces(as_fraction(event.duration), long_first=(onset / beat).denominator == 1):
            value = note_value(of_whole(length.numerator, length.denominator))
            signs.append(WrittenValue(onset, length, value, is_rest=not event.heads))
            owners.append(id(event))
            onset += length
    written: dict[int, list[_Piece]] = {}
    for owner, sign, beamed, (begins, ends) in zip(
        owners, signs, beams(signs, meter), tuplet_brackets(signs), strict=True
    ):
        mine = written.setdefault(owner, [])
        if mine:
            mine[-1] = replace(mine[-1], is_last=False)
        mine.append(_Piece(sign, beamed, begins, ends, is_first=not mine, is_last=True))
    return written


def _run_word(nth: int, of: int) -> str:
    return "begin" if nth == 0 else "end" if nth == of - 1 else "continue"


def _key(attributes: Element, key: Key, *, is_shown: bool) -> None:
    element = _add(attributes, "key")
    if not is_shown:
        element.set("print-object", "no")
    _add(element, "fifths", key.sharps)
    _add(element, "mode", "minor" if key.minor else "major")


def _time(attributes: Element, meter: Meter) -> None:
    if meter.length is None:
        _add(_add(attributes, "time"), "senza-misura")
        return
    element = _add(attributes, "time")
    _add(element, "beats", meter.numerator)
    _add(element, "beat-type", meter.denominator)


def _tempo(measure: Element, tempo: Tempo, meter: Meter) -> None:
    """The words and the number of a tempo, counted in dotted quarters in 6/8 and its like."""
    direction = _add(measure, "direction", placement="above")
    if tempo.words:
        _add(_add(direction, "direction-type"), "words", tempo.words)
    if not tempo.qpm:
        return
    metronome = _add(_add(direction, "direction-type"), "metronome")
    _add(metronome, "beat-unit", "quarter")
    is_dotted = meter.is_compound and meter.denominator == 8
    if is_dotted:
        _add(metronome, "beat-unit-dot")
    _add(metronome, "per-minute", f"{round(tempo.qpm / 1.5 if is_dotted else tempo.qpm, 1):g}")
    _add(direction, "sound", tempo=f"{tempo.qpm:g}")


def _add(parent: Element, tag: str, text: str | int | None = None, **attributes: str) -> Element:
    element = SubElement(parent, tag, attributes)
    if text is not None:
        element.text = str(text)
    return element
