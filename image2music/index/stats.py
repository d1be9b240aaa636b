"""Counts and measurements of a tune index, for `index --stats`."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import numpy as np

from image2music.index.maintenance import kind
from image2music.index.table import TuneIndex
from image2music.storage.index_files import open_index_files

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
