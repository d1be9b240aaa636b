"""The tune index: a LanceDB table, written by many workers and committed once, searched at a pinned version."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from image2music.errors import TuneIndexError
from image2music.notation.metrics import Metrics
from image2music.retrieval import Hit
from schemas.tune import tune_schema

VECTOR_INDEX_FROM = 20_000
"""Rows from which an approximate index pays: below, an exact search takes a few milliseconds and misses nothing."""

_PROBES = 30
_TIES = 8
"""Rows looked at beyond k, so that of equally near tunes the same ones are always taken."""

_HIT_COLUMNS = ["tune_id", "row_hash", "location", "caption", "abc", "metrics", "vector"]


@dataclass(frozen=True)
class TuneIndex:
    """An index at one version. `embedder_spec` is what `--embedder` was when it was made."""

    uri: str
    version: int
    rows: int
    dim: int
    embedder_id: str
    embedder_spec: str

    def search(self, query: NDArray[np.float32], k: int) -> list[Hit]:
        """The k tunes nearest to a unit vector float32[dim], best first, ties by tune_id.

        Similarities are computed again from the stored vectors, so that they do not depend on the kind of index.
        """
        nearest = {"column": "vector", "q": query, "k": k + _TIES, "metric": "cosine", "nprobes": _PROBES}
        dataset = _dataset(self.uri, self.version)
        found = dataset.to_table(columns=_HIT_COLUMNS, nearest=nearest, disable_scoring_autoprojection=True)
        hits = [_hit(row, query) for row in found.to_pylist()]
        return sorted(hits, key=lambda hit: (-hit.similarity, hit.tune_id))[:k]


def _hit(row: dict[str, Any], query: NDArray[np.float32]) -> Hit:
    vector = np.asarray(row.pop("vector"), dtype=np.float64)
    metrics = Metrics(**row.pop("metrics"))
    return Hit(**row, metrics=metrics, similarity=float(vector @ query.astype(np.float64)))


@cache
def _dataset(uri: str, version: int) -> Any:
    import lance

    return lance.dataset(uri, version=version)


def open_index(uri: str) -> TuneIndex:
    """The newest version of an index.

    Raises:
        TuneIndexError: there is none (`index_missing`), it has no rows (`index_empty`), or it is some other table
            (`index_foreign`).
    """
    import lance

    try:
        dataset = lance.dataset(uri)
    except (ValueError, OSError) as error:
        message = f"no tune index at {uri}; make one with: image2music index --index {uri}"
        raise TuneIndexError(message, reason="index_missing") from error
    metadata = dataset.schema.metadata or {}
    if b"embedder_id" not in metadata or b"embedder_spec" not in metadata:
        message = f"{uri} is a table, but not one that `image2music index` made"
        raise TuneIndexError(message, reason="index_foreign")
    rows = dataset.count_rows()
    if rows == 0:
        raise TuneIndexError(f"the tune index at {uri} has no rows; make it anew", reason="index_empty")
    return TuneIndex(
        uri=uri,
        version=dataset.version,
        rows=rows,
        dim=dataset.schema.field("vector").type.list_size,
        embedder_id=metadata[b"embedder_id"].decode(),
        embedder_spec=metadata[b"embedder_spec"].decode(),
    )


def index_schema(dim: int, *, embedder_id: str, embedder_spec: str) -> pa.Schema:
    """The table's schema, which also says who embedded it."""
    return tune_schema(dim).with_metadata({"embedder_id": embedder_id, "embedder_spec": embedder_spec})


def write_fragments(uri: str, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> list[str]:
    """Write rows as data files that no version names yet; returns what `commit` needs, as JSON."""
    from lance.fragment import write_fragments as write

    table = pa.Table.from_pylist(list(rows), schema=schema)
    return [json.dumps(fragment.to_json()) for fragment in write(table, uri, schema=schema)]


def commit(uri: str, fragments: Sequence[str], schema: pa.Schema) -> int:
    """Make the fragments the table's only rows, in one step, as a new version; returns that version.

    Readers of an earlier version are not disturbed. A scalar index on tune_id always, a vector index for many rows.
    """
    import lance

    operation = lance.LanceOperation.Overwrite(schema, [lance.FragmentMetadata.from_json(text) for text in fragments])
    dataset = lance.LanceDataset.commit(uri, operation)
    dataset.create_scalar_index("tune_id", "BTREE")
    rows = dataset.count_rows()
    if rows >= VECTOR_INDEX_FROM:
        partitions = 2 ** round(math.log2(math.sqrt(rows)))
        dataset.create_index("vector", "IVF_FLAT", metric="cosine", num_partitions=partitions)
    return int(dataset.version)


def failures_folder(uri: str) -> str:
    """Where `index` writes its failures and run.json: beside the table."""
    return f"{uri.rstrip('/')}.failures"


def run_file(uri: str) -> Path:
    """Where `index` writes what it did: beside the table."""
    return Path(f"{uri.rstrip('/')}.run.json")
