"""What makes the tune index quick to search: few data files, and an approximate index, extended or trained anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

VECTOR_INDEX_FROM = 20_000
"""Rows from which an approximate index pays: below, an exact search takes a few milliseconds and misses nothing."""

MOST_OUTSIDE = 0.2
"""Share of the rows that may have come after the vector index was trained, before it is trained anew."""

MOST_FILES_OF_A_BUILD, MOST_SMALL_FILES = 16, 100
"""Data files below `FULL_FILE` rows each before they are written together, without a vector index and with one. A build
leaves one for 4,096 rows, and each holds some of what a search finds: with forty of them it took half as long again.
Those of updates hold few rows, and rows that the vector index knows cost as much to move as two updates."""

FULL_FILE = 65_536
"""Rows."""

KEPT_FOR = timedelta(days=7)
"""How long versions without a tag stay, and data files that no version names: a run may still be at work on them."""

_ID_INDEX, _VECTOR_INDEX = "tune_id_idx", "vector_idx"

Done = Literal["nothing", "extended", "trained"]


def bring_up_to_date(dataset: Any) -> Done:
    """Index every row of a LanceDB dataset at its newest version; each step is a commit of its own.

    There is always a scalar index on tune_id, and from `VECTOR_INDEX_FROM` rows on a vector index: one graph of near
    neighbours (HNSW, Malkov and Yashunin 2016) over vectors of 8 bits a number. Partitions (IVF) serve embeddings of
    captions badly: for a recall of .99 a third of them has to be searched. The graph is made anew where more than
    `MOST_OUTSIDE` of the rows came later, or where more than half of its rows have gone. Otherwise new rows form a
    second graph, which later ones are merged with.
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
        dataset.create_index("vector", "IVF_HNSW_SQ", metric="cosine", num_partitions=1, replace=True)
        return "trained"
    if _VECTOR_INDEX in names and unindexed(dataset, _VECTOR_INDEX):
        later_parts = len(_segments(dataset)) - 1
        dataset.optimize.optimize_indices(index_names=[_VECTOR_INDEX], num_indices_to_merge=min(1, later_parts))
        return "extended"
    return done


def write_together(dataset: Any) -> None:
    """Make few data files of many small ones."""
    fragments = dataset.get_fragments()
    most = MOST_SMALL_FILES if _has_vector_index(dataset) else MOST_FILES_OF_A_BUILD
    if sum(fragment.physical_rows < FULL_FILE for fragment in fragments) > most:
        dataset.optimize.compact_files(target_rows_per_fragment=FULL_FILE)


def tidy(dataset: Any, *, kept_for: timedelta = KEPT_FOR) -> None:
    """Drop what no tag names and is older than `kept_for`. A version with a tag keeps the files that it needs."""
    dataset.cleanup_old_versions(older_than=kept_for, error_if_tagged_old_versions=False)


def unindexed(dataset: Any, name: str) -> int:
    """Rows that an index does not know yet: a search looks at them one by one."""
    return int(dataset.stats.index_stats(name)["num_unindexed_rows"])


def kind(dataset: Any) -> str:
    """How the table is searched, for a person."""
    if not _has_vector_index(dataset):
        return "exact"
    _, later = _trained(dataset)
    return f"HNSW, {later} rows came after it was made"


def _has_vector_index(dataset: Any) -> bool:
    return _VECTOR_INDEX in {index.name for index in dataset.describe_indices()}


def _is_worn(dataset: Any, rows: int) -> bool:
    trained, later = _trained(dataset)
    return later > MOST_OUTSIDE * rows or trained > 2 * rows


def _trained(dataset: Any) -> tuple[int, int]:
    """How many rows the first graph was made of, those that have gone since included, and how many came later."""
    sizes = [sum(int(part["size"]) for part in segment["partitions"]) for segment in _segments(dataset)]
    return max(sizes), sum(sizes) - max(sizes) + unindexed(dataset, _VECTOR_INDEX)


def _segments(dataset: Any) -> list[Any]:
    statistics = dataset.stats.index_stats(_VECTOR_INDEX)
    found: list[Any] = statistics.get("segments", statistics.get("indices"))
    return found
