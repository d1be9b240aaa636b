"""Marks: dynamics and swells by section and phrase, accents, slurs, and tempos that give way.

Marks stand on events; a voice whose writer has put dynamics keeps its own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from image2music.music.arrange.stage import ArrangingStage
from image2music.music.lines import Bar, LineEvent
from image2music.music.planning.plan import DYNAMICS, Section

_LEADS = frozenset({"melody", "double", "parallel", "answer"})
_SLURRED = frozenset({"figure", "counter", "answer", "parallel"})
_SLOWS = re.compile(r"\b(rit|rall|slow|fade|fading|die|dying|broad|allarg|calm|morendo|linger)", re.IGNORECASE)
Place = tuple[int, int]


class Marker:
    """Puts marks on the bars of one voice."""

    def __init__(self, stage: ArrangingStage, voice: int, bars: Sequence[Bar]) -> None:
        self.stage, self.voice = stage, voice
        self.bars = [list(bar) for bar in bars]

    def run(self) -> tuple[Bar, ...]:
        """Return the bars with their marks."""
        own = any(set(event.marks) & set(DYNAMICS) for bar in self.bars for event in bar)
        if not own:
            for section in self.stage.plan.sections:
                self._section(section)
        self._accents()
        if self.stage.instruments[self.voice].sustains:
            for bar in range(self.stage.bars):
                if not self.stage.is_written(self.voice, bar) and self.stage.roles[self.voice, bar] in _SLURRED:
                    self._slurs(bar)
        return tuple(tuple(bar) for bar in self.bars)

    def _notes(self, first: int, last: int) -> Iterator[Place]:
        """Yield (bar, place) of every note that begins in bars `first` to `last` (from 0, inclusive)."""
        tied = False
        for bar in range(max(0, first - 1), min(last + 1, self.stage.bars)):
            for at, event in enumerate(self.bars[bar]):
                if event.pitches and not tied and bar >= first:
                    yield bar, at
                tied = event.tied

    def _change(self, place: Place, change: Callable[[LineEvent], LineEvent]) -> None:
        bar, at = place
        self.bars[bar][at] = change(self.bars[bar][at])

    def _add(self, place: Place, *marks: str) -> None:
        self._change(place, lambda event: replace(event, marks=(*marks, *event.marks)))

    def _dynamic(self, bar: int) -> str:
        stage = self.stage
        level = stage.levels[bar]
        leads = stage.roles[self.voice, bar] in _LEADS
        return DYNAMICS[level if leads or level == len(DYNAMICS) - 1 else max(0, level - 1)]

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
        hairpin = self._hairpin(section, first, last)
        if hairpin is not None:
            word, start, end = hairpin
            inside = [place for place in notes if start <= place[0] <= end]
            if end == stage.climax:
                inside = [place for place in inside if place <= next((p for p in inside if p[0] == end), inside[-1])]
            if len(inside) > 1:
                dynamics = {place: text for place, text in dynamics.items() if place not in inside[1:-1]}
                self._pin(word, inside[0], inside[-1])
        elif stage.roles[self.voice, first] == "melody":
            self._phrases(notes, first)
        for place, text in dynamics.items():
            self._add(place, text)

    def _pin(self, word: str, start: Place, end: Place) -> None:
        self._add(start, f"{word}(")
        self._change(end, lambda event: replace(event, marks=(f"{word})", *event.marks)))

    def _hairpin(self, section: Section, first: int, last: int) -> tuple[str, int, int] | None:
        """Return the section's swell: what it says, the way to its climax, or on to the next section's loudness."""
        stage = self.stage
        if first < stage.climax <= last:
            return "crescendo", max(first, stage.climax - 2), stage.climax
        bars = last - first + 1
        if section.swell == "grow":
            return "crescendo", first if bars <= 4 else last - 3, last
        is_end = last == stage.bars - 1
        if section.swell == "fade" or (is_end and stage.levels[last] <= 3):
            return "diminuendo", max(first, last - (2 if bars > 3 else 1)), last
        if is_end or (last + 1 == stage.climax and stage.levels[last] >= stage.levels[last + 1]):
            return None
        growth = stage.levels[last + 1] - stage.levels[last]
        if not growth:
            return None
        return "crescendo" if growth > 0 else "diminuendo", max(first, last - (abs(growth) > 1)), last

    def _phrases(self, notes: Sequence[Place], first: int) -> None:
        """Let each four bars of the tune grow to their highest note and fall."""
        stage = self.stage
        for start in range(first, notes[-1][0] + 1, 4):
            phrase = [p for p in notes if start <= p[0] < start + 4 and stage.roles[self.voice, p[0]] == "melody"]
            if len(phrase) < 6:
                continue
            heights = [max(self.bars[bar][at].pitches) for bar, at in phrase]
            top = heights.index(max(heights))
            if 2 <= top <= len(phrase) - 3:
                self._pin("crescendo", phrase[0], phrase[top])
                self._pin("diminuendo", phrase[top + 1], phrase[-1])

    def _accents(self) -> None:
        stage = self.stage
        if stage.climax >= 0 and stage.levels[stage.climax] >= 4:
            for place in list(self._notes(stage.climax, stage.climax))[:1]:
                if place[1] == 0 and "accent" not in self.bars[place[0]][0].marks:
                    self._change(place, lambda event: replace(event, marks=(*event.marks, "accent")))

    def _slurs(self, bar: int) -> None:
        """Bind the short notes of each half bar that follow one another on different pitches."""
        half = Fraction(self.stage.shape.half, 480)
        events = self.bars[bar]
        group: list[int] = []
        at = Fraction(0)
        for number, event in enumerate(events):
            joins = (
                len(event.pitches) == 1 and event.length <= 1 and "staccato" not in event.marks and not event.tied
                and (not group or events[group[-1]].pitches != event.pitches)
            )  # fmt: skip
            if group and (not joins or at // half != (at - events[number - 1].length) // half):
                self._bind(bar, group)
                group = []
            if joins:
                group.append(number)
            at += event.length
        self._bind(bar, group)

    def _bind(self, bar: int, group: Sequence[int]) -> None:
        if len(group) > 1:
            self._change((bar, group[0]), lambda event: replace(event, slur_starts=event.slur_starts + 1))
            self._change((bar, group[-1]), lambda event: replace(event, slur_ends=event.slur_ends + 1))


def tempo_changes(stage: ArrangingStage) -> tuple[tuple[int, float], ...]:
    """Return (bar from 1, quarter notes a minute) wherever the tempo changes.

    A bar before a clearly slower section gives way; the last two bars slow down where the plan's ending says so, or
    where its last section is slower than the one before.
    """
    sections = stage.plan.sections
    at: dict[int, float] = {section.first: section.qpm for section in sections}
    for here, after in itertools.pairwise(sections):
        bar = after.first - 1
        if after.qpm < 0.92 * here.qpm and bar not in at and bar not in (stage.climax + 1, 0):
            at[bar] = round((here.qpm + after.qpm) / 2)
    end = sections[-1]
    calms = len(sections) > 1 and end.qpm < sections[-2].qpm
    if stage.bars - 2 > end.first and (calms or _SLOWS.search(stage.plan.ending)):
        at[stage.bars - 1], at[stage.bars] = round(0.92 * end.qpm), round(0.8 * end.qpm)
    changes: list[tuple[int, float]] = []
    for bar in sorted(at):
        if not changes or changes[-1][1] != at[bar]:
            changes.append((bar, at[bar]))
    return tuple(changes)
