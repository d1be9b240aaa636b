"""What becomes of an index after its commits: compaction, vector index, versions with names, restore.

An index is quick to search when it has few data files and an approximate index that is extended, or trained anew. Each
run leaves one version with a name to go back to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from image2music.errors import TuneIndexError

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


def reindex(dataset: Any) -> Done:
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


def compact(dataset: Any) -> None:
    """Merge many small data files into few."""
    fragments = dataset.get_fragments()
    most = MOST_SMALL_FILES if _has_vector_index(dataset) else MOST_FILES_OF_A_BUILD
    if sum(fragment.physical_rows < FULL_FILE for fragment in fragments) > most:
        dataset.optimize.compact_files(target_rows_per_fragment=FULL_FILE)


def cleanup(dataset: Any, *, kept_for: timedelta = KEPT_FOR) -> None:
    """Remove versions and files that no tag names and is older than `kept_for`.

    A version with a tag keeps the files that it needs.
    """
    dataset.cleanup_old_versions(older_than=kept_for, error_if_tagged_old_versions=False)


def unindexed(dataset: Any, name: str) -> int:
    """Return the number of rows that an index does not know yet; a search looks at them one by one."""
    return int(dataset.stats.index_stats(name)["num_unindexed_rows"])


def kind(dataset: Any) -> str:
    """Return how the table is searched, in words for a person."""
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
    """Return how many rows the first graph was made of, deleted ones included, and how many came later."""
    sizes = [sum(int(part["size"]) for part in segment["partitions"]) for segment in _segments(dataset)]
    return max(sizes), sum(sizes) - max(sizes) + unindexed(dataset, _VECTOR_INDEX)


def _segments(dataset: Any) -> list[Any]:
    statistics = dataset.stats.index_stats(_VECTOR_INDEX)
    found: list[Any] = statistics.get("segments", statistics.get("indices"))
    return found


Run = Literal["build", "update", "restore"]


@dataclass(frozen=True)
class IndexVersion:
    """One version of the table. `made_at` is local time; `bytes` counts its data files; `tags` are its names."""

    version: int
    made_at: datetime
    rows: int
    bytes: int
    tags: tuple[str, ...]


def finalize(uri: str, run: Run) -> int:
    """Compact, index and clean up, name the newest version RUN-VERSION, and return that version.

    A second call does nothing: a run that was killed after its commit is finished by the next one.
    """
    dataset = _open(uri)
    compact(dataset)
    reindex(dataset)
    cleanup(dataset)
    version = int(dataset.latest_version)
    if version not in {tag["version"] for tag in dataset.tags.list().values()}:
        dataset.tags.create(f"{run}-{version}", version)
    return version


def history(uri: str) -> list[IndexVersion]:
    """Return every version that is still there, the oldest first.

    Raises:
        TuneIndexError: there is no table (`index_missing`).
    """
    dataset = _open(uri)
    tags: dict[int, list[str]] = {}
    for name, tag in sorted(dataset.tags.list().items()):
        tags.setdefault(tag["version"], []).append(name)
    return [_version(found, tuple(tags.get(found["version"], ()))) for found in dataset.versions()]


def restore(uri: str, name: str) -> int:
    """Make the rows of an earlier version, named by tag or number, the newest version; return its number.

    Nothing is deleted: what was the newest version stays in the history.

    Raises:
        TuneIndexError: there is no table (`index_missing`) or no such version (`no_such_version`).
    """
    dataset = _open(uri)
    known = {found.version: found for found in history(uri)}
    by_name = {tag: number for number, found in known.items() for tag in found.tags}
    number = by_name.get(name, int(name) if name.isascii() and name.isdigit() else 0)
    if number not in known:
        names = ", ".join(sorted(by_name, key=lambda tag: by_name[tag])) or "none"
        message = f"{uri} has no version {name!r}; its tags: {names}; --history lists all versions"
        raise TuneIndexError(message, reason="no_such_version")
    dataset.checkout_version(number).restore()
    return finalize(uri, "restore")


def _version(found: dict[str, Any], tags: tuple[str, ...]) -> IndexVersion:
    metadata = found["metadata"]
    rows, size = int(metadata.get("total_rows", 0)), int(metadata.get("total_files_size", 0))
    return IndexVersion(int(found["version"]), found["timestamp"], rows, size, tags)


def _open(uri: str) -> Any:
    import lance

    try:
        return lance.dataset(uri)
    except (ValueError, OSError) as error:
        message = (
            f"no tune index at {uri}; make one with: image2music index --captions FILE --midi_root DIR --index {uri}"
        )
        raise TuneIndexError(message, reason="index_missing") from error
