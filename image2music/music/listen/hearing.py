"""A score as a listener has it in mind: voices with a top and a bottom line, bars, beats, keys; a plan beside it.

All times are ticks of 1/480 quarter, whatever the score counts in.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from image2music.music.grid import bars_of, detect_key, only_meter, parts_of, pickup_of, pitch_class_weights
from image2music.music.planning.plan import Plan, PlannedVoice, Role, pitch_name
from image2music.music.score import Score, Track
from image2music.music.theory import (
    GRID_QUARTER,
    LETTERS,
    MIDDLE_C,
    NATURALS,
    TICKS_PER_QUARTER,
    read_tonality,
    signature_alterations,
    tonic_pitch_class,
)

EIGHTH = TICKS_PER_QUARTER // 2


class HeardNote(NamedTuple):
    """A note that sounds from `start` to before `end`."""

    start: int
    end: int
    pitch: int
    velocity: int
    program: int


class HeardBar(NamedTuple):
    """A bar from `start` to before `end`, its number as written and the ticks of its beat.

    `lead` is what is missing before the start of a pick-up. `again` tells that a repeat plays the bar once more.
    """

    start: int
    end: int
    number: int
    beat: int
    lead: int
    again: bool


@dataclass(frozen=True)
class HeardVoice:
    """One voice: its place in the tune from 1, and its notes sorted by start, then pitch."""

    place: int
    name: str
    program: int
    is_drum: bool
    tones: tuple[HeardNote, ...]

    @cached_property
    def top(self) -> list[HeardNote]:
        """The highest note of each onset, without those that begin under a higher note."""
        return _outline(self.tones, highest=True)

    @cached_property
    def bottom(self) -> list[HeardNote]:
        """The lowest note of each onset, without those that begin over a lower note."""
        return _outline(self.tones, highest=False)

    @cached_property
    def starts(self) -> list[int]:
        """The onset of each note."""
        return [tone.start for tone in self.tones]

    @cached_property
    def longest(self) -> int:
        """The ticks of the longest note."""
        return max((tone.end - tone.start for tone in self.tones), default=0)

    @cached_property
    def mean_pitch(self) -> float:
        """The mean pitch, every note counted once."""
        return sum(tone.pitch for tone in self.tones) / max(1, len(self.tones))

    @cached_property
    def is_figure(self) -> bool:
        """Whether it plays chords or broken chords rather than a line."""
        if len(self.top) < 4:
            return False
        if len(self.tones) > 1.2 * len(self.top):
            return True
        moves = [abs(b.pitch - a.pitch) for a, b in pairwise(self.top) if a.pitch != b.pitch]
        return bool(moves) and sum(move > 2 for move in moves) > 0.7 * len(moves)

    def sounding(self, tick: int) -> list[HeardNote]:
        """Return what sounds at a tick."""
        first = bisect_left(self.starts, tick - self.longest)
        last = bisect_right(self.starts, tick)
        return [tone for tone in self.tones[first:last] if tone.end > tick]

    def between(self, start: int, end: int) -> Sequence[HeardNote]:
        """Return the notes that begin from `start` to before `end`."""
        return self.tones[bisect_left(self.starts, start) : bisect_left(self.starts, end)]


def _outline(tones: Sequence[HeardNote], *, highest: bool) -> list[HeardNote]:
    """Follow the outermost note. `tones` ascend by start, then pitch."""
    line: list[HeardNote] = []
    sign = 1 if highest else -1
    for tone in tones:
        if line:
            last = line[-1]
            beyond = sign * (tone.pitch - last.pitch)
            if last.start == tone.start:
                if beyond > 0:
                    line[-1] = tone
                continue
            if beyond < 0 and last.end - tone.start > EIGHTH // 4:
                continue
        line.append(tone)
    return line


@dataclass(frozen=True)
class HeardTune:
    """A whole tune. `voices` has all of them, silent ones and drums too; `pitched` those with pitches that sound."""

    score: Score
    voices: tuple[HeardVoice, ...]
    bars: tuple[HeardBar, ...]
    end: int

    @cached_property
    def pitched(self) -> list[HeardVoice]:
        """The voices with pitches, by place."""
        return [voice for voice in self.voices if voice.tones and not voice.is_drum]

    @cached_property
    def by_height(self) -> list[HeardVoice]:
        """The voices with pitches, highest first."""
        return sorted(self.pitched, key=lambda voice: (-round(voice.mean_pitch, 6), voice.place))

    @cached_property
    def _bar_starts(self) -> list[int]:
        return [bar.start for bar in self.bars]

    @cached_property
    def strengths(self) -> dict[int, float]:
        """Return the weight of each beat by its tick: 1 on the first of a bar, .85 in its middle, .7 elsewhere."""
        found: dict[int, float] = {}
        for bar in self.bars:
            whole = bar.end - bar.start + bar.lead
            for at in range(-bar.lead, whole - bar.lead, bar.beat):
                since = at + bar.lead
                if at >= 0:
                    found[bar.start + at] = 1.0 if not since else 0.85 if _is_middle(since, whole, bar.beat) else 0.7
        return found

    @cached_property
    def beats(self) -> list[int]:
        """The tick of each beat."""
        return list(self.strengths)

    def bar_at(self, tick: int) -> HeardBar:
        """Return the bar in which a tick lies."""
        return self.bars[self.index_at(tick)]

    def index_at(self, tick: int) -> int:
        """Return the place in `bars`, from 0, of the bar in which a tick lies."""
        return max(0, bisect_right(self._bar_starts, tick) - 1)

    def place(self, tick: int) -> tuple[int, float]:
        """Return the number of the bar and the beat, from 1, rounded to a thousandth."""
        bar = self.bar_at(tick)
        return bar.number, round((tick - bar.start) / bar.beat + 1, 3)

    def next_beat(self, tick: int) -> int:
        """Return the first beat at or behind a tick."""
        at = bisect_left(self.beats, tick)
        return self.beats[at] if at < len(self.beats) else self.end

    def name(self, voice: HeardVoice) -> str:
        """Return how a message calls a voice: by its name where only one has it, else by its place."""
        namesakes = sum(other.name == voice.name for other in self.voices)
        if voice.name and namesakes == 1 and not voice.name.isdigit():
            return voice.name
        return f"voice {voice.place}"

    def tone(self, voice: HeardVoice, tone: HeardNote) -> str:
        """Write a note with its voice: `Violin G5`."""
        return f"{self.name(voice)} {pitch_name(tone.pitch)}"

    def sounding(self, tick: int) -> Iterator[tuple[HeardVoice, HeardNote]]:
        """Yield all pitched notes that sound at a tick."""
        for voice in self.pitched:
            for tone in voice.sounding(tick):
                yield voice, tone

    @cached_property
    def tonics(self) -> tuple[int, ...]:
        """The pitch classes that may be home at the end: the stated key's, else what the notes say.

        A signature does not tell a major key from its relative minor, and in old scores not from its neighbours; where
        the notes say that it is the relative, that is home too, and so is a key with one sign more or less in which
        the tune begins.
        """
        quarters = np.array([(t.end - t.start) / TICKS_PER_QUARTER for v in self.pitched for t in v.tones])
        pitches = np.array([t.pitch for v in self.pitched for t in v.tones], dtype=np.int64)
        heard = detect_key(pitch_class_weights(pitches, quarters))
        heard_tonic = tonic_pitch_class(heard.sharps, heard.minor)
        if not self.score.keys:
            return (heard_tonic,)
        stated = self.score.keys[-1]
        relative = tonic_pitch_class(stated.sharps, not stated.minor)
        near = abs(heard.sharps - stated.sharps) == 1 and len(self.score.keys) == 1
        opening = min((tone.pitch for _, tone in self.sounding(self.first_beat)), default=-1)
        if heard_tonic == relative or (near and opening % 12 == heard_tonic):
            return (stated.tonic, heard_tonic)
        return (stated.tonic,)

    @property
    def first_beat(self) -> int:
        """The first of a bar behind which something has sounded already or begins to: behind a pick-up, if any."""
        return self.bars[1].start if self.bars[0].lead and len(self.bars) > 1 else self.bars[0].start


def _is_middle(since: int, whole: int, beat: int) -> bool:
    beats = whole // beat
    if beats % 3 == 0 and beats > 3:
        return since % (3 * beat) == 0
    return beats % 2 == 0 and beats > 2 and since * 2 == whole


def hearing_of(score: Score) -> HeardTune:
    """Return a score as a listener has it. The score has at least one note."""
    scale = TICKS_PER_QUARTER / score.ticks_per_quarter
    voices = _voices(score, scale)
    end = max(tone.end for voice in voices for tone in voice.tones)
    return HeardTune(score, voices, _bars(score, scale, end), end)


def _voices(score: Score, scale: float) -> tuple[HeardVoice, ...]:
    """One voice a track; tracks that follow each other in time under one name are one voice with other instruments."""
    voices: list[HeardVoice] = []
    for track in score.tracks:
        tones = _tones(track, scale)
        last = voices[-1] if voices else None
        if last and _goes_on(last, track, tones):
            merged = tuple(sorted((*last.tones, *tones)))
            voices[-1] = HeardVoice(last.place, last.name, last.program, last.is_drum, merged)
        else:
            voices.append(
                HeardVoice(len(voices) + 1, " ".join(track.name.split()), track.program, track.is_drum, tones)
            )
    return tuple(voices)


def _goes_on(last: HeardVoice, track: Track, tones: tuple[HeardNote, ...]) -> bool:
    if (
        not last.name
        or " ".join(track.name.split()) != last.name
        or last.is_drum != track.is_drum
        or not last.tones
        or not tones
    ):
        return False
    if track.program in {tone.program for tone in last.tones}:
        return False
    both = sorted((*last.tones, *tones))
    return all(a.end <= b.start for a, b in pairwise(both) if a.program != b.program)


def _tones(track: Track, scale: float) -> tuple[HeardNote, ...]:
    starts, ends = track.onsets, track.onsets + np.maximum(track.durations, 1)
    if scale != 1:
        starts, ends = np.rint(starts * scale).astype(np.int64), np.rint(ends * scale).astype(np.int64)
        ends = np.maximum(ends, starts + 1)
    columns = (starts.tolist(), ends.tolist(), track.pitches.tolist(), track.velocities.tolist())
    program = track.program
    tones = [HeardNote(start, end, pitch, loud, program) for start, end, pitch, loud in zip(*columns, strict=True)]
    tones.sort()
    return tuple(tones)


def _bars(score: Score, scale: float, end: int) -> tuple[HeardBar, ...]:
    if score.bar_starts:
        lines = [(round(bar.tick * scale), bar.number) for bar in score.bar_starts if bar.tick * scale < end]
    else:
        lines = _lines_by_meter(score, end)
    meters = [(round(change.tick * scale), change.numerator, change.denominator) for change in score.meters]
    meters = meters or [(0, 4, 4)]
    bars: list[HeardBar] = []
    seen: set[int] = set()
    at = 0
    for nth, (start, number) in enumerate(lines):
        while at + 1 < len(meters) and meters[at + 1][0] <= start:
            at += 1
        _, numerator, denominator = meters[at]
        beat = max(1, 4 * TICKS_PER_QUARTER // denominator)
        stop = lines[nth + 1][0] if nth + 1 < len(lines) else max(end, start + numerator * beat)
        lead = max(0, numerator * beat - (stop - start)) if nth == 0 else 0
        bars.append(HeardBar(start, max(stop, start + 1), number, beat, lead, number in seen))
        seen.add(number)
    return tuple(bars)


def _lines_by_meter(score: Score, end: int) -> list[tuple[int, int]]:
    """Return (tick, number) of each bar where only the meters tell, a pick-up found from the notes."""
    per_grid = TICKS_PER_QUARTER // GRID_QUARTER
    lines = (bars_of(score, -(-end // per_grid)).lines * per_grid).tolist()[:-1]
    meter = only_meter(score)
    pickup = pickup_of(parts_of(score), meter) * per_grid if meter is not None and len(score.meters) < 2 else 0
    if pickup and len(lines) > 1:
        shift = lines[1] - lines[0] - pickup
        lines = [0, *(line - shift for line in lines[1:] if line - shift < end)]
        if end > lines[-1] + shift + pickup:
            lines.append(lines[-1] + shift + pickup)
    return [(line, number) for number, line in enumerate(lines, 1) if line < end]


@dataclass(frozen=True)
class Planned:
    """A plan beside what is heard: `lead` bars come before the plan's first (a pick-up), `voices` by the plan's ids."""

    plan: Plan
    hearing: HeardTune
    lead: int
    voices: dict[int, HeardVoice]

    @cached_property
    def _ids(self) -> dict[int, int]:
        return {voice.place: id for id, voice in self.voices.items()}

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {bar.start: index - self.lead + 1 for index, bar in enumerate(self.hearing.bars)}

    def number(self, tick: int) -> int:
        """Return the plan's number of the bar in which a tick lies; 0 in a pick-up."""
        return self._numbers[self.hearing.bar_at(tick).start]

    def bar(self, number: int) -> HeardBar | None:
        """Return a bar by the plan's number, None where the tune has ended before."""
        index = number + self.lead - 1
        return self.hearing.bars[index] if 0 <= index < len(self.hearing.bars) else None

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the ticks of bars `first` to `last`, cut off where the tune ends."""
        bars = [bar for bar in (self.bar(first), self.bar(min(last, self.n_bars))) if bar is not None]
        return (bars[0].start, bars[-1].end) if len(bars) == 2 else (self.hearing.end, self.hearing.end)

    @property
    def n_bars(self) -> int:
        """How many bars are heard, a pick-up left out."""
        return len(self.hearing.bars) - self.lead

    def asked(self, voice: HeardVoice) -> PlannedVoice | None:
        """Return what the plan says of a voice."""
        id = self._ids.get(voice.place)
        return None if id is None else self.plan.voice(id)

    def role(self, voice: HeardVoice, number: int) -> Role | None:
        """Return what the plan asks of a voice in a bar; None for a voice that it doesn't know, and before bar 1."""
        id = self._ids.get(voice.place)
        return None if id is None or number < 1 else self.plan.role_at(id, number)


