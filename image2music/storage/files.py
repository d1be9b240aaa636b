"""Places of files, on a disk or in an object store, and files and folders that appear whole or not at all.

A `FilePlace` is a file or a folder. What is written there is seen whole or not at all, and replaced in one step; nobody
who holds one needs to know where it lies. Only the renaming of whole folders is for disks alone (`atomic_path`).

A `Folder` is what a command writes for people. One that is brought up to date night after night has a `FileTable`,
which knows what its files were made of.
"""

from __future__ import annotations

import csv
import errno
import filecmp
import io
import json
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from image2music.errors import ConfigError, OutputError
from image2music.storage.objects import SCHEMES, FileInfo, ObjectPlace, too_large

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a hidden place beside `path` for a file or a folder, and give it that name when the block ends well.

    Where the block fails, remove what was written: it may be what fills the disk. A file at `path` is replaced.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    path = Path(path)
    hidden = path.with_name(f".{path.name}.part")
    _remove(hidden)
    try:
        with _named(path):
            yield hidden
            os.replace(hidden, path)
    except BaseException:
        _remove(hidden)
        raise


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write a file, or replace it, in one step.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    open_place(path).write(data)


def _remove(hidden: Path) -> None:
    with suppress(OSError):  # on a disk that can only be read there is nothing to remove
        if hidden.is_dir():
            shutil.rmtree(hidden)
        else:
            hidden.unlink(missing_ok=True)


def open_regular(path: str | Path) -> BinaryIO:
    """Open a local file to read; a pipe or a device, which may never end or never begin, is refused unopened.

    Raises:
        OSError: it cannot be opened, or is not a regular file (EINVAL).
    """
    _check_regular(os.stat(path), path)  # before it is opened, which some devices notice
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_regular(os.fstat(descriptor), path)  # it may have been replaced in between
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _check_regular(found: os.stat_result, path: str | Path) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "something else")
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", str(path))


_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}; mend that, and run the same command again"
        raise OutputError(message, reason="output_not_written") from error


class FilePlace(Protocol):
    """A file or a folder, on a disk or in an object store. Its own methods say what they do (`ObjectPlace`)."""

    @property
    def uri(self) -> str:
        """The address: a path, or s3://BUCKET/KEY and the like."""
        ...

    @property
    def name(self) -> str:
        """The last part of the address."""
        ...

    def __truediv__(self, name: str) -> FilePlace:
        """Return the place `name` inside this one."""
        ...

    def read(self, at_most: int | None = None) -> bytes:
        """Return the content of a file.

        Raises:
            OSError: there is none, it cannot be read, or it holds more than `at_most` bytes.
        """
        ...

    def open(self, buffer: int = 0) -> BinaryIO:
        """Open a file to read from any place; from a store, `buffer` bytes or more at once."""
        ...

    def write(self, data: bytes) -> None:
        """Write a file, or replace it, in one step; folders above it are made.

        Raises:
            OutputError: it cannot be written (`output_not_written`).
        """
        ...

    def create(self, data: bytes) -> bool:
        """Write a file where none is, and return whether these bytes stand there now."""
        ...

    def update(self, data: bytes, found: FileInfo) -> bool:
        """Replace a file that still is as it was found, and return whether these bytes stand there now."""
        ...

    def info(self) -> FileInfo | None:
        """Return what is known of a file, None where there is none."""
        ...

    def is_file(self) -> bool:
        """Return whether it is a file."""
        ...

    def exists(self) -> bool:
        """Return whether it is a file, or a folder; in a store, one with something in it."""
        ...

    def files(self, deep: bool = False, start: str = "") -> Iterator[FileInfo]:
        """Yield the files in a folder whose names begin with `start`; with `deep`, also those of its folders."""
        ...

    def folders(self) -> list[str]:
        """Return the names of the folders in a folder, sorted."""
        ...

    def remove(self) -> None:
        """Remove a file, where there is one."""
        ...

    def remove_all(self) -> None:
        """Remove a folder with all that is in it."""
        ...

    def remove_files(self, names: Iterable[str]) -> None:
        """Remove some files of a folder, by their names; those that are gone by now, too."""
        ...

    def copy_to(self, target: Any) -> None:
        """Copy a file to a place of the same disk or bucket, in place of what is there."""
        ...

    def move_to(self, target: Any) -> None:
        """Move a file or a folder within a disk or bucket. Can be repeated: what is gone was moved."""
        ...

    def check(self) -> None:
        """See that the disk or the bucket answers, within seconds."""
        ...

    def prepare(self) -> None:
        """Make a folder, and prove that it can be written.

        Raises:
            OutputError: it cannot (`output_not_writable`).
        """
        ...

    def free_bytes(self) -> float:
        """Return the bytes that are free where it lies, or would lie."""
        ...


