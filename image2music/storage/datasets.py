"""A dataset: rows in Parquet shards that appear while a job runs, so that a killed run loses little."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

_FIRST, _LAST = "part-", ".parquet"


@dataclass(frozen=True)
class Dataset:
    """The shards in one folder, named part-HASH.parquet by the ids of their rows.

    A shard gets its name only when it is whole, so what a reader sees is complete, and a repeated bundle with the same
    rows replaces its own shard. Nothing is there before the first row: a dataset without a folder is an empty one.
    """

    uri: str

    def shards(self) -> list[str]:
        """Return the URIs of the finished shards, sorted."""
        try:
            names = os.listdir(self.uri)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [f"{self.uri}/{name}" for name in sorted(names) if name.startswith(_FIRST) and name.endswith(_LAST)]

    def read(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield some columns of every row, shard by shard."""
        return read_shards(self.shards(), columns)

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield each shard's URI with all of its rows."""
        for shard in self.shards():
            yield shard, pq.ParquetFile(shard).read()

    def count(self) -> int:
        """Return the number of rows."""
        return sum(shard.metadata.num_rows for shard in open_shards(self.shards()))

    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(os.stat(shard).st_size for shard in self.shards())

    def append(self, rows: Sequence[Row], schema: pa.Schema, id_columns: Sequence[str]) -> str:
        """Write rows as one shard, named by their ids, and return its URI."""
        return self.append_table(pa.Table.from_pylist(list(rows), schema=schema), id_columns)

    def append_table(self, table: pa.Table, id_columns: Sequence[str]) -> str:
        """Write a table as one shard (zstd), named by its ids, and return its URI."""
        path, hidden = self.shard_of(table, id_columns), f"{self.uri}/.{_FIRST}{uuid.uuid4().hex}"
        os.makedirs(self.uri, exist_ok=True)
        try:
            pq.write_table(table, hidden, compression="zstd")
            os.replace(hidden, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(hidden)
            raise
        return path

    def shard_of(self, table: pa.Table, id_columns: Sequence[str]) -> str:
        """Return the URI that a shard of these rows has."""
        ids = hashlib.sha256(repr(table.select(list(id_columns)).to_pylist()).encode()).hexdigest()[:24]
        return f"{self.uri}/{_FIRST}{ids}{_LAST}"

    def replace(self, old: Collection[str], table: pa.Table, id_columns: Sequence[str]) -> str | None:
        """Put one shard in the place of some; return its URI, or None where the table is empty and none is written."""
        written = self.append_table(table, id_columns) if table.num_rows else None
        for shard in old:
            if shard != written:
                os.unlink(shard)
        return written

    def clear(self) -> None:
        """Remove every shard."""
        for shard in self.shards():
            os.unlink(shard)

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.uri, ignore_errors=True)


def open_shards(shards: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """Open shards one by one; one that is gone by now was replaced by a run that goes on, and is left out."""
    for shard in shards:
        try:
            file = pq.ParquetFile(shard)
        except FileNotFoundError:
            continue
        yield file


def read_shards(shards: Sequence[str], columns: Sequence[str]) -> Iterator[Row]:
    """Yield some columns of every row of some shards; a column that a shard lacks is left out of its rows."""
    for shard in open_shards(shards):
        yield from shard.read(columns=list(columns)).to_pylist()


def read_batches(shards: Sequence[str], columns: Sequence[str], rows: int) -> Iterator[list[Row]]:
    """Yield some columns of the rows of some shards, at most `rows` at once."""
    for shard in open_shards(shards):
        for batch in shard.iter_batches(batch_size=rows, columns=list(columns)):
            yield batch.to_pylist()
