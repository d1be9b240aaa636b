"""Tables and lines that a job prints when it is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from image2music.catalog import Matched
from image2music.storage.datasets import Dataset
from image2music.storage.output import OutputStore

MOST_ROWS = 20
_COLUMNS = ["image_uri", "title", "key", "meter", "tempo_qpm", "abc", "references"]
_HEADINGS = ("picture", "title", "key", "meter", "tempo", "bars", "best reference")
_WIDEST = 34


def compositions_table(output: OutputStore) -> str:
    """Return the first compositions by picture, one line each, and how many more there are."""
    rows = sorted(output.compositions.read(_COLUMNS), key=lambda row: row["image_uri"])
    lines = table(_HEADINGS, [_cells(row) for row in rows[:MOST_ROWS]])
    more = len(rows) - MOST_ROWS
    return f"{lines}\n… and {more} more" if more > 0 else lines


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from image2music.abc.playback import abc_to_score
    from image2music.music.score import count_bars

    references = row["references"]
    best = f"{references[0]['location']} ({references[0]['matched_by']})" if references else ""
    bars = count_bars(abc_to_score(row["abc"]))
    picture = os.path.basename(row["image_uri"])
    return picture, row["title"], row["key"], row["meter"], f"{row['tempo_qpm']:g}", str(bars), best


def failure_lines(failures: Dataset, most: int = 5) -> list[str]:
    """Return the first failures, one line each."""
    rows = sorted(failures.read(["stage", "uri", "reason", "message"]), key=lambda row: row["uri"])
    lines = [f"{row['uri']}: {row['stage']}: {row['reason']}: {row['message']}" for row in rows[:most]]
    return [*lines, f"… and {len(rows) - most} more"] if len(rows) > most else lines


def catalog_counts(catalog: Matched | None) -> dict[str, int]:
    """Return what run.json says about a catalogue; nothing without one."""
    if catalog is None:
        return {}
    return {
        "catalog_rows": catalog.rows,
        "catalog_rows_without_picture": len(catalog.rows_without_picture),
        "catalog_rows_repeated": len(catalog.repeated_rows),
        "pictures_without_catalog_row": len(catalog.pictures_without_row),
    }


def catalog_lines(catalog: Matched | None, most: int = 3) -> list[str]:
    """Return how a catalogue and the pictures fit together, with the first names of what does not."""
    if catalog is None:
        return []
    odd = {
        "rows without a picture": catalog.rows_without_picture,
        "rows for a picture that an earlier row has": catalog.repeated_rows,
        "pictures without a row": catalog.pictures_without_row,
    }
    lines = [
        f"  {len(names)} {what}: {', '.join(names[:most])}{' …' if len(names) > most else ''}"
        for what, names in odd.items()
        if names
    ]
    return [f"{catalog.rows} rows in the catalogue", *lines]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return columns side by side, with long cells cut."""
    cells = [headings, *([_cut(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def places(output: OutputStore) -> str:
    """Return where everything was written."""
    return f"written to {', '.join(output.written())}"