@dataclass(frozen=True)
class LocalPlace:
    """A place on a disk. `uri` is its path."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> LocalPlace:
        return LocalPlace(os.path.join(self.uri, name))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.uri)

    def read(self, at_most: int | None = None) -> bytes:
        """Return the content of a regular file."""
        with open_regular(self.uri) as file:
            if at_most is None:
                return file.read()
            # Room is made before anything is read, and for most files `at_most` is a thousand times too much.
            data = file.read(min(os.fstat(file.fileno()).st_size, at_most) + 1)
        if len(data) > at_most:
            raise too_large(at_most, self.uri)
        return data

    def open(self, buffer: int = 0) -> BinaryIO:
        """Open a regular file."""
        return open_regular(self.uri)

    def write(self, data: bytes) -> None:
        """Write the file under a hidden name, and rename it."""
        with self._hidden([data]) as hidden:
            os.replace(hidden, self.uri)

    def refresh(self, pieces: Iterable[bytes]) -> bool:
        """Write a file of some pieces where it does not hold them already; return whether it was written."""
        with self._hidden(pieces) as hidden:
            if self.is_file() and filecmp.cmp(hidden, self.uri, shallow=False):
                return False
            os.replace(hidden, self.uri)
        return True

    def create(self, data: bytes) -> bool:
        """Write the file under a hidden name, and give it its own where nothing has it."""
        with self._hidden([data]) as hidden:
            if os.path.lexists(self.uri):
                return self.read() == data
            os.replace(hidden, self.uri)  # one writer holds the lock: nobody comes in between
        return True

    def update(self, data: bytes, found: FileInfo) -> bool:
        """Replace the file: one writer holds the lock, and on a disk nothing arrives late."""
        self.write(data)
        return True

    @contextmanager
    def _hidden(self, pieces: Iterable[bytes]) -> Iterator[str]:
        folder, name = os.path.split(self.uri)
        hidden = os.path.join(folder, f".{name[:60]}.{uuid.uuid4().hex}.part")
        try:
            with _named(self.uri):
                os.makedirs(folder or ".", exist_ok=True)
                with open(hidden, "wb") as file:
                    file.writelines(pieces)
                yield hidden
        finally:
            if os.path.lexists(hidden):
                with suppress(OSError):
                    os.unlink(hidden)

    def info(self) -> FileInfo | None:
        """Return size and time of change, in nanoseconds, of a file."""
        try:
            return _found(os.stat(self.uri), self.name)
        except (OSError, ValueError):  # ValueError: a NUL in the name
            return None

    def is_file(self) -> bool:
        """Return whether it is a file."""
        return os.path.isfile(self.uri)

    def exists(self) -> bool:
        """Return whether there is something, a broken link included."""
        return os.path.lexists(self.uri)

    def files(self, deep: bool = False, start: str = "") -> Iterator[FileInfo]:
        """Yield the files in a folder, in no order; nothing where there is no folder."""
        for folder, folders, names in os.walk(self.uri):
            inside = os.path.relpath(folder, self.uri)
            for name in names:
                path = name if inside == "." else f"{inside}/{name}"
                if not path.startswith(start):
                    continue
                with suppress(FileNotFoundError):  # it has just gone
                    yield _found(os.stat(os.path.join(folder, name)), path)
            if not deep:
                folders.clear()

    def folders(self) -> list[str]:
        """Return the names of the folders in a folder."""
        return sorted(next(os.walk(self.uri), ("", [], []))[1])

    def remove(self) -> None:
        """Remove a file."""
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self.uri)

    def remove_all(self) -> None:
        """Remove a folder; one that cannot be removed stays."""
        shutil.rmtree(self.uri, ignore_errors=True)

    def remove_files(self, names: Iterable[str]) -> None:
        """Remove some files of a folder."""
        for name in names:
            (self / name).remove()

    def copy_to(self, target: LocalPlace) -> None:
        """Give a file's content another name, without writing it anew where the disk has hard links."""
        folder, name = os.path.split(target.uri)
        hidden = os.path.join(folder, f".{name[:60]}.{uuid.uuid4().hex}.part")
        with _named(target.uri):
            os.makedirs(folder or ".", exist_ok=True)
            try:
                os.link(self.uri, hidden)
            except OSError:
                shutil.copy2(self.uri, hidden)
            os.replace(hidden, target.uri)
            with suppress(FileNotFoundError):  # of two names for one file, a rename leaves both
                os.unlink(hidden)

    def move_to(self, target: LocalPlace) -> None:
        """Rename a file or a folder."""
        if self.exists():
            os.makedirs(os.path.dirname(target.uri) or ".", exist_ok=True)
            os.replace(self.uri, target.uri)

    def check(self) -> None:
        """Do nothing: a disk that is not there says so by itself."""

    def prepare(self) -> None:
        """Make a folder with its parents, and prove by a file that it can be written."""
        probe = os.path.join(self.uri, ".writable")
        try:
            os.makedirs(self.uri, exist_ok=True)
            with open(probe, "wb"):
                pass
            os.remove(probe)
        except OSError as error:
            message = f"cannot write to {self.uri}: {error.strerror}; name another folder"
            raise OutputError(message, reason="output_not_writable") from error

    def free_bytes(self) -> float:
        """Return the bytes that are free on the disk."""
        here = Path(self.uri).absolute()
        return shutil.disk_usage(next(folder for folder in (here, *here.parents) if folder.exists())).free


