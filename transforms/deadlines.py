"""Limits on how long one element may take in one stage, whatever it does.

An exception is sent into the thread that makes the call (`PyThreadState_SetAsyncExc`): code in Python, and loops in
Python around short calls of C such as a model that writes token by token, end at once. A single call of C that does
not come back cannot be ended from inside its process: after a grace, the process notes the element in the output and
ends, and the next one leaves that element out. Workers need this module, so it lives here and not in the runtime.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

from image2music.errors import TimeLimitError
from image2music.storage.files import Folder

Returned = TypeVar("Returned")

GRACE = 60.0
"""Seconds that a call has to end after it was told to."""


class _TimeUp(BaseException):
    """Sent into a thread. No `Exception`, so that code which goes on after any exception does not go on."""


def within(seconds: float, call: Callable[[], Returned], give_up: Callable[[], None], grace: float = GRACE) -> Returned:
    """Return what the call returns.

    Raises:
        TimeLimitError: it did not return within `seconds` (`timed_out`).
    """
    watch = _Watch(grace, give_up)
    try:
        try:
            watch.begin(seconds)
            return call()
        finally:
            watch.end(arrived=isinstance(sys.exception(), _TimeUp))
    except _TimeUp:
        watch.end(arrived=True)  # the exception may have come in the middle of the first one
        raise TimeLimitError(f"took longer than {seconds:g} s, the --time_limit", reason="timed_out") from None


def excuse(seconds: float) -> None:
    """Give the calls of this thread that are under way so much more time: they waited, and can do nothing about it."""
    _watcher().extend(threading.get_ident(), seconds)


class _Watch:
    """One call under way. `deadline` is when the next step is due, by the monotonic clock."""

    def __init__(self, grace: float, give_up: Callable[[], None]) -> None:
        self._thread = threading.get_ident()
        self._grace, self._give_up = grace, give_up
        self._lock = threading.Lock()
        self._over = self._told = False
        self._watcher = _watcher()
        self.deadline = math.inf

    def begin(self, seconds: float) -> None:
        """From here on the exception may come at any moment."""
        self.deadline = time.monotonic() + seconds
        self._watcher.add(self)

    def extend(self, thread: int, seconds: float) -> None:
        """Put the deadline off, if it is a call of that thread and was not told to end yet."""
        # No lock, as in `_Watcher.drop`.
        if thread == self._thread and not self._told:
            self.deadline += seconds

    def end(self, arrived: bool) -> None:
        """Send nothing from here on; take back what was sent and has not arrived.

        Taking back where nothing is pending leaves CPython 3.11's eval breaker set for good: each call takes the slow
        way, and never returns under a tracer or profiler.
        """
        with self._lock:
            self._over = True
            self._watcher.drop(self)
            if self._told and not arrived:
                _send(self._thread, None)

    def late(self) -> None:
        """Called when the deadline has passed: first the call is told to end, then patience ends."""
        with self._lock:
            if self._over:
                return
            if not self._told:
                self._told = True
                self.deadline = time.monotonic() + self._grace
                _send(self._thread, _TimeUp)
                return
            self.deadline = math.inf
        self._give_up()


class _Watcher:
    """The thread that looks at all calls of a process.

    It sleeps until the earliest deadline that it knows of. A call that ends in time does not wake it, and neither does
    the next one, whose deadline is later: a thread for each call would cost as much as converting a short tune.
    """

    def __init__(self) -> None:
        self._watches: set[_Watch] = set()
        self._changed = threading.Condition()
        self._wakes_at = math.inf
        threading.Thread(target=self._run, name="time limits", daemon=True).start()

    def add(self, watch: _Watch) -> None:
        with self._changed:
            self._watches.add(watch)
            if watch.deadline < self._wakes_at:
                self._changed.notify()

    def drop(self, watch: _Watch) -> None:
        # No lock: an exception that was sent may come while it is taken, and it would never be given back.
        self._watches.discard(watch)

    def extend(self, thread: int, seconds: float) -> None:
        for watch in tuple(self._watches):
            watch.extend(thread, seconds)

    def _run(self) -> None:
        while True:
            for watch in self._late_ones():
                watch.late()

    def _late_ones(self) -> list[_Watch]:
        """What is late now; where nothing is, sleep until something may be."""
        with self._changed:
            now = time.monotonic()
            watches = tuple(self._watches)
            late = [watch for watch in watches if watch.deadline <= now]
            if not late:
                self._wakes_at = min((watch.deadline for watch in watches), default=math.inf)
                sleep = min(self._wakes_at - now, threading.TIMEOUT_MAX)
                self._changed.wait(sleep)
                self._wakes_at = -math.inf
            return late


@cache
def _watcher_of(process: int) -> _Watcher:
    return _Watcher()


def _watcher() -> _Watcher:
    """This process's watcher: threads do not survive a fork."""
    return _watcher_of(os.getpid())


def _send(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)


Result = TypeVar("Result")


@dataclass(frozen=True)
class TimeLimit:
    """Seconds for one element in one stage, and the folder of notes about those that could not be stopped."""

    seconds: float = math.inf
    notes: str | None = None
    grace: float = GRACE

    def run(self, call: Callable[[], Result], stage: str, ids: Sequence[str]) -> Result:
        """Return the call's answer for all these elements; an element alone that was stuck before is not tried again.

        Raises:
            TimeLimitError: it took longer than `seconds` for each element (`timed_out`).
        """
        if self.seconds == math.inf:
            return call()
        if len(ids) == 1 and _note(stage, ids[0], alone=True) in self._notes:
            raise TimeLimitError("could not be stopped after its --time_limit, and is left out", reason="timed_out")
        return within(self.seconds * len(ids), call, lambda: self._give_up(stage, ids), self.grace)

    def goes_alone(self, stage: str, id: str) -> bool:
        """Return whether an element was in a batch that could not be stopped, or could not be stopped itself."""
        return not self._notes.isdisjoint(_note(stage, id, alone) for alone in (True, False))

    @cached_property
    def _notes(self) -> frozenset[str]:
        """The names of the notes, read once: whoever adds one ends, and its slice is begun anew."""
        return frozenset(Folder(self.notes).names()) if self.notes is not None else frozenset()

    def _give_up(self, stage: str, ids: Sequence[str]) -> None:
        """End this process: a call of C that does not return ends with nothing less."""
        if self.notes is not None:
            for id in ids:
                Folder(self.notes).write(_note(stage, id, alone=len(ids) == 1), b"")
        after = "the same command goes on" if multiprocessing.parent_process() is None else "the job goes on"
        print(f"image2music: {stage} does not come back from {_named(ids)}; {after} without it", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)


def _note(stage: str, id: str, alone: bool) -> str:
    name = hashlib.sha256(id.encode(errors="surrogateescape")).hexdigest()
    return f"{stage}-{name}.{'alone' if alone else 'batch'}"


NO_LIMIT = TimeLimit()


def _named(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"a batch of {len(ids)}"
