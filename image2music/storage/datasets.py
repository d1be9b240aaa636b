"""What lies in an output folder: datasets of shards, failures, generations.

Parquet files that appear while the job runs, so that a killed run loses little.

What already lies in an output folder, and what becomes of it.

A new generation of an output takes the place of the earlier one, in steps that can be repeated.

While it is made it lies in OUT/.refresh: `compositions` holds rows composed anew, `kept` those of the earlier
generation. A marker says that it is whole and where the earlier one goes; from then on only folders are renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from image2music.errors import OutputError
from image2music.images.archives import member_of
from image2music.rows import Row, printable
from image2music.storage.files import atomic_write
from image2music.types import METADATA_COLUMNS, metadata_key
from schemas.failure import FAILURE_SCHEMA


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


COMPOSITIONS = "compositions"
FAILURES = "failures"
ALBUMS = "albums"
GENERATIONS = "generations"
STUCK = ".stuck"
FAILURE_ID_COLUMNS = ("stage", "id", "uri", "reason")


def output_lock(output: Path) -> Path:
    """What a run locks (`write_lock.one_writer`) that writes into an output."""
    return output / ".lock"


def shards(folder: Path) -> list[Path]:
    """The finished Parquet files of a folder, sorted by name."""
    return sorted(folder.glob("part-*.parquet"))


def open_shards(found: Iterable[Path]) -> Iterator[pq.ParquetFile]:
    """Shards to read. One that is gone by now was replaced by a run that goes on at the same time, and is left out."""
    for shard in found:
        try:
            file = pq.ParquetFile(shard)
        except FileNotFoundError:
            continue
        yield file


def read_rows(folder: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Some columns of every row, shard by shard."""
    return rows_of(shards(folder), columns)


def rows_of(found: Iterable[Path], columns: list[str]) -> Iterator[dict[str, Any]]:
    """Some columns of every row of some shards."""
    for shard in open_shards(found):
        yield from shard.read(columns=columns).to_pylist()


def count_rows(folder: Path) -> int:
    """Rows in a folder of shards."""
    return sum(shard.metadata.num_rows for shard in open_shards(shards(folder)))


def finished_ids(output: Path, settings_hash: str) -> frozenset[bytes]:
    """Keys (`metadata_key`) of the pictures that have a row.

    Raises:
        OutputError: rows were made with other settings (`other_settings`).
    """
    finished = set()
    for row in read_rows(output / COMPOSITIONS, ["image_id", "settings_hash", *METADATA_COLUMNS]):
        finished.add(metadata_key(row["image_id"], row))
        if row["settings_hash"] == settings_hash:
            continue
        message = (
            f"{output} holds compositions of other settings; add --overwrite to move them to "
            f"{output / GENERATIONS}, or name another --output"
        )
        raise OutputError(message, reason="other_settings")
    return frozenset(finished)


def retire_generation(output: Path, settings_hash: str) -> Path | None:
    """Move what was made with other settings to generations/; None if there is nothing."""
    rows = read_rows(output / COMPOSITIONS, ["settings_hash"])
    others = sorted({row["settings_hash"] for row in rows} - {settings_hash})
    if not others:
        return None
    home = _new_folder(output / GENERATIONS / others[0][:12])
    for name in (COMPOSITIONS, FAILURES, ALBUMS, BOOKS, "run.json"):
        if (output / name).exists():
            os.replace(output / name, home / name)
    return home


def _new_folder(wanted: Path) -> Path:
    names = [wanted, *(wanted.with_name(f"{wanted.name}-{number}") for number in range(2, 10_000))]
    home = next(name for name in names if not name.exists())
    home.mkdir(parents=True)
    return home


def forget_failures(folder: Path, uris: Collection[str]) -> None:
    """Drop the failures of pictures that are about to be tried again; those of other pictures stay."""
    archives = {f"{member.archive}#" for uri in uris if (member := member_of(uri)) is not None}
    again = {printable(uri) for uri in (*uris, *archives)}
    _keep_failures(folder, lambda row: row["uri"] not in again)


def forget_failures_of_stage(folder: Path, stage: str) -> None:
    """Drop the failures of a stage that is about to do everything again."""
    _keep_failures(folder, lambda row: row["stage"] != stage)


