"""nano's decoder: one softmax over the picture's patches, the references' notes, the controls and the tune so far.

The sequence is `begin, control tokens, tune tokens, end`. Patches and reference notes are keys and values in every
layer, beside those of the sequence itself, so that attention to a patch is a share of one distribution, as it is in a
vision-language model whose image tokens stand in the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel

from image2music.composers.nano.vocabulary import CONTROL_SLOTS, LENGTHS, MAX_BARS, PITCHES, TICKS_PER_UNIT, Vocabulary

MAX_BAR_TICKS = 16 * TICKS_PER_UNIT


class NanoConfig(PretrainedConfig):
    """Sizes of the decoder. `patch_dim` is the embedder's dimension, `grid` the patches' rows and columns."""

    model_type = "image2music-nano"

    def __init__(
        self,
        width: int = 256,
        layers: int = 6,
        heads: int = 4,
        feed_forward: int = 768,
        patch_dim: int = 384,
        grid: int = 7,
        reference_slots: int = 3,
        reference_tokens: int = 32,
        dropout: float = 0.15,
        **kwargs: Any,
    ) -> None:
        self.width = width
        self.layers = layers
        self.heads = heads
        self.feed_forward = feed_forward
        self.patch_dim = patch_dim
        self.grid = grid
        self.reference_slots = reference_slots
        self.reference_tokens = reference_tokens
        self.dropout = dropout
        super().__init__(**kwargs)

    @property
    def n_patches(self) -> int:
        """Patches of a picture."""
        return self.grid * self.grid


class TokenEmbedding(nn.Module):
    """A token is its own vector plus its pitch's and its length's, so that rare pairs borrow from common ones."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        vocabulary = Vocabulary()
        self.own = nn.Embedding(len(vocabulary), config.width)
        self.pitch = nn.Embedding(2 + len(PITCHES), config.width)
        self.length = nn.Embedding(1 + len(LENGTHS), config.width)
        self.register_buffer("pitch_index", torch.from_numpy(vocabulary.pitch_index))
        self.register_buffer("length_index", torch.from_numpy(vocabulary.length_index))

    def table(self) -> Tensor:
        """float[vocabulary, width]: the whole table, which is also the output layer."""
        table: Tensor = self.own.weight + self.pitch(self.pitch_index) + self.length(self.length_index)
        return table


class Attention(nn.Module):
    """Self-attention whose keys begin with the memory's.

    Half of each head's dimensions are rotated by position. A memory key has zeros there: patches have no place in
    the tune's time, and the score must not depend on how far the tune has come.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_dim = config.width // config.heads
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key = nn.Linear(config.width, config.width, bias=False)
        self.value = nn.Linear(config.width, config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """float[b, n, width] to float[b, heads, n, head_dim]."""
        return x.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)

    def memory_keys(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the memory, the rotated half of the keys set to zero."""
        keys = self.split(self.key(memory))
        half = self.head_dim // 2
        return functional.pad(keys[..., half:], (half, 0)), self.split(self.value(memory))

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor,
        rotation: tuple[Tensor, Tensor],
        attention_out: list[Tensor] | None,
    ) -> Tensor:
        """`mask` is bool[b, 1, n, memory + n], true where attention is allowed."""
        query = rotate(self.split(self.query(x)), rotation) * self.head_dim**-0.5
        key = rotate(self.split(self.key(x)), rotation)
        value = self.split(self.value(x))
        memory_key, memory_value = self.memory_keys(memory)
        # Written out: on CPUs the fused kernel's backward pass takes three times as long at this size.
        scores = torch.cat([query @ memory_key.transpose(2, 3), query @ key.transpose(2, 3)], -1)
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        if attention_out is not None:
            attention_out.append(weights)
        on_memory, on_past = weights.split([memory_key.shape[2], key.shape[2]], -1)
        mixed = on_memory @ memory_value + on_past @ value
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and a gated feed-forward layer, normalised before each."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.memory_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.attention = Attention(config)
        self.feed_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.gate_and_up = nn.Linear(config.width, 2 * config.feed_forward, bias=False)
        self.down = nn.Linear(config.feed_forward, config.width, bias=False)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, memory: Tensor, *rest: Any) -> Tensor:
        """float[b, n, width] to the same."""
        x = x + self.drop(self.attention(self.attention_norm(x), self.memory_norm(memory), *rest))
        return x + self.drop(self.feed(self.feed_norm(x)))

    def feed(self, x: Tensor) -> Tensor:
        """The gated feed-forward layer, float[..., width] to the same."""
        gate, up = self.gate_and_up(x).chunk(2, -1)
        out: Tensor = self.down(functional.silu(gate) * up)
        return out


