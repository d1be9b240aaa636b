"""What outputs and indexes hold beside each other: rows, failures, albums, run.json, locks, earlier generations.

Only this module knows the layout of an output and the names of the files beside an index's table; so it is also what
tells which files image2music wrote itself (outputs, indexes, reports, exports), none of which is ever taken as input.

A new generation of an output takes the place of the earlier one in steps that can be repeated, and in one of these for
every reader (`Dataset.adopt`). While it is made it lies in OUT/.refresh: `compositions` has rows composed anew, `kept`
those of the earlier generation. A marker, written where none is, says that it is whole, which shards it replaces and
where those go. Further takes of some rows are made in the same place; the marker says that they are, and then their
rows alone take the places of the earlier ones.

An output lies on a disk or in an object store. In a store nothing can be renamed: what is moved is copied and then
removed, by steps that the next writer finishes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from image2music.errors import OutputError
from image2music.storage.datasets import Dataset, Row, RunFile, read_by_shard, read_shards, read_table
from image2music.storage.files import FILES_TABLE, FilePlace, json_bytes, make_folder, open_place, parquet_bytes
from image2music.storage.locks import file_lock
from image2music.storage.objects import is_store
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
_GLANCES, _PLACES, _SLICES = ".glances", ".places", ".slices"
_ATTEMPTS, _MOVING = ".attempts.json", ".moving.json"
_DATASETS = (COMPOSITIONS, FAILURES, ALBUMS, _KEPT, _GLANCES, _PLACES)
_NOT_OUTPUTS = (COMPOSITIONS, FAILURES, ALBUMS, BOOKS, GENERATIONS, _GLANCES, _PLACES, _SLICES, _STUCK)
"""Folders of an output that hold no other one."""

_FAILURES_A_SHARD = 10_000
"""Where they are written anew."""

_PART_RECORD = re.compile(r"(\d+)-of-(\d+)\.json")

RowKey = Callable[[Row], bytes]
"""What tells whether two rows are of the same picture with the same metadata."""


def row_mark(values: Iterable[object]) -> bytes:
    """Return 16 bytes that stand for the values of a row: a set of these holds what was seen, in little memory."""
    return hashlib.blake2b(repr(tuple(values)).encode(errors="surrogatepass"), digest_size=16).digest()


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
        self.replace_all(old, self._others(old, matches), FAILURE_ID_COLUMNS)

    def _others(self, shards: Sequence[str], matches: Callable[[Row], bool]) -> Iterator[pa.Table]:
        """Yield the rows that do not match, a shard's worth at a time."""
        told, kept = set[bytes](), list[Row]()
        for row in read_shards(shards, FAILURE_SCHEMA.names):
            # Once each: a run of an earlier release that was killed while it replaced them left every failure twice.
            mark = row_mark(row.values())
            if mark not in told and not matches(row):
                kept.append(row)
            told.add(mark)
            if len(kept) == _FAILURES_A_SHARD:
                yield pa.Table.from_pylist(kept, schema=FAILURE_SCHEMA)
                kept = []
        yield pa.Table.from_pylist(kept, schema=FAILURE_SCHEMA)


