"""Attention whose weights are seen: rows of softmax(q kᵀ) for query heads that share keys and values, and their means.

The library's own attention copies keys and values for each query head as soon as there is a mask, and weighs every
token against all that its mask will hide. Here the heads of a group share one product, and a long text is weighed part
by part, each against what came before it. Source: grouped-query attention of Ainslie et al. (EMNLP 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor

PART = 128
"""Most queries that are weighed as one matrix."""


def attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None) -> Tensor:
    """softmax(q kᵀ · scaling) v, float[batch, heads, queries, dim].

    Args:
        query: float[batch, heads, queries, dim], the last ones of the keys.
        key: float[batch, groups, keys, dim]; consecutive heads share a group.
        value: as `key`.
        mask: as `weights_of` has it; it hides from each query what comes after. None for one query that sees all.
        scaling: dim ** -0.5 if None.
    """
    queries, past = query.shape[2], key.shape[2] - query.shape[2]
    if queries <= PART:
        return mixed(weights_of(query, key, mask, scaling), value)
    parts = []
    for start in range(0, queries, PART):
        end = min(start + PART, queries)
        seen = past + end
        hidden = None if mask is None else mask[:, :, start:end]
        parts.append(mixed(weights_of(query[:, :, start:end], key[:, :, :seen], hidden, scaling), value[:, :, :seen]))
    return torch.cat(parts, 2)


def weights_of(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None) -> Tensor:
    """softmax(q kᵀ · scaling), float32[batch, groups, heads of a group, queries, keys].

    What is hidden gets the lowest number and not -inf: padding sees nothing, and its mean must be no NaN.

    Args:
        query: float[batch, heads, queries, dim].
        key: float[batch, groups, keys, dim].
        mask: [batch or 1, 1, queries, at least keys]: bool, True is seen, or what is added. None where all is seen.
        scaling: dim ** -0.5 if None.
    """
    batch, _, queries, dim = query.shape
    groups, keys = key.shape[1:3]
    shared = query.reshape(batch, groups, -1, dim) * (dim**-0.5 if scaling is None else scaling)
    scores = (shared @ key.transpose(2, 3)).view(batch, groups, -1, queries, keys)
    if mask is None:
        return scores.softmax(-1, dtype=torch.float32)
    part = mask[:, :, None, :, :keys]
    if part.dtype == torch.bool:
        scores.masked_fill_(~part, torch.finfo(scores.dtype).min)
    else:
        scores += part
    return scores.softmax(-1, dtype=torch.float32)


def mixed(weights: Tensor, value: Tensor) -> Tensor:
    """What `weights_of` gives times the values: float[batch, heads, queries, dim] of the values' dtype.

    A product with few columns is slow on processors, so values stand on the left where there are many queries.
    """
    batch, groups, _, queries, keys = weights.shape
    flat = weights.view(batch, groups, -1, keys).to(value.dtype)
    mean = flat @ value if queries == 1 else (value.transpose(2, 3) @ flat.transpose(2, 3)).transpose(2, 3)
    return mean.reshape(batch, -1, queries, value.shape[3])
