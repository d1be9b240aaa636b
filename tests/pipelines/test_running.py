import apache_beam as beam
import pytest
from job_processes import start

from image2music.errors import JobError
from pipelines.runtime.beam_runner import run_here


def failing(error):
    def fail(_):
        raise error

    return lambda pipeline: pipeline | beam.Create([1]) | beam.Map(fail)


def test_what_breaks_the_whole_job_is_an_error_in_one_line():
    with pytest.raises(JobError, match="No space left") as caught:
        run_here(failing(OSError(28, "No space left on device")))
    assert "\n" not in str(caught.value)


@pytest.mark.process
def test_a_worker_process_that_fails_is_one_line_too(indexed):
    (indexed / "out").mkdir()
    (indexed / "out" / "compositions").write_text("a file where the folder of the rows should be")
    compose = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
    job = start([*compose, "--workers", "2"], indexed)
    printed, _ = job.communicate(timeout=60)
    assert job.returncode == 1
    assert printed.startswith("image2music: the job broke: ")
    assert "cannot write out/compositions/" in printed and "File exists; mend that" in printed
    assert len(printed.splitlines()) == 1


def test_an_interrupt_inside_a_worker_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt):
        run_here(failing(KeyboardInterrupt()))
