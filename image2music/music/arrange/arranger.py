"""From a plan and what was written for it to all voices: melody, bass, figures, lines, fills, marks, in this order.

Each layer sees those before it. Everything here is rule; what is drawn (which figure of a family, the order of its
variants, the bass's pattern) comes from the seed. Marks come last: dynamics and swells by section and phrase, accents,
slurs, and tempos that give way; they stand on events, and a voice whose writer has put dynamics keeps its own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from image2music.music.arrange.bass import set_bass
from image2music.music.arrange.lines import LineWriter, tail_of
from image2music.music.arrange.placing import Placer
from image2music.music.arrange.rehearsal import rehearse
from image2music.music.arrange.stage import EIGHTH, ArrangingStage, ChordSpan, PlacedNote, bar_shape
from image2music.music.lines import Bar, Line, LineEvent, bars_of_notes
from image2music.music.planning.plan import DYNAMICS, Plan, Section
from image2music.music.theory import TICKS_PER_QUARTER

ARRANGER_VERSION = 1
"""Raise it when the same plan and seed give other notes."""

_KICK, _SNARE, _STICK, _HAT, _OPEN_HAT, _RIDE, _CRASH, _TOM, _LOW_TOM = 36, 38, 37, 42, 46, 51, 49, 48, 45


def arrange_plan(
    plan: Plan, written: Mapping[int, Sequence[Bar | None]], seed: int, *, motif: Sequence[Bar] = ()
) -> tuple[Line, ...]:
    """Return a line for every voice of a plan, in the plan's order; all bars are full.

    Args:
        plan: what each voice does, section by section.
        written: by voice id, the bars that somebody wrote; None stands for a bar that isn't, which is filled as the
            plan's role says. Written bars stay as they are; one that is not full gets a rest, or loses its end.
        seed: which figures, variants and patterns are drawn.
        motif: bars of the motif, whose cells counter-lines and answers use; without them the tune's first two bars.

    Raises:
        PlanError: `bad_meter`, `bad_key` or `bad_chord`.
    """
    stage = ArrangingStage(plan, _full(plan, written), seed, motif)
    _drums(stage)
    set_bass(stage)
    Placer(stage).run()
    lines = LineWriter(stage)
    lines.run()
    _fills(stage, lines)
    _complete_chords(stage)
    _untangle(stage)
    rehearse(stage)
    changes = tempo_changes(stage)
    result = []
    for number, voice in enumerate(plan.voices):
        bars = _bars(stage, voice.id)
        is_drums = any(stage.roles[voice.id, bar] == "drums" for bar in range(stage.bars))
        derived = not any(stage.is_written(voice.id, bar) for bar in range(stage.bars))
        marked = Marker(stage, voice.id, bars).run()
        result.append(
            Line(voice.id, voice.name, voice.program, marked, derived, is_drums, changes if number == 0 else ())
        )
    return tuple(result)


def _full(plan: Plan, written: Mapping[int, Sequence[Bar | None]]) -> dict[int, list[Bar | None]]:
    """Return the written bars, each as long as the meter asks; unknown voices are left out."""
    length = Fraction(bar_shape(plan.meter).ticks, TICKS_PER_QUARTER)
    known = {voice.id for voice in plan.voices}
    result: dict[int, list[Bar | None]] = {}
    for voice, bars in written.items():
        if voice not in known:
            continue
        padded = [*bars[: plan.bars], *[None] * (plan.bars - len(bars))]
        result[voice] = [None if bar is None else _exactly(bar, length) for bar in padded]
        for number, bar in enumerate(result[voice]):
            after = result[voice][number + 1] if number + 1 < plan.bars else None
            if bar and bar[-1].tied and not (after and after[0].pitches == bar[-1].pitches):
                last = bar[-1]
                result[voice][number] = (
                    *bar[:-1],
                    LineEvent(
                        last.pitches, last.length, False, last.marks, last.slur_starts, last.slur_ends, last.tuplet
                    ),
                )
    return result


def _exactly(bar: Bar, length: Fraction) -> Bar:
    total = sum((event.length for event in bar), Fraction(0))
    if total < length:
        return (*bar, LineEvent((), length - total))
    events = list(bar)
    while total > length:
        last = events.pop()
        total -= last.length
        if total < length and not last.tuplet:
            events.append(LineEvent(last.pitches, length - total, False, last.marks))
            total = length
    return tuple(events) if total == length else (*events, LineEvent((), length - total))


def _bars(stage: ArrangingStage, voice: int) -> tuple[Bar, ...]:
    """Return all bars of a voice: the written ones as they are, the others from the notes that were set."""
    dies = stage.instruments[voice].kind in ("mallet", "struck") or stage.instruments[voice].program == 45
    notes = [
        (n.on, n.dur, n.pitches, ("staccato",) if n.light and n.dur <= EIGHTH and not dies else ())
        for n in stage.out[voice]
    ]
    made = bars_of_notes(notes, TICKS_PER_QUARTER, stage.length, stage.bars)
    given = stage.written.get(voice, ())
    result = []
    for number in range(stage.bars):
        bar = given[number] if number < len(given) else None
        result.append(made[number] if bar is None else bar)
    return tuple(result)


def _untangle(stage: ArrangingStage) -> None:
    """Sort notes, end each where the next begins or a written bar or silence follows, and leave out what overlaps."""
    for voice, notes in stage.out.items():
        notes.sort(key=lambda note: note.on)
        kept: list[PlacedNote] = []
        for note in notes:
            bar = note.on // stage.length
            if stage.is_written(voice, bar) or stage.roles[voice, bar] == "rest" or note.on >= stage.end:
                continue
            for after in range(bar + 1, (note.end - 1) // stage.length + 1):
                if after >= stage.bars or stage.is_written(voice, after) or stage.roles[voice, after] == "rest":
                    note.dur = after * stage.length - note.on
                    break
            if kept and kept[-1].on == note.on:
                continue
            if kept and kept[-1].end > note.on:
                kept[-1].dur = note.on - kept[-1].on
            kept.append(note)
        stage.out[voice] = kept


def _complete_chords(stage: ArrangingStage) -> None:
    """See to it that every chord has its third somewhere: added to a chord, or in the place of a doubled tone."""
    notes: dict[int, list[tuple[int, PlacedNote]]] = {bar: [] for bar in range(stage.bars)}
    drums = {voice for (voice, _), role in stage.roles.items() if role == "drums"}
    for voice, line in stage.out.items():
        if voice not in drums:
            for note in line:
                for bar in range(note.on // stage.length, min((note.end - 1) // stage.length + 1, stage.bars)):
                    notes[bar].append((voice, note))
    for span in stage.spans:
        third = span.chord.third
        if third is None:
            continue
        here = [(voice, note) for voice, note in notes[span.bar] if note.on < span.end and note.end > span.on]
        heard = [pitch for _, note in here for pitch in note.pitches]
        heard += [
            pitch
            for line in (stage.tune, *stage.others)
            for n in line.between(span.on, span.end)
            for pitch in n.pitches
        ]
        if heard and all(pitch % 12 != third for pitch in heard):
            _add_third(stage, span, third, here, heard)


def _add_third(
    stage: ArrangingStage, span: ChordSpan, third: int, here: Sequence[tuple[int, PlacedNote]], heard: Sequence[int]
) -> None:
    is_end = span.end == stage.end
    tolerance = 20 if is_end else 8
    inside = [(voice, note) for voice, note in here if note.on >= span.on and note.end <= span.end]
    inside.sort(key=lambda pair: (not stage.is_beat(pair[1].on), -pair[1].dur, pair[1].on, pair[0]))
    bass = min(heard)
    for voice, note in inside:
        if len(note.pitches) >= min(stage.instruments[voice].chords, 5):
            continue
        low, high = stage.range_of(voice, span.bar)
        able = [
            p for p in range(max(low, note.pitches[0] - 9), min(high, note.pitches[-1] + 16) + 1)
            if p % 12 == third and p > max(bass + (7 if bass < 48 else 2), 47)
            and all(abs(p - q) > 2 for q in note.pitches) and stage.clash(p, note.on, note.dur) < tolerance
        ]  # fmt: skip
        if able:
            best = min(able, key=lambda p: (abs(p - note.pitches[-1]), p))
            note.pitches = tuple(sorted((*note.pitches, best)))
            return
    classes = [pitch % 12 for pitch in heard]
    for voice, note in inside:
        has_bass = stage.bass_voice[span.bar] == voice
        if has_bass and note.on == span.on:
            continue
        low, high = stage.range_of(voice, span.bar)
        for place in range(len(note.pitches) - 1, -1, -1):
            old = note.pitches[place]
            if classes.count(old % 12) < 2 and old % 12 in span.chord.classes and not is_end:
                continue
            able = [
                p
                for p in range(max(low, old - 5), min(high, old + 5) + 1)
                if p % 12 == third and p not in note.pitches and stage.clash(p, note.on, note.dur) < tolerance
            ]
            if able:
                new = min(able, key=lambda p: (abs(p - old), p))
                note.pitches = tuple(sorted({*note.pitches[:place], new, *note.pitches[place + 1 :]}))
                return


def _drums(stage: ArrangingStage) -> None:
    """A beat for voices that are drums: louder sections have more of it, a section's last bar leads over."""
    for voice in stage.voices:
        for bar in range(stage.bars):
            if stage.roles[voice, bar] == "drums" and not stage.is_written(voice, bar):
                stage.out[voice] += _drum_bar(stage, bar)


