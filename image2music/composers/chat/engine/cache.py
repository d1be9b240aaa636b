"""What is computed once and kept: by picture, by the beginning of a conversation, and for a batch being decoded.

`LruByteCache` holds what was computed for a picture as long as memory allows. `Prefix` holds the keys and values of one
conversation's beginning, `KeyValues` those of a batch. Source of the idea: "KV cache" of the transformers library,
whose models call the methods that `KeyValues` has. The library's own cache is copied as a whole for every token; this
one grows in steps.

`register_attention` adds an attention of few queries to many keys to the library. The library's own attention copies
keys and values for each query head as soon as there is a mask (with 7 query heads to one of keys, seven times all that
was cached, for every token), and where a text goes on from a cached beginning it weighs each new token against all
later ones too.

`Prefiller` fills keys and values with a conversation and computes no beginning of one twice. A picture goes through
vision tower and projector once; their output is cached. The tokens as far as the end of the picture are read natively,
as each family wants it. All after them is text for the language model alone, so the cached keys and values of an
earlier conversation about the same picture serve for the tokens that both begin with.
"""

from __future__ import annotations

import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from PIL.Image import Image
from torch import Tensor

from image2music.composers.chat.engine.replay import attended, full_attention_layers

Value = TypeVar("Value")


class LruByteCache(Generic[Value]):
    """Values by key, up to a number of bytes; the least recently used ones are dropped.

    A dropped value costs time and changes no answer: callers compute again what is missing.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Value | None:
        """Return the value and mark it as used; None if there is none."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: str, value: Value, size: int) -> None:
        """Store a value of `size` bytes, in place of an earlier one.

        A value larger than the whole cache is not stored.
        """
        _, before = self._values.pop(key, (None, 0))
        self._bytes -= before
        if size > self._most:
            return
        self._values[key] = (value, size)
        self._bytes += size
        while self._bytes > self._most:
            _, (_, freed) = self._values.popitem(last=False)
            self._bytes -= freed

    def __len__(self) -> int:
        return len(self._values)


def picture_key(image: Image) -> str:
    """Return a name for a picture's pixels, the same whichever object holds them."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16)
    digest.update(f"{image.mode} {image.size}".encode())
    return digest.hexdigest()


ROOM = 256
"""Columns added whenever there is no room."""

Layers = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of the first tokens of one conversation, valid for every conversation that begins with them.

    Attributes:
        tokens: their ids.
        layers: keys and values, float[heads, tokens, dim] each.
        shift: how far a text token's position is ahead of its index (pictures have positions of their own in Qwen).
    """

    tokens: tuple[int, ...]
    layers: Layers
    shift: int

    @property
    def size(self) -> int:
        """Count the bytes of keys and values."""
        return sum(part.nbytes for layer in self.layers for part in layer)

    def first(self, tokens: int) -> Prefix:
        """Return the first tokens alone, as views."""
        layers = tuple((keys[:, :tokens], values[:, :tokens]) for keys, values in self.layers)
        return Prefix(self.tokens[:tokens], layers, self.shift)

    def shared_with(self, tokens: Sequence[int]) -> int:
        """Count the tokens that both begin with."""
        pairs = enumerate(zip(self.tokens, tokens, strict=False))
        return next((at for at, (ours, theirs) in pairs if ours != theirs), min(len(self.tokens), len(tokens)))


class KeyValues:
    """Keys and values of a batch, float[rows, heads, columns, dim], with the methods that the library's models call."""

    is_compileable = False

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._columns: list[int] = []

    @classmethod
    def joined(cls, layers: Iterable[Sequence[tuple[Tensor, Tensor]]], width: int) -> KeyValues:
        """Make one row of each part of a layer, padded with zeros on the left to `width` columns, layer by layer."""
        joined = cls()
        for parts in layers:
            joined._layers.append((_padded([keys for keys, _ in parts], width), _padded([v for _, v in parts], width)))
            joined._columns.append(width)
        return joined

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Add columns to a layer and return all its columns so far."""
        if layer_idx == len(self._layers):
            self._layers.append((keys[:, :, :0], values[:, :, :0]))
            self._columns.append(0)
        start = self._columns[layer_idx]
        end = start + keys.shape[2]
        if end > self._layers[layer_idx][0].shape[2]:
            self._layers[layer_idx] = tuple(_roomier(part, start, end + ROOM) for part in self._layers[layer_idx])  # type: ignore[assignment]
        held, seen = self._layers[layer_idx]
        held[:, :, start:end], seen[:, :, start:end] = keys, values
        self._columns[layer_idx] = end
        return held[:, :, :end], seen[:, :, :end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Count the columns so far."""
        return self._columns[layer_idx] if layer_idx < len(self._columns) else 0

    get_query_offset = get_seq_length

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Return the columns there are after a query of so many tokens, and the first column that is still held."""
        return self.get_seq_length(layer_idx) + query_length, 0

    def crop(self, columns: int) -> None:
        """Drop all but the first columns."""
        self._columns = [min(columns, held) for held in self._columns]

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows only."""
        chosen = list(rows)
        for at, (keys, values) in enumerate(self._layers):  # one layer after the other: never two copies of all
            self._layers[at] = (keys[chosen], values[chosen])

    def row(self, row: int, columns: Tensor) -> Layers:
        """Copy some columns of one row."""
        return tuple((keys[row][:, columns], values[row][:, columns]) for keys, values in self._layers)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for (keys, values), columns in zip(self._layers, self._columns, strict=True):
            yield keys[:, :, :columns], values[:, :, :columns]


def _padded(parts: Sequence[Tensor], width: int) -> Tensor:
    heads, _, dim = parts[0].shape
    whole = parts[0].new_zeros(len(parts), heads, width + ROOM, dim)
    for row, part in enumerate(parts):
        whole[row, :, width - part.shape[1] : width] = part
    return whole


def _roomier(part: Tensor, filled: int, columns: int) -> Tensor:
    rows, heads, _, dim = part.shape
    larger = part.new_zeros(rows, heads, columns, dim)
    larger[:, :, :filled] = part[:, :, :filled]
    return larger


NAME = "image2music_few_queries"


@cache
def register_attention() -> None:
    """Register this attention with the library as `NAME`, with a mask function.

    Without one the library builds no mask.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _mask)


def additive_mask(seen: Tensor, queries: int, dtype: torch.dtype) -> Tensor:
    """Return what is added to the scores of the last `queries` columns, float[rows, 1, queries, columns].

    `seen` is bool[rows, columns]. Hidden columns get the lowest number and not -inf: a padding row sees nothing, and
    its mean must not be NaN.
    """
    later = torch.ones(queries, seen.shape[1], dtype=torch.bool, device=seen.device)
    later = later.triu(seen.shape[1] - queries + 1)
    hidden = ~seen[:, None] | later if queries > 1 else ~seen[:, None]
    return torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min)[:, None]


def _mask(*arguments: Any, dtype: torch.dtype = torch.float32, **more: Any) -> Tensor | None:
    """Return the library's own mask in the same form."""
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
        register_attention()
        model.set_attn_implementation({"text_config": NAME})
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
            seen = additive_mask(mask, tokens.shape[1], self._head.weight.dtype)
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
            picture: names the picture (`picture_key`).
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
