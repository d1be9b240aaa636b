"""The environment of a job's process and of its workers: threads, memory, how much is said; and how it ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LEVEL = "IMAGE2MUSIC_LOG_LEVEL"
"""Environment variable that carries the level to worker processes."""

_ENVIRONMENT = {
    # The embedded models gain nothing from more threads, and threads that spin while they wait for a busy processor
    # make a job several times slower.
    "OMP_NUM_THREADS": "1",
    # Arrow's own allocator keeps what it once held: over 100 MB in each worker that writes tables.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # A worker has some thirty threads, most of them idle, and glibc would keep a heap for each. It is read when a
    # process starts: it holds for the processes that this one starts.
    "MALLOC_ARENA_MAX": "2",
}
"""For all libraries, where the user has not set them."""


def prepare_environment() -> None:
    """Set what libraries read when they are loaded, where the user has not: call it before any of them is."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def quieten(level: str) -> None:
    """Show logs and warnings of libraries only from `level` on: a person sees results, progress and one-line errors."""
    os.environ[LEVEL] = level
    logging.basicConfig(level=level, stream=sys.stderr)
    logging.getLogger().setLevel(level)
    for handler in logging.getLogger().handlers:
        handler.setLevel(level)  # Beam lowers the level of a worker's root again
    os.environ.setdefault("LANCE_LOG", "error" if level == "CRITICAL" else level.lower())
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", level.lower())
    if level == "CRITICAL" and not sys.warnoptions:
        warnings.simplefilter("ignore")


@contextmanager
def stopped_by_terminate() -> Iterator[None]:
    """Let SIGTERM stop what is done in the block as Ctrl-C does; only the main thread gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_SOME_FAILED = 3
"""Some elements failed, no more than the bound allows."""
EXIT_INTERRUPTED = 130

GOES_ON = "the same command goes on where it stopped"

_LEAVES_WITHIN = 10.0


def leave(code: int) -> None:
    """See to it that this process ends: where Dask was used, a thread of its own that waits could keep it for ever.

    One that was stopped ends at once: what libraries do when a process ends may meet what they had only begun, and
    somebody who waits for the end presses Ctrl-C once more.
    """
    if code == EXIT_INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # whoever read it has gone
                stream.flush()
        os._exit(code)
    if "distributed" in sys.modules:
        last = threading.Timer(_LEAVES_WITHIN, os._exit, [code])
        last.daemon = True
        last.start()
