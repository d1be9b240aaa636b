"""Readings of the signs that structure music: bar lines, endings and tuplets. Source: ABC standard 2.1, 4.8 to 4.13."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

MAX_PASSES = 16
"""The highest ending, and the most times that a section is played."""

MAX_TUPLET = 64
_MAX_COLONS = 8
_DEFAULT_Q = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
_ENDING_PART = re.compile(r"(\d{1,2})(?:-(\d{1,2}))?$")


class BarSign(NamedTuple):
    """What a bar line says. `ending` is the text of an ending's number behind it, "" where there is none."""

    repeats: int
    opens_repeat: bool
    is_section: bool
    ending: str


@lru_cache(maxsize=1024)
def read_bar_line(text: str) -> BarSign:
    """Reads `|`, `||`, `|]`, `[|`, `|:`, `:|`, `::`, `:|2` and the like."""
    ending = text.lstrip(".|:[]")
    signs = text[: len(text) - len(ending)]
    leading = signs[: len(signs) - len(signs.lstrip(".:["))].count(":")
    trailing = len(signs) - len(signs.rstrip(":"))
    if not signs.strip(".:"):
        # `::` alone closes and opens.
        leading = trailing = 1
    is_section = bool(leading or trailing or ending) or signs.strip(".") != "|"
    return BarSign(min(leading, _MAX_COLONS), trailing > 0, is_section, ending)


@lru_cache(maxsize=256)
def read_ending(text: str) -> tuple[tuple[int, ...], str]:
    """Reads `1`, `1,3`, `1-3`: the passes that play what follows, and a message ("" where it is fine)."""
    passes: set[int] = set()
    for part in text.strip(",.-").split(","):
        match = _ENDING_PART.match(part.strip(". "))
        if match is None:
            return (), f"the ending {text[:20]} cannot be read: write 1, 2, 1,3 or 1-3"
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= MAX_PASSES:
            return (), f"the ending {text[:20]} is not between 1 and {MAX_PASSES}: number endings from 1 upwards"
        passes.update(range(first, last + 1))
    return tuple(sorted(passes)), ""


@lru_cache(maxsize=512)
def read_tuplet(text: str, is_compound: bool) -> tuple[int, int, int] | None:
    """Reads `(p:q:r`: p notes in the time of q, for the next r notes; None where it is impossible.

    Left out, q depends on p and on whether the meter is compound, and r is p.
    """
    parts = text[1:].split(":")
    if any(len(part) > 3 for part in parts):
        return None
    p = int(parts[0])
    q = int(parts[1]) if len(parts) > 1 and parts[1] else _DEFAULT_Q.get(p, 3 if is_compound else 2)
    r = int(parts[2]) if len(parts) > 2 and parts[2] else p
    if not (2 <= p <= MAX_TUPLET and 1 <= q <= MAX_TUPLET and 1 <= r <= MAX_TUPLET):
        return None
    return p, q, r
