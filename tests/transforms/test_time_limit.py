import subprocess
import sys
import time

import apache_beam as beam
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from image2music.errors import TimeLimitError
from transforms.deadlines import TimeLimit
from transforms.stage import Stage, StageHandler


class SpinOnZero(StageHandler):
    """Never comes back from a batch with a 0 in it."""

    stage = "spin"

    def load_model(self):
        return None

    def place(self, element):
        return f"id-{element}", f"uri-{element}"

    def work(self, batch, model):
        while 0 in batch:
            time.sleep(0.001)
        return list(batch)


def test_a_stuck_element_is_a_failure_and_its_batch_goes_on():
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        parted = pipeline | beam.Create([1, 0, 3]) | Stage(SpinOnZero(batch_size=3), TimeLimit(0.2))
        assert_that(parted.done, equal_to([1, 3]), "done")
        reasons = parted.failed | beam.Map(lambda failure: (failure.id, failure.reason, failure.message))
        message = "took longer than 0.2 s, the --time_limit"
        assert_that(reasons, equal_to([("id-0", "timed_out", message)]), "failed")


STUCK = """
import time
from transforms.deadlines import TimeLimit
limit = TimeLimit(0.05, "notes", grace=0.1)
limit.run(lambda: time.sleep(60), "compose", {ids})
"""


@pytest.mark.process
def test_what_cannot_be_stopped_ends_the_process_with_a_note(tmp_path):
    command = [sys.executable, "-c", STUCK.format(ids=["a"])]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "image2music: compose does not come back from a; the same command goes on without it\n"
    limit = TimeLimit(0.05, str(tmp_path / "notes"))
    assert limit.goes_alone("compose", "a")
    with pytest.raises(TimeLimitError, match="could not be stopped"):
        limit.run(lambda: "not tried", "compose", ["a"])


@pytest.mark.process
def test_of_a_batch_that_could_not_be_stopped_each_goes_alone_and_is_tried(tmp_path):
    command = [sys.executable, "-c", STUCK.format(ids=["a", "b"])]
    subprocess.run(command, cwd=tmp_path, capture_output=True)
    limit = TimeLimit(5, str(tmp_path / "notes"))
    assert limit.goes_alone("compose", "a")
    assert not limit.goes_alone("describe", "a")
    assert limit.run(lambda: "tried", "compose", ["a"]) == "tried"
