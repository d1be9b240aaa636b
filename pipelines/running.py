"""Running a pipeline to its end, as an error of this project where it breaks."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult, PipelineState

from image2music.errors import JobError
from image2music.failures import one_line


def run_to_end(pipeline: beam.Pipeline) -> PipelineResult:
    """Run and wait.

    Raises:
        JobError: the runner gave up (`job_failed`); its cause is attached.
    """
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:  # runners wrap what a worker raised in errors of their own
        raise JobError(f"the job stopped: {one_line(error)}", reason="job_failed") from error
    if state not in (PipelineState.DONE, None):
        raise JobError(f"the job ended in the state {state}", reason="job_failed")
    return result
