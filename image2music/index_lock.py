"""One writer at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from image2music.errors import TuneIndexError


@contextmanager
def one_writer(uri: str) -> Iterator[None]:
    """Hold the right to write an index. The system takes it back when the process ends, however it ends.

    Raises:
        TuneIndexError: another process holds it (`index_busy`).
    """
    with open(f"{uri.rstrip('/')}.lock", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another run is writing {uri}; wait until it has ended"
            raise TuneIndexError(message, reason="index_busy") from error
        yield
