"""The tunes nearest to a picture, and what may become a reference: searches at the pinned version, each music once.

A search in the vector index costs milliseconds before it looks at anything. For hundreds of vectors a matrix product
with every row of the table is quicker, misses nothing, and needs no index (`search_all`). References are either both
searches joined by rank fusion, or candidates that recall ranks: of these only the columns that tell whether a tune
suits are read, with how near the index is to the picture anyway, and the music of those that were chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from image2music.embedders.base import Vectors
from image2music.music.metrics import Metrics
from image2music.types import MatchedBy, Reference
from schemas.tune import LATER_COLUMNS

_RANK_OFFSET = 60


@dataclass(frozen=True)
class Hit:
    """A row of the index and its cosine to the query."""

    tune_id: str
    row_hash: str
    location: str
    caption: str
    abc: str
    metrics: Metrics
    music_id: str
    similarity: float
    licence: str | None = None
    source: str | None = None


def merge(by_text: Sequence[Hit], by_image: Sequence[Hit]) -> tuple[Reference, ...]:
    """Return every music that either search found (best hit first), best first by reciprocal rank fusion.

    Similarities of descriptions and of pictures lie on different scales, so only ranks are compared: a music scores
    the sum of 1 / (60 + rank) over the lists it is in (Cormack, Clarke, Buettcher, SIGIR 2009). On a tie the hit of
    the description comes first, then the smaller id. Where the searches found different copies of one music, the copy
    with the better rank stands for it, on a tie that of the description; each similarity is that of its own search.
    """
    texts = {hit.music_id: (rank, hit) for rank, hit in enumerate(by_text, start=1)}
    images = {hit.music_id: (rank, hit) for rank, hit in enumerate(by_image, start=1)}

    def order(music: str) -> tuple[float, bool, str]:
        found = [hits[music] for hits in (texts, images) if music in hits]
        return -sum(1 / (_RANK_OFFSET + rank) for rank, _ in found), music not in texts, found[0][1].tune_id

    return tuple(_reference(texts.get(key), images.get(key)) for key in sorted(texts.keys() | images.keys(), key=order))


def _reference(text: tuple[int, Hit] | None, image: tuple[int, Hit] | None) -> Reference:
    _, hit = min((found for found in (text, image) if found), key=lambda found: found[0])
    return Reference(
        tune_id=hit.tune_id,
        row_hash=hit.row_hash,
        location=hit.location,
        caption=hit.caption,
        abc=hit.abc,
        metrics=hit.metrics,
        similarity_text=text[1].similarity if text else None,
        similarity_image=image[1].similarity if image else None,
        matched_by=matched_by(text is not None, image is not None),
        licence=hit.licence,
        source=hit.source,
    )


def matched_by(text: bool, image: bool) -> MatchedBy:
    """Return which searches found a tune, at least one of them."""
    if text and image:
        return "both"
    return "text" if text else "image"


MOST_QUERIES = 1024
"""Vectors that are held against the table at once."""

_BLOCK = 8192
"""Rows of the table at once: with `MOST_QUERIES` 32 MB of products."""


def nearest_rows(dataset: Any, queries: Vectors, count: int, where: str = "") -> list[list[int]]:
    """Return the `_rowid` of the `count` rows with the largest products with each of float32[n, dim], best first.

    Fewer where the filter `where` lets fewer through. Memory: one block of the table, and its products.
    """
    return [
        found
        for start in range(0, len(queries), MOST_QUERIES)
        for found in _nearest_in_blocks(dataset, queries[start : start + MOST_QUERIES], count, where)
    ]


def _nearest_in_blocks(dataset: Any, queries: Vectors, count: int, where: str) -> list[list[int]]:
    best = _Best(len(queries), count)
    for rows, vectors in _blocks(dataset, where):
        best.add(rows, queries @ vectors.T)
    return best.rows()


def _blocks(dataset: Any, where: str) -> Iterator[tuple[NDArray[np.uint64], Vectors]]:
    scanner = dataset.scanner(columns=["vector"], filter=where or None, with_row_id=True, batch_size=_BLOCK)
    for batch in filter(len, scanner.to_batches()):  # a filter may leave nothing of one
        values = np.asarray(batch["vector"].flatten(), dtype=np.float32)
        yield np.asarray(batch["_rowid"]), values.reshape(len(batch), -1)


class _Best:
    """The best rows of each query so far: queries int64, rows uint64 and products float32, sorted by query, best first.

    `least` is the product that a row needs to be among a query's best.
    """

    def __init__(self, queries: int, count: int) -> None:
        self._count = count
        self._queries, self._rows = np.empty(0, np.int64), np.empty(0, np.uint64)
        self._products = np.empty(0, np.float32)
        self._least = np.full(queries, -np.inf, dtype=np.float32)

    def add(self, rows: NDArray[np.uint64], products: Vectors) -> None:
        """Take in one more block; products are float32[queries, rows]."""
        if not len(self._rows) and len(rows) > self._count:
            self._least = np.partition(products, -self._count, axis=1)[:, -self._count]
        hopeful = np.flatnonzero(products.max(axis=1) >= self._least)
        at, column = np.nonzero(products[hopeful] >= self._least[hopeful, None])
        at = hopeful[at]
        self._keep_best(
            np.concatenate([self._queries, at]),
            np.concatenate([self._rows, rows[column]]),
            np.concatenate([self._products, products[at, column]]),
        )

    def _keep_best(self, queries: NDArray[np.int64], rows: NDArray[np.uint64], products: Vectors) -> None:
        order = np.lexsort((-products, queries))
        queries, rows, products = queries[order], rows[order], products[order]
        firsts = np.searchsorted(queries, queries)
        rank = np.arange(len(queries)) - firsts
        kept = rank < self._count
        self._queries, self._rows, self._products = queries[kept], rows[kept], products[kept]
        full = kept & (rank == self._count - 1)
        self._least[queries[full]] = products[full]

    def rows(self) -> list[list[int]]:
        """Return the rows of each query, best first."""
        bounds = np.searchsorted(self._queries, np.arange(len(self._least) + 1))
        ids = self._rows.tolist()
        return [ids[a:b] for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


_BREADTH = 256
"""Rows that the walk through the vector index's graph keeps in view; behind a filter as many more as it lets fewer
rows through. Descriptions are found with 64 as well as exactly; pictures, which lie further off, need this."""

_REFINED = 3
"""Times as many rows as asked for whose full vectors LanceDB compares, where it alone says which are nearest."""

_BEYOND = 8
"""Rows looked at beyond those asked for, by their full vectors: the graph knows them by 8 bits a number. So one pass
is enough where few are copies or equally near."""

_MOST = 512
"""Rows looked at for one query: where all of them are copies of fewer tunes, fewer are found."""

_SAME = 1e-6
"""Cosines that differ by less are equally near, for LanceDB computes them in another precision."""
_NEAREST_COLUMNS = ["tune_id", "music_id", "vector"]
_HIT_COLUMNS = ["tune_id", "row_hash", "location", "caption", "abc", "metrics", "music_id"]


def later_columns(dataset: Any) -> list[str]:
    """Return which of `LATER_COLUMNS` a table has."""
    return [column.name for column in LATER_COLUMNS if column.name in dataset.schema.names]


class Near(NamedTuple):
    """A row that a search found. Sorts best first: by cosine, then by tune_id."""

    distance: float
    tune_id: str
    music_id: str
    row: int


class _Stored(NamedTuple):
    """A row of the table; its vector is float64[dim]."""

    vector: NDArray[np.float64]
    tune_id: str
    music_id: str
    row: int

    def near(self, query: NDArray[np.float32]) -> Near:
        """Return how near it is to a query."""
        return Near(-float(self.vector @ query.astype(np.float64)), self.tune_id, self.music_id, self.row)


def search(dataset: Any, queries: NDArray[np.float32], k: int, where: str = "", share: float = 1.0) -> list[list[Hit]]:
    """Return the k tunes nearest to each row of float32[n, dim] (unit length), best first, ties by tune_id.

    Tunes with the same `music_id` count once, as the nearest of them. Rows are looked at in growing numbers until k
    different ones are found and none that is as near as the last of them can be left out. The filter `where`, which
    lets `share` of the rows through, comes before the search. Similarities are computed again from the stored
    vectors, pair by pair: they depend neither on the kind of index nor on the other queries.
    """
    return _hits(dataset, near(dataset, queries, k, where, share))


def search_all(dataset: Any, queries: NDArray[np.float32], k: int, where: str = "") -> list[list[Hit]]:
    """Search as `search` does, but compare every row with every query.

    Nothing is missed. It pays from some hundred queries on.
    """
    return _hits(dataset, near_of_all(dataset, queries, k, where))


def near(dataset: Any, queries: NDArray[np.float32], k: int, where: str = "", share: float = 1.0) -> list[list[Near]]:
    """Return which rows `search` finds, without reading them."""

    def nearest(some: NDArray[np.float32], wanted: int) -> list[list[Near]]:
        return _nearest(dataset, some, _question(some, wanted, share), where)

    return _search(queries, k, nearest)


def near_of_all(dataset: Any, queries: NDArray[np.float32], k: int, where: str = "") -> list[list[Near]]:
    """Return which rows `search_all` finds, without reading them."""
    return _search(queries, k, lambda some, wanted: _nearest_of_all(dataset, some, wanted, where))


def _search(
    queries: NDArray[np.float32], k: int, nearest: Callable[[NDArray[np.float32], int], list[list[Near]]]
) -> list[list[Near]]:
    found: dict[int, list[Near]] = {}
    places, wanted = list(range(len(queries))), k + _BEYOND
    while places:
        looked = dict(zip(places, nearest(queries[places], wanted), strict=True))
        found |= looked
        open_ended = [place for place in places if len(looked[place]) == wanted < _MOST]
        places = [place for place in open_ended if not _settled(looked[place], k)]
        wanted = min(4 * wanted, _MOST)
    return [different(found[place])[:k] for place in range(len(queries))]


def nearest_ids(
    dataset: Any, query: NDArray[np.float32], k: int, where: str = "", share: float = 1.0, *, exact: bool = False
) -> list[str]:
    """Return the tune_id of the k nearest rows, best first, copies and all; `exact` looks at every row."""
    nearest = _question(query, k, share) | ({"use_index": False} if exact else {"refine_factor": _REFINED})
    table = _scan(dataset, ["tune_id"], nearest, where)
    ids: list[str] = table["tune_id"].to_pylist()
    return ids


def different(rows: Iterable[Near]) -> list[Near]:
    """Return the best row of each music, best first."""
    best: dict[str, Near] = {}
    for row in sorted(rows):
        best.setdefault(row.music_id, row)
    return list(best.values())


def _settled(rows: Sequence[Near], k: int) -> bool:
    best = different(rows)[:k]
    return len(best) == k and max(rows).distance > best[-1].distance + _SAME


def _nearest(dataset: Any, queries: NDArray[np.float32], question: dict[str, Any], where: str) -> list[list[Near]]:
    table = _scan(dataset, _NEAREST_COLUMNS, question, where)
    places = table["query_index"].to_pylist() if "query_index" in table.schema.names else [0] * len(table)
    found: list[list[Near]] = [[] for _ in queries]
    for place, row in zip(places, _stored(table), strict=True):
        found[place].append(row.near(queries[place]))
    return found


def _nearest_of_all(dataset: Any, queries: NDArray[np.float32], count: int, where: str) -> list[list[Near]]:
    rows = nearest_rows(dataset, queries, count, where)
    known = {
        one.row: one for one in _stored(rows_by_id(dataset, {row for found in rows for row in found}, _NEAREST_COLUMNS))
    }
    return [[known[row].near(query) for row in found] for query, found in zip(queries, rows, strict=True)]


def _stored(table: Any) -> list[_Stored]:
    vectors = np.array(table["vector"].combine_chunks().values, dtype=np.float64).reshape(len(table), -1)
    columns = (table[name].to_pylist() for name in ("tune_id", "music_id", "_rowid"))
    return [_Stored(*row) for row in zip(vectors, *columns, strict=True)]


def _question(query: NDArray[np.float32], k: int, share: float) -> dict[str, Any]:
    breadth = math.ceil(max(_BREADTH, _REFINED * k) / share)
    return {"column": "vector", "q": query, "k": k, "metric": "cosine", "ef": breadth}


def _scan(dataset: Any, columns: list[str], nearest: dict[str, Any], where: str) -> Any:
    return dataset.to_table(
        columns=columns,
        nearest=nearest,
        filter=where or None,
        prefilter=bool(where),
        with_row_id=True,
        disable_scoring_autoprojection=True,
    )


def _hits(dataset: Any, found: Sequence[Sequence[Near]]) -> list[list[Hit]]:
    """Read the chosen rows. The music is read for the rows that were chosen only, and once for all queries."""
    columns = [*_HIT_COLUMNS, *later_columns(dataset)]
    table = rows_by_id(dataset, {near.row for rows in found for near in rows}, columns)
    rows = {row["tune_id"]: row | {"metrics": Metrics(**row["metrics"])} for row in table.select(columns).to_pylist()}
    return [[Hit(**rows[near.tune_id], similarity=-near.distance) for near in nearest] for nearest in found]


def rows_by_id(dataset: Any, ids: Collection[int], columns: list[str]) -> Any:
    """Return some columns of the rows with these `_rowid`, which come too, in no order."""
    chosen = f"_rowid IN ({', '.join(map(str, sorted(ids)))})" if ids else "false"
    return dataset.to_table(columns=columns, filter=chosen, with_row_id=True)


T = TypeVar("T", float, NDArray[np.float64])


@dataclass(frozen=True)
class Candidate:
    """A row that may become a reference: what tells whether it suits, and not yet its music.

    `row` is its `_rowid`. Similarities are cosines; None where that search missed it. `mood` and `genre` are the data
    set's words.
    """

    row: int
    tune_id: str
    caption: str
    key: str
    tempo_qpm: float
    mood: tuple[str, ...]
    genre: tuple[str, ...]
    similarity_text: float | None
    similarity_image: float | None


@dataclass(frozen=True)
class Background:
    """How near the tunes of an index are to a query, near or not: mean and standard deviation of a sample's cosines."""

    mean: float
    spread: float

    def above(self, similarity: T) -> T:
        """Return by how many standard deviations a cosine, or each of many, lies above the mean."""
        return (similarity - self.mean) / max(self.spread, _LEAST_SPREAD)


