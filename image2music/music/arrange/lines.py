"""Lines beside the tune: held tones, parallels, doublings, answers and counter-lines, which speak in the motif's cells.

A line is found by dynamic programming over its notes: consonance with the tune, small steps, motion against the tune
and the bass, no parallel fifths and octaves, sevenths and leading notes led on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from image2music.music.arrange.stage import ArrangingStage
from image2music.music.arrange.timeline import EIGHTH, ChordSpan, PlacedNote, cheapest_path, longest_tone, notes_of_bars
from image2music.music.planning.plan import Role
from image2music.music.theory import TICKS_PER_QUARTER

Slots = Sequence[tuple[int, int]]
_CellNote = tuple[int, int, int]
Cell = Sequence[_CellNote]
"""Notes of a motif as (place, length, pitch)."""
_LEAPS = (0, 0, 0, 30, 30, 90, 240, 90, 250, 250, 400, 400, 250)
_CANDIDATES = 7
_ECHO_FITS = 90


@dataclass(frozen=True, slots=True)
class Manner:
    """What a line likes, in hundredths: `stay` and `move` cost, `leap` scales leaps, `third` rewards consonance."""

    stay: int = 60
    move: int = 0
    leap: int = 100
    third: int = 100
    contrary: int = 50
    near: int = 0


_HOLD = Manner(stay=-120, move=250, leap=200, third=40, contrary=10)
_STRUCK = Manner(stay=60, leap=120, third=60)
_COUNTER = Manner(stay=110, contrary=80)
_PARALLEL = Manner(stay=40, leap=80, third=220, contrary=-20, near=12)


class LineWriter:
    """Writes the lines of a stage; `run` does all, `quote` puts a cell where the tune is still."""

    def __init__(self, stage: ArrangingStage) -> None:
        self.stage = stage
        self.cells = self._cells()

    def run(self) -> None:
        """Write every line, section by section: held tones first, since others move against them."""
        stage = self.stage
        writers = {
            "hold": self._hold, "parallel": self._follow, "double": self._double, "answer": self._answer,
            "counter": self._counter, "melody": self._counter, "bass": self._counter,
        }  # fmt: skip
        order: tuple[Role, ...] = ("hold", "double", "parallel", "counter", "melody", "answer", "bass")
        for section in stage.plan.sections:
            bars = range(section.first - 1, min(section.last, stage.bars))
            for role in order:
                for voice in stage.voices:
                    mine = [
                        bar for bar in bars
                        if stage.roles[voice, bar] == role and not stage.is_written(voice, bar)
                        and not (role in ("bass", "hold") and stage.bass_voice[bar] == voice)
                    ]  # fmt: skip
                    for run in _runs(mine):
                        writers[role](voice, run)
                        stage.out[voice].sort(key=lambda note: note.on)

    # one line by dynamic programming

    def solve(
        self, voice: int, slots: Slots, manner: Manner, allowed: list[list[int]] | None = None, start: int | None = None
    ) -> list[int]:
        """Return a pitch for every (onset, length)."""
        rows: list[list[tuple[int, int]]] = []
        tunes, basses = [], []
        for number, (tick, dur) in enumerate(slots):
            tune, bass = self.stage.tune_at(tick), self._bass_under(voice, tick)
            if bass is not None and manner is _HOLD:
                bass = self.stage.bass_over(tick, tick + dur)
            row = self._row(voice, tick, dur, manner, allowed[number] if allowed else None, tune, bass)
            rows.append(row)
            tunes.append(tune)
            basses.append(bass)
        costs = [[cost for cost, _ in row] for row in rows]
        if start is not None:
            costs[0] = [cost + 15 * abs(pitch - start) for cost, pitch in rows[0]]
        spans = [self.stage.span_at(tick) for tick, _ in slots]

        def move(at: int, j: int, k: int) -> int:
            pairs = ((tunes[at - 1], tunes[at]), (basses[at - 1], basses[at]))
            return _motion(rows[at - 1][j][1], rows[at][k][1], manner, pairs, spans[at - 1], spans[at])

        return [row[at][1] for row, at in zip(rows, cheapest_path(costs, move), strict=True)]

    def _bass_under(self, voice: int, tick: int) -> int | None:
        stage = self.stage
        return None if stage.bass_voice[tick // stage.length] == voice else stage.bass_at(tick)

    def _row(
        self, voice: int, tick: int, dur: int, manner: Manner, allowed: Sequence[int] | None, tune: int | None,
        bass: int | None,
    ) -> list[tuple[int, int]]:  # fmt: skip
        stage = self.stage
        bar = tick // stage.length
        low, high = stage.range_of(voice, bar)
        span = stage.span_at(tick)
        pitches = [p for p in (allowed or range(low, high + 1)) if low <= p <= high and (allowed or p % 12 in span.own)]
        if not pitches:
            pitches = [p for p in range(low, high + 1) if p % 12 in span.classes] or [low]
        middle = (low + high) // 2
        lies_above = tune is not None and middle > tune + 3
        taken = [p for other in stage.voices if other != voice for p in stage.sounding(other, tick)]
        row = []
        for pitch in pitches:
            cost = 25 * stage.clash(pitch, tick, dur) + 7 * abs(pitch - middle)
            cost += 12 * stage.rub_with_set(voice, pitch, tick, dur)
            cost += 20 * max(0, low + 2 - pitch) + 30 * max(0, pitch - high + 3)
            if tune is not None:
                away = abs(pitch - tune)
                cost += {0: 250, 1: 500, 2: 300}.get(away, 0) + 6 * max(0, away - 19) + manner.near * max(0, away - 9)
                consonant = away % 12 in (3, 4, 8, 9) and away < 24
                cost += -manner.third if consonant else 40 * (away % 12 in (0, 5, 7))
                cost += 25 * max(0, (tune - pitch if lies_above else pitch - tune) + 2)
            if bass is not None:
                cost += 300 * (pitch <= bass + 2)
                doubled = pitch % 12 == bass % 12
                cost += 50 * (doubled and bass % 12 == span.third) + 100 * (doubled and bass % 12 == span.seventh)
            for other in taken:
                cost += 70 * (other == pitch)
            row.append((cost, pitch))
        row.sort()
        return row[:_CANDIDATES]

    def _put(self, voice: int, slots: Slots, path: Sequence[int], *, tie: bool = False) -> None:
        stage = self.stage
        notes = stage.out[voice]
        for (tick, dur), pitch in zip(slots, path, strict=True):
            bar = tick // stage.length
            longest = longest_tone(stage.instruments[voice], stage.sections[bar].qpm, stage.length)
            if bar == stage.final:
                longest = stage.length
            last = notes[-1] if notes else None
            if tie and last and last.pitches == (pitch,) and last.end == tick and last.dur + dur <= longest:
                last.dur += dur
            else:
                notes.append(PlacedNote(tick, min(dur, longest), (pitch,)))

    def _last(self, voice: int, tick: int) -> int | None:
        before = [note for note in self.stage.out[voice] if note.on < tick]
        return before[-1].pitches[-1] if before else None

    # the kinds of lines

    def _hold(self, voice: int, bars: Sequence[int]) -> None:
        stage = self.stage
        sustains = stage.instruments[voice].sustains
        edges = {span.on for span in stage.spans_of(bars)}
        if not sustains:  # what dies away is struck again
            struck = [bar * stage.length for bar in bars if bar != stage.final]
            edges |= {start + beat for start in struck for beat in stage.shape.strong}
        slots = [(on, end - on) for on, end in pairwise([*sorted(edges), (bars[-1] + 1) * stage.length])]
        path = self.solve(voice, slots, _HOLD if sustains else _STRUCK)
        first = len(stage.out[voice])
        self._put(voice, slots, path, tie=sustains)
        if stage.instruments[voice].chords > 2:
            for note in stage.out[voice][first:]:
                note.pitches = self._filled(voice, note)

    def _filled(self, voice: int, note: PlacedNote) -> tuple[int, ...]:
        """Give a held tone of a chordal instrument one or two tones of its chord below, a third or sixth first."""
        stage = self.stage
        bar = note.on // stage.length
        spans = [span for span in stage.spans if span.on < note.end and span.end > note.on]
        common = set(spans[0].own).intersection(*(span.own for span in spans))
        low, _ = stage.range_of(voice, bar)
        top = note.pitches[-1]
        bass = max((stage.bass_over(max(s.on, note.on), min(s.end, note.end)) or 0 for s in spans), default=0)
        floor = max(low, 48, bass + 3)
        found = [top]
        for _ in range(2 if stage.levels[bar] >= 3 or bar in (stage.climax, stage.final) else 1):
            able = [
                p for p in range(max(floor, found[0] - 9), found[0] - 2)
                if p % 12 in common and p % 12 not in {q % 12 for q in found} and stage.clash(p, note.on, note.dur) < 8
            ]  # fmt: skip
            if not able:
                break
            third = spans[0].third
            found.insert(0, min(able, key=lambda p: (p % 12 != third, abs(found[0] - p - 5), p)))
        return tuple(found)

    def _follow(self, voice: int, bars: Sequence[int]) -> None:
        """The tune's rhythm in thirds and sixths."""
        stage = self.stage
        sung = [n for bar in bars for n in stage.tune_in(bar) if n.on // stage.length == bar]
        if not sung:
            self._counter(voice, bars)
            return
        low, high = stage.range_of(voice, bars[0])
        mean = sum(note.pitches[0] for note in sung) // len(sung)
        above = (low + high) // 2 > mean + 3
        allowed = []
        for note in sung:
            span, pitch = stage.span_at(note.on), note.pitches[0]
            own = pitch % 12 in span.classes
            strict = (stage.is_beat(note.on) and own) or note.dur >= TICKS_PER_QUARTER
            tones = span.own if strict else tuple(span.scale)
            allowed.append(
                [p for p in range(low, high + 1) if p % 12 in tones and 2 < (p - pitch if above else pitch - p) <= 21]
            )
        slots = [(note.on, note.dur) for note in sung]
        self._put(voice, slots, self.solve(voice, slots, _PARALLEL, allowed, self._last(voice, slots[0][0])))

    def _double(self, voice: int, bars: Sequence[int]) -> None:
        """The tune, one or two octaves away; where that leaves the range, a counter-line."""
        stage = self.stage
        sung = [n for bar in bars for n in stage.tune_in(bar) if n.on // stage.length == bar]
        low, high = stage.range_of(voice, bars[0])
        for octave in (-12, 12, -24, 24):
            if sung and all(low <= note.pitches[0] + octave <= high for note in sung):
                stage.out[voice] += [PlacedNote(n.on, n.dur, (n.pitches[0] + octave,)) for n in sung]
                return
        self._counter(voice, bars)

    def _counter(self, voice: int, bars: Sequence[int]) -> None:
        """A line that moves where the tune stands; a cell of the motif is quoted where there is room."""
        stage = self.stage
        slots: list[tuple[int, int]] = []
        for bar in bars:
            slots += self._moments(bar, bar == bars[-1])
        path = self.solve(voice, slots, _COUNTER, start=self._last(voice, slots[0][0]))
        self._put(voice, slots, path)
        self._pass_thirds(voice, bars)
        quoted = -9
        for bar in bars[:-1] if len(bars) > 1 else bars:
            if bar in (stage.final, stage.climax) or bar - quoted < 2:
                continue
            if self.quote(voice, bar, self.cells):
                quoted = bar

    def _moments(self, bar: int, is_last: bool) -> list[tuple[int, int]]:
        stage = self.stage
        start, end = bar * stage.length, (bar + 1) * stage.length
        onsets = {note.on for note in stage.tune_in(bar)}
        points = {start} | {span.on for span in stage.spans_of([bar])}
        idle = [start + beat for beat in stage.shape.beats[1:] if start + beat not in onsets]
        if bar != stage.final and not is_last:
            middle = start + stage.shape.half
            picked = [middle] if middle in idle or not idle else [idle[-1]]
            if stage.levels[bar] >= 3 and len(points) < 2 and stage.length >= 3 * TICKS_PER_QUARTER:
                picked += [tick for tick in idle if tick > middle][:1]
            points |= {tick for tick in picked if tick < end}
        ordered = [*sorted(points), end]
        return [(tick, after - tick) for tick, after in pairwise(ordered)]

    def _pass_thirds(self, voice: int, bars: Sequence[int]) -> None:
        """Fill a third between two notes of a line with its passing note where the first is long enough."""
        stage = self.stage
        notes, new = stage.out[voice], []
        for note, after in zip(notes, [*notes[1:], None], strict=True):
            new.append(note)
            if after is None or note.on // stage.length not in bars or note.end != after.on or len(note.pitches) > 1:
                continue
            here, there = note.pitches[0], after.pitches[0]
            if note.dur < 2 * TICKS_PER_QUARTER or abs(there - here) not in (3, 4):
                continue
            dur = TICKS_PER_QUARTER if note.dur >= 3 * TICKS_PER_QUARTER else EIGHTH
            between = stage.span_at(after.on - EIGHTH).step(here, 1 if there > here else -1)
            if min(here, there) < between < max(here, there) and stage.clash(between, after.on - dur, dur) < 5:
                note.dur -= dur
                new.append(PlacedNote(note.end, dur, (between,), bound=True))
        stage.out[voice] = new

    def _answer(self, voice: int, bars: Sequence[int]) -> None:
        """Speak where the tune holds or rests; else come a bar later with what it sang, every other bar."""
        stage = self.stage
        for place, bar in enumerate(bars):
            start = bar * stage.length
            before = [n for n in stage.tune_in(bar - 1) if n.on >= start - stage.length] if bar else []
            cell = [(n.on - start + stage.length, n.dur, n.pitches[0]) for n in before]
            if bar == stage.final:
                self._stay(voice, bar)
                continue
            spoke = self.quote(voice, bar, [tail_of(cell), *self.cells])
            if not spoke and place % 2 and len(cell) > 1:
                spoke = self._echo(voice, cell, start, stage.length, 130)
            if not spoke and (place or stage.instruments[voice].chords > 4):
                self._stay(voice, bar)

    def _stay(self, voice: int, bar: int) -> None:
        """One quiet tone for a bar that has nothing to say."""
        stage = self.stage
        sustains = stage.instruments[voice].sustains
        edges = {span.on for span in stage.spans_of([bar])} | {(bar + 1) * stage.length}
        if not sustains and bar != stage.final:
            edges.add(bar * stage.length + stage.shape.half)
        slots = [(on, end - on) for on, end in pairwise(sorted(edges))]
        first = len(stage.out[voice])
        path = self.solve(voice, slots, _HOLD if sustains else _STRUCK, start=self._last(voice, slots[0][0]))
        self._put(voice, slots, path, tie=sustains)
        if stage.instruments[voice].chords > 2:
            for note in stage.out[voice][first:]:
                note.pitches = self._filled(voice, note)

    # cells

    def _cells(self) -> list[list[_CellNote]]:
        """Return cells of the motif as (at, length, pitch): its head, its head upside down, its end."""
        stage = self.stage
        notes: list[PlacedNote] = []
        if stage.motif:
            notes = notes_of_bars(stage.motif, stage.length)
        elif stage.tune.notes:
            first = stage.tune.notes[0].on // stage.length * stage.length
            notes = [n for n in stage.tune.notes if n.on < first + 2 * stage.length]
        if len(notes) < 3:
            return []
        origin = notes[0].on
        cell = [(n.on - origin, n.dur, n.pitches[-1]) for n in notes]
        head = cell[: 4 if len(cell) > 4 else 3]
        mirrored = [(at, dur, 2 * head[0][2] - pitch) for at, dur, pitch in head]
        found = [head, mirrored, tail_of(cell)]
        turn = int(stage.rng.integers(len(found)))
        return found[turn:] + found[:turn]

    def _room(self, bar: int) -> int:
        """Return the tick from which the tune has no new note in a bar, or half the bar at the earliest."""
        stage = self.stage
        start, end = bar * stage.length, (bar + 1) * stage.length
        onsets = [n.on for n in stage.tune_in(bar) if n.on >= start]
        after = max(onsets) + EIGHTH if onsets else start
        return min([start + b for b in stage.shape.beats if start + b >= after] or [end])

    def quote(self, voice: int, bar: int, cells: Sequence[Cell], *, keep: bool = False) -> bool:
        """Put the first cell that fits into the end of a bar where the tune is still."""
        stage = self.stage
        end = (bar + 1) * stage.length
        start = self._room(bar)
        if end - start < min(2 * TICKS_PER_QUARTER, stage.length // 2):
            return False
        return any(
            len(cell) > 1 and self._echo(voice, cell, start, end - start, _ECHO_FITS, keep=keep) for cell in cells
        )

    def _echo(self, voice: int, cell: Cell, start: int, room: int, fits: int, *, keep: bool = False) -> bool:
        """Set a cell from `start` on, moved by scale steps to where it fits best; False where nothing fits.

        `keep` leaves what the voice has behind the cell, from the next beat on.
        """
        stage = self.stage
        origin = cell[0][0]
        kept = [(at - origin, dur, pitch) for at, dur, pitch in cell if at - origin < room]
        if len({pitch for _, _, pitch in kept}) < min(3, len(kept)) or any(at % (EIGHTH // 2) for at, _, _ in kept):
            return False
        if len(kept) < 2:
            return False
        low, high = stage.range_of(voice, start // stage.length)
        last = self._last(voice, start)
        best: tuple[int, int, list[PlacedNote]] | None = None
        for steps in range(-21, 22):
            first = stage.span_at(start).step(kept[0][2], steps)
            if not low <= first <= high or first % 12 not in stage.span_at(start).classes:
                continue
            notes = [self._moved(pitch, steps, start + at, min(dur, room - at)) for at, dur, pitch in kept]
            if any(not low <= note.pitches[0] <= high for note in notes):
                continue
            cost = self._echo_cost(voice, notes, kept, steps) + (
                6 * max(0, abs(first - last) - 7) if last is not None else 0
            )
            if best is None or (cost, abs(steps)) < best[:2]:
                best = cost, abs(steps), notes
        if best is None or best[0] > fits:
            return False
        notes = best[2]
        end = start + room
        if keep and notes[-1].end < end:
            bar = start // stage.length * stage.length
            end = min([bar + beat for beat in stage.shape.beats if bar + beat >= notes[-1].end] or [end])
        notes[-1].dur = max(notes[-1].dur, min(end - notes[-1].on, TICKS_PER_QUARTER))
        if stage.instruments[voice].chords > 2:
            self._thicken(voice, notes)
        self._replace(voice, start, end, notes)
        return True

    def _thicken(self, voice: int, notes: Sequence[PlacedNote]) -> None:
        """Put thirds and sixths under the notes of a cell that fall on beats."""
        stage = self.stage
        for note in notes:
            low, _ = stage.range_of(voice, note.on // stage.length)
            top = note.pitches[0]
            if not stage.is_beat(note.on) or top < 60:
                continue
            span = stage.span_at(note.on)
            able = [
                p for p in range(max(low, 52, top - 9), top - 2)
                if p % 12 in span.own and (top - p) in (3, 4, 8, 9) and stage.clash(p, note.on, note.dur) < 8
            ]  # fmt: skip
            if able:
                note.pitches = (able[-1], top)

    def _moved(self, pitch: int, steps: int, tick: int, dur: int) -> PlacedNote:
        span = self.stage.span_at(tick)
        moved = span.step(pitch, steps) if steps else pitch
        if moved % 12 not in span.classes and (self.stage.is_beat(tick) and dur >= TICKS_PER_QUARTER):
            near = [p for p in range(moved - 3, moved + 4) if p % 12 in span.classes]
            moved = min(near, key=lambda p: (abs(p - moved), p), default=moved)
        return PlacedNote(tick, dur, (moved,), bound=True)

    def _echo_cost(self, voice: int, notes: Sequence[PlacedNote], cell: Cell, steps: int) -> int:
        stage = self.stage
        low, high = stage.range_of(voice, notes[0].on // stage.length)
        cost = 0 if steps % 7 in (5, 2, 0) else 5
        for note in notes:
            own = note.pitches[0] % 12 in stage.span_at(note.on).classes
            cost += 6 * stage.clash(note.pitches[0], note.on, note.dur) + (
                0 if own else 25 if stage.is_beat(note.on) else 6
            )
            cost += abs(note.pitches[0] - (low + high) // 2) // 2
        for (a, b), (x, y) in zip(pairwise(notes), pairwise(cell), strict=True):
            moved, meant = b.pitches[0] - a.pitches[0], y[2] - x[2]
            cost += 10 * max(0, abs(moved - meant) - 1) + 15 * (moved == 0 != meant)
        return cost

    def _replace(self, voice: int, start: int, end: int, notes: Sequence[PlacedNote]) -> None:
        kept = []
        for note in self.stage.out[voice]:
            if start <= note.on < end:
                continue
            if note.on < start < note.end:
                note.dur = start - note.on
            kept.append(note)
        self.stage.out[voice] = sorted([*kept, *notes], key=lambda note: note.on)


def _runs(bars: Sequence[int]) -> list[list[int]]:
    groups = groupby(enumerate(bars), key=lambda pair: pair[1] - pair[0])
    return [[bar for _, bar in group] for _, group in groups]


def tail_of(cell: Cell) -> list[_CellNote]:
    """The last three or four notes, the last one no longer than two quarters."""
    tail = list(cell[-4:] if len(cell) > 4 else cell[-3:])
    if tail:
        at, dur, pitch = tail[-1]
        tail[-1] = at, min(dur, 2 * TICKS_PER_QUARTER), pitch
    return tail


def _motion(
    was: int,
    pitch: int,
    manner: Manner,
    pairs: Sequence[tuple[int | None, int | None]],
    left: ChordSpan,
    right: ChordSpan,
) -> int:
    away = abs(pitch - was)
    cost = (_LEAPS[away] if away < 13 else 600) * manner.leap // 100 + (manner.stay if away == 0 else manner.move)
    for before, now in pairs:
        if before is None or now is None or away == 0 or before == now:
            continue
        along = (pitch - was) * (now - before)
        if along > 0 and (pitch - now) % 12 == (was - before) % 12 and (pitch - now) % 12 in (0, 5, 7):
            cost += 500 if (pitch - now) % 12 == 0 or ((pitch - now) % 12 == 7) == (pitch > now) else 0
        cost += -manner.contrary if along < 0 else 20
    if left.chord != right.chord:
        if was % 12 == left.seventh and not 0 < was - pitch <= 2:
            cost += 120
        if left.leans and was % 12 == left.third and not 0 < pitch - was <= 2:
            cost += 60
    return cost
