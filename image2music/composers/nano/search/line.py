"""The line: for every bar the best of many candidates, made from the themes, over the whole tune by a narrow beam.

A candidate is judged by itself (its chord, leaps, height, peak, holes) and by what went before (the step into it,
parallels with the bass, how often its rhythm and its notes were heard, how expected they are). Costs are plain sums;
one unit is a fault that a listener notices.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from image2music.composers.nano.search.cells import (
    OPERATIONS,
    Rhythm,
    Theme,
    bar_on_other_chords,
    bits_of,
    closing_bars,
    in_double_values,
    leading_bars,
    scale_steps_of,
    set_on,
    uneven_cells,
    versions_of_bar,
)
from image2music.composers.nano.search.form import BarTask, Form
from image2music.composers.nano.search.harmony import ChordPlace, SingingRange, bar_cost, place_of
from image2music.composers.nano.sketch import Note, bar_ticks, beat_ticks

WIDTH = 4
"""Lines that are followed at once; more did not make better tunes, other plans and themes did."""
_KEPT = 34
"""Candidates of a bar that go on to be compared in their context."""
_IDEA = re.compile(r"([mn])([a-z]?)([01])")
_HALTING = 1.2
"""What it costs to stand still in the bar before a phrase's last."""
_LOST_PEAK = 1.5
"""What it costs that the climax is not the highest note of all."""
_PRAISE = 0.701
"""The most that a bar may gain by what went before it, and a little for rounding."""
_NEVER = 1e9
_STALE = 1.6
"""What it costs to repeat notes in a third bar running."""
_WORN = 1.4
"""What it costs to hear an uneven rhythm in a fourth bar running: three times is a sequence, more a habit."""
_NO_NOTES: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class _Candidate:
    cost: float
    notes: tuple[Note, ...]
    tag: str
    rhythm: tuple[tuple[int, int], ...]
    pitches: tuple[int, ...]
    bits: float
    high_bits: float
    cells: tuple[Rhythm, ...] = ()
    repeats: bool = False


