"""One writer at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from image2music.errors import OutputError


@contextmanager
def one_writer(place: str | Path, lock: Path) -> Iterator[None]:
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
