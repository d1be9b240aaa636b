"""A job in a process of its own, started again when it is killed or loses a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from image2music.storage.run_file import RunFile
from pipelines.runtime.ending import EXIT_FAILED, EXIT_INTERRUPTED, GOES_ON
from transforms.deadlines import EXIT_START_AGAIN, SUPERVISOR

_PATIENCE = 5.0
"""Seconds that a job may take to stop when it is told to."""


def is_supervised() -> bool:
    """Whether this process is a job that a supervisor started."""
    return SUPERVISOR in os.environ


def job_command(argv: Sequence[str]) -> list[str]:
    """`image2music` with these arguments, by the Python that runs now."""
    return [sys.executable, "-m", "pipelines.cli.main", *argv]


def supervise(command: Sequence[str], *, restarts: int, run_file: RunFile) -> int:
    """Run the command in a process of its own; returns its exit code.

    A job that is killed, or that ends because a worker was, is started again from what is finished, at most
    `restarts` times. Then, or when it cannot be started again, run.json says so.
    """
    for left in range(restarts, -1, -1):
        code = _run(command)
        if code == EXIT_INTERRUPTED:
            run_file.close("stopped", f"stopped by hand; {GOES_ON}")
        if code >= 0 and code != EXIT_START_AGAIN:
            return code
        how = "lost a worker" if code > 0 else f"was killed by {signal.Signals(-code).name}"
        if left:
            _say(f"the job {how}; it starts again from what is finished ({restarts - left + 1} of {restarts})")
    ending = f"the job {how}, and --restarts {restarts} are used up"
    advice = "give it fewer --workers or a smaller --batch_size if memory is short; the same command goes on"
    run_file.close("failed", ending)
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