@dataclass(frozen=True)
class OutputStore:
    """One output. `uri` is its folder."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    @property
    def compositions(self) -> Dataset:
        """Rows of schemas/composition.py, of the current generation."""
        return Dataset(self._path(COMPOSITIONS))

    @property
    def failures(self) -> Failures:
        """What failed, and why."""
        return Failures(self._path(FAILURES))

    @property
    def albums(self) -> Dataset:
        """Rows of schemas/album.py."""
        return Dataset(self._path(ALBUMS))

    @property
    def places(self) -> Dataset:
        """Which picture lies at which place: rows of schemas/place.py, written once a job by whoever read them."""
        return Dataset(self._path(_PLACES))

    @property
    def slice_runs(self) -> str:
        """Where the parts of an array job say how they ended: K-of-N.json for each."""
        return self._path(_SLICES)

    def slice_run(self, part: int, parts: int) -> RunFile:
        """Return what part `part` of `parts` of an array job says of itself, as run.json does of a job."""
        return RunFile(f"{self.slice_runs}/{part}-of-{parts}.json")

    def slice_lock(self, part: int, parts: int) -> AbstractContextManager[None]:
        """Hold the right to be part `part` of `parts` of an array job; others may be at work."""
        return file_lock(f"part {part}/{parts} of {self.uri}", f"{self.slice_runs}/{part}-of-{parts}.lock")

    @property
    def attempts(self) -> RunFile:
        """Which slices a process on its own has begun and not ended, and how often."""
        return RunFile(self._path(_ATTEMPTS))

    def clear_slice_runs(self) -> None:
        """Forget the parts of an array job: they are joined."""
        open_place(self.slice_runs).remove_all()

    @property
    def glances(self) -> Dataset:
        """What was seen of the pictures of albums before they were planned: rows of GLANCE_SCHEMA, for later runs."""
        return Dataset(self._path(_GLANCES))

    @property
    def books(self) -> str:
        """Where the books of albums lie."""
        return self._path(BOOKS)

    @property
    def run(self) -> RunFile:
        """run.json."""
        return RunFile(self._path(RUN_FILE))

    @property
    def ledger(self) -> str:
        """Where the answers and costs of a composer's requests to a server are kept: a file on this machine's disk.

        For an output in a store it lies in the user's folder for the state of programs, named by the output's address.
        """
        if not is_store(self.uri):
            return self._path(LEDGER)
        home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        name = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        return os.path.join(home, "image2music", name, LEDGER)

    @property
    def stuck_notes(self) -> str:
        """Where workers note what takes too long."""
        return self._path(_STUCK)

    def part(self, name: str) -> OutputStore:
        """Return an output inside this one, such as that of a variant."""
        return OutputStore(self._path(name))

    def prepare(self) -> None:
        """Make the folder, and prove that it can be written.

        Raises:
            OutputError: it cannot (`output_not_writable`).
            ConfigError: a store that cannot be used.
        """
        make_folder(self.uri)
        if is_store(self.uri):
            make_folder(os.path.dirname(self.ledger))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the right to write, as `file_lock` does, and first finish what a killed writer left in the middle."""
        with file_lock(self.uri, self._path(LOCK)):
            inside = [name for name in self._place.folders() if name not in _NOT_OUTPUTS]
            for home in (self, *(self.part(name) for name in inside)):  # also variants, and what is staged
                for name in _DATASETS:
                    Dataset(home._path(name)).finish_replacing()
            self._finish_moving()
            yield

    def free_bytes(self) -> float:
        """Return the bytes that are free where the output lies, or would lie; infinitely many in a store."""
        return self._place.free_bytes()

    def written(self) -> list[str]:
        """Return where rows, failures and run.json are, of these what is there."""
        names = (COMPOSITIONS, FAILURES, RUN_FILE)
        return [self._path(name) for name in names if (self._place / name).exists()]

    def write(self, name: str, data: bytes) -> None:
        """Write a file into the output, or replace it, in one step."""
        (self._place / name).write(data)

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON into the output, or replace it, in one step."""
        self.write(name, json_bytes(content))

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a Parquet file into the output, or replace it, in one step."""
        self.write(name, parquet_bytes(table))

    def part_records(self) -> list[dict[str, Any]]:
        """Return what the parts of an array job say of themselves, each with its `number`, in their order."""
        names = (_PART_RECORD.fullmatch(found.name) for found in open_place(self.slice_runs).files())
        parts = sorted((int(found[2]), int(found[1])) for found in names if found)
        return [self.slice_run(number, of).read() | {"number": number} for of, number in parts]

    def compact(self) -> None:
        """Put larger shards of compositions and failures in the place of very many small ones (`Dataset.compact`)."""
        self.compositions.compact()
        self.failures.compact()

    def clear_stuck_notes(self) -> None:
        """Remove the notes about what takes too long: all is done."""
        open_place(self.stuck_notes).remove_all()

    def finished(self, columns: Sequence[str], key: RowKey) -> frozenset[bytes]:
        """Return the keys of the pictures that have a row, whatever its settings; `columns` are those `key` reads."""
        return frozenset(key(row) for row in self.compositions.read(columns))

    def rows_by_seed(self) -> Counter[tuple[str, int]]:
        """Return the number of compositions of each settings_hash and seed."""
        return Counter((row["settings_hash"], row["seed"]) for row in self.compositions.read(["settings_hash", "seed"]))

    def rows_by_settings(self, rows: Mapping[tuple[str, int], int] | None = None) -> Counter[str]:
        """Return the number of compositions of each settings_hash, the largest first; of `rows_by_seed`, if known."""
        found = Counter[str]()
        for (made_by, _), number in (self.rows_by_seed() if rows is None else rows).items():
            found[made_by] += number
        return Counter(dict(found.most_common()))

    def further_takes(self, rows: Mapping[tuple[str, int], int] | None = None) -> int:
        """Return the number of rows whose seed is not the one that their settings name: another take was asked for.

        The settings' seed stands in run.json, or in that of an earlier generation; where none of them is of these
        settings, it is the smallest of the rows'. `rows` are those of `rows_by_seed`, if known.
        """
        rows = self.rows_by_seed() if rows is None else rows
        first: dict[str, int] = {}
        for made_by, seed in rows:
            first[made_by] = min(seed, first.get(made_by, seed))
        for run in reversed(self.run_files()):
            record = run.read()
            if record.get("settings_hash") in first and "seed" in record.get("options", {}):
                first[record["settings_hash"]] = record["options"]["seed"]
        return sum(number for (made_by, seed), number in rows.items() if seed != first[made_by])

    def run_files(self) -> list[RunFile]:
        """Return run.json and those of earlier generations, of these what is there."""
        earlier = [RunFile(self._generation(f"{name}/{RUN_FILE}")) for name in open_place(self.generations).folders()]
        return [run for run in (self.run, *reversed(earlier)) if run.exists()]

    @property
    def generations(self) -> str:
        """Where earlier generations lie."""
        return self._path(GENERATIONS)

    def drop_repeated(self, columns: Sequence[str], key: RowKey, earlier: Collection[bytes] = ()) -> Collection[str]:
        """Keep the newest row of each picture; return the image_ids of all that have one. Shards are read once.

        A runner that repeats a bundle may have written a picture into two shards, and a picture whose metadata changed
        was composed again: then these shards are read once more. `earlier` are the keys that had a row before the run:
        whatever the clock says, other rows are newer.
        """
        homes: dict[str, str] = {}
        repeated, shared = set[str](), set[str]()
        for shard, rows in read_by_shard(self.compositions.shards(), ["image_id"]):
            for row in rows:
                id = row["image_id"]
                if id in homes:
                    repeated.add(id)
                    shared |= {homes[id], shard}
                homes.setdefault(id, shard)
        found: dict[str, list[tuple[bool, datetime, str, int]]] = {}
        for shard, rows in read_by_shard(sorted(shared), ["image_id", "composed_at", *columns]):
            for number, row in enumerate(rows):
                if (id := row["image_id"]) in repeated:
                    here = key(row) not in earlier, row["composed_at"], shard, -number
                    found.setdefault(id, []).append(here)
        gone: dict[str, set[int]] = {}
        for rows_of_one in found.values():
            for _, _, shard, number in sorted(rows_of_one)[:-1]:
                gone.setdefault(shard, set()).add(-number)
        self._shorten({shard: partial(_without, numbers=numbers) for shard, numbers in gone.items()})
        return homes.keys()

    def _shorten(self, choices: Mapping[str, Callable[[pa.Table], pa.Table]]) -> None:
        """Replace some shards of the compositions by what is chosen of their rows."""
        if choices:
            tables = (choose(read_table(shard)) for shard, choose in choices.items())
            self.compositions.replace_all(choices, tables, ("image_id",))

    def keep_only(self, ids: Collection[str]) -> frozenset[str]:
        """Drop the compositions of other pictures; return the ids of those that are left."""
        wanted, left, longer = pa.array(sorted(ids), pa.string()), set[str](), []
        for shard, rows in read_by_shard(self.compositions.shards(), ["image_id"]):
            here = [row["image_id"] for row in rows]
            left.update(id for id in here if id in ids)
            longer += [shard] if any(id not in ids for id in here) else []
        self._shorten({shard: lambda table: table.filter(pc.is_in(table["image_id"], wanted)) for shard in longer})
        return frozenset(left)

    def retire(self, settings_hash: str) -> str | None:
        """Move what was made with other settings to generations/; return where, or None where there is nothing."""
        others = sorted({row["settings_hash"] for row in self.compositions.read(["settings_hash"])} - {settings_hash})
        if not others:
            return None
        home = self.free_generation(others[0][:12])
        self.write_json(_MOVING, {"earlier": home.rpartition("/")[2]})
        self._finish_moving()
        return home

    def _finish_moving(self) -> None:
        """Move what an earlier generation is made of, where it was begun; it can be repeated."""
        note = self._place / _MOVING
        if not note.is_file():
            return
        home = open_place(self._generation(json.loads(note.read())["earlier"]))
        for name in (COMPOSITIONS, FAILURES, ALBUMS, BOOKS, RUN_FILE):
            (self._place / name).move_to(home / name)
        note.remove()

    @property
    def kept(self) -> Dataset:
        """In a new generation (`begin_generation`): rows of the earlier one that stay."""
        return Dataset(self._path(_KEPT))

    def begin_generation(self, version: int, takes: str = "") -> OutputStore:
        """Return the output in which a new generation is made, from `version` of the index.

        `takes` tells which further takes are made, where they are and no whole generation. It holds what a stopped run
        composed from the same version for the same takes. run.json of the earlier generation is put aside, for the new
        run writes its own.
        """
        staged = self.part(_REFRESH)
        note, made_from = staged._place / _VERSION, f"{version} {takes}".rstrip().encode()
        if note.is_file() and note.read() != made_from:
            staged.compositions.remove()
        staged.kept.remove()
        staged.failures.remove()
        note.write(made_from)
        if self.run.exists() and not staged.run.exists():
            (self._place / RUN_FILE).copy_to(staged._place / RUN_FILE)
        return staged

    def complete_generation(self, earlier_version: int) -> str:
        """Say that the new generation is whole, and put it in place; return where the earlier one lies now."""
        return self._complete(self.free_generation(f"index-{earlier_version}"), takes=False)

    def complete_takes(self) -> str | None:
        """Say that the further takes are whole, and put them in place; return where the earlier rows lie now.

        Where no take was made, only failures are taken over, and None is returned.
        """
        staged = self.part(_REFRESH)
        if not staged.compositions.shards():
            self._take_failures(staged)
            staged._place.remove_all()
            return None
        return self._complete(self.free_generation("takes"), takes=True)

    def _complete(self, home: str, takes: bool) -> str:
        old = [shard.rpartition("/")[2] for shard in self.compositions.shards()]
        note = json_bytes({"earlier": home.rpartition("/")[2], "takes": takes, "old": old})
        if not (self.part(_REFRESH)._place / _MARKER).create(note):
            message = f"another run has completed a generation of {self.uri}; run the same command again"
            raise OutputError(message, reason="another_writer")
        self.finish_generation()
        return home

    def finish_generation(self) -> None:
        """Do what is left of putting a whole generation, or further takes, in place; nothing where there are none."""
        staged = self.part(_REFRESH)
        marker = staged._place / _MARKER
        if not marker.is_file():
            return
        note = json.loads(marker.read())
        earlier = open_output(self._generation(note["earlier"]))
        if note.get("takes"):
            self._exchange(staged.compositions, earlier.compositions)
        else:
            self._renew(staged, earlier.compositions, note.get("old"))
        (staged._place / RUN_FILE).move_to(earlier._place / RUN_FILE)
        self._take_failures(staged)
        # The marker last: without it, what a kill leaves here would pass for a generation that is being made.
        for name in staged._place.folders():
            (staged._place / name).remove_all()
        for found in list(staged._place.files()):
            if found.name != _MARKER:
                (staged._place / found.name).remove()
        staged._place.remove_all()

    def _take_failures(self, staged: OutputStore) -> None:
        for shard in staged.failures.shards():
            open_place(shard).move_to(self._place / FAILURES / shard.rpartition("/")[2])

    def _renew(self, staged: OutputStore, earlier: Dataset, old: Collection[str] | None) -> None:
        """Copy the shards of the earlier generation away, and put the new ones in their place."""
        here = self.compositions.shards()
        # The marker of an earlier release names none, for it renamed the whole folder; where that is done, all is new.
        replaced = here if old is None else [shard for shard in here if shard.rpartition("/")[2] in old]
        if not replaced and here:
            return
        earlier.adopt(replaced, earlier.shards())  # also where a kill left some of them there
        self.compositions.adopt([*staged.kept.shards(), *staged.compositions.shards()], replaced)

    def _exchange(self, takes: Dataset, earlier: Dataset) -> None:
        """Put further takes in the places of the rows of the same pictures, and write those to `earlier`.

        Can be repeated: a row that is the take itself is in its place already.
        """
        made = {row["image_id"]: row["composed_at"] for row in takes.read(["image_id", "composed_at"])}
        replaced: dict[str, pa.Array] = {}
        for shard, rows in read_by_shard(self.compositions.shards(), ["image_id", "composed_at"]):
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
        staged._place.remove_all()
        return staged

    def publish_albums(self) -> None:
        """Put the new albums and books in the place of the earlier ones."""
        staged = self.part(_ALBUMS)
        self.albums.adopt(staged.albums.shards(), self.albums.shards())
        new, here = open_place(staged.books), open_place(self.books)
        names = {found.name for found in new.files(deep=True)}
        for name in names:
            (new / name).copy_to(here / name)
        for found in list(here.files(deep=True)):
            if found.name not in names:
                (here / found.name).remove()
        staged._place.remove_all()

    def free_generation(self, wanted: str) -> str:
        """Return where a generation of this name, or with a number behind it, may lie."""
        names = (wanted, *(f"{wanted}-{number}" for number in range(2, 10_000)))
        return next(place for name in names if not open_place(place := self._generation(name)).exists())

    def _generation(self, name: str) -> str:
        return self._path(f"{GENERATIONS}/{name}")

    @property
    def _place(self) -> FilePlace:
        return open_place(self.uri)

    def _path(self, name: str) -> str:
        return (self._place / name).uri