@dataclass(frozen=True)
class Candidates:
    """What two searches found for one picture, in no order that counts, and the background of either.

    Without a background (None) the index is too small to tell near from far. `rows` is the size of its sample.
    """

    found: tuple[Candidate, ...]
    text: Background | None
    image: Background | None
    rows: int


_SAMPLE, _FEWEST = 1024, 16
_LEAST_SPREAD = 1e-3
_TRAIT_COLUMNS = ["caption", "key", "tempo_qpm", "mood", "genre"]
_READ_COLUMNS = ["row_hash", "location", "abc", "metrics"]


def sample_of(dataset: Any) -> NDArray[np.float64]:
    """Return the vectors float64[about 1024, dim] of the rows with the least tune_id, all where there are no more.

    Ids are digests, so these are any rows, and the same ones however the rows are stored.
    """
    rows = dataset.count_rows()
    chosen = f"tune_id < '{16**8 * _SAMPLE // rows:08x}'" if rows > _SAMPLE else None
    table = dataset.to_table(columns=["vector"], filter=chosen)
    values = np.asarray(table["vector"].combine_chunks().values, dtype=np.float64)
    return values.reshape(len(table), -1)


def background_of(sample: NDArray[np.float64], query: NDArray[np.float32]) -> Background | None:
    """Return the background of a query; None for a sample of fewer than 16 rows."""
    if len(sample) < _FEWEST:
        return None
    cosines = sample @ query.astype(np.float64)
    return Background(float(cosines.mean()), float(cosines.std()))


