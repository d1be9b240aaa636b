"""Environment variables of this process and its workers, and what libraries may say on the terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings

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
