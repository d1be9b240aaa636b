"""The forms of `--embedder`, and how long texts are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.embedders.base import load_embedder, split_text, unit_rows
from image2music.errors import ConfigError, ModelError


@pytest.mark.parametrize(
    "spec",
    ["", "clip", "conse:x", "open_clip", "open_clip:", "open_clip:ViT-B-32", "open_clip:ViT-B-32/", "open_clip:/laion",
     "open_clip:local-dir:", "transformers:", "transformers", "Conse"],
)  # fmt: skip
def test_a_bad_spec_says_what_to_write(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"conse \| open_clip:MODEL/PRETRAINED") as caught:
        load_embedder(spec)
    assert caught.value.reason == "bad_embedder_spec"


def test_conse_loads_once_a_process() -> None:
    assert load_embedder("conse") is load_embedder("conse")


def count_words(text: str) -> int:
    return len(text.split())


def test_sentences_are_packed_as_long_as_they_fit() -> None:
    text = "One two three. Four five. Six seven eight nine. Ten."
    assert split_text(text, count_words, 5) == ["One two three. Four five.", "Six seven eight nine. Ten."]


def test_a_text_that_fits_stays_whole() -> None:
    assert split_text("One. Two.", count_words, 5) == ["One. Two."]


SENTENCES = st.lists(st.lists(st.sampled_from(["sea", "cat", "slow"]), min_size=1, max_size=9), min_size=1, max_size=8)


@given(SENTENCES, st.integers(1, 12))
def test_no_word_is_lost_and_only_single_sentences_exceed_the_limit(sentences: list[list[str]], limit: int) -> None:
    text = " ".join(" ".join(words) + "." for words in sentences)
    chunks = split_text(text, count_words, limit)
    assert " ".join(chunks) == text
    assert all(count_words(chunk) <= limit or chunk.count(".") == 1 for chunk in chunks)


@pytest.mark.parametrize("row", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_a_vector_without_direction_is_an_error(row: list[float]) -> None:
    with pytest.raises(ModelError) as caught:
        unit_rows(np.array([row], dtype=np.float32))
    assert caught.value.reason == "bad_vectors"
