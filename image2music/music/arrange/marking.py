"""Marks on lines: loudness by section and voice, swells by phrase, accents, articulation, pedal, and the tempo's give.

They stand on events; notes never change here. A voice whose writer has put marks keeps its own. Nothing new is marked
inside an open swell.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from image2music.music.arrange.stage import ArrangingStage
from image2music.music.lines import Bar, LineEvent
from image2music.music.planning.plan import DYNAMICS, Family, Section
from image2music.music.theory import TICKS_PER_QUARTER

HowPlayed = Literal["lyrical", "playful", "driving", "broad", "plain"]
"""How a section is played: bound, short, accented, full, or as it comes."""

_LEADS = frozenset({"melody", "double", "parallel", "answer"})
_SLURRED = frozenset({"figure", "counter", "answer", "parallel"})
_SWELLING = frozenset({"melody"})
_SHORT_FAMILIES: frozenset[Family | None] = frozenset({"pizzicato", "offbeat", "waltz", "ostinato"})
_URGENT_FAMILIES: frozenset[Family | None] = frozenset({"pulse", "tremolo", "ostinato"})
_STYLES: dict[str, HowPlayed] = {
    "calm": "lyrical", "flowing": "lyrical", "playful": "playful", "grand": "broad", "dark": "lyrical",
    "driving": "driving",
}  # fmt: skip
_STRICT = re.compile(r"\b(stop|stops|cut|cuts|short|abrupt|strict)", re.IGNORECASE)
_WITH_PEDAL = frozenset({0, 1, 2, 3, 4, 5, 11, 46})
"""Pianos, vibraphone and harp: what rings on."""
_RINGING = frozenset({"bass", "hold"})
_RINGING_FAMILIES = frozenset({"wave", "broken", "alberti", "arpeggio", "pad", "chorale"})
_LARGEST_BOUND, _STEP = 9, 4
"""Semitones up to which notes of a bar are bound, and those of two bars."""
_PHRASE, _WIDE_ENOUGH = 4, 6
"""Bars of a phrase; semitones from which on a line that rises or falls gets a swell."""
Spot = tuple[int, int]


def manner_of(stage: ArrangingStage, section: Section) -> HowPlayed:
    """Say how a section is played, by its loudness, pace and figures, and by the plan's style where that is a word."""
    level = stage.levels[min(section.first, stage.bars) - 1]
    beats = stage.beats_a_minute(section.qpm)
    families = {part.family for part in section.parts}
    styled = next((_STYLES[word] for word in stage.plan.style.lower().split() if word in _STYLES), None)
    if styled in ("driving", "broad") and level >= 3:
        return styled
    if styled in ("lyrical", "playful"):
        return "broad" if level >= 4 else styled
    if level >= 3 and (beats >= 112 or (beats >= 96 and families & _URGENT_FAMILIES)):
        return "driving"
    if beats >= 88 and level <= 3 and families & _SHORT_FAMILIES:
        return "playful"
    if beats < 100:
        return "broad" if level >= 4 else "lyrical"
    return "plain"


