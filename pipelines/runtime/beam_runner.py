"""Running a Beam pipeline to its end, of a whole job or of one slice, and what it counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from image2music.errors import ConfigError, JobError
from image2music.failures import one_line
from pipelines.runtime.options import beam_options
from pipelines.runtime.slices import SliceResult
from transforms.stage import NAMESPACE, TIME

_ANSWERS_WITHIN = 60.0
"""Seconds in which a job service answers that is there."""
_LONGEST_JOB = 30 * 24 * 3600


def run_here(build: Callable[[beam.Pipeline], None]) -> SliceResult:
    """Build a pipeline and run it in this process, in the thread that asks.

    Raises:
        JobError: it broke (`job_failed`).
    """
    return run_pipeline(build, beam_options(()))


def run_pipeline(build: Callable[[beam.Pipeline], None], options: PipelineOptions) -> SliceResult:
    """Build a pipeline and run it where the options say.

    Raises:
        ConfigError: the runner asks for other options (`bad_arguments`).
        JobError: the runner gave up (`job_failed`); its cause is attached. No job service is there (`no_job_service`).
        KeyboardInterrupt: somebody stopped it.
    """
    _give_time(options.view_as(PortableOptions))
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:
        raise ConfigError(one_line(error), reason="bad_arguments") from error
    build(pipeline)
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:  # runners wrap what a worker raised in errors of their own
        if _was_interrupted(error):
            raise KeyboardInterrupt from error
        message = f"the job broke: {one_line(error)}; image2music --log_level ERROR tells more"
        raise JobError(message, reason="job_failed") from error
    if state not in (PipelineState.DONE, None):
        raise JobError(f"the job ended in the state {state}", reason="job_failed")
    return SliceResult(counters(result), stage_seconds(result))


def _give_time(options: PortableOptions) -> None:
    """Let a job last as long as it does, and see that its job service is there.

    Within `--job_server_timeout`, 300 s by default, a whole job has to end where the service knows it by the id of its
    preparation (JobServiceHandle.run of apache_beam.runners.portability): so do Beam's own and Prism.
    """
    if options.job_server_timeout == PortableOptions().job_server_timeout:
        options.job_server_timeout = _LONGEST_JOB
    if options.job_endpoint not in (None, "embed"):
        import grpc

        with grpc.insecure_channel(options.job_endpoint) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=_ANSWERS_WITHIN)
            except grpc.FutureTimeoutError as error:
                message = f"--job_endpoint: no job service answers at {options.job_endpoint}; start one"
                raise JobError(message, reason="no_job_service") from error


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
