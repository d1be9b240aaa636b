"""What already lies in an output folder, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from image2music.album.row import BOOKS
from image2music.briefs import BRIEF_COLUMNS, brief_key
from image2music.errors import OutputError
from image2music.pictures.places import member_of
from image2music.rows import printable
from schemas.failure import FAILURE_SCHEMA
from transforms.shards import write_shard, write_table

COMPOSITIONS = "compositions"
FAILURES = "failures"
ALBUMS = "albums"
GENERATIONS = "generations"
STUCK = ".stuck"

FAILURE_ID_COLUMNS = ("stage", "id", "uri", "reason")


def lock_file(output: Path) -> Path:
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
    """Keys (`brief_key`) of the pictures that have a row.

    Raises:
        OutputError: rows were made with other settings (`other_settings`).
    """
    finished = set()
    for row in read_rows(output / COMPOSITIONS, ["image_id", "settings_hash", *BRIEF_COLUMNS]):
        finished.add(brief_key(row["image_id"], row))
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
    was composed again. `earlier` are the keys (`brief_key`) that had a row before the run: whatever the clock says,
    other rows are newer.
    """
    newest: dict[str, tuple[bool, datetime, str]] = {}
    for shard in shards(output / COMPOSITIONS):
        for row in pq.ParquetFile(shard).read(columns=["image_id", "composed_at", *BRIEF_COLUMNS]).to_pylist():
            here = brief_key(row["image_id"], row) not in earlier, row["composed_at"], shard.name
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
