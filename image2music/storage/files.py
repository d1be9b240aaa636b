"""Atomic writes and locks.

Files and folders that are there whole, or not at all.

One writer at a time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from image2music.errors import OutputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A hidden place beside `path` for a file or a folder, which takes that name when the block ends well.

    Where it does not, what was written is removed: it may be what fills the disk. A file at `path` is replaced.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    hidden = path.with_name(f".{path.name}.part")
    _remove(hidden)
    try:
        yield hidden
        os.replace(hidden, path)
    except OSError as error:
        _remove(hidden)
        message = f"cannot write {path}: {error.strerror or error}; mend that, and run the same command again"
        raise OutputError(message, reason="output_not_written") from error
    except BaseException:
        _remove(hidden)
        raise


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file, or replace it, in one step.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    with atomic_path(path) as hidden:
        hidden.write_bytes(data)


def _remove(hidden: Path) -> None:
    with suppress(OSError):  # on a disk that can only be read there is nothing to remove
        if hidden.is_dir():
            shutil.rmtree(hidden)
        else:
            hidden.unlink(missing_ok=True)


@contextmanager
def file_lock(place: str | Path, lock: Path) -> Iterator[None]:
    """Hold the right to write an index or an output, by a lock (flock) on a file that stays.

    The system takes the right back when the process ends, however it ends: a lock never has to be removed by hand.
    It holds between the processes of one machine, and over NFS where its locks are on.

    Raises:
        OutputError: another process holds it (`another_writer`), or the file cannot be locked (`no_lock`).
    """
    try:
        file = lock.open("ab")
    except OSError as error:
        raise OutputError(f"cannot write {lock}: {error.strerror}", reason="no_lock") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another run is writing {place}; wait until it has ended"
            raise OutputError(message, reason="another_writer") from error
        except OSError as error:
            message = f"cannot lock {lock}: {error.strerror}; put {place} on a disk with file locks"
            raise OutputError(message, reason="no_lock") from error
        yield