def _found(stat: os.stat_result, name: str) -> FileInfo:
    return FileInfo(name, stat.st_size, str(stat.st_mtime_ns), stat.st_mtime)


def open_place(uri: str | Path) -> FilePlace:
    """Return a place by its address; nothing is made, read or asked.

    Raises:
        ConfigError: an address of a kind that is not known here (`unknown_store`), or without a bucket (`no_bucket`).
    """
    text = str(uri)
    scheme, there, rest = text.partition("://")
    if not there:
        return LocalPlace(str(Path(text)))
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        message = f"{text}: {scheme}:// is not known here; a place is a path, or an address with {known}"
        raise ConfigError(message, reason="unknown_store")
    parts = [part for part in rest.split("/") if part]
    if not parts or rest.startswith("/"):
        raise ConfigError(f"{text} names no bucket: write {scheme}://BUCKET/NAME", reason="no_bucket")
    return ObjectPlace(f"{scheme}://{'/'.join(parts)}")


def json_bytes(content: Any) -> bytes:
    """Return a value as indented JSON in UTF-8."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as one Parquet file (zstd)."""
    import pyarrow as pa  # not at the top: a process that only watches others loads this module
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def make_folder(path: str | Path) -> None:
    """Make a folder with its parents, and prove by a file that it can be written.

    Raises:
        OutputError: it cannot be made or written (`output_not_writable`).
        ConfigError: a store that cannot be used.
    """
    open_place(path).prepare()


def read_parquet(uri: str | Path) -> pa.Table | None:
    """Return the table of a Parquet file, or None where the file is missing or broken."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_place(uri).open() as file:
            return pq.read_table(file)
    except (OSError, pa.ArrowInvalid):
        return None


def write_parquet(uri: str | Path, table: pa.Table) -> None:
    """Write a table as one Parquet file (zstd), or replace the file, in one step.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    open_place(uri).write(parquet_bytes(table))


