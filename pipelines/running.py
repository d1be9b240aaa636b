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
        KeyboardInterrupt: somebody stopped it.
    """
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
    return result


def _was_interrupted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
