"""Parquet datasets of an output, and the record of a run beside them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from image2music.errors import ConfigError
from image2music.storage.files import atomic_write_json

Row = dict[str, Any]

_FIRST, _LAST = "part-", ".parquet"
_ID_DIGITS = 16
"""Of a slice's id; the hash of a shard's rows has 24."""

REPLACING = ".replacing.json"
"""Lies in a dataset while shards are replaced: the names of the old ones, and of the new ones."""


@dataclass(frozen=True)
class Dataset:
    """The shards in one folder, named part-HASH.parquet by the ids of their rows.

    A shard gets its name only when it is whole, so what a reader sees is complete, and a repeated bundle with the same
    rows replaces its own shard. Nothing is there before the first row: a dataset without a folder is an empty one.

    Shards are replaced by a note that names old and new ones. Readers go by the note: they see the old ones until all
    new ones are there, and never both, although a kill may leave both on disk. The next writer removes what is left
    over (`finish_replacing`).
    """

    uri: str

    def shards(self, of: str = "") -> list[str]:
        """Return the URIs of the finished shards, sorted; only those that the slice `of` wrote, where one is named."""
        try:
            names = os.listdir(self.uri)
        except (FileNotFoundError, NotADirectoryError):
            return []
        replaced = self._replaced(names) if REPLACING in names else []
        first = f"{_FIRST}{of}-" if of else _FIRST
        found = (name for name in sorted(names) if name.startswith(first) and name.endswith(_LAST))
        return [f"{self.uri}/{name}" for name in found if name not in replaced]

    def read(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield some columns of every row, shard by shard."""
        return read_shards(self.shards(), columns)

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield each shard's URI with all of its rows."""
        for shard in self.shards():
            yield shard, read_table(shard)

    def count(self) -> int:
        """Return the number of rows."""
        return sum(shard.metadata.num_rows for shard in open_shards(self.shards()))

    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(os.stat(shard).st_size for shard in self.shards())

    def append(self, rows: Sequence[Row], schema: pa.Schema, id_columns: Sequence[str], of: str = "") -> str:
        """Write rows as one shard, named by the slice `of` where there is one and by their ids; return its URI."""
        return self.append_table(pa.Table.from_pylist(list(rows), schema=schema), id_columns, of)

    def append_table(self, table: pa.Table, id_columns: Sequence[str], of: str = "") -> str:
        """Write a table as one shard (zstd), named as `append` says; return its URI."""
        first = f"{_FIRST}{of}-" if of else _FIRST
        path = f"{self.uri}/{first}{_hash(table, id_columns)}{_LAST}"
        os.makedirs(self.uri, exist_ok=True)
        with self._hidden(table) as hidden:
            os.replace(hidden, path)
        return path

    def replace(self, old: Collection[str], table: pa.Table, id_columns: Sequence[str]) -> None:
        """Put the rows of a table in the place of some shards; for the one writer who holds the lock."""
        self.replace_all(old, [table], id_columns)

    def replace_all(self, old: Collection[str], tables: Iterable[pa.Table], id_columns: Sequence[str]) -> None:
        """Put the rows of some tables, a shard each, in the place of some shards, in one step for every reader.

        For the one writer who holds the lock. Tables are taken one by one, so that an iterator may read them then.
        """
        new: dict[str, str] = {}
        with ExitStack() as stack:
            for table in tables:
                if table.num_rows:
                    name = self._free_name(table, id_columns, new)
                    new[name] = stack.enter_context(self._hidden(table))
            self._note(list(new), sorted(os.path.basename(shard) for shard in old))
            for name, hidden in new.items():
                os.replace(hidden, f"{self.uri}/{name}")
        self.finish_replacing()

    def _free_name(self, table: pa.Table, id_columns: Sequence[str], taken: Collection[str]) -> str:
        # A name that nothing has yet: whether it is there tells a reader whether the new shard is in place.
        wanted = f"{_FIRST}{_hash(table, id_columns)}"
        names = (f"{wanted}{more}{_LAST}" for more in ("", *(f"-{number}" for number in range(2, 10_000))))
        return next(name for name in names if name not in taken and not os.path.exists(f"{self.uri}/{name}"))

    def finish_replacing(self) -> None:
        """Remove what a killed writer left: the shards that were replaced, or those new ones that came too early."""
        note = Path(self.uri, REPLACING)
        if not note.exists():
            return
        for name in self._replaced(os.listdir(self.uri)):
            Path(self.uri, name).unlink(missing_ok=True)
        note.unlink()

    def _note(self, new: list[str], old: list[str]) -> None:
        atomic_write_json(f"{self.uri}/{REPLACING}", {"new": new, "old": old})

    def _replaced(self, names: Collection[str]) -> list[str]:
        """Return the names that no reader sees: of the old shards once all new ones are there, else of the new ones."""
        try:
            note = json.loads(Path(self.uri, REPLACING).read_bytes())
        except FileNotFoundError:  # the writer has just finished
            return []
        # An earlier release named one or none.
        new = [note["new"]] if isinstance(note["new"], str) else note["new"] or []
        found: list[str] = note["old"] if all(name in names for name in new) else new
        return found

    @contextmanager
    def _hidden(self, table: pa.Table) -> Iterator[str]:
        """Write a table under a name that no reader sees, to be renamed in the block."""
        hidden = f"{self.uri}/.{_FIRST}{uuid.uuid4().hex}"
        try:
            pq.write_table(table, hidden, compression="zstd")
            yield hidden
        except BaseException:
            with suppress(OSError):
                os.unlink(hidden)
            raise

    def clear(self) -> None:
        """Remove every shard."""
        self.discard(self.shards())

    def discard(self, shards: Iterable[str]) -> None:
        """Remove some shards; those that are gone by now, too."""
        for shard in shards:
            Path(shard).unlink(missing_ok=True)

    def shards_by_slice(self) -> dict[str, list[str]]:
        """Return the finished shards by the id of the slice that wrote them; "" is of those that none did."""
        found: dict[str, list[str]] = {}
        for shard in self.shards():
            words = os.path.basename(shard).removeprefix(_FIRST).split("-")
            found.setdefault(words[0] if len(words[0]) == _ID_DIGITS else "", []).append(shard)
        return found

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.uri, ignore_errors=True)


