"""How long a tune is to last: a length as people write it, the bars that fit it, and a plan's tempo for it.

The exact length is made in the end by the tempos of the tune (`abc.lasting`) and of its performance; a plan needs to
come near it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import log

from image2music.errors import ConfigError
from image2music.music.planning.plan import MOST_BARS, Plan
from image2music.music.planning.schema import FASTEST_QPM, LONGEST_S, SHORTEST_S, SLOWEST_QPM

_CLOCK = re.compile(r"(\d{1,2}):([0-5]?\d(?:[.,]\d+)?)")
_WORDS = re.compile(
    r"(?:(\d+(?:[.,]\d+)?)\s*(?:m|min|minutes?|minuten?|minutos?)\.?)?\s*"
    r"(?:(\d+(?:[.,]\d+)?)\s*(?:s|secs?|seconds?|sek|sekunden?|secondes?|segundos?)?\.?)?"
)


def read_duration(text: str) -> float:
    """Read `90`, `90s`, `1:30`, `1m30s` or `1 min 30 sec` as seconds.

    Raises:
        ConfigError: it is no length, or none from 5 seconds to 5 minutes (`bad_length`).
    """
    plain = " ".join(text.lower().split())
    found = _CLOCK.fullmatch(plain) or _WORDS.fullmatch(plain)
    if not plain or found is None:
        message = f"{text!r} is no length: write seconds (90 or 90s) or minutes and seconds (1:30 or 1m30s)"
        raise ConfigError(message, reason="bad_length")
    minutes, rest = (float((part or "0").replace(",", ".")) for part in found.groups())
    seconds = 60 * minutes + rest
    if not SHORTEST_S <= seconds <= LONGEST_S:
        message = f"a tune can last {SHORTEST_S:g} to {LONGEST_S:g} seconds, not {text!r}"
        raise ConfigError(message, reason="bad_length")
    return seconds


def duration_text(seconds: float) -> str:
    """Write a length so that `read_duration` reads the same."""
    return f"{seconds:.10g}s"


def bar_quarters(meter: str) -> float:
    """Return the quarter notes of a bar of a meter such as `6/8`."""
    top, _, bottom = meter.partition("/")
    return float(Fraction(4 * int(top), int(bottom)))


_SLOWING_BARS = 0.3
"""What the end's slowing adds to a tune, in bars."""
_FEWEST_THAT_SLOW = 4
_EVEN = {0: 0.0, 2: 0.02, 1: 0.05, 3: 0.05}
"""What it costs that a tune is not made of four bars, by what is left: as much as that share of the tempo."""
_ODD_WHEN_SHORT = {1: 60.0, 2: 0.06, 3: 0.06, 4: 0.0, 5: 0.12, 7: 0.12}
_OUTSIDE = 100.0


def bars_lasting(
    seconds: float,
    meters: Sequence[str],
    qpm: float,
    tempos: tuple[float, float],
    bars: tuple[int, int] | None = None,
    *,
    loop: bool = False,
) -> tuple[str, int, float]:
    """Return the meter, the number of bars and the tempo with which a tune lasts so many seconds.

    Args:
        seconds: how long.
        meters: the best first; another than the first is taken only if no number of its bars can do it.
        qpm: the tempo that suits best, in quarter notes a minute.
        tempos: the slowest and the fastest that suit.
        bars: how few and how many there may be, both included.
        loop: a loop does not slow at its end.
    """
    fewest, most = bars or (1, MOST_BARS)
    found: list[tuple[float, int, int, str, float]] = []
    for rank, meter in enumerate(meters):
        for count in range(max(1, fewest), min(most, MOST_BARS) + 1):
            slowing = _SLOWING_BARS if count >= _FEWEST_THAT_SLOW and not loop else 0.0
            needed = (count + slowing) * bar_quarters(meter) * 60 / seconds
            outside = max(0.0, tempos[0] / needed - 1, needed / tempos[1] - 1)
            odd = _ODD_WHEN_SHORT.get(count, _EVEN[count % 4] if count > 4 else 0.0)
            cost = abs(log(needed / qpm)) + odd + (outside and _OUTSIDE * (1 + outside)) + 10 * rank
            found.append((round(cost, 6), rank, count, meter, needed))
    _, _, count, meter, needed = min(found)
    return meter, count, round(needed, 3)


_SLOWER_BY, _FASTER_BY = 1.005, 0.88
"""How long a plan may be for its length, before its end slows: a little less, as slowing takes time."""


def planned_seconds(plan: Plan) -> float:
    """Return how long a plan lasts by its sections' tempos, before anything gives way."""
    bar = bar_quarters(plan.meter)
    return sum(len(section.bars) * bar * 60 / section.qpm for section in plan.sections)


def with_length(plan: Plan, mended: list[str]) -> Plan:
    """Return a plan at a tempo with which it lasts its `length_s`; what was changed is added to `mended`.

    Where no tempo that can be played does it, it is no longer to last so long.
    """
    if plan.length_s is None:
        return plan
    seconds, asked = planned_seconds(plan), plan.length_s
    if _FASTER_BY * asked <= seconds <= _SLOWER_BY * asked:
        return plan
    timed, count = at_tempo(plan, plan.qpm * seconds / asked), f"{plan.bars} bars of {plan.meter}"
    if all(SLOWEST_QPM <= section.qpm <= FASTEST_QPM for section in timed.sections):
        mended.append(f"length: {count} last {seconds:.1f} seconds, not {asked:g}; changed the tempo to {timed.qpm:g}")
        return timed
    mended.append(f"length: {count} last {asked:g} seconds at no tempo that can be played; they last {seconds:.1f}")
    return replace(plan, length_s=None)


def at_tempo(plan: Plan, qpm: float) -> Plan:
    """Return a plan that begins at a tempo, its sections in proportion."""
    factor = qpm / plan.qpm
    return replace(plan, sections=tuple(replace(one, qpm=round(one.qpm * factor, 3)) for one in plan.sections))
