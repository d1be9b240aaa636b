"""How worth hearing a tune is: its line's variety, peak and contrasts, and, arranged, the critic and the faults heard.

And what is done to a line that stands: pick-ups before phrases, a last note that rings.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from image2music.abc.playback import abc_to_score
from image2music.abc.writer.parts import lines_to_abc
from image2music.composers.nano.search.cells import Rhythm, uneven_cells
from image2music.composers.nano.search.form import Form
from image2music.composers.nano.search.harmony import fits_notes, flow_cost
from image2music.composers.nano.search.line import LineSearch, place_of_bar, places_of_bar
from image2music.composers.nano.sketch import Note
from image2music.music.critic.model import criticise
from image2music.music.lines import Line
from image2music.music.listen.listener import listen
from image2music.music.planning.checks import check_plan
from image2music.music.planning.plan import Plan

LineBars = Mapping[int, tuple[Note, ...]]


def line_worth(search: LineSearch) -> float:
    """Return a number for a whole line; differences of .3 are heard, higher is better."""
    form, done = search.form, search.done
    bars = [(number, notes) for number, notes in sorted(done.items()) if notes]
    rhythms = [tuple((o, d) for o, d, _ in notes) for _, notes in bars]
    count = len(bars)
    if count < 2:
        return -search.cost
    worth = -0.8 * search.cost / count
    same = sum(a == b for a, b in itertools.pairwise(rhythms)) / count
    kinds = len(set(rhythms)) / count
    commonest = max(Counter(rhythms).values()) / count
    worth -= 2.5 * max(0.0, same - 0.1) + 2.0 * max(0.0, 0.4 - kinds) + 1.5 * max(0.0, kinds - 0.78)
    worth -= 4.0 * max(0.0, commonest - 0.27)
    long = max(search.bar // 2, min(search.bar, 2 * search.beat))
    halts = sum(search.bar - notes[-1][0] >= long for _, notes in bars) / count
    worth -= 2.5 * max(0.0, halts - _HALTS)
    tops = {number: max(note[2] for note in notes) for number, notes in bars}
    highest = max(tops.values())
    at_peak = tops.get(form.peak) == highest
    worth += 0.8 if at_peak and list(tops.values()).count(highest) == 1 else -0.4 if at_peak else -1.2
    apart = _density(form, done, "statement") - _density(form, done, "contrast")
    worth += min(1.0, 0.6 * abs(apart)) if form.section_of("contrast") else _WITHOUT_CONTRAST
    line = [note for _, notes in bars for note in notes]
    steps = [abs(a[2] - b[2]) for a, b in itertools.pairwise(line)]
    worth -= 4.0 * abs(sum(step <= 2 for step in steps) / len(steps) - 0.7)
    worth -= 3.0 * max(0.0, steps.count(0) / len(steps) - 0.18)
    worth -= 2.0 * max(0.0, 0.1 - sum(note[1] >= 2 * search.beat for note in line) / len(line))
    body = [notes for number, notes in bars if len(notes) > 1 and not search.tasks[number].close]
    mixed = sum(len({note[1] for note in notes}) > 1 for notes in body) / max(1, len(body))
    worth -= 2.5 * max(0.0, 0.6 - mixed)
    single = sum(len(notes) == 1 and not search.tasks[number].close for number, notes in bars) / count
    worth -= 3.0 * max(0.0, single - 0.08)
    worth += 0.15 * search.theme.worth
    if len({note[1] for note in search.theme.notes}) >= 3:
        worth += 0.15
    worth -= _worn(search, bars) + 0.4 * sum(a >= 8 and b >= 8 for a, b in itertools.pairwise(steps))
    slow = [len(done.get(task.bar, ())) for task in search.tasks if task.idea[0] == ">"]
    worth -= 0.8 * max(0.0, _SLOWEST - sum(slow) / len(slow)) if slow else 0.0
    return round(worth, 6)


def _worn(search: LineSearch, bars: Sequence[tuple[int, tuple[Note, ...]]]) -> float:
    """Return what it costs that repeated notes last three bars or more, and an uneven rhythm four or more."""
    repeating, worn = 0, 0
    heard: dict[Rhythm, int] = {}
    stale = 0
    for _, notes in bars:
        repeating = repeating + 1 if any(a[2] == b[2] for a, b in itertools.pairwise(notes)) else 0
        cells = uneven_cells(tuple((o, d) for o, d, _ in notes), search.bar, search.beat)
        heard = {cell: heard.get(cell, 0) + 1 for cell in cells}
        stale += repeating > 2
        worn += max(heard.values(), default=0) > 3
    return 3.0 * (stale + worn) / len(bars)


_WITHOUT_CONTRAST = 0.6
"""What a form without a contrast is taken to have of it; that is about what the others have."""
_SLOWEST = 2.75
"""Notes a bar that a theme in double values should still have."""
_HALTS = 0.25
"""The share of bars that may end on a note of half a bar or more: phrases breathe every four bars, not every two."""


def _density(form: Form, done: LineBars, purpose: str) -> float:
    bars = [
        bar for section in form.sections if section.purpose == purpose for bar in range(section.first, section.last + 1)
    ]
    return sum(len(done.get(bar, ())) for bar in bars) / len(bars) if bars else 0.0


def add_pickups(search: LineSearch, lengths: tuple[int, ...], rng: random.Random) -> None:
    """Lead into phrases with an upbeat of `lengths` ticks, where the same voice sang before and leaves room."""
    if not lengths:
        return
    need, bar = sum(lengths), search.bar
    for task in search.tasks:
        here = search.done.get(task.bar)
        if not task.starts or task.bar == 0 or not here or here[0][0] or task.bar - 1 in search.form.silent:
            continue
        before = search.tasks[task.bar - 1]
        kept = list(search.done.get(before.bar, ()))
        if kept and before.singer != task.singer:
            continue
        at = bar - need
        if kept and kept[-1][0] + kept[-1][1] > at:
            onset, length, pitch = kept[-1]
            if onset >= at - 5 or length < need + 12:
                continue
            kept[-1] = (onset, at - onset, pitch)
        pitches = _upbeat(search, task.bar, len(lengths), kept[-1][2] if kept else None, here[0][2], rng)
        for length, pitch in zip(lengths, pitches, strict=True):
            kept.append((at, length, pitch))
            at += length
        search.done[before.bar] = tuple(kept)


_UPBEATS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((-1,), (-3,), (1,), (-2,)),
    2: ((-2, -1), (2, 1), (-3, -1), (-1, 1), (1, -1)),
    3: ((-3, -2, -1), (3, 2, 1), (-1, -2, -1)),
}


def _upbeat(
    search: LineSearch, bar: int, count: int, last: int | None, goal: int, rng: random.Random
) -> tuple[int, ...]:
    place = search.places[bar - 1][-1]
    window = search.windows[search.tasks[bar].singer]
    scored = []
    for number, steps in enumerate(_UPBEATS[count]):
        pitches = tuple(place.step(goal, step) for step in steps)
        cost = 0.12 * abs(last - pitches[0]) + 2.0 * (last == pitches[0]) if last is not None else 0.0
        cost += sum(0.8 for p in pitches if p % 12 not in place.tones and count == 1)
        cost += (steps[0] > 0) + 3.0 * (goal in pitches) + 0.4 * rng.random()
        cost += 4.0 * sum(not window.low <= p <= window.high for p in pitches)
        scored.append((round(cost, 6), number, pitches))
    return min(scored)[2]


def ring_out(search: LineSearch) -> None:
    """Let the tune's last note sound through the silent bar after it."""
    last = len(search.tasks) - 1
    notes = search.done.get(last - 1)
    if notes and not search.done.get(last) and search.tasks[last].idea == "rest" and last - 1 not in search.form.silent:
        onset, _, pitch = notes[-1]
        if pitch % 12 in place_of_bar(search.tasks[last]).tones:
            search.done[last - 1] = (*notes[:-1], (onset, 2 * search.bar - onset, pitch))


