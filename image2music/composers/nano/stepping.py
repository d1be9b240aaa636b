"""The decoder one token at a time: what `NanoComposerModel.forward` gives at the last position, from kept keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from image2music.composers.nano.model import Attention, Block, NanoComposerModel, rotate

ROOM = 64
"""Columns for new keys that are added at once when the kept ones are full."""


@dataclass
class _Layer:
    """One block's weights as a step wants them, and the kept keys and values, float[b, heads, columns, head_dim]."""

    block: Block
    query_key_value: Tensor
    keys: Tensor
    values: Tensor


class Steps:
    """Rows that begin together and grow in step; each can be dropped once its tune has ended.

    The columns of the kept keys and values are the memory's, then one for each token. One block of memory for both,
    allocated ahead, spares the copying that a growing cache would do at every step.
    """

    def __init__(self, model: NanoComposerModel, patches: Tensor, references: Tensor) -> None:
        """`patches` float[b, n_patches, patch_dim] in the model's dtype, `references` int64[b, slots, tokens]."""
        self._model = model
        self._table = model.tokens.table()
        memory = model.memory(patches, references, self._table)
        self._n_memory = memory.shape[1]
        self._length = 0
        self.tokens = torch.zeros(len(references), 0, dtype=torch.long)
        heard = model.mask(references, 1, 0)[:, :, :, : self._n_memory]
        self._unheard = torch.zeros(heard.shape, dtype=memory.dtype).masked_fill(~heard, -torch.inf)
        self._layers = [_layer(cast(Block, block), memory) for block in model.blocks]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Logits float[b, vocabulary] of what follows, after one more token for each row."""
        self.tokens = torch.cat([self.tokens, torch.tensor(tokens)[:, None]], 1)
        position = torch.tensor([self._length])
        self._length += 1
        if self._n_memory + self._length > self._layers[0].keys.shape[2]:
            self._make_room()
        clock = self._model.clock(self.tokens)[:, -1]
        x = functional.embedding(self.tokens[:, -1], self._table) + clock
        rotation = self._model.rotation(position, x.dtype)
        for layer in self._layers:
            x = x + self._attend(layer, layer.block.attention_norm(x), rotation)
            x = x + layer.block.feed(layer.block.feed_norm(x))
        logits: Tensor = self._model.norm(x) @ self._table.T
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        chosen = torch.tensor(rows, dtype=torch.long)
        self.tokens, self._unheard = self.tokens[chosen], self._unheard[chosen]
        for layer in self._layers:
            layer.keys, layer.values = layer.keys[chosen], layer.values[chosen]

    def _attend(self, layer: _Layer, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        attention: Attention = layer.block.attention
        heads = functional.linear(x, layer.query_key_value).unflatten(-1, (3, attention.heads, attention.head_dim))
        query, key, value = heads.unsqueeze(3).unbind(1)
        column, end = self._n_memory + self._length - 1, self._n_memory + self._length
        layer.keys[:, :, column] = rotate(key, rotation)[:, :, 0]
        layer.values[:, :, column] = value[:, :, 0]
        query = rotate(query, rotation) * attention.head_dim**-0.5
        scores = query @ layer.keys[:, :, :end].transpose(2, 3)
        scores[..., : self._n_memory] += self._unheard
        mixed = scores.softmax(-1) @ layer.values[:, :, :end]
        out: Tensor = attention.out(mixed.flatten(1))
        return out

    def _make_room(self) -> None:
        for layer in self._layers:
            layer.keys = functional.pad(layer.keys, (0, 0, 0, ROOM))
            layer.values = functional.pad(layer.values, (0, 0, 0, ROOM))


def _layer(block: Block, memory: Tensor) -> _Layer:
    attention = block.attention
    joined = torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
    keys, values = (functional.pad(kept, (0, 0, 0, ROOM)) for kept in attention.memory_keys(block.memory_norm(memory)))
    return _Layer(block, joined, keys, values)
