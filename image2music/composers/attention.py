"""Attention to a picture by replay: one pass over the finished text, without keeping any attention matrix.

Decoding with `output_attentions=True` keeps tokens² · heads · layers numbers. A replay feeds prompt and answer through
the network once more, computes exact softmax rows for the answer's tokens in chunks, and keeps only their mean over
heads and layers at the picture's tokens: memory grows with tokens · picture tokens. It works for any text, whoever
wrote it. Source: equation 2 of Zhao, Jin and Zhou (ICMR 2026).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

ROWS_AT_ONCE = 32
"""Query rows whose scores against all keys are in memory at once."""

_NAME = "image2music_replay"
_recorder: ContextVar[_Recorder | None] = ContextVar("image2music_replay", default=None)


@dataclass
class _Recorder:
    """Takes in the layers as they pass. `rows` and `columns` are int64.

    `total` is float32[sums, batch, rows, columns], and `places` says to which sum each layer is added.
    """

    rows: Tensor
    columns: Tensor
    places: Mapping[int, int]
    total: Tensor
    seen: set[int] = field(default_factory=set)

    def observe(self, layer: int, query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None) -> None:
        if layer not in self.places:
            return
        total = self.total[self.places[layer]]
        self.seen.add(layer)
        for start in range(0, len(self.rows), ROWS_AT_ONCE):
            rows = self.rows[start : start + ROWS_AT_ONCE]
            looks = _looks(query, key, mask, scaling, rows, self.columns)
            total[:, start : start + len(rows)] += looks.to(total.device)


def _looks(
    query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None, rows: Tensor, columns: Tensor
) -> Tensor:
    """softmax(q kᵀ)[rows][:, columns], mean over heads: float32[batch, rows, columns].

    query is [batch, heads, tokens, dim]; key has as many heads or fewer, each shared by a group of query heads, and
    may begin with tokens that were read before the query's.
    """
    batch, heads, tokens, dim = query.shape
    groups, first = key.shape[1], key.shape[2] - tokens
    chosen = query[:, :, rows - first].float().reshape(batch, groups, -1, dim)
    scores = chosen @ key.float().transpose(2, 3)
    scores = scores.mul_(dim**-0.5 if scaling is None else scaling).view(batch, heads, len(rows), -1)
    scores = _masked(scores, mask, rows, first)
    total = scores.logsumexp(-1, keepdim=True)
    return scores[..., columns].sub_(total).exp_().mean(1)


def _masked(scores: Tensor, mask: Tensor | None, rows: Tensor, first: int) -> Tensor:
    """Without a mask the model is causal; a mask is boolean (True is seen) or is added. It begins at row `first`."""
    if mask is None:
        keys = torch.arange(scores.shape[-1], device=scores.device)
        return scores.masked_fill_(keys > rows[:, None], -torch.inf)
    seen = mask[:, :, rows - first, : scores.shape[-1]]
    return scores.masked_fill_(~seen, -torch.inf) if seen.dtype == torch.bool else scores.add_(seen)


def replay(model: Any, inputs: Mapping[str, Any], rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    """Attention from chosen positions to chosen positions, mean over heads and over layers with full attention.

    Row `t - 1` is where token `t` was chosen. Layers with a sliding window are left out: most of the text lies
    outside the window in which they could see the picture.

    Args:
        model: a native image-text-to-text model of the transformers library.
        inputs: what its processor made of prompt and answer together, [batch, tokens] without padding.
        rows: positions that look.
        columns: positions that are looked at.

    Returns:
        float32[batch, rows, columns] on the CPU; the rest of each row's mass went to other positions.
    """
    # The inner model: logits of a whole text would be the largest array.
    return observed(model, lambda: model.model(**inputs, use_cache=False), len(inputs["input_ids"]), rows, columns)


@torch.inference_mode()
def observed(model: Any, read: Callable[[], object], batch: int, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    """What `replay` gives, while `read` lets the model read `batch` texts that hold all rows.

    Columns may have been read before, as long as the model finds their keys and values.
    """
    layers = full_attention_layers(model)
    return _summed(model, read, batch, rows, columns, dict.fromkeys(layers, 0))[0] / len(layers)


@torch.inference_mode()
def replay_by_layer(model: Any, inputs: Mapping[str, Any], rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    """float32[layers, batch, rows, columns]: as `replay`, before the mean over layers with full attention."""
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
        torch.as_tensor(rows, device=model.device),
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
    """Numbers of the text layers in which every token may see all earlier ones."""
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
    """Makes the recording attention known to the library, with a mask function: without one no mask is built."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None = None, **kw: Any
) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    recorder, layer = _recorder.get(), getattr(module, "layer_idx", None)
    if recorder is not None and layer is not None:
        recorder.observe(layer, query, key, mask, scaling)
    return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kw)
