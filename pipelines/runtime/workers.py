"""What a job with several processes does when one of them is gone.

Beam's own multi-processing waits for ever for a worker that was killed. Its thread that waits for the process does
notice, and an error that nobody catches there reaches `threading.excepthook`: that is where this listens.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from transforms.deadlines import EXIT_START_AGAIN, SUPERVISOR

_WORKER_THREAD = "run_worker"
_LOOK_EVERY = 1.0


def worker_flags(workers: int) -> tuple[str, ...]:
    """Beam's options for so many processes on one machine; none for one."""
    if workers == 1:
        return ()
    return "--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"


def has_own_processes(flags: Sequence[str]) -> bool:
    """Whether Beam's options ask for processes that the job starts itself."""
    words = [word for flag in flags for word in flag.split("=", 1)]
    return "multi_processing" in words


def workers_of(flags: Sequence[str]) -> int:
    """How many processes Beam's options ask for; 1 where they ask for threads, or for nothing."""
    words = [word for flag in flags for word in flag.split("=", 1)]
    if not has_own_processes(flags) or "--direct_num_workers" not in words:
        return 1
    number = int(words[words.index("--direct_num_workers") + 1])
    return number or os.cpu_count() or 1


@contextmanager
def lost_workers_end_the_job() -> Iterator[None]:
    """While it is open, a worker that ends with an error ends this process, and everything that it started.

    Where a supervisor started this process, its end does the same: nobody else would know of the job.
    """
    before = threading.excepthook

    def hook(caught: threading.ExceptHookArgs) -> None:
        if caught.thread is not None and caught.thread.name == _WORKER_THREAD:
            _leave(f"a worker is gone ({caught.exc_value}); killed, or out of memory")
        before(caught)

    threading.excepthook = hook
    over = threading.Event()
    supervisor = os.environ.get(SUPERVISOR)
    if supervisor is not None:
        _in_background(lambda: _watch_parent(int(supervisor), over))
    try:
        yield
    finally:
        over.set()
        threading.excepthook = before


def _watch_parent(supervisor: int, over: threading.Event) -> None:
    while not over.wait(_LOOK_EVERY):
        if os.getppid() != supervisor:
            os.killpg(0, signal.SIGKILL)


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def _leave(why: str) -> None:
    print(f"image2music: {why}", file=sys.stderr, flush=True)
    os._exit(EXIT_START_AGAIN)  # nothing milder ends a Beam job that waits for its worker
