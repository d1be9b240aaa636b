from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from image2music.composers.chat.sampling import Sampling, choose, dice

PLAIN = Sampling(temperature=1.0, top_p=1.0)


def test_tokens_are_drawn_with_their_probabilities():
    scores = torch.tensor([0.5, 0.3, 0.2]).log().expand(4000, 3)
    drawn = Counter(choose(scores, dice(1, 4000), PLAIN).tolist())
    assert [drawn[i] / 4000 for i in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_tokens_beyond_top_p_are_never_drawn():
    scores = torch.tensor([0.6, 0.3, 0.1]).log().expand(500, 3)
    assert set(choose(scores, dice(1, 500), Sampling(temperature=1.0, top_p=0.7)).tolist()) == {0, 1}


def test_rows_without_a_throw_take_the_likeliest_token():
    scores = torch.tensor([[0.0, 1.0, 0.5]]).expand(2, 3)
    assert choose(scores, torch.tensor([torch.nan, 0.0], dtype=torch.float64), PLAIN).tolist() == [1, 0]


@given(st.lists(st.one_of(st.just(-torch.inf), st.floats(-9, 9)), min_size=1, max_size=9), st.floats(0, 1))
def test_what_is_ruled_out_is_never_drawn(scores, throw):
    row = torch.tensor([[*scores, 0.0]])
    (token,) = choose(row, torch.tensor([throw], dtype=torch.float64), Sampling()).tolist()
    assert row[0, token] > -torch.inf


def test_throws_belong_to_their_seed_and_place():
    assert torch.equal(dice(7, 40)[:12], dice(7, 12))
    assert not torch.equal(dice(7, 12), dice(8, 12))
