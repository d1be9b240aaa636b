import apache_beam as beam
import pytest

from image2music.errors import JobError
from pipelines.options import beam_options
from pipelines.running import run_to_end


def failing(error):
    def fail(_):
        raise error

    pipeline = beam.Pipeline(options=beam_options([]))
    _ = pipeline | beam.Create([1]) | beam.Map(fail)
    return pipeline


def test_what_breaks_the_whole_job_is_an_error_in_one_line():
    with pytest.raises(JobError, match="No space left") as caught:
        run_to_end(failing(OSError(28, "No space left on device")))
    assert "\n" not in str(caught.value)


def test_an_interrupt_inside_a_worker_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt):
        run_to_end(failing(KeyboardInterrupt()))