@dataclass(frozen=True)
class Folder:
    """A folder of files that a command writes: a report, an export, a listening test, an album's book."""

    uri: str

    def prepare(self) -> None:
        """Make it, and prove that it can be written.

        Raises:
            OutputError: it cannot (`output_not_writable`).
        """
        make_folder(self.uri)

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file, or replace it, in one step; its folder is made. Text is written as UTF-8, line ends as given.

        Raises:
            OutputError: it cannot be written (`output_not_written`).
        """
        (open_place(self.uri) / name).write(data.encode() if isinstance(data, str) else data)

    def update(self, name: str, data: bytes | Iterable[str]) -> bool:
        """Write a file, whole or as pieces of text, where it does not hold this already; return whether it was written.

        On a disk pieces are written as they come, so that a large file takes no memory.

        Raises:
            OutputError: it cannot be written (`output_not_written`).
        """
        place = open_place(self.uri) / name
        pieces = [data] if isinstance(data, bytes) else (piece.encode() for piece in data)
        if isinstance(place, LocalPlace):
            return place.refresh(pieces)
        whole, found = b"".join(pieces), place.info()
        if found is not None and found.size == len(whole) and place.read() == whole:
            return False
        place.write(whole)
        return True

    def names(self) -> list[str]:
        """Return the names of the files in it, sorted; none where it is not there."""
        return sorted(found.name for found in open_place(self.uri).files())

    def remove(self, pattern: str) -> None:
        """Remove the files of a local folder whose place under it matches a glob."""
        for path in Path(self.uri).glob(pattern):
            path.unlink()


def holds_only(uri: str | Path, marker: str, *, but_for: str = "") -> bool:
    """Return whether a folder may be replaced: it is not there, has nothing `but_for` a name, or holds `marker`.

    What a killed process had not finished writing is nothing.
    """
    path = Path(uri)
    if not path.exists() or (path / marker).is_file():
        return True
    return path.is_dir() and all(inside.name == but_for or _PART.fullmatch(inside.name) for inside in path.iterdir())


class Spool:
    """Texts in a temporary file, by their places there: what is wanted again, and too much to be held in memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `__exit__` closes it
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, text: str) -> int:
        """Keep a text; return its place."""
        data, place = text.encode("utf-8", "surrogatepass"), self._end
        self._file.seek(place)
        self._file.write(len(data).to_bytes(_LENGTH, "little") + data)
        self._end += _LENGTH + len(data)
        return place

    def __getitem__(self, place: int) -> str:
        self._file.seek(place)
        length = int.from_bytes(self._file.read(_LENGTH), "little")
        return self._file.read(length).decode("utf-8", "surrogatepass")


_LENGTH = 8
"""Bytes of a text's length, before it."""

FILES_TABLE = "files.csv"
FILE_COLUMNS = ("image_id", "format", "file", "bytes", "made_from")
"""What every table of files has; commands add columns of their own."""

TableLine = dict[str, str]

_PART = re.compile(r"(.*/)?\.[^/]*\.[0-9a-f]{32}\.part")
_SAVED_EVERY, _SAVING_SHARE = 60.0, 0.05
"""Seconds between two savings of a table, and the share of the time that they may take."""


