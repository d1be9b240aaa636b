"""Silence for decoders that warn about files of strangers."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_inside = 0
_restore = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """No warning leaves this block; what matters in a picture is raised as an error instead.

    Python's filters belong to the process, so the first thread in silences them and the last one out restores them:
    plain `catch_warnings` in several threads can leave them silent for good.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _restore.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            _restore.close()
