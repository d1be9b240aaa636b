"""Where what a job makes goes: rows and failures to Parquet shards, and a log line for each picture.

Shards appear while the job runs, so that a killed run loses little.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pyarrow as pa

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
    """Buffers elements as rows and writes a shard when it is full, is old, or its bundle ends.

    A shard is named by the ids of its rows and gets its name only when it is whole: what a reader sees is complete,
    and a repeated bundle with the same rows replaces its own shard.
    """

    def __init__(
        self,
        target: Dataset,
        schema: pa.Schema,
        to_row: Callable[[Any], Row],
        id_columns: tuple[str, ...],
        *,
        rows: int = 64,
        seconds: float = 30.0,
        progress: str | None = None,
    ) -> None:
        self._target = target
        self._schema = schema
        self._to_row = to_row
        self._id_columns = id_columns
        self._limit = rows
        self._seconds = seconds
        self._progress = progress
        self._rows: list[Row] = []
        self._since = 0.0

    def setup(self) -> None:
        """Open this worker's own ticker."""
        self._ticker = Ticker(self._progress)

    def start_bundle(self) -> None:
        """Start an empty shard."""
        self._rows = []
        self._since = time.monotonic()

    def process(self, element: Any) -> None:
        """Keep a row; write the shard if it is due."""
        self._rows.append(self._to_row(element))
        self._ticker.tick()
        if len(self._rows) >= self._limit or time.monotonic() - self._since >= self._seconds:
            self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        """Write what is left."""
        self._flush()
        return iter(())

    def _flush(self) -> None:
        if self._rows:
            self._target.append(self._rows, self._schema, self._id_columns)
        self._rows = []
        self._since = time.monotonic()


def composition_sink(
    target: Dataset,
    dim: int,
    more: tuple[pa.Field, ...],
    provenance: Provenance,
    ticks: str | None,
    seeds: Mapping[str, int] | None = None,
) -> beam.ParDo:
    """Return a sink of finished tunes.

    `target` gets rows of schemas/composition.py; `dim` is that of the embeddings, `more` the columns of this run only,
    `seeds` those of further takes, by image_id.
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
        )
    )


def failure_sink(target: Dataset, ticks: str | None = None, *, rows: int = 64) -> beam.ParDo:
    """Return a sink of failures: shards of at most `rows`."""
    return beam.ParDo(
        WriteShards(
            target,
            FAILURE_SCHEMA,
            lambda failure: failure_row(failure, now()),
            FAILURE_ID_COLUMNS,
            rows=rows,
            progress=ticks,
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
