"""The rows nearest to many vectors, exactly, in one pass over the table.

A search in the vector index costs milliseconds before it looks at anything. For hundreds of vectors a matrix product
with every row of the table is quicker, misses nothing, and needs no index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from image2music.embedders.base import Vectors

MOST_QUERIES = 1024
"""Vectors that are held against the table at once."""

_BLOCK = 8192
"""Rows of the table at once: with `MOST_QUERIES` 32 MB of products."""


def nearest_rows(dataset: Any, queries: Vectors, count: int, where: str = "") -> list[list[int]]:
    """The `_rowid` of the `count` rows with the largest products with each of float32[n, dim], best first.

    Fewer where the filter `where` lets fewer through. Memory: one block of the table, and its products.
    """
    return [
        found
        for start in range(0, len(queries), MOST_QUERIES)
        for found in _nearest(dataset, queries[start : start + MOST_QUERIES], count, where)
    ]


def _nearest(dataset: Any, queries: Vectors, count: int, where: str) -> list[list[int]]:
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
        """One more block; products are float32[queries, rows]."""
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
        """For each query, best first."""
        bounds = np.searchsorted(self._queries, np.arange(len(self._least) + 1))
        ids = self._rows.tolist()
        return [ids[a:b] for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]
