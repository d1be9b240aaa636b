"""The right to write an index or an output, which one process has at a time.

On a disk it is flock, through `filelock`. The system takes it back when the process ends, however it ends: it never has
to be removed by hand. It holds between the processes of one machine, and over NFS where its locks are on.

In an object store it is a lease: an object that says who holds it, written where none was, renewed by its holder, and
removed at the end. Whoever finds one that was not renewed for `LEASE` seconds, by the store's own clock, or whose
holder was a process of this machine that is gone, takes it over by a write that fails if it has been renewed meanwhile.
"""

from __future__ import annotations

import _thread
import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from image2music.errors import Image2MusicError, OutputError
from image2music.storage.datasets import is_gone, this_process
from image2music.storage.files import json_bytes
from image2music.storage.objects import FileInfo, ObjectPlace, is_store

LEASE, RENEWED_EVERY = 90.0, 15.0
"""Seconds without a sign after which a lease may be taken over, and between two signs."""


@contextmanager
def file_lock(place: str | Path, lock: str | Path) -> Iterator[None]:
    """Hold the right to write `place` (an index or an output) by the file or the object `lock`.

    Raises:
        OutputError: another process holds it (`another_writer`), it was taken over while it was held (`lock_lost`), or
            the file cannot be locked (`no_lock`).
    """
    if is_store(str(lock)):
        with _leased(str(place), ObjectPlace(str(lock))):
            yield
        return
    try:
        os.makedirs(os.path.dirname(lock) or ".", exist_ok=True)
        # No lock by the mere existence of a file where flock is missing: a killed process would leave it locked.
        held = FileLock(lock, blocking=False, fallback_to_soft=False)
        held.acquire()
    except Timeout as error:
        message = f"another run is writing {place}; wait until it has ended"
        raise OutputError(message, reason="another_writer") from error
    except OSError as error:
        if not os.access(lock, os.W_OK):
            raise OutputError(f"cannot write {lock}: {error.strerror}", reason="no_lock") from error
        message = f"cannot lock {lock}: {error.strerror}; put {place} on a disk with file locks"
        raise OutputError(message, reason="no_lock") from error
    try:
        yield
    finally:
        held.release()


@dataclass
class _Lease:
    """A lease that this process holds, and the thread that renews it."""

    object: ObjectPlace
    place: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    over: threading.Event = field(default_factory=threading.Event)
    lost: bool = False
    thread: int = field(default_factory=threading.get_ident)

    def content(self) -> bytes:
        """Return what the object says; each time it is another content, and another etag."""
        process = this_process()
        return json_bytes(process | {"token": self.token, "since": self.since, "sign": uuid.uuid4().hex})

    def take(self) -> FileInfo:
        """Write the object where there is none, or in the place of one that nobody renews.

        Raises:
            OutputError: somebody holds it (`another_writer`).
        """
        for _ in range(3):
            if self.object.create(self.content()):
                break
            found = self.object.info()
            if found is None:
                continue
            holder, age = self._holder(), self._age(found)
            if holder.get("token") == self.token:
                break
            if age < LEASE and not is_gone({"pid": 0} | holder):
                raise self._held(holder, age)
            if self.object.update(self.content(), found):
                break
        # Read back: a store that knows no conditions lets two writers pass, and the last one is it.
        found, holder = self.object.info(), self._holder()
        if found is None or holder.get("token") != self.token:
            raise self._held(holder, 0.0)
        return found

    def _holder(self) -> dict[str, Any]:
        try:
            found = json.loads(self.object.read())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _age(self, found: FileInfo) -> float:
        """Return the seconds since an object was written, by the store's clock: that of an object written now."""
        probe = self.object.parent / f".clock-{self.token}"
        probe.write(b"")
        now = probe.info()
        probe.remove()
        return now.modified - found.modified if now is not None else 0.0

    def _held(self, holder: dict[str, Any], age: float) -> OutputError:
        who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}, since {holder.get('since', '?')}"
        message = (
            f"another run is writing {self.place}: {who}; wait until it has ended, or, where it was killed, "
            f"{max(1, round(LEASE - age))} s from now"
        )
        return OutputError(message, reason="another_writer")

    def renew(self, found: FileInfo) -> None:
        """Renew it until it is over; where it was taken over, end the work of the thread that holds it."""
        while not self.over.wait(RENEWED_EVERY):
            try:
                if self.object.update(self.content(), found):
                    found = self.object.info() or found
                elif self._holder().get("token") != self.token:
                    self.lost = True
                    if self.thread == threading.main_thread().ident:
                        _thread.interrupt_main()
                    return
                else:
                    found = self.object.info() or found
            except (OSError, Image2MusicError):  # the store is away: the next sign says that this process lives
                continue


@contextmanager
def _leased(place: str, lock: ObjectPlace) -> Iterator[None]:
    lease = _Lease(lock, place)
    found = lease.take()
    renewing = threading.Thread(target=lease.renew, args=(found,), name="lease", daemon=True)
    renewing.start()
    try:
        yield
    except KeyboardInterrupt:
        if lease.lost:
            raise _lost(place) from None
        raise
    finally:
        lease.over.set()
        renewing.join(5.0)
        if not lease.lost and lease._holder().get("token") == lease.token:
            lock.remove()
    if lease.lost:
        raise _lost(place)


def _lost(place: str) -> OutputError:
    message = (
        f"another run took {place} over, for this one gave no sign for {LEASE:g} s; wait until that one has ended, "
        "and run the same command again"
    )
    return OutputError(message, reason="lock_lost")