def candidates_of(
    dataset: Any, sample: NDArray[np.float64], queries: NDArray[np.float32], found: Sequence[Sequence[Near]]
) -> list[Candidates]:
    """Return the candidates of each pair of queries: every music that either search found.

    Where the searches found different copies of one music, the copy with the better rank stands for it, on a tie that
    of the description. Columns are read once for all pairs.
    """
    table = rows_by_id(dataset, {near.row for rows in found for near in rows}, _TRAIT_COLUMNS)
    traits = {row["_rowid"]: row for row in table.to_pylist()}
    return [
        Candidates(
            tuple(_candidate(traits, texts.get(key), images.get(key)) for key in texts | images),
            background_of(sample, text),
            background_of(sample, image),
            len(sample),
        )
        for text, image, texts, images in zip(
            queries[::2], queries[1::2], map(_by_music, found[::2]), map(_by_music, found[1::2]), strict=True
        )
    ]


def _by_music(rows: Sequence[Near]) -> dict[str, tuple[int, Near]]:
    return {near.music_id: (rank, near) for rank, near in enumerate(rows)}


def _candidate(
    traits: dict[int, dict[str, Any]], text: tuple[int, Near] | None, image: tuple[int, Near] | None
) -> Candidate:
    _, near = min((found for found in (text, image) if found), key=lambda found: found[0])
    row = traits[near.row]
    return Candidate(
        row=near.row,
        tune_id=near.tune_id,
        caption=row["caption"],
        key=row["key"],
        tempo_qpm=row["tempo_qpm"],
        mood=tuple(row["mood"] or ()),
        genre=tuple(row["genre"] or ()),
        similarity_text=-text[1].distance if text else None,
        similarity_image=-image[1].distance if image else None,
    )


def read_references(dataset: Any, chosen: Sequence[Sequence[Candidate]]) -> list[tuple[Reference, ...]]:
    """Read the music of the candidates that were chosen, once for all pictures, in the order given."""
    columns = [*_READ_COLUMNS, *later_columns(dataset)]
    table = rows_by_id(dataset, {one.row for some in chosen for one in some}, columns)
    rows = {row.pop("_rowid"): row | {"metrics": Metrics(**row["metrics"])} for row in table.to_pylist()}
    return [tuple(_recalled(one, rows[one.row]) for one in some) for some in chosen]


def _recalled(one: Candidate, row: dict[str, Any]) -> Reference:
    return Reference(
        tune_id=one.tune_id,
        caption=one.caption,
        similarity_text=one.similarity_text,
        similarity_image=one.similarity_image,
        matched_by=matched_by(one.similarity_text is not None, one.similarity_image is not None),
        **row,
    )