class Marker:
    """Puts marks on the bars of one voice."""

    def __init__(self, stage: ArrangingStage, voice: int, bars: Sequence[Bar]) -> None:
        self.stage, self.voice = stage, voice
        self.bars = [list(bar) for bar in bars]
        self.instrument = stage.instruments[voice]
        self._manners: dict[int, HowPlayed] = {}
        self.is_drums = any(stage.roles[voice, bar] == "drums" for bar in range(stage.bars))

    def run(self) -> tuple[Bar, ...]:
        """Return the bars with their marks."""
        stage = self.stage
        events = [event for bar in range(stage.bars) if stage.is_written(self.voice, bar) for event in self.bars[bar]]
        own_loudness = any(set(event.marks) & set(DYNAMICS) for event in events)
        own_manner = own_loudness or any(event.slur_starts or event.marks for event in events)
        if not own_loudness:
            for section in stage.plan.sections:
                self._section(section)
        self._climax_accent()
        if not self.is_drums:
            for section in stage.plan.sections:
                self._articulate(section, own_manner)
        if self.instrument.program in _WITH_PEDAL and not own_manner:
            self._pedal()
        return tuple(tuple(bar) for bar in self.bars)

    def _manner(self, section: Section) -> HowPlayed:
        if section.first not in self._manners:
            self._manners[section.first] = manner_of(self.stage, section)
        return self._manners[section.first]

    def _notes(self, first: int, last: int) -> Iterator[Spot]:
        """Yield (bar, place) of every note that begins in bars `first` to `last` (from 0, inclusive)."""
        tied = False
        for bar in range(max(0, first - 1), min(last + 1, self.stage.bars)):
            for at, event in enumerate(self.bars[bar]):
                if event.pitches and not tied and bar >= first:
                    yield bar, at
                tied = event.tied

    def _change(self, place: Spot, change: Callable[[LineEvent], LineEvent]) -> None:
        bar, at = place
        self.bars[bar][at] = change(self.bars[bar][at])

    def _add(self, place: Spot, *marks: str) -> None:
        self._change(place, lambda event: replace(event, marks=(*marks, *event.marks)))

    def _append(self, place: Spot, *marks: str) -> None:
        self._change(place, lambda event: replace(event, marks=(*event.marks, *marks)))

    # loudness

    def _dynamic(self, bar: int) -> str:
        """The section's loudness for who leads, one less for the others, two where they lie over a low tune."""
        stage = self.stage
        level = stage.levels[bar]
        if stage.roles[self.voice, bar] in _LEADS or level == len(DYNAMICS) - 1:
            return DYNAMICS[level]
        singer = stage.singer(bar)
        covers = (
            level >= 3
            and singer in stage.voices
            and not self.is_drums
            and _middle(stage, self.voice) > _middle(stage, singer) + 2
        )
        return DYNAMICS[max(0, level - 1 - covers)]

    def _section(self, section: Section) -> None:
        stage = self.stage
        first, last = section.first - 1, min(section.last, stage.bars) - 1
        notes = list(self._notes(first, last))
        if not notes:
            return
        said = self._dynamic(notes[0][0])
        dynamics = {notes[0]: said}
        for before, here in itertools.pairwise(notes):
            if here[0] != before[0] and (now := self._dynamic(here[0])) != said:
                said = dynamics[here] = now
        free = notes
        hairpin = self._hairpin(section, first, last)
        if hairpin is not None:
            word, start, end = hairpin
            inside = [place for place in notes if start <= place[0] <= end]
            if end == stage.climax:
                inside = [place for place in inside if place <= next((p for p in inside if p[0] == end), inside[-1])]
            if len(inside) > 1:
                dynamics = {place: text for place, text in dynamics.items() if place not in inside[1:-1]}
                self._pin(word, inside[0], inside[-1])
                if end == stage.climax and end - first >= 2 and len(dynamics) == 1:
                    # The way to the peak begins softer, so that there is somewhere to go.
                    dynamics = {notes[0]: DYNAMICS[max(0, DYNAMICS.index(said) - 1)], inside[-1]: said}
                free = [place for place in notes if place < inside[0]]
        if free and not self.is_drums:
            self._phrases([place for place in free if place[0] < free[-1][0] + 1], first, set(dynamics))
        for place, text in dynamics.items():
            self._add(place, text)

    def _pin(self, word: str, start: Spot, end: Spot) -> None:
        self._add(start, f"{word}(")
        self._change(end, lambda event: replace(event, marks=(f"{word})", *event.marks)))

    def _hairpin(self, section: Section, first: int, last: int) -> tuple[str, int, int] | None:
        """Return the section's swell: what it says, the way to its climax, or on to the next section's loudness."""
        stage = self.stage
        if first < stage.climax <= last:
            return "crescendo", max(first, stage.climax - 2), stage.climax
        bars = last - first + 1
        if section.swell == "grow":
            return "crescendo", *self._way_up(first, last)
        is_end = last == stage.final
        if section.swell == "fade" or (is_end and stage.levels[last] <= 3):
            return "diminuendo", max(first, last - (2 if bars > 3 else 1)), last
        if last == stage.bars - 1 or (last + 1 == stage.climax and stage.levels[last] >= stage.levels[last + 1]):
            return None
        growth = stage.levels[last + 1] - stage.levels[last]
        if abs(growth) < 2:
            return None  # a small step is taken at once
        return "crescendo" if growth > 0 else "diminuendo", max(first, last - 1), last

    def _way_up(self, first: int, last: int) -> tuple[int, int]:
        """Return the bars of a section in which it grows: from where the tune is lowest on to its top, at most four."""
        tops = {bar: max(note.pitches[0] for note in tune) for bar in range(first, last + 1)
                if (tune := self.stage.tune_in(bar))}  # fmt: skip
        if len(tops) < 3:
            return max(first, last - 1), last
        begun = min(tops)  # the tune may rest before
        top = max((bar for bar in tops if bar > begun), key=lambda bar: (tops[bar], bar))
        start = min((bar for bar in tops if bar < top), key=lambda bar: (tops[bar], -bar))
        return (max(start, top - 3), top) if top * 2 > first + last else (max(first, last - 1), last)

    def _phrases(self, notes: Sequence[Spot], first: int, told: set[Spot]) -> None:
        """Let a line's first four bars grow to their highest note and fall, those that answer only fall.

        A phrase that goes neither far up nor down has no swell; held tones have one in a section.
        """
        stage = self.stage
        for start in range(first, notes[-1][0] + 1, _PHRASE):
            phrase = [p for p in notes if start <= p[0] < start + _PHRASE]
            roles = {stage.roles[self.voice, bar] for bar, _ in phrase}
            if len(roles) != 1 or told & set(phrase[1:]) or phrase[-1][0] - phrase[0][0] < 2:
                continue
            role = next(iter(roles))
            if role in _SWELLING and len(phrase) >= 6:
                heights = [max(self.bars[bar][at].pitches) for bar, at in phrase]
                top = heights.index(max(heights))
                if heights[top] - min(heights) < _WIDE_ENOUGH:
                    continue
                answers = (start - first) // _PHRASE % 2
                if top >= 2 and not answers:
                    self._pin("crescendo", phrase[0], phrase[top])
                if top <= len(phrase) - 3 and (answers or top < 2 or heights[top] - heights[-1] >= _WIDE_ENOUGH):
                    self._pin("diminuendo", phrase[top + 1], phrase[-1])
            elif role == "hold" and start == first and len(phrase) >= 4 and self.instrument.sustains:
                middle = len(phrase) // 2
                self._pin("crescendo", phrase[0], phrase[middle - 1])
                self._pin("diminuendo", phrase[middle], phrase[-1])

    # articulation

    def _climax_accent(self) -> None:
        stage = self.stage
        sings = stage.climax >= 0 and self.voice in (stage.singer(stage.climax), stage.bass_voice[stage.climax])
        if sings and stage.levels[stage.climax] >= 4:
            for place in list(self._notes(stage.climax, stage.climax))[:1]:
                if place[1] == 0 and "accent" not in self.bars[place[0]][0].marks:
                    self._append(place, "accent")

    def _articulate(self, section: Section, own_manner: bool) -> None:
        stage = self.stage
        manner = self._manner(section)
        sustains = self.instrument.sustains
        for bar in range(section.first - 1, min(section.last, stage.bars)):
            role = stage.roles[self.voice, bar]
            if stage.is_written(self.voice, bar):
                if own_manner:
                    continue
                is_head = bar == section.first - 1 and bar > 0 and 2 < stage.levels[bar] > stage.levels[bar - 1]
                offbeat = manner == "driving" and (bar - section.first) % 2 == 0
                if self.voice == stage.singer(bar) and bar != stage.climax and (is_head or offbeat):
                    self._accent(bar, is_head=is_head)
                if manner == "playful":
                    self._detach(bar)
                if sustains and manner in ("lyrical", "broad", "plain", "playful"):
                    self._slurs(bar, stage.length if manner != "playful" else stage.shape.half, 2)
            elif sustains and role in _SLURRED and not stage.light.get((self.voice, bar)):
                self._slurs(bar, stage.shape.half, 1)
        if sustains and not own_manner and manner in ("lyrical", "broad"):
            self._join_slurs(section)

    def _join_slurs(self, section: Section) -> None:
        """Bind two bars of a written line, where it goes on by step from the one to the other."""
        for bar in range(section.first - 1, min(section.last, self.stage.bars) - 1, 2):
            if not (self.bars[bar] and self.bars[bar + 1] and self.stage.is_written(self.voice, bar)):
                continue
            last, after = self.bars[bar][-1], self.bars[bar + 1][0]
            if last.slur_ends and after.slur_starts and 0 < abs(last.pitches[0] - after.pitches[0]) <= _STEP:
                self._change((bar, -1), lambda event: replace(event, slur_ends=event.slur_ends - 1))
                self._change((bar + 1, 0), lambda event: replace(event, slur_starts=event.slur_starts - 1))

    def _accent(self, bar: int, *, is_head: bool) -> None:
        """Accent the head of a theme, else a note that begins between the beats and is held over one."""
        stage = self.stage
        at = Fraction(0)
        beats = [Fraction(beat, TICKS_PER_QUARTER) for beat in stage.shape.beats]
        tied = bar > 0 and bool(self.bars[bar - 1]) and self.bars[bar - 1][-1].tied
        for number, event in enumerate(self.bars[bar]):
            end = at + event.length
            over = at not in beats and any(at < beat < end for beat in beats) and event.length >= 1
            if event.pitches and not tied and "accent" not in event.marks and (over or (is_head and not number)):
                self._append((bar, number), "accent")
                return
            at, tied = end, event.tied

    def _detach(self, bar: int) -> None:
        """Shorten eighths that are repeated, or leapt from, or stand before a rest."""
        events = self.bars[bar]
        if self.instrument.kind in ("mallet", "struck", "plucked"):
            return
        for number, event in enumerate(events):
            after = events[number + 1] if number + 1 < len(events) else None
            before = events[number - 1] if number else None
            if not event.pitches or event.length > Fraction(1, 2) or event.tied or event.tuplet:
                continue
            if after is None or (before is not None and before.tied) or event.length < Fraction(1, 4):
                continue
            apart = not after.pitches or abs(after.pitches[-1] - event.pitches[-1]) not in (1, 2)
            if apart and event.length == Fraction(1, 2):
                self._append((bar, number), "staccato")

    def _slurs(self, bar: int, span: int, longest: int) -> None:
        """Bind notes that follow one another on different pitches: those of one stretch of `span` ticks of the bar.

        `longest` is the length in quarters up to which a note is bound to the next.
        """
        group_length = Fraction(span, TICKS_PER_QUARTER)
        events = self.bars[bar]
        group: list[int] = []
        at = starts = Fraction(0)
        carried = bar > 0 and bool(self.bars[bar - 1]) and self.bars[bar - 1][-1].tied
        for number, event in enumerate(events):
            last = events[group[-1]] if group else None
            joins = (
                len(event.pitches) == 1 and event.length <= longest and "staccato" not in event.marks
                and not event.tied and not carried
                and (last is None or 0 < abs(last.pitches[0] - event.pitches[0]) <= _LARGEST_BOUND)
            )  # fmt: skip
            if group and (not joins or at // group_length != (at - events[number - 1].length) // group_length):
                self._bind(bar, group, starts)
                group = []
            if (
                len(event.pitches) == 1
                and event.length <= longest
                and not (event.tied or carried)
                and "staccato" not in event.marks
            ):
                group.append(number)
                starts = starts if len(group) > 1 else at
            at += event.length
            carried = event.tied
        self._bind(bar, group, starts)

    def _bind(self, bar: int, group: Sequence[int], start: Fraction) -> None:
        """Put a slur over notes from `start`; two that go over a beat are none."""
        if len(group) > 2 or (len(group) == 2 and start * TICKS_PER_QUARTER in self.stage.beats):
            self._change((bar, group[0]), lambda event: replace(event, slur_starts=event.slur_starts + 1))
            self._change((bar, group[-1]), lambda event: replace(event, slur_ends=event.slur_ends + 1))

    def _pedal(self) -> None:
        """Press the pedal with each chord where broken ones ring on; lift it with the next, in rests, and elsewhere."""
        stage = self.stage
        is_down, under = False, -1
        for bar in range(stage.bars):
            rings = self._rings(bar)
            at = Fraction(bar * stage.length, TICKS_PER_QUARTER)
            tied = bar > 0 and bool(self.bars[bar - 1]) and self.bars[bar - 1][-1].tied
            for number, event in enumerate(self.bars[bar]):
                chord = stage.span_at(int(at * TICKS_PER_QUARTER)).on
                if not event.pitches and is_down and (event.length >= 1 or chord != under):
                    self._append((bar, number), "ped-up")
                    is_down, under = False, -1
                elif event.pitches and not tied and (chord != under if rings else is_down):
                    self._append((bar, number), *(["ped-up"] if is_down else []), *(["ped"] if rings else []))
                    is_down, under = rings, chord
                at += event.length
                tied = event.tied

    def _rings(self, bar: int) -> bool:
        stage = self.stage
        role = stage.roles[self.voice, bar]
        if stage.is_written(self.voice, bar) or stage.light.get((self.voice, bar)):
            return False
        if self._manner(stage.sections[bar]) in ("driving", "playful"):
            return False
        figure = stage.family_of.get((self.voice, bar))
        return role in _RINGING or (figure is not None and figure in _RINGING_FAMILIES)


def _middle(stage: ArrangingStage, voice: int) -> int:
    return (stage.voices[voice].low + stage.voices[voice].high) // 2


def tempo_changes(stage: ArrangingStage) -> tuple[tuple[int, float], ...]:
    """Return (bar from 1, quarter notes a minute) wherever the tempo changes.

    A bar before a clearly slower section gives way, and so does a quiet section's last one that is left open before
    the peak, but a groove keeps time; the last two bars slow down, unless the plan says that the end stops or
    something like it. Nothing gives way in a loop.
    """
    sections = stage.plan.sections
    if stage.plan.loop:
        steps = itertools.groupby(sections, key=lambda section: section.qpm)
        return tuple((next(same).first, qpm) for qpm, same in steps)
    strict = bool(_STRICT.search(stage.plan.ending))
    drummed = {stage.sections[bar].first for (_, bar), role in stage.roles.items() if role == "drums"}
    at: dict[int, float] = {section.first: section.qpm for section in sections}
    for here, after in itertools.pairwise(sections):
        bar = after.first - 1
        if bar in at or bar in (stage.climax + 1, 0):
            continue
        if after.qpm < 0.92 * here.qpm:
            at[bar] = round((here.qpm + after.qpm) / 2)
        elif _breathes(stage, here, after, drummed) and not strict:
            at[bar] = round(0.94 * here.qpm)
    end = sections[-1]
    if stage.bars - 2 > end.first and not strict:
        lively = stage.levels[stage.bars - 1] >= 3 and stage.beats_a_minute(end.qpm) >= 104
        at[stage.bars - 1], at[stage.bars] = (
            round((0.96 if lively else 0.92) * end.qpm),
            round((0.88 if lively else 0.8) * end.qpm),
        )
    changes: list[tuple[int, float]] = []
    for bar in sorted(at):
        if not changes or changes[-1][1] != at[bar]:
            changes.append((bar, at[bar]))
    return tuple(changes)


def _breathes(stage: ArrangingStage, here: Section, after: Section, drummed: set[int]) -> bool:
    """Whether a section gives way at its end: once in a tune, into the section with the peak."""
    return (
        here.cadence in ("half", "open", "deceptive")
        and after.first - 1 <= stage.climax <= after.last - 1
        and stage.levels[here.last - 1] <= 2
        and here.first not in drummed
        and stage.beats_a_minute(here.qpm) < 96
        and len(here.bars) >= _PHRASE
        and after.first <= stage.bars
    )
