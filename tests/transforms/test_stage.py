import apache_beam as beam
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from image2music.errors import PutOffError
from image2music.failures import batch_with_fallback
from image2music.types import Failure
from pipelines.runtime.beam_runner import counters
from transforms.deadlines import TimeLimit
from transforms.stage import Stage, StageHandler

SIZES = []


def halve(numbers):
    SIZES.append(len(numbers))
    if 0 in numbers:
        raise ZeroDivisionError("nothing to halve")
    return [number / 2 for number in numbers]


class Halve(StageHandler):
    stage = "halve"

    def load_model(self):
        return halve

    def place(self, element):
        return f"id-{element}", f"uri-{element}"

    def work(self, batch, model):
        return batch_with_fallback(model, batch)


def test_a_bad_element_leaves_by_its_own_door_and_its_batch_goes_on():
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        parted = pipeline | beam.Create([1, 0, 3]) | Stage(Halve(batch_size=3))
        failure = Failure("halve", "id-0", "uri-0", "unexpected_ZeroDivisionError", "nothing to halve")
        assert_that(parted.done, equal_to([0.5, 1.5]), "done")
        assert_that(parted.failed, equal_to([failure]), "failed")


class Patient(Halve):
    """Puts 0 off, whether it comes as a result or is raised."""

    def work(self, batch, model):
        if len(batch) > 1 and 5 in batch:
            raise PutOffError("not yet", reason="batch")
        return [number / 2 if number else PutOffError("not yet", reason="batch") for number in batch]


@pytest.mark.parametrize("others", [(1, 3), (1, 5)])
def test_what_is_put_off_is_neither_done_nor_failed_and_is_counted(others):
    pipeline = beam.Pipeline(runner="FnApiRunner")
    parted = pipeline | beam.Create([0, *others]) | Stage(Patient(batch_size=3), TimeLimit(60.0))
    assert_that(parted.done, equal_to([number / 2 for number in others]), "done")
    assert_that(parted.failed, equal_to([]), "failed")
    found = counters(pipeline.run())
    assert found == {"halve.done": 2, "halve.put_off": 1, "put_off.batch": 1}


def test_a_reason_of_two_stages_is_counted_in_both():
    pipeline = beam.Pipeline(runner="FnApiRunner")
    for name in ("first", "second"):
        numbers = pipeline | f"Numbers {name}" >> beam.Create([0, 1])
        numbers | f"Halve {name}" >> Stage(Patient(batch_size=1))
    assert counters(pipeline.run())["put_off.batch"] == 2


class HalveByHand(Halve):
    """Work that does not catch what one of its elements raises."""

    def work(self, batch, model):
        return model(batch)


class Forgetful(Halve):
    """Forgets 0."""

    def work(self, batch, model):
        return [number for number in batch if number]


@pytest.mark.parametrize(
    ("handler", "reason"), [(HalveByHand, "unexpected_ZeroDivisionError"), (Forgetful, "wrong_number_of_results")]
)
def test_work_that_raises_is_asked_again_one_by_one_and_what_still_raises_is_that_elements_failure(handler, reason):
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        parted = pipeline | beam.Create([1, 0, 3]) | Stage(handler(batch_size=3))
        assert_that(parted.done | beam.combiners.Count.Globally(), equal_to([2]), "done")
        reasons = parted.failed | beam.Map(lambda failure: (failure.id, failure.reason))
        assert_that(reasons, equal_to([("id-0", reason)]), "failed")


def test_batches_are_as_large_as_asked_for():
    SIZES.clear()
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(list(range(1, 11))) | Stage(Halve(batch_size=4))
    assert sorted(SIZES) == [2, 4, 4]
