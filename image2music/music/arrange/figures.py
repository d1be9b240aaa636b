"""The library of accompaniment figures: bars in steps of a chord, written by hand or found in scores, with variants.

A bar is a row of tokens of equal length (an eighth, a sixteenth or a triplet's eighth). `0 1 2` are the tones of the
chord from the figure's lowest one upwards, however it is laid out; `(012)` sounds together; `^1` and `v1` are the
neighbours above and below in the chord's scale; `-` holds on, `.` rests. Bars are written for 4/4, 3/4 and 6/8, many
for 12/8, 9/8, 5/4 and 7/8 as well; the other meters are put together from these.

`figures.txt` has them all: those written by hand, and what was found in public-domain scores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import cast

from image2music.music.arrange.stage import EIGHTH, BarShape, bar_shape
from image2music.music.instruments import Instrument
from image2music.music.planning.plan import Family
from image2music.music.theory import TICKS_PER_QUARTER

WHOLE_BAR = "bar"
"""Stands for a meter in `Figure.bars` where a figure is written for a whole bar, whatever the meter."""
VARIANTS = ("plain", "varied", "thin", "full", "cadence")


@dataclass(frozen=True, slots=True)
class Slot:
    """Something to sound `at` ticks into a bar for `dur`: (rung, steps) of the chord's ladder."""

    at: int
    dur: int
    rungs: tuple[tuple[int, int], ...]


Pattern = tuple[Slot, ...]
_CHORDS_A_SECOND, _TONES_A_SECOND = 4.5, 6.6


@dataclass(frozen=True)
class Figure:
    """A figure: its bars by meter, each as plain, varied and full; thin and cadence come from these.

    `light` figures are played detached. `grain` is the length of a token of its main meter in ticks. `loud` (least,
    most) are the dynamics that it suits, as places in `DYNAMICS`. `density` is how many times a quarter note something
    is struck, `source` where it comes from.
    """

    name: str
    family: Family
    grain: int
    bars: dict[str, tuple[str, str, str]]
    loud: tuple[int, int] = (0, 5)
    light: bool = False
    density: float = 1.0
    source: str = "by hand"


E, S, T = EIGHTH, EIGHTH // 2, EIGHTH * 2 // 3
"""Grains: an eighth, a sixteenth, an eighth of a triplet."""
_LENGTHS = {"4/4": 8 * E, "3/4": 6 * E, "6/8": 6 * E, "12/8": 12 * E, "9/8": 9 * E, "5/4": 10 * E, "7/8": 7 * E}
_WHOLE_METERS = {(12 * E, 4): "12/8", (9 * E, 3): "9/8", (10 * E, 5): "5/4", (7 * E, 3): "7/8"}
"""Meters that are put together where a figure has no bar for them, by ticks and beats."""


@lru_cache(maxsize=1)
def library() -> tuple[Figure, ...]:
    """Return all figures: those written by hand first, then those found in scores."""
    text = (Path(__file__).parent / "figures.txt").read_text(encoding="utf-8")
    return _read_table(text)


_Bars = dict[str, tuple[str, str, str]]


def _read_table(text: str) -> tuple[Figure, ...]:
    """Read a line of properties and then a line a meter for each figure."""
    rows = [line for line in text.splitlines() if line and not line.startswith("#")]
    heads = [number for number, row in enumerate(rows) if not row[0].isdigit()]
    return tuple(
        _figure(rows[head], [row.partition(": ")[::2] for row in rows[head + 1 : end]])
        for head, end in zip(heads, [*heads[1:], len(rows)], strict=True)
    )


def _figure(head: str, rows: Sequence[tuple[str, str]]) -> Figure:
    name, kind, loud, source = (word.strip() for word in head.split("|"))
    least, most = (int(level) for level in loud.split()[0].split("-"))
    main, forms = rows[0][0], {meter: _three_forms(row) for meter, row in rows}
    plain, family = forms[main][0], cast(Family, kind)
    density = _struck(plain) * TICKS_PER_QUARTER / _LENGTHS[main]
    grain, bars = _LENGTHS[main] // len(plain.split()), _in_three_meters(forms, main)
    return Figure(name, family, grain, bars, (least, most), loud.endswith("light"), density, source)


def _three_forms(text: str) -> tuple[str, str, str]:
    """Return a bar's plain, varied and full form; those that are not written are made of the plain one."""
    forms = [" ".join(form.split()) for form in text.split("|")]
    plain = forms[0]
    varied = forms[1] if len(forms) > 1 else _varied(plain.split())
    return plain, varied, forms[2] if len(forms) > 2 else _filled(plain.split())


