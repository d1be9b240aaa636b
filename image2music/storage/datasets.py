"""Parquet datasets of an output, and the record of a run beside them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from image2music.errors import ConfigError, Image2MusicError, OutputError
from image2music.storage.files import FilePlace, json_bytes, open_place, parquet_bytes
from image2music.storage.objects import is_store

_log = logging.getLogger(__name__)

Row = dict[str, Any]
Read = TypeVar("Read")

_FIRST, _LAST = "part-", ".parquet"
_ID_DIGITS = 16
"""Of a slice's id; the hash of a shard's rows has 24."""

REPLACING = ".replacing.json"
"""Lies in a dataset while shards are replaced: the names of the old ones, and how the new ones are told."""

_A_PAGE = 1000
"""Names that a store lists at once, as they were in one moment."""

_AT_ONCE = 8
"""Shards of a store that are read at the same time: what it takes is mostly waiting for an answer."""

MANY_SHARDS = 1000
"""Where there are more, the end of a job puts larger ones in their place (`Dataset.compact`)."""

LARGE_SHARD = 64_000_000
"""Bytes of small shards that become one; a shard of half as many, or more, is large enough."""

_SHARDS_A_ROUND = 4096
"""Small shards that are replaced in one step: what lies there twice meanwhile is bounded, and so is the note."""

_ROWS_A_GROUP = 256
"""Rows of a larger shard that are compressed together, and read at once."""


@dataclass(frozen=True)
class Dataset:
    """The shards in one folder, named part-HASH.parquet by the ids of their rows, on a disk or in an object store.

    A shard is there whole or not at all, so what a reader sees is complete, and a repeated bundle with the same rows
    replaces its own shard. Nothing is there before the first row: a dataset without a folder is an empty one.

    Shards are replaced by a note that names the old ones, and the number that the names of the new ones end with.
    Readers go by the note: they see the old ones until it says that all new ones are there, and then those; one write
    of the note is the step from the one to the other. The next writer removes what a kill leaves (`finish_replacing`).
    In a store the note is never removed, and each write of it succeeds only where the one before it stands: what was
    sent, given up and arrives late changes nothing. For the same reason no number is used twice.
    """

    uri: str

    @property
    def _place(self) -> FilePlace:
        return open_place(self.uri)

    def shards(self, of: str = "") -> list[str]:
        """Return the URIs of the finished shards, sorted; only those that the slice `of` wrote, where one is named."""
        first = f"{_FIRST}{of}-" if of else _FIRST
        names, note = self._listed(first if of else "")
        found = (name for name in sorted(names) if name.startswith(first) and name.endswith(_LAST))
        return [f"{self.uri}/{name}" for name in found if not _is_replaced(name, note, names)]

    def _listed(self, start: str = "") -> tuple[set[str], dict[str, Any]]:
        """Return all names that begin with `start`, and the note as it was before and after they were listed."""
        before = self._note()
        while True:
            names = {found.name for found in self._place.files(start=start)}
            if not (before or start or REPLACING in names) and len(names) < _A_PAGE:
                return names, {}
            if (after := self._note()) == before:
                return names, after
            before = after

    def _note(self) -> dict[str, Any]:
        try:
            note: dict[str, Any] = json.loads((self._place / REPLACING).read())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return note | {"old": frozenset(note["old"])}

    def _write_note(self, note: dict[str, Any]) -> None:
        place, data = self._place / REPLACING, json_bytes(note)
        found = place.info()
        if not (place.create(data) if found is None else place.update(data, found)):
            message = f"another run has changed {self.uri} meanwhile; wait until it has ended, and run this again"
            raise OutputError(message, reason="another_writer")

    def read(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield some columns of every row, shard by shard; a few hundred rows are in memory at a time."""
        return read_shards(self.shards(), columns)

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield each shard's URI with all of its rows."""
        for shard in self.shards():
            yield shard, read_table(shard)

    def count(self) -> int:
        """Return the number of rows."""
        return sum(file.metadata.num_rows for file in open_shards(self.shards()))

    def size(self) -> int:
        """Return the bytes on disk, or in the store."""
        shards = {shard.rpartition("/")[2] for shard in self.shards()}
        return sum(found.size for found in self._place.files() if found.name in shards)

    def append(self, rows: Sequence[Row], schema: pa.Schema, id_columns: Sequence[str], of: str = "") -> str:
        """Write rows as one shard, named by the slice `of` where there is one and by their ids; return its URI."""
        return self.append_table(pa.Table.from_pylist(list(rows), schema=schema), id_columns, of)

    def append_table(self, table: pa.Table, id_columns: Sequence[str], of: str = "") -> str:
        """Write a table as one shard (zstd), named as `append` says; return its URI."""
        first = f"{_FIRST}{of}-" if of else _FIRST
        name = f"{first}{_hash(table, id_columns)}{_LAST}"
        (self._place / name).write(parquet_bytes(table))
        return f"{self.uri}/{name}"

    def replace(self, old: Collection[str], table: pa.Table, id_columns: Sequence[str]) -> None:
        """Put the rows of a table in the place of some shards; for the one writer who holds the lock."""
        self.replace_all(old, [table], id_columns)

    def replace_all(self, old: Collection[str], tables: Iterable[pa.Table], id_columns: Sequence[str]) -> None:
        """Put the rows of some tables, a shard each, in the place of some shards, in one step for every reader.

        For the one writer who holds the lock. Tables are taken one by one, so that an iterator may read them then.
        """
        with self._replacing(old) as new:
            for table in tables:
                if table.num_rows:
                    new(f"{_FIRST}{_hash(table, id_columns)}").write(parquet_bytes(table))

    def adopt(self, shards: Sequence[str], old: Collection[str]) -> None:
        """Put copies of shards of other datasets in the place of some of this one, as `replace_all` does tables."""
        with self._replacing(old) as new, ThreadPoolExecutor(_AT_ONCE) as threads:
            targets = [new(_stem(shard)) for shard in shards]
            list(threads.map(lambda shard, target: open_place(shard).copy_to(target), shards, targets))

    def compact(self) -> None:
        """Put larger shards in the place of small ones, where there are more than `MANY_SHARDS` in all.

        For the one writer who holds the lock. Rows stay what they are and, where all have the same columns, in their
        order; no larger shard is a slice's. A kill at any moment leaves every row there once. Neither memory nor what
        lies there twice grows with the number of rows.

        Raises:
            OSError: a shard cannot be read; all are as they were.
            OutputError: the larger ones cannot be written; all are as they were.
        """
        shards = self.shards()
        if len(shards) <= MANY_SHARDS:
            return
        sizes = {found.name: found.size for found in self._place.files()}
        groups = _small_neighbours((shard, sizes[shard.rpartition("/")[2]]) for shard in shards)
        while some := list(islice(groups, 1)):
            while sum(map(len, some)) < _SHARDS_A_ROUND and (group := next(groups, None)) is not None:
                some.append(group)
            with self._replacing([shard for group in some for shard in group]) as new:
                for group in some:
                    for first, data in _joined(group):
                        new(f"{_FIRST}{_place_in_order(first)}").write(data)

    @contextmanager
    def _replacing(self, old: Collection[str]) -> Iterator[Callable[[str], FilePlace]]:
        """Yield what gives new shards their places by stems of names; readers see all of them after the block."""
        self.finish_replacing()  # what a kill left
        taken, number = set[str](), uuid.uuid4().int >> 80
        note = {"number": number, "old": sorted(shard.rpartition("/")[2] for shard in old)}

        def new(stem: str) -> FilePlace:
            while stem in taken:
                stem = f"{_FIRST}{hashlib.sha256(stem.encode()).hexdigest()[:24]}"
            taken.add(stem)
            return self._place / f"{stem}-{number}{_LAST}"

        self._write_note(note | {"whole": False})
        try:
            yield new
        except Exception:
            with suppress(OSError, Image2MusicError):
                self.finish_replacing()
            raise
        self._write_note(note | {"whole": True})
        self.finish_replacing()

    def finish_replacing(self) -> None:
        """Remove what a killed writer left: the shards that were replaced, or those new ones that came too early."""
        note = self._note()
        if not note or note.get("done"):
            return
        names = {found.name for found in self._place.files()}
        self._place.remove_files(name for name in sorted(names) if _is_replaced(name, note, names))
        if is_store(self.uri):
            self._write_note({"number": note["number"], "old": [], "whole": True, "done": True})
        else:
            (self._place / REPLACING).remove()

    def clear(self) -> None:
        """Remove every shard."""
        self.discard(self.shards())

    def discard(self, shards: Iterable[str]) -> None:
        """Remove some shards; those that are gone by now, too."""
        self._place.remove_files(shard.rpartition("/")[2] for shard in shards)

    def shards_by_slice(self) -> dict[str, list[str]]:
        """Return the finished shards by the id of the slice that wrote them; "" is of those that none did."""
        found: dict[str, list[str]] = {}
        for shard in self.shards():
            words = shard.rpartition("/")[2].removeprefix(_FIRST).split("-")
            found.setdefault(words[0] if len(words[0]) == _ID_DIGITS else "", []).append(shard)
        return found

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        self._place.remove_all()


