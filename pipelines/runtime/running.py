"""Running a pipeline to its end, as an error of this project where it breaks."""

from __future__ import annotations

import shlex
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineState
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from image2music.errors import JobError
from image2music.failures import one_line
from pipelines.runtime.workers import lost_workers_end_the_job


def new_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """A pipeline whose worker processes on this machine are `pipelines.runtime.worker_main`, where it has any."""
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        return beam.Pipeline(options=options)
    direct.direct_running_mode = "in_memory"  # else the runner would put its own command in place of ours
    command = f"{shlex.quote(sys.executable)} -m pipelines.runtime.worker_main"
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
