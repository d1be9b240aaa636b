"""Files and folders that appear whole or not at all, and the lock that one writer holds."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filelock import FileLock, Timeout

from image2music.errors import OutputError

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
    with atomic_path(path) as hidden:
        hidden.write_bytes(data)


def atomic_write_json(path: str | Path, content: Any) -> None:
    """Write a value as indented JSON, or replace the file, in one step.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    atomic_write(path, text.encode(errors="backslashreplace"))


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


def make_folder(path: str | Path) -> None:
    """Make a folder with its parents, and prove by a file that it can be written.

    Raises:
        OutputError: it cannot be made or written (`output_not_writable`).
    """
    probe = os.path.join(path, ".writable")
    try:
        os.makedirs(path, exist_ok=True)
        with open(probe, "wb"):
            pass
        os.remove(probe)
    except OSError as error:
        message = f"cannot write to {path}: {error.strerror}; name another folder"
        raise OutputError(message, reason="output_not_writable") from error


def free_bytes(path: str | Path) -> int:
    """Return the bytes that are free on the disk where `path` lies, or would lie once it is made."""
    here = Path(path).absolute()
    return shutil.disk_usage(next(folder for folder in (here, *here.parents) if folder.exists())).free


@contextmanager
def file_lock(place: str | Path, lock: str | Path) -> Iterator[None]:
    """Hold the right to write `place` (an index or an output) by a lock on the file `lock`, which stays.

    The lock is flock, through `filelock`. The system takes it back when the process ends, however it ends: it never
    has to be removed by hand. It holds between the processes of one machine, and over NFS where its locks are on.

    Raises:
        OutputError: another process holds it (`another_writer`), or the file cannot be locked (`no_lock`).
    """
    try:
        # No lock by the mere existence of a file where flock is missing: a killed process would leave it locked.
        held = FileLock(lock, blocking=False, fallback_to_soft=False)
        held.acquire()
    except Timeout as error:
        message = f"another run is writing {place}; wait until it has ended"
        raise OutputError(message, reason="another_writer") from error
    except OSError as error:
        if not os.access(lock, os.W_OK):
            raise OutputError(f"cannot write {lock}: {error.strerror}", reason="no_lock") from error
        message = f"cannot lock {lock}: {error.strerror}; put {place} on a disk with file locks"
        raise OutputError(message, reason="no_lock") from error
    try:
        yield
    finally:
        held.release()


def write_parquet(uri: str | Path, table: pa.Table) -> None:
    """Write a table as one Parquet file (zstd), or replace the file, in one step.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    import pyarrow.parquet as pq  # not at the top: a process that only watches others loads this module

    with atomic_path(uri) as hidden:
        pq.write_table(table, hidden, compression="zstd")


def read_parquet(uri: str | Path) -> pa.Table | None:
    """Return the table of a Parquet file, or None where the file is missing or broken."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(uri)
    except (OSError, pa.ArrowInvalid):
        return None


def bytes_under(uri: str | Path) -> int:
    """Return the bytes of all files under a folder."""
    return sum(path.stat().st_size for path in Path(uri).rglob("*") if path.is_file())


@dataclass(frozen=True)
class Folder:
    """A folder of files that a command writes: a report, an export, a listening test."""

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
        path = Path(self.uri, name)
        with _named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, data.encode() if isinstance(data, str) else data)

    def names(self) -> list[str]:
        """Return the names of the files in it, sorted; none where it is not there."""
        try:
            return sorted(os.listdir(self.uri))
        except FileNotFoundError:
            return []

    def remove(self, pattern: str) -> None:
        """Remove the files whose place under the folder matches a glob."""
        for path in Path(self.uri).glob(pattern):
            path.unlink()


@contextmanager
def replaced_folder(uri: str | Path) -> Iterator[Folder]:
    """Yield an empty folder to write, and put it in the place of `uri` when the block ends well.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    with atomic_path(uri) as hidden:
        hidden.mkdir(parents=True)
        yield Folder(str(hidden))
        shutil.rmtree(uri, ignore_errors=True)


def holds_only(uri: str | Path, marker: str) -> bool:
    """Return whether a folder may be replaced: it is not there, is empty, or holds the file `marker`."""
    path = Path(uri)
    if not path.exists() or (path / marker).is_file():
        return True
    return path.is_dir() and not any(path.iterdir())


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}; mend that, and run the same command again"
        raise OutputError(message, reason="output_not_written") from error