def _is_replaced(name: str, note: dict[str, Any], names: Collection[str]) -> bool:
    """Return whether no reader sees a shard: an old one once all new ones are there, or a new one before."""
    if not note:
        return False
    if "number" in note:
        is_new = name.endswith(f"-{note['number']}{_LAST}")
        return name in note["old"] if note["whole"] else is_new
    # An earlier release named the new ones: one or none, or a list of them.
    new = [note["new"]] if isinstance(note["new"], str) else note["new"] or []
    return name in (note["old"] if all(one in names for one in new) else new)


def _stem(shard: str) -> str:
    """Return the name of a shard without the number of an earlier replacement."""
    parts = shard.rpartition("/")[2].removesuffix(_LAST).split("-")
    return "-".join(parts[:-1] if len(parts) > 2 and len(parts[-1]) < 16 else parts)


def _hash(table: pa.Table, id_columns: Sequence[str]) -> str:
    return hashlib.sha256(repr(table.select(list(id_columns)).to_pylist()).encode()).hexdigest()[:24]


def _small_neighbours(sized: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Yield what can become one shard each: two or more that follow one another, are small, and fill `LARGE_SHARD`."""
    here: list[str] = []
    filled = 0
    for shard, size in sized:
        is_small = size < LARGE_SHARD // 2
        if not is_small or filled + size > LARGE_SHARD:
            if len(here) > 1:
                yield here
            here, filled = [], 0
        if is_small:
            here.append(shard)
            filled += size
    if len(here) > 1:
        yield here


def _joined(shards: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield Parquet files with all rows of some shards, one for each set of columns, and of each the first shard.

    Raises:
        OSError: a shard cannot be read.
    """
    files: dict[pa.Schema, _JoinedShard] = {}
    for shard, data in zip(shards, _ahead(shards, lambda shard: open_place(shard).read()), strict=True):
        table = pq.ParquetFile(pa.BufferReader(data)).read()
        if table.schema not in files:
            files[table.schema] = _JoinedShard(shard, table.schema)
        files[table.schema].add(table)
    while files:
        joined = files.pop(next(iter(files)))
        yield joined.first, joined.end()


class _JoinedShard:
    """A Parquet file that grows by tables; `first` is the shard that the first of them comes from."""

    def __init__(self, first: str, schema: pa.Schema) -> None:
        self.first = first
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, schema, compression="zstd")
        self._waiting: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        if sum(table.num_rows for table in self._waiting) >= _ROWS_A_GROUP:
            self._write()

    def _write(self) -> None:
        tables, self._waiting = self._waiting, []
        if tables:
            self._writer.write_table(pa.concat_tables(tables))

    def end(self) -> bytes:
        self._write()
        self._writer.close()
        data: bytes = self._sink.getvalue().to_pybytes()
        return data