def _drum_bar(stage: ArrangingStage, bar: int) -> list[PlacedNote]:
    shape, level, section = stage.shape, stage.levels[bar], stage.sections[bar]
    start = bar * stage.length
    if bar == stage.bars - 1:
        return [PlacedNote(start, TICKS_PER_QUARTER, (_KICK, _CRASH) if level >= 3 else (_KICK,))]
    hits: dict[int, set[int]] = {}

    def hit(at: int, drum: int) -> None:
        if at < stage.length:
            hits.setdefault(at, set()).add(drum)

    light = level <= 1
    cymbal = _RIDE if level == 2 or section.name[-1:] in ("B", "b") else _HAT
    for at in range(0, stage.length, EIGHTH if level >= 2 else 2 * EIGHTH):
        hit(at, cymbal)
    for number, at in enumerate(shape.beats):
        if at in shape.strong:
            hit(at, _KICK)
        elif not light or number == len(shape.beats) - 1:
            hit(at, _STICK if light else _SNARE)
    if level >= 3 and bar % 2 and shape.last_beat >= EIGHTH:
        hit(shape.last_beat - EIGHTH, _KICK)
    if bar in (section.first - 1, stage.climax) and level >= 4:
        hits[0] = {_KICK, _CRASH}
    if bar == section.last - 1 and level >= 2:
        for at in [at for at in hits if at >= shape.last_beat]:
            del hits[at]
        drums = (_SNARE, _SNARE, _TOM, _LOW_TOM) if level >= 3 else (_TOM, _LOW_TOM)
        grain = EIGHTH // 2 if level >= 3 else EIGHTH
        for number, at in enumerate(range(shape.last_beat, stage.length, grain)):
            hit(at, drums[number % len(drums)])
    ordered = sorted(hits)
    ends = [*ordered[1:], stage.length]
    return [
        PlacedNote(start + at, min(end - at, EIGHTH), tuple(sorted(hits[at])))
        for at, end in zip(ordered, ends, strict=True)
    ]


def _fills(stage: ArrangingStage, lines: LineWriter) -> None:
    """Let figures echo the tune where it rests or holds at the end of a phrase, in one voice at a time."""
    answered = {bar for (_, bar), role in stage.roles.items() if role in ("answer", "parallel")}
    filled: set[int] = set()
    for voice in stage.voices:
        for bar in range(1, stage.bars - 1):
            figured = stage.roles[voice, bar] == "figure" and not stage.is_written(voice, bar)
            section = stage.sections[bar]
            if not figured or bar in answered or bar in filled or bar == stage.climax or bar == section.first - 1:
                continue
            if stage.light.get((voice, bar)) or {bar - 1, bar + 1} & filled or stage.bass_voice[bar] == voice:
                continue
            sung = [n for n in stage.tune_in(bar - 1) if n.on >= (bar - 1) * stage.length]
            cell = [(n.on, n.dur, n.pitches[0]) for n in sung]
            whole = [cell] if not stage.tune_in(bar) else []
            if lines.quote(voice, bar, [*whole, tail_of(cell)], keep=True):
                filled.add(bar)


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
