"""nano's decoder: one softmax over the picture's patches, the references' notes, the plan and the tune so far.

The sequence is `begin, plan tokens, tune tokens, end`. Patches and reference notes are keys and values in every layer,
beside those of the sequence itself, so that attention to a patch is a share of one distribution, as it is in a
vision-language model whose image tokens stand in the prompt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from image2music.composers.nano.plan import MAX_BARS, PLAN_SLOTS
from image2music.composers.nano.vocabulary import LENGTHS, PITCHES, TICKS_PER_UNIT, Vocabulary

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
        # Names that generate and its cache look up.
        self.num_hidden_layers = layers
        self.num_attention_heads = heads
        self.hidden_size = width
        super().__init__(
            **{"is_encoder_decoder": False, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **kwargs}
        )

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


class NanoCache(DynamicCache):
    """Keys and values of the sequence, which grow, and apart from them those of the memory, which do not."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: list[tuple[Tensor, Tensor]] = []


class Attention(nn.Module):
    """Self-attention whose keys begin with the memory's.

    Half of each head's dimensions are rotated by position. A memory key has zeros there: patches have no place in
    the tune's time, and the score must not depend on how far the tune has come.
    """

    def __init__(self, config: NanoConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.layer = config.heads, layer
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
        memory: Tensor | None,
        mask: Tensor,
        rotation: tuple[Tensor, Tensor],
        cache: NanoCache | None,
        attention_out: list[Tensor] | None,
    ) -> Tensor:
        """`memory` is None once the cache holds it. `mask` is bool[b, 1, n, keys], true where attention is allowed."""
        query = rotate(self.split(self.query(x)), rotation)
        key = rotate(self.split(self.key(x)), rotation)
        value = self.split(self.value(x))
        if memory is not None:
            memory_key, memory_value = self.memory_keys(memory)
            if cache is not None:
                cache.memory.append((memory_key, memory_value))
        else:
            assert cache is not None
            memory_key, memory_value = cache.memory[self.layer]
        if cache is not None:
            key, value = cache.update(key, value, self.layer)
        # Written out: on CPUs the fused kernel's backward pass takes three times as long at this size, and keys that
        # never change need not be copied behind each other at every step.
        query = query * self.head_dim**-0.5
        scores = torch.cat([query @ memory_key.transpose(2, 3), query @ key.transpose(2, 3)], -1)
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        if attention_out is not None:
            attention_out.append(weights)
        on_memory, on_past = weights.to(value.dtype).split([memory_key.shape[2], key.shape[2]], -1)
        mixed = on_memory @ memory_value + on_past @ value
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and a gated feed-forward layer, normalised before each."""

    def __init__(self, config: NanoConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.memory_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.attention = Attention(config, layer)
        self.feed_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.gate_and_up = nn.Linear(config.width, 2 * config.feed_forward, bias=False)
        self.down = nn.Linear(config.feed_forward, config.width, bias=False)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, memory: Tensor | None, *rest: Any) -> Tensor:
        """float[b, n, width] to the same."""
        seen = None if memory is None else self.memory_norm(memory)
        x = x + self.drop(self.attention(self.attention_norm(x), seen, *rest))
        gate, up = self.gate_and_up(self.feed_norm(x)).chunk(2, -1)
        return x + self.drop(self.down(functional.silu(gate) * up))


class Memory(nn.Module):
    """Patches and reference notes as float[b, n_patches + slots · tokens, width]."""

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
        seen = self.patch_out(functional.gelu(self.patch_in(patches * self.config.patch_dim**0.5)))
        seen = seen + self.patch_place
        notes = functional.embedding(references, table)
        flat = functional.pad(notes.flatten(0, 1).transpose(1, 2), (2, 0))
        heard = notes + self.neighbours(flat).transpose(1, 2).unflatten(0, references.shape[:2])
        heard = heard + self.reference_slot + self.reference_place
        return torch.cat([seen, heard.flatten(1, 2)], 1)


class NanoComposerModel(PreTrainedModel, GenerationMixin):
    """The decoder with its tied output layer. `generate` needs `patches` and `references` beside `input_ids`."""

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
        self.memory = Memory(config)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.layers))
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
        """float[b, n, width]: where in the bar, in which bar and how far from the end each next token stands."""
        ticks = self.ticks[input_ids]
        is_line = (input_ids == self.vocabulary.bar) | (input_ids == self.vocabulary.section)
        elapsed = ticks.cumsum(1)
        onset = elapsed - torch.where(is_line, elapsed, 0).cummax(1).values
        number = is_line.long().cumsum(1).clamp(max=MAX_BARS)
        place = 1 + [slot.name for slot in PLAN_SLOTS].index("bars")
        # While the plan is being drawn the number of bars may not be known yet.
        word = functional.pad(input_ids[:, place : place + 1], (0, int(input_ids.shape[1] <= place)))
        told = (word - self.vocabulary.plan_offsets["bars"] + 1).clamp(0, MAX_BARS)
        left = torch.where(told > 0, (told - number).clamp(min=0) + 1, 0)
        in_tune = torch.arange(input_ids.shape[1], device=input_ids.device) >= len(PLAN_SLOTS)
        clock = self.onset(onset.clamp(max=MAX_BAR_TICKS)) + self.bar_number(number) + self.bars_left(left)
        return clock * in_tune[:, None]

    def forward(
        self,
        input_ids: Tensor,
        patches: Tensor | None = None,
        references: Tensor | None = None,
        full_ids: Tensor | None = None,
        past_key_values: NanoCache | None = None,
        use_cache: bool = False,
        output_attentions: bool = False,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits float[b, n, vocabulary].

        With a filled cache, `input_ids` are the new tokens and `full_ids` all tokens so far. `attentions` (where
        asked for) holds one float[b, heads, n, keys] a layer; the first `n_patches` keys are the patches.
        """
        table = self.tokens.table()
        everything = input_ids if full_ids is None else full_ids
        new, total = input_ids.shape[1], everything.shape[1]
        x = functional.embedding(input_ids, table) + self.clock(everything)[:, total - new :]
        x = functional.dropout(x, self.config.dropout, self.training)
        if references is None:
            raise ValueError("references (int64[b, slots, tokens]) are needed, zeros where there are none")
        memory = None
        if new == total:
            if patches is None:
                raise ValueError("patches (float[b, n_patches, patch_dim]) are needed for the first pass")
            memory = functional.dropout(self.memory(patches, references, table), self.config.dropout, self.training)
        if use_cache and past_key_values is None:
            past_key_values = NanoCache()
        mask = self.mask(references, new, total)
        rotation = self.rotation(torch.arange(total - new, total, device=x.device), x.dtype)
        attentions: list[Tensor] | None = [] if output_attentions else None
        for block in self.blocks:
            x = block(x, memory, mask, rotation, past_key_values if use_cache else None, attentions)
        logits = self.norm(x) @ table.T
        return CausalLMOutputWithPast(
            logits=logits,
            past_key_values=past_key_values,
            attentions=None if attentions is None else tuple(attentions),
        )

    def mask(self, references: Tensor, new: int, total: int) -> Tensor:
        """bool[b, 1, new, memory + total]: patches always, reference notes where there are any, the past."""
        batch = references.shape[0]
        heard = (references > 0).flatten(1)
        seen = torch.ones(batch, self.config.n_patches, dtype=torch.bool, device=references.device)
        memory = torch.cat([seen, heard], 1)[:, None, :].expand(batch, new, -1)
        causal = torch.ones(new, total, dtype=torch.bool, device=references.device).tril(total - new)
        return torch.cat([memory, causal.expand(batch, new, total)], 2)[:, None]

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine, float[n, head_dim / 4]."""
        half = self.config.width // self.config.heads // 2
        frequencies = 10_000.0 ** -(torch.arange(0, half, 2, device=positions.device).double() / half)
        angles = positions[:, None] * frequencies
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, past_key_values: NanoCache | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Only the last token once the cache is filled; all of them for the clock."""
        filled = past_key_values is not None and past_key_values.get_seq_length() > 0
        return {
            "input_ids": input_ids[:, -1:] if filled else input_ids,
            "full_ids": input_ids,
            "patches": kwargs["patches"],
            "references": kwargs["references"],
            "past_key_values": past_key_values,
            "use_cache": True,
        }


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embedding (Su et al. 2021) on the first half of the last dimension."""
    cos, sin = rotation
    half = x.shape[-1] // 2
    first, second = x[..., : half // 2], x[..., half // 2 : half]
    return torch.cat([first * cos - second * sin, first * sin + second * cos, x[..., half:]], -1)


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers."""
    return int(np.sum([p.numel() for p in model.parameters()]))
