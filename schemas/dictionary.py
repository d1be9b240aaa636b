"""Write every column of every stored row as Markdown: `python -m schemas.dictionary` writes docs/rows.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from schemas.album import ALBUM_SCHEMA
from schemas.composition import METADATA_FIELDS, composition_schema
from schemas.failure import FAILURE_SCHEMA
from schemas.score import SCORE_SCHEMA
from schemas.tune import tune_schema

TARGET = Path(__file__).parent.parent / "docs" / "rows.md"

_DIM = 1
"""Stands for the length of an embedding; the page says `dim`."""

_HEAD = """# What the rows hold

Written by `make docs` from `schemas/`, so do not edit it. Nullable columns have a `?` behind their type; fields of
structs and lists stand below their column. `dim` is the length of the embedder's vectors. `examples/read_rows.py`
reads the rows with pandas, DuckDB and Hugging Face datasets.
"""
_TABLE_HEAD = ("| column | type | unit | meaning |", "|---|---|---|---|")


def sections() -> dict[str, tuple[str, list[pa.Field]]]:
    """Return, by the place of a kind of row, what one row stands for and its columns."""
    return {
        "`OUT/compositions/*.parquet`": (
            "One picture and the tune written for it. The last columns are there only in some runs: with hints or "
            "wishes in a `--catalog`, with `--plans` and with `--album`.",
            [*composition_schema(_DIM), *METADATA_FIELDS.values()],
        ),
        "`OUT/failures/*.parquet`": ("What could not be done, and why.", [*FAILURE_SCHEMA]),
        "`OUT/albums/*.parquet`": ("The tunes of one folder as one piece, with `--album`.", [*ALBUM_SCHEMA]),
        "`OUT/score.parquet`": ("What `score` measured of one picture's tune.", [*SCORE_SCHEMA]),
        "`tunes.lance`": ("One tune of the index.", [*tune_schema(_DIM)]),
    }


def markdown() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    for place, (meaning, fields) in sections().items():
        rows = [line for field in fields for line in _lines(field, "")]
        parts.append(
            f"## {place}\n{meaning}\n\n| column | type | unit | meaning |\n|---|---|---|---|\n" + "\n".join(rows)
        )
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _lines(field: pa.Field, above: str) -> Iterator[str]:
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    name = f"{above}{field.name}"
    kind = f"{_kind(field.type)}{'?' if field.nullable else ''}"
    cells = (f"`{name}`", kind, metadata.get("unit", ""), metadata.get("meaning", ""))
    yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    inner = _struct(field.type)
    if inner is not None:
        repeated = "[]" if pa.types.is_list(field.type) else ""
        for part in inner:
            yield from _lines(part, f"{name}{repeated}.")


def _struct(kind: pa.DataType) -> pa.StructType | None:
    if pa.types.is_list(kind):
        return _struct(kind.value_type)
    return kind if pa.types.is_struct(kind) else None


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        length = "dim" if kind.list_size == _DIM else str(kind.list_size)
        return f"{kind.value_type}[{length}]"
    if pa.types.is_list(kind):
        return f"list of {_kind(kind.value_type)}"
    return "struct" if pa.types.is_struct(kind) else str(kind)


if __name__ == "__main__":
    TARGET.write_text(markdown(), encoding="utf-8")
    print(f"wrote {TARGET}")
