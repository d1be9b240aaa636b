"""Parquet files that appear while the job runs, so that a killed run loses little."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from image2music.rows import Row
from transforms.ticker import Ticker


class WriteShards(beam.DoFn):
    """Buffers elements as rows and writes a shard when it is full, is old, or its bundle ends.

    A shard is named by the ids of its rows and gets its name only when it is whole: what a reader sees is complete,
    and a repeated bundle with the same rows replaces its own shard.
    """

    def __init__(
        self,
        folder: str,
        schema: pa.Schema,
        to_row: Callable[[Any], Row],
        id_columns: tuple[str, ...],
        *,
        rows: int = 64,
        seconds: float = 30.0,
        progress: str | None = None,
    ) -> None:
        self._folder = folder
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
            write_shard(self._folder, self._rows, self._schema, self._id_columns)
        self._rows = []
        self._since = time.monotonic()


def write_shard(folder: str, rows: list[Row], schema: pa.Schema, id_columns: tuple[str, ...]) -> str:
    """Write rows as FOLDER/part-HASH.parquet and return that path."""
    return write_table(folder, pa.Table.from_pylist(rows, schema=schema), id_columns)


def write_table(folder: str, table: pa.Table, id_columns: tuple[str, ...]) -> str:
    """Write a table as FOLDER/part-HASH.parquet (zstd) and return that path. HASH covers the columns named."""
    ids = hashlib.sha256(repr(table.select(list(id_columns)).to_pylist()).encode()).hexdigest()[:24]
    path, hidden = f"{folder}/part-{ids}.parquet", f"{folder}/.part-{ids}-{uuid.uuid4().hex}"
    os.makedirs(folder, exist_ok=True)
    try:
        pq.write_table(table, hidden, compression="zstd")
        os.replace(hidden, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(hidden)
        raise
    return path
