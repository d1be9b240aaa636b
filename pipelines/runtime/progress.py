"""What a person sees while a job runs."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm


def tick_folder(stack: ExitStack) -> str | None:
    """Return a folder in which workers of this machine tick off what is done; None where nobody would see it."""
    if not sys.stderr.isatty():
        return None
    folder = tempfile.mkdtemp(prefix="image2music-progress-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Progress:
    """While it is open, a line on the terminal with what is done, the rate, who works, and the time left.

    Workers on this machine append one byte for each finished element to a file of their own in `folder`; of others what
    a slice held counts when it is done. Where `stream` is no terminal nothing is shown.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        folder: str | None = None,
        stream: TextIO | None = None,
        every: float = 0.5,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._label, self._total, self._every, self._folder = label, total, every, folder
        self._line: ProgressLine | None = None
        self._of_slices, self._workers = 0, Counter[str]()

    def ended(self, worker: str, items: int) -> None:
        """Count a slice that a worker has done."""
        self._of_slices += items
        self._workers[worker] += items

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            self._before = self._ticked()
            ProgressLine.set_lock(threading.RLock())  # tqdm's own would lock other processes, too
            self._line = ProgressLine(total=self._total, unit=self._label, file=self._stream, leave=False)
            self._over = threading.Event()
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line is None:
            return
        self._over.set()
        self._thread.join()
        self._line.close()

    def _show(self) -> None:
        assert self._line is not None
        while not self._over.wait(self._every):
            self._line.n = max(self._ticked() - self._before, self._of_slices)
            self._line.workers = len(self._workers)
            self._line.refresh()

    def _ticked(self) -> int:
        return sum(entry.stat().st_size for entry in os.scandir(self._folder)) if self._folder is not None else 0


class ProgressLine(tqdm):
    """tqdm's line in this form: `12/40 pictures, 30 a minute, 15 a worker, 00:56 left`."""

    monitor_interval = 0
    """No thread of tqdm's own: the line is drawn anew twice a second."""

    def __init__(self, **options: Any) -> None:
        left = ", {remaining} left" if options["total"] else ""
        self.workers = 0
        form = "{done} {unit}, {per_minute:.0f} a minute{per_worker}" + left
        super().__init__(bar_format=form, dynamic_ncols=True, **options)

    @property
    def format_dict(self) -> dict[str, Any]:
        """Fields of `bar_format`: tqdm's own, and the ones of this line."""
        found: dict[str, Any] = super().format_dict
        done, total, seconds = found["n"], found["total"], found["elapsed"]
        rate = done / seconds if seconds else 0.0
        each = f", {60 * rate / self.workers:.0f} a worker" if self.workers > 1 else ""
        shown = {"done": f"{done}/{total}" if total else str(done), "per_minute": 60 * rate, "per_worker": each}
        return found | shown | {"rate": rate}
