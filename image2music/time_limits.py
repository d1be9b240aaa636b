"""A limit on how long a call may take, whatever it does.

An exception is sent into the thread that makes the call (`PyThreadState_SetAsyncExc`): code in Python, and loops in
Python around short calls of C such as a model that writes token by token, end at once. A single call of C that does
not come back cannot be ended from inside its process; after a grace, `give_up` is called from another thread.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

from image2music.errors import TimeLimitError

Result = TypeVar("Result")

GRACE = 60.0
"""Seconds that a call has to end after it was told to."""


class _TimeUp(BaseException):
    """Sent into a thread. No `Exception`, so that code which goes on after any exception does not go on."""


def within(seconds: float, call: Callable[[], Result], give_up: Callable[[], None], grace: float = GRACE) -> Result:
    """What the call returns.

    Raises:
        TimeLimitError: it did not return within `seconds` (`timed_out`).
    """
    watch = _Watch(grace, give_up)
    try:
        try:
            watch.begin(seconds)
            return call()
        finally:
            watch.end()
    except _TimeUp:
        watch.end()  # the exception may have come in the middle of the first one
        raise TimeLimitError(f"took longer than {seconds:g} s, the --time_limit", reason="timed_out") from None


class _Watch:
    def __init__(self, grace: float, give_up: Callable[[], None]) -> None:
        self._thread = threading.get_ident()
        self._grace, self._give_up = grace, give_up
        self._lock = threading.Lock()
        self._over = False
        self._timers: list[threading.Timer] = []

    def begin(self, seconds: float) -> None:
        """From here on the exception may come at any moment."""
        self._start(seconds, self._interrupt)

    def end(self) -> None:
        """From here on nothing is sent; what was sent and did not arrive is taken back."""
        with self._lock:
            self._over = True
            for timer in self._timers:
                timer.cancel()
            _send(self._thread, None)

    def _interrupt(self) -> None:
        with self._lock:
            if not self._over:
                _send(self._thread, _TimeUp)
                self._start(self._grace, self._end_of_patience)

    def _end_of_patience(self) -> None:
        with self._lock:
            if self._over:
                return
        self._give_up()

    def _start(self, seconds: float, work: Callable[[], None]) -> None:
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), work)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()


def _send(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)
