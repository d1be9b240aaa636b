"""The tune index: a LanceDB table, written by many workers and committed once, searched at a pinned version.

`narrowed` applies a filter over its columns in LanceDB's SQL.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from image2music.errors import ConfigError, TuneIndexError
from image2music.index import search
from image2music.index.search import (
    Candidate,
    Candidates,
    Hit,
    candidates_of,
    later_columns,
    merge,
    read_references,
    sample_of,
)
from image2music.storage.files import open_place
from image2music.storage.objects import storage_options, with_patience
from image2music.types import CaptionedMidi, Reference
from schemas.tune import LATER_COLUMNS, tune_schema

_ROWS_A_BATCH = 256
Answer = TypeVar("Answer")
WriteMode = Literal["append", "overwrite"]

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Embeddings of a description and of its picture."""

_TEXTS, _LISTS = ("location", "caption", "image", "image_id", "licence", "source"), ("genre", "mood", "instruments")
"""Columns that say what a row was made from."""


@dataclass(frozen=True)
class TuneIndex:
    """An index at one version. `embedder_spec` is how its embedder was named when it was made.

    `where` is a filter that the rows pass, `rows` their number, `share` which part of all rows that is;
    `narrowed` sets them.
    """

    uri: str
    version: int
    rows: int
    dim: int
    embedder_id: str
    embedder_spec: str
    where: str = ""
    share: float = 1.0

    def search(self, query: NDArray[np.float32], k: int) -> list[Hit]:
        """Return the k different tunes nearest to a unit vector float32[dim] (`image2music.index.search.search`)."""
        return self.search_many(query[np.newaxis], k)[0]

    def search_many(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """Search for each row of float32[n, dim]."""
        return self._asked(lambda dataset: search.search(dataset, queries, k, self.where, self.share))

    def search_all(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """Search for hundreds of vectors, float32[n, dim], in one pass over the table, exactly."""
        return self._asked(lambda dataset: search.search_all(dataset, queries, k, self.where))

    def references(self, pairs: Sequence[Pair], k: int) -> list[tuple[Reference, ...]]:
        """Return, for each (embedding of the description, of the picture), the k nearest to either, merged by rank."""
        return _merged(self.search_many(_queries(pairs), k))

    def references_of_all(self, pairs: Sequence[Pair], k: int) -> list[tuple[Reference, ...]]:
        """Return `references` of hundreds of pictures, in one pass over the table, exactly."""
        return _merged(self.search_all(_queries(pairs), k))

    def candidates(self, pairs: Sequence[Pair], k: int, *, exact: bool = False) -> list[Candidates]:
        """Return, for each (embedding of what is wanted, of the picture), the k nearest to either, without their music.

        `exact` compares hundreds of pictures with every row in one pass over the table.
        """
        queries = _queries(pairs)

        def found(dataset: Any) -> list[Candidates]:
            if exact:
                near = search.near_of_all(dataset, queries, k, self.where)
            else:
                near = search.near(dataset, queries, k, self.where, self.share)
            return candidates_of(dataset, _sample(self._place, self.version), queries, near)

        return self._asked(found)

    def read(self, chosen: Sequence[Sequence[Candidate]]) -> list[tuple[Reference, ...]]:
        """Return the candidates that were chosen for each picture as references, in their order."""
        return self._asked(lambda dataset: read_references(dataset, chosen))

    def nearest_ids(self, query: NDArray[np.float32], k: int, *, exact: bool = False) -> list[str]:
        """Return the tune_id of the k nearest, best first.

        `exact` looks at every row, as a measure of what the index misses.
        """
        return self._asked(lambda dataset: search.nearest_ids(dataset, query, k, self.where, self.share, exact=exact))

    @property
    def schema(self) -> pa.Schema:
        """The table's schema at this version, with the columns that a user added."""
        return self.dataset().schema

    def dataset(self) -> Any:
        """Return the LanceDB dataset at this version, opened once a process."""
        return _dataset(self._place, self.version)

    def _asked(self, question: Callable[[Any], Answer]) -> Answer:
        return with_patience(self.uri, lambda: question(self.dataset()))

    @property
    def _place(self) -> str:
        # Absolute: the same relative place may mean another table once the working folder has changed.
        return self.uri if "://" in self.uri else os.path.abspath(self.uri)


def _queries(pairs: Sequence[Pair]) -> NDArray[np.float32]:
    return np.array([vector for pair in pairs for vector in pair], dtype=np.float32)


def _merged(found: Sequence[list[Hit]]) -> list[tuple[Reference, ...]]:
    return [merge(text, image) for text, image in zip(found[::2], found[1::2], strict=True)]


@cache
def _dataset(uri: str, version: int) -> Any:
    import lance

    return lance.dataset(uri, version=version, storage_options=storage_options(uri) or None)


def open_table(uri: str) -> Any:
    """Return the LanceDB dataset at a place, a path or an address in an object store, at its newest version.

    Raises:
        TuneIndexError: there is no table (`index_missing`).
        ConfigError: a store that cannot be used (`image2music.storage.objects.ObjectPlace`).
    """
    import lance

    open_place(uri).check()
    try:
        return with_patience(uri, lambda: lance.dataset(uri, storage_options=storage_options(uri) or None))
    except (ValueError, OSError) as error:
        message = f"no tune index at {uri}; make one with the command index (see: image2music index --help)"
        raise TuneIndexError(message, reason="index_missing") from error


@lru_cache(maxsize=4)
def _sample(uri: str, version: int) -> NDArray[np.float64]:
    return sample_of(_dataset(uri, version))


def open_index(uri: str) -> TuneIndex:
    """Open the newest version of an index. Columns that a user added are no obstacle.

    Raises:
        TuneIndexError: there is none (`index_missing`), it has no rows (`index_empty`), an earlier release made it
            (`index_outdated`), it is some other table (`index_foreign`), or a user's column has the name of one of
            ours and other values (`index_foreign_column`).
        ConfigError: as `open_table`.
    """
    dataset = open_table(uri)
    metadata = dataset.schema.metadata or {}
    if b"embedder_id" not in metadata or b"embedder_spec" not in metadata:
        message = f"{uri} is a table, but not one that `image2music index` made"
        raise TuneIndexError(message, reason="index_foreign")
    later = {column.name for column in LATER_COLUMNS}
    if not set(tune_schema(1).names) - later <= set(dataset.schema.names):
        message = f"{uri} was made by an earlier release; make it anew instead of updating it"
        raise TuneIndexError(message, reason="index_outdated")
    for name in later_columns(dataset):
        if (kind := dataset.schema.field(name).type) not in (pa.string(), pa.large_string()):
            message = (
                f"the column {name} of {uri} holds {kind}, where texts belong: give yours another name, by LanceDB's "
                f"alter_columns({{'path': '{name}', 'rename': 'my_{name}'}})"
            )
            raise TuneIndexError(message, reason="index_foreign_column")
    rows = with_patience(uri, dataset.count_rows)
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


def index_schema(dim: int, *, embedder_id: str, embedder_spec: str, sources: Iterable[CaptionedMidi] = ()) -> pa.Schema:
    """Return the table's schema, which also says who embedded it.

    Of `LATER_COLUMNS` it has those that one of `sources` names a value for.
    """
    unnamed = {column.name for column in LATER_COLUMNS} - named_columns(sources)
    schema = pa.schema([field for field in tune_schema(dim) if field.name not in unnamed])
    return schema.with_metadata({"embedder_id": embedder_id, "embedder_spec": embedder_spec})


def named_columns(sources: Iterable[CaptionedMidi]) -> set[str]:
    """Return which of `LATER_COLUMNS` have a value in any of some lines."""
    return {column.name for source in sources for column in LATER_COLUMNS if getattr(source, column.name)}


def write_fragments(
    uri: str, rows: Sequence[dict[str, Any]], schema: pa.Schema, mode: WriteMode = "append"
) -> list[str]:
    """Write rows as data files that no version names yet; return what `commit` and `replace_rows` need, as JSON.

    To "append", for `replace_rows`, `schema` must be that of the table that is there; to "overwrite" it need not. In
    columns that a user added and that `schema` has, a row that takes the place of another keeps its values, a new row
    has null.
    """
    from lance.fragment import write_fragments as write

    rows = _with_added_columns(uri, rows, schema)

    def written() -> list[Any]:
        # Batch by batch, for the rows of a whole file would be held twice more: as Arrow's and as Lance's.
        batches = (
            pa.RecordBatch.from_pylist(rows[start : start + _ROWS_A_BATCH], schema=schema)
            for start in range(0, len(rows), _ROWS_A_BATCH)
        )
        reader, options = pa.RecordBatchReader.from_batches(schema, batches), storage_options(uri) or None
        return list(write(reader, uri, schema=schema, mode=mode, storage_options=options))

    return [json.dumps(fragment.to_json()) for fragment in with_patience(uri, written)]


def _with_added_columns(uri: str, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> Sequence[dict[str, Any]]:
    added = [name for name in schema.names if name not in tune_schema(1).names]
    if not added:
        return rows
    ids = ", ".join(f"'{row['tune_id']}'" for row in rows)
    stored = open_table(uri).to_table(columns=["tune_id", *added], filter=f"tune_id IN ({ids})").to_pylist()
    values = {row["tune_id"]: row for row in stored}
    return [dict.fromkeys(added) | values.get(row["tune_id"], {}) | row for row in rows]


def commit(uri: str, fragments: Sequence[str], schema: pa.Schema) -> int:
    """Make the fragments the table's only rows, in one step, as a new version; return that version.

    Readers of an earlier version are not disturbed. The rows are searched one by one until
    `image2music.index.maintenance.finalize` indexes them, which a worker with a loaded model has no memory for.
    """
    import lance

    operation = lance.LanceOperation.Overwrite(schema, _metadata(fragments))
    options = storage_options(uri) or None
    # One that took place without an answer is made once more: another version with the same rows.
    made = with_patience(uri, lambda: lance.LanceDataset.commit(uri, operation, storage_options=options))
    return int(made.version)


def stored_tunes(index: TuneIndex) -> dict[str, CaptionedMidi]:
    """Return what every row was made from, by tune_id: no vectors and no music are read."""
    there = [name for name in _TEXTS if name in index.schema.names]
    table = index._asked(lambda dataset: dataset.to_table(columns=["tune_id", *there, *_LISTS]))
    # Column by column, for tables have hundreds of thousands of rows.
    columns = {name: [text or "" for text in table[name].to_pylist()] for name in there}
    columns |= {name: [tuple(words or ()) for words in table[name].to_pylist()] for name in _LISTS}
    named = zip(*columns.values(), strict=True)
    return {
        tune_id: CaptionedMidi(**dict(zip(columns, row, strict=True)))
        for tune_id, row in zip(table["tune_id"].to_pylist(), named, strict=True)
    }


def stored_rows(index: TuneIndex, tune_ids: Collection[str]) -> list[dict[str, Any]]:
    """Return the rows with these ids, all columns but the vector, in no order."""
    ids = ", ".join(f"'{tune_id}'" for tune_id in sorted(tune_ids))
    columns, where = [name for name in index.schema.names if name != "vector"], f"tune_id IN ({ids})"
    table = index._asked(lambda dataset: dataset.to_table(columns=columns, filter=where))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def with_later_columns(index: TuneIndex, names: Collection[str]) -> TuneIndex:
    """Add those of `LATER_COLUMNS` with these names that a table lacks, without values, in a version of its own.

    The caller is the only writer. No data file is written anew.
    """
    there = index.schema.names
    missing = [column for column in LATER_COLUMNS if column.name in names and column.name not in there]
    if not missing:
        return index
    with_patience(index.uri, lambda: open_table(index.uri).add_columns(missing))
    return open_index(index.uri)


def replace_rows(uri: str, version: int, fragments: Sequence[str], dropped: Collection[str]) -> int:
    """Delete the rows with the ids in `dropped` and add the fragments, in one commit; return the new version.

    All other rows stay where they lie, in the same files. `version` is the one that was read when `dropped` was found
    out. The caller is the only writer, so a newer one means that this very call was committed before, and a runner
    repeats it: it is not done twice.
    """
    return with_patience(uri, lambda: _replaced_rows(uri, version, fragments, dropped))


def _replaced_rows(uri: str, version: int, fragments: Sequence[str], dropped: Collection[str]) -> int:
    import lance

    dataset = open_table(uri)
    if dataset.version != version:
        return int(dataset.version)
    removed, kept = _without(dataset, dropped)
    operation = lance.LanceOperation.Update(
        removed_fragment_ids=removed, updated_fragments=kept, new_fragments=_metadata(fragments)
    )
    options = storage_options(uri) or None
    try:
        made = lance.LanceDataset.commit(uri, operation, read_version=version, storage_options=options, max_retries=0)
    except OSError:
        # A store's answer may be lost after the commit took place, and then the repeated one finds its place taken.
        if (made := open_table(uri)).version != version + 1:
            raise
    return int(made.version)


def _without(dataset: Any, dropped: Collection[str]) -> tuple[list[int], list[Any]]:
    """Return the ids of fragments that lose every row, and the metadata of those that lose some."""
    table = dataset.to_table(columns=["tune_id"], with_row_address=True)
    table = table.filter(pc.is_in(table["tune_id"], pa.array(sorted(dropped), pa.string())))
    places: dict[int, list[str]] = {}
    for tune_id, address in zip(table["tune_id"].to_pylist(), table["_rowaddr"].to_pylist(), strict=True):
        places.setdefault(address >> 32, []).append(tune_id)
    removed, kept = [], []
    for fragment, ids in sorted(places.items()):
        quoted = ", ".join(f"'{tune_id}'" for tune_id in ids)
        left = dataset.get_fragment(fragment).delete(f"tune_id IN ({quoted})")
        if left is None:
            removed.append(fragment)
        else:
            kept.append(left)
    return removed, kept


def _metadata(fragments: Sequence[str]) -> list[Any]:
    import lance

    return [lance.FragmentMetadata.from_json(text) for text in fragments]


_QUOTED = re.compile(r"'(?:[^']|'')*'")
_NOT_ALWAYS_THE_SAME = re.compile(r"\b(random|uuid|now|today|current_\w+)\b\s*(\(|$)", re.IGNORECASE)
_WHERE_IN_LANCE = re.compile(r",? *\S*/rust/\S+:\d+:\d+")


def narrowed(index: TuneIndex, where: str) -> TuneIndex:
    """Return the index as if it held only the rows that the filter lets through.

    Raises:
        ConfigError: the filter cannot be read, names no column, may answer differently the next time (`bad_where`),
            or lets no row through (`where_finds_nothing`).
    """
    plain = _QUOTED.sub("''", where)
    if not plain.strip() or ";" in plain:
        raise _refused(where, "it must be one condition", index)
    if _NOT_ALWAYS_THE_SAME.search(plain):
        raise _refused(where, "it must let the same rows through each time", index)
    try:
        rows = index.dataset().count_rows(where)
    except (OSError, ValueError) as error:  # lance has no class of its own for a filter that it cannot read
        raise _refused(where, _reason(error), index) from error
    if rows == 0:
        message = f"the filter {where!r} lets none of the {index.rows} tunes of {index.uri} through"
        raise ConfigError(message, reason="where_finds_nothing")
    return replace(index, where=where, rows=rows, share=rows / index.rows)


def _refused(where: str, why: str, index: TuneIndex) -> ConfigError:
    columns = ", ".join(name for name in index.dataset().schema.names if name != "vector")
    return ConfigError(f"the filter {where!r} cannot be used: {why}; the columns are {columns}", reason="bad_where")


def _reason(error: Exception) -> str:
    """Return what LanceDB says, without the place in its sources."""
    text = _WHERE_IN_LANCE.sub("", " ".join(str(error).split()))
    text = text.removeprefix("Invalid user input: ").removeprefix("Schema error: ")
    return text.split(". Valid fields are")[0].rstrip(" .,?")
