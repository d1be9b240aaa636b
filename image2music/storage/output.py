"""What outputs and indexes hold beside each other: rows, failures, albums, run.json, locks, earlier generations.

Only this module knows the layout of an output and the names of the files beside an index's table; so it is also what
tells which files image2music wrote itself (outputs, indexes, reports, exports), none of which is ever taken as input.

A new generation of an output takes the place of the earlier one in steps that can be repeated. While it is made it
lies in OUT/.refresh: `compositions` holds rows composed anew, `kept` those of the earlier generation. A marker says
that it is whole and where the earlier one goes; from then on only folders are renamed. Further takes of some rows are
made in the same place; the marker says that they are, and then their rows alone take the places of the earlier ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from image2music.storage.datasets import REPLACING, Dataset, Row, RunFile, read_shards, read_table
from image2music.storage.files import (
    atomic_write,
    atomic_write_json,
    bytes_under,
    file_lock,
    free_bytes,
    make_folder,
    write_parquet,
)
from schemas.failure import FAILURE_SCHEMA

COMPOSITIONS = "compositions"
FAILURES = "failures"
ALBUMS = "albums"
BOOKS = "books"
"""A folder for each album, in it album.abc and album.mid."""
GENERATIONS = "generations"
RUN_FILE = "run.json"
LEDGER = "requests.sqlite"
LOCK = ".lock"
FAILURE_ID_COLUMNS = ("stage", "id", "uri", "reason")
_KEPT = "kept"
_STUCK, _REFRESH, _ALBUMS, _MARKER, _VERSION = ".stuck", ".refresh", ".albums", "complete.json", "version"
_GLANCES, _PLACES, _SLICES, _ATTEMPTS = ".glances", ".places", ".slices", ".attempts.json"

RowKey = Callable[[Row], bytes]
"""What tells whether two rows are of the same picture with the same metadata."""


@dataclass(frozen=True)
class Failures(Dataset):
    """Rows of schemas/failure.py."""

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows as one shard; nothing where there are none."""
        if rows:
            self.append(rows, FAILURE_SCHEMA, FAILURE_ID_COLUMNS)

    def forget(self, matches: Callable[[Row], bool]) -> None:
        """Drop the rows that match: what they are about is tried again."""
        old = self.shards()
        if not old:
            return
        # Once each: a run of an earlier release that was killed at this place left every failure twice.
        rows = {tuple(row.values()): row for row in read_shards(old, FAILURE_SCHEMA.names)}
        kept = [row for row in rows.values() if not matches(row)]
        self.replace(old, pa.Table.from_pylist(kept, schema=FAILURE_SCHEMA), FAILURE_ID_COLUMNS)


