"""Choosing tokens: what is never chosen, and dice that belong to each row of a batch."""

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
    """Temperature (0 excluded), and the share of the probability from which tokens are drawn."""

    temperature: float = 0.8
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ConfigError("a temperature lies above 0, and top_p above 0 and at most 1", reason="bad_sampling")


def uniform_draws(seed: int, throws: int) -> Tensor:
    """float64[throws] in [0, 1): one throw for each token of an answer, the same whatever else is drawn."""
    return torch.rand(throws, dtype=torch.float64, generator=torch.Generator().manual_seed(seed % 2**63))


def sample_tokens(scores: Tensor, throws: Tensor, sampling: Sampling) -> Tensor:
    """int64[rows]: one token a row, drawn with its own throw; the likeliest where the throw is NaN.

    The token is the one under which the throw falls when the kept probabilities are laid end to end in the order of
    the vocabulary. It depends on nothing but the row's scores and throw, so neither on the batch nor on how many
    tokens were proposed before it was needed.

    Args:
        scores: float[rows, vocabulary], -inf for what may not be chosen.
        throws: float64[rows] in [0, 1), or NaN.
        sampling: temperature and share.
    """
    likeliest = scores.argmax(-1)
    if bool(throws.isnan().all()):  # asked where the throws are, so that no GPU is waited for
        return likeliest
    throws = throws.to(scores.device)
    likely = (scores.float() / sampling.temperature).softmax(-1)
    kept = likely.masked_fill_(likely < _least_kept(likely, sampling.top_p), 0.0)
    ends = kept.double().cumsum(-1)
    at = (throws.nan_to_num()[:, None] * ends[:, -1:]).clamp(max=ends[:, -1:] * (1 - 1e-12))
    return torch.where(throws.isnan(), likeliest, torch.searchsorted(ends, at, right=True)[:, 0])


def _least_kept(likely: Tensor, top_p: float) -> Tensor:
    """float[rows, 1]: the least likely of the tokens that together reach `top_p`; all as likely as it are kept too.

    The likeliest few tell in nearly every case, and so the whole vocabulary is seldom put in order.
    """
    for most in (FEW, likely.shape[-1]):
        ordered = likely.topk(min(most, likely.shape[-1])).values
        before = ordered.cumsum(-1) - ordered
        if bool((before[:, -1] >= top_p).all()):
            break
    last = (before < top_p).sum(-1, keepdim=True) - 1
    return ordered.gather(-1, last)


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
