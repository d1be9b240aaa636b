from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from image2music.composers.chat.engine.decode import FEW, Sampling, sample_tokens, uniform_draws

PLAIN = Sampling(temperature=1.0, top_p=1.0)


def test_tokens_are_drawn_with_their_probabilities():
    scores = torch.tensor([0.5, 0.3, 0.2]).log().expand(4000, 3)
    drawn = Counter(sample_tokens(scores, uniform_draws(1, 4000), PLAIN).tolist())
    assert [drawn[i] / 4000 for i in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_tokens_beyond_top_p_are_never_drawn():
    scores = torch.tensor([0.6, 0.3, 0.1]).log().expand(500, 3)
    assert set(sample_tokens(scores, uniform_draws(1, 500), Sampling(temperature=1.0, top_p=0.7)).tolist()) == {0, 1}


@given(st.integers(0, 99), st.sampled_from([0.3, 0.9, 0.999, 1.0]), st.floats(0, 1, exclude_max=True))
def test_a_large_vocabulary_is_drawn_from_as_if_all_of_it_were_in_order(seed, top_p, throw):
    scores = 3 * torch.randn(4 * FEW, generator=torch.Generator().manual_seed(seed))
    shares, order = scores.double().softmax(-1).sort(descending=True)
    cached = sorted(order[shares.cumsum(-1) - shares < top_p - 1e-6].tolist())
    more = sorted(order[shares.cumsum(-1) - shares < top_p + 1e-6].tolist())
    (token,) = sample_tokens(scores[None], torch.tensor([throw]).double(), Sampling(1.0, top_p)).tolist()
    ends = scores[cached].double().softmax(-1).cumsum(-1)
    expected = cached[min(int((ends <= throw).sum()), len(cached) - 1)]
    assert token == expected or (cached != more or bool(((ends - throw).abs() < 1e-6).any()))


def test_tokens_as_likely_as_the_last_one_kept_are_kept_too():
    scores = torch.tensor([0.4, 0.3, 0.3]).log().expand(500, 3)
    assert set(sample_tokens(scores, uniform_draws(1, 500), Sampling(temperature=1.0, top_p=0.5)).tolist()) == {0, 1, 2}


def test_rows_without_a_throw_take_the_likeliest_token():
    scores = torch.tensor([[0.0, 1.0, 0.5]]).expand(2, 3)
    assert sample_tokens(scores, torch.tensor([torch.nan, 0.0], dtype=torch.float64), PLAIN).tolist() == [1, 0]


@given(st.lists(st.one_of(st.just(-torch.inf), st.floats(-9, 9)), min_size=1, max_size=9), st.floats(0, 1))
def test_what_is_ruled_out_is_never_drawn(scores, throw):
    row = torch.tensor([[*scores, 0.0]])
    (token,) = sample_tokens(row, torch.tensor([throw], dtype=torch.float64), Sampling()).tolist()
    assert row[0, token] > -torch.inf


def test_throws_belong_to_their_seed_and_place():
    assert torch.equal(uniform_draws(7, 40)[:12], uniform_draws(7, 12))
    assert not torch.equal(uniform_draws(7, 12), uniform_draws(8, 12))