@dataclass(frozen=True)
class OutputStore:
    """One output. `uri` is its folder."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    @property
    def compositions(self) -> Dataset:
        """Rows of schemas/composition.py, of the current generation."""
        return Dataset(self._place(COMPOSITIONS))

    @property
    def failures(self) -> Failures:
        """What failed, and why."""
        return Failures(self._place(FAILURES))

    @property
    def albums(self) -> Dataset:
        """Rows of schemas/album.py."""
        return Dataset(self._place(ALBUMS))

    @property
    def places(self) -> Dataset:
        """Which picture lies at which place: rows of schemas/place.py, written once a job by whoever read them."""
        return Dataset(self._place(_PLACES))

    @property
    def slice_runs(self) -> str:
        """Where the parts of an array job say how they ended: K-of-N.json for each."""
        return self._place(_SLICES)

    def slice_run(self, part: int, parts: int) -> RunFile:
        """Return what part `part` of `parts` of an array job says of itself, as run.json does of a job."""
        return RunFile(f"{self.slice_runs}/{part}-of-{parts}.json")

    def slice_lock(self, part: int, parts: int) -> AbstractContextManager[None]:
        """Hold the right to be part `part` of `parts` of an array job; others may be at work."""
        os.makedirs(self.slice_runs, exist_ok=True)
        return file_lock(f"part {part}/{parts} of {self.uri}", f"{self.slice_runs}/{part}-of-{parts}.lock")

    @property
    def attempts(self) -> RunFile:
        """Which slices a process on its own has begun and not ended, and how often."""
        return RunFile(self._place(_ATTEMPTS))

    def clear_slice_runs(self) -> None:
        """Forget the parts of an array job: they are joined."""
        shutil.rmtree(self.slice_runs, ignore_errors=True)

    @property
    def glances(self) -> Dataset:
        """What was seen of the pictures of albums before they were planned: rows of GLANCE_SCHEMA, for later runs."""
        return Dataset(self._place(_GLANCES))

    @property
    def books(self) -> str:
        """Where the books of albums lie."""
        return self._place(BOOKS)

    @property
    def run(self) -> RunFile:
        """run.json."""
        return RunFile(self._place(RUN_FILE))

    @property
    def ledger(self) -> str:
        """Where the answers and costs of a composer's requests to a server are kept."""
        return self._place(LEDGER)

    @property
    def stuck_notes(self) -> str:
        """Where workers note what takes too long."""
        return self._place(_STUCK)

    def part(self, name: str) -> OutputStore:
        """Return an output inside this one, such as that of a variant."""
        return OutputStore(self._place(name))

    def prepare(self) -> None:
        """Make the folder, and prove that it can be written.

        Raises:
            OutputError: it cannot (`output_not_writable`).
        """
        make_folder(self.uri)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the right to write, as `file_lock` does, and first remove what a killed writer left of shards."""
        with file_lock(self.uri, self._place(LOCK)):
            for pattern in (f"*/{REPLACING}", f"*/*/{REPLACING}"):  # also of variants and of a staged generation
                for note in Path(self.uri).glob(pattern):
                    Dataset(str(note.parent)).finish_replacing()
            yield

    def free_bytes(self) -> int:
        """Return the bytes that are free where the output lies, or would lie."""
        return free_bytes(self.uri)

    def written(self) -> list[str]:
        """Return where rows, failures and run.json are, of these what is there."""
        return [place for name in (COMPOSITIONS, FAILURES, RUN_FILE) if os.path.exists(place := self._place(name))]

    def write(self, name: str, data: bytes) -> None:
        """Write a file into the output, or replace it, in one step."""
        atomic_write(self._place(name), data)

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON into the output, or replace it, in one step."""
        atomic_write_json(self._place(name), content)

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a Parquet file into the output, or replace it, in one step."""
        write_parquet(self._place(name), table)

    def clear_stuck_notes(self) -> None:
        """Remove the notes about what takes too long: all is done."""
        shutil.rmtree(self.stuck_notes, ignore_errors=True)

    def finished(self, columns: Sequence[str], key: RowKey) -> frozenset[bytes]:
        """Return the keys of the pictures that have a row, whatever its settings; `columns` are those `key` reads."""
        return frozenset(key(row) for row in self.compositions.read(columns))

    def rows_by_settings(self) -> Counter[str]:
        """Return the number of compositions of each settings_hash, the largest first."""
        found = Counter(row["settings_hash"] for row in self.compositions.read(["settings_hash"]))
        return Counter(dict(found.most_common()))

    def further_takes(self) -> int:
        """Return the number of rows whose seed is not the one that their settings name: another take was asked for.

        The settings' seed stands in run.json, or in that of an earlier generation; where none of them is of these
        settings, it is the smallest of the rows'.
        """
        rows = [(row["settings_hash"], row["seed"]) for row in self.compositions.read(["settings_hash", "seed"])]
        first: dict[str, int] = {}
        for made_by, seed in rows:
            first[made_by] = min(seed, first.get(made_by, seed))
        for place in (*Path(self.generations).glob(f"*/{RUN_FILE}"), Path(self.run.uri)):
            record = RunFile(str(place)).read() if place.exists() else {}
            if record.get("settings_hash") in first and "seed" in record.get("options", {}):
                first[record["settings_hash"]] = record["options"]["seed"]
        return sum(seed != first[made_by] for made_by, seed in rows)

    @property
    def generations(self) -> str:
        """Where earlier generations lie."""
        return self._place(GENERATIONS)

    def drop_repeated(self, columns: Sequence[str], key: RowKey, earlier: Collection[bytes] = ()) -> int:
        """Keep the newest row of each picture; return how many were dropped.

        A runner that repeats a bundle may have written a picture into two shards, and a picture whose metadata changed
        was composed again. `earlier` are the keys that had a row before the run: whatever the clock says, other rows
        are newer.
        """
        newest: dict[str, tuple[bool, datetime, str]] = {}
        for shard in self.compositions.shards():
            for row in read_shards([shard], ["image_id", "composed_at", *columns]):
                here = key(row) not in earlier, row["composed_at"], shard
                newest[row["image_id"]] = max(newest.get(row["image_id"], here), here)
        dropped = 0
        for shard, table in self.compositions.tables():
            ids = table.column("image_id").to_pylist()
            fresh = [id for id in dict.fromkeys(ids) if newest[id][-1] == shard]
            if len(fresh) == len(ids):
                continue
            dropped += len(ids) - len(fresh)
            rows = table.take(pa.array([ids.index(id) for id in fresh], pa.int64()))
            self.compositions.replace([shard], rows, ("image_id",))
        return dropped

    def keep_only(self, ids: Collection[str]) -> frozenset[str]:
        """Drop the compositions of other pictures; return the ids of those that are left."""
        wanted, left = pa.array(sorted(ids), pa.string()), set()
        for shard, table in self.compositions.tables():
            rows = table.filter(pc.is_in(table["image_id"], wanted))
            left.update(rows["image_id"].to_pylist())
            if rows.num_rows < table.num_rows:
                self.compositions.replace([shard], rows, ("image_id",))
        return frozenset(left)

    def retire(self, settings_hash: str) -> str | None:
        """Move what was made with other settings to generations/; return where, or None where there is nothing."""
        others = sorted({row["settings_hash"] for row in self.compositions.read(["settings_hash"])} - {settings_hash})
        if not others:
            return None
        home = self._free_generation(others[0][:12])
        os.makedirs(home)
        for name in (COMPOSITIONS, FAILURES, ALBUMS, BOOKS, RUN_FILE):
            if os.path.exists(self._place(name)):
                os.replace(self._place(name), f"{home}/{name}")
        return home

    @property
    def kept(self) -> Dataset:
        """In a new generation (`begin_generation`): rows of the earlier one that stay."""
        return Dataset(self._place(_KEPT))

    def begin_generation(self, version: int, takes: str = "") -> OutputStore:
        """Return the output in which a new generation is made, from `version` of the index.

        `takes` tells which further takes are made, where they are and no whole generation. It holds what a stopped run
        composed from the same version for the same takes. run.json of the earlier generation is put aside, for the new
        run writes its own.
        """
        staged = self.part(_REFRESH)
        note, made_from = Path(staged._place(_VERSION)), f"{version} {takes}".rstrip()
        if note.exists() and note.read_text() != made_from:
            staged.compositions.remove()
        staged.kept.remove()
        staged.failures.remove()
        for dataset in (staged.kept, staged.compositions):
            os.makedirs(dataset.uri, exist_ok=True)
        note.write_text(made_from)
        if self.run.exists() and not staged.run.exists():
            shutil.copy2(self.run.uri, staged.run.uri)
        return staged

    def complete_generation(self, earlier_version: int) -> str:
        """Say that the new generation is whole, and put it in place; return where the earlier one lies now."""
        return self._complete(self._free_generation(f"index-{earlier_version}"), takes=False)

    def complete_takes(self) -> str | None:
        """Say that the further takes are whole, and put them in place; return where the earlier rows lie now.

        Where no take was made, only failures are taken over, and None is returned.
        """
        staged = self.part(_REFRESH)
        if not staged.compositions.shards():
            _move_shards(staged.failures, self.failures)
            shutil.rmtree(staged.uri)
            return None
        return self._complete(self._free_generation("takes"), takes=True)

    def _complete(self, home: str, takes: bool) -> str:
        marker = self.part(_REFRESH)._place(_MARKER)
        atomic_write(marker, json.dumps({"earlier": os.path.basename(home), "takes": takes}).encode())
        self.finish_generation()
        return home

    def finish_generation(self) -> None:
        """Do what is left of putting a whole generation, or further takes, in place; nothing where there are none."""
        staged = self.part(_REFRESH)
        marker = Path(staged._place(_MARKER))
        if not marker.exists():
            return
        note = json.loads(marker.read_text())
        earlier = Path(self._generation(note["earlier"]))
        earlier.mkdir(parents=True, exist_ok=True)
        if note.get("takes"):
            self._exchange(staged.compositions, Dataset(str(earlier / COMPOSITIONS)))
        elif not (earlier / COMPOSITIONS).exists():
            os.replace(self.compositions.uri, earlier / COMPOSITIONS)
        if staged.run.exists():
            os.replace(staged.run.uri, earlier / RUN_FILE)
        if not Path(self.compositions.uri).exists():
            _move_shards(staged.kept, staged.compositions)
            os.replace(staged.compositions.uri, self.compositions.uri)
        _move_shards(staged.failures, self.failures)
        # The marker last: without it, what a kill leaves here would pass for a generation that is being made.
        for place in Path(staged.uri).iterdir():
            if place != marker:
                shutil.rmtree(place) if place.is_dir() else place.unlink()
        shutil.rmtree(staged.uri)

    def _exchange(self, takes: Dataset, earlier: Dataset) -> None:
        """Put further takes in the places of the rows of the same pictures, and write those to `earlier`.

        Can be repeated: a row that is the take itself is in its place already.
        """
        made = {row["image_id"]: row["composed_at"] for row in takes.read(["image_id", "composed_at"])}
        replaced: dict[str, pa.Array] = {}
        for shard in self.compositions.shards():
            rows = read_shards([shard], ["image_id", "composed_at"])
            old = [made.get(row["image_id"], row["composed_at"]) != row["composed_at"] for row in rows]
            if any(old):
                replaced[shard] = pa.array(old)
        for shard, old in replaced.items():
            earlier.append_table(read_table(shard).filter(old), ("image_id",))
        if replaced:
            kept = (read_table(shard).filter(pc.invert(old)) for shard, old in replaced.items())
            fresh = (table for _, table in takes.tables())
            self.compositions.replace_all(replaced, chain(kept, fresh), ("image_id",))

    def begin_albums(self) -> OutputStore:
        """Return an output for new albums and books; `publish_albums` puts them in place."""
        staged = self.part(_ALBUMS)
        shutil.rmtree(staged.uri, ignore_errors=True)
        for place in (staged.albums.uri, staged.books):
            os.makedirs(place)
        return staged

    def publish_albums(self) -> None:
        """Put the new albums and books in the place of the earlier ones."""
        staged = self.part(_ALBUMS)
        for name in (ALBUMS, BOOKS):
            if os.path.exists(self._place(name)):
                os.replace(self._place(name), staged._place(f"earlier-{name}"))
            os.replace(staged._place(name), self._place(name))
        shutil.rmtree(staged.uri)

    def _free_generation(self, wanted: str) -> str:
        names = (wanted, *(f"{wanted}-{number}" for number in range(2, 10_000)))
        return next(place for name in names if not os.path.exists(place := self._generation(name)))

    def _generation(self, name: str) -> str:
        return self._place(f"{GENERATIONS}/{name}")

    def _place(self, name: str) -> str:
        return os.path.join(self.uri, name)


def open_output(uri: str | Path) -> OutputStore:
    """Return the output at a place; nothing is made or read."""
    return OutputStore(str(Path(uri)))


def _move_shards(source: Dataset, target: Dataset) -> None:
    os.makedirs(target.uri, exist_ok=True)
    for shard in source.shards():
        os.replace(shard, f"{target.uri}/{os.path.basename(shard)}")


@dataclass(frozen=True)
class IndexStore:
    """The files of the index whose table is at `uri`, DIR/NAME.lance; they are DIR/NAME.lance.*."""

    uri: str

    @property
    def failures(self) -> Failures:
        """What the last run could not index, and why."""
        return Failures(self._beside("failures"))

    @property
    def run(self) -> RunFile:
        """run.json of the last run."""
        return RunFile(self._beside("run.json"))

    @property
    def stuck_notes(self) -> str:
        """Where workers note what takes too long."""
        return self._beside("stuck")

    @property
    def attempts(self) -> RunFile:
        """As of an output."""
        return RunFile(self._beside("attempts.json"))

    @property
    def manifest(self) -> str:
        """The Parquet file that says what the MIDI files looked like (`image2music.index.maintenance`)."""
        return self._beside("files.parquet")

    def prepare(self) -> None:
        """Make the folder that the table lies in, and prove that it can be written.

        Raises:
            OutputError: it cannot (`output_not_writable`).
        """
        make_folder(os.path.dirname(self.uri) or ".")

    def lock(self) -> AbstractContextManager[None]:
        """Hold the right to write, as `file_lock` does."""
        return file_lock(self.uri, self._beside("lock"))

    def size(self) -> int:
        """Return the bytes of the table with all of its versions."""
        return bytes_under(self.uri)

    def clear_stuck_notes(self) -> None:
        """Remove the notes about what takes too long: all is done."""
        shutil.rmtree(self.stuck_notes, ignore_errors=True)

    def _beside(self, ending: str) -> str:
        return f"{self.uri}.{ending}"


def open_index_files(uri: str) -> IndexStore:
    """Return the files beside a table; nothing is made or read."""
    return IndexStore(uri.rstrip("/"))


REPORT_MARKER = "report.json"
"""Lies in every report."""

_SHARD = re.compile(r"part-([0-9a-f]{16}-)?[0-9a-f]{24}(-\d+)?\.parquet")
_BESIDE_INDEX = re.compile(r".*\.lance\.(failures|stuck|run\.json|lock|attempts\.json|files\.parquet)")
_EXPORT = re.compile(r"[0-9a-f]{16}\.(abc|mid|musicxml|wav|heatmap\.png)")
_SCORE = ("score.json", "score.parquet")

_IN_OUTPUT = (COMPOSITIONS, FAILURES, GENERATIONS, RUN_FILE, LEDGER, LOCK)
"""In albums and books, names that people use for folders, nothing but shards and notation is written."""

_TELLING = (RUN_FILE, LOCK, COMPOSITIONS, FAILURES, REPORT_MARKER, "index.html", "_versions", *_SCORE)
"""Names that tell what a folder is."""


class WrittenFiles:
    """Tells whether a local file or folder was written by image2music. Looks at each folder above it once."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}

    def holds(self, path: str) -> bool:
        """Return whether image2music wrote it, or a folder that it lies in."""
        path = os.path.abspath(path)
        while path != os.path.dirname(path):
            if self.has_entry(os.path.dirname(path), os.path.basename(path)):
                return True
            path = os.path.dirname(path)
        return False

    def has_entry(self, folder: str, name: str) -> bool:
        """Return whether image2music wrote the entry `name` of a folder; folders above are not looked at."""
        if _SHARD.fullmatch(name) or _BESIDE_INDEX.fullmatch(name) or _EXPORT.fullmatch(name):
            return True
        there = self._telling_names(folder)
        if {REPORT_MARKER, "index.html"} <= there or (folder.endswith(".lance") and "_versions" in there):
            return True
        if there & {RUN_FILE, LOCK} and there & {COMPOSITIONS, FAILURES} and name in _IN_OUTPUT:
            return True
        return name in _SCORE and there.issuperset(_SCORE)

    def _telling_names(self, folder: str) -> frozenset[str]:
        if folder not in self._folders:
            here = (name for name in _TELLING if os.path.lexists(os.path.join(folder, name)))
            self._folders[folder] = frozenset(here)
        return self._folders[folder]
