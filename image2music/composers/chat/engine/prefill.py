"""Prefills the language model's keys and values with a conversation, and computes no beginning of one twice.

A picture goes through vision tower and projector once; their output is cached. The tokens as far as the end of the
picture are read natively, as each family wants it. All after them is text for the language model alone, so the cached
keys and values of an earlier conversation about the same picture serve for the tokens that both begin with.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from image2music.composers.attention.replay import full_attention_layers
from image2music.composers.chat.engine import cache
from image2music.composers.chat.engine.cache import KeyValues, LruByteCache, Prefix

FEATURES_BYTES = 2**30
MOST_PREFIX_BYTES = 8 * 2**30

PREFIX_SHARE = 4
"""Of what a GPU has left beside the weights, one part in so many is for cached keys and values."""
_PREFIX_BYTES_ON_CPU = 2 * 2**30


@dataclass(frozen=True)
class VisionFeatures:
    """Output of vision tower and projector for a picture, under the names that the library's models ask for."""

    pooler_output: Any
    deepstack_features: Any = None

    @property
    def size(self) -> int:
        """Count the bytes."""
        return sum(part.nbytes for parts in (self.pooler_output, self.deepstack_features) for part in _tensors(parts))


class LanguageModel:
    """The language model inside a vision-language model: reads text that follows what is cached."""

    def __init__(self, model: Any) -> None:
        cache.register_attention()
        model.set_attn_implementation({"text_config": cache.NAME})
        self._decoder, self._head = model.get_decoder(), model.get_output_embeddings()
        layers = model.config.get_text_config().num_hidden_layers
        self.has_full_attention = len(full_attention_layers(model)) == layers

    def forward(self, tokens: Tensor, past: KeyValues, places: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the last layer, float[rows, tokens, width]; `past` grows by the tokens.

        Args:
            tokens: int64[rows, tokens].
            past: keys and values of what stands before.
            places: int64[rows, tokens], each token's position in its conversation.
            mask: bool[rows, columns of past + tokens]; None where every column is visible.
        """
        seen = mask
        if mask is not None and self.has_full_attention:
            seen = cache.additive_mask(mask, tokens.shape[1], self._head.weight.dtype)
        output = self._decoder(
            input_ids=tokens, attention_mask=seen, position_ids=places, past_key_values=past, use_cache=True
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def scores(self, hidden: Tensor) -> Tensor:
        """Return float32[..., vocabulary], the scores of each next token."""
        scores: Tensor = self._head(hidden).float()
        return scores


class Prefiller:
    """Prefills conversations, each of which shows one picture, with a cache of earlier ones."""

    def __init__(self, model: Any, image_token: int, prefix_bytes: int | None = None) -> None:
        self.language = LanguageModel(model)
        self._model, self._image_token = model, image_token
        self._features: LruByteCache[VisionFeatures] = LruByteCache(FEATURES_BYTES)
        self._prefixes: LruByteCache[Prefix] = LruByteCache(
            room_for_prefixes(model.device) if prefix_bytes is None else prefix_bytes
        )

    def prefill(self, inputs: Mapping[str, Tensor], picture: str) -> tuple[Prefix, Tensor]:
        """Return the whole conversation's keys and values, and the scores float32[1.

        Vocabulary] of the token that follows.

        Args:
            inputs: the processor's output for it, [1, tokens] without padding.
            picture: names the picture (`cache.picture_key`).
        """
        tokens = inputs["input_ids"][0].tolist()
        past = self.cached_prefix(inputs, picture, len(tokens) - 1)
        joined, hidden = self.extend(past, tokens[len(past.tokens) :])
        layers = joined.row(0, torch.arange(len(tokens), device=hidden.device))
        return Prefix(tuple(tokens), layers, past.shift), self.language.scores(hidden[:, -1])

    def extend(self, past: Prefix, tokens: Sequence[int]) -> tuple[KeyValues, Tensor]:
        """Read more tokens: return keys and values of all, and the last layer, float[1, tokens, width]."""
        joined = KeyValues.joined(zip(past.layers, strict=True), len(past.tokens))
        start = len(past.tokens) + past.shift
        device = self._model.device
        places = torch.arange(start, start + len(tokens), device=device)[None]
        return joined, self.language.forward(torch.tensor([list(tokens)], device=device), joined, places)

    def cached_prefix(self, inputs: Mapping[str, Tensor], picture: str, most: int) -> Prefix:
        """Return the cached beginning, of at most `most` tokens.

        It always holds the picture, which is read if it was not yet.
        """
        tokens = inputs["input_ids"][0].tolist()
        opening = len(tokens) - tokens[::-1].index(self._image_token)
        cached = self._prefixes.get(picture)
        shared = min(cached.shared_with(tokens), most) if cached is not None else 0
        if cached is not None and shared >= opening:
            return cached.first(shared)
        opened = self._opening(inputs, picture, opening)
        self.store(picture, opened)
        return opened

    def store(self, picture: str, prefix: Prefix) -> None:
        """Cache a conversation about a picture, in place of the last one about it."""
        self._prefixes.put(picture, prefix, prefix.size)

    def _opening(self, inputs: Mapping[str, Tensor], picture: str, end: int) -> Prefix:
        shape = inputs["input_ids"].shape
        given = {
            name: value[:, :end] if value.shape == shape else value
            for name, value in inputs.items()
            if not name.startswith("pixel_")
        }
        past = KeyValues()
        features = {"image": self._features_of(inputs, picture)}
        self._model.model(**given, mm_encoder_outputs=features, past_key_values=past, use_cache=True)
        shift = getattr(self._model.model, "rope_deltas", None)
        layers = past.row(0, torch.arange(end, device=self._model.device))
        return Prefix(tuple(given["input_ids"][0].tolist()), layers, 0 if shift is None else int(shift))

    def _features_of(self, inputs: Mapping[str, Tensor], picture: str) -> VisionFeatures:
        cached = self._features.get(picture)
        if cached is not None:
            return cached
        wanted = inspect.signature(self._model.model.get_image_features).parameters
        given = {name: value for name, value in inputs.items() if name in wanted}
        made = self._model.model.get_image_features(**given, return_dict=True)
        features = VisionFeatures(made.pooler_output, getattr(made, "deepstack_features", None))
        self._features.put(picture, features, features.size)
        return features


def room_for_prefixes(device: torch.device) -> int:
    """Return the bytes for cached keys and values: on a GPU a part of what the model left free, elsewhere 2 GiB."""
    if device.type != "cuda":
        return _PREFIX_BYTES_ON_CPU
    free, _ = torch.cuda.mem_get_info(device)
    return min(free // PREFIX_SHARE, MOST_PREFIX_BYTES)


def _tensors(parts: Any) -> list[Tensor]:
    if parts is None:
        return []
    return [parts] if isinstance(parts, Tensor) else [tensor for part in parts for tensor in _tensors(part)]
