"""The library of accompaniment figures: hand-written bars in steps of a chord, with variants.

A bar is a row of tokens of equal length (an eighth, a sixteenth or a triplet's eighth). `0 1 2` are the tones of the
chord from the figure's lowest one upwards, however it is laid out; `(012)` sounds together; `^1` and `v1` are the
neighbours above and below in the chord's scale; `-` holds on, `.` rests. Bars are written for 4/4, 3/4 and 6/8; the
other meters are put together from these.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

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

    `light` figures are played detached. `grain` is the length of a token in ticks. `loud` (least, most) are the
    dynamics that it suits, as places in `DYNAMICS`.
    """

    name: str
    family: Family
    grain: int
    bars: dict[str, tuple[str, str, str]]
    loud: tuple[int, int] = (0, 5)
    light: bool = False


E, S, T = EIGHTH, EIGHTH // 2, EIGHTH * 2 // 3
"""Grains: an eighth, a sixteenth, an eighth of a triplet."""


def _figure(
    name: str, family: Family, grain: int, four: str, three: str, six: str, loud: tuple[int, int] = (0, 5),
    light: bool = False,
) -> Figure:  # fmt: skip
    bars = {meter: text.split("|") for meter, text in (("4/4", four), ("3/4", three), ("6/8", six))}
    return Figure(name, family, grain, {m: (t[0], t[1], t[2]) for m, t in bars.items()}, loud, light)


