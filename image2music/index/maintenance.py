"""What becomes of an index after its commits: compaction, vector index, versions with names, restore, statistics.

An index is quick to search when it has few data files and an approximate index that is extended, or trained anew. Each
run leaves one version with a name to go back to.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import Any, Literal

import numpy as np

from image2music.errors import ConfigError, TuneIndexError
from image2music.index.table import TuneIndex
from image2music.storage.output import open_index_files

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
        message = f"{uri} has no version {name!r}; its tags: {names}; the history lists all versions"
        raise TuneIndexError(message, reason="no_such_version")
    dataset.checkout_version(number).restore()
    return finalize(uri, "restore")


def check_embedder(index: TuneIndex, spec: str, embedder_id: str) -> None:
    """Check that an embedder, named `spec`, is the one that made the index.

    Raises:
        TuneIndexError: it is another one (`other_embedder`); the message names the command which embeds it again.
    """
    if embedder_id != index.embedder_id:
        choice = "leave --embedder away, or" if spec != index.embedder_spec else "to"
        message = (
            f"{index.uri} was made with the embedder {index.embedder_id}, and {spec} is {embedder_id}; "
            f"{choice} embed it again: {_command_again(index.uri, spec)}"
        )
        raise TuneIndexError(message, reason="other_embedder")


def _command_again(uri: str, spec: str) -> str:
    run = open_index_files(uri).run
    try:
        made_with = run.read().get("options", {}) if run.exists() else {}
    except ConfigError:  # a broken record of a run is no reason to say less than the names of the options
        made_with = {}
    given = {"captions": "CAPTIONS", "midi_root": "FOLDER"}
    words = [word for name, value in given.items() for word in (f"--{name}", made_with.get(name) or value)]
    return shlex.join(["image2music", "index", *words, "--index", uri, "--embedder", spec])


def _version(found: dict[str, Any], tags: tuple[str, ...]) -> IndexVersion:
    metadata = found["metadata"]
    rows, size = int(metadata.get("total_rows", 0)), int(metadata.get("total_files_size", 0))
    return IndexVersion(int(found["version"]), found["timestamp"], rows, size, tags)


def _open(uri: str) -> Any:
    import lance

    try:
        return lance.dataset(uri)
    except (ValueError, OSError) as error:
        message = f"no tune index at {uri}; make one with the command index (see: image2music index --help)"
        raise TuneIndexError(message, reason="index_missing") from error


_COLUMNS = [
    "caption",
    "music_id",
    "key",
    "meter",
    "tempo_qpm",
    "duration_s",
    "bars",
    "voices",
    "genre",
    "mood",
    "instruments",
]
_NUMBERS = ("tempo_qpm", "duration_s", "bars", "voices")
_NAMES = ("key", "meter", "genre", "mood", "instruments")
_SEED = 0


@dataclass(frozen=True)
class ColumnSpread:
    """Smallest, middle and largest value of a column, and its quartiles."""

    least: float
    lower: float
    middle: float
    upper: float
    most: float


@dataclass(frozen=True)
class IndexStats:
    """Counts over all rows; what a search finds and how long it takes over a sample of stored vectors.

    `recall` is the share of the exact search's k best that the index finds. `same_music` and `same_caption` count
    rows beyond the first with the same music (by `music_id`), or the same caption.
    """

    index: TuneIndex
    bytes: int
    search: str
    names: dict[str, Counter[str]]
    numbers: dict[str, ColumnSpread]
    same_music: int
    same_caption: int
    recall: float
    query_ms: float
    exact_ms: float
    sample: int
    k: int


def index_stats(index: TuneIndex, *, sample: int = 50, k: int = 5) -> IndexStats:
    """Read the columns that are counted, and search for `sample` of the rows."""
    dataset = index.dataset()
    names: dict[str, Counter[str]] = {name: Counter() for name in _NAMES}
    numbers: dict[str, list[float]] = {name: [] for name in _NUMBERS}
    music: set[str] = set()
    texts: set[bytes] = set()
    for batch in dataset.to_batches(columns=_COLUMNS):
        for row in batch.to_pylist():
            for name in _NAMES:
                names[name].update(_texts(row[name]))
            for name in _NUMBERS:
                if row[name] is not None:
                    numbers[name].append(float(row[name]))
            music.add(row["music_id"])
            texts.add(hashlib.sha256(row["caption"].encode()).digest())
    queries = _sample(dataset, index.rows, sample)
    fast, found = _timed(index, queries, k, exact=False)
    slow, right = _timed(index, queries, k, exact=True)
    return IndexStats(
        index=index,
        bytes=open_index_files(index.uri).size(),
        search=kind(dataset),
        names=names,
        numbers={name: column_spread(values) for name, values in numbers.items() if values},
        same_music=index.rows - len(music),
        same_caption=index.rows - len(texts),
        recall=sum(len(a & b) for a, b in zip(found, right, strict=True)) / sum(map(len, right)),
        query_ms=fast,
        exact_ms=slow,
        sample=len(queries),
        k=k,
    )


def column_spread(values: Sequence[float]) -> ColumnSpread:
    """Return the spread of one value or more."""
    lower, middle, upper = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return ColumnSpread(min(values), lower, middle, upper, max(values))


def _texts(value: Any) -> list[str]:
    return list(value or ()) if isinstance(value, list) or value is None else [value]


def _sample(dataset: Any, rows: int, sample: int) -> list[Any]:
    places = np.random.default_rng(_SEED).choice(rows, size=min(sample, rows), replace=False)
    vectors = dataset.take(sorted(int(place) for place in places), columns=["vector"])["vector"].to_pylist()
    return [np.asarray(vector, dtype=np.float32) for vector in vectors]


def _timed(index: TuneIndex, queries: Sequence[Any], k: int, *, exact: bool) -> tuple[float, list[set[str]]]:
    """Return the median milliseconds of a search, after one that warms up, and what each found."""
    index.nearest_ids(queries[0], k, exact=exact)
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(set(index.nearest_ids(query, k, exact=exact)))
        times.append(1000 * (time.perf_counter() - start))
    return median(times), found
