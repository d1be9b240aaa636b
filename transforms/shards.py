"""Where what a job makes goes: rows and failures to Parquet shards, a log line a picture, and tunes to the index.

Many workers write the index's data files, one step commits them.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.rag.ingestion.base import VectorDatabaseWriteConfig
from apache_beam.ml.rag.types import EmbeddableItem
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from image2music.index.table import WriteMode, commit, replace_rows, write_fragments
from image2music.rows import Provenance, Row, composition_row, failure_row, now, printable
from image2music.storage.datasets import Dataset
from image2music.storage.output import FAILURE_ID_COLUMNS
from image2music.types import Failure, RefinedTune
from schemas.composition import composition_schema
from schemas.failure import FAILURE_SCHEMA


class Ticker:
    """Appends one byte for each finished element to a file of its own in `folder`; does nothing without a folder."""

    def __init__(self, folder: str | None) -> None:
        self._path = os.path.join(folder, uuid.uuid4().hex) if folder else None

    def tick(self) -> None:
        """Count one more element."""
        if self._path is None:
            return
        with open(self._path, "ab") as file:
            file.write(b".")


class WriteShards(beam.DoFn):
    """Buffers elements as rows and writes a shard when there are `rows`, or when the first has waited for `seconds`.

    What is left is written when a bundle ends, which on some runners is when the input does: so a clock of its own sees
    to what waits. A shard is named by the slice `of` and the ids of its rows and gets its name only when it is whole:
    what a reader sees is complete, and a repeated bundle with the same rows replaces its own shard.
    """

    def __init__(
        self,
        target: Dataset,
        schema: pa.Schema,
        to_row: Callable[[Any], Row],
        id_columns: tuple[str, ...],
        *,
        rows: int = 64,
        seconds: float = 60.0,
        progress: str | None = None,
        of: str = "",
    ) -> None:
        self._target = target
        self._schema = schema
        self._to_row = to_row
        self._id_columns = id_columns
        self._limit = rows
        self._seconds = seconds
        self._progress = progress
        self._of = of
        self._rows: list[Row] = []

    def setup(self) -> None:
        """Open this worker's own ticker."""
        self._ticker = Ticker(self._progress)
        self._lock = threading.Lock()
        self._clock: threading.Timer | None = None
        self._late_error: Exception | None = None

    def start_bundle(self) -> None:
        """Start an empty shard."""
        with self._lock:
            self._rows = []

    def process(self, element: Any) -> None:
        """Keep a row; write the shard if it is full."""
        row = self._to_row(element)
        with self._lock:
            self._raise_late_error()
            self._rows.append(row)
            if len(self._rows) >= self._limit:
                self._flush()
            elif self._clock is None:
                self._clock = threading.Timer(self._seconds, self._flush_late)
                self._clock.daemon = True
                self._clock.start()
        self._ticker.tick()

    def finish_bundle(self) -> Iterator[Any]:
        """Write what is left."""
        with self._lock:
            self._raise_late_error()
            self._flush()
        return iter(())

    def teardown(self) -> None:
        """Stop the clock."""
        with self._lock:
            self._stop_clock()

    def _flush_late(self) -> None:
        with self._lock:
            try:
                self._flush()
            except Exception as error:  # nobody listens to this thread: the next element raises it
                self._late_error = error

    def _raise_late_error(self) -> None:
        if self._late_error is not None:
            error, self._late_error = self._late_error, None
            raise error

    def _flush(self) -> None:
        self._stop_clock()
        rows, self._rows = self._rows, []
        if rows:
            self._target.append(rows, self._schema, self._id_columns, self._of)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def composition_sink(
    target: Dataset,
    dim: int,
    more: tuple[pa.Field, ...],
    provenance: Provenance,
    ticks: str | None,
    seeds: Mapping[str, int] | None = None,
    of: str = "",
) -> beam.ParDo:
    """Return a sink of finished tunes.

    `target` gets rows of schemas/composition.py; `dim` is that of the embeddings, `more` the columns of this run only,
    `seeds` those of further takes, by image_id, `of` the slice that is written.
    """

    def row(refined: RefinedTune) -> Row:
        seed = (seeds or {}).get(refined.context.described.ref.image_id, provenance.seed)
        return composition_row(refined, replace(provenance, seed=seed), now())

    return beam.ParDo(
        WriteShards(
            target,
            composition_schema(dim, more),
            row,
            ("image_id",),
            progress=ticks,
            of=of,
        )
    )


def failure_sink(target: Dataset, ticks: str | None = None, *, rows: int = 64, of: str = "") -> beam.ParDo:
    """Return a sink of failures: shards of at most `rows`, of the slice `of`."""
    return beam.ParDo(
        WriteShards(
            target,
            FAILURE_SCHEMA,
            lambda failure: failure_row(failure, now()),
            FAILURE_ID_COLUMNS,
            rows=rows,
            progress=ticks,
            of=of,
        )
    )


STDOUT = "-"


def log_line(element: RefinedTune | Failure) -> str:
    """Return a line of JSON: `at`, `result` (composed or failed), `id`, `uri`, and what is known of the picture."""
    return json.dumps({"at": now().isoformat()} | _fields(element), ensure_ascii=False) + "\n"


def _fields(element: RefinedTune | Failure) -> dict[str, Any]:
    if isinstance(element, Failure):
        why = {"stage": element.stage, "reason": element.reason, "message": element.message}
        return {"result": "failed", "id": printable(element.id), "uri": printable(element.uri)} | why
    ref, tune = element.context.described.ref, element.tune
    made = {"title": tune.title, "rounds": len(tune.rounds), "seconds": round(element.seconds, 3)}
    return {"result": "composed", "id": ref.image_id, "uri": printable(ref.uri)} | made


class LogPictures(beam.DoFn):
    """Append a line for each element to a file, or write it to stdout; each line in one write, so that none mix."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, element: RefinedTune | Failure) -> None:
        """Write one line."""
        line = log_line(element).encode(errors="backslashreplace")
        if self._path == STDOUT:
            os.write(1, line)
            return
        target = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(target, line)
        finally:
            os.close(target)


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
