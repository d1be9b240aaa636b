"""Attention to a picture by replay: one pass over the finished text that keeps no attention matrix.

Decoding with `output_attentions=True` keeps tokens² · heads · layers numbers. A replay feeds prompt and answer through
the network once more, computes exact softmax rows for the answer's tokens in chunks, and keeps only their mean over
heads and layers at the picture's tokens: memory grows with tokens · picture tokens. It works for any text, whoever
wrote it. Source: equation 2 of Zhao, Jin and Zhou (ICMR 2026).

The attention itself computes rows of softmax(q kᵀ) for query heads that share keys and values, as one product a group
and part by part, each part against what came before it. The library's own attention copies keys and values for each
query head as soon as there is a mask, and weighs every token against all that its mask will hide. Source:
grouped-query attention of Ainslie et al. (EMNLP 2023).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

PART = 128
"""Most queries that are weighed as one matrix."""


def attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None) -> Tensor:
    """Return softmax(q kᵀ · scaling) v, float[batch, heads, queries, dim].

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
    """Return softmax(q kᵀ · scaling), float32[batch, groups, heads of a group, queries, keys].

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
    """Multiply the output of `weights_of` by the values: float[batch, heads, queries, dim] of the values' dtype.

    A product with few columns is slow on processors, so values stand on the left where there are many queries.
    """
    batch, groups, _, queries, keys = weights.shape
    flat = weights.view(batch, groups, -1, keys).to(value.dtype)
    mean = flat @ value if queries == 1 else (value.transpose(2, 3) @ flat.transpose(2, 3)).transpose(2, 3)
    return mean.reshape(batch, -1, queries, value.shape[3])


ROWS_AT_ONCE = 32
"""Query rows whose scores against all keys are in memory at once."""
_NAME = "image2music_replay"
_recorder: ContextVar[_Recorder | None] = ContextVar("image2music_replay", default=None)


@dataclass
class _Recorder:
    """Sums up attention as the layers pass. `rows` ascend, `columns` are int64.

    `total` is float32[sums, batch, rows, columns], and `places` says to which sum each layer is added.
    """

    rows: Sequence[int]
    columns: Tensor
    places: Mapping[int, int]
    total: Tensor
    seen: set[int] = field(default_factory=set)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None
    ) -> Tensor:
        """Return a layer's output for queries, the first of which is the first row: float[batch, heads, queries, dim].

        Softmax rows are computed once, in float32, for the record and for the layer itself. Keys may begin with tokens
        that were cached before.
        """
        total, queries = self.total[self.places[layer]], query.shape[2]
        self.seen.add(layer)
        means, exact = [], key.float()
        for start in range(0, queries, ROWS_AT_ONCE):
            end = min(start + ROWS_AT_ONCE, queries)
            seen = key.shape[2] - queries + end
            some = query[:, :, start:end]
            hidden = _causal(end - start, seen, key.device) if mask is None else mask[:, :, start:end]
            weights = weights_of(some.float(), exact[:, :, :seen], hidden, scaling)
            means.append(mixed(weights, value[:, :, :seen]))
            self._note(total, start, weights)
            del weights  # before the next ones are made
        return torch.cat(means, 2)

    def _note(self, total: Tensor, start: int, weights: Tensor) -> None:
        """Add the attention of those recorded rows that are among some queries.

        Which begin `start` after the first row.
        """
        first = self.rows[0] + start
        a, b = bisect_left(self.rows, first), bisect_left(self.rows, first + weights.shape[3])
        if a < b:
            places = torch.tensor([row - first for row in self.rows[a:b]], device=weights.device)
            looks = weights.index_select(4, self.columns).index_select(3, places).mean((1, 2))
            total[:, a:b] += looks.to(total.device)


def _causal(queries: int, keys: int, device: torch.device) -> Tensor:
    """Return bool[1, 1, queries, keys]: what the last tokens see where only their order hides anything."""
    return torch.ones(1, 1, queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def replay(model: Any, inputs: Mapping[str, Any], rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    """Return attention from chosen positions to chosen positions, mean over heads and over layers with full attention.

    Row `t - 1` is where token `t` was chosen. Layers with a sliding window are left out: most of the text lies
    outside the window in which they could see the picture.

    Args:
        model: a native image-text-to-text model of the transformers library.
        inputs: what its processor made of prompt and answer together, [batch, tokens] without padding.
        rows: positions that look, in ascending order.
        columns: positions that are looked at.

    Returns:
        float32[batch, rows, columns] on the CPU; the rest of each row's mass went to other positions.
    """
    # The inner model: logits of a whole text would be the largest array.
    return observed(model, lambda: model.model(**inputs, use_cache=False), len(inputs["input_ids"]), rows, columns)


@torch.inference_mode()
def observed(model: Any, read: Callable[[], object], batch: int, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    """Return what `replay` returns, while `read` lets the model read `batch` texts that hold all rows.

    Columns may have been read before, as long as the model finds their keys and values.
    """
    layers = full_attention_layers(model)
    return _summed(model, read, batch, rows, columns, dict.fromkeys(layers, 0))[0] / len(layers)


@torch.inference_mode()
def replay_by_layer(model: Any, inputs: Mapping[str, Any], rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    """Return float32[layers, batch, rows, columns]: as `replay`, before the mean over layers with full attention."""
    places = {layer: place for place, layer in enumerate(sorted(full_attention_layers(model)))}
    batch = len(inputs["input_ids"])
    return _summed(model, lambda: model.model(**inputs, use_cache=False), batch, rows, columns, places)


def _summed(
    model: Any,
    read: Callable[[], object],
    batch: int,
    rows: Sequence[int],
    columns: Sequence[int],
    places: Mapping[int, int],
) -> Tensor:
    recorder = _Recorder(
        list(rows),
        torch.as_tensor(columns, device=model.device),
        places,
        torch.zeros(1 + max(places.values()), batch, len(rows), len(columns)),
    )
    with _recording(model, recorder):
        read()
    if silent := places.keys() - recorder.seen:
        raise RuntimeError(f"layers {sorted(silent)} of {type(model).__name__} did not report")
    return recorder.total


def full_attention_layers(model: Any) -> frozenset[int]:
    """Return the numbers of the text layers in which every token may see all earlier ones."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    return frozenset(i for i, kind in enumerate(kinds) if kind == "full_attention")


@contextmanager
def _recording(model: Any, recorder: _Recorder) -> Iterator[None]:
    _register()
    before = model.config.get_text_config()._attn_implementation
    token = _recorder.set(recorder)
    model.set_attn_implementation({"text_config": _NAME})
    try:
        yield
    finally:
        model.set_attn_implementation({"text_config": before})
        _recorder.reset(token)


@cache
def _register() -> None:
    """Register the recording attention with the library, and a mask function, without which it builds no mask."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None = None, **kw: Any
) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    recorder, layer = _recorder.get(), getattr(module, "layer_idx", None)
    if recorder is None or layer is None or layer not in recorder.places:
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kw)
    past = key.shape[2] - query.shape[2]
    first = recorder.rows[0] - past
    rest = None if mask is None else mask[:, :, first:]
    means = recorder.attend(layer, query[:, :, first:], key, value, rest, scaling)
    if first:
        before, seen = query[:, :, :first], past + first
        earlier = key[:, :, :seen], value[:, :, :seen]
        if mask is None:
            read = sdpa_attention_forward(module, before, *earlier, None, scaling=scaling, **kw)[0].transpose(1, 2)
        else:
            read = attended(before, *earlier, mask[:, :, :first], scaling)
        means = torch.cat([read, means], 2)
    return means.transpose(1, 2).contiguous(), None
