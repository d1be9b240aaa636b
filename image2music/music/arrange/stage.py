"""What all layers of an arrangement see: the time line with its chords, the tune, the voices and what is set so far.

Times are MIDI ticks (`TICKS_PER_QUARTER`) from the start of the piece, pitches MIDI numbers, costs whole numbers, so
that a choice is the same on every processor.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np

from image2music.errors import PlanError
from image2music.music.arrange.timeline import EIGHTH as EIGHTH
from image2music.music.arrange.timeline import ChordSpan, PlacedNote, TimedLine, notes_of_bars
from image2music.music.instruments import Instrument, instrument_of
from image2music.music.lines import Bar
from image2music.music.planning.plan import DYNAMICS, Family, Plan, PlannedVoice, Role, Section
from image2music.music.theory import TICKS_PER_QUARTER, Chord, read_chord, read_tonality


@dataclass(frozen=True, slots=True)
class BarShape:
    """A meter's bar in ticks: its length, where beats and strong beats are, and which hand-written bars fit it.

    `parts` are (meter of the table, ticks) whose bars, cut to their ticks, follow each other in one bar.
    """

    ticks: int
    beats: tuple[int, ...]
    strong: tuple[int, ...]
    parts: tuple[tuple[str, int], ...]

    @property
    def last_beat(self) -> int:
        """Where the last beat begins."""
        return self.beats[-1]

    @property
    def half(self) -> int:
        """Where the second half begins: a strong beat, or the second beat."""
        return self.strong[1] if len(self.strong) > 1 else self.beats[1] if len(self.beats) > 1 else self.ticks

    @property
    def second_chord(self) -> int:
        """Where the second of two chords begins: on the first beat from the middle on, the third one of 3/4."""
        return next((beat for beat in self.beats if 2 * beat >= self.ticks), self.ticks // 2)


@lru_cache(maxsize=64)
def bar_shape(meter: str) -> BarShape:
    """Return the shape of a bar of a meter, `3/4` or `C`.

    Raises:
        PlanError: `bad_meter`.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", {"C": "4/4", "C|": "2/2"}.get(meter, meter))
    if found is None or not 0 < int(found[1]) <= 32 or int(found[2]) not in (1, 2, 4, 8, 16):
        raise PlanError(f"{meter!r} is no meter for an arrangement", reason="bad_meter")
    number, unit = int(found[1]), 4 * TICKS_PER_QUARTER // int(found[2])
    length = number * unit
    if number % 3 == 0 and int(found[2]) >= 8:
        beats = [3 * unit * at for at in range(number // 3)]
        strong = beats[::2] if len(beats) % 2 == 0 else beats[:1]
        parts = [("6/8", 6 * unit)] * (number // 6) + [("6/8", 3 * unit)] * (number % 6 // 3)
        if unit != EIGHTH:
            parts = [("6/8", length)]
        return BarShape(length, tuple(beats), tuple(strong), tuple(parts))
    if int(found[2]) >= 8:
        groups = [2 * unit] * (number // 2 - number % 2) + [3 * unit] * (number % 2)
        groups = groups if sum(groups) == length else [length]
        beats = [sum(groups[:at]) for at in range(len(groups))]
        parts = [("4/4", 4 * unit * (len(groups) // 2))] if len(groups) > 1 else []
        parts += [("6/8", length - sum(ticks for _, ticks in parts))]
        return BarShape(length, tuple(beats), tuple(beats[::2]), tuple(parts))
    beats = list(range(0, length, TICKS_PER_QUARTER))
    quarters = len(beats)
    if quarters % 3 == 0:
        return BarShape(length, tuple(beats), tuple(beats[::3]), (("3/4", 3 * TICKS_PER_QUARTER),) * (quarters // 3))
    if quarters % 4 == 0 or quarters == 2:
        size = min(4, quarters)
        parts = [("4/4", size * TICKS_PER_QUARTER)] * (quarters // size)
        return BarShape(length, tuple(beats), tuple(beats[::2]), tuple(parts))
    parts = [("3/4", 3 * TICKS_PER_QUARTER)]
    rest = quarters - 3
    parts += [("4/4", 4 * TICKS_PER_QUARTER)] * (rest // 4)
    parts += [("4/4", rest % 4 * TICKS_PER_QUARTER)] * (rest % 4 > 0)
    strong = [0] + [sum(ticks for _, ticks in parts[:at]) for at in range(1, len(parts))]
    return BarShape(length, tuple(beats), tuple(strong), tuple(parts))


_WORD_LENGTHS = frozenset({EIGHTH // 2, EIGHTH * 2 // 3, EIGHTH, 2 * EIGHTH})


@lru_cache(maxsize=512)
def words_of_bar(text: str, length: int) -> tuple[tuple[int, int, str], ...]:
    """Read what a plan writes out for a bar of `length` ticks: (at, length, word) of what sounds.

    Words of equal length fill the bar; `-` holds on, `.` rests. Nothing where they are neither quarters, eighths,
    sixteenths nor eighths of triplets in this meter.
    """
    words = text.split()
    grain = length // len(words) if words and length % len(words) == 0 else 0
    found: list[tuple[int, int, str]] = []
    for at, word in enumerate(words if grain in _WORD_LENGTHS else ()):
        if word not in "-.":
            found.append((at * grain, grain, word))
        elif word == "-" and found and sum(found[-1][:2]) == at * grain:
            found[-1] = (found[-1][0], found[-1][1] + grain, found[-1][2])
    return tuple(found)


def scale_of_key(key: str) -> tuple[int, frozenset[int]]:
    """Return the tonic's pitch class and the pitch classes of a key's signature, written as in ABC (`F#m`, `Ddor`).

    Raises:
        PlanError: `bad_key`.
    """
    tonality = read_tonality(key)
    if tonality is None:
        raise PlanError(f"{key!r} is no key; write D, F#m or Ddor", reason="bad_key")
    return tonality.pitch_class, tonality.classes


_CROWDED = 4.5
"""Notes a second of the tune beside which a figure thins out."""


@lru_cache(maxsize=4096)
def _scale_under(chord: Chord, key: frozenset[int]) -> frozenset[int]:
    """Return the key's scale with the chord's tones in it; a chord foreign to the key brings a scale of its own."""
    foreign = [tone for tone in chord.classes if tone not in key]
    if len(foreign) > 1 and chord.root not in key:
        steps = (0, 2, 3, 5, 7, 9, 10) if chord.is_minor else (0, 2, 4, 6, 7, 9, 10)
        scale = {(chord.root + step) % 12 for step in steps}
        foreign = [tone for tone in chord.classes if tone not in scale]
    else:
        scale = set(key)
    for tone in foreign:
        scale -= {other for other in ((tone + 1) % 12, (tone - 1) % 12) if other not in chord.classes}
        scale.add(tone)
    return frozenset(scale)


@dataclass
class ArrangingStage:
    """A plan with what was written for it, and what the arranger has set: `out` by voice id."""

    plan: Plan
    written: Mapping[int, Sequence[Bar | None]]
    seed: int
    motif: Sequence[Bar] = ()
    out: dict[int, list[PlacedNote]] = field(default_factory=dict)
    light: dict[tuple[int, int], bool] = field(default_factory=dict)
    family_of: dict[tuple[int, int], Family] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shape = bar_shape(self.plan.meter)
        self.bars = self.plan.bars
        self.length = self.shape.ticks
        self.final = -1 if self.plan.loop else self.bars - 1
        self.end = self.bars * self.length
        self.rng = np.random.Generator(np.random.Philox(self.seed))
        self.tonic, self.key = scale_of_key(self.plan.key)
        self.voices = {voice.id: voice for voice in self.plan.voices}
        self.instruments: dict[int, Instrument] = {v.id: instrument_of(v.program) for v in self.plan.voices}
        self.roles = {
            (voice.id, bar): self.plan.role_at(voice.id, bar + 1)
            for voice in self.plan.voices
            for bar in range(self.bars)
        }
        for (voice, bar), role in self.roles.items():
            singer = self.plan.melody_at(bar + 1)
            if role == "melody" and singer != voice:
                sings = any(self.plan.melody_at(one) == voice for one in self.plan.section_at(bar + 1).bars)
                self.roles[voice, bar] = "rest" if sings and not singer else "counter"
        self._tune_in: dict[int, list[PlacedNote]] = {}
        self.beats, self.strong_beats = frozenset(self.shape.beats), frozenset(self.shape.strong)
        self.levels = [DYNAMICS.index(self.plan.section_at(bar + 1).dynamic) for bar in range(self.bars)]
        self.sections = [self.plan.section_at(bar + 1) for bar in range(self.bars)]
        self.climax = self.plan.climax.bar - 1 if self.plan.climax else -1
        self._tune()
        self._soften_echoes()
        self._chords()
        self._basses()
        for voice in self.voices:
            self.out.setdefault(voice, [])
        self._clashes: dict[tuple[int, int, int], int] = {}

    def _tune(self) -> None:
        given = {
            voice: TimedLine(notes_of_bars(bars[: self.bars], self.length))
            for voice, bars in self.written.items()
            if voice in self.voices
        }
        tune: list[PlacedNote] = []
        for bar in range(self.bars):
            singer = self.singer(bar)
            if singer in given:
                start = bar * self.length
                found = [n for n in given[singer].between(start, start + self.length) if n.on >= start]
                tune += [PlacedNote(n.on, n.dur, n.pitches[-1:]) for n in found]
        for one, after in pairwise(tune):
            one.dur = min(one.dur, after.on - one.on)
        self.tune = TimedLine(tune)
        self.others = [
            TimedLine(rest)
            for voice, line in given.items()
            if (rest := [n for n in line.notes if self.singer(min(n.on // self.length, self.bars - 1)) != voice])
        ]
        self.passing = {
            b.on
            for a, b, c in zip(tune, tune[1:], tune[2:], strict=False)
            if 0 < abs(b.pitches[0] - a.pitches[0]) <= 2 and 0 < abs(c.pitches[0] - b.pitches[0]) <= 2
            and b.dur <= TICKS_PER_QUARTER and b.on % self.length
        }  # fmt: skip

    def _soften_echoes(self) -> None:
        """Let the second phrase of a section that begins as the first did be softer, in two tunes of three."""
        if self.seed % 3 == 0:
            return
        for section in self.plan.sections:
            first, last = section.first - 1, min(section.last, self.bars)
            if section.swell == "grow" or first <= self.climax < last or self.levels[first] < 1:
                continue
            head = self._sung_at(first)
            again = next((bar for bar in range(first + 3, last - 1) if head and self._sung_at(bar) == head), last)
            for bar in range(again, last):
                self.levels[bar] -= 1

    def _sung_at(self, bar: int) -> list[tuple[int, int]]:
        return [(note.on - bar * self.length, note.pitches[0]) for note in self.tune_in(bar)]

    def singer(self, bar: int) -> int:
        """Return the voice that has the tune in a bar, 0 for none."""
        planned = self.plan.melody_at(bar + 1)
        if planned in self.written and self.is_written(planned, bar):
            return planned
        return next((v for v in self.voices if self.roles[v, bar] == "melody" and v in self.written), planned)

    def is_written(self, voice: int, bar: int) -> bool:
        """Whether somebody wrote this bar."""
        bars = self.written.get(voice, ())
        return bar < len(bars) and bars[bar] is not None

    def _chords(self) -> None:
        spans: list[ChordSpan] = []
        for bar in range(self.bars):
            text = self.plan.harmony[bar] if bar < len(self.plan.harmony) else ""
            symbols = text.split() or ([spans[-1].chord.symbol] if spans else [self.plan.key.split()[0]])
            chords = [read_chord(symbol) for symbol in symbols[:4]]
            edges = self._edges(len(chords))
            for chord, (start, end) in zip(chords, pairwise(edges), strict=True):
                on = bar * self.length + start
                spans.append(ChordSpan(on, end - start, chord, bar, _scale_under(chord, self.key)))
        self.planned_spans = list(spans)
        self.spans = self._taken_early(spans)
        self._starts = [span.on for span in self.spans]

    def _edges(self, chords: int) -> list[int]:
        """Divide a bar among chords, at beats where that goes."""
        if chords == 1:
            return [0, self.length]
        if chords == 2:
            return [0, self.shape.second_chord, self.length]
        beats = self.shape.beats
        if len(beats) >= chords:
            picked = [beats[at * len(beats) // chords] for at in range(chords)]
            return [*picked, self.length]
        return [self.length * at // chords for at in range(chords + 1)]

    def _taken_early(self, spans: list[ChordSpan]) -> list[ChordSpan]:
        """Bring a chord in on the last beat where the tune has left the old one for it already."""
        result: list[ChordSpan] = []
        for span, after in zip(spans, [*spans[1:], None], strict=True):
            start = span.bar * self.length + self.shape.last_beat
            beat = span.end - start
            if (
                after is None
                or after.bar == span.bar
                or span.on >= start
                or not self._belongs_to_next(start, span, after)
            ):
                result.append(span)
                continue
            result.append(ChordSpan(span.on, start - span.on, span.chord, span.bar, span.scale))
            result.append(ChordSpan(start, beat, after.chord, span.bar, after.scale, early=True))
        return result

    def _belongs_to_next(self, start: int, span: ChordSpan, after: ChordSpan) -> bool:
        if self.sections[span.bar] is not self.sections[after.bar] or after.chord == span.chord:
            return False
        sung = self.tune.between(start, span.end)
        if not sung or sung[0].on != start or len(sung) > 1 or start in self.passing:
            return False
        tone = sung[0].pitches[0] % 12
        return tone not in span.classes and tone in after.chord.classes and sung[0].dur >= EIGHTH

    def _basses(self) -> None:
        """Find who has the bass in each bar: whom the plan says, else the lowest voice that can take it."""
        self.bass_voice: list[int] = []
        lowest_first = sorted(self.voices.values(), key=lambda v: (v.low + v.high, v.low))
        for bar in range(self.bars):
            by_role: dict[Role, int] = {}
            for voice in reversed(lowest_first):
                if not self.is_written(voice.id, bar):
                    by_role[self.roles[voice.id, bar]] = voice.id
            order: tuple[Role, ...] = ("bass", "bass+figure", "figure", "hold")
            written = [v for v in self.voices if self.roles[v, bar] == "bass" and self.is_written(v, bar)]
            self.bass_voice.append(written[0] if written else next((by_role[r] for r in order if r in by_role), 0))

    def span_at(self, tick: int) -> ChordSpan:
        """Return the chord's stretch at a tick."""
        return self.spans[max(0, bisect_right(self._starts, tick) - 1)]

    def spans_of(self, bars: Sequence[int]) -> list[ChordSpan]:
        """Return the stretches of bars, in order."""
        wanted = set(bars)
        return [span for span in self.spans if span.bar in wanted]

    def tune_at(self, tick: int) -> int | None:
        """Return the tune's pitch at a tick; None in its rests."""
        found = self.tune.between(tick, tick + 1)
        return found[0].pitches[0] if found else None

    def is_busy(self, section: Section, bar: int) -> bool:
        """Whether the tune has many more notes in a bar than in its section, so that a figure makes room for it."""
        bars = range(section.first - 1, min(section.last, self.bars))
        onsets = [sum(note.on >= at * self.length for note in self.tune_in(at)) for at in bars]
        here = onsets[bar - bars.start]
        return here * len(onsets) * 4 > 5 * sum(onsets) and here * 2 >= 3 * len(self.shape.beats)

    def tune_holds(self, bar: int) -> bool:
        """Whether the tune holds one note for most of a bar."""
        sung = self.tune_in(bar)
        start = bar * self.length
        return len(sung) == 1 and min(sung[0].end, start + self.length) - max(sung[0].on, start) > self.shape.half

    def halves_that_move(self, bar: int) -> tuple[bool | None, bool | None]:
        """Return for each half of a bar whether the tune moves in eighths there; None for neither so nor standing."""
        half = self.shape.half
        start = bar * self.length
        onsets = [note.on - start for note in self.tune_in(bar) if note.on >= start]
        beats = sum(beat < half for beat in self.shape.beats)
        counts = [sum(at // half == n for at in onsets) for n in (0, 1)]
        first, second = (True if n >= beats + 1 and n > 2 else False if n <= 1 else None for n in counts)
        return (first, second) if {first, second} == {True, False} else (None, None)

    def is_stop(self, bar: int) -> bool:
        """Whether the tune rests in a bar that is planned to be silent for others too."""
        return any(one.first <= bar + 1 <= one.last for one in self.plan.silences) and not self.tune_in(bar)

    def is_crowded(self, section: Section) -> bool:
        """Whether the tune of a whole section has so many notes that a figure beside it must be thin."""
        bars = range(section.first - 1, min(section.last, self.bars))
        notes = sum(len(self.tune_in(bar)) for bar in bars)
        seconds = len(bars) * self.length / TICKS_PER_QUARTER * 60 / section.qpm
        return notes >= _CROWDED * seconds

    def leaves_room(self, section: Section) -> bool:
        """Whether a tune stands still enough for a figure in sixteenths beside all of a section: a note a beat."""
        bars = range(section.first - 1, min(section.last, self.bars))
        return all(len(self.tune_in(bar)) <= len(self.shape.beats) + 1 for bar in bars) and len(bars) > 1

    def others_in(self, bar: int) -> list[PlacedNote]:
        """Return the notes of other written lines that begin in a bar."""
        start, end = bar * self.length, (bar + 1) * self.length
        return [note for line in self.others for note in line.between(start, end) if note.on >= start]

    def tune_in(self, bar: int) -> list[PlacedNote]:
        """Return the tune's notes that sound in a bar."""
        if bar not in self._tune_in:
            self._tune_in[bar] = self.tune.between(bar * self.length, (bar + 1) * self.length)
        return self._tune_in[bar]

    def beats_a_minute(self, qpm: float) -> float:
        """Return the pace in beats, which are dotted quarters in compound meters."""
        beat = self.shape.beats[1] if len(self.shape.beats) > 1 else self.length
        return qpm * TICKS_PER_QUARTER / beat

    def is_beat(self, tick: int) -> bool:
        """Whether a beat falls on a tick."""
        return tick % self.length in self.beats

    def beat_before(self, tick: int) -> int:
        """Return the tick of the beat before one."""
        bar, at = divmod(tick, self.length)
        earlier = [beat for beat in self.shape.beats if beat < at]
        return bar * self.length + earlier[-1] if earlier else (bar - 1) * self.length + self.shape.last_beat

    def is_strong(self, tick: int) -> bool:
        """Whether a strong beat falls on a tick."""
        return tick % self.length in self.strong_beats

    def range_of(self, voice: int, bar: int) -> tuple[int, int]:
        """Return the lowest and highest pitch that a voice may have in a bar: its range, below the climax."""
        planned: PlannedVoice = self.voices[voice]
        low, high = planned.low, planned.high
        if self.plan.climax is not None:
            high = max(low, min(high, self.plan.climax.pitch - 1))
        return low, high

    def most_at_once(self, voice: int, bar: int) -> int:
        """Return how many notes a figure may have at once: few where it is soft, and on one string in general."""
        instrument = self.instruments[voice]
        if instrument.chords == 2 and instrument.kind == "bowed" and bar not in (self.climax, self.final):
            return 1 if self.levels[bar] < 4 else 2
        return max(1, min(instrument.chords, 5 if self.levels[bar] > 1 else 3))

    def sounding(self, voice: int, tick: int) -> tuple[int, ...]:
        """Return what a voice sounds at a tick among what is set."""
        notes = self.out[voice]
        at = bisect_right(notes, tick, key=lambda note: note.on) - 1
        return notes[at].pitches if at >= 0 and notes[at].end > tick else ()

    def bass_at(self, tick: int) -> int | None:
        """Return the lowest pitch of the voice that has the bass at a tick."""
        bar = min(tick // self.length, self.bars - 1)
        voice = self.bass_voice[bar]
        found = self.sounding(voice, tick) if voice else ()
        return found[0] if found else None

    def bass_over(self, start: int, end: int) -> int | None:
        """Return the highest note that the bass comes to in a stretch of one bar."""
        voice = self.bass_voice[min(start // self.length, self.bars - 1)]
        notes = self.out.get(voice, [])
        first = max(0, bisect_right(notes, start, key=_onset) - 1)
        last = bisect_left(notes, end, key=_onset)
        return max((note.pitches[0] for note in notes[first:last] if note.end > start), default=None)

    def clash(self, pitch: int, tick: int, dur: int) -> int:
        """Return how much a note would rub against the tune and other written lines: 0, up to 20 for one bad rub."""
        key = pitch, tick, dur
        if key not in self._clashes:
            end = tick + dur
            total = sum(self._rub(pitch, tick, dur, note, note.pitches[0]) for note in self.tune.between(tick, end))
            for line in self.others:
                for note in line.between(tick, end):
                    total += max(self._rub(pitch, tick, dur, note, other) for other in note.pitches) * 2 // 3
            self._clashes[key] = total
        return self._clashes[key]

    def rub_with_set(self, voice: int, pitch: int, tick: int, dur: int) -> int:
        """Return how much a note would rub against what other voices have been given: 9 or 12 for each rub."""
        total, end = 0, tick + dur
        chord = self.span_at(tick).classes
        for other, notes in self.out.items():
            if other == voice or not notes or self.roles[other, min(tick // self.length, self.bars - 1)] == "drums":
                continue
            at = max(0, bisect_right(notes, tick, key=_onset) - 1)
            for note in notes[at : at + 12]:
                if note.on >= end:
                    break
                if min(end, note.end) - max(tick, note.on) < EIGHTH:
                    continue
                for tone in note.pitches:
                    away = abs(pitch - tone)
                    if away % 12 not in (1, 11) or away > 37:
                        continue
                    if not (pitch % 12 in chord and tone % 12 in chord):
                        total += 12 if away < 14 else 9
        return total

    def along(self, voice: int, before: PlacedNote, tick: int, pitch: int) -> int:
        """Return what it costs that a voice goes from a note to a pitch in octaves (9) or fifths (6) with another.

        Octaves count with every voice that moves at the same time, fifths with the tune and the bass.
        """
        was = before.pitches[-1]
        if was == pitch or tick - before.end > EIGHTH:
            return 0
        bar = min(tick // self.length, self.bars - 1)
        worst = 0
        for other, (old, new) in self._moves(voice, tick):
            if max(old.on, before.on) >= min(old.end, before.end) or tick - old.end > EIGHTH:
                continue
            is_bass = other == self.bass_voice[bar]
            here, there = (old.pitches[0], new.pitches[0]) if is_bass else (old.pitches[-1], new.pitches[-1])
            if (there - here) * (pitch - was) <= 0 or (there - pitch) % 12 != (here - was) % 12:
                continue
            interval = abs(there - pitch) % 12
            worst += 9 if interval == 0 else 6 if interval == 7 and other in (0, self.bass_voice[bar]) else 0
        return worst

    def _moves(self, voice: int, tick: int) -> Iterator[tuple[int, tuple[PlacedNote, PlacedNote]]]:
        """Yield (voice, (note before, note that begins at a tick)) of the tune (voice 0) and all other voices."""
        for other, notes in ((0, self.tune.notes), *((-1, line.notes) for line in self.others), *self.out.items()):
            if other == voice or len(notes) < 2:
                continue
            at = bisect_left(notes, tick, key=_onset)
            if 0 < at < len(notes) and notes[at].on == tick:
                yield other, (notes[at - 1], notes[at])

    def _rub(self, pitch: int, tick: int, dur: int, note: PlacedNote, other: int) -> int:
        start, end = max(tick, note.on), min(tick + dur, note.end)
        span = self.span_at(start)
        held = note.dur >= TICKS_PER_QUARTER or self.is_beat(note.on)
        strong = self.is_strong(start) or (dur > EIGHTH and self.is_beat(start)) or end - start >= TICKS_PER_QUARTER
        foreign = other % 12 not in span.classes
        away, up = abs(pitch - other), abs(pitch - other) % 12
        cost = 0
        if away in (1, 13) or (up == 1 and foreign) or (up == 1 and strong):
            cost = 20 if held else 7
        elif away == 2 or (up in (2, 10) and foreign and away < 15):
            cost = 10 if strong or (away == 2 and self.is_beat(tick)) else 3
        elif up == 11:
            plain = not foreign and pitch % 12 in span.classes
            cost = (9 if plain and away > 12 else 12 if plain else 15) if held else 4
        elif up == 0 and strong and held:
            if (span.leans and pitch % 12 == span.third) or pitch % 12 == span.seventh:
                cost = 8
            elif away == 0:
                cost = 6 if note.on == tick else 4
        return cost * 4 // 10 if foreign and note.on in self.passing else cost


def _onset(note: PlacedNote) -> int:
    return note.on
