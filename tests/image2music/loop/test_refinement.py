import pytest

from image2music.loop.refinement import complaints, metrics_distance, rank, targets_of
from image2music.music.metrics import Metrics
from image2music.types import Draft, Reference

UNDEFINED = dict.fromkeys(Metrics.__dataclass_fields__)


def metrics(**values):
    return Metrics(**UNDEFINED | values)


def reference(**values):
    return Reference("id", "hash", "a.mid", "caption", "X:1", metrics(**values), 0.5, None, "text")


TARGETS = targets_of([reference(pitch_range=10.0, polyphony=1.0), reference(pitch_range=20.0)])


def test_a_target_is_the_range_of_the_references_widened_by_a_tenth():
    assert TARGETS["pitch_range"] == (8.0, 22.0)


def test_a_share_is_widened_by_a_twentieth_and_stays_a_share():
    assert targets_of([reference(scale_consistency=0.98)])["scale_consistency"] == pytest.approx((0.93, 1.0))


def test_a_metric_that_no_reference_defines_has_no_target():
    assert TARGETS["pitch_entropy"] is None
    assert set(targets_of([]).values()) == {None}


def test_distance_is_the_sum_of_the_gaps_as_shares_of_the_high_end():
    assert metrics_distance(metrics(pitch_range=33.0), TARGETS) == pytest.approx(0.5)
    assert metrics_distance(metrics(pitch_range=4.0, polyphony=2.2), TARGETS) == pytest.approx(4 / 22 + 1.0)


def test_within_the_targets_the_distance_is_nothing():
    assert metrics_distance(metrics(pitch_range=15.0, pitch_entropy=99.0), TARGETS) == 0


def test_complaints_name_what_to_change():
    draft = Draft("X:1", (), metrics(pitch_range=40.0, polyphony=1.0), longest_copy=19)
    assert complaints(draft, TARGETS) == (
        "pitch_range is 40, the references lie between 8 and 22",
        "shares 19 notes in a row with a reference: move away from it",
    )


def test_copying_weighs_more_than_any_metric():
    near, copied = metrics(pitch_range=40.0), metrics(pitch_range=15.0)
    assert rank(Draft("", (), near), TARGETS) < rank(Draft("", (), copied, longest_copy=17), TARGETS)