class LineSearch:
    """Writes one line. `done` holds the bars that stand, by number; `tags` what each was made by."""

    def __init__(
        self,
        form: Form,
        meter: str,
        theme: Theme,
        other: Theme | None,
        windows: Sequence[SingingRange],
        rng: random.Random,
    ) -> None:
        self.form, self.meter, self.theme, self.other, self.windows, self.rng = form, meter, theme, other, windows, rng
        self.bar, self.beat = bar_ticks(meter), beat_ticks(meter)
        self.tasks = form.tasks
        self.places = [places_of_bar(task) for task in self.tasks]
        self.done: dict[int, tuple[Note, ...]] = {}
        self.tags: list[str] = []
        self.cost = 0.0
        self._shift: dict[tuple[int, int], int] = {}
        self._standing: list[_Candidate] = []

    # ------------------------------------------------------------ candidates

    def _candidates(self, task: BarTask) -> list[_Candidate]:
        if task.idea == "rest":
            return [_Candidate(0.0, _NO_NOTES, "rest", (), (), 0.0, 0.0)]
        found: list[tuple[tuple[Note, ...], float, str]] = []
        window = self.windows[task.singer]
        for word in task.idea.split("+"):
            if word == "cad":
                continue
            if word[0] in "MN":
                found.append(self._as_stated(word, task, window))
            elif word[0] in "=~":
                found += self._again(int(word[1:]), task, window, varied=word[0] == "~")
            elif word[0] == "^":
                found += self._sequence(int(word[1:]), task, window)
            elif word == "lead":
                found += self._leading(task, window)
            elif word[0] == ">":
                theme = self.theme.bars[int(word[1])]
                slow = in_double_values(theme, word[2] == "b", self.bar)
                found += self._worked(slow, self.theme.places[int(word[1])], "T", task, window, "A")
            else:
                found += self._from_theme(word, task, window)
        if not found and "cad" not in task.idea:
            # A bar of one or two notes has no head to be stated twice.
            found = self._from_theme("mo0", task, window) + self._from_theme("mo1", task, window)
        if "cad" in task.idea or task.close not in (None, "open"):
            found += self._cadences(task, window)
        return self._judged(found, task)

    def _as_stated(self, word: str, task: BarTask, window: SingingRange) -> tuple[tuple[Note, ...], float, str]:
        theme = self.theme if word[0] == "M" or self.other is None else self.other
        notes = theme.bars[int(word[1])]
        mean = sum(note[2] for note in theme.notes) / len(theme.notes)
        octave = 12 * round((window.pitch_at(task.height) - mean) / 12) if task.singer else 0
        return tuple((o, d, p + octave) for o, d, p in notes), 0.0, word

    def _again(
        self, source: int, task: BarTask, window: SingingRange, *, varied: bool
    ) -> list[tuple[tuple[Note, ...], float, str]]:
        notes = self.done.get(source)
        if not notes:
            return [(_NO_NOTES, 0.0, "rest")]
        shift = (place_of_bar(task).tonic - place_of_bar(self.tasks[source]).tonic) % 12
        mean = sum(note[2] for note in notes) / len(notes)
        octave = shift + 12 * round((window.pitch_at(task.height) - mean - shift) / 12)
        octave = self._shift.setdefault((task.section, task.singer), octave)
        if min(note[2] for note in notes) + octave < window.lowest:
            octave += 12
        elif max(note[2] for note in notes) + octave > window.highest:
            octave -= 12
        places = self.places[task.bar]
        base = bar_on_other_chords([(o, d, p + octave) for o, d, p in notes], places, self.bar)
        found = [(base, 0.9 if varied else 0.0, "=")]
        if varied:
            steps = scale_steps_of(base, places[0])
            for _, cost, made in versions_of_bar(steps, "O", self.bar, self.beat):
                pitches, _ = set_on(made, base[0][2], places, self.bar, self.beat)
                ornamented = tuple((o, d, p) for (o, d, _), p in zip(made, pitches, strict=True))
                found.append((ornamented, cost - 0.6, "~"))
        return found

    def _sequence(self, source: int, task: BarTask, window: SingingRange) -> list[tuple[tuple[Note, ...], float, str]]:
        """Return an earlier bar on other degrees."""
        notes = self.done.get(source, _NO_NOTES)
        made = self._worked(notes, place_of_bar(self.tasks[source]), "T", task, window, "^")
        return [one for one in made if one[0][0][2] != notes[0][2]]

    def _from_theme(self, word: str, task: BarTask, window: SingingRange) -> list[tuple[tuple[Note, ...], float, str]]:
        matched = _IDEA.fullmatch(word)
        assert matched is not None, word
        theme = self.theme if matched[1] == "m" or self.other is None else self.other
        at = int(matched[3])
        return self._worked(theme.bars[at], theme.places[at], OPERATIONS[matched[2]], task, window, word)

    def _worked(
        self, notes: Sequence[Note], source: ChordPlace, letters: str, task: BarTask, window: SingingRange, tag: str
    ) -> list[tuple[tuple[Note, ...], float, str]]:
        if not notes:
            return []
        places, found = self.places[task.bar], []
        goal = int(window.pitch_at(task.height))
        lowest, highest, bar, beat = window.lowest, window.highest, self.bar, self.beat
        scale = places[0].scale
        starts = [p for p in range(max(lowest, goal - 8), min(highest, goal + 8) + 1) if p % 12 in scale]
        for letter, cost, made in versions_of_bar(scale_steps_of(notes, source), letters, bar, beat):
            low_step, high_step = min(s for _, _, s in made), max(s for _, _, s in made)
            for start in starts:
                # A scale step is at most two semitones (three in the harmonic minor): leave out what is far outside.
                if start + 3 * low_step // 2 < lowest - 2 or start + 3 * high_step // 2 > highest + 2:
                    continue
                pitches, moved = set_on(made, start, places, bar, beat)
                if min(pitches) < lowest or max(pitches) > highest:
                    continue
                found.append(
                    (
                        tuple([(o, d, p) for (o, d, _), p in zip(made, pitches, strict=True)]),
                        cost + 0.35 * moved,
                        f"{tag}{letter}",
                    )
                )
        return found

    def _cadences(self, task: BarTask, window: SingingRange) -> list[tuple[tuple[Note, ...], float, str]]:
        places = self.places[task.bar]
        last = places[-1]
        root = last.chord.root
        goals = last.tones
        if task.close == "full":
            goals = frozenset({root}) if task.last else frozenset({root, last.chord.third or root})
        elif task.close == "imperfect":
            goals = frozenset({last.chord.third or root, last.chord.fifth})
        goal = int(window.pitch_at(task.height))
        ends = [p for p in range(max(window.lowest, goal - 9), min(window.highest, goal + 8) + 1) if p % 12 in goals]
        full, goes_on = task.close == "full", not task.close
        return [
            (notes, cost + 0.5 * (full and notes[-1][2] % 12 != root) + _HALTING * (goes_on and len(notes) < 3), "cad")
            for notes, cost in closing_bars(places, ends, self.meter, last=task.last)
        ]

    def _leading(self, task: BarTask, window: SingingRange) -> list[tuple[tuple[Note, ...], float, str]]:
        """Return bars that run into what comes next: the theme's first note, or a tone of the chord there."""
        after = self.tasks[(task.bar + 1) % len(self.tasks)]
        place = place_of_bar(after)
        source = self.done.get(int(after.idea[1:].split("+")[0])) if after.idea[0] in "=~" else None
        classes: frozenset[int] = place.tones
        if after.bar == 0 and self.done.get(0):  # a loop begins again
            classes = frozenset({self.done[0][0][2] % 12})
        elif source:
            shift = place.tonic - place_of_bar(self.tasks[int(after.idea[1:].split("+")[0])]).tonic
            classes = frozenset({(source[0][2] + shift) % 12})
        near = int(window.pitch_at(after.height))
        goals = [p for p in range(max(window.lowest, near - 9), min(window.highest, near + 6) + 1) if p % 12 in classes]
        made = leading_bars(self.theme.bars[0], self.places[task.bar], goals, self.bar, self.beat)
        return [
            (notes, cost, "lead")
            for notes, cost in made
            if all(window.lowest <= pitch <= window.highest for _, _, pitch in notes)
        ]

    # ------------------------------------------------------------ what a bar costs by itself

    def _judged(self, found: list[tuple[tuple[Note, ...], float, str]], task: BarTask) -> list[_Candidate]:
        seen: set[tuple[Note, ...]] = set()
        judged: list[tuple[float, int, tuple[Note, ...], str]] = []
        window, places = self.windows[task.singer], self.places[task.bar]
        for notes, cost, tag in found:
            if notes in seen:
                continue
            seen.add(notes)
            total = round(cost + bar_cost(notes, task, window, places, self.bar) + 0.4 * self.rng.random(), 6)
            judged.append((total, len(judged), notes, tag))
        judged.sort(key=lambda one: one[:2])
        result = []
        for total, _, notes, tag in judged[:_KEPT]:
            pitches = tuple([note[2] for note in notes])
            inner = bits_of(pitches, self.places[task.bar][0].tonic, self.places[task.bar][0].minor) if pitches else []
            rhythm = tuple([(o, d) for o, d, _ in notes])
            result.append(
                _Candidate(
                    total,
                    notes,
                    tag,
                    rhythm,
                    pitches,
                    sum(inner),
                    sum([max(0.0, b - 7.5) for b in inner]),
                    uneven_cells(rhythm, self.bar, self.beat),
                    any([a == b for a, b in pairwise(pitches)]),
                )
            )
        return result or [_Candidate(5.0, _NO_NOTES, "none", (), (), 0.0, 0.0)]

    # ------------------------------------------------------------ the beam

    def write(self, tasks: Sequence[BarTask]) -> None:
        """Write the bars of `tasks`, from the first that is not there yet; what stands before stays."""
        beams: list[tuple[float, list[_Candidate]]] = [(self.cost, self._standing)]
        for task in tasks[len(self._standing) :]:
            if task.settled:
                beams = beams[:1]
                self._settle(beams[0])
            rows = self._candidates(task)
            grown: list[tuple[float, int, int, _Candidate, list[_Candidate]]] = []
            joins: dict[tuple[int, tuple[int, ...], tuple[Note, ...]], float] = {}
            bound = _NEVER
            for cost, line in beams:
                made = self._continued(cost, line, rows, task, joins, bound)
                grown += made
                if len(made) >= WIDTH:
                    bound = min(bound, sorted([one[0] for one in made])[WIDTH - 1])
            grown.sort(key=lambda one: one[:3])
            beams, seen = [], set()
            for total, _, _, row, line in grown:
                key = (row.notes, line[-1].notes if line else _NO_NOTES)
                if key in seen:
                    continue
                seen.add(key)
                beams.append((total, [*line, row]))
                if len(beams) == WIDTH:
                    break
        self._settle(beams[0])
        self.cost, self._standing = beams[0]
        self.tags = [row.tag for row in self._standing]

    def _settle(self, beam: tuple[float, list[_Candidate]]) -> None:
        for number, row in enumerate(beam[1]):
            self.done[number] = row.notes

    def _continued(
        self,
        cost: float,
        line: list[_Candidate],
        rows: Sequence[_Candidate],
        task: BarTask,
        joins: dict[tuple[int, tuple[int, ...], tuple[Note, ...]], float],
        bound: float,
    ) -> list[tuple[float, int, int, _Candidate, list[_Candidate]]]:
        """Return the line with each candidate behind it, with what that costs.

        `joins` remembers what a candidate costs behind the same notes. What surely costs more than `bound`, or than
        `WIDTH` others of this line, is left out: it could not go on.
        """
        before = [row for row in line[-3:] if row.notes]
        flat = [pitch for row in before for pitch in row.pitches][-3:]
        last = line[-1] if line else None
        rhythms = Counter(row.rhythm for row in line if row.notes)
        recent = [row.notes for row in line[-6:]]
        circling = [pitch for row in line[-2:] for pitch in row.pitches]
        heard = Counter(pitch for row in line[-3:] for pitch in row.pitches)
        sung = [row for row in line[-6:] if row.notes]
        cells = Counter(cell for row in sung for cell in row.cells)
        stale = len(sung) > 1 and sung[-1].repeats and sung[-2].repeats
        often = 3 * sum(row.repeats for row in sung) > len(sung)
        commonest, count = max(heard.values(), default=0), heard.total()
        closes = zip(line, self.tasks, strict=False) if task.close else ()
        ends = {row.pitches[-1] for row, other in closes if other.close and row.pitches}
        peak, top = self.form.peak, 0
        if task.bar >= peak:
            top = max([p for one in (line if task.peak else line[peak : peak + 1]) for p in one.pitches], default=0)
        fixed = task.idea[0] in "MN="
        behind = (tuple(flat), last.notes if last is not None else _NO_NOTES)
        result: list[tuple[float, int, int, _Candidate, list[_Candidate]]] = []
        best = [bound] * WIDTH
        for number, row in enumerate(rows):
            total = cost + row.cost
            if total - _PRAISE > best[-1]:
                break
            if top and row.notes:
                highest = max(row.pitches)
                total += _LOST_PEAK * (highest <= top if task.peak else highest >= top)
            if row.notes:
                key = (number, *behind)
                join = joins.get(key)
                if join is None:
                    join = self._step_into(flat, row, task) if flat else 0.0
                    if last is not None and last.notes:
                        join += self._with_bass(last, row, task)
                    joins[key] = join
                total += join
                if total - _PRAISE > best[-1]:
                    continue
                if last is not None and last.notes and not fixed:
                    total += self._beside(last, line[-2] if len(line) > 1 else None, row)
            if row.notes and not fixed:
                total += 1.2 * recent.count(row.notes)
                if row.repeats:
                    total += _STALE * stale + 0.3 * often
                for cell in row.cells:
                    if cells[cell] > 2:
                        total += _WORN * all(cell in one.cells for one in sung[-3:]) + 0.3 * (cells[cell] - 3)
                if task.close:
                    total += 0.3 * rhythms[row.rhythm] + 0.4 * (row.pitches[-1] in ends and not task.last)
                else:
                    total += 0.6 * (len(row.pitches) <= 2 and last is not None and 0 < len(last.pitches) <= 2)
                    total += 0.25 * max(0, rhythms[row.rhythm] - 1)
                if circling and len(set(circling) | set(row.pitches)) < 5:
                    total += 0.7
                if count:
                    most = max(commonest, *[heard[pitch] + row.pitches.count(pitch) for pitch in row.pitches])
                    total += 3.0 * max(0.0, most / (count + len(row.pitches)) - 0.34)
            total = round(total, 6)
            result.append((total, len(line), number, row, line))
            if total < best[-1]:
                best[-1] = total
                best.sort()
        return result

    def _beside(self, last: _Candidate, before: _Candidate | None, row: _Candidate) -> float:
        """What it costs to be like the bars before: a sequence is welcome once, the same rhythm otherwise is not."""
        sequence = row.rhythm == last.rhythm and _moved_alike(last.pitches, row.pitches)
        if sequence and before is not None and before.rhythm == row.rhythm:
            return 2.2
        if sequence:
            return -0.7
        if before is not None and before.rhythm == row.rhythm and _moved_alike(before.pitches, row.pitches):
            return -0.5
        cost = 0.7 * (row.rhythm == last.rhythm) + 1.5 * (row.pitches == last.pitches)
        return cost + 1.8 * (before is not None and row.rhythm == last.rhythm == before.rhythm)

    def _step_into(self, flat: Sequence[int], row: _Candidate, task: BarTask) -> float:
        previous, here = flat[-1], row.pitches[0]
        away = abs(here - previous)
        weight = 2.0 if task.last else 0.5 if task.bar and self.tasks[task.bar - 1].close else 1.0
        cost = weight * (
            3.0 if away > 12 else 2.0 if away in (10, 11) else 1.5 if away == 6 else 0.8 if away > 7
            else 0.3 if away > 5 else 0.15 if away == 0 else 0.0
        )  # fmt: skip
        if task.bar and away > 2 and previous % 12 not in self.places[task.bar - 1][-1].tones:
            cost += 1.5
        if len(flat) > 1 and abs(previous - flat[-2]) >= 5 and (here - previous) * (previous - flat[-2]) > 0:
            cost += 0.8
        if away >= 5 and len(row.pitches) > 1 and (row.pitches[1] - here) * (here - previous) > 0:
            cost += 0.6
        beside = max(
            abs(previous - flat[-2]) if len(flat) > 1 else 0, abs(row.pitches[1] - here) if len(row.pitches) > 1 else 0
        )
        if away >= 8 and beside >= 8:
            cost += 1.5
        place = self.places[task.bar][0]
        bits = bits_of((*flat[-2:], *row.pitches[:2]), place.tonic, place.minor)
        count = len(bits) + max(0, len(row.pitches) - 2)
        if count:
            mean = (sum(bits) + row.bits) / count
            cost += 0.5 * max(0.0, mean - 4.3) + 0.45 * max(0.0, 2.0 - mean)
            cost += 0.12 * (row.high_bits + sum([max(0.0, bit - 7.5) for bit in bits]))
        return cost

    def _with_bass(self, last: _Candidate, row: _Candidate, task: BarTask) -> float:
        """Octaves and fifths that tune and bass go into from bar to bar, and the bass's own note on the first beat."""
        if row.notes[0][0] or not last.notes:
            return 0.0
        bass, before = self.places[task.bar][0].chord.bass, self.places[task.bar - 1][0].chord.bass
        here = row.pitches[0]
        cost = 0.15 * ((here - bass) % 12 == 0 and not task.close)
        if last.notes[0][0] == 0:
            old = last.pitches[0]
            apart = (here - bass) % 12
            if bass != before and here != old and apart in (0, 7) and (old - before) % 12 == apart:
                cost += 0.9
        end = last.pitches[-1]
        bass_end = self.places[task.bar - 1][-1].chord.bass
        apart = (here - bass) % 12
        if apart in (0, 7) and (end - bass_end) % 12 == apart and end != here and bass_end != bass:
            cost += 0.6
        return cost


def _moved_alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether a bar is another one a second to a fourth away: all its steps go the same way and nearly as far."""
    if len(one) < 2 or len(one) != len(other) or not 1 <= abs(other[0] - one[0]) <= 5:
        return False
    return all(
        abs((b2 - b1) - (a2 - a1)) <= 1 for (a1, a2), (b1, b2) in zip(pairwise(one), pairwise(other), strict=True)
    )


def places_of_bar(task: BarTask) -> tuple[ChordPlace, ...]:
    """Return the places of a bar's chords."""
    return tuple(place_of(symbol, task.key) for symbol in task.chords.split())


def place_of_bar(task: BarTask) -> ChordPlace:
    """Return the place at the beginning of a bar."""
    return place_of(task.chords.split()[0], task.key)
