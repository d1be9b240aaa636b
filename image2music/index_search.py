"""The search structures of the tune index: when an approximate index is built, extended or trained anew."""

from __future__ import annotations

import math
from typing import Any, Literal

VECTOR_INDEX_FROM = 20_000
"""Rows from which an approximate index pays: below, an exact search takes a few milliseconds and misses nothing."""

MOST_OUTSIDE = 0.2
"""Share of the rows that may lie outside of a vector index before it is trained anew instead of extended."""

_ID_INDEX, _VECTOR_INDEX = "tune_id_idx", "vector_idx"

Done = Literal["nothing", "extended", "trained"]


def bring_up_to_date(dataset: Any) -> Done:
    """Index every row of a LanceDB dataset at its newest version; each step is a commit of its own.

    There is always a scalar index on tune_id, and from `VECTOR_INDEX_FROM` rows on a vector index (IVF). That one is
    trained anew where more than `MOST_OUTSIDE` of the rows lie outside of it, or where the number of its partitions
    is off by a factor of more than two; otherwise new rows are added to its partitions. A table without it answers
    the same questions, only slower, so a run that stops in between harms nothing.
    """
    names = {index.name for index in dataset.describe_indices()}
    if _ID_INDEX not in names:
        dataset.create_scalar_index("tune_id", "BTREE")
    rows = dataset.count_rows()
    if rows >= VECTOR_INDEX_FROM and (_VECTOR_INDEX not in names or _is_worn(dataset, rows)):
        partitions = partitions_for(rows)
        dataset.create_index("vector", "IVF_FLAT", metric="cosine", num_partitions=partitions, replace=True)
        dataset.optimize.optimize_indices(index_names=[_ID_INDEX])
        return "trained"
    if all(unindexed(dataset, name) == 0 for name in names):
        return "nothing" if _ID_INDEX in names else "extended"
    dataset.optimize.optimize_indices()
    return "extended"


def partitions_for(rows: int) -> int:
    """The power of two next to the square root of the number of rows."""
    return int(2 ** round(math.log2(math.sqrt(rows))))


def unindexed(dataset: Any, name: str) -> int:
    """Rows that an index does not know yet: a search looks at them one by one."""
    return int(dataset.stats.index_stats(name)["num_unindexed_rows"])


def kind(dataset: Any) -> str:
    """How the table is searched, for a person."""
    if _VECTOR_INDEX not in {index.name for index in dataset.describe_indices()}:
        return "exact"
    return f"IVF, {_partitions(dataset)} partitions, {unindexed(dataset, _VECTOR_INDEX)} rows outside"


def _is_worn(dataset: Any, rows: int) -> bool:
    off = math.log2(_partitions(dataset) / partitions_for(rows))
    return unindexed(dataset, _VECTOR_INDEX) > MOST_OUTSIDE * rows or abs(off) > 1


def _partitions(dataset: Any) -> int:
    statistics = dataset.stats.index_stats(_VECTOR_INDEX)
    return max(int(part["num_partitions"]) for part in statistics.get("segments", statistics.get("indices")))