def _without(table: pa.Table, numbers: Collection[int]) -> pa.Table:
    return table.take(pa.array([number for number in range(table.num_rows) if number not in numbers], pa.int64()))


def open_output(uri: str | Path) -> OutputStore:
    """Return the output at a place; nothing is made or read."""
    return OutputStore(open_place(uri).uri)


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

    @property
    def removed(self) -> str:
        """The JSON file that lists removed tunes, which no update brings back (`image2music.index.takedown`)."""
        return self._beside("removed.json")

    def prepare(self) -> None:
        """Make the folder that the table lies in, and prove that it can be written.

        Raises:
            OutputError: it cannot (`output_not_writable`).
        """
        make_folder(self.uri.rpartition("/")[0] or ".")

    def lock(self) -> AbstractContextManager[None]:
        """Hold the right to write, as `file_lock` does."""
        return file_lock(self.uri, self._beside("lock"))

    def size(self) -> int:
        """Return the bytes of the table with all of its versions."""
        return sum(found.size for found in open_place(self.uri).files(deep=True))

    def clear_stuck_notes(self) -> None:
        """Remove the notes about what takes too long: all is done."""
        open_place(self.stuck_notes).remove_all()

    def _beside(self, ending: str) -> str:
        return f"{self.uri}.{ending}"


