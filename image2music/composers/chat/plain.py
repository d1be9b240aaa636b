"""Answers by the library's own `generate`, every prompt whole: for models whose reuse is not known to be right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from image2music.composers.chat.sampling import Sampling, choose


class Drawn:
    """A logits processor after which the likeliest token is the one that each row's own throw falls on."""

    def __init__(self, throws: Tensor, sampling: Sampling) -> None:
        self._throws, self._sampling, self._step = throws, sampling, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores float[rows, vocabulary], 0 for one token of each row and -inf for all others."""
        chosen = choose(scores, self._throws[:, self._step], self._sampling)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen[:, None], 0.0)


def write(model: Any, inputs: Any, throws: Tensor, rules: Sequence[Any], ends: Sequence[int], pad: int) -> list[Tensor]:
    """The tokens of each answer.

    Args:
        model: an image-text-to-text model of the transformers library.
        inputs: prompts, padded on the left.
        throws: float64[rows, most tokens], NaN for the likeliest token.
        rules: logits processors, the last of which draws.
        ends: tokens that end an answer.
        pad: what fills the rows that ended earlier.
    """
    from transformers import GenerationConfig, LogitsProcessorList

    config = GenerationConfig(
        max_new_tokens=throws.shape[1], do_sample=False, eos_token_id=list(ends), pad_token_id=pad
    )
    model.generation_config = config
    written = model.generate(**inputs, generation_config=config, logits_processor=LogitsProcessorList(rules))
    return list(written[:, inputs["input_ids"].shape[1] :])
