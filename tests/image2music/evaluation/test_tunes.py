import numpy as np
import pytest
from fakes import DIM, two_voice_tune, unit

from image2music.evaluation.compare import metric_spreads
from image2music.evaluation.measures import figures, own_minus_mean, score_rows
from image2music.evaluation.pieces import Piece, hear, piece_of_failure
from image2music.music.metrics import METRIC_NAMES, metrics_of_score


def piece(number, abc=None, **more):
    return Piece(f"id{number}", f"{number}.png", two_voice_tune(number) if abc is None else abc, **more)


def test_a_copied_reference_is_found_whole_and_lies_within_the_references():
    copy = piece(1, references=(two_voice_tune(1), two_voice_tune(2)))
    row = score_rows("out", [copy])[0]
    assert (row["longest_copy"], row["copied_share"], row["metrics_distance"]) == (16, 1.0, 0.0)


def test_an_own_tune_shares_little():
    row = score_rows("out", [piece(1, references=(two_voice_tune(2),))])[0]
    assert row["longest_copy"] < 8


def test_the_same_tune_for_every_picture_is_all_alike():
    alike = score_rows("out", [piece(n, two_voice_tune(7)) for n in range(4)])
    own = score_rows("out", [piece(n) for n in range(4)])
    assert [row["self_similarity"] for row in alike] == [1.0] * 4
    assert max(row["self_similarity"] for row in own) < 0.6


def test_a_failure_of_the_composer_counts_as_a_picture_without_a_tune():
    failed = piece_of_failure({"stage": "compose", "id": "x", "uri": "x.png"})
    row = score_rows("out", [failed])[0]
    assert figures(row) == {"valid_as_written": 0.0, "valid_first": 0.0, "valid_repaired": 0.0}
    assert piece_of_failure({"stage": "describe", "id": "x", "uri": "x.png"}) is None


def test_figures_are_named_by_where_they_stand():
    row = score_rows("out", [piece(1, faithfulness=(("deletion", 0.4),))])[0]
    row["answers"] = [{"who": "judge", "question": "melody", "mean": 5.5, "spread": None, "answers": 1}]
    found = figures(row)
    assert found["faithfulness.deletion"] == 0.4
    assert found["judge.melody"] == 5.5
    assert found["metrics.polyphony"] == row["metrics"]["polyphony"]


def test_the_distance_is_the_area_between_the_distributions_in_deviations_of_the_references():
    pieces = [piece(n, references=(two_voice_tune(n + 20), two_voice_tune(n + 40))) for n in range(6)]
    found = {one.name: one for one in metric_spreads(pieces, score_rows("out", pieces))}["pitch_entropy"]
    tunes = [metrics_of_score(one.score).pitch_entropy for one in pieces]
    references = [hear(abc).metrics.pitch_entropy for one in pieces for abc in one.references]
    # By hand: the distance between two empirical distributions is the integral of the gap of their step functions.
    points = np.sort(np.concatenate([tunes, references]))
    gaps = [abs(np.mean(tunes <= point) - np.mean(references <= point)) for point in points[:-1]]
    assert found.distance == pytest.approx(np.dot(gaps, np.diff(points)) / np.std(references), rel=1e-12)


def test_tunes_like_their_references_lie_at_no_distance():
    pieces = [piece(n, references=(two_voice_tune(n),)) for n in range(6)]
    spreads = metric_spreads(pieces, score_rows("out", pieces))
    assert [one.name for one in spreads] == list(METRIC_NAMES)
    assert {one.distance for one in spreads} <= {0.0, None}


def test_a_tune_that_goes_with_every_picture_alike_goes_with_none():
    seen = np.stack([unit("red"), unit("green"), unit("blue")])
    same = own_minus_mean(seen, np.tile(unit("red"), (3, 1)))
    assert np.mean(same) == pytest.approx(0.0, abs=1e-7)
    assert seen.shape == (3, DIM)
    assert min(own_minus_mean(seen, seen)) > 0.3