@lru_cache(maxsize=1)
def library() -> tuple[Figure, ...]:
    """Return all figures."""
    return (
        _figure("ripple", "wave", E,
            "0 1 2 3 4 3 2 1 | 0 1 3 2 4 3 2 1 | 0 1 2 3 (45) 3 2 1",
            "0 1 2 3 2 1 | 0 2 1 3 2 1 | 0 1 2 (34) 2 1",
            "0 1 2 3 2 1 | 0 2 1 3 2 1 | 0 1 2 (34) 2 1", (0, 4)),
        _figure("swell", "wave", T,
            "0 1 2 3 2 1 2 3 4 3 2 1 | 0 1 2 1 2 3 2 3 4 3 2 1 | 0 1 2 3 4 3 (24) 3 4 (35) 4 3",
            "0 1 2 3 4 3 2 3 1 | 0 1 2 1 2 3 4 3 2 | 0 1 2 3 4 3 (24) 3 2",
            "0 1 2 3 4 3 2 3 1 | 0 1 2 1 2 3 4 3 2 | 0 1 2 3 4 3 (24) 3 2", (1, 4)),
        _figure("surge", "wave", S,
            "0 1 2 3 4 3 2 1 0 1 2 3 4 3 2 1 | 0 1 2 3 4 3 2 1 2 3 4 5 4 3 2 1 | 0 1 2 3 4 5 4 3 4 5 4 3 4 3 2 1",
            "0 1 2 3 4 3 2 1 0 1 2 1 | 0 1 2 3 2 1 2 3 4 3 2 1 | 0 1 2 3 4 5 4 3 4 3 2 1",
            "0 1 2 3 2 1 0 1 2 3 2 1 | 0 1 2 3 4 3 2 3 4 3 2 1 | 0 1 2 3 4 3 4 5 4 3 2 1", (2, 5)),
        _figure("broken chords", "broken", E,
            "0 1 2 1 3 1 2 1 | 0 1 2 3 2 1 2 1 | 0 1 2 3 (24) 3 2 1",
            "0 1 2 1 2 1 | 0 1 2 3 2 1 | 0 1 (23) 1 (23) 1",
            "0 1 2 3 2 1 | 0 1 2 4 3 2 | 0 1 2 (34) 3 2"),
        _figure("rocking", "broken", E,
            "0 - 2 1 3 - 2 1 | 0 - 1 2 3 - 1 2 | 0 1 2 1 (13) 1 2 1",
            "0 - 2 1 2 - | 0 - 1 2 1 - | 0 1 2 (13) 2 1",
            "0 2 1 2 - 1 | 0 - 2 1 - 2 | 0 1 2 (13) 2 1", (0, 3)),
        _figure("sighs", "broken", E,
            "0 1 ^1 1 2 - 1 - | 0 1 2 ^2 2 1 2 - | 0 1 ^1 1 (13) 2 ^2 2",
            "0 1 ^1 1 2 - | 0 2 ^2 2 1 - | 0 1 ^1 1 (13) 2",
            "0 1 ^1 1 - 2 | 0 - 2 ^2 2 1 | 0 1 ^1 (13) 2 1", (0, 3)),
        _figure("syncopated", "broken", E,
            "0 (12) - (12) - (12) - 1 | 0 (12) - (13) - (12) - 2 | 0 (12) - (23) - (13) (12) 1",
            "0 (12) - (12) - 1 | 0 (12) - (13) - 2 | 0 (12) - (23) (13) 1",
            "0 1 (12) - 1 (12) | 0 2 (13) - 1 (12) | 0 1 (23) 1 (23) (12)", (2, 5)),
        _figure("alberti", "alberti", E,
            "0 2 1 2 0 2 1 2 | 0 2 1 2 3 2 1 2 | 0 2 (13) 2 0 2 (13) 2",
            "0 2 1 2 1 2 | 0 2 1 2 3 2 | 0 2 (13) 2 (13) 2",
            "0 2 1 2 1 2 | 0 1 2 1 2 1 | 0 2 1 (13) 2 1"),
        _figure("murmur", "alberti", S,
            "0 2 1 2 0 2 1 2 0 2 1 2 3 2 1 2 | 0 2 1 2 3 2 1 2 0 2 1 2 3 2 1 2 | 0 2 1 2 3 1 2 1 0 2 1 2 (13) 2 3 2",
            "0 2 1 2 0 2 1 2 3 2 1 2 | 0 2 1 2 3 2 1 2 0 2 1 2 | 0 2 1 2 3 1 2 1 (13) 2 3 2",
            "0 2 1 2 1 2 0 2 1 2 1 2 | 0 2 1 2 3 2 0 2 1 2 3 2 | 0 2 1 2 3 2 1 3 2 3 2 1", (1, 4)),
        _figure("waltz chords", "waltz", E,
            ". . (012) - . - (012) - | . . (012) . . . (123) - | . . (012) - (123) - (012) -",
            ". . (012) - (012) - | . . (012) - (123) - | . . (012) . (123) (123)",
            ". . (012) . . (012) | . . (012) . (12) (12) | . (01) (012) . (01) (123)"),
        _figure("rolling waltz", "waltz", E,
            ". 0 1 2 3 2 1 0 | . 1 0 1 2 1 0 1 | . 0 1 2 (13) 2 1 0",
            ". 0 1 2 1 0 | . 1 0 1 2 1 | . 0 1 (23) 2 1",
            ". 0 1 2 1 0 | . 1 0 2 1 0 | . (01) 2 . (12) 3", (0, 4)),
        _figure("off the beat", "offbeat", E,
            ". (01) . (12) . (01) . (12) | . (12) . (01) . (12) (01) . | . (012) . (123) . (123) . (012)",
            ". (01) . (01) . (12) | . (12) . (01) (12) . | . (012) . (123) . (012)",
            ". 1 0 . 1 0 | . 1 0 . 2 1 | . (12) (01) . (12) (01)", (2, 5), True),
        _figure("after-beats", "offbeat", E,
            ". . (012) . . . (012) . | . . (012) . . . (123) (12) | . . (012) . (12) . (123) .",
            ". . (012) . (012) . | . . (012) . (123) . | . . (012) (1) (123) .",
            ". . (01) . . (12) | . . (12) . . (01) | . (01) (01) . (12) (12)", (1, 5), True),
        _figure("throb", "pulse", E,
            "(01) (01) (01) (01) (01) (01) (12) (12) | (01) (01) (01) (12) (12) (12) (01) (01)"
            " | (012) (012) (012) (123) (123) (123) (234) (123)",
            "(01) (01) (01) (01) (12) (12) | (01) (12) (12) (01) (01) (01) | (012) (012) (123) (123) (234) (234)",
            "(01) (01) (01) (12) (12) (12) | (01) - (01) (12) - (12) | (012) (012) (012) (123) (123) (123)", (1, 5)),
        _figure("heartbeat", "pulse", E,
            "(012) - (012) (012) - (012) (012) - | (012) - (012) (012) - (123) (123) - "
            "| (012) - (012) (123) - (123) (234) (123)",
            "(012) - (012) (012) - (012) | (012) - (012) (123) - (012) | (012) - (123) (123) (234) (123)",
            "(012) - (012) (012) - (012) | (012) - (012) (123) - (123) | (012) (012) (123) (123) - (234)", (2, 5)),
        _figure("quarters", "pulse", E,
            "(012) - (012) - (012) - (012) - | (012) - (012) - (123) - (123) - | (012) - (123) - (234) - (123) -",
            "(012) - (012) - (012) - | (012) - (123) - (123) - | (012) - (123) - (234) -",
            "(012) - - (012) - - | (012) - - (123) - (123) | (012) - (123) (234) - (123)", (0, 3)),
        _figure("pad", "pad", E,
            "(012) - - - - - - - | (012) - - - (123) - - - | (0123) - - - (0123) - - -",
            "(012) - - - - - | (012) - - - (123) - | (0123) - - (123) - -",
            "(012) - - - - - | (012) - - (123) - - | (0123) - - (123) - -"),
        _figure("breathing pad", "pad", E,
            ". . (012) - - - - - | . . (012) - - - (123) - | (012) - - - (123) - - -",
            ". . (012) - - - | . . (012) - (123) - | (012) - - - (123) -",
            ". - (012) - - - | . - (012) - - (123) | (012) - - (123) - -", (0, 2)),
        _figure("three and three and two", "ostinato", E,
            "0 - - 2 - - 1 - | 0 - 1 2 - - 1 2 | (02) - - (13) - - (02) 2",
            "0 - - 2 - 1 | 0 - 1 2 - 1 | (02) - 1 (13) - 2",
            "0 - 2 0 2 - | 0 - 2 1 2 - | (02) 1 2 (13) 2 -", (1, 5)),
        _figure("clockwork", "ostinato", E,
            "2 0 1 0 2 0 1 0 | 2 0 1 0 3 0 1 0 | (23) 0 1 0 (23) 0 (12) 0",
            "2 0 1 0 1 0 | 2 0 3 0 1 0 | (23) 0 1 0 (12) 0",
            "2 0 1 2 0 1 | 2 0 1 3 0 1 | (23) 0 1 (23) 0 1", (0, 4)),
        _figure("habanera", "ostinato", E,
            "0 - - 1 2 - 1 - | 0 - - 1 3 - 2 - | 0 - - 1 (23) - (12) 1",
            "0 - - 1 2 - | 0 - - 2 1 - | 0 - - 1 (23) 2",
            "0 - 1 2 - 1 | 0 - 2 3 - 2 | 0 - 1 (23) - (12)", (1, 4)),
        _figure("whirl", "ostinato", E,
            "0 ^0 1 2 1 ^0 0 1 | 2 1 ^0 0 ^0 1 2 ^2 | 0 ^0 1 2 3 2 1 ^0",
            "0 ^0 1 2 1 ^0 | 2 1 ^0 0 ^0 1 | 0 ^0 1 2 3 2",
            "0 ^0 1 2 1 ^0 | 2 1 ^0 0 ^0 1 | 0 ^0 1 2 3 2", (2, 5)),
        _figure("tremolo", "tremolo", S,
            "0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 | 0 1 0 1 0 1 0 1 1 2 1 2 1 2 1 2 | 0 2 0 2 0 2 0 2 1 3 1 3 1 3 1 3",
            "0 1 0 1 0 1 0 1 0 1 0 1 | 0 1 0 1 1 2 1 2 1 2 1 2 | 0 2 0 2 0 2 1 3 1 3 1 3",
            "0 1 0 1 0 1 0 1 0 1 0 1 | 0 1 0 1 0 1 1 2 1 2 1 2 | 0 2 0 2 0 2 1 3 1 3 1 3", (0, 5)),
        _figure("shimmer", "tremolo", S,
            "(01) 2 (01) 2 (01) 2 (01) 2 (01) 2 (01) 2 (01) 2 (01) 2 | 0 2 1 2 0 2 1 2 1 3 2 3 1 3 2 3"
            " | (01) 3 (01) 3 (12) 3 (12) 3 (12) 4 (12) 4 (12) 3 (12) 3",
            "(01) 2 (01) 2 (01) 2 (01) 2 (01) 2 (01) 2 | 0 2 1 2 1 3 2 3 1 3 2 3"
            " | (01) 3 (01) 3 (12) 3 (12) 3 (12) 4 (12) 4",
            "(01) 2 (01) 2 (01) 2 (01) 2 (01) 2 (01) 2 | 0 2 1 2 0 2 1 3 2 3 1 3"
            " | (01) 3 (01) 3 (12) 3 (12) 3 (12) 4 (12) 4",
            (1, 4)),
        _figure("chorale", "chorale", E,
            "(012) - (123) - (234) - (123) - | (012) - (234) - (123) - (234) - | (012) - (123) - (234) - (345) -",
            "(012) - (123) - (234) - | (012) - (234) - (123) - | (012) - (123) - (345) -",
            "(012) - - (123) - - | (012) - - (234) - (123) | (012) - (123) (234) - (123)", (2, 5)),
        _figure("half-note chorale", "chorale", E,
            "(012) - - - (123) - - - | (012) - - - (123) - (012) - | (012) - - - (234) - (123) -",
            "(012) - - - (123) - | (012) - (123) - - - | (012) - (123) - (234) -",
            "(012) - - (123) - - | (012) - - - - (123) | (012) - - (234) - (123)", (0, 3)),
        _figure("rising arpeggio", "arpeggio", E,
            "0 1 2 3 4 - - - | 0 1 2 4 3 - 2 - | 0 1 2 3 4 5 (34) -",
            "0 1 2 3 - - | 0 1 3 2 - - | 0 1 2 3 (24) -",
            "0 1 2 3 - - | 0 1 2 3 - 2 | 0 1 2 3 4 (23)", (0, 3)),
        _figure("climbing", "arpeggio", E,
            "0 1 2 1 2 3 2 3 | 0 1 2 3 2 3 4 3 | (02) 1 2 3 (24) 3 4 5",
            "0 1 2 1 2 3 | 0 1 2 3 4 3 | (02) 1 2 3 4 5",
            "0 1 2 1 2 3 | 0 1 2 3 2 3 | (02) 1 2 (24) 3 4", (2, 5)),
        _figure("cascade", "arpeggio", E,
            "5 4 3 2 3 2 1 0 | 4 3 5 4 3 2 1 0 | (35) 4 3 2 3 2 1 0",
            "4 3 2 3 2 1 | 3 2 4 3 1 0 | 5 4 3 2 1 0",
            "4 3 2 3 2 1 | 4 2 3 1 2 0 | 5 4 3 4 3 2", (0, 4)),
        _figure("harp sweep", "arpeggio", S,
            "0 1 2 3 4 5 4 3 2 - - - 1 - - - | 0 1 2 3 4 3 2 3 4 - - - 2 - - - | 0 1 2 3 4 5 4 3 2 3 4 5 4 3 2 1",
            "0 1 2 3 4 5 4 3 2 - 1 - | 0 1 2 3 4 - - - 3 - 2 - | 0 1 2 3 4 5 4 3 2 3 2 1",
            "0 1 2 3 4 5 4 - 3 - 2 - | 0 1 2 3 4 - 2 - - 1 - - | 0 1 2 3 4 5 4 3 4 3 2 1", (0, 4)),
        _figure("bells", "arpeggio", E,
            "2 - . . . . 3 - | . . 2 - . . 4 - | 2 - 3 - . . 4 -",
            "2 - . . 3 - | . . 2 - 4 - | 2 - 3 - 4 -",
            ". . 2 - - . | . . 3 - - 2 | 2 - 3 4 - 3", (0, 2)),
        _figure("plucked", "pizzicato", E,
            "0 . (12) . 0 . (12) . | 0 . (12) . 1 . (12) (12) | 0 . (12) (12) 1 . (23) (12)",
            "0 . (12) . (12) . | 0 . (12) (1) (12) . | 0 1 (12) 1 (23) 1",
            "0 . (12) 0 . (12) | 0 . 1 2 . 1 | 0 1 (12) 0 1 (23)", (0, 5), True),
        _figure("tiptoe", "pizzicato", E,
            "0 . . 1 2 . . . | 0 . . 1 . 2 . . | 0 . 1 . 2 . 3 .",
            "0 . 1 . 2 . | 0 . 2 . 1 . | 0 . 1 . 2 3",
            "0 . 1 2 . . | 0 . 2 1 . . | 0 . 1 2 . 3", (0, 3), True),
        _figure("drops", "pizzicato", E,
            ". . . . 1 . . . | . . 2 . . . 1 . | . 1 . . 2 . . 3",
            ". . . . 1 . | . . 2 . . . | . 1 . . 2 .",
            ". . . . 2 . | . . 1 . . . | . . 1 . . 2", (0, 1), True),
    )  # fmt: skip


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
    plain, varied, full = (" ".join(rows[min(at, len(rows) - 1)]) for at in range(3))
    return Figure(text, family, grain, {WHOLE_BAR: (plain, varied, full)})


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