def open_index_files(uri: str) -> IndexStore:
    """Return the files beside a table; nothing is made or read."""
    return IndexStore(open_place(uri).uri if is_store(uri) else uri.rstrip("/"))


REPORT_MARKER = "report.json"
"""Lies in every report."""

_SHARD = re.compile(r"part-([0-9a-f]{16}-)?[0-9a-f]{24}(-\d+)?\.parquet")
_BESIDE_INDEX = re.compile(r".*\.lance\.(failures|stuck|run\.json|lock|attempts\.json|files\.parquet|removed\.json)")
_EXPORT = re.compile(
    r".+\.heatmap\.png|[0-9a-f]{16}\.(abc|mid|musicxml|pdf|page-\d+\.svg|wav|mp3|opus|stem-[a-z0-9-]+\.wav)"
)
"""Heat maps are the pictures among exports, and their ending is nobody else's, whatever names were asked for."""
_SCORE = ("score.json", "score.parquet")

_IN_OUTPUT = (COMPOSITIONS, FAILURES, GENERATIONS, RUN_FILE, LEDGER, LOCK)
"""In albums and books, names that people use for folders, nothing but shards and notation is written."""

_IN_REPORT = ("index.html", FILES_TABLE)
"""Beside its marker: the one from the beginning, the other at the end."""

