"""The processes of a job: its own, started again when it is killed or loses a worker; their environment; a worker.

Run as a program, this is a worker: Beam's own, as quiet as the job was asked to be.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from pipelines.runtime.options import RunnerFlags
from transforms.deadlines import EXIT_START_AGAIN, SUPERVISOR

if TYPE_CHECKING:
    from image2music.storage.datasets import RunFile


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


EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_SOME_FAILED = 3
"""Some elements failed, no more than the bound allows."""
EXIT_INTERRUPTED = 130

GOES_ON = "the same command goes on where it stopped"

DEFAULT_RESTARTS = 3
_PATIENCE = 5.0
"""Seconds that a job may take to stop when it is told to."""


def supervised(
    argv: Sequence[str], flags: Sequence[str], restarts: int | None, run_file: Callable[[], RunFile]
) -> int | None:
    """Run the command `argv` in a watched process where Beam's options ask for processes, or `restarts` is given.

    Return its exit code, or None where this process is to do the job: it needs no watching, or it is watched already.
    """
    if SUPERVISOR in os.environ or not (RunnerFlags.parse(flags).has_own_processes or restarts):
        return None
    command = [sys.executable, "-m", "pipelines.cli.main", *argv]
    return supervise(command, restarts=DEFAULT_RESTARTS if restarts is None else restarts, run_file=run_file)


def supervise(command: Sequence[str], *, restarts: int, run_file: Callable[[], RunFile]) -> int:
    """Run the command in a process of its own; return its exit code.

    A job that is killed, or that ends because a worker was, is started again from what is finished, at most
    `restarts` times. Then, or when it cannot be started again, run.json says so; `run_file` opens it, for what reads
    and writes files is not loaded before.
    """
    for left in range(restarts, -1, -1):
        code = _run(command)
        if code == EXIT_INTERRUPTED:
            run_file().close("stopped", f"stopped by hand; {GOES_ON}")
        if code >= 0 and code != EXIT_START_AGAIN:
            return code
        how = "lost a worker" if code > 0 else f"was killed by {signal.Signals(-code).name}"
        if left:
            _say(f"the job {how}; it starts again from what is finished ({restarts - left + 1} of {restarts})")
    ending = f"the job {how}, and --restarts {restarts} are used up"
    advice = "give it fewer --workers or a smaller --batch_size if memory is short; the same command goes on"
    run_file().close("failed", ending)
    _say(f"{ending}: {advice}")
    return EXIT_FAILED


def _run(command: Sequence[str]) -> int:
    environment = os.environ | {SUPERVISOR: str(os.getpid())}
    # A process group of its own: with it every worker can be ended, also those whose parent is gone already.
    job = subprocess.Popen(command, env=environment, process_group=0)
    before = {number: signal.signal(number, _stopper(job)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return job.wait()
    except KeyboardInterrupt:
        return _stop(job)
    finally:
        _end_group(job.pid)
        job.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopper(job: subprocess.Popen[bytes]) -> Callable[[int, FrameType | None], None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    return stop


def _stop(job: subprocess.Popen[bytes]) -> int:
    job.send_signal(signal.SIGINT)
    try:
        job.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        _say(f"stopped; {GOES_ON}")
    return EXIT_INTERRUPTED


def _end_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _say(text: str) -> None:
    print(f"image2music: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Serve bundles until the job is over."""
    quieten(os.environ.get(LEVEL, "CRITICAL"))
    from apache_beam.runners.worker import sdk_worker, sdk_worker_main

    # Beam prints the traceback of what breaks a bundle, and logs it too: the log is enough, and follows --log_level.
    sdk_worker.print = lambda *words, **options: None
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
