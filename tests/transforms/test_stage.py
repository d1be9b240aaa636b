import apache_beam as beam
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from image2music.failures import batch_with_fallback
from image2music.types import Failure
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
