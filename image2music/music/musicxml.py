"""Read MusicXML (`.xml`, `.musicxml`, compressed `.mxl`) into a `Score`, by the standard library's ElementTree.

What is read: parts, staves and voices, chords, ties, tuplets, transposing instruments, meters, keys, tempos (numbers,
metronome marks, a few words), dynamics and wedges as velocities, unpitched notes as drums. What is not: grace and cue
notes, ornaments, articulation, lyrics, chord symbols. Repeats and endings are taken once, in the order of the page.
Source: MusicXML 4.0, https://www.w3.org/2021/06/musicxml40/.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from math import lcm
from typing import Literal
from xml.etree.ElementTree import Element, ParseError, fromstring

import numpy as np
from numpy.typing import NDArray

from image2music.errors import NotationError
from image2music.music.midi import pitched_channel
from image2music.music.score import IntArray, KeyChange, MeterChange, Score, TempoChange, Track
from image2music.music.theory import DRUM_CHANNEL, NATURALS, TICKS_PER_QUARTER

MAX_BYTES = 32_000_000
"""The largest text that is read, unpacked."""
MAX_NOTES = 300_000
MAX_QUARTERS = 50_000

_FINEST = 64 * TICKS_PER_QUARTER
_STEPS = dict(zip("CDEFGAB", NATURALS, strict=True))
_QUARTERS = {"whole": 4.0, "half": 2.0, "quarter": 1.0, "eighth": 0.5, "16th": 0.25, "32nd": 0.125}
_VELOCITIES = {
    "pppp": 20, "ppp": 30, "pp": 45, "p": 60, "mp": 75, "mf": 90, "f": 105, "ff": 115, "fff": 122, "ffff": 127,
}  # fmt: skip
_PLAIN = _VELOCITIES["mf"]
_SWELL = 15
"""How much a wedge changes the velocity where no mark says so."""
_NAMED_TEMPOS = {
    "grave": 44, "largo": 50, "larghetto": 62, "lento": 54, "adagio": 66, "adagietto": 72, "langsam": 60,
    "sehr langsam": 50, "andante": 80, "andantino": 88, "moderato": 104, "mäßig": 96, "allegretto": 112,
    "allegro": 132, "lebhaft": 132, "schnell": 144, "vivace": 152, "presto": 176, "prestissimo": 200,
}  # fmt: skip
_DRUM = 38

Ticks = int | Fraction
_Place = tuple[int, Ticks]
"""A measure, from 0, and the ticks since it began."""


@dataclass(slots=True)
class _Note:
    """A written note. `lane` is the staff and the voice; `pitch` 0-127 sounds, `tie` holds start and stop."""

    place: _Place
    length: Ticks
    pitch: int
    lane: tuple[int, str]
    is_drum: bool
    starts_tie: bool
    ends_tie: bool


@dataclass(slots=True)
class _ReadPart:
    name: str
    program: int = 0
    drums: dict[str, int] = field(default_factory=dict)
    is_drum: bool = False
    notes: list[_Note] = field(default_factory=list)
    lengths: list[Ticks] = field(default_factory=list)
    times: list[tuple[int, int] | None] = field(default_factory=list)
    keys: list[tuple[_Place, int, bool]] = field(default_factory=list)
    tempos: list[tuple[_Place, float]] = field(default_factory=list)
    marks: list[tuple[_Place, int]] = field(default_factory=list)
    wedges: list[tuple[_Place, str]] = field(default_factory=list)
    last_lane: tuple[int, str] = (1, "1")


def read_musicxml(data: bytes, *, by: Literal["voice", "staff"] = "voice") -> Score:
    """Read a MusicXML file, plain or compressed; which of the two is seen from its first bytes.

    Tracks are the voices of the staves of the parts, in the order of the page, or whole staves (`by="staff"`); a part
    without notes is one empty track. The first short bar (a pick-up) and other bars that are not as long as their
    meter are told by naming the meter again where the bar lines go on: `MeterChange(0, 4, 4), MeterChange(480, 4, 4)`
    is a pick-up of a quarter; `music.grid.bars_of` reads it so. Ticks divide every written duration, up to 30,720 a
    quarter. Keys are those that sound.

    Raises:
        NotationError: reason `bad_musicxml`: neither MusicXML nor a zip file with it, an entity declared in the
            file, too large, numbers that make no sense, or no note in it.
    """
    try:
        return _read_score(_root(data), by)
    except NotationError:
        raise
    except (ParseError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _refused(f"the file cannot be read as MusicXML: {error}") from error
    except (KeyError, ValueError, OverflowError, LookupError, ZeroDivisionError) as error:
        raise _refused(f"the MusicXML holds a value that makes no sense: {error!r}") from error


def _refused(message: str) -> NotationError:
    return NotationError(message, reason="bad_musicxml")


def _root(data: bytes) -> Element:
    text = _unpacked(data) if data[:2] == b"PK" else data
    if len(text) > MAX_BYTES:
        raise _refused(f"more than {MAX_BYTES} bytes of MusicXML: split the piece")
    # An entity may stand for itself ten times over, or for a file; no notation program declares any.
    if any("<!ENTITY".encode(encoding) in text for encoding in ("ascii", "utf-16-le", "utf-16-be")):
        raise _refused("the file declares entities: remove its DOCTYPE")
    root = fromstring(text)
    if root.tag != "score-partwise":
        raise _refused(f"<{root.tag[:40]}> is no <score-partwise>: export the piece as partwise MusicXML")
    return root


def _unpacked(data: bytes) -> bytes:
    """Return the score inside an `.mxl` file: what its container names first, else the first file that is XML."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        names = archive.namelist()
        wanted = [name for name in names if name.endswith((".xml", ".musicxml")) and not name.startswith("META-INF/")]
        if "META-INF/container.xml" in names:
            container = _member(archive, "META-INF/container.xml", 100_000)
            if b"<!ENTITY" in container:
                raise _refused("the container declares entities: remove its DOCTYPE")
            roots = [file.get("full-path", "") for file in fromstring(container).iter("rootfile")]
            wanted = [name for name in roots if name in names] + wanted
        if not wanted:
            raise _refused("the zip file holds no MusicXML")
        return _member(archive, wanted[0], MAX_BYTES)


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    with archive.open(name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise _refused(f"{name[:60]} unpacks to more than {most} bytes")
    return content


def _read_score(root: Element, by: Literal["voice", "staff"]) -> Score:
    resolution = TICKS_PER_QUARTER
    for divisions in root.iter("divisions"):
        value = _number(divisions.text)
        if value <= 0:
            raise _refused("divisions of a quarter note are positive")
        if lcm(resolution, value.numerator) <= _FINEST:
            resolution = lcm(resolution, value.numerator)
    declared = {part.get("id", ""): part for part in root.iterfind("part-list/score-part")}
    parts = [_PartReader(part, declared.get(part.get("id", "")), resolution).read() for part in root.iterfind("part")]
    n_measures = max((len(part.lengths) for part in parts), default=0)
    starts, meters = _measures(parts, n_measures, resolution)
    if starts[-1] > MAX_QUARTERS * resolution:
        raise _refused(f"more than {MAX_QUARTERS} quarter notes: split the piece")
    if not any(part.notes for part in parts):
        raise _refused("there is no note in the score")
    if sum(len(part.notes) for part in parts) > MAX_NOTES:
        raise _refused(f"more than {MAX_NOTES} notes: split the piece")

    def tick(place: _Place) -> int:
        return round(starts[place[0]] + place[1])

    tracks = tuple(
        track for number, part in enumerate(parts) for track in _tracks(part, pitched_channel(number), starts, by)
    )
    tempos = {tick(place): qpm for part in reversed(parts) for place, qpm in part.tempos}
    keyed = next((part for part in parts if part.keys), None)
    return Score(
        resolution,
        tracks,
        tuple(TempoChange(at, tempos[at]) for at in sorted(tempos)),
        meters,
        tuple(KeyChange(tick(place), sharps, minor) for place, sharps, minor in keyed.keys) if keyed else (),
    )


def _measures(
    parts: Sequence[_ReadPart], n_measures: int, resolution: int
) -> tuple[list[Ticks], tuple[MeterChange, ...]]:
    """Return where each measure begins (n + 1 ticks), and the meters, named again where bar lines start anew."""
    starts: list[Ticks] = [0]
    meters: list[MeterChange] = []
    running: tuple[int, int] = (4, 4)
    anchor: Ticks = 0
    for number in range(n_measures):
        start = starts[-1]
        named = next((part.times[number] for part in parts if number < len(part.times) and part.times[number]), None)
        bar = Fraction(resolution * 4 * running[0], running[1])
        off_grid = bool(meters) and (start - anchor) % bar != 0 and not _goes_on(parts, number, start - anchor, bar)
        if off_grid or (named is not None and (named != running or not meters)):
            running, anchor = named or running, start
            meters.append(MeterChange(round(start), *running))
        bar = Fraction(resolution * 4 * running[0], running[1])
        length = max((part.lengths[number] for part in parts if number < len(part.lengths)), default=0)
        starts.append(start + (length or bar))
    return starts, tuple(meters)


def _goes_on(parts: Sequence[_ReadPart], number: int, since: Ticks, bar: Fraction) -> bool:
    """Say whether this measure ends on a bar line of the running meter: the second half of a bar cut by a repeat."""
    length = max((part.lengths[number] for part in parts if number < len(part.lengths)), default=0)
    return bool(since > bar and length and length < bar and (since + length) % bar == 0)


def _tracks(part: _ReadPart, channel: int, starts: Sequence[Ticks], by: Literal["voice", "staff"]) -> list[Track]:
    loudness = _Loudness(part, starts)
    lanes: dict[tuple[bool, int, str], list[tuple[int, int, int]]] = {}
    for note, onset, end in _joined_ties(part.notes, starts):
        lane = (note.is_drum, note.lane[0], "" if by == "staff" else note.lane[1])
        lanes.setdefault(lane, []).append((onset, max(1, end - onset), note.pitch))
    staves = {staff for _, staff, _ in lanes}
    tracks = []
    for is_drum, staff, voice in sorted(lanes, key=lambda lane: (lane[0], lane[1], len(lane[2]), lane[2])):
        rows = np.array(sorted(lanes[is_drum, staff, voice], key=lambda row: (row[0], row[2])), dtype=np.int64)
        words = [part.name, f"staff {staff}" if len(staves) > 1 else "", f"voice {voice}" if voice else ""]
        name = ", ".join(word for word in words if word) if len(lanes) > 1 else part.name
        velocities = loudness.at(rows[:, 0])
        program, own = (0, DRUM_CHANNEL) if is_drum else (part.program, channel)
        tracks.append(Track(rows[:, 0], rows[:, 1], rows[:, 2], velocities, program, own, is_drum, name))
    if tracks:
        return tracks
    none = np.zeros(0, dtype=np.int64)
    own = DRUM_CHANNEL if part.is_drum else channel
    return [Track(none, none, none, none, part.program, own, part.is_drum, part.name)]


def _joined_ties(notes: Iterable[_Note], starts: Sequence[Ticks]) -> list[tuple[_Note, int, int]]:
    """Return each sounding note with its first and last tick."""
    joined: list[list[Ticks]] = []
    written: list[_Note] = []
    waiting: dict[tuple[int, bool], list[int]] = {}
    for note in sorted(notes, key=lambda note: starts[note.place[0]] + note.place[1]):
        onset = starts[note.place[0]] + note.place[1]
        open_ties = waiting.setdefault((note.pitch, note.is_drum), [])
        before = [index for index in open_ties if joined[index][1] == onset] if note.ends_tie else []
        same_lane = [index for index in before if written[index].lane == note.lane]
        index = (same_lane or before or [len(joined)])[0]
        if index == len(joined):
            joined.append([onset, onset + note.length])
            written.append(note)
        else:
            joined[index][1] = onset + note.length
            open_ties.remove(index)
        if note.starts_tie:
            open_ties.append(index)
    return [(note, round(first), round(last)) for note, (first, last) in zip(written, joined, strict=True)]


class _Loudness:
    """The velocity of a part at any tick: marks hold until the next, wedges lead on to it in a straight line."""

    def __init__(self, part: _ReadPart, starts: Sequence[Ticks]) -> None:
        marks = {round(starts[place[0]] + place[1]): velocity for place, velocity in part.marks}
        marks.setdefault(0, next(iter(marks.values()), _PLAIN) if 0 in marks else _PLAIN)
        self.ticks = np.array(sorted(marks), dtype=np.int64)
        self.levels = np.array([marks[tick] for tick in self.ticks.tolist()], dtype=np.float64)
        self.wedges: list[tuple[int, int, float]] = []
        begun: tuple[int, str] | None = None
        for place, kind in sorted(part.wedges, key=lambda wedge: starts[wedge[0][0]] + wedge[0][1]):
            tick = round(starts[place[0]] + place[1])
            if begun is not None and tick > begun[0]:
                self._add_wedge(begun[0], tick, 1 if begun[1] == "crescendo" else -1)
            begun = None if kind == "stop" else (tick, kind)

    def _add_wedge(self, first: int, last: int, direction: int) -> None:
        """Let a wedge end at the mark that comes behind it, if that is on its side; else a step up or down."""
        index = int(np.searchsorted(self.ticks, first, side="right"))
        goal = self.levels[index] if index < len(self.ticks) and self.ticks[index] <= last + (last - first) else None
        level = self._steady(np.array([first]))[0]
        rise = float(goal - level) if goal is not None and (goal - level) * direction > 0 else float(_SWELL * direction)
        self.wedges.append((first, last, rise))

    def _steady(self, ticks: IntArray) -> NDArray[np.float64]:
        return self.levels[np.maximum(0, np.searchsorted(self.ticks, ticks, side="right") - 1)]

    def at(self, ticks: IntArray) -> IntArray:
        """Return velocities, int64[n]."""
        levels = self._steady(ticks).astype(np.float64)
        for first, last, rise in self.wedges:
            after = self.ticks[self.ticks > first]
            until = int(after[0]) if len(after) else np.iinfo(np.int64).max
            inside = (ticks >= first) & (ticks < until)
            levels[inside] += rise * np.minimum(1.0, (ticks[inside] - first) / (last - first))
        return np.clip(np.rint(levels), 1, 127).astype(np.int64)


class _PartReader:
    """One part, measure by measure. Times are ticks of `resolution` a quarter since the measure began."""

    def __init__(self, element: Element, declared: Element | None, resolution: int) -> None:
        self.element, self.resolution = element, resolution
        self.part = _declared_part(declared)
        self.unit: Ticks = resolution
        self.transposition = 0
        self.at: Ticks = 0
        self.reached: Ticks = 0
        self.chord_at: Ticks = 0

    def read(self) -> _ReadPart:
        """Return the part with everything that was found in it."""
        for number, measure in enumerate(self.element.iterfind("measure")):
            self.at = self.reached = self.chord_at = 0
            self.part.times.append(None)
            for element in measure:
                if element.tag == "note":
                    self.note(element, number)
                elif element.tag in ("backup", "forward"):
                    span = self.ticks(element.findtext("duration"))
                    self.at = max(0, self.at - span) if element.tag == "backup" else self.at + span
                    self.reached = max(self.reached, self.at)
                elif element.tag == "attributes":
                    self.attributes(element, number)
                elif element.tag == "direction":
                    self.direction(element, number)
                elif element.tag == "sound":
                    self.tempo((number, self.at), element.get("tempo"))
            self.part.lengths.append(self.reached)
        return self.part

    def ticks(self, text: str | None) -> Ticks:
        """Return a written duration in ticks."""
        value = _number(text) * self.unit
        if value < 0:
            raise _refused("a duration is negative")
        return value.numerator if value.denominator == 1 else value

    def attributes(self, element: Element, number: int) -> None:
        """Divisions, transposition, key and meter."""
        divisions = element.findtext("divisions")
        if divisions is not None:
            self.unit = self.resolution / _number(divisions)
        transpose = element.find("transpose")
        if transpose is not None:
            octaves = _number(transpose.findtext("octave-change") or "0")
            self.transposition = int(_number(transpose.findtext("chromatic") or "0") + 12 * octaves)
        key = element.find("key")
        fifths = key.findtext("fifths") if key is not None else None
        if key is not None and fifths is not None:
            sharps = (int(_number(fifths)) + 7 * self.transposition + 6) % 12 - 6
            written = int(_number(fifths)) if self.transposition % 12 == 0 else sharps
            self.part.keys.append(((number, self.at), max(-7, min(7, written)), key.findtext("mode") == "minor"))
        time = element.find("time")
        if time is not None:
            self.part.times[number] = _meter(time) or self.part.times[number]

    def direction(self, element: Element, number: int) -> None:
        """Tempo, dynamics and wedges."""
        offset = element.findtext("offset")
        place = (number, self.at)
        if offset is not None:
            shift = _number(offset) * self.unit
            place = (number, self.at + shift if self.at + shift > 0 else 0)
        sound = element.find("sound")
        told = self.tempo(place, sound.get("tempo") if sound is not None else None)
        for kind in element.iterfind("direction-type/*"):
            if kind.tag == "dynamics":
                self.part.marks += [(place, _VELOCITIES[mark.tag]) for mark in kind if mark.tag in _VELOCITIES]
            elif kind.tag == "wedge":
                self.part.wedges.append((place, kind.get("type", "")))
            elif kind.tag == "metronome" and not told:
                told = self.metronome(place, kind)
            elif kind.tag == "words" and not told:
                word = " ".join((kind.text or "").lower().replace(".", " ").replace(",", " ").split())
                qpm = _NAMED_TEMPOS.get(word) or _NAMED_TEMPOS.get(word.split(" ")[0] if word else "")
                told = self.tempo(place, str(qpm) if qpm else None)

    def metronome(self, place: _Place, element: Element) -> bool:
        """Read a beat and its number a minute; say whether that was a tempo."""
        quarters = _QUARTERS.get(element.findtext("beat-unit") or "", 0.0)
        dots = len(element.findall("beat-unit-dot"))
        number = "".join(letter for letter in element.findtext("per-minute") or "" if letter.isdigit() or letter == ".")
        if not quarters or not number.strip(".") or number.count(".") > 1:
            return False
        return self.tempo(place, str(float(_number(number)) * quarters * (2 - 0.5**dots)))

    def tempo(self, place: _Place, qpm: str | None) -> bool:
        """Note a tempo in quarters a minute; say whether there was one."""
        value = float(_number(qpm)) if qpm else 0.0
        if not 1 <= value <= 1000:
            return False
        self.part.tempos.append((place, value))
        return True

    def note(self, element: Element, number: int) -> None:
        """One note, rest or member of a chord."""
        if element.find("grace") is not None:
            return
        length = self.ticks(element.findtext("duration"))
        if element.find("chord") is None:
            self.chord_at = self.at
            self.at += length
            self.reached = max(self.reached, self.at)
        pitch, is_drum = self.pitch(element)
        if pitch is None or element.find("cue") is not None or length == 0:
            return
        ties = {tie.get("type") for tie in element.findall("tie") or element.findall("notations/tied")}
        lane = (int(_number(element.findtext("staff") or "1")), (element.findtext("voice") or "1").strip())
        if is_drum:
            lane = (0, "")
        place = (number, self.chord_at)
        self.part.notes.append(_Note(place, length, pitch, lane, is_drum, "start" in ties, "stop" in ties))

    def pitch(self, element: Element) -> tuple[int | None, bool]:
        """Return the sounding pitch, None for a rest or one that MIDI lacks, and whether it is a drum."""
        pitch = element.find("pitch")
        if pitch is not None:
            alter = int(_number(pitch.findtext("alter") or "0"))
            octave = int(_number(pitch.findtext("octave")))
            sounding = 12 * octave + 12 + _STEPS[(pitch.findtext("step") or "").strip()] + alter + self.transposition
            return (sounding if 0 <= sounding <= 127 else None), self.part.is_drum
        if element.find("unpitched") is None:
            return None, False
        instrument = element.find("instrument")
        name = instrument.get("id", "") if instrument is not None else ""
        return self.part.drums.get(name, next(iter(self.part.drums.values()), _DRUM)), True


def _declared_part(declared: Element | None) -> _ReadPart:
    """Return an empty part with the name and instruments that the part list gives it."""
    if declared is None:
        return _ReadPart("")
    part = _ReadPart((declared.findtext("part-name") or "").strip())
    for number, instrument in enumerate(declared.iterfind("midi-instrument")):
        if number == 0:
            part.program = min(127, max(0, int(_number(instrument.findtext("midi-program") or "1")) - 1))
            part.is_drum = int(_number(instrument.findtext("midi-channel") or "1")) == DRUM_CHANNEL + 1
        key = instrument.findtext("midi-unpitched")
        if key is not None:
            part.drums[instrument.get("id", "")] = min(127, max(0, int(_number(key)) - 1))
    return part


def _meter(time: Element) -> tuple[int, int] | None:
    """Return beats and beat type, added up where there are several (3+2/8); None for free time."""
    beats = [element.text or "" for element in time.findall("beats")]
    types = {int(_number(element.text)) for element in time.findall("beat-type")}
    total = sum(int(_number(term)) for text in beats for term in text.split("+"))
    if len(types) != 1 or not 0 < total <= 64 or not types <= {1, 2, 4, 8, 16, 32, 64}:
        return None
    return total, types.pop()


def _number(text: str | None) -> Fraction:
    """Read a short decimal number exactly.

    Raises:
        ValueError: it is none, or longer than any that makes sense.
    """
    text = (text or "").strip()
    if not text or len(text) > 24 or "e" in text.lower() or "/" in text:
        raise ValueError(f"{text[:24]!r} is no number")
    return Fraction(text)
