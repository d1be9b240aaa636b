"""Samples controls and melodies from the decoder under the rules of `decoding`, with cached keys and values."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from image2music.composers.nano.arrangement import melody_of
from image2music.composers.nano.decoding import DecodingConstraints, Grammar, SeededDecoding
from image2music.composers.nano.melody import Melody
from image2music.composers.nano.model import Attention, Block, NanoComposerModel, rotate
from image2music.composers.nano.training.dataset import TrainingNgrams
from image2music.composers.nano.vocabulary import CONTROL_SLOTS, Controls, Vocabulary

ROOM = 64
"""Columns for new keys that are added at once when the kept ones are full."""


@dataclass
class _Layer:
    """One block's weights as a step needs them, and the cached keys and values, float[b, heads, columns, head_dim]."""

    block: Block
    query_key_value: Tensor
    keys: Tensor
    values: Tensor


class Steps:
    """Rows that begin together and grow by one token a step; each can be dropped once its tune has ended.

    A step returns what `NanoComposerModel.forward` gives at the last position. The columns of the cached keys and
    values are those of patches and references, then one for each token. One block of memory for both, allocated ahead,
    spares the copying that a growing cache would do at every step.
    """

    def __init__(self, model: NanoComposerModel, patches: Tensor, references: Tensor) -> None:
        """`patches` float[b, n_patches, patch_dim] in the model's dtype, `references` int64[b, slots, tokens]."""
        self._model = model
        self._table = model.tokens.table()
        memory = model.memory(patches, references, self._table)
        self._n_memory = memory.shape[1]
        self._length = 0
        self.tokens = torch.zeros(len(references), 0, dtype=torch.long)
        notes = model.mask(references, 1, 0)[:, :, :, : self._n_memory]
        self._reference_mask = torch.zeros(notes.shape, dtype=memory.dtype).masked_fill(~notes, -torch.inf)
        self._layers = [_layer(cast(Block, block), memory) for block in model.blocks]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Return logits float[b, vocabulary] of what follows, after one more token for each row."""
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
        """Keep these rows only, in this order."""
        chosen = torch.tensor(rows, dtype=torch.long)
        self.tokens, self._reference_mask = self.tokens[chosen], self._reference_mask[chosen]
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
        scores[..., : self._n_memory] += self._reference_mask
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


ROWS_AT_ONCE = 12
"""Sequences that are drawn at once: more are hardly quicker, and each keeps 6 MB of keys and values."""
GUIDANCE = 1.5
PREFIX = 1 + len(CONTROL_SLOTS)


@dataclass(frozen=True)
class Drawn:
    """One sample: its controls as decoded and its melody."""

    controls: Controls
    melody: Melody


class Sampler:
    """Decodes in float32, and in float64 where a choice is close.

    Matrix products differ in their last bits with the batch's size, and a choice that hangs on them would make a
    picture's tune depend on its neighbours. Where two choices are that close, the row's logits are computed anew in
    float64, alone and from the beginning: there the bits lie so far down that they never tip a choice.
    """

    def __init__(self, model: NanoComposerModel, training_runs: TrainingNgrams, blank: NDArray[np.float32]) -> None:
        """`blank` float32[cells, dim] are the patches of a picture of nothing."""
        self.model = model.double().eval()
        self.blank = blank
        self.training_runs = training_runs
        self.vocabulary = Vocabulary()
        self.single = copy.deepcopy(model).float()
        self._grammar = Grammar()

    def draw(
        self, patches: NDArray[np.float32], references: NDArray[np.int64], constraints: Sequence[DecodingConstraints]
    ) -> list[Drawn]:
        """Return one sample for each row; `patches` float32[n, cells, dim], `references` int64[n, slots, tokens]."""
        drawn: list[Drawn] = []
        for start in range(0, len(constraints), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            drawn += self._draw(patches[rows], references[rows], constraints[rows])
        return drawn

    @torch.inference_mode()
    def _draw(
        self, patches: NDArray[np.float32], references: NDArray[np.int64], constraints: Sequence[DecodingConstraints]
    ) -> list[Drawn]:
        n = len(constraints)
        pictures, notes = torch.from_numpy(patches), torch.from_numpy(references)
        blank = torch.from_numpy(self.blank).expand(n, -1, -1)
        decoding = SeededDecoding(self._grammar, constraints)
        steps = Steps(self.single, torch.cat([pictures, blank]), notes.repeat(2, 1, 1))
        rows, sequences = list(range(n)), [[self.vocabulary.begin] for _ in constraints]
        in_controls = True
        while rows:
            latest = [sequences[row][-1] for row in rows]
            logits = steps.step(latest * 2 if in_controls else latest)
            if in_controls:
                logits = guided(logits[:n], logits[n:])
            going = []
            for place, row in enumerate(rows):
                noise = decoding.noise(row)
                choice = decoding.choose(row, logits[place].numpy(), noise)
                if not choice.settled:
                    exact = self._exact_logits(sequences[row], pictures[row], notes[row])
                    choice = decoding.choose(row, exact.numpy(), noise)
                sequences[row].append(choice.token)
                if not decoding.take(row, choice.token):
                    going.append(place)
            if in_controls and len(sequences[0]) == PREFIX:
                in_controls = False
                steps.keep(range(n))
            if len(going) < len(rows):
                rows = [rows[place] for place in going]
                steps.keep(going)
        return [self._read(sequence) for sequence in sequences]

    def _exact_logits(self, sequence: Sequence[int], patches: Tensor, references: Tensor) -> Tensor:
        """Return float64[vocabulary] after a sequence, guided while it is in its controls."""
        in_controls = len(sequence) < PREFIX
        pictures = torch.stack([patches, torch.from_numpy(self.blank)] if in_controls else [patches]).double()
        tokens = torch.tensor([sequence] * len(pictures))
        logits = self.model(tokens, pictures, references.expand(len(pictures), -1, -1)).logits[:, -1]
        return guided(logits[0], logits[1]) if in_controls else logits[0]

    def _read(self, row: Sequence[int]) -> Drawn:
        controls = self.vocabulary.decode_controls(row[1:PREFIX])
        bars, ends = self.vocabulary.decode_bars(row[PREFIX:])
        return Drawn(controls, melody_of(controls, bars, ends))

    def attention(
        self, tokens: Tensor, patches: NDArray[np.float32], references: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return float32[b, n, cells].

        For each token of one tune, attention to the patches of b pictures as it was chosen.

        Mean over layers and heads (the paper's equation 2 before its mean over tokens). Row t is read at the position
        before token t, where token t was predicted; row 0 (`begin`) is zero. `tokens` int64[1, n], `patches` float32[b,
        cells, dim], `references` int64[slots, tokens].
        """
        return self.attention_by_layer(tokens, patches, references).mean(0)

    @torch.inference_mode()
    def attention_by_layer(
        self, tokens: Tensor, patches: NDArray[np.float32], references: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return float32[layers, b, n, cells]: `attention` before its mean over layers."""
        b = len(patches)
        notes = torch.from_numpy(references)[None].expand(b, -1, -1)
        output = self.single(tokens.expand(b, -1), torch.from_numpy(patches), notes, output_attentions=True)
        cells = self.model.config.n_patches
        weights = torch.stack([layer[:, :, :-1, :cells].mean(1) for layer in output.attentions]).numpy()
        return np.concatenate([np.zeros((len(weights), b, 1, cells), np.float32), weights], 2)

    @torch.inference_mode()
    def log_likelihood(
        self, tokens: Tensor, patches: NDArray[np.float32], references: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return float64[b, n - 1], nats of each token of one tune (after `begin`) under b versions of its picture.

        `tokens` int64[1, n], `patches` float32[b, cells, dim], `references` int64[slots, tokens].
        """
        b = len(patches)
        logits = self.model(
            tokens.expand(b, -1),
            patches=torch.from_numpy(patches).double(),
            references=torch.from_numpy(references)[None].expand(b, -1, -1),
        ).logits
        chosen = logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None].expand(b, -1, 1))
        nats: NDArray[np.float64] = chosen[..., 0].numpy()
        return nats


def guided(logits: Tensor, blank: Tensor) -> Tensor:
    """Push logits away from those of a blank picture (classifier-free guidance, Ho and Salimans 2022).

    For the controls alone: nine tenths of the training tunes are in major and two thirds are fast, and without guidance
    a dark picture hardly changes that.
    """
    return logits + GUIDANCE * (logits - blank)


def load_sampler(folder: Path, blank: NDArray[np.float32]) -> Sampler:
    """Load the sampler with the weights of a folder."""
    model = NanoComposerModel.from_pretrained(folder, dtype=torch.float64)
    return Sampler(model, TrainingNgrams.load(folder), blank)
