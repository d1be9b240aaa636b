"""Running a pipeline to its end, what it counted, and what happens when one of its worker processes is gone.

Beam's own multi-processing waits for ever for a worker that was killed. Its thread that waits for the process does
notice, and an error that nobody catches there reaches `threading.excepthook`: that is where this listens.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineState
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from image2music.errors import ConfigError, JobError
from image2music.failures import one_line
from transforms.deadlines import EXIT_START_AGAIN, SUPERVISOR
from transforms.stage import NAMESPACE, TIME

WORKER_THREAD = "run_worker"
"""The name that Beam gives to the thread which waits for a worker process."""
_LOOK_EVERY = 1.0


def new_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """Return a pipeline whose worker processes on this machine, where it has any, are those of `processes`.

    Raises:
        ConfigError: the runner asks for other options (`bad_arguments`).
    """
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        try:
            return beam.Pipeline(options=options)
        except ValueError as error:
            raise ConfigError(one_line(error), reason="bad_arguments") from error
    direct.direct_running_mode = "in_memory"  # else the runner would put its own command in place of ours
    command = f"{shlex.quote(sys.executable)} -m pipelines.runtime.processes"
    environment = SubprocessSDKEnvironment.from_command_string(command)
    return beam.Pipeline(runner=FnApiRunner(default_environment=environment), options=options)


def run_to_end(pipeline: beam.Pipeline) -> PipelineResult:
    """Run and wait.

    Raises:
        JobError: the runner gave up (`job_failed`); its cause is attached.
        KeyboardInterrupt: somebody stopped it.
    """
    try:
        with lost_workers_end_the_job():
            result = pipeline.run()
            state = result.wait_until_finish()
    except Exception as error:  # runners wrap what a worker raised in errors of their own
        if _was_interrupted(error):
            raise KeyboardInterrupt from error
        message = f"the job broke: {one_line(error)}; image2music --log_level ERROR tells more"
        raise JobError(message, reason="job_failed") from error
    if state not in (PipelineState.DONE, None):
        raise JobError(f"the job ended in the state {state}", reason="job_failed")
    return result


def _was_interrupted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def counters(result: PipelineResult) -> Counter[str]:
    """Return the stages' counters: `STAGE.done` and `STAGE.failed`, `skip.skipped`; one of several stages is summed."""
    found: Counter[str] = Counter()
    for entry in result.metrics().query()["counters"]:
        if entry.key.metric.namespace == NAMESPACE:
            found[entry.key.metric.name] += entry.result
    return found


def stage_seconds(result: PipelineResult) -> dict[str, float]:
    """Return the seconds that each stage spent on its elements, over all workers."""
    prefix = f"{NAMESPACE}."
    return {
        entry.key.metric.namespace.removeprefix(prefix): round(entry.result.sum / 1e6, 3)
        for entry in result.metrics().query()["distributions"]
        if entry.key.metric.namespace.startswith(prefix) and entry.key.metric.name == TIME
    }


@contextmanager
def lost_workers_end_the_job() -> Iterator[None]:
    """While it is open, a worker that ends with an error ends this process, and everything that it started.

    Where a supervisor started this process, its end does the same: nobody else would know of the job.
    """
    before = threading.excepthook

    def hook(caught: threading.ExceptHookArgs) -> None:
        if caught.thread is not None and caught.thread.name == WORKER_THREAD:
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
