"""Figures laid over whole sections: dynamic programming finds where each chord's ladder stands, then notes are set.

A figure's position costs what its notes lie away from the voice's middle, from the tune and from the bass, and what the
hand has to move from chord to chord. Notes are then set one by one: each looks at the tune, at the note before and the
one to come, and at the beat before for parallel octaves and fifths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from image2music.music.arrange.figures import (
    Figure,
    Pattern,
    Slot,
    cut_at_last_beat,
    figure_asked,
    figures_of,
    is_playable,
    last_bar_of,
    library,
    notes_a_bar,
    pattern_of_degrees,
    usual_families,
    variants,
    voiced_anew,
    with_bass,
)
from image2music.music.arrange.stage import ArrangingStage
from image2music.music.arrange.timeline import (
    EIGHTH,
    ChordSpan,
    PlacedNote,
    cheapest_path,
    cost_of_move,
    longest_tone,
    rungs_of,
)
from image2music.music.planning.plan import Family, Section
from image2music.music.theory import TICKS_PER_QUARTER

_PLAIN, _VARIED, _THIN, _FULL, _CADENCE = range(5)
_ORDERS = ((0, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 1))
"""Which bars of four vary their figure: few, for a figure that changes all the time is no idea (blind judges said)."""
_ORDERS_AGAIN = ((1, 0, 1, 0), (0, 1, 1, 0))
"""The same where a figure comes back later: it has changed, and is still known."""
_CANDIDATES, _LONG, _STILL, _PASSES = 6, 6, 4, 16
_SOFT_NOTES = 270.0
"""Strokes a minute of a figure from which on it is too busy for soft music."""
_LYING: frozenset[Family] = frozenset({"pad", "chorale"})
_EVEN: frozenset[Family | None] = frozenset({"pulse", "ostinato", "tremolo", "offbeat", "waltz", "chorale"})
"""Families of repeated chords: each fourth bar of a longer section rings out, for eight alike only pump."""
_TOP_FIRST = frozenset({"drops", "bells", "cascade", "whirl", "off the beat"})
"""Figures that may lie above the tune where the voice's range does."""


