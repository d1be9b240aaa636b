"""transformers' own forward pass, padded, is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from image2music.embedders.conse import TOKENS_A_PASS, BertShape, PackedBert, packs

TEXTS = [[2, 9, 3], [2, 7, 7, 8, 20, 21, 3], [2, 3], list(range(2, 202))]


@pytest.fixture(scope="module")
def bert() -> BertModel:
    """A tiny BERT with random weights."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture(scope="module")
def packed(bert: BertModel) -> PackedBert:
    """The same weights."""
    return PackedBert(bert.state_dict(), BertShape(layers=2, heads=4, layer_norm_eps=bert.config.layer_norm_eps))


def padded(bert: BertModel, texts: list[list[int]]) -> np.ndarray:
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    with torch.inference_mode():
        hidden = bert(input_ids=ids, attention_mask=mask).last_hidden_state
    return ((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).numpy()


def test_packed_texts_mean_what_padded_ones_do(bert: BertModel, packed: PackedBert) -> None:
    assert np.abs(packed.means(TEXTS) - padded(bert, TEXTS)).max() < 1e-5


def test_a_text_does_not_depend_on_the_texts_beside_it(packed: PackedBert) -> None:
    alone = np.concatenate([packed.means([text]) for text in TEXTS])
    assert alone.tobytes() == packed.means(TEXTS).tobytes()


def test_no_texts_give_no_vectors(packed: PackedBert) -> None:
    assert packed.means([]).shape == (0, 32)


@settings(max_examples=50)
@given(st.lists(st.integers(1, TOKENS_A_PASS), max_size=40))
def test_each_text_is_in_one_pass_and_no_pass_is_overfull(lengths: list[int]) -> None:
    passes = list(packs(lengths))
    assert sorted(member for members in passes for member in members) == list(range(len(lengths)))
    assert all(sum(lengths[member] for member in members) <= TOKENS_A_PASS for members in passes)


def test_a_missing_weight_is_named(bert: BertModel) -> None:
    weights = {name: weight for name, weight in bert.state_dict().items() if "layer.1.output.dense" not in name}
    with pytest.raises(KeyError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        PackedBert(weights, BertShape(layers=2, heads=4, layer_norm_eps=1e-12))


def test_a_text_that_fits_in_no_pass_is_refused() -> None:
    with pytest.raises(ValueError, match="cut texts at 256"):
        list(packs([TOKENS_A_PASS + 1]))
