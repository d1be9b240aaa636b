"""Whether two tables of tunes hold the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from image2music.index.table import open_index

_COLUMNS = ["tune_id", "abc", "row_hash", "vector"]
LARGEST_DIFFERENCE = 1e-5
"""Of two numbers in the vectors of the same tune."""


@dataclass(frozen=True)
class Comparison:
    """Counts of rows; `vector_difference` is the largest of two numbers at the same place."""

    rows: int
    repeated_ids: int
    only_in_one: int
    other_abc: int
    other_columns: int
    vector_difference: float

    @property
    def same(self) -> bool:
        """The same ids, each once, with the same content."""
        differences = self.repeated_ids + self.only_in_one + self.other_abc + self.other_columns
        return differences == 0 and self.vector_difference <= LARGEST_DIFFERENCE


def compare_tables(one: Path | str, other: Path | str) -> Comparison:
    """Hold the newest versions of two tables against each other; columns but the vector are compared by row_hash."""
    a, b = _read(one), _read(other)
    ids_a, ids_b = a["tune_id"].to_pylist(), b["tune_id"].to_pylist()
    shared = sorted(set(ids_a) & set(ids_b))
    a, b = _by_id(a, ids_a, shared), _by_id(b, ids_b, shared)
    return Comparison(
        rows=len(ids_a),
        repeated_ids=len(ids_a) - len(set(ids_a)) + len(ids_b) - len(set(ids_b)),
        only_in_one=len(Counter(set(ids_a)) | Counter(set(ids_b))) - len(shared),
        other_abc=_unequal(a, b, "abc"),
        other_columns=_unequal(a, b, "row_hash"),
        vector_difference=float(np.abs(_vectors(a) - _vectors(b)).max()) if shared else 0.0,
    )


def _read(table: Path | str) -> pa.Table:
    return open_index(str(table)).dataset().to_table(columns=_COLUMNS)


def _by_id(table: pa.Table, ids: list[str], wanted: list[str]) -> pa.Table:
    places = {tune_id: place for place, tune_id in enumerate(ids)}
    return table.take([places[tune_id] for tune_id in wanted])


def _unequal(a: pa.Table, b: pa.Table, column: str) -> int:
    return sum(x != y for x, y in zip(a[column].to_pylist(), b[column].to_pylist(), strict=True))


def _vectors(table: pa.Table) -> np.ndarray:
    return np.asarray(table["vector"].combine_chunks().values)
