"""Samples tokens: temperature, nucleus, banned tokens, and uniform draws that belong to each row of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from image2music.errors import ConfigError

FEW = 256
"""Tokens that are put in order first."""


@dataclass(frozen=True)
class Sampling:
    """Temperature (above 0), and the share of the probability from which tokens are sampled (nucleus sampling)."""

    temperature: float = 0.8
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ConfigError("a temperature lies above 0, and top_p above 0 and at most 1", reason="bad_sampling")


def uniform_draws(seed: int, draws: int) -> Tensor:
    """Return float64[draws] in [0, 1), one for each token of an answer, the same whatever else is sampled."""
    return torch.rand(draws, dtype=torch.float64, generator=torch.Generator().manual_seed(seed % 2**63))


def sample_tokens(scores: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """Return int64[rows]: one token a row, chosen by its own uniform draw; the likeliest where the draw is NaN.

    The token is the one under which the draw falls when the kept probabilities are laid end to end in the order of
    the vocabulary. It depends on nothing but the row's scores and draw, so neither on the batch nor on how many
    tokens were proposed before it was needed.

    Args:
        scores: float[rows, vocabulary], -inf for what may not be chosen.
        draws: float64[rows] in [0, 1), or NaN.
        sampling: temperature and share.
    """
    likeliest = scores.argmax(-1)
    if bool(draws.isnan().all()):  # asked where the draws are, so that no GPU is waited for
        return likeliest
    draws = draws.to(scores.device)
    likely = (scores.float() / sampling.temperature).softmax(-1)
    nucleus = likely.masked_fill_(likely < _least_kept(likely, sampling.top_p), 0.0)
    ends = nucleus.double().cumsum(-1)
    at = (draws.nan_to_num()[:, None] * ends[:, -1:]).clamp(max=ends[:, -1:] * (1 - 1e-12))
    return torch.where(draws.isnan(), likeliest, torch.searchsorted(ends, at, right=True)[:, 0])


def _least_kept(likely: Tensor, top_p: float) -> Tensor:
    """Return float[rows, 1], the least probability in the nucleus of `top_p`; tokens as likely as that are kept too.

    The likeliest few tell in nearly every case, and so the whole vocabulary is seldom put in order.
    """
    for most in (FEW, likely.shape[-1]):
        ordered = likely.topk(min(most, likely.shape[-1])).values
        before = ordered.cumsum(-1) - ordered
        if bool((before[:, -1] >= top_p).all()):
            break
    last = (before < top_p).sum(-1, keepdim=True) - 1
    return ordered.gather(-1, last)


class BannedTokens:
    """A logits processor that rules tokens out: a picture's place holders would break the next prompt."""

    def __init__(self, tokens: Tensor) -> None:
        self._tokens = tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores with -inf at the banned tokens."""
        return scores.index_fill(-1, self._tokens.to(scores.device), -torch.inf)


def banned_tokens(config: Any, tokenizer: Any, eos: Sequence[int]) -> Tensor:
    """Return int64: every special token but those that end an answer, and the rows of the output that are no token."""
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= {value for name, value in vars(config).items() if _names_a_token(name) and isinstance(value, int)}
    vocabulary = config.get_text_config().vocab_size
    unused = range(len(tokenizer), vocabulary)
    return torch.tensor(sorted((special | set(unused)) & set(range(vocabulary)) - set(eos)), dtype=torch.int64)


def _names_a_token(name: str) -> bool:
    return name.startswith(("image", "video", "vision", "audio", "boi", "eoi")) and name.endswith(
        ("_token_id", "_token_index")
    )
