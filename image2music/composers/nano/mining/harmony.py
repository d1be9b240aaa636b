"""Progressions of the repertoire: written by hand (`harmony_by_hand.txt`), and counted in human scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from image2music.composers.nano.pools import HARMONIC_ROLES, TABLES, HarmonicRole

HAND_WEIGHT = 3.0
"""A progression written by hand weighs as much as one that some six pieces share."""

Rows = dict[str, list[list[object]]]


def by_hand() -> Iterator[tuple[str, str, HarmonicRole, tuple[str, ...]]]:
    """Yield mode, style, role and bars of the progressions written by hand."""
    mode = style = role = ""
    for line in (TABLES / "harmony_by_hand.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            mode, style, role = line.strip("[]").split()
            assert role in HARMONIC_ROLES, role
        elif line and not line.startswith("#"):
            for text in line.split(";"):
                bars = tuple(bar.strip() for bar in text.split("|"))
                yield mode, style, cast(HarmonicRole, role), bars


def progression_tables() -> Rows:
    """Return rows (bars, weight, source) by `mode style role bars`."""
    tables: dict[str, dict[str, list[object]]] = {}
    for mode, style, role, bars in by_hand():
        text = "|".join(bars)
        tables.setdefault(f"{mode} {style} {role} {len(bars)}", {})[text] = [text, HAND_WEIGHT, "hand"]
    return {
        name: sorted(rows.values(), key=lambda row: (-cast(float, row[1]), row[0]))
        for name, rows in sorted(tables.items())
    }