def _place_in_order(shard: str) -> str:
    """Return 24 hex digits that come where a shard's name does: those of its slice first, where it has one."""
    digits = shard.rpartition("/")[2].removeprefix(_FIRST).removesuffix(_LAST).replace("-", "")
    return digits[:24].ljust(24, "0")


def open_shards(shards: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """Open shards one by one; what is gone by now was replaced by a run that goes on: the log says so at the end."""
    return (file for _, file in _opened_each(shards))


def _opened_each(shards: Sequence[str]) -> Iterator[tuple[str, pq.ParquetFile]]:
    missing = len(shards)
    for shard, file in _each(shards, lambda file: file):
        missing -= 1
        yield shard, file
    if missing:
        what = "%d of %d shards were replaced while they were read, and their rows are left out: give the command again"
        _log.warning(what, missing, len(shards))


def read_table(shard: str) -> pa.Table:
    """Return all rows of one shard."""
    return _opened(shard).read()


def read_shards(shards: Sequence[str], columns: Sequence[str]) -> Iterator[Row]:
    """Yield some columns of every row of some shards; a column that a shard lacks is left out of its rows."""
    for _, table in _each(shards, lambda file: file.read(columns=list(columns))):
        for batch in table.to_batches(max_chunksize=_ROWS_A_GROUP):
            yield from batch.to_pylist()


def read_by_shard(shards: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield each shard with some columns of all of its rows, as `read_shards` reads them."""
    return ((shard, table.to_pylist()) for shard, table in _each(shards, lambda file: file.read(columns=list(columns))))


def read_batches(shards: Sequence[str], columns: Sequence[str], rows: int) -> Iterator[list[Row]]:
    """Yield some columns of the rows of some shards, at most `rows` at once."""
    return (batch.to_pylist() for _, batch in shard_batches(shards, {*columns}.__contains__, rows))


def shard_batches(
    shards: Sequence[str], wanted: Callable[[str], bool], rows: int
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield each shard with its rows, at most `rows` at once; of the columns that it has, those `wanted` by name."""
    for shard, file in _opened_each(shards):
        columns = [name for name in file.schema_arrow.names if wanted(name)]
        for batch in file.iter_batches(batch_size=rows, columns=columns):
            yield shard, batch


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row that is not made into Python objects yet: its shard, its number there, its picture, and its digest."""

    shard: str
    number: int
    image_id: str
    digest: str
    batch: pa.RecordBatch
    place: int

    def read(self, columns: Collection[str] = ()) -> Row:
        """Return its columns, or some of them."""
        batch = self.batch.select(list(columns)) if columns else self.batch
        row: Row = batch.slice(self.place, 1).to_pylist()[0]
        return row


def numbered_rows(
    shards: Sequence[str],
    wanted: Callable[[str], bool],
    rows: int,
    only: Mapping[str, Collection[int]] | None = None,
) -> Iterator[StoredRow]:
    """Yield the rows of some shards with those columns that are wanted; `only` tells which, by their numbers."""
    home, first = "", 0
    for shard, batch in shard_batches(shards, wanted, rows):
        first = first if shard == home else 0
        home = shard
        here = [at for at in range(batch.num_rows) if only is None or first + at in only[shard]]
        digests, ids = row_digests(batch) if here else [], batch.column("image_id").to_pylist() if here else []
        for at in here:
            yield StoredRow(shard, first + at, ids[at], digests[at], batch, at)
        first += batch.num_rows


def row_digests(batch: pa.RecordBatch) -> list[str]:
    """Return 16 hex digits for the content of each row: names, types and values of its columns.

    They hang on nothing else: neither on the rows around it nor on the shard that it lies in.
    """
    about = batch.schema.remove_metadata().to_string(show_field_metadata=False).encode()
    # Under a null a reader leaves what it likes; what is taken anew has zeros there.
    plain = batch.replace_schema_metadata(None)
    whole = (plain.take(pa.array([number], pa.int64())).serialize() for number in range(batch.num_rows))
    return [hashlib.blake2b(about + row.to_pybytes(), digest_size=8).hexdigest() for row in whole]


def _opened(shard: str) -> pq.ParquetFile:
    return pq.ParquetFile(open_place(shard).open() if is_store(shard) else shard)


def _each(shards: Sequence[str], read: Callable[[pq.ParquetFile], Read]) -> Iterator[tuple[str, Read]]:
    """Yield each shard that is there with what is read of it; of a store's, a few are read ahead."""

    def try_to(shard: str) -> tuple[str, Read] | None:
        try:
            return shard, read(_opened(shard))
        except FileNotFoundError:
            return None

    return (found for found in _ahead(shards, try_to) if found is not None)


def _ahead(shards: Sequence[str], read: Callable[[str], Read]) -> Iterator[Read]:
    """Yield what is read of each shard; of a store's, a few are read ahead."""
    if not any(is_store(shard) for shard in shards):
        yield from map(read, shards)
        return
    left = iter(shards)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        waiting: list[Future[Read]] = [threads.submit(read, shard) for shard in islice(left, _AT_ONCE)]
        try:
            while waiting:
                found = waiting.pop(0).result()
                waiting += [threads.submit(read, shard) for shard in islice(left, 1)]
                yield found
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True)
class RunFile:
    """A run.json. It is replaced in one step, so a reader never sees half of it."""

    uri: str

    def exists(self) -> bool:
        """Return whether a run has written it."""
        return open_place(self.uri).is_file()

    def read(self) -> dict[str, Any]:
        """Return its content.

        Raises:
            ConfigError: it is not JSON (`bad_run_json`).
            OSError: it is not there.
        """
        try:
            content: dict[str, Any] = json.loads(open_place(self.uri).read().decode())
        except ValueError as error:
            raise ConfigError(f"{self.uri} is not JSON: {error}", reason="bad_run_json") from error
        return content

    def replace(self, content: dict[str, Any]) -> None:
        """Write the content in place of what is there."""
        open_place(self.uri).write(json_bytes(content))

    def close(self, state: str, message: str) -> None:
        """Say how a run ended that had no time to say so itself.

        Do nothing where the run said so, where another one goes on, or where there is none.
        """
        if not self.exists():
            return
        content = self.read()
        if content["state"] == "running" and is_gone(content["process"]):
            finished = datetime.now(UTC).isoformat()
            self.replace(content | {"state": state, "message": message, "finished_at": finished})


def this_process() -> dict[str, Any]:
    """Return what tells this process from others (`is_gone`): its host, its number, and of what space that is.

    The space tells containers of one host name apart, and one boot from the next, where the system says so.
    """
    space = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    return {"host": platform.node(), "pid": os.getpid(), "space": space}


def is_gone(process: dict[str, Any]) -> bool:
    """Return whether a process of this machine has ended; of another machine nobody can tell."""
    here = this_process()
    if process.get("host") != here["host"] or process.get("space", here["space"]) != here["space"]:
        return False
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