TELLING = (RUN_FILE, LOCK, COMPOSITIONS, FAILURES, REPORT_MARKER, *_IN_REPORT, "_versions", *_SCORE)
"""Names that tell what a folder is."""


class WrittenFiles:
    """Tells whether a file or folder was written by image2music. Looks at each folder above it once."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}

    def holds(self, path: str) -> bool:
        """Return whether image2music wrote it, or a folder that it lies in."""
        path = path if is_store(path) else os.path.abspath(path)
        while (folder := os.path.dirname(path)) not in (path, "") and not folder.endswith((":", ":/")):
            if self.has_entry(folder, os.path.basename(path)):
                return True
            path = folder
        return False

    def has_entry(self, folder: str, name: str) -> bool:
        """Return whether image2music wrote the entry `name` of a folder; folders above are not looked at."""
        if _SHARD.fullmatch(name) or _BESIDE_INDEX.fullmatch(name) or _EXPORT.fullmatch(name):
            return True
        there = self._telling_names(folder)
        if (REPORT_MARKER in there and there.intersection(_IN_REPORT)) or (
            folder.endswith(".lance") and "_versions" in there
        ):
            return True
        if there & {RUN_FILE, LOCK} and there & {COMPOSITIONS, FAILURES} and name in _IN_OUTPUT:
            return True
        return name in _SCORE and there.issuperset(_SCORE)

    def learn(self, told: Mapping[str, Collection[str]]) -> None:
        """Take over which of `TELLING` lie in some folders, as a listing said, so that these are not asked again."""
        self._folders |= {folder: frozenset(names) for folder, names in told.items()}

    def _telling_names(self, folder: str) -> frozenset[str]:
        if folder not in self._folders:
            place = open_place(folder)
            if is_store(folder):  # one request for a thousand names, and not some for each name
                here = {*place.folders(), *(found.name for found in place.files())} & {*TELLING}
            else:
                here = {name for name in TELLING if (place / name).exists()}
            self._folders[folder] = frozenset(here)
        return self._folders[folder]