def _hash(table: pa.Table, id_columns: Sequence[str]) -> str:
    return hashlib.sha256(repr(table.select(list(id_columns)).to_pylist()).encode()).hexdigest()[:24]


def open_shards(shards: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """Open shards one by one; one that is gone by now was replaced by a run that goes on, and is left out."""
    for shard in shards:
        try:
            file = pq.ParquetFile(shard)
        except FileNotFoundError:
            continue
        yield file


def read_table(shard: str) -> pa.Table:
    """Return all rows of one shard."""
    return pq.ParquetFile(shard).read()


def read_shards(shards: Sequence[str], columns: Sequence[str]) -> Iterator[Row]:
    """Yield some columns of every row of some shards; a column that a shard lacks is left out of its rows."""
    for shard in open_shards(shards):
        yield from shard.read(columns=list(columns)).to_pylist()


def read_batches(shards: Sequence[str], columns: Sequence[str], rows: int) -> Iterator[list[Row]]:
    """Yield some columns of the rows of some shards, at most `rows` at once."""
    for shard in open_shards(shards):
        for batch in shard.iter_batches(batch_size=rows, columns=list(columns)):
            yield batch.to_pylist()


@dataclass(frozen=True)
class RunFile:
    """A run.json. It is replaced in one step, so a reader never sees half of it."""

    uri: str

    def exists(self) -> bool:
        """Return whether a run has written it."""
        return os.path.isfile(self.uri)

    def read(self) -> dict[str, Any]:
        """Return its content.

        Raises:
            ConfigError: it is not JSON (`bad_run_json`).
            OSError: it is not there.
        """
        with open(self.uri, encoding="utf-8") as file:
            text = file.read()
        try:
            content: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{self.uri} is not JSON: {error}", reason="bad_run_json") from error
        return content

    def replace(self, content: dict[str, Any]) -> None:
        """Write the content in place of what is there."""
        atomic_write_json(self.uri, content)

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


def is_gone(process: dict[str, Any]) -> bool:
    """Return whether a process of this machine has ended; of another machine nobody can tell."""
    if process.get("host") != platform.node():
        return False
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
