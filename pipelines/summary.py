"""The closing words of a run, for the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipelines.outputs import COMPOSITIONS, FAILURES, read_rows

MOST_ROWS = 20

_COLUMNS = ["image_uri", "title", "key", "meter", "tempo_qpm", "abc", "references"]
_HEADINGS = ("picture", "title", "key", "meter", "tempo", "bars", "best reference")
_WIDEST = 34


def compositions_table(output: Path) -> str:
    """The first compositions by picture, one line each, and how many more there are."""
    rows = sorted(read_rows(output / COMPOSITIONS, _COLUMNS), key=lambda row: row["image_uri"])
    lines = table(_HEADINGS, [_cells(row) for row in rows[:MOST_ROWS]])
    more = len(rows) - MOST_ROWS
    return f"{lines}\n… and {more} more" if more > 0 else lines


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from image2music.loop.examine import bars_of
    from image2music.notation.abc_to_midi import abc_to_score

    references = row["references"]
    best = f"{references[0]['location']} ({references[0]['matched_by']})" if references else ""
    bars = bars_of(abc_to_score(row["abc"]))
    picture = os.path.basename(row["image_uri"])
    return picture, row["title"], row["key"], row["meter"], f"{row['tempo_qpm']:g}", str(bars), best


def failure_lines(folder: Path, most: int = 5) -> list[str]:
    """The first failures, one line each."""
    rows = sorted(read_rows(folder, ["stage", "uri", "reason", "message"]), key=lambda row: row["uri"])
    lines = [f"{row['uri']}: {row['stage']}: {row['reason']}: {row['message']}" for row in rows[:most]]
    return [*lines, f"… and {len(rows) - most} more"] if len(rows) > most else lines


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns side by side, long cells cut."""
    cells = [headings, *([_cut(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def places(output: Path) -> str:
    """Where everything was written."""
    return f"written to {output / COMPOSITIONS}, {output / FAILURES} and {output / 'run.json'}"