_ENOUGH, _TYPICAL_ENOUGH = 1.5, 1.2
"""The critic's scores above which more says nothing: it is a floor, not a target."""

_DEVICE, _CLIMAX = 0.4, 0.2
"""What it is worth that the device came about, and that one note stands above all."""


@dataclass(frozen=True)
class Judged:
    """`total` is higher for what is better; differences of .3 mean something. `plan` is the plan after its checks."""

    total: float
    plan: Plan
    critic: float
    faults: float


def judge(worth: float, plan: Plan, lines: Sequence[Line]) -> Judged:
    """Judge an arranged tune by its line's worth, the critic and its faults a bar."""
    checked = check_plan(plan)
    score = abc_to_score(lines_to_abc("", plan.key, plan.meter, lines))
    judgement = criticise(score)
    sheet = listen(score, checked.plan)
    total = worth - 2.0 * len(sheet.faults) / plan.bars - 10.0 * bool(checked.faults)
    total += _DEVICE * (plan.device is not None) + _CLIMAX * (plan.climax is not None)
    if judgement is None:
        return Judged(round(total - 10.0, 6), checked.plan, -10.0, 1.0)
    total += 0.35 * min(judgement.score, _ENOUGH) + 0.9 * min(judgement.typicality, _TYPICAL_ENOUGH)
    return Judged(round(total, 4), checked.plan, judgement.score, len(sheet.faults) / plan.bars)


def reharmonise(search: LineSearch, options: Sequence[Sequence[str]]) -> None:
    """Let the theme come back on other chords: those that keep its notes and change the most."""
    form = search.form
    if form.back is None:
        return
    tasks = [search.tasks[n] for n in range(form.back, min(form.back + 4, len(search.tasks)))]
    tasks = [task for task in tasks if task.section == tasks[0].section]
    sources = [search.done.get(int(task.idea[1:].split("+")[0])) if task.idea[0] in "=~" else None for task in tasks]
    if not sources or not sources[0]:
        return
    key, before = tasks[0].key, search.tasks[tasks[0].bar - 1].chords if tasks[0].bar else ""
    after = search.tasks[tasks[-1].bar + 1].chords if tasks[-1].bar + 1 < len(search.tasks) else ""
    scored = []
    for number, option in enumerate(options):
        if len(option) < len(tasks):
            continue
        cost, changed = 0.0, 0
        for chords, notes, task in zip(option, sources, tasks, strict=False):
            changed += chords != task.chords
            cost += fits_notes(chords, task.key, notes or (), search.bar, search.beat)
        cost += 1.5 * flow_cost(option[: len(tasks)], key, before=before, after=after)
        cost += 3.0 * (option[0] != tasks[0].chords) + 0.3 * search.rng.random()
        scored.append((round(cost - 0.9 * min(changed, 3), 6), number))
    if scored:
        for task, chords in zip(tasks, options[min(scored)[1]], strict=False):
            task.chords = chords
            search.places[task.bar] = places_of_bar(task)
