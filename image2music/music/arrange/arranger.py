"""From a plan and what was written for it to all voices: melody, bass, figures, lines, fills, marks, in this order.

Each layer sees those before it. Everything here is rule; what is drawn (which figure of a family, the order of its
variants, the bass's pattern) comes from the seed. Marks come last: dynamics and swells by section and phrase, accents,
slurs, and tempos that give way; they stand on events, and a voice whose writer has put dynamics keeps its own.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from fractions import Fraction

from image2music.music.arrange.bass import set_bass
from image2music.music.arrange.drumming import set_drums
from image2music.music.arrange.lines import LineWriter, tail_of
from image2music.music.arrange.marking import Marker, tempo_changes
from image2music.music.arrange.placing import Placer
from image2music.music.arrange.rehearsal import rehearse
from image2music.music.arrange.stage import ArrangingStage, bar_shape
from image2music.music.arrange.timeline import EIGHTH, ChordSpan, PlacedNote
from image2music.music.lines import Bar, Line, LineEvent, bars_of_notes
from image2music.music.planning.plan import Plan
from image2music.music.theory import TICKS_PER_QUARTER

ARRANGER_VERSION = 3
"""Raise it when the same plan and seed give other notes."""


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
    set_drums(stage)
    set_bass(stage)
    Placer(stage).run()
    _lead_over(stage)
    lines = LineWriter(stage)
    lines.run()
    _stir(stage)
    _fills(stage, lines)
    _complete_chords(stage)
    _untangle(stage)
    _breathe(stage)
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


def _breathe(stage: ArrangingStage) -> None:
    """Let derived voices take breath where a section ends: the last note stops an eighth early, in slow music two.

    Loud quick music goes on, and so does a bass that closes.
    """
    drums = {voice for (voice, _), role in stage.roles.items() if role == "drums"}
    for here, after in itertools.pairwise(stage.plan.sections):
        end, level = here.last * stage.length, stage.levels[min(here.last, stage.bars) - 1]
        beats = stage.beats_a_minute(here.qpm)
        if after.first > stage.bars or (level >= 3 and (beats >= 104 or here.cadence == "full")):
            continue
        breath = EIGHTH if beats >= 72 else 2 * EIGHTH
        for voice, notes in stage.out.items():
            at = bisect_left(notes, end, key=lambda note: note.on) - 1
            if voice in drums or at < 0 or notes[at].end != end or notes[at].bound or notes[at].dur < 2 * breath:
                continue
            if stage.bass_voice[here.last - 1] != voice or (level <= 2 and here.cadence in ("half", "open")):
                notes[at].dur -= breath


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
        third = span.third
        if third is None:
            continue
        here = [(voice, note) for voice, note in notes[span.bar] if note.on < span.end and note.end > span.on]
        # A leading note that comes when its chord is nearly over comes too late.
        leads = span.leans or third == (stage.tonic - 1) % 12
        until = span.on + max(span.dur // 2, TICKS_PER_QUARTER) if leads else span.end
        heard = [pitch for _, note in here if note.on < until for pitch in note.pitches]
        heard += [
            pitch for line in (stage.tune, *stage.others) for n in line.between(span.on, until) for pitch in n.pitches
        ]
        if heard and all(pitch % 12 != third for pitch in heard):
            _add_third(stage, span, third, here, heard)


def _rub_of(stage: ArrangingStage, pitch: int, note: PlacedNote) -> int:
    return stage.clash(pitch, note.on, note.dur) // 8


def _add_third(
    stage: ArrangingStage, span: ChordSpan, third: int, here: Sequence[tuple[int, PlacedNote]], heard: Sequence[int]
) -> None:
    is_end = span.end == stage.end and not stage.plan.loop
    tolerance = 45 if is_end else 8
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
            best = min(able, key=lambda p: (_rub_of(stage, p, note), abs(p - note.pitches[-1]), p))
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
            if classes.count(old % 12) < 2 and old % 12 in span.classes and not is_end:
                continue
            able = [
                p
                for p in range(max(low, old - 5), min(high, old + 5) + 1)
                if p % 12 == third and p not in note.pitches and stage.clash(p, note.on, note.dur) < tolerance
            ]
            if able:
                new = min(able, key=lambda p: (_rub_of(stage, p, note), abs(p - old), p))
                note.pitches = tuple(sorted({*note.pitches[:place], new, *note.pitches[place + 1 :]}))
                return


def _lead_over(stage: ArrangingStage) -> None:
    """Let figures lead into the next section by scale notes on the last beat, where the tune is still."""
    for voice in stage.voices:
        for section in stage.plan.sections[:-1]:
            bar = section.last - 1
            figured = stage.roles.get((voice, bar)) == "figure" and not stage.is_written(voice, bar)
            if stage.is_stop(bar) and stage.roles.get((voice, bar)) in ("figure", "bass+figure"):
                _lead_to(stage, voice, bar)
                continue
            goes_on = bar + 1 < stage.bars and stage.roles[voice, bar + 1] != "rest" and bar + 1 != stage.climax
            light = stage.light.get((voice, bar)) or stage.bass_voice[bar] == voice
            if figured and goes_on and not light and stage.levels[bar + 1] >= stage.levels[bar]:
                _lead_to(stage, voice, bar)


def _lead_to(stage: ArrangingStage, voice: int, bar: int) -> None:
    end = (bar + 1) * stage.length
    start = bar * stage.length + stage.shape.last_beat
    notes, after = stage.out[voice], stage.tune.between(end, end + stage.length)
    at = bisect_left(notes, start, key=lambda note: note.on)
    if not at or not after or any(note.on >= start for note in stage.tune.between(start, end)):
        return
    low, high = stage.range_of(voice, bar)
    here = notes[at - 1].pitches[-1]
    goals = [p for p in range(low + 5, high - 1) if p % 12 == after[0].pitches[0] % 12]
    if not goals or min(abs(goal - here) for goal in goals) > 9:
        return
    goal = min(goals, key=lambda p: (abs(p - here - 3), p))
    span, steps = stage.span_at(start), (end - start) // EIGHTH
    run = [span.step(goal, n - steps if here <= goal + 2 else steps - n) for n in range(steps)]
    fits = all(
        low <= p <= high and stage.clash(p, start + n * EIGHTH, EIGHTH) < 10
        and stage.rub_with_set(voice, p, start + n * EIGHTH, EIGHTH) < 12
        for n, p in enumerate(run)
    )  # fmt: skip
    if not fits:
        return
    if notes[at - 1].end > start:
        notes[at - 1].dur = start - notes[at - 1].on
    behind = bisect_left(notes, end, key=lambda note: note.on)
    notes[at:behind] = [PlacedNote(start + n * EIGHTH, EIGHTH, (pitch,), bound=True) for n, pitch in enumerate(run)]


def _stir(stage: ArrangingStage) -> None:
    """Let the top of a tone that is held for more than two bars go to a neighbour and back, in every second bar."""
    for voice, notes in stage.out.items():
        held: list[PlacedNote] = []
        for note in notes:
            if note.dur > 2 * stage.length and stage.roles[voice, note.on // stage.length] == "hold":
                held += _stirred(stage, voice, note)
            else:
                held.append(note)
        notes[:] = held


def _stirred(stage: ArrangingStage, voice: int, note: PlacedNote) -> list[PlacedNote]:
    first, start, end = note.on // stage.length, note.on, note.end
    found: list[PlacedNote] = []
    for bar in range(first + 1, (end - 1) // stage.length + 1, 2):
        on, until = bar * stage.length + stage.shape.half, min((bar + 1) * stage.length, end)
        beside = _beside(stage, voice, on, until - on, note.pitches) if on < until and bar != stage.climax else None
        if beside is not None:
            moved = (*note.pitches[:-1], beside)
            found += [PlacedNote(start, on - start, note.pitches), PlacedNote(on, until - on, moved)]
            start = until
    return [*found, PlacedNote(start, end - start, note.pitches)] if start < end else found


def _beside(stage: ArrangingStage, voice: int, tick: int, dur: int, held: Sequence[int]) -> int | None:
    """Return the tone nearest to the top of a held chord that is of the chord there, or passes, and rubs nothing."""
    low, high = stage.range_of(voice, tick // stage.length)
    span, bass, top = stage.span_at(tick), stage.bass_at(tick), held[-1]
    floor = max(low, top - 4, *((bass + 3,) if bass is not None else ()), *(pitch + 3 for pitch in held[:-1]))
    able = [
        p for p in range(floor, min(high, top + 4) + 1)
        if p not in (top, stage.tune_at(tick)) and stage.clash(p, tick, dur) < 5
        and p % 12 in (span.own if abs(p - top) > 2 else span.classes | span.scale)
        and not stage.rub_with_set(voice, p, tick, dur)
    ]  # fmt: skip
    return min(able, key=lambda p: (p % 12 not in span.classes, abs(p - top), p), default=None)


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
            if (
                len(stage.others_in(bar)) > 2
                or stage.light.get((voice, bar))
                or {bar - 1, bar + 1} & filled
                or stage.bass_voice[bar] == voice
            ):
                continue
            sung = [n for n in stage.tune_in(bar - 1) if n.on >= (bar - 1) * stage.length]
            cell = [(n.on, n.dur, n.pitches[0]) for n in sung]
            whole = [cell] if not stage.tune_in(bar) else []
            if lines.quote(voice, bar, [*whole, tail_of(cell)], keep=True):
                filled.add(bar)
