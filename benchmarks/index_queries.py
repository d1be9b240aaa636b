"""How fast, and how well, an index finds the tunes for captions that it has not seen."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.generated_captions import Music, midicaps_row
from benchmarks.notebook import Figures
from benchmarks.samples import SEED
from image2music.embedders.base import load_embedder
from image2music.images.scene import Scene
from image2music.index.table import TuneIndex, open_index
from image2music.loop.recall import recall as recall_references

K = 5
PICTURES = 1000
_APPROXIMATE, _EXACT = 300, 40
_SAME = 1e-6


def queries(table: Path) -> Figures:
    """One search after the other, by the index and exactly, taking turns; recall of the first over all of them."""
    index = open_index(str(table))
    vectors = unseen_vectors(index, _APPROXIMATE)
    ids, matrix = _all_vectors(index)
    places = {tune_id: place for place, tune_id in enumerate(ids)}
    index.nearest_ids(vectors[0], K, exact=True)
    fast, slow, in_memory, found = [], [], [], []
    for number, vector in enumerate(vectors):
        started = time.perf_counter()
        nearest = index.nearest_ids(vector, K)
        fast.append(time.perf_counter() - started)
        found.append(recall(matrix @ vector, [places[tune_id] for tune_id in nearest]))
        if number % (_APPROXIMATE // _EXACT) == 0:
            slow.append(_timed(lambda vector=vector: index.nearest_ids(vector, K, exact=True)))
            in_memory.append(_timed(lambda vector=vector: np.argpartition(-(matrix @ vector), K)[:K]))
    return {
        "rows": index.rows,
        "queries": len(fast),
        "query_ms": 1000 * median(fast),
        "query_p95_ms": 1000 * float(np.quantile(fast, 0.95)),
        "recall": float(np.mean(found)),
        "exact_queries": len(slow),
        "exact_ms": 1000 * median(slow),
        "numpy_ms": 1000 * median(in_memory),
        "picture_ms": 1000 * median(_pictures_one_by_one(index, vectors)),
    }


def batch(table: Path) -> Figures:
    """1,000 pictures' vectors in one pass over the table, and some of them one by one: exactly, both."""
    index = open_index(str(table))
    vectors = unseen_vectors(index, PICTURES)
    index.search_all(vectors[:8], K)
    together = _timed(lambda: index.search_all(vectors, K))
    one_by_one = [_timed(lambda vector=vector: index.nearest_ids(vector, K, exact=True)) for vector in vectors[:_EXACT]]
    return {
        "pictures": len(vectors),
        "batch_query_ms": 1000 * together / len(vectors),
        "exact_ms": 1000 * float(np.mean(one_by_one)),
        "exact_queries": len(one_by_one),
    }


def unseen_vectors(index: TuneIndex, count: int) -> NDArray[np.float32]:
    """Captions of music that is in no file, by the index's own embedder: unit float32[count, dim]."""
    music = Music((0, 40, 128), ("Piano", "Violin", "Drums"), (7, False), "4/4", 96.0, 150.0)
    drawn = (random.Random(f"{SEED} query {number}") for number in range(count))
    texts = [midicaps_row("none.mid", music, rng)["caption"] for rng in drawn]
    return load_embedder(index.embedder_spec).embed_texts(texts)


def _pictures_one_by_one(index: TuneIndex, vectors: NDArray[np.float32]) -> list[float]:
    """Seconds of the whole retrieval of `compose`: two searches, copies collapsed, what suits chosen, music read."""
    scene = Scene("a lake", valence=0.3, arousal=0.4)
    pairs = [(vectors[place], vectors[place + 1]) for place in range(0, 100, 2)]
    recall_references(index, pairs[:1], [scene], 3)
    return [_timed(lambda pair=pair: recall_references(index, [pair], [scene], 3)) for pair in pairs]


def _all_vectors(index: TuneIndex) -> tuple[list[str], NDArray[np.float32]]:
    table = index.dataset().to_table(columns=["tune_id", "vector"])
    values = np.asarray(table["vector"].combine_chunks().values, dtype=np.float32)
    return table["tune_id"].to_pylist(), values.reshape(-1, index.dim)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def recall(similarities: NDArray[np.float32], found: Sequence[int]) -> float:
    """Share of the `len(found)` best rows that were found; of equally near ones any is right."""
    least = np.partition(similarities, -len(found))[-len(found)] - _SAME
    return float(np.mean(similarities[list(found)] >= least))
