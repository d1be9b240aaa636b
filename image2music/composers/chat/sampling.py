"""Choosing tokens: what is never chosen, and dice that belong to each row of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from image2music.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """Temperature (0 excluded), and the share of the probability from which tokens are drawn."""

    temperature: float = 0.8
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ConfigError("a temperature lies above 0, and top_p above 0 and at most 1", reason="bad_sampling")


class SeededRows:
    """A logits processor after which the likeliest token is a fair draw with each row's own dice.

    argmax(log p + Gumbel noise) is distributed as p (Gumbel-max). The noise of a row comes from its own generator, so
    the row's answer does not depend on which others share the batch. Rows with seed None keep their likeliest token.
    """

    def __init__(self, seeds: Sequence[int | None], sampling: Sampling) -> None:
        self._sampling = sampling
        self._dice = [None if seed is None else torch.Generator().manual_seed(seed % 2**63) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores float[rows, vocabulary] with noise."""
        chosen = scores.float().clone()
        for row, dice in enumerate(self._dice):
            if dice is not None:
                chosen[row] = self._drawn(chosen[row], dice)
        return chosen

    def _drawn(self, scores: Tensor, dice: torch.Generator) -> Tensor:
        kept = _top_p(scores / self._sampling.temperature, self._sampling.top_p)
        noise = torch.empty(len(scores), dtype=torch.float64).exponential_(generator=dice).log_()
        return kept - noise.to(kept)


def _top_p(scores: Tensor, top_p: float) -> Tensor:
    """-inf outside the likeliest tokens that together reach `top_p`."""
    ordered, order = scores.softmax(-1).sort(descending=True)
    beyond = ordered.cumsum(-1) - ordered >= top_p
    return scores.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)


class Never:
    """A logits processor that rules tokens out: a picture's place holders would break the next prompt."""

    def __init__(self, tokens: Tensor) -> None:
        self._tokens = tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores with -inf at the tokens."""
        return scores.index_fill(-1, self._tokens.to(scores.device), -torch.inf)


def never_written(config: Any, tokenizer: Any, eos: Sequence[int]) -> Tensor:
    """int64: every special token but those that end an answer, and the rows of the output that are no token."""
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= {value for name, value in vars(config).items() if _names_a_token(name) and isinstance(value, int)}
    vocabulary = config.get_text_config().vocab_size
    unused = range(len(tokenizer), vocabulary)
    return torch.tensor(sorted((special | set(unused)) & set(range(vocabulary)) - set(eos)), dtype=torch.int64)


def _names_a_token(name: str) -> bool:
    return name.startswith(("image", "video", "vision", "audio", "boi", "eoi")) and name.endswith(
        ("_token_id", "_token_index")
    )
