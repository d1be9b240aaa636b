"""How far a run is, for a person who watches the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from types import TracebackType
from typing import TextIO


class Progress:
    """While it is open, a line on the terminal with what is done, the rate and the time left.

    Workers append one byte for each finished element to a file of their own in `folder`; that works for threads and
    for processes of one machine. Where `stream` is no terminal, `folder` is None and nothing is shown.
    """

    def __init__(self, label: str, total: int | None, stream: TextIO | None = None, every: float = 0.5) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._label, self._total, self._every = label, total, every
        self.folder: str | None = None

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            self.folder = tempfile.mkdtemp(prefix="image2music-progress-")
            self._start = time.monotonic()
            self._over = threading.Event()
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.folder is None:
            return
        self._over.set()
        self._thread.join()
        self._stream.write("\r\x1b[K")
        self._stream.flush()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _show(self) -> None:
        while not self._over.wait(self._every):
            line = progress_line(self._label, self._done(), self._total, time.monotonic() - self._start)
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()

    def _done(self) -> int:
        assert self.folder is not None
        return sum(entry.stat().st_size for entry in os.scandir(self.folder))


def progress_line(label: str, done: int, total: int | None, seconds: float) -> str:
    """`12/40 pictures, 30 a minute, 0:56 left`."""
    rate = done / seconds if seconds > 0 else 0.0
    speed = f"{60 * rate:.0f} a minute"
    if total is None:
        return f"{done} {label}, {speed}"
    if done == 0:
        return f"0/{total} {label}"
    left = round((total - done) / rate)
    return f"{done}/{total} {label}, {speed}, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
