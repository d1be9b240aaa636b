import apache_beam as beam
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


def test_batches_are_as_large_as_asked_for():
    SIZES.clear()
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(list(range(1, 11))) | Stage(Halve(batch_size=4))
    assert sorted(SIZES) == [2, 4, 4]
