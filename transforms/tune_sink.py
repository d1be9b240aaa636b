"""Rows to the tune index: many workers write data files, one step commits them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.rag.ingestion.base import VectorDatabaseWriteConfig
from apache_beam.ml.rag.types import EmbeddableItem
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from image2music.index.table import WriteMode, commit, replace_rows, write_fragments
from image2music.rows import Row
from transforms.shards import Ticker

ROWS_PER_FRAGMENT = 4096
"""About 50 MB of ABC and vectors: few files for a full table, little memory in a worker."""


@dataclass(frozen=True)
class WrittenFragments:
    """Data files that no version names yet, as JSON, and the ids of their rows."""

    fragments: tuple[str, ...]
    tune_ids: tuple[str, ...]


class WriteFragments(beam.DoFn):
    """Rows to data files that no version of the table names yet; a repeated bundle leaves unused files, no rows."""

    def __init__(self, uri: str, schema: pa.Schema, progress: str | None, mode: WriteMode) -> None:
        self._uri = uri
        self._schema = schema
        self._progress = progress
        self._mode = mode
        self._rows: list[Row] = []

    def setup(self) -> None:
        """Open this worker's own ticker."""
        self._ticker = Ticker(self._progress)

    def start_bundle(self) -> None:
        """Start without rows."""
        self._rows = []

    def process(self, item: EmbeddableItem) -> Iterator[WrittenFragments]:
        """Keep a row; write the rows when there are enough."""
        self._rows.append(item.metadata | {"vector": item.embedding.dense_embedding})
        self._ticker.tick()
        if len(self._rows) >= ROWS_PER_FRAGMENT:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Write what is left."""
        for written in self._flush():
            yield WindowedValue(written, 0, [GlobalWindow()])

    def _flush(self) -> list[WrittenFragments]:
        rows, self._rows = self._rows, []
        if not rows:
            return []
        fragments = write_fragments(self._uri, rows, self._schema, self._mode)
        return [WrittenFragments(tuple(fragments), tuple(row["tune_id"] for row in rows))]


def _commit(_: None, written: Sequence[WrittenFragments], uri: str, schema: pa.Schema) -> Iterator[int]:
    """Commit; without a single row the table stays as it was."""
    if written:
        yield commit(uri, _fragments(written), schema)


def _replace(
    _: None, written: Sequence[WrittenFragments], uri: str, version: int, removed: frozenset[str]
) -> Iterator[int]:
    """Commit. An earlier row goes only when its new one is there: where that failed, the earlier one stays."""
    dropped = removed.union(*(part.tune_ids for part in written))
    if dropped:
        yield replace_rows(uri, version, _fragments(written), dropped)


def _fragments(written: Sequence[WrittenFragments]) -> list[str]:
    return [fragment for part in written for fragment in part.fragments]


@dataclass(frozen=True)
class TuneIndexConfig(VectorDatabaseWriteConfig):
    """A whole tune index for `VectorDatabaseWriteTransform`.

    It takes EmbeddableItems whose id is the tune_id and whose metadata holds every column of `schema` but `vector`,
    which is the dense embedding.
    """

    uri: str
    schema: pa.Schema
    progress: str | None = None

    def create_write_transform(self) -> WriteTunes:
        """Return the transform that replaces all rows in one commit."""
        return WriteTunes(self.uri, self.schema, self.progress)


@dataclass(frozen=True)
class TuneUpdateConfig(VectorDatabaseWriteConfig):
    """Items as in `TuneIndexConfig`, in place of the rows of `version` with their ids and of those in `removed`."""

    uri: str
    schema: pa.Schema
    version: int
    removed: frozenset[str]
    progress: str | None = None

    def create_write_transform(self) -> UpdateTunes:
        """Return the transform that changes rows in one commit."""
        return UpdateTunes(self.uri, self.schema, self.version, self.removed, self.progress)


class WriteTunes(beam.PTransform):
    """Replaces the table's rows in one commit; emits the new version."""

    def __init__(self, uri: str, schema: pa.Schema, progress: str | None = None) -> None:
        super().__init__()
        self._uri = uri
        self._schema = schema
        self._progress = progress

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Write fragments on every worker, and commit once."""
        written = _written(rows, WriteFragments(self._uri, self._schema, self._progress, "overwrite"))
        once = rows.pipeline | "Once" >> beam.Create([None])
        return once | "Commit" >> beam.FlatMap(_commit, beam.pvalue.AsList(written), self._uri, self._schema)


class UpdateTunes(beam.PTransform):
    """Adds rows to `version` of the table, in place of those with the same ids, and deletes the ids in `removed`.

    Emits the new version; nothing where there is nothing to do.
    """

    def __init__(
        self, uri: str, schema: pa.Schema, version: int, removed: frozenset[str], progress: str | None = None
    ) -> None:
        super().__init__()
        self._uri = uri
        self._schema = schema
        self._version = version
        self._removed = removed
        self._progress = progress

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Write fragments on every worker, and commit once."""
        written = beam.pvalue.AsList(_written(rows, WriteFragments(self._uri, self._schema, self._progress, "append")))
        once = rows.pipeline | "Once" >> beam.Create([None])
        return once | "Commit" >> beam.FlatMap(_replace, written, self._uri, self._version, self._removed)


def _written(rows: beam.PCollection, write: WriteFragments) -> beam.PCollection:
    return rows | "WriteFragments" >> beam.ParDo(write) | beam.Reshuffle()
