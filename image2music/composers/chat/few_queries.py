"""Attention of new tokens to many old ones, without work that a mask would throw away (`grouped_attention`).

The library's own attention copies keys and values for each query head as soon as there is a mask: with 7 query heads
to one of keys, seven times all that was read, for every token that is written. And where a text goes on from one that
was read before, it weighs each new token against all later ones too.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from image2music.composers.grouped_attention import attended

NAME = "image2music_few_queries"


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
    if queries == 1 or (mask is not None and key.shape[2] > queries):
        return attended(query, key, value, mask, scaling).transpose(1, 2).contiguous(), None
    read: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kw)
    return read
