"""Attention with shared keys, against torch's own."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from image2music.composers.chat.engine.cache import additive_mask
from image2music.composers.chat.engine.replay import PART, attended, mixed, weights_of

HEADS, GROUPS, DIM = 6, 2, 4


def drawn(queries, keys):
    """A query, keys and values of two rows, the second of which has four columns of padding."""
    dice = torch.Generator().manual_seed(queries)
    shapes = (2, HEADS, queries, DIM), (2, GROUPS, keys, DIM), (2, GROUPS, keys, DIM)
    seen = torch.ones(2, keys, dtype=torch.bool)
    seen[1, :4] = False
    return *(torch.rand(shape, generator=dice) for shape in shapes), seen


def by_torch(query, key, value, mask):
    shared = [part.repeat_interleave(HEADS // GROUPS, 1) for part in (key, value)]
    return scaled_dot_product_attention(query, *shared, attn_mask=mask)


@pytest.mark.parametrize("queries", [1, 3, PART + 5])
def test_few_and_many_queries_attend_as_torch_does(queries):
    query, key, value, seen = drawn(queries, queries + 8)
    mask = seen[:, None, None] & torch.ones(queries, queries + 8, dtype=torch.bool).tril(8)
    expected = by_torch(query, key, value, mask)
    torch.testing.assert_close(attended(query, key, value, mask, None), expected)
    torch.testing.assert_close(attended(query, key, value, additive_mask(seen, queries, torch.float32), None), expected)


def test_weights_are_the_shares_that_mix_the_values():
    query, key, value, seen = drawn(3, 9)
    weights = weights_of(query, key, seen[:, None, None].expand(2, 1, 3, 9), scaling=0.3)
    assert weights.shape == (2, GROUPS, HEADS // GROUPS, 3, 9)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, GROUPS, HEADS // GROUPS, 3))
    assert float(weights[1, ..., :4].max()) == 0.0
    by_hand = torch.einsum("bghqk,bgkd->bghqd", weights, value).reshape(2, HEADS, 3, DIM)
    torch.testing.assert_close(mixed(weights, value), by_hand)


def test_a_token_that_sees_nothing_is_no_nan():
    query, key, value, _ = drawn(2, 5)
    assert attended(query, key, value, torch.zeros(2, 1, 2, 5, dtype=torch.bool), None).isfinite().all()
