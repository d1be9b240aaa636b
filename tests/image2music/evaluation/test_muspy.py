"""That our metrics are MusPy's is tested with the metrics; this is about how the comparison is reported."""

import muspy
import pytest
from fakes import two_voice_tune

from image2music.evaluation.compare import muspy_table
from image2music.evaluation.measures import muspy_differences
from image2music.evaluation.pieces import Piece
from image2music.music.metrics import METRIC_NAMES

PIECES = [Piece(f"id{n}", f"{n}.png", two_voice_tune(n)) for n in range(3)]


def test_tunes_that_play_are_compared_metric_by_metric():
    found = muspy_differences([*PIECES, Piece("failed", "failed.png", "")])
    assert [one.name for one in found] == list(METRIC_NAMES)
    assert {(one.tunes, one.undefined) for one in found} == {(3, 0)}
    assert max(one.largest for one in found) < 1e-9


def test_the_largest_difference_is_what_is_shown(monkeypatch):
    real = muspy.polyphony
    monkeypatch.setattr(muspy, "polyphony", lambda music: real(music) + 0.25)
    found = {one.name: one for one in muspy_differences(PIECES)}
    assert found["polyphony"].largest == pytest.approx(0.25)
    assert "| polyphony | 3 | 2.5e-01 | 0 |" in muspy_table(list(found.values()))


def test_a_metric_that_only_one_of_the_two_knows_is_counted_apart(monkeypatch):
    monkeypatch.setattr(muspy, "pitch_entropy", lambda music: float("nan"))
    found = {one.name: one for one in muspy_differences(PIECES)}["pitch_entropy"]
    assert (found.largest, found.undefined) == (None, 3)


def test_nothing_that_plays_leaves_nothing_to_compare():
    assert {one.largest for one in muspy_differences([Piece("failed", "failed.png", "")])} == {None}
