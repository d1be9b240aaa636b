"""Running a Beam pipeline to its end, of a whole job or of one slice, and what it counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from image2music.errors import JobError
from image2music.failures import one_line
from pipelines.runtime.options import beam_options
from pipelines.runtime.slices import SliceResult
from transforms.stage import NAMESPACE, TIME


def run_here(build: Callable[[beam.Pipeline], None]) -> SliceResult:
    """Build a pipeline and run it in this process, in the thread that asks.

    Raises:
        JobError: it broke (`job_failed`).
    """
    return run_pipeline(build, beam_options(()))


def run_pipeline(build: Callable[[beam.Pipeline], None], options: PipelineOptions) -> SliceResult:
    """Build a pipeline and run it where the options say.

    Raises:
        JobError: the runner gave up (`job_failed`); its cause is attached.
        KeyboardInterrupt: somebody stopped it.
    """
    pipeline = beam.Pipeline(options=options)
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