def _keep_failures(folder: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    old = shards(folder)
    if not old:
        return
    rows = pa.concat_tables([pq.read_table(shard) for shard in old]).to_pylist()
    kept = [row for row in rows if keep(row)]
    written = write_shard(str(folder), kept, FAILURE_SCHEMA, FAILURE_ID_COLUMNS) if kept else None
    for shard in old:
        if str(shard) != written:
            shard.unlink()


def drop_repeated(output: Path, earlier: Collection[bytes] = ()) -> int:
    """Keep the newest row of each picture; returns how many were dropped.

    A runner that repeats a bundle may have written a picture into two shards, and a picture whose brief has changed
    was composed again. `earlier` are the keys (`metadata_key`) that had a row before the run: whatever the clock says,
    other rows are newer.
    """
    newest: dict[str, tuple[bool, datetime, str]] = {}
    for shard in shards(output / COMPOSITIONS):
        for row in pq.ParquetFile(shard).read(columns=["image_id", "composed_at", *METADATA_COLUMNS]).to_pylist():
            here = metadata_key(row["image_id"], row) not in earlier, row["composed_at"], shard.name
            newest[row["image_id"]] = max(newest.get(row["image_id"], here), here)
    dropped = 0
    for shard in shards(output / COMPOSITIONS):
        ids = pq.read_table(shard, columns=["image_id"]).column("image_id").to_pylist()
        fresh = [id for id in dict.fromkeys(ids) if newest[id][-1] == shard.name]
        if len(fresh) == len(ids):
            continue
        dropped += len(ids) - len(fresh)
        table = pq.ParquetFile(shard).read()
        if fresh:
            write_table(str(shard.parent), table.take([ids.index(id) for id in fresh]), ("image_id",))
        shard.unlink()
    return dropped


KEPT = "kept"
_STAGING, _MARKER, _RECORD = ".refresh", "complete.json", "run.json"


def staging(output: Path) -> Path:
    """Where a new generation is made."""
    return output / _STAGING


def begin(output: Path, *, version: int) -> Path:
    """The staging folder, with what a stopped run composed from the same version of the index.

    run.json of the earlier generation is put aside, for the new run writes its own.
    """
    home = staging(output)
    note = home / "version"
    if note.exists() and note.read_text() != str(version):
        shutil.rmtree(home / COMPOSITIONS, ignore_errors=True)
    shutil.rmtree(home / KEPT, ignore_errors=True)
    shutil.rmtree(home / FAILURES, ignore_errors=True)
    (home / KEPT).mkdir(parents=True)
    (home / COMPOSITIONS).mkdir(exist_ok=True)
    note.write_text(str(version))
    if (output / _RECORD).exists() and not (home / _RECORD).exists():
        shutil.copy2(output / _RECORD, home / _RECORD)
    return home


def complete(output: Path, *, version: int) -> Path:
    """Say that the staged generation is whole, and put it in place; returns where the earlier one lies now."""
    names = (f"index-{version}", *(f"index-{version}-{number}" for number in range(2, 10_000)))
    name = next(name for name in names if not (output / GENERATIONS / name).exists())
    atomic_write(staging(output) / _MARKER, json.dumps({"earlier": name}).encode())
    finish(output)
    return output / GENERATIONS / name


def finish(output: Path) -> None:
    """Do what is left of putting a whole generation in place; nothing where there is none."""
    home, current = staging(output), output / COMPOSITIONS
    marker = home / _MARKER
    if not marker.exists():
        return
    earlier = output / GENERATIONS / json.loads(marker.read_text())["earlier"]
    earlier.mkdir(parents=True, exist_ok=True)
    if not (earlier / COMPOSITIONS).exists():
        os.replace(current, earlier / COMPOSITIONS)
    if (home / _RECORD).exists():
        os.replace(home / _RECORD, earlier / _RECORD)
    if not current.exists():
        _move(home / KEPT, home / COMPOSITIONS)
        os.replace(home / COMPOSITIONS, current)
    _move(home / FAILURES, output / FAILURES)
    shutil.rmtree(home)


def _move(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for shard in shards(source):
        os.replace(shard, target / shard.name)


BOOKS = "books"
"""Folder of an output with a folder for each album, in it album.abc and album.mid."""
