"""Many plans and themes, a line for each, the best few with their second voices: the search as a whole."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.borrowing import Loan, plan_with_loan
from image2music.composers.nano.gestures import DEVICE_WORDS, DeviceName, Gestures
from image2music.composers.nano.pools import HarmonicStyle, longest_training_run
from image2music.composers.nano.search.cells import (
    Bars,
    Rhythm,
    Theme,
    draw_motif,
    draw_rhythm,
    motif_worth,
    wanted_density,
)
from image2music.composers.nano.search.form import Form
from image2music.composers.nano.search.form_making import FormMaker
from image2music.composers.nano.search.ground import Ground
from image2music.composers.nano.search.harmony import Harmonist, SingingRange, local_key
from image2music.composers.nano.search.layout import (
    Seated,
    Written,
    dynamic_of,
    is_brief,
    plan_of,
    plan_parts,
    seat_band,
    singing_range,
)
from image2music.composers.nano.search.line import LineSearch, place_of_bar
from image2music.composers.nano.search.paired import canon_line, combined_line
from image2music.composers.nano.search.second import answer_line
from image2music.composers.nano.search.worth import add_pickups, line_worth, reharmonise, ring_out
from image2music.composers.nano.sketch import Note, Sketch, SketchBar, bar_ticks, beat_ticks
from image2music.composers.suiting import Character
from image2music.music.planning.plan import DYNAMICS, Plan, VoicePart
from image2music.music.planning.planner import PlanRequest
from image2music.music.similarity import LONGEST_ALLOWED
from image2music.music.theory import read_tonality
from image2music.settings import picture_seed


@dataclass(frozen=True)
class Wanted:
    """What is composed: a request with key, meter, tempo, bars and programs, and what the picture suggests.

    `opening` are bars that the theme must begin with (an album's), `style` the pool of progressions, `loan` what
    references lend.
    """

    request: PlanRequest
    character: Character
    gestures: Gestures
    opening: Bars = ()
    style: HarmonicStyle = "classic"
    loan: Loan | None = None


class LineNetwork(Protocol):
    """What the search asks of the network: themes, and how surprising lines are (nats a note)."""

    def propose_motifs(
        self, key: str, meter: str, chords: tuple[Sequence[str], Sequence[str]], character: Character, qpm: float,
        low: int, high: int, n: int, seed: int,
    ) -> Sequence[tuple[tuple[Note, ...], tuple[Note, ...]]]:  # fmt: skip
        """Return themes of two bars, the likeliest first."""

    def surprise(self, sketches: Sequence[Sketch]) -> Sequence[float] | NDArray[np.float64]:
        """Return the mean nats a note of each line."""


@dataclass(frozen=True)
class Effort:
    """How much is tried: plans, themes for each, contours drawn for a theme, lines whose voices are written.

    The network proposes a theme to `asked` plans, picked from `proposals`, and reads the best `read` lines. By default
    it proposes none: its themes came to nothing that drawn ones did not (docs/figures.md).
    """

    plans: int = 4
    themes: int = 4
    contours: int = 160
    kept: int = 3
    asked: int = 0
    proposals: int = 8
    read: int = 6


@dataclass
class Composition:
    """A line that was found. `worth` is `line_worth`; `rank` numbers plans and themes in the order of drawing."""

    form: Form
    search: LineSearch
    theme: Theme
    other: Theme | None
    band: tuple[Seated, ...]
    leads: tuple[Seated, ...]
    worth: float
    rank: tuple[int, int]
    seed: int

    @property
    def singers(self) -> list[int]:
        """The voice that has the tune in every bar, 0 where there is none."""
        held = {bar + 1 for bar, notes in self.search.done.items() for o, d, _ in notes if o + d > self.search.bar}
        return [
            self.leads[task.singer].voice.id if self.search.done.get(task.bar) or task.bar in held else 0
            for task in self.form.tasks
        ]


def sketch_of(composition: Composition, wanted: Wanted) -> Sketch:
    """Return a line over its chords as the network reads it."""
    form, request = composition.form, wanted.request
    base = dynamic_of(request)
    bars = []
    for task in form.tasks:
        section, lead = form.sections[task.section], composition.leads[task.singer].voice
        notes = composition.search.done.get(task.bar, ())
        bars.append(
            SketchBar(
                tuple(task.chords.split()), notes, task.section, section.purpose,
                DYNAMICS[min(max(base + section.louder, 0), len(DYNAMICS) - 1)],
                lead.id if notes else 0, lead.program if notes else 0,
            )
        )  # fmt: skip
    return Sketch(request.key, request.meter, request.qpm, wanted.character, tuple(bars))


def compose_lines(wanted: Wanted, effort: Effort, seed: int, network: LineNetwork | None = None) -> list[Composition]:
    """Return the best compositions, best first: at most `effort.kept`, of different plans if there are so many."""
    found: list[Composition] = []
    leads = sum(one.seat in ("lead", "second") for one in seat_band(wanted.request.programs, wanted.request.drums))
    devices = _devices(wanted, effort.plans, leads > 1, random.Random(seed))
    for plan, device in enumerate(devices):
        for theme in range(effort.themes):
            asked = network if plan < effort.asked and theme == effort.themes - 1 else None
            composition = _compose(wanted, effort, device, seed, (plan, theme), asked)
            if _copied(composition):
                continue
            found.append(composition)
    if not found:
        found = [_compose(wanted, effort, devices[0], seed, (0, effort.themes + n)) for n in range(3)]
        found.sort(key=_copied)
    found.sort(key=lambda one: (-one.worth, one.rank))
    if network is not None and effort.read:
        found = found[: effort.read]
        for composition in found:
            bits = float(network.surprise([sketch_of(composition, wanted)])[0])
            composition.worth = round(composition.worth - _SURPRISE * (bits - _ORDINARY_SURPRISE), 6)
        found.sort(key=lambda one: (-one.worth, one.rank))
    kept: list[Composition] = []
    for composition in found:
        if len(kept) == effort.kept:
            break
        if composition.rank[0] not in {one.rank[0] for one in kept} or len(found) <= effort.kept:
            kept.append(composition)
    kept += [one for one in found if one not in kept][: effort.kept - len(kept)]
    return sorted(kept, key=lambda one: (-one.worth, one.rank))


_SURPRISE, _ORDINARY_SURPRISE = 0.5, 3.0
"""What a nat of surprise a note costs, above or below what the search's lines usually have."""
_TREBLE = 66
_FOR_TWO: frozenset[DeviceName] = frozenset({"combine", "canon", "call"})
_STOPPING = 0.6
"""How much rarer devices with a stop are than the picture asks: a hole is easily one too many."""
_STOPS: frozenset[DeviceName] = frozenset({"silence", "shrink"})


def _devices(wanted: Wanted, count: int, two: bool, rng: random.Random) -> list[DeviceName]:
    """Draw devices by their weights, each once until all have come.

    Some need two singers; where a bar is long, the other one fills what the tune leaves open.
    """
    never = frozenset() if two else _FOR_TWO if is_brief(wanted.request) else _FOR_TWO | _STOPS
    drawn: list[DeviceName] = []
    while len(drawn) < count:
        able = {
            name: weight * (_STOPPING if name in _STOPS else 1.0)
            for name, weight, _ in wanted.gestures.devices
            if name not in never
        }
        left = {name: weight for name, weight in able.items() if drawn.count(name) < 1 + len(drawn) // len(able)}
        drawn.append(rng.choices(list(left), list(left.values()))[0])
    return drawn


def _compose(
    wanted: Wanted, effort: Effort, device: DeviceName, seed: int, rank: tuple[int, int],
    network: LineNetwork | None = None,
) -> Composition:  # fmt: skip
    request, character, meter = wanted.request, wanted.character, wanted.request.meter
    plan_rng = random.Random(picture_seed(seed, f"plan/{rank[0]}"))
    rng = random.Random(picture_seed(seed, f"theme/{rank[0]}/{rank[1]}"))
    band = seat_band(request.programs, request.drums)
    leads = tuple(one for one in band if one.seat in ("lead", "second"))[:2]
    windows = [singing_range(one.voice) for one in leads]
    tonality = read_tonality(request.key)
    assert tonality is not None
    form = FormMaker(
        tonality, request.bars, character, device, plan_rng, leads=len(leads), style=wanted.style,
        through=wanted.gestures.form_hint == "through-composed", opening=wanted.opening, meter=meter,
        timed=request.length_s is not None, loop=request.loop,
    ).form  # fmt: skip
    theme, other = themes_for(wanted, effort, form, windows, rng)
    if network is not None and not wanted.opening:
        theme = _proposed(wanted, effort, form, windows, theme, network, rng)
    search = LineSearch(form, meter, theme, other, windows, rng)
    if form.back is not None:
        search.write(form.tasks[: form.back])
        reharmonise(search, _alternatives(wanted, form, rng))
    search.write(form.tasks)
    add_pickups(search, _upbeat_lengths(character, meter, rng), rng)
    ring_out(search)
    return Composition(
        form, search, theme, other, band, leads, line_worth(search), rank, picture_seed(seed, f"voices/{rank}")
    )


def _alternatives(wanted: Wanted, form: Form, rng: random.Random) -> list[tuple[str, ...]]:
    """Draw chords on which a theme may come back."""
    harmonist = Harmonist(wanted.style, rng)
    return [harmonist.phrase(role, 4, form.key) for role in ("open", "climax", "middle") for _ in range(3)]


def themes_for(
    wanted: Wanted, effort: Effort, form: Form, windows: Sequence[SingingRange], rng: random.Random
) -> tuple[Theme, Theme | None]:
    """Draw the themes that a form's bars speak of."""
    request, meter, gestures = wanted.request, wanted.request.meter, wanted.gestures
    density = wanted_density(wanted.character, request.qpm, meter, 0.5 - gestures.space) + rng.choice((-1, 0, 0, 1))
    rhythm = draw_rhythm(meter, wanted.character, density, rng)
    if wanted.loan is not None and wanted.loan.rhythm and rng.random() < _BORROWED_RHYTHMS:
        rhythm = _two_bars(wanted.loan.rhythm, bar_ticks(meter))
    theme = _theme(form, form.theme, rhythm, windows, gestures.shape, effort, rng)
    if wanted.opening:
        theme = _with_opening(theme, wanted.opening, windows[form.tasks[form.theme].singer])
    other = None
    if any("N" in task.idea or "n" in task.idea.replace("cad", "") for task in form.tasks):
        at = form.other if form.other is not None else form.theme
        apart = density + rng.choice((-2, 2, 2, 3))
        again = draw_rhythm(meter, wanted.character, max(3.0, apart), rng, other=rhythm)
        if rng.random() < _RELATED:
            # What is new keeps a cell of what was heard: its second bar goes first, or its first bar goes on otherwise.
            again = (rhythm[1], rng.choice((again[0], rhythm[0]))) if rng.random() < 0.5 else (rhythm[0], again[1])
        repeats = any(a[2] == b[2] for bar in theme.bars for a, b in pairwise(bar))
        other = _theme(form, at, again, windows, "arch", effort, rng, moves=repeats)
    return theme, other


_RELATED = 0.65
"""The share of second themes that keep a rhythm of the first."""
_BORROWED_RHYTHMS = 0.5
"""The share of themes that take a rhythm that a reference lends."""


def _two_bars(rhythm: Sequence[tuple[int, int]], bar: int) -> tuple[Rhythm, Rhythm]:
    """Cut a rhythm of two bars at the bar line."""
    first = tuple((on, min(length, bar - on)) for on, length in rhythm if on < bar)
    return first, tuple((on - bar, length) for on, length in rhythm if on >= bar)


def _theme(
    form: Form, at: int, rhythm: Sequence[Sequence[tuple[int, int]]], windows: Sequence[SingingRange], shape: str,
    effort: Effort, rng: random.Random, *, moves: bool = False,
) -> Theme:  # fmt: skip
    first = form.tasks[at]
    second = form.tasks[min(at + 1, len(form.tasks) - 1)]
    window = windows[first.singer]
    goal = round(window.pitch_at(0.5 * first.height + 0.5 * second.height))
    places = (place_of_bar(first), place_of_bar(second))
    # Contours may pass these bounds by a third.
    low, high = max(goal - 6, window.low + 3), min(goal + 9, window.highest - 4)
    lines = tuple(tuple(line) for line in rhythm)
    return draw_motif(lines, places, low, max(high, low + 7), rng, tries=effort.contours, shape=shape, moves=moves)


def _proposed(
    wanted: Wanted, effort: Effort, form: Form, windows: Sequence[SingingRange], drawn: Theme, network: LineNetwork,
    rng: random.Random,
) -> Theme:  # fmt: skip
    """Return the best of the network's themes; the one that was drawn, where none is as good."""
    first, second = form.tasks[form.theme], form.tasks[min(form.theme + 1, len(form.tasks) - 1)]
    window = windows[first.singer]
    chords = (first.chords.split(), second.chords.split())
    proposals = network.propose_motifs(
        wanted.request.key, wanted.request.meter, chords, wanted.character, wanted.request.qpm,
        window.low, window.high, effort.proposals, rng.randrange(2**31),
    )  # fmt: skip
    motifs = [
        Theme(bars, drawn.places, motif_worth(bars, drawn.places, window.low, window.high))
        for bars in proposals
        if all(bars) and sum(len(bar) for bar in bars) >= _FEWEST_NOTES
    ]
    return max([drawn, *motifs], key=lambda motif: round(motif.worth, 6))


_FEWEST_NOTES = 4


def _with_opening(theme: Theme, opening: Bars, window: SingingRange) -> Theme:
    """Let a theme begin with given bars, moved by octaves into the window."""
    pitches = [pitch for bar in opening for _, _, pitch in bar]
    octave = 12 * round((window.pitch_at(0.4) - sum(pitches) / len(pitches)) / 12)
    given = tuple(tuple((o, d, p + octave) for o, d, p in bar) for bar in opening[:2])
    bars = (*given, *theme.bars[len(given) :])
    return Theme(bars, theme.places, motif_worth(bars, theme.places, window.low, window.high))


def _upbeat_lengths(character: Character, meter: str, rng: random.Random) -> tuple[int, ...]:
    beat = beat_ticks(meter)
    if beat == 18:
        return rng.choice(((6,), (6,), (6, 6), ()))
    if beat < 12:
        return rng.choice(((), (beat,)))
    if character == "driving":
        return rng.choice(((), (6,), (3, 3), (6, 6)))
    return rng.choice(((), (12,), (6, 6), (6,), (6, 6)))


def _copied(composition: Composition) -> bool:
    done = composition.search.done
    return longest_training_run([p for bar in sorted(done) for _, _, p in done[bar]]) > LONGEST_ALLOWED


# ---------------------------------------------------------------- the other voices, and the plan


def with_voices(composition: Composition, wanted: Wanted) -> tuple[Plan, Written]:
    """Write second voices and payoff, and return the plan with all lines that are not the arranger's."""
    form, search, request = composition.form, composition.search, wanted.request
    rng = random.Random(composition.seed)
    singers = composition.singers
    parts = plan_parts(form, composition.band, singers, request, wanted.character, wanted.gestures, rng)
    lines: dict[int, dict[int, tuple[Note, ...]]] = {one.voice.id: {} for one in composition.leads}
    for task in form.tasks:
        if notes := search.done.get(task.bar):
            lines[composition.leads[task.singer].voice.id][task.bar] = notes
    ground = Ground(
        request.meter,
        request.key,
        tuple(tuple(task.chords.split()) for task in form.tasks),
        tuple(task.key for task in form.tasks),
    )
    melody = [search.done.get(task.bar, ()) for task in form.tasks]
    device = ""
    if len(composition.leads) > 1:
        device = _payoff(composition, ground, melody, lines)
        _answers(composition, ground, melody, lines, parts, wanted)
    written = Written({voice: line for voice, line in lines.items() if line})
    device = device or (DEVICE_WORDS[form.device] if form.says_device else "")
    plan = plan_of(form, written, composition.band, singers, parts, composition.theme, request, device)
    return (plan if wanted.loan is None else plan_with_loan(plan, wanted.loan)), written


def _idle(composition: Composition, bar: int) -> Seated:
    """Return the lead that does not have the tune in a bar."""
    return composition.leads[1 - composition.form.tasks[bar].singer]


def _payoff(
    composition: Composition,
    ground: Ground,
    melody: Sequence[tuple[Note, ...]],
    lines: dict[int, dict[int, tuple[Note, ...]]],
) -> str:
    """Let the other lead pay the device off at the return; say what was done, nothing where it would not fit."""
    form = composition.form
    if form.device not in ("combine", "canon") or form.name == "miniature":
        return ""
    bars = form.reunion
    idle = _idle(composition, bars.start)
    window = singing_range(idle.voice)
    made = None
    if form.device == "combine" and form.other is not None:
        theme = [composition.search.done.get(form.other + n, ()) for n in range(len(bars))]
        combined, mended = combined_line(
            ground, melody, theme, _tonics_apart(form), bars, window.lowest, window.highest
        )
        made = combined if mended <= 2 * len(bars) else None
    elif form.device == "canon":
        found = canon_line(ground, melody, bars, window.lowest, window.highest)
        made = found[0] if found is not None else None
    if not made:
        return ""
    for bar, notes in made.items():
        lines[idle.voice.id].setdefault(bar, notes)
    return DEVICE_WORDS[form.device]


def _tonics_apart(form: Form) -> int:
    """Return the semitones from the second theme's tonic to that of the return."""
    assert form.other is not None
    here, there = form.tasks[form.reunion.start].key, form.tasks[form.other].key
    return (local_key(here).pitch_class - local_key(there).pitch_class) % 12


def _answers(
    composition: Composition, ground: Ground, melody: Sequence[tuple[Note, ...]],
    lines: dict[int, dict[int, tuple[Note, ...]]], parts: Sequence[Sequence[VoicePart]], wanted: Wanted,
) -> None:  # fmt: skip
    """Write the idle lead's answers and counter-lines, section by section, from the cells of both themes."""
    form = composition.form
    stops = is_brief(wanted.request)
    cells = [*composition.theme.bars, *(composition.other.bars if composition.other else ())]
    for number, section in enumerate(form.sections):
        for which, lead in enumerate(composition.leads):
            part = next(one for one in parts[number] if one.voice == lead.voice.id)
            role = part.role
            silent = form.silent if stops else ()
            free = [
                bar
                for bar in range(section.first, section.last + 1)
                if form.tasks[bar].singer != which and bar not in lines[lead.voice.id] and bar not in silent
            ]
            if role not in ("answer", "counter") or not free:
                continue
            window = singing_range(lead.voice)
            # What answers stays below the tune, unless the tune is in the bass.
            under = singing_range(composition.leads[1 - which].voice).high >= _TREBLE
            for start, end in _runs(free):
                span = range(start, end + 1)
                made: Mapping[int, tuple[Note, ...]] = {}
                for busy in (0.5 if role == "answer" else 0.7, 0.95):
                    made, _ = answer_line(
                        ground, melody, span, cells, window.lowest, window.highest, under, busy,
                        picture_seed(composition.seed, f"{section.first}/{which}"),
                    )  # fmt: skip
                    sounding = sum(length for notes in made.values() for _, length, _ in notes)
                    if sounding >= _NO_STUBS * len(span) * composition.search.bar:
                        break
                for bar, notes in made.items():
                    lines[lead.voice.id][bar] = notes


_NO_STUBS = 0.35
"""The share of its bars that an answer sounds at least; less is heard as stubs, so it is asked to sing more."""


def _runs(bars: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for bar in bars:
        if runs and runs[-1][1] == bar - 1:
            runs[-1] = (runs[-1][0], bar)
        else:
            runs.append((bar, bar))
    return runs
