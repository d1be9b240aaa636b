"""A line for a plan that somebody else made: its bars, chords, singers, motif and climax are given."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from image2music.abc.checker import read_motif
from image2music.composers.nano.gestures import DeviceName
from image2music.composers.nano.search.cells import Bars
from image2music.composers.nano.search.composing import Effort, Wanted, themes_for
from image2music.composers.nano.search.form import Form
from image2music.composers.nano.search.form_making import FormMaker
from image2music.composers.nano.search.harmony import SingingRange, place_of
from image2music.composers.nano.search.layout import Written, singing_range
from image2music.composers.nano.search.line import LineSearch
from image2music.composers.nano.search.worth import line_worth
from image2music.composers.nano.sketch import TICKS, Note, Purpose, bar_ticks
from image2music.errors import Image2MusicError
from image2music.music.lines import Bar
from image2music.music.planning.plan import Plan, Section
from image2music.music.theory import read_tonality
from image2music.settings import picture_seed

_LONGEST_PHRASE = 6


def compose_to_plan(plan: Plan, wanted: Wanted, effort: Effort, seed: int) -> dict[int, tuple[Bar | None, ...]]:
    """Return the bars of the plan's melody by voice id, the best of a few lines."""
    found = [_line(plan, wanted, effort, seed, number) for number in range(effort.plans * effort.themes)]
    best = min(found, key=lambda one: (-line_worth(one), found.index(one)))
    singers = [plan.melody_at(bar) for bar in range(1, plan.bars + 1)]
    lines: dict[int, dict[int, tuple[Note, ...]]] = {voice: {} for voice in dict.fromkeys(singers) if voice}
    for bar, voice in enumerate(singers):
        if voice:
            lines[voice][bar] = best.done.get(bar, ())
    written = Written({voice: _with_climax(plan, voice, line) for voice, line in lines.items()})
    return written.bars(plan.meter, plan.bars)


def _line(plan: Plan, wanted: Wanted, effort: Effort, seed: int, number: int) -> LineSearch:
    rng = random.Random(picture_seed(seed, f"given/{number}"))
    voices = list(dict.fromkeys(v for v in (plan.melody_at(bar) for bar in range(1, plan.bars + 1)) if v))
    form = form_of_plan(plan, wanted, voices or [plan.voices[0].id], rng)
    windows = [_window(plan, voice) for voice in voices or [plan.voices[0].id]]
    request = replace(wanted.request, meter=plan.meter, key=plan.key, qpm=plan.qpm, bars=plan.bars)
    theme, other = themes_for(replace(wanted, request=request, opening=_opening(plan)), effort, form, windows, rng)
    search = LineSearch(form, plan.meter, theme, other, windows, rng)
    search.write(form.tasks)
    return search


def _window(plan: Plan, voice: int) -> SingingRange:
    """Return where a voice of the plan sings: its range there, below the climax for all but the climax itself."""
    planned = plan.voice(voice)
    own = singing_range(planned)
    low, high = max(planned.low, min(own.low, planned.high - 12)), min(planned.high, own.high)
    if plan.climax is not None:
        high = min(high, plan.climax.pitch) if plan.climax.pitch >= low + 7 else high
    return SingingRange(low, high, planned.low, min(planned.high, own.highest))


def _opening(plan: Plan) -> Bars:
    """Return the plan's motif as bars of notes; none where it is missing or cannot be read."""
    if plan.motif is None:
        return ()
    try:
        notes = read_motif(plan.motif.abc, plan.key, plan.meter)
    except Image2MusicError:  # a motif that nobody can read was told to the plan's writer by the checks
        return ()
    bar = bar_ticks(plan.meter)
    bars: dict[int, list[Note]] = {}
    for pitch, onset, length in notes:
        at, ticks = round(onset * TICKS), max(1, round(length * TICKS))
        bars.setdefault(at // bar, []).append((at % bar, min(ticks, bar - at % bar), pitch))
    return tuple(tuple(bars.get(number, ())) for number in range(max(bars, default=-1) + 1)) if 0 in bars else ()


def form_of_plan(plan: Plan, wanted: Wanted, voices: Sequence[int], rng: random.Random) -> Form:
    """Return the plan's sections as phrases of a form, its chords in their bars."""
    tonality = read_tonality(plan.key)
    assert tonality is not None
    device: DeviceName = "call" if len(voices) > 1 else "combine"
    phrases: list[tuple[Purpose, int]] = []
    for number, section in enumerate(plan.sections):
        phrases += _phrases(plan, section, number)
    maker = FormMaker.given(tonality, phrases, plan.harmony, wanted.character, device, rng)
    for task in maker.form.tasks:
        voice = plan.melody_at(task.bar + 1)
        task.singer = voices.index(voice) if voice in voices else 0
        if not voice or plan.role_at(voice, task.bar + 1) == "rest":
            task.idea, task.close = "rest", None
    if plan.climax is not None and plan.climax.bar <= plan.bars:
        for task in maker.form.tasks:
            task.peak = task.bar == plan.climax.bar - 1
            task.near = abs(task.bar - plan.climax.bar + 1) <= 1
        peak = maker.form.tasks[plan.climax.bar - 1]
        peak.height = 1.0
        maker.form.peak = peak.bar
    return maker.form


def _phrases(plan: Plan, section: Section, number: int) -> list[tuple[Purpose, int]]:
    bars = section.last - section.first + 1
    has_climax = plan.climax is not None and section.first <= plan.climax.bar <= section.last
    purpose: Purpose = (
        "statement" if number == 0 else "climax" if has_climax or number == len(plan.sections) - 1
        else "contrast" if (number % 2 == 0 and number > 1) or len(plan.sections) == 3 else "again"
    )  # fmt: skip
    parts: list[tuple[Purpose, int]] = []
    while bars:
        take = bars if bars <= _LONGEST_PHRASE else 4
        if bars - take in (1, 2):
            take = bars - 3
        parts.append((purpose if not parts else "drive" if has_climax and bars > take else "again", take))
        bars -= take
    if has_climax:
        parts[0], parts[-1] = (
            (("return", parts[0][1]), ("climax", parts[-1][1])) if len(parts) > 1 else (parts[0], parts[0])
        )
    return parts


def _with_climax(plan: Plan, voice: int, line: dict[int, tuple[Note, ...]]) -> dict[int, tuple[Note, ...]]:
    """Set the planned climax: its bar's highest note becomes it, and what passes it elsewhere goes below it."""
    if plan.climax is None:
        return line
    peak, bar = plan.climax.pitch, plan.climax.bar - 1
    lowest = plan.voice(voice).low

    def under(pitch: int, number: int) -> int:
        if pitch < peak:
            return pitch
        if pitch - 12 >= lowest:
            return pitch - 12
        return place_of(plan.harmony[number].split()[0], plan.key).step(peak, -1)

    low = {number: tuple((o, d, under(p, number)) for o, d, p in notes) for number, notes in line.items()}
    if voice == plan.climax.voice and low.get(bar):
        notes = list(low[bar])
        top = max(range(len(notes)), key=lambda at: (notes[at][2], notes[at][1], -at))
        notes[top] = (notes[top][0], notes[top][1], peak)
        low[bar] = tuple(notes)
    return low
