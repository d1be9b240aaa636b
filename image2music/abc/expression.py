"""How a tune is performed: loudness note by note, articulation, pedal, and a tempo that breathes.

What is written is one thing, how it is played another: `playback` plays a tune exactly, for checks and metrics; here it
is played as people do, for ears. No note begins elsewhere: lengths, velocities and tempo events change, ticks of onsets
don't. Everything follows from the notes and marks alone; the same tune is always performed the same.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise

from image2music.abc.ast import BarLine, Event, PartMark, StateChange, Tune
from image2music.abc.music_line import VELOCITIES
from image2music.abc.parser import parse
from image2music.abc.playback import (
    PlayedNote,
    PlayedVoice,
    bars_as_played,
    conducted,
    first_tune,
    play_voices,
)
from image2music.abc.reading_order import DEFAULT_VELOCITY, marks_by_element, play_order
from image2music.music.midi import write_note_lists
from image2music.music.score import MeterChange, Score, TempoChange
from image2music.music.theory import DEFAULT_QPM, DRUM_CHANNEL, TICKS_PER_QUARTER, Length, ticks

EXPRESSION_VERSION = 2
"""Raise it when tunes are performed otherwise."""

_SOFTEST, _LOUDEST = 8, 126
_BENDS, _SLOPE = 100, 0.6
"""From this velocity on there is less to add: fortissimo keeps its accents below what MIDI can say."""
_PHRASE_BARS = 4

# Loudness, in steps of velocity.
_DOWNBEAT, _GROUP, _BEAT, _HALF, _BETWEEN = 6, 3, 0, -3, -4
_GROUPS = {4: (0, 2), 5: (0, 3), 6: (0, 3), 7: (0, 2, 4), 8: (0, 4)}
_ARCH_PEAK = 0.6
_ARCH_TOP, _ARCH_START, _ARCH_END = 3.0, 5.0, 6.0
_PER_SEMITONE, _MOST_CONTOUR, _TOP_OF_LINE = 0.3, 3.0, 4
_REPEATED, _LAST_OF_PHRASE, _LAST_OF_ALL = -3, -5, -8
_CHORD_TOP, _CHORD_INSIDE = 2, -2
_SWELL, _MOST_CARRIED = 14, 30
_BEHIND = -6
_STRESSES = {
    "accent": 14, ">": 14, "emphasis": 14, "marcato": 20, "^": 20, "sfz": 20, "sf": 20, "fz": 20, "tenuto": 4,
}  # fmt: skip

# Lengths, as shares of what is written.
_SHORTER = {"staccato": 0.55, "staccatissimo": 0.35, "wedge": 0.35, "breath": 0.85}
_LEGATO = 24
"""Ticks by which a note under a slur sounds into the next: about 30 ms at 100 quarters a minute."""

_PEDAL, _PEDAL_DOWN, _REPEDAL = 64, 127, 24

# Tempo, as shares of what is written.
_AT_PHRASE, _AT_SECTION, _TOWARDS_END, _LAST_BAR, _FERMATA = 0.97, (0.97, 0.93), 0.95, 0.88, 0.6

_GROWS = {"crescendo(": 1, "<(": 1, "diminuendo(": -1, ">(": -1}
_STOPS = frozenset(("crescendo)", "<)", "diminuendo)", ">)"))


def performed_midi(tune: Tune) -> bytes:
    """Return a tune as a MIDI file that is performed; `playback.tune_to_midi` returns it exactly.

    Raises:
        AbcError: as `playback.tune_to_score`.
    """
    voices = play_voices(tune)
    conductor, tracks = conducted(tune, voices)
    phrasing = _phrasing(tune, conductor)
    lines = [_line(played, tune) for played in voices]
    is_marked = any(line.is_marked for line in lines)
    for number, (played, line) in enumerate(zip(voices, lines, strict=True)):
        behind = 0 if is_marked or number == 0 else _BEHIND
        for (_, channel), notes in played.parts.items():
            _perform(notes, line, phrasing, number, behind, is_drum=channel == DRUM_CHANNEL)
        played.controls += _pedal(line)
    has_drums = any(track.channel == DRUM_CHANNEL for track in tracks)
    return write_note_lists(replace(conductor, tempos=_tempos(conductor, phrasing, lines, has_drums)), tracks)


def perform_abc(abc: str) -> bytes:
    """Return the first tune with music of an ABC text, performed, as a MIDI file.

    Raises:
        AbcError: as `playback.abc_to_score`.
    """
    return performed_midi(first_tune(parse(abc)))


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A stretch of about four bars in ticks; whether a section ends with it."""

    start: int
    end: int
    closes: bool