class FileTable:
    """The files of a folder that is brought up to date, and the table there, files.csv, of what they were made of.

    A line a file, with `FILE_COLUMNS` and others; the files of one image_id and format are an entry. An entry is whole
    where each of its files lies there with as many bytes as its line says; a line without a name is of no file. What an
    entry is made of now and what `made_from` says is for the command to compare.

    The table is written whole or not at all: at the end, now and then, and where the block fails; so a run that was
    killed is gone on with. Before the first file is replaced the command calls `save`, for no table may speak of what
    is being replaced. For the one process that holds the folder's lock. Lines are kept in a temporary file: memory
    grows by some two hundred bytes a row.
    """

    def __init__(self, folder: Folder, columns: Sequence[str]) -> None:
        self._folder, self._columns = folder, tuple(columns)
        self._spool = Spool()
        self._former: dict[int, int] = {}
        self._lines: dict[int, int] = {}
        self._there: array[int] = array("q")
        self._saved, self._pause = time.monotonic(), _SAVED_EVERY

    def __enter__(self) -> Self:
        """Read the table, see which files lie there, and remove what a killed run had not finished writing."""
        torn, there = list[str](), list[int]()
        for found in open_place(self._folder.uri).files(deep=True):
            if _PART.fullmatch(found.name):
                torn.append(found.name)
            else:
                there.append(_sized(found.name, found.size))
        open_place(self._folder.uri).remove_files(torn)
        self._there = array("q", sorted(there))
        self._read()
        return self

    def _read(self) -> None:
        place = open_place(self._folder.uri) / FILES_TABLE
        if not place.is_file():
            return
        with (
            place.open(1 << 20) as file,
            io.TextIOWrapper(file, "utf-8-sig", "replace", newline="") as text,
            suppress(csv.Error),  # somebody edited it: what can be read of it is enough
        ):
            known = (line for line in csv.DictReader(text) if line.get("image_id"))
            for id, lines in groupby(known, key=itemgetter("image_id")):
                self._former[hash(id)] = self._spool.add(self._text(lines))

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._spool, suppress(OSError, OutputError):  # the error that ended the block is what is told
            if kind is not None:
                self.save()

    def entries(self, image_id: str) -> dict[str, list[TableLine]]:
        """Return the lines of an image_id by format: those of this run where they are set, else of an earlier one."""
        found: dict[str, list[TableLine]] = {}
        for line in self._parsed(self._lines.get(hash(image_id), self._former.get(hash(image_id)))):
            found.setdefault(line["format"], []).append(line)
        return found

    def is_whole(self, lines: Sequence[TableLine]) -> bool:
        """Return whether the files of some lines lay there when the table was opened, as large as they say."""
        return all(not line["file"] or _holds(self._there, _sized(line["file"], line["bytes"])) for line in lines)

    def put(self, image_id: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Set all lines of an image_id. The table has image_ids in the order in which they were first set."""
        self._lines[hash(image_id)] = self._spool.add(self._text(lines))
        if time.monotonic() - self._saved > self._pause:
            self.save()

    def save(self, *, done: bool = False) -> None:
        """Write the table, where it has changed. Until all is `done` it keeps earlier lines of what was not set yet.

        Raises:
            OutputError: it cannot be written (`output_not_written`).
        """
        begun = time.monotonic()
        waiting = () if done else (place for id, place in self._former.items() if id not in self._lines)
        blocks = (self._spool[place] for place in chain(self._lines.values(), waiting))
        self._folder.update(FILES_TABLE, chain([",".join(self._columns) + "\n"], blocks))
        self._saved = time.monotonic()
        self._pause = max(_SAVED_EVERY, (self._saved - begun) / _SAVING_SHARE)

    def dropped(self) -> list[str]:
        """Return the names of an earlier run's files that this one does not speak of, of these what is there; sorted.

        For the end, when every image_id is set.
        """
        before, after = set[str](), set[str]()
        for id in self._former.keys() | self._lines.keys():
            old, new = self._former.get(id), self._lines.get(id)
            if old is None or new is None or self._spool[old] != self._spool[new]:
                before.update(line["file"] for line in self._parsed(old))
                after.update(line["file"] for line in self._parsed(new))
        place = open_place(self._folder.uri)
        return sorted(name for name in before - after if name and (place / name).is_file())

    def strays(self, others: Collection[str]) -> Iterator[str]:
        """Yield the names of the files in the folder that are none of `others`, nor of what was set."""
        named = (line["file"] for place in self._lines.values() for line in self._parsed(place))
        known = array("q", sorted(map(hash, chain(named, others, [FILES_TABLE]))))
        for found in open_place(self._folder.uri).files(deep=True):
            if not _holds(known, hash(found.name)):
                yield found.name

    def _text(self, lines: Iterable[Mapping[str, Any]]) -> str:
        stream = io.StringIO()
        csv.DictWriter(stream, self._columns, "", extrasaction="ignore", lineterminator="\n").writerows(lines)
        return stream.getvalue()

    def _parsed(self, place: int | None) -> list[TableLine]:
        return [] if place is None else list(csv.DictReader(io.StringIO(self._spool[place], ""), self._columns))


def _sized(name: str, size: int | str) -> int:
    return hash(f"{size} {name}")


def _holds(numbers: array[int], number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
