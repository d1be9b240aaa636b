"""A stand-in for a model whose text hangs on one cell of the picture: only a map of that cell is faithful."""

import numpy as np
import pytest
from PIL import Image

from image2music.composers.attention import Faithfulness, blurred, first_cells, from_centre, most_first, with_blur
from image2music.composers.base import AttentionOptions

ROWS, COLS, TOKENS = 4, 6, 5
WANTED = (0, 5)


def nats(masks):
    """Each token loses a nat where the wanted cell, a corner, is blurred; the first one never does."""
    lost = masks[:, *WANTED][:, None] * np.arange(TOKENS).clip(0, 1)
    return -1.0 - lost.astype(np.float64)


@pytest.fixture
def measure():
    return Faithfulness(nats, ROWS, COLS, seed=0)


def map_of(row, col):
    weights = np.zeros((ROWS, COLS), dtype=np.float32)
    weights[row, col] = 1.0
    return weights


def test_a_map_of_what_mattered_moves_the_likelihood_at_once(measure):
    found = measure.of(map_of(*WANTED), range(TOKENS))
    assert (found["deletion"], found["insertion"]) == (4.0, 4.0)


def test_other_orders_stand_beside_it_and_move_less(measure):
    found = measure.of(map_of(*WANTED), range(TOKENS))
    assert set(found) == {f"{way}{order}" for way in ("deletion", "insertion") for order in ("", "_random", "_centre")}
    assert found["deletion_centre"] == found["insertion_centre"] == 0.0
    assert found["deletion_random"] < found["deletion"]


def test_a_map_of_something_else_is_not_faithful(measure):
    weights = np.arange(ROWS * COLS, 0, -1, dtype=np.float32).reshape(ROWS, COLS)
    weights[WANTED] = 0.0
    assert measure.of(weights, range(TOKENS))["deletion"] == 0.0


def test_only_the_tokens_that_a_map_is_about_count(measure):
    assert measure.of(map_of(*WANTED), [0, 1])["deletion"] == 1.0


def test_the_same_seed_gives_the_same_figures():
    first, second = (Faithfulness(nats, ROWS, COLS, seed=3).of(map_of(1, 1), [1, 2]) for _ in range(2))
    assert first == second


def test_orders_hold_every_cell_once():
    assert sorted(from_centre(ROWS, COLS)) == sorted(most_first(map_of(1, 1))) == list(range(ROWS * COLS))
    assert from_centre(3, 3)[0] == 4
    assert most_first(map_of(1, 1))[0] == COLS + 1
    assert first_cells(from_centre(3, 3), [0, 2]).sum(1).tolist() == [0, 2]


def test_a_picture_is_blurred_where_the_mask_says_and_nowhere_else():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    mask = np.zeros((2, 3), dtype=np.bool_)
    mask[0, 0] = True
    before, after = np.asarray(picture), np.asarray(with_blur(picture, blurred(picture), mask))
    assert (after[20:] == before[20:]).all()
    assert (after[:20, 20:] == before[:20, 20:]).all()
    assert after[:20, :20].std() < before[:20, :20].std() / 3


@pytest.mark.parametrize(
    ("attention_options", "name"),
    [
        (AttentionOptions(), None),
        (AttentionOptions(layers=True), "layers"),
        (AttentionOptions(True, True), "layers+faithfulness"),
    ],
)
def test_settings_name_only_what_was_asked_for(attention_options, name):
    assert attention_options.name == name