class AttendedContext(nn.Module):
    """Embeds patches and reference notes as float[b, n_patches + slots · tokens, width]."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_in = nn.Linear(config.patch_dim, config.width)
        self.patch_out = nn.Linear(config.width, config.width)
        self.patch_place = nn.Parameter(torch.randn(config.n_patches, config.width) * 0.02)
        self.reference_slot = nn.Parameter(torch.randn(config.reference_slots, 1, config.width) * 0.02)
        self.reference_place = nn.Parameter(torch.randn(config.reference_tokens, config.width) * 0.02)
        # Each note sees the two before it, so that a key can say "after these two comes this one".
        self.neighbours = nn.Conv1d(config.width, config.width, 3)

    def forward(self, patches: Tensor, references: Tensor, table: Tensor) -> Tensor:
        """`patches` float[b, n_patches, patch_dim]; `references` int64[b, slots, tokens], 0 where there is none."""
        cells = self.patch_out(functional.gelu(self.patch_in(patches * self.config.patch_dim**0.5)))
        cells = cells + self.patch_place
        notes = functional.embedding(references, table)
        flat = functional.pad(notes.flatten(0, 1).transpose(1, 2), (2, 0))
        notes_in = notes + self.neighbours(flat).transpose(1, 2).unflatten(0, references.shape[:2])
        notes_in = notes_in + self.reference_slot + self.reference_place
        return torch.cat([cells, notes_in.flatten(1, 2)], 1)


@dataclass(frozen=True)
class NanoOutput:
    """`logits` float[b, n, vocabulary]; `attentions`, where asked for, one float[b, heads, n, keys] a layer.

    The first `n_patches` keys are the patches.
    """

    logits: Tensor
    attentions: tuple[Tensor, ...] = ()


class NanoComposerModel(PreTrainedModel):
    """The decoder with its tied output layer."""

    config_class = NanoConfig
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: NanoConfig) -> None:
        super().__init__(config)
        vocabulary = Vocabulary()
        self.vocabulary = vocabulary
        self.tokens = TokenEmbedding(config)
        self.onset = nn.Embedding(MAX_BAR_TICKS + 1, config.width)
        self.bar_number = nn.Embedding(MAX_BARS + 1, config.width)
        self.bars_left = nn.Embedding(MAX_BARS + 2, config.width)
        self.memory = AttendedContext(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=1e-6)
        self.register_buffer("ticks", torch.from_numpy(vocabulary.ticks))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Small normal weights; the two projections that feed the residual stream start smaller still."""
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
            if not isinstance(module, nn.Embedding) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.04)
        if isinstance(module, nn.RMSNorm):
            nn.init.ones_(module.weight)

    def clock(self, input_ids: Tensor) -> Tensor:
        """Return float[b, n, width].

        The place in the bar, the bar, and the distance from the end of each next token.
        """
        ticks = self.ticks[input_ids]
        is_line = (input_ids == self.vocabulary.bar) | (input_ids == self.vocabulary.section)
        elapsed = ticks.cumsum(1)
        onset = elapsed - torch.where(is_line, elapsed, 0).cummax(1).values
        number = is_line.long().cumsum(1).clamp(max=MAX_BARS)
        place = 1 + [slot.name for slot in CONTROL_SLOTS].index("bars")
        # While the plan is being drawn the number of bars may not be known yet.
        word = functional.pad(input_ids[:, place : place + 1], (0, int(input_ids.shape[1] <= place)))
        n_bars = (word - self.vocabulary.control_offsets["bars"] + 1).clamp(0, MAX_BARS)
        left = torch.where(n_bars > 0, (n_bars - number).clamp(min=0) + 1, 0)
        in_tune = torch.arange(input_ids.shape[1], device=input_ids.device) >= len(CONTROL_SLOTS)
        clock = self.onset(onset.clamp(max=MAX_BAR_TICKS)) + self.bar_number(number) + self.bars_left(left)
        return clock * in_tune[:, None]

    def forward(
        self, input_ids: Tensor, patches: Tensor, references: Tensor, output_attentions: bool = False
    ) -> NanoOutput:
        """`patches` float[b, n_patches, patch_dim], `references` int64[b, slots, tokens], zeros where there is none."""
        table = self.tokens.table()
        length = input_ids.shape[1]
        x = functional.embedding(input_ids, table) + self.clock(input_ids)
        x = functional.dropout(x, self.config.dropout, self.training)
        memory = functional.dropout(self.memory(patches, references, table), self.config.dropout, self.training)
        mask = self.mask(references, length, length)
        rotation = self.rotation(torch.arange(length, device=x.device), x.dtype)
        attentions: list[Tensor] | None = [] if output_attentions else None
        for block in self.blocks:
            x = block(x, memory, mask, rotation, attentions)
        return NanoOutput(self.norm(x) @ table.T, tuple(attentions or ()))

    def mask(self, references: Tensor, new: int, total: int) -> Tensor:
        """Return bool[b, 1, new, memory + total]: patches always, reference notes where there are any, the past."""
        batch = references.shape[0]
        has_note = (references > 0).flatten(1)
        has_patch = torch.ones(batch, self.config.n_patches, dtype=torch.bool, device=references.device)
        memory = torch.cat([has_patch, has_note], 1)[:, None, :].expand(batch, new, -1)
        causal = torch.ones(new, total, dtype=torch.bool, device=references.device).tril(total - new)
        return torch.cat([memory, causal.expand(batch, new, total)], 2)[:, None]

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cosine and sine, float[n, head_dim / 4]."""
        half = self.config.width // self.config.heads // 2
        frequencies = 10_000.0 ** -(torch.arange(0, half, 2, device=positions.device).double() / half)
        angles = positions[:, None] * frequencies
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Apply rotary position embedding (Su et al. 2021) to the first half of the last dimension."""
    cos, sin = rotation
    half = x.shape[-1] // 2
    first, second = x[..., : half // 2], x[..., half // 2 : half]
    return torch.cat([first * cos - second * sin, first * sin + second * cos, x[..., half:]], -1)


def count_parameters(model: nn.Module) -> int:
    """Count the trainable numbers."""
    return int(np.sum([p.numel() for p in model.parameters()]))
