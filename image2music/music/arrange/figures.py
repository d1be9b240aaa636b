"""The library of accompaniment figures: bars in steps of a chord, written by hand or found in scores, with variants.

A bar is a row of tokens of equal length (an eighth, a sixteenth or a triplet's eighth). `0 1 2` are the tones of the
chord from the figure's lowest one upwards, however it is laid out; `(012)` sounds together; `^1` and `v1` are the
neighbours above and below in the chord's scale; `-` holds on, `.` rests. Bars are written for 4/4, 3/4 and 6/8, many
for 12/8, 9/8, 5/4 and 7/8 as well; the other meters are put together from these.

`figures_mined.txt` adds figures that were found in public-domain scores.
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


def _figure(
    name: str, family: Family, grain: int, four: str, three: str, six: str, loud: tuple[int, int] = (0, 5),
    light: bool = False,
) -> Figure:  # fmt: skip
    bars = {meter: text.split("|") for meter, text in (("4/4", four), ("3/4", three), ("6/8", six))}
    return Figure(
        name, family, grain, {m: (t[0], t[1], t[2]) for m, t in bars.items()}, loud, light, _struck(bars["4/4"][0]) / 4
    )


@lru_cache(maxsize=1)
def library() -> tuple[Figure, ...]:
    """Return all figures: those written by hand, and those found in scores."""
    found, more = _read_table((Path(__file__).parent / "figures_mined.txt").read_text(encoding="utf-8"))
    by_hand = (replace(figure, bars={**figure.bars, **more.get(figure.name, {})}) for figure in _written_by_hand())
    return *by_hand, *found


_Bars = dict[str, tuple[str, str, str]]


def _read_table(text: str) -> tuple[list[Figure], dict[str, _Bars]]:
    """Read figures, and further meters of figures that are written here."""
    found: list[Figure] = []
    more: dict[str, _Bars] = {}
    for block in re.split(r"\n(?=\S.*\|.*\||= )", re.sub(r"(?m)^#.*\n|^\n", "", "\n" + text)):
        head, *lines = block.strip().splitlines() or [""]
        rows = [line.partition(": ")[::2] for line in lines]
        bars = {meter: _three_forms(row) for meter, row in rows}
        if head.startswith("= "):
            more[head[2:]] = bars
        elif head:
            name, family, loud, source = (word.strip() for word in head.split("|"))
            main, row = rows[0]
            plain = row.split("|")[0]
            least, most = (int(level) for level in loud.split()[0].split("-"))
            ticks = _LENGTHS[main]
            found.append(
                Figure(
                    name, cast(Family, family), ticks // len(plain.split()), _in_three_meters(bars, main),
                    (least, most), "light" in loud, _struck(plain) * TICKS_PER_QUARTER / ticks, source,
                )
            )  # fmt: skip
    return found, more


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


def _written_by_hand() -> tuple[Figure, ...]:
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
        slots += [replace(slot, at=slot.at + start) for slot in _read(text, ticks, meter, qpm)]
        start += ticks
    return tuple(slots)


@lru_cache(maxsize=1024)
def _read(text: str, ticks: int, meter: str, qpm: float) -> Pattern:
    """Read tokens and cut them to `ticks`; bars of twice the length (or half) are read in longer (shorter) tokens."""
    tokens = text.split()
    whole = _LENGTHS[meter]
    grain = whole // len(tokens)
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