class Placer:
    """Lays the figures of a stage, voice by voice; `run` does all."""

    def __init__(self, stage: ArrangingStage) -> None:
        self.stage = stage
        self._ladders: dict[tuple[int, int, int, tuple[int, ...]], list[int]] = {}
        self._used: dict[str, set[str]] = {}
        self._of_family: dict[tuple[int, Family | None], Figure] = {}
        self._omits: dict[int, tuple[int, ...]] = {}
        self._heard: set[tuple[int, str]] = set()
        self._stood: dict[int, tuple[int, int, list[int]]] = {}

    def run(self) -> None:
        """Set every figure: the lowest voices first, section by section."""
        stage = self.stage
        for voice in sorted(stage.voices, key=lambda v: stage.voices[v].low + stage.voices[v].high):
            before = ""
            for section in stage.plan.sections:
                bars = [
                    bar for bar in range(section.first - 1, min(section.last, stage.bars))
                    if stage.roles[voice, bar] in ("figure", "bass+figure") and not stage.is_written(voice, bar)
                ]  # fmt: skip
                if not bars:
                    before = ""
                    continue
                low = [stage.bass_voice[bar] == voice for bar in bars]
                figure = self._choose(voice, section, any(low), before)
                before = figure.name
                orders = _ORDERS_AGAIN if (voice, figure.name) in self._heard else _ORDERS
                self._heard.add((voice, figure.name))
                order = orders[int(stage.rng.integers(len(orders)))]
                for is_low, group in groupby(zip(bars, low, strict=True), key=lambda pair: pair[1]):
                    self.lay(voice, section, [bar for bar, _ in group], figure, order, low=is_low)

    def _choose(self, voice: int, section: Section, low: bool, before: str) -> Figure:
        """Return a figure of the family that the plan names, or of a usual one; a neighbour section's is avoided."""
        stage = self.stage
        part, instrument = section.part_of(voice), stage.instruments[voice]
        level = stage.levels[section.first - 1]
        # Triplets cut across compound beats, and across a tune that has none.
        is_compound = any(meter == "6/8" for meter, _ in stage.shape.parts)
        triplets = not is_compound and any(note.on % (EIGHTH // 2) for note in stage.tune.notes)
        asked = figure_asked(part.degrees, stage.shape, part.family)
        if asked is not None and part.degrees.startswith("=") and asked.grain % (EIGHTH // 2) and not triplets:
            asked = None
        known = asked or (self._of_family.get((voice, part.family)) if part.family else None)
        may_come = known is not None and (asked is not None or known.name != before)
        fits = known is not None and (asked is not None or known.grain >= EIGHTH or stage.leaves_room(section))
        if known is not None and fits and may_come and is_playable(known, instrument, section.qpm):
            self._used.setdefault(section.name, set()).add(known.name)
            return known  # what comes back keeps its figure
        families = (part.family,) if part.family else usual_families(instrument, level)
        able = [figure for family in families for figure in figures_of(family)] or list(library()[:1])
        if low:
            able = [f for f in able if f.name not in _TOP_FIRST and f.name not in ("sighs", "breathing pad")] or able
        used = self._used.setdefault(section.name, set())
        tests = (
            lambda f: f.grain % (EIGHTH // 2) == 0 or triplets,
            lambda f: f.loud[0] <= level <= f.loud[1],
            lambda f: level > 2 or f.density * section.qpm <= _SOFT_NOTES,
            lambda f: is_playable(f, instrument, section.qpm),
            lambda f: f.grain >= EIGHTH or stage.leaves_room(section),
            lambda f: f.name != before,
            lambda f: f.name not in used,
        )
        for test in tests:
            able = [figure for figure in able if test(figure)] or able
        able = self._of_weight(able, section, level)
        figure = able[int(stage.rng.integers(len(able)))]
        if part.family is not None:
            self._of_family.setdefault((voice, part.family), figure)
        used.add(figure.name)
        return figure

    def _of_weight(self, able: list[Figure], section: Section, level: int) -> list[Figure]:
        """Keep the busier half of figures for the section with the peak, the sparer half for quiet ones and the end."""
        stage = self.stage
        has_peak = section.first - 1 <= stage.climax < section.last and level >= 3
        is_spare = level <= 1 or (section.last >= stage.bars and level <= 2)
        if len(able) < 2 or not (has_peak or is_spare):
            return able
        by_notes = sorted(able, key=lambda f: notes_a_bar(f.name, stage.shape, section.qpm))
        half = (len(able) + 1) // 2
        kept = by_notes[-half:] if has_peak else by_notes[:half]
        return [figure for figure in able if figure in kept]

    def lay(
        self, voice: int, section: Section, bars: Sequence[int], figure: Figure, order: Sequence[int], *, low: bool
    ) -> None:
        """Set a figure in bars of one section; `low` puts the chord's bass at its bottom."""
        stage = self.stage
        patterns = variants(figure.name, stage.shape, section.qpm)
        part = section.part_of(voice)
        if part.degrees and (own := pattern_of_degrees(part.degrees, stage.shape)):
            patterns = own, *patterns[1:3], own, patterns[4]
        if low:
            patterns = tuple(with_bass(pattern, stage.shape.beats) for pattern in patterns)
        chosen = {bar: self._form(voice, section, bar, order, figure, patterns) for bar in bars}
        if not low and not figure.light and bars[-1] == section.last - 1 != stage.final and section.cadence != "full":
            chosen[bars[-1]] = cut_at_last_beat(chosen[bars[-1]], stage.shape)
        if bars[-1] == stage.final:
            chosen[bars[-1]] = last_bar_of(
                figure, patterns[_PLAIN], stage.shape, low=low, loud=stage.levels[-1] >= 3, late=stage.seed % 2 == 0,
                at_once=stage.instruments[voice].chords,
            )  # fmt: skip
        feet = self._feet(voice, bars, chosen, figure, low)
        for bar in bars:
            stage.light[voice, bar] = figure.light
            stage.family_of[voice, bar] = figure.family
            self._set_bar(voice, bar, chosen[bar], feet, figure, low)

    def _form(
        self, voice: int, section: Section, bar: int, order: Sequence[int], figure: Figure, patterns: Sequence[Pattern]
    ) -> Pattern:
        """Return a bar's pattern; beside a tune that moves in one half of a bar and stands in the other, the opposite.

        What lies still moves where the tune leaves room.
        """
        stage, shape = self.stage, self.stage.shape
        if stage.is_stop(bar):
            return (Slot(0, shape.beats[1] if len(shape.beats) > 1 else shape.ticks // 2, ((0, 0), (1, 0), (2, 0))),)
        variant = self._variant(section, bar, order, figure)
        whole = patterns[variant]
        is_long = figure.family == "pad" and section.last - section.first >= _STILL and (bar - section.first) % 2 == 0
        if is_long and bar not in (stage.climax, stage.final, section.last - 1):
            return voiced_anew(shape, min(3, stage.most_at_once(voice, bar)))
        if figure.family in _LYING and variant in (_VARIED, _FULL) and self._leaves_room(voice, section, bar):
            ends = [*shape.beats[1:], shape.ticks]
            rungs = (((0, 0), (1, 0)), *[((1 + number % 3, 0),) for number in range(1, len(shape.beats))])
            return tuple(Slot(at, end - at, rung) for at, end, rung in zip(shape.beats, ends, rungs, strict=True))
        if variant not in (_PLAIN, _VARIED) or figure.light or figure.grain != EIGHTH or shape.half * 2 != shape.ticks:
            return whole
        moves = stage.halves_that_move(bar)
        if len(set(moves)) < 2:
            return whole
        slots: list[Slot] = []
        for half, moving in enumerate(moves):
            start, end = half * shape.half, (half + 1) * shape.half
            found = [slot for slot in (patterns[_THIN] if moving else whole) if start <= slot.at < end]
            if not found:  # a figure that waits for its beat would leave a hole
                found = [Slot(start, end - start, ((0, 0), (1, 0)))]
            slots += [replace(slot, dur=min(slot.dur, end - slot.at)) for slot in found]
        return tuple(slots) or whole

    def _leaves_room(self, voice: int, section: Section, bar: int) -> bool:
        stage = self.stage
        still = stage.tune_holds(bar) or not stage.tune_in(bar)
        can = stage.instruments[voice].kind in ("keys", "plucked", "bowed", "organ") and len(stage.shape.beats) > 1
        return can and still and section.first <= bar < stage.bars - 2 and bar != stage.climax

    def _variant(self, section: Section, bar: int, order: Sequence[int], figure: Figure) -> int:
        stage = self.stage
        place, tune = bar - (section.first - 1), stage.tune_in(bar)
        usual = order[place % 4]
        if bar == stage.climax or (bar == stage.climax + 1 < section.last and stage.levels[bar] >= 3):
            return _FULL
        if bar == stage.climax - 1:
            return _THIN if stage.levels[bar] < stage.levels[stage.climax] or section.last == bar + 1 else usual
        if bar == section.last - 1:
            return _CADENCE
        if figure.grain <= EIGHTH and (stage.is_crowded(section) or stage.is_busy(section, bar)):
            return _THIN
        if bar == stage.bars - 2 and place and stage.levels[bar] <= 3:
            return _THIN
        if figure.family in _EVEN and not figure.light and place % 4 == 3 and section.last - section.first >= _LONG - 1:
            return _CADENCE
        if not tune:
            return _FULL if stage.levels[bar] >= 2 else _VARIED
        if place and stage.tune_holds(bar):
            return _VARIED
        if section.swell == "grow" and place * 2 >= len(section.bars) and usual == _VARIED and stage.levels[bar] >= 3:
            return _FULL
        return usual

    # where the figure stands

    def ladder(self, span: ChordSpan, foot: int, high: int, omit: tuple[int, ...] = ()) -> list[int]:
        """Return chord tones upwards from `foot`, wide apart at the bottom: root, fifth, tenth."""
        key = span.on, foot, high, omit
        if key not in self._ladders:
            full = rungs_of(span, foot, high, omit)
            if len(full) < 4:
                others = rungs_of(span, foot, high, ()), rungs_of(span, foot, high, (), 3)
                full = max((full, *others), key=len)
            self._ladders[key] = full
        return self._ladders[key]

    def _omit(self, span: ChordSpan) -> tuple[int, ...]:
        """Chord tones that a figure leaves to the tune: a leading note or seventh that it holds, and what would rub."""
        if span.on not in self._omits:
            left: set[int] = set()
            for note in self.stage.tune.between(span.on, span.end):
                shared = min(note.end, span.end) - max(note.on, span.on)
                tone = note.pitches[0] % 12
                own = tone in span.classes
                is_late = own and shared * 2 <= span.dur and note.on > span.on  # the chord is heard before
                if is_late or shared < TICKS_PER_QUARTER or shared < span.dur // (3 if own else 2):
                    continue
                if own and (tone == span.seventh or (span.leans and tone == span.third)):
                    left.add(tone)
                elif not own:
                    left |= {other for other in span.classes if (other - tone) % 12 in (1, 11)}
            self._omits[span.on] = tuple(sorted(left))
        return self._omits[span.on]

    def _feet(
        self, voice: int, bars: Sequence[int], chosen: dict[int, Pattern], figure: Figure, low: bool
    ) -> dict[int, int]:
        """Return the lowest note of the ladder for every chord's stretch, by its onset: dynamic programming."""
        stage = self.stage
        spans = stage.spans_of(bars)
        rows: list[list[tuple[int, int, list[int]]]] = []
        for span in spans:
            lowest, high = stage.range_of(voice, span.bar)
            wanted = (span.chord.bass,) if low else tuple(t for t in span.own if t not in self._omit(span)) or span.own
            feet = [p for p in range(lowest, max(lowest + 1, high - 3)) if p % 12 in wanted]
            feet = feet or [next((p for p in range(lowest, high + 1) if p % 12 in span.own), lowest)]
            reach = max((rung for slot in chosen[span.bar] for rung, _ in slot.rungs), default=0)
            row = [(self._foot_cost(voice, span, foot, reach, figure, low), foot) for foot in feet]
            cheap, omit = sorted(row)[:_CANDIDATES], self._omit(span)
            rows.append([(cost, foot, self.ladder(span, foot, high, omit)[:3]) for cost, foot in cheap])
        tunes = [stage.tune_at(span.on) for span in spans]

        def move(number: int, j: int, k: int) -> int:
            _, was, old = rows[number - 1][j]
            _, foot, ladder = rows[number][k]
            return cost_of_move(was, foot, old, ladder, (tunes[number - 1], tunes[number]), low)

        costs = [[cost for cost, _, _ in row] for row in rows]
        end, was, old = self._stood.get(voice, (-1, 0, []))
        if end == spans[0].on:  # the hand goes on from where the section before left it
            costs[0] = [
                cost + cost_of_move(was, foot, old, ladder, (None, None), low) for cost, foot, ladder in rows[0]
            ]
        path = cheapest_path(costs, move)
        self._stood[voice] = (spans[-1].end, *rows[-1][path[-1]][1:])
        return {span.on: row[at][1] for span, row, at in zip(spans, rows, path, strict=True)}

    def _foot_cost(self, voice: int, span: ChordSpan, foot: int, reach: int, figure: Figure, low: bool) -> int:
        """Cost of a position in hundredths: the middle of the range, the tune, the bass, and room for the figure."""
        stage = self.stage
        lowest, high = stage.range_of(voice, span.bar)
        ladder = self.ladder(span, foot, high, self._omit(span))
        top = ladder[min(reach, len(ladder) - 1)]
        cost = 150 * max(0, reach - len(ladder) + 1)
        level = stage.levels[span.bar] - 2
        instrument = stage.instruments[voice]
        if low:
            cost += 10 * abs(foot - max(lowest, instrument.comfortable_low) - 5)
            if span.third not in {pitch % 12 for pitch in ladder[:4]}:
                cost += 200
        else:
            cost += 6 * abs((foot + top) // 2 - (lowest + high) // 2 - level * 3 // 2)
            cost += 9 * max(0, min(57, (lowest + high) // 2) - foot)
        sung = [note.pitches[0] for note in stage.tune.between(span.on, span.end)]
        if sung and (not low or min(sung) > lowest + 12):
            if not low and (lowest > min(sung) + 5 or (figure.name in _TOP_FIRST and lowest >= min(sung) - 3)):
                cost += 40 * max(0, max(sung) + 2 - foot) + 12 * abs(foot - max(sung) - 3)
            else:
                floor = max(min(sung), sum(sung) // len(sung) - 4)
                free = instrument.kind in ("keys", "plucked", "mallet") and (lowest + high) // 2 > min(sung) - 4
                over = (2 if level > 0 else 8) if free else 18 if instrument.chords > 2 else 35
                cost += over * max(0, top - floor + 2) + (0 if low else 10 * max(0, floor - 5 - top))
        bass = None if low else stage.bass_over(span.on, span.end)
        if bass is not None and foot <= bass + 3:
            cost += 300 + 30 * (bass + 3 - foot)
        if span.leans and foot % 12 == span.third:
            cost += 60
        return cost + 60 * (foot in sung)

    # notes

    def _set_bar(self, voice: int, bar: int, pattern: Pattern, feet: dict[int, int], figure: Figure, low: bool) -> None:
        stage = self.stage
        start = bar * stage.length
        slots = self._cut_at_chords(start, pattern, figure)
        longest = longest_tone(stage.instruments[voice], stage.sections[bar].qpm, stage.length)
        _, high = stage.range_of(voice, bar)
        for number, slot in enumerate(slots):
            tick = start + slot.at
            span = stage.span_at(tick)
            ladder = self.ladder(span, feet[span.on], high, self._omit(span))
            rungs = slot.rungs
            is_long = slot.dur >= max(stage.shape.half, 2 * TICKS_PER_QUARTER) and not figure.light
            if is_long and len(rungs) == 1 and not low and stage.instruments[voice].chords > 2:
                rungs = (*rungs, (rungs[0][0] + 1, 0))  # a tone that stays has another beside it
            if low and tick == span.on and not span.early and 0 not in {rung for rung, _ in rungs}:
                rungs = ((0, 0), *rungs) if len(rungs) > 1 else ((0, 0),)
            after = slots[number + 1] if number + 1 < len(slots) else None
            ahead = {ladder[rung] for rung, steps in (after.rungs if after else ()) if not steps and rung < len(ladder)}
            dur = min(slot.dur, longest) if bar != stage.final else slot.dur
            pitches = self._pitches(voice, bar, tick, dur, rungs, ladder, span, ahead, low)
            if pitches:
                stage.out[voice].append(PlacedNote(tick, dur, tuple(pitches), light=figure.light))

    def _cut_at_chords(self, start: int, pattern: Pattern, figure: Figure) -> list[Slot]:
        """Divide slots that would hold over into another chord; the new chord is struck."""
        stage = self.stage
        slots: list[Slot] = []
        for slot in pattern:
            at, end = slot.at, slot.at + slot.dur
            while (edge := stage.span_at(start + at).end - start) < end:
                slots.append(Slot(at, edge - at, slot.rungs))
                at = edge
            if at == slot.at or end - at >= EIGHTH:
                slots.append(Slot(at, end - at, slot.rungs))
        return slots

    def _pitches(
        self, voice: int, bar: int, tick: int, dur: int, rungs: tuple[tuple[int, int], ...], ladder: list[int],
        span: ChordSpan, ahead: set[int], low: bool,
    ) -> list[int]:  # fmt: skip
        stage = self.stage
        lowest, high = stage.range_of(voice, bar)
        most = stage.most_at_once(voice, bar)
        notes = stage.out[voice]
        was = set(notes[-1].pitches) if notes and notes[-1].end > bar * stage.length - EIGHTH else set()
        if len(rungs) > 1:
            down = max(0, max(rung for rung, _ in rungs) - len(ladder) + 1)
            rungs = tuple((rung - down, steps) for rung, steps in rungs if rung >= down)
        if len(rungs) > most:
            rungs = rungs[:most] if low else rungs[-most:]
        single = len(rungs) == 1
        found: list[int] = []
        for rung, steps in rungs:
            if rung >= len(ladder):
                rung = max(0, 2 * (len(ladder) - 1) - rung)
            pitch = ladder[rung]
            if steps:
                near = span.step(pitch, steps)
                pitch = near if lowest <= near <= high and stage.clash(near, tick, dur) < 10 else pitch
            elif not (low and rung == 0):
                pitch = self._unclashed(voice, tick, dur, pitch, rung, ladder, was, ahead, low, found, single)
            found.append(pitch)
        found = sorted(set(found))
        if len(found) > 1:
            kept = found[:1] if low else []
            kept += [
                pitch
                for pitch in found[len(kept) :]
                if stage.clash(pitch, tick, dur) < 8 and stage.rub_with_set(voice, pitch, tick, dur) < 8
            ]
            found = kept or found[:1]
        if len(found) > 1 + low and bar != stage.climax and self._follows(voice, found[-1], tick, low):
            found = found[:-1]
        return found

    def _unclashed(
        self, voice: int, tick: int, dur: int, pitch: int, rung: int, ladder: list[int], was: set[int], ahead: set[int],
        low: bool, taken: list[int], single: bool,
    ) -> int:  # fmt: skip
        """Return the pitch, or a tone beside it that rubs less and repeats neither the note before nor the next."""
        stage = self.stage
        notes = stage.out[voice]
        last = notes[-1] if notes else None

        def wrong(one: int) -> int:
            rubs = stage.clash(one, tick, dur) + stage.rub_with_set(voice, one, tick, dur)
            if not single:
                return rubs
            alone = stage.along(voice, last, tick, one) if last is not None else 0
            return rubs + max(alone, self._parallel(voice, one, tick, low))

        own = wrong(pitch)
        if own < (8 if dur >= EIGHTH else _PASSES):  # a fast figure keeps its shape
            return pitch
        bottom = 1 if low else 0
        near = (rung - 1, rung + 1, rung - 2, rung + 2, rung + 3, rung - 3)
        beside = [ladder[at] for at in near if bottom <= at < len(ladder)]
        costs = [
            (wrong(one) + 9 * (one in was) + 7 * (one in ahead), abs(one - pitch), one)
            for one in beside
            if one not in taken
        ]
        better = [cost for cost in costs if cost[0] < own - 3]
        return min(better)[2] if better else pitch

    def _follows(self, voice: int, top: int, tick: int, low: bool) -> bool:
        """Whether the top of a chord goes along with another voice."""
        notes = self.stage.out[voice]
        if self._parallel(voice, top, tick, low) >= 6:
            return True
        return bool(notes) and self.stage.along(voice, notes[-1], tick, top) >= 6

    def _parallel(self, voice: int, pitch: int, tick: int, low: bool) -> int:
        """Return 9 for parallel octaves and 6 for fifths with the tune or the bass since the beat before."""
        stage = self.stage
        if not stage.is_beat(tick):
            return 0
        before = stage.beat_before(tick)
        own = stage.sounding(voice, before)
        if not own or own[-1] == pitch:
            return 0
        worst = 0
        pairs = [(stage.tune_at(before), stage.tune_at(tick))]
        if not low:
            pairs.append((stage.bass_at(before), stage.bass_at(tick)))
        for was, now in pairs:
            if was is None or now is None or was == now or (now - was) * (pitch - own[-1]) <= 0:
                continue
            if (now - pitch) % 12 == (was - own[-1]) % 12 and (now - pitch) % 12 in (0, 5, 7):
                worst += 9 if (now - pitch) % 12 == 0 else 6 if ((now - pitch) % 12 == 7) == (now > pitch) else 0
        return worst
