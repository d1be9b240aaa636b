"""Attention to a picture by replay: one pass over the finished text, without keeping any attention matrix.

Decoding with `output_attentions=True` keeps tokens² · heads · layers numbers. A replay feeds prompt and answer through
the network once more, computes exact softmax rows for the answer's tokens in chunks, and keeps only their mean over
heads and layers at the picture's tokens: memory grows with tokens · picture tokens. It works for any text, whoever
wrote it. Source: equation 2 of Zhao, Jin and Zhou (ICMR 2026).
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

from image2music.composers.grouped_attention import attended, mixed, weights_of

ROWS_AT_ONCE = 32
"""Query rows whose scores against all keys are in memory at once."""

_NAME = "image2music_replay"
_recorder: ContextVar[_Recorder | None] = ContextVar("image2music_replay", default=None)


@dataclass
class _Recorder:
    """Takes in the layers as they pass. `rows` ascend, `columns` are int64.

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
        """What the layer makes of queries, the first of which is the first row: float[batch, heads, queries, dim].

        Softmax rows are made once, in float32, for the looks and for the layer itself. Keys may begin with tokens
        that were read before.
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
        """Adds the looks of the rows among some queries, the first of which is the `start`-th after the first row."""
        first = self.rows[0] + start
        a, b = bisect_left(self.rows, first), bisect_left(self.rows, first + weights.shape[3])
        if a < b:
            places = torch.tensor([row - first for row in self.rows[a:b]], device=weights.device)
            looks = weights.index_select(4, self.columns).index_select(3, places).mean((1, 2))
            total[:, a:b] += looks.to(total.device)


def _causal(queries: int, keys: int, device: torch.device) -> Tensor:
    """bool[1, 1, queries, keys]: what the last so many tokens see where nothing but the order hides anything."""
    return torch.ones(1, 1, queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def replay(model: Any, inputs: Mapping[str, Any], rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    """Attention from chosen positions to chosen positions, mean over heads and over layers with full attention.

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