@dataclass(frozen=True)
class _Phrasing:
    """Where bars and phrases begin, in ticks. `upbeats` holds, for bars that begin late, by how much."""

    bars: list[int]
    upbeats: dict[int, int]
    phrases: list[_Phrase]
    meters: tuple[MeterChange, ...]
    end: int

    def meter_at(self, tick: int) -> MeterChange:
        """Return the meter in force."""
        before = [change for change in self.meters if change.tick <= tick]
        return before[-1] if before else MeterChange(0, 4, 4)

    def weight(self, tick: int) -> int:
        """Return how much louder the place of `tick` in its bar makes a note."""
        bar = self.bars[max(0, bisect_right(self.bars, tick) - 1)] if self.bars else 0
        meter = self.meter_at(tick)
        return _weight(tick - bar + self.upbeats.get(bar, 0), meter.numerator, meter.denominator)

    def phrase_at(self, tick: int) -> int:
        """Return the number of the phrase that `tick` lies in."""
        return max(0, bisect_right(self.phrases, tick, key=lambda phrase: phrase.start) - 1)


def _beat_of(numerator: int, denominator: int) -> tuple[int, int]:
    """Return a beat in ticks and how many a bar has: three eighths are one beat of 6/8, 9/8 and 12/8."""
    unit = TICKS_PER_QUARTER * 4 // denominator
    return (
        (3 * unit, numerator // 3) if numerator > 3 and numerator % 3 == 0 and denominator >= 8 else (unit, numerator)
    )


@cache
def _weight(position: int, numerator: int, denominator: int) -> int:
    beat, beats = _beat_of(numerator, denominator)
    position %= beat * beats
    if position == 0:
        return _DOWNBEAT
    if position % beat == 0:
        return _GROUP if position // beat in _GROUPS.get(beats, ()) else _BEAT
    return _HALF if 2 * position % beat == 0 else _BETWEEN


def _phrasing(tune: Tune, conductor: Score) -> _Phrasing:
    """Find phrases: sections (double bars, repeats, parts) are cut every four bars; a bar left over joins the last."""
    bars = [ticks(onset) for onset, _ in bars_as_played(tune)]
    sections, end = _sections_as_played(tune)
    bars = sorted({bar for bar in bars if bar < end})
    found = _Phrasing(bars, {}, [], conductor.meters, end)
    edges = sorted({0, *sections, end})
    for start, stop in pairwise(edges):
        inside = [bar for bar in bars if start <= bar < stop]
        if not inside:
            continue
        lengths = [after - before for before, after in pairwise([*inside, stop])]
        meter = found.meter_at(inside[0])
        full = TICKS_PER_QUARTER * 4 * meter.numerator // meter.denominator
        upbeat = len(inside) > 1 and lengths[0] < full
        if upbeat:
            found.upbeats[inside[0]] = full - lengths[0]
        cuts = list(range(upbeat + _PHRASE_BARS, len(inside), _PHRASE_BARS))
        if cuts and len(inside) - cuts[-1] == 1:
            cuts.pop()
        places = [inside[0], *(inside[cut] for cut in cuts), stop]
        found.phrases.extend(_Phrase(first, last, last == stop) for first, last in pairwise(places))
    return found


def _sections_as_played(tune: Tune) -> tuple[list[int], int]:
    """Return the ticks at which sections begin, and at which the first voice ends."""
    voice = next(voice for voice in tune.voices.values() if voice.bars)
    found: list[int] = []
    position: Length = 0
    for first, last in play_order(voice.elements, tune.parts):
        start = voice.elements[first].onset
        found.append(ticks(position))
        for element in voice.elements[first:last]:
            is_part = type(element) is StateChange and isinstance(element.value, PartMark)
            if is_part or (type(element) is BarLine and element.is_section):
                found.append(ticks(position + element.onset - start))
        stop = voice.elements[last].onset if last < len(voice.elements) else voice.length
        position += stop - start
    return found, ticks(position)


@dataclass(slots=True)
class _Spot:
    """A note, chord or rest as it is played: its ticks, its marks, how loud it is so far, whether a slur goes on."""

    start: int
    end: int
    marks: frozenset[str]
    level: float
    is_said: bool
    slurred: bool = False


@dataclass
class _Line:
    """A voice as it is played, in order of time."""

    spots: list[_Spot]
    starts: list[int] = field(default_factory=list)

    @property
    def is_marked(self) -> bool:
        """Whether anything is said about loudness."""
        return any(spot.is_said for spot in self.spots)

    def at(self, tick: int) -> int:
        """Return the place of the spot in which a note that begins at `tick` stands; -1 before the first."""
        return bisect_right(self.starts, tick) - 1


def _line(played: PlayedVoice, tune: Tune) -> _Line:
    voice = played.voice
    marks = marks_by_element(voice)
    levels: list[tuple[float, bool]] = []
    level = float(DEFAULT_VELOCITY)
    for at in range(len(voice.elements)):
        said = [VELOCITIES[name] for name in marks.get(at, ()) if name in VELOCITIES]
        level = float(said[-1]) if said else level
        levels.append((level, bool(said)))
    spots: list[_Spot] = []
    position: Length = 0
    for first, last in play_order(voice.elements, tune.parts):
        shift = position - voice.elements[first].onset
        depth = 0
        for at in range(first, last):
            event = voice.elements[at]
            if type(event) is not Event:
                continue
            names = marks.get(at, ())
            depth = max(0, depth + names.count("(") - names.count(")"))
            start, end = ticks(event.onset + shift), ticks(event.onset + event.duration + shift)
            spots.append(_Spot(start, end, frozenset(names), *levels[at], slurred=depth > 0 and bool(event.heads)))
        position = (voice.elements[last].onset if last < len(voice.elements) else voice.length) + shift
    spots.sort(key=lambda spot: spot.start)
    line = _Line(_one_a_start(spots))
    line.starts = [spot.start for spot in line.spots]
    _swell(line.spots)
    return line


def _one_a_start(spots: Sequence[_Spot]) -> list[_Spot]:
    """Join what several layers of a voice begin together."""
    joined: list[_Spot] = []
    for spot in spots:
        if joined and joined[-1].start == spot.start:
            last = joined[-1]
            last.marks |= spot.marks
            last.end, last.slurred = max(last.end, spot.end), last.slurred or spot.slurred
            last.level, last.is_said = (spot.level if spot.is_said else last.level), last.is_said or spot.is_said
        else:
            joined.append(spot)
    return joined


def _swell(spots: Sequence[_Spot]) -> None:
    """Let loudness grow and fall under swells: to what is said at their end, else by one step; then it stays so."""
    swells = dict(_swells(spots))
    carried = 0.0
    at = 0
    while at < len(spots):
        spot = spots[at]
        carried = 0.0 if spot.is_said else carried
        stop, way = swells.get(at, (at, 0))
        base = spot.level + carried
        if stop > at:
            said = next((after.level for after in spots[stop : stop + 2] if after.is_said), None)
            change = said - base if said is not None and (said - base) * way > 0 else float(_SWELL * way)
            long = spots[stop].start - spot.start
            for inside in spots[at:stop]:
                inside.level = base + change * (inside.start - spot.start) / long
            at = stop
            carried = max(-_MOST_CARRIED, min(_MOST_CARRIED, carried + change))
            # The last note of a swell has its whole change, unless something else is said there, or another begins.
            if not spots[stop].is_said and stop not in swells:
                spots[stop].level = base + change
                at += 1
        else:
            spot.level = base
            at += 1


def _swells(spots: Sequence[_Spot]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield, for each swell that is closed, where it begins, where it ends, and whether it grows (1) or falls (-1)."""
    begun: tuple[int, int] | None = None
    for at, spot in enumerate(spots):
        if begun is not None and spot.marks & _STOPS and at > begun[0]:
            yield begun[0], (at, begun[1])
            begun = None
        ways = [way for name, way in _GROWS.items() if name in spot.marks]
        if ways:
            if begun is not None and at > begun[0]:
                yield begun[0], (at, begun[1])
            begun = (at, ways[0])


def _perform(
    notes: list[PlayedNote], line: _Line, phrasing: _Phrasing, voice: int, behind: int, *, is_drum: bool
) -> None:
    """Change velocities and ends of one part's notes in place."""
    tops: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for start, _, pitch, _ in notes:
        tops[start] = max(pitch, tops.get(start, 0))
        sizes[start] = sizes.get(start, 0) + 1
    shapes = {start: phrasing.weight(start) for start in tops} if is_drum else _shapes(tops, phrasing, line)
    onsets = sorted(tops)
    following = dict(pairwise(onsets))
    for at, (start, end, pitch, velocity) in enumerate(notes):
        place = line.at(start)
        spot = line.spots[place] if place >= 0 else None
        level = (velocity if spot is None else spot.level) + behind + shapes[start]
        marks = spot.marks if spot is not None else frozenset()
        level += max((_STRESSES[name] for name in marks if name in _STRESSES), default=0)
        if sizes[start] > 1 and not is_drum:
            level += _CHORD_TOP if pitch == tops[start] else _CHORD_INSIDE
        if not is_drum:
            share = min((_SHORTER[name] for name in marks if name in _SHORTER), default=1.0)
            after = following.get(start)
            if share < 1.0:
                end = start + max(1, round((end - start) * share))
            elif spot is not None and spot.slurred and end == after and pitch != tops[after] and sizes[start] == 1:
                end += _LEGATO
        level += _dice(voice, start, pitch)
        level = level if level <= _BENDS else _BENDS + _SLOPE * (level - _BENDS)
        notes[at] = (start, end, pitch, max(_SOFTEST, min(_LOUDEST, round(level))))


def _dice(voice: int, start: int, pitch: int) -> int:
    """Return -4 to 4 from what the note is, small numbers more often."""
    drawn = zlib.crc32(f"{voice} {start} {pitch}".encode())
    return drawn % 5 + (drawn >> 8) % 5 - 4


def _shapes(tops: dict[int, int], phrasing: _Phrasing, line: _Line) -> dict[int, float]:
    """Return how much louder than written each onset of a line is: meter, phrase, contour, repetition, its end."""
    shapes: dict[int, float] = {}
    by_phrase: dict[int, list[int]] = {}
    for start in sorted(tops):
        by_phrase.setdefault(phrasing.phrase_at(start), []).append(start)
    before, times = None, 0
    for number, onsets in by_phrase.items():
        phrase = phrasing.phrases[number] if phrasing.phrases else _Phrase(0, phrasing.end, True)
        mean = sum(tops[start] for start in onsets) / len(onsets)
        highest = max(onsets, key=lambda start: (tops[start], -start))
        has_top = tops[highest] > min(tops[start] for start in onsets) + 2
        for start in onsets:
            times = times + 1 if tops[start] == before else 0
            before = tops[start]
            contour = max(-_MOST_CONTOUR, min(_MOST_CONTOUR, _PER_SEMITONE * (tops[start] - mean)))
            shapes[start] = (
                phrasing.weight(start)
                + _arch((start - phrase.start) / max(1, phrase.end - phrase.start))
                + (_TOP_OF_LINE if start == highest and has_top else contour)
                + (_REPEATED if times % 2 else 0)
            )
        if len(onsets) > 1:
            shapes[onsets[-1]] += _LAST_OF_PHRASE
    if shapes:
        last = max(shapes)
        spot = line.spots[line.at(last)] if line.at(last) >= 0 else None
        if spot is None or (spot.level < VELOCITIES["f"] and not spot.marks & _STRESSES.keys()):
            shapes[last] += _LAST_OF_ALL - _LAST_OF_PHRASE
    return shapes


def _arch(place: float) -> float:
    """Return the phrase's swell at `place` (0 to 1): from -2 up to 3 a little behind the middle, and down to -3."""
    if place < _ARCH_PEAK:
        return _ARCH_TOP - _ARCH_START * ((_ARCH_PEAK - place) / _ARCH_PEAK) ** 2
    return _ARCH_TOP - _ARCH_END * ((place - _ARCH_PEAK) / (1 - _ARCH_PEAK)) ** 2


def _pedal(line: _Line) -> list[tuple[int, int, int]]:
    """Return the pedal as control changes: `ped` presses, `ped-up` lifts; both on one note lift and press anew."""
    found = []
    is_down = False
    for spot in line.spots:
        if "ped-up" in spot.marks and is_down:
            found.append((spot.start, _PEDAL, 0))
        if "ped" in spot.marks:
            if is_down and "ped-up" not in spot.marks:
                found.append((spot.start, _PEDAL, 0))
            found.append((spot.start + (_REPEDAL if is_down else 0), _PEDAL, _PEDAL_DOWN))
        is_down = "ped" in spot.marks or (is_down and "ped-up" not in spot.marks)
    if is_down:
        found.append((max(spot.end for spot in line.spots), _PEDAL, 0))
    return found


def _tempos(conductor: Score, phrasing: _Phrasing, lines: Sequence[_Line], has_drums: bool) -> tuple[TempoChange, ...]:
    """Return the tempos as written, slower at the ends of phrases, sections and the tune, and under a fermata.

    A groove keeps time: where drums play, only the tune's end slows. Where a tempo is written within the two bars
    before an end, nothing is added to it.
    """
    written = conductor.tempos
    if not written or written[0].tick > 0:
        written = (TempoChange(0, DEFAULT_QPM), *written)
    slower = [
        (start, stop, share)
        for start, stop, share in _breaths(phrasing, has_drums)
        if not any(start - _two_bars(phrasing, start) < change.tick < stop for change in written[1:])
    ]
    for line in lines:
        slower += [(spot.start, spot.end, _FERMATA) for spot in line.spots if "fermata" in spot.marks]
    places = sorted({0, *(change.tick for change in written), *(tick for part in slower for tick in part[:2])})
    changes: list[TempoChange] = []
    for tick in places:
        share = min((share for start, stop, share in slower if start <= tick < stop), default=1.0)
        qpm = round([change for change in written if change.tick <= tick][-1].qpm * share, 3)
        if not changes or changes[-1].qpm != qpm:
            changes.append(TempoChange(tick, qpm))
    return tuple(change for change in changes if change.tick < phrasing.end or change in written)


def _two_bars(phrasing: _Phrasing, tick: int) -> int:
    meter = phrasing.meter_at(tick)
    return 2 * TICKS_PER_QUARTER * 4 * meter.numerator // meter.denominator


def _breaths(phrasing: _Phrasing, has_drums: bool) -> Iterator[tuple[int, int, float]]:
    """Yield (from, to, share of the tempo)."""
    for phrase in phrasing.phrases[:-1]:
        meter = phrasing.meter_at(phrase.end - 1)
        beat, beats = _beat_of(meter.numerator, meter.denominator)
        if has_drums or phrase.end - phrase.start < 2 * beat * beats:
            continue
        if phrase.closes and beats > 1:
            yield phrase.end - 2 * beat, phrase.end - beat, _AT_SECTION[0]
            yield phrase.end - beat, phrase.end, _AT_SECTION[1]
        else:
            yield phrase.end - beat, phrase.end, _AT_PHRASE
    if len(phrasing.bars) > 1:
        before, last = phrasing.bars[-2:]
        yield (before + last) // 2, last, _TOWARDS_END
        yield last, phrasing.end, _LAST_BAR