def _varied(tokens: list[str]) -> str:
    """Reach a rung higher in the second half: with the highest tone, or the last chord."""
    second = range(len(tokens) // 2, len(tokens))
    chords = [at for at in second if tokens[at][0] == "("]
    tones = [at for at in second if tokens[at].isdigit()]
    if chords:
        at = chords[-1]
        raised = "".join(str(min(9, int(rung) + 1)) for rung in tokens[at][1:-1])
        return " ".join([*tokens[:at], f"({raised})", *tokens[at + 1 :]])
    if tones:
        at = max(tones, key=lambda place: (int(tokens[place]), -place))
        return " ".join([*tokens[:at], str(min(9, int(tokens[at]) + 1)), *tokens[at + 1 :]])
    return " ".join(tokens)


def _filled(tokens: list[str]) -> str:
    """Put a tone more on what is struck on stronger places."""
    step = 2 if len(tokens) in (6, 8, 10) else 3 if len(tokens) % 3 == 0 else 4
    full = list(tokens)
    for at in range(0, len(tokens), step):
        rungs = tokens[at].strip("()")
        if rungs.isdigit() and (at or len(rungs) > 1):
            top = int(rungs[-1]) + (1 if len(rungs) > 1 else 2)
            full[at] = f"({rungs}{min(9, top)})" if top <= 9 and len(rungs) < 5 else tokens[at]
    return " ".join(full)


def _in_three_meters(bars: _Bars, main: str) -> _Bars:
    """Add 4/4, 3/4 and 6/8 where they are missing: beats are left out of the middle, or come twice."""
    made = dict(bars)
    for meter in ("4/4", "3/4", "6/8"):
        if meter not in made:
            plain, varied, full = (_regrouped(form.split(), main, meter) for form in bars[main])
            made[meter] = plain, varied, full
    return made


def _regrouped(tokens: list[str], main: str, meter: str) -> str:
    n = len(tokens)
    if main == "4/4":
        head, tail = (
            (n // 2, n // 4) if meter == "3/4" else (n * 3 // 8, n * 3 // 8) if n % 8 == 0 else (n // 4, n // 4)
        )
        kept = [*tokens[:head], *tokens[n - tail :]]
    elif main == "3/4" and meter == "4/4":
        kept = [*tokens[: n * 2 // 3], *tokens[n // 3 :]]
    elif main == "6/8" and meter == "4/4":
        kept = tokens * 2 if n == 6 else tokens
    else:
        kept = tokens
    return " ".join(["." if kept[0] == "-" else kept[0], *kept[1:]])


def _struck(text: str) -> int:
    return sum(token not in "-." for token in text.split())


def figures_of(family: Family) -> list[Figure]:
    """Return the figures of a family."""
    return [figure for figure in library() if figure.family == family]


@lru_cache(maxsize=256)
def figure_named(name: str) -> Figure | None:
    """Return a figure of the library."""
    return next((figure for figure in library() if figure.name == name), None)


_TOKEN = re.compile(r"[-.]|[v^]?\d|\(\d+\)")
_GRAINS = frozenset({S, T, E, 2 * E, 3 * E, 4 * E, E * 3 // 2})


@lru_cache(maxsize=256)
def figure_of_text(text: str, shape: BarShape, family: Family = "broken") -> Figure | None:
    """Read a figure of one bar in tokens, as `0 - 2 1 (12) . 2 ^1`, that are spread over the bar in equal lengths.

    Up to three bars, parted by `|`, are its plain, varied and full form. What doesn't go into the bar in equal lengths
    comes from another meter: it is read in eighths (sixteenths, triplets), cut where the bar ends, begun again where it
    goes on. Returns None for what is no figure: unknown tokens, rows of different length or without a note, and chord
    degrees (`1 5 8 10`), which have neither a 0 nor a sign nor a bar line.
    """
    rows = [row.split() for row in text.split("|")]
    if not _is_figure_text(text) or not 1 <= len(rows) <= 3 or len({len(row) for row in rows}) != 1:
        return None
    if not all(_TOKEN.fullmatch(token) for row in rows for token in row):
        return None
    if not any(token not in "-." for token in rows[0]):
        return None
    grain = shape.ticks // len(rows[0])
    if shape.ticks % len(rows[0]) or grain not in _GRAINS:
        grain = E if len(rows[0]) <= 9 else T if len(rows[0]) % 4 == 0 and len(rows[0]) % 3 == 0 else S
    tokens = -(-shape.ticks // grain)
    rows = [(row * -(-tokens // len(row)))[:tokens] for row in rows]
    forms = _three_forms("|".join(" ".join(row) for row in rows))
    density = _struck(forms[0]) * TICKS_PER_QUARTER / shape.ticks
    return Figure(text, family, grain, {WHOLE_BAR: forms}, density=density, source="own")


def _is_figure_text(text: str) -> bool:
    return re.search(r"[-.|(^v]|\b0\b", text) is not None


def figure_asked(degrees: str, shape: BarShape, family: Family | None = None) -> Figure | None:
    """Return the figure that a plan's `degrees` name (`=ripple`) or write out; None where they are chord degrees."""
    if degrees.startswith("="):
        return figure_named(degrees[1:].strip())
    return figure_of_text(degrees, shape, family or "broken")


@lru_cache(maxsize=512)
def variants(name: str, shape: BarShape, qpm: float) -> tuple[Pattern, ...]:
    """Return a figure's five variants (`VARIANTS`) for one bar at `qpm` quarters a minute.

    `name` may be a text that `figure_of_text` reads. A bar of half the length of a written one takes all of it, twice
    as fast, where the tempo allows that.

    Raises:
        ValueError: there is no such figure.
    """
    figure = figure_named(name) or figure_of_text(name, shape)
    if figure is None:
        raise ValueError(f"{name!r} is no figure")
    plain, varied, full = (_bar(figure, shape, at, qpm) for at in range(3))
    return plain, varied, _thinned(plain, figure, shape), full, _closing(plain, figure, shape)


@lru_cache(maxsize=2048)
def notes_a_bar(name: str, shape: BarShape, qpm: float) -> int:
    """Return how often a figure of the library strikes in a plain bar."""
    figure = figure_named(name) or figure_of_text(name, shape)
    return len(_bar(figure, shape, 0, qpm)) if figure else 0


def _bar(figure: Figure, shape: BarShape, variant: int, qpm: float) -> Pattern:
    """Put one bar together; the second part of a bar takes the varied bar, so that no half comes twice."""
    whole = WHOLE_BAR if WHOLE_BAR in figure.bars else _WHOLE_METERS.get((shape.ticks, len(shape.beats)), "")
    if whole in figure.bars:
        text = figure.bars[whole][variant]
        return _spread(text, shape.ticks // len(text.split()) if whole != WHOLE_BAR else figure.grain, shape.ticks)
    slots: list[Slot] = []
    start = 0
    for number, (meter, ticks) in enumerate(shape.parts):
        text = figure.bars[meter][variant if number == 0 or variant == 2 else 1 - variant]
        read = _read(text, ticks, meter, qpm, ticks < shape.ticks)
        slots += [Slot(slot.at + start, slot.dur, slot.rungs) for slot in read]
        start += ticks
    return tuple(slots)


@lru_cache(maxsize=1024)
def _read(text: str, ticks: int, meter: str, qpm: float, is_part: bool) -> Pattern:
    """Read tokens and cut them to `ticks`; bars of twice the length (or half) are read in longer (shorter) tokens.

    What is only part of a bar keeps its pace, and so does what has three to a beat: else its beats would be others.
    """
    tokens = text.split()
    whole = _LENGTHS[meter]
    grain = whole // len(tokens)
    if ticks > whole:
        grain = grain * ticks // whole
    elif ticks * 2 == whole and not is_part and meter != "6/8" and goes_twice_as_fast(tokens, grain, qpm):
        grain //= 2
    return _spread(" ".join(tokens), grain, ticks)


def _spread(text: str, grain: int, ticks: int) -> Pattern:
    """Set tokens of `grain` ticks, up to `ticks`."""
    tokens = text.split()
    slots: list[Slot] = []
    shortest = EIGHTH if grain < EIGHTH and "." in tokens else 0
    for number, token in enumerate(tokens):
        at = number * grain
        if at >= ticks:
            break
        room = min(grain, ticks - at)
        if token == "-":
            if slots and slots[-1].at + slots[-1].dur == at:
                slots[-1] = Slot(slots[-1].at, slots[-1].dur + room, slots[-1].rungs)
        elif token != ".":
            slots.append(Slot(at, room, _rungs(token)))
    if not slots:  # cut to a part that is silent
        first = next((token for token in tokens if token not in "-."), "0")
        return (Slot(0, ticks, _rungs(first)),)
    ends = [*(slot.at for slot in slots[1:]), ticks]
    return tuple(
        Slot(slot.at, max(slot.dur, min(shortest, end - slot.at)), slot.rungs)
        for slot, end in zip(slots, ends, strict=True)
    )


def goes_twice_as_fast(tokens: Sequence[str], grain: int, qpm: float) -> bool:
    """Whether tokens, each half a grain long, come no faster than hands like: chords slower than single notes."""
    onsets = [place for place, token in enumerate(tokens) if token not in "-."]
    nearest = min((b - a for a, b in pairwise(onsets)), default=len(tokens))
    chords = sum(token[0] == "(" for token in tokens) * 2 > len(onsets)
    return qpm / 60 * TICKS_PER_QUARTER / (nearest * grain / 2) <= (_CHORDS_A_SECOND if chords else _TONES_A_SECOND)


def _rungs(token: str) -> tuple[tuple[int, int], ...]:
    steps = {"^": 1, "v": -1}.get(token[0], 0)
    digits = token.strip("()^v")
    return tuple((int(digit), steps) for digit in digits)


def _thinned(plain: Pattern, figure: Figure, shape: BarShape) -> Pattern:
    """Keep what falls on beats, and let it ring; figures off the beat keep their first half."""
    kept = [slot for slot in plain if slot.at in shape.beats]
    if len(kept) < 2:
        kept = [slot for slot in plain if slot.at < max(shape.half, shape.ticks // 2)]
    if not kept:
        return plain
    if figure.light:
        return tuple(kept)
    ends = [slot.at for slot in kept[1:]] + [shape.ticks]
    return tuple(
        replace(slot, dur=end - slot.at, rungs=tuple((rung, 0) for rung, _ in slot.rungs))
        for slot, end in zip(kept, ends, strict=True)
    )


def _closing(plain: Pattern, figure: Figure, shape: BarShape) -> Pattern:
    """Stop in the middle of the bar and stay."""
    stop = shape.half if shape.half < shape.ticks else shape.ticks // 2
    kept = [slot for slot in plain if slot.at <= stop] or list(plain[:1])
    last = kept[-1]
    end = last.at + last.dur if figure.light else shape.ticks
    kept[-1] = replace(last, dur=end - last.at, rungs=tuple((rung, 0) for rung, _ in last.rungs))
    return tuple(kept)


def cut_at_last_beat(pattern: Pattern, shape: BarShape) -> Pattern:
    """Cut a bar at its last beat, or an eighth before its end where it has two beats."""
    end = shape.last_beat if len(shape.beats) > 2 else shape.ticks - EIGHTH
    return tuple(replace(slot, dur=min(slot.dur, end - slot.at)) for slot in pattern if slot.at < end)


_CHORDS: frozenset[Family] = frozenset({"pad", "chorale", "pulse", "tremolo", "waltz", "offbeat", "ostinato"})
"""Families that end with one chord, whatever the loudness."""
_STRIKING: frozenset[Family] = frozenset({"pulse", "ostinato", "offbeat", "waltz", "pizzicato"})
"""Those that end with two strokes where it is loud."""


def voiced_anew(shape: BarShape, tones: int) -> Pattern:
    """Return a held chord that moves up a rung in the middle of the bar: a long pad is not the same all the time."""
    half = shape.half if shape.half < shape.ticks else shape.ticks // 2
    low, high = (tuple((rung + up, 0) for rung in range(tones)) for up in (0, 1))
    return Slot(0, half, low), Slot(half, shape.ticks - half, high)


def last_bar_of(
    figure: Figure, plain: Pattern, shape: BarShape, *, low: bool, loud: bool, late: bool, at_once: int
) -> Pattern:
    """Return a last bar that ends: two strokes, a chord that stays, or a few notes up to it.

    `low` tells that the figure has the bass, `late` that a soft chord may come after it; `at_once` are the notes that
    the instrument can have at once.
    """
    chord = tuple((rung, 0) for rung in range(4 if low else 3))
    whole: Pattern = (Slot(0, shape.ticks, chord),)
    beat = shape.beats[1] if len(shape.beats) > 1 else shape.ticks
    if (loud and figure.family in _STRIKING) or figure.light:
        if shape.half >= shape.ticks:
            return whole
        return (Slot(0, min(beat, shape.half), chord), Slot(shape.half, shape.ticks - shape.half, chord))
    if loud or figure.family in _CHORDS:
        if loud or not late or len(shape.beats) < 3:
            return whole
        after = Slot(beat, shape.ticks - beat, chord[1:] if low else chord)
        return (Slot(0, beat, chord[:1]), after) if low else (after,)
    stop = shape.half if shape.half < shape.ticks else shape.ticks // 2
    way = [slot for slot in plain if slot.at < stop and slot.at % EIGHTH == 0][:4]
    if not way or at_once < 3:
        return (*way[:2], Slot(stop, shape.ticks - stop, ((0, 0),))) if way else whole
    ends = [slot.at for slot in way[1:]] + [stop]
    rise = tuple(Slot(s.at, end - s.at, ((n, 0),)) for n, (s, end) in enumerate(zip(way, ends, strict=True)))
    top = len(rise) - 1
    return (*rise, Slot(stop, shape.ticks - stop, tuple((max(0, top - 1) + n, 0) for n in range(3))))


@lru_cache(maxsize=256)
def pattern_of_degrees(degrees: str, shape: BarShape) -> Pattern:
    """Spread a plan's degrees (`1 5 8 10`) over a bar: in equal notes, in eighths where the bar doesn't divide so.

    Degrees become rungs: 1, 3, 5, 7 are 0 to 3, and an octave adds three. Empty for a figure's name or text.
    """
    if degrees.startswith("=") or _is_figure_text(degrees):
        return ()
    wanted = [int(word) for word in degrees.replace(",", " ").split() if word.isdigit() and 0 < int(word) < 30]
    if not wanted:
        return ()
    grain = shape.ticks // len(wanted) if shape.ticks % len(wanted) == 0 else EIGHTH
    if grain not in (S, T, E, 2 * E, 3 * E, 4 * E):
        grain = EIGHTH
    slots = []
    for number in range(shape.ticks // grain):
        octave, step = divmod(wanted[number % len(wanted)] - 1, 7)
        slots.append(Slot(number * grain, grain, ((min(3 * octave + (step + 1) // 2, 9), 0),)))
    return tuple(slots)


def usual_families(instrument: Instrument, level: int) -> tuple[Family, ...]:
    """Return what an instrument is asked to play where the plan names no family, by loudness (0 `pp` to 5 `ff`)."""
    if instrument.program == 45 or instrument.kind == "struck":
        return ("pizzicato", "offbeat")
    if instrument.kind == "mallet":
        return ("pizzicato", "arpeggio") if level < 3 else ("ostinato", "offbeat")
    if instrument.kind in ("keys", "plucked") and instrument.chords > 2:
        return (("wave", "arpeggio", "broken"), ("broken", "alberti", "wave"), ("pulse", "broken", "arpeggio"))[
            level // 2
        ]
    if instrument.chords > 2:
        return (("pad", "chorale"), ("pad", "chorale"), ("chorale", "pulse", "tremolo"))[level // 2]
    if instrument.kind == "bowed":
        return (("pad", "broken"), ("broken", "ostinato"), ("ostinato", "tremolo"))[level // 2]
    return (("pad",), ("pad", "ostinato"), ("ostinato", "pulse"))[level // 2]


def with_bass(pattern: Pattern, beats: Sequence[int]) -> Pattern:
    """Put the bass under a figure that doesn't begin with it: the figure moves one rung up."""
    if pattern and pattern[0].at == 0 and pattern[0].rungs[0] == (0, 0):
        return pattern
    first = pattern[0].at if pattern else beats[-1]
    shifted = [replace(slot, rungs=tuple((rung + 1, steps) for rung, steps in slot.rungs)) for slot in pattern]
    if first == 0:
        return (replace(shifted[0], rungs=((0, 0),)), *shifted[1:])
    return (Slot(0, first, ((0, 0),)), *shifted)


_NOTES_A_SECOND = {"keys": 9.0, "plucked": 8.0, "mallet": 8.0, "bowed": 8.0, "organ": 8.0, "synth": 8.0}


def is_playable(figure: Figure, instrument: Instrument, qpm: float) -> bool:
    """Whether an instrument can play a figure at a tempo: not too many notes a second, no chords where it has none."""
    rate = qpm / 60 * TICKS_PER_QUARTER / figure.grain
    most = _NOTES_A_SECOND.get(instrument.kind, 5.0) * (1.5 if figure.family == "tremolo" else 1)
    plain = variants(figure.name, bar_shape("4/4"), 90.0)[0]
    chordal = sum(len(slot.rungs) > 1 for slot in plain) * 2 > len(plain)
    return rate <= most and (instrument.chords > 1 or not chordal or figure.family in ("pad", "pulse"))
