"""Attention of new tokens to many old ones, without work that a mask would throw away.

The library's own attention copies keys and values for each query head as soon as there is a mask: with 7 query heads
to one of keys, seven times all that was read, for every token that is written. And where a text goes on from one that
was read before, it weighs each new token against all later ones too.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

NAME = "image2music_few_queries"
FEW = 32
"""Most new tokens that are weighed as one matrix; longer texts go to torch's attention, part by part."""

PART = 128


@cache
def register() -> None:
    """Makes this attention known to the library by `NAME`, with a mask function: without one no mask is built."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _mask)


def added(seen: Tensor, queries: int, dtype: torch.dtype) -> Tensor:
    """What to add to the scores of the last `queries` columns, float[rows, 1, queries, columns].

    `seen` is bool[rows, columns]. What is not seen gets the lowest number and not -inf: padding sees nothing, and its
    mean must be no NaN.
    """
    later = torch.ones(queries, seen.shape[1], dtype=torch.bool, device=seen.device)
    later = later.triu(seen.shape[1] - queries + 1)
    hidden = ~seen[:, None] | later if queries > 1 else ~seen[:, None]
    return torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min)[:, None]


def _mask(*arguments: Any, dtype: torch.dtype = torch.float32, **more: Any) -> Tensor | None:
    """The library's own mask, in the same form."""
    from transformers.masking_utils import sdpa_mask

    seen = sdpa_mask(*arguments, **more)
    return None if seen is None else torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None = None, **kw: Any
) -> tuple[Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    queries = query.shape[2]
    if queries <= FEW and (queries == 1 or mask is not None):
        return grouped(query, key, value, mask, scaling).transpose(1, 2).contiguous(), None
    past = key.shape[2] - queries
    if mask is None or not past:
        attended: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kw)
        return attended
    parts = []
    for start in range(0, queries, PART):
        end = min(start + PART, queries)
        rows, seen = mask[:, :, start:end, : past + end], past + end
        new = query[:, :, start:end]
        parts.append(
            sdpa_attention_forward(module, new, key[:, :, :seen], value[:, :, :seen], rows, scaling=scaling)[0]
        )
    return torch.cat(parts, 1), None


def grouped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None) -> Tensor:
    """softmax(q kᵀ · scaling) v, float[batch, heads, queries, dim].

    Args:
        query: float[batch, heads, queries, dim].
        key: float[batch, groups, keys, dim]; consecutive heads share a group.
        value: as `key`.
        mask: float, added to the scores; broadcasts to [batch, 1, queries, keys]. None where all is seen.
        scaling: dim ** -0.5 if None.
    """
    batch, heads, queries, dim = query.shape
    groups = key.shape[1]
    shared = query.reshape(batch, groups, -1, dim) * (dim**-0.5 if scaling is None else scaling)
    scores = (shared @ key.transpose(2, 3)).view(batch, groups, -1, queries, key.shape[2])
    if mask is not None:
        scores += mask[:, :, None, :, : key.shape[2]]
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return (weights.view(batch, groups, -1, key.shape[2]) @ value).view(batch, heads, queries, dim)