def beside(plan: Plan, hearing: HeardTune) -> Planned:
    """Lay a plan beside a tune: voices in their order where there are as many, else by instrument."""
    pickup = bool(hearing.bars[0].lead) and len(hearing.bars) > plan.bars
    found: dict[int, HeardVoice] = {}
    rest = list(hearing.voices)
    for nth, planned in enumerate(plan.voices):
        if len(plan.voices) == len(hearing.voices):
            found[planned.id] = hearing.voices[nth]
            continue
        like = next((voice for voice in rest if voice.program == planned.program and not voice.is_drum), None)
        if like is not None:
            found[planned.id] = like
            rest = rest[rest.index(like) + 1 :]
    return Planned(plan, hearing, int(pickup), found)


@dataclass(frozen=True)
class Window:
    """The ticks `start` to before `end` of one chord: weights of what sounds (float64[12], sum 1), and its bass."""

    start: int
    end: int
    weights: NDArray[np.float64]
    bass: int | None
    n_notes: int

    @property
    def n_classes(self) -> int:
        """How many pitch classes are heard, those in passing left out."""
        return int((self.weights >= 0.05).sum())


def window_of(hearing: HeardTune, start: int, end: int) -> Window:
    """Return what sounds from `start` to before `end`: by time, once and a half what sounds on its first beat."""
    weights = [0.0] * 12
    lowest: HeardNote | None = None
    first: HeardNote | None = None
    n_notes = 0
    beat = hearing.bar_at(start).beat
    for voice in hearing.pitched:
        at = bisect_left(voice.starts, start - voice.longest)
        for tone in voice.tones[at:]:
            if tone.start >= end:
                break
            length = min(tone.end, end) - max(tone.start, start)
            if length <= 0 or (tone.start < start and length < EIGHTH // 2):
                continue
            n_notes += 1
            weights[tone.pitch % 12] += length * (1.5 if tone.start <= start else 1.0)
            if tone.start <= start and (lowest is None or tone.pitch < lowest.pitch):
                lowest = tone
            if tone.start < start + beat and (first is None or tone.pitch < first.pitch):
                first = tone
    total = sum(weights)
    low = lowest if lowest is not None and (first is None or lowest.pitch <= first.pitch + 12) else first
    return Window(
        start, end, np.array(weights) / total if total else np.zeros(12), None if low is None else low.pitch, n_notes
    )


_MOTIF_TOKEN = re.compile(
    r"![^!]*!|\"[^\"]*\"|\{[^}]*\}|(?P<tuplet>\(\d)|(?P<bar>\|)|(?P<sign>[_^=]{0,2})(?P<letter>[A-Ga-gzx])"
    r"(?P<octave>[,']*)(?P<length>\d*(?:/\d*)*)(?P<broken>[<>]?)(?P<tie>-?)"
)
_IN_TIME_OF = {2: 3, 3: 2, 4: 3, 6: 2}


def motif_steps(plan: Plan) -> list[tuple[int, int]]:
    """Return the plan's motif as (semitones to the next note, ticks until it); n notes make n - 1 steps.

    Reads notes, rests, ties, tuplets and broken rhythm at L:1/8; everything else of ABC is passed over.
    """
    if plan.motif is None:
        return []
    alterations = dict(zip(LETTERS, signature_alterations(signature_of(plan.key)), strict=True))
    in_bar: dict[str, int] = {}
    notes: list[tuple[int, float]] = []
    now, left, factor, bend, tied = 0.0, 0, 1.0, 1.0, False
    for token in _MOTIF_TOKEN.finditer(plan.motif.abc):
        if token["bar"]:
            in_bar = {}
        elif token["tuplet"]:
            left = int(token["tuplet"][1])
            factor = _IN_TIME_OF.get(left, left) / max(1, left)
        elif token["letter"]:
            length = _eighths(token["length"]) * (factor if left else 1.0) * bend
            bend = 1.0
            if token["broken"]:
                length, bend = (length * 1.5, 0.5) if token["broken"] == ">" else (length * 0.5, 1.5)
            left = max(0, left - 1)
            letter = token["letter"].upper()
            if letter not in "ZX":
                octave = token["octave"].count("'") - token["octave"].count(",") + token["letter"].islower()
                if token["sign"]:
                    in_bar[letter] = token["sign"].count("^") - token["sign"].count("_")
                alteration = in_bar.get(letter, alterations[letter])
                pitch = MIDDLE_C + NATURALS[LETTERS.index(letter)] + alteration + 12 * octave
                if not (tied and notes and notes[-1][0] == pitch):
                    notes.append((pitch, now))
            tied = bool(token["tie"])
            now += length
    eighth = TICKS_PER_QUARTER // 2
    return [(b[0] - a[0], round((b[1] - a[1]) * eighth)) for a, b in pairwise(notes)]


def _eighths(text: str) -> float:
    number, *divisors = text.split("/")
    length = float(number or 1)
    for divisor in divisors:
        length /= float(divisor or 2) or 1.0
    return length


def signature_of(key: str) -> int:
    """Return the signature of a key as ABC writes it (`F#m`, `Ddor`), 0 where it cannot be read."""
    tonality = read_tonality(key)
    return 0 if tonality is None else tonality.sharps
