"""The search structures of the tune index: when an approximate index is built, extended or trained anew."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Literal

VECTOR_INDEX_FROM = 20_000
"""Rows from which an approximate index pays: below, an exact search takes a few milliseconds and misses nothing."""

MOST_OUTSIDE = 0.2
"""Share of the rows that may have come after the vector index was trained, before it is trained anew."""

MOST_SMALL_FILES = 100
"""Data files below `FULL_FILE` rows each before they are written together: every update adds one or more."""

FULL_FILE = 65_536
"""Rows."""

KEPT_FOR = timedelta(days=7)
"""How long versions without a tag stay, and data files that no version names: a run may still be at work on them."""

_ID_INDEX, _VECTOR_INDEX = "tune_id_idx", "vector_idx"

Done = Literal["nothing", "extended", "trained"]


def bring_up_to_date(dataset: Any) -> Done:
    """Index every row of a LanceDB dataset at its newest version; each step is a commit of its own.

    There is always a scalar index on tune_id, and from `VECTOR_INDEX_FROM` rows on a vector index (IVF). That one is
    trained anew where more than `MOST_OUTSIDE` of the rows came after its training, or where the number of its
    partitions is off by a factor of more than two. Otherwise new rows are put into its partitions, as a second part
    that later ones are merged with: left to itself, Lance would join all partitions into one, and search all rows.
    A table without these answers the same questions, only slower, so a run that stops in between harms nothing.
    """
    names = {index.name for index in dataset.describe_indices()}
    done: Done = "nothing"
    if _ID_INDEX not in names:
        dataset.create_scalar_index("tune_id", "BTREE")
        done = "extended"
    elif unindexed(dataset, _ID_INDEX):
        dataset.optimize.optimize_indices(index_names=[_ID_INDEX])
        done = "extended"
    rows = dataset.count_rows()
    if rows >= VECTOR_INDEX_FROM and (_VECTOR_INDEX not in names or _is_worn(dataset, rows)):
        partitions = partitions_for(rows)
        dataset.create_index("vector", "IVF_FLAT", metric="cosine", num_partitions=partitions, replace=True)
        return "trained"
    if _VECTOR_INDEX in names and unindexed(dataset, _VECTOR_INDEX):
        later_parts = len(_segments(dataset)) - 1
        dataset.optimize.optimize_indices(index_names=[_VECTOR_INDEX], num_indices_to_merge=min(1, later_parts))
        return "extended"
    return done


def tidy(dataset: Any, *, kept_for: timedelta = KEPT_FOR) -> None:
    """Write small data files together where there are many, and drop what no tag names and is older than `kept_for`.

    A version with a tag is never dropped, nor are the files that it needs.
    """
    fragments = dataset.get_fragments()
    if sum(fragment.physical_rows < FULL_FILE for fragment in fragments) > MOST_SMALL_FILES:
        dataset.optimize.compact_files(target_rows_per_fragment=FULL_FILE)
    dataset.cleanup_old_versions(older_than=kept_for, error_if_tagged_old_versions=False)


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
    partitions, later = _trained(dataset)
    return f"IVF, {partitions} partitions, {later} rows came after its training"


def _is_worn(dataset: Any, rows: int) -> bool:
    partitions, later = _trained(dataset)
    return later > MOST_OUTSIDE * rows or abs(math.log2(partitions / partitions_for(rows))) > 1


def _trained(dataset: Any) -> tuple[int, int]:
    """How many partitions the vector index was trained with, and how many rows came later."""
    sizes = [sum(int(part["size"]) for part in segment["partitions"]) for segment in _segments(dataset)]
    largest = max(range(len(sizes)), key=lambda place: sizes[place])
    later = sum(sizes) - sizes[largest] + unindexed(dataset, _VECTOR_INDEX)
    return int(_segments(dataset)[largest]["num_partitions"]), later


def _segments(dataset: Any) -> list[Any]:
    statistics = dataset.stats.index_stats(_VECTOR_INDEX)
    found: list[Any] = statistics.get("segments", statistics.get("indices"))
    return found