def _bar(figure: Figure, shape: BarShape, variant: int, qpm: float) -> Pattern:
    """Put one bar together; the second part of a bar takes the varied bar, so that no half comes twice."""
    if WHOLE_BAR in figure.bars:
        return _spread(figure.bars[WHOLE_BAR][variant], figure.grain, shape.ticks)
    slots: list[Slot] = []
    start = 0
    for number, (meter, ticks) in enumerate(shape.parts):
        text = figure.bars[meter][variant if number == 0 or variant == 2 else 1 - variant]
        slots += [replace(slot, at=slot.at + start) for slot in _read(text, figure.grain, ticks, meter, qpm)]
        start += ticks
    return tuple(slots)


@lru_cache(maxsize=1024)
def _read(text: str, grain: int, ticks: int, meter: str, qpm: float) -> Pattern:
    """Read tokens and cut them to `ticks`; bars of twice the length (or half) are read in longer (shorter) tokens."""
    tokens = text.split()
    whole = 8 * EIGHTH if meter == "4/4" else 6 * EIGHTH
    if ticks > whole:
        grain = grain * ticks // whole
    elif ticks * 2 == whole and goes_twice_as_fast(tokens, grain, qpm):
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
                slots[-1] = replace(slots[-1], dur=slots[-1].dur + room)
        elif token != ".":
            slots.append(Slot(at, room, _rungs(token)))
    ends = [*(slot.at for slot in slots[1:]), ticks]
    return tuple(
        replace(slot, dur=max(slot.dur, min(shortest, end - slot.at))) for slot, end in zip(slots, ends, strict=True)
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
