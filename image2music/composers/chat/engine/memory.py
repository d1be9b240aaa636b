"""How much memory a vision-language model takes, calculated from its configuration alone.

Weights are counted matrix by matrix: the decoder exactly (Touvron et al. 2023, with grouped keys and values), the
vision tower but for its norms and biases. Keys and values take 2 · layers · key-value heads · head width numbers a
token, and grow in steps (`cache.ROOM`); one conversation is held twice while it is cached or extended, and one layer of
the batch while rows leave it. Conversations and vision features are cached for later rounds as `cache` says.
Attention by replay takes, for one picture at a time, answers' tokens · picture's tokens numbers for the sum
(`image2music.composers.attention.replay`). While tokens are weighed, that module holds rows against all tokens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from image2music.composers.attention.replay import PART
from image2music.composers.chat.engine.cache import FEATURES_BYTES, MOST_PREFIX_BYTES, PREFIX_SHARE, ROOM
from image2music.composers.chat.engine.decode import MOST
from image2music.errors import ModelError
from image2music.images.decode import MAX_SIDE

GIB = 2**30

CARDS = {
    "T4": 16,
    "RTX 4080": 16,
    "RTX 4090, L4, A10": 24,
    "RTX 5090": 32,
    "A100": 40,
    "L40S, RTX 6000 Ada": 48,
    "A100, H100": 80,
    "H200": 141,
}
"""GiB of common cards, by what the maker says."""

USABLE = 0.9
"""Share of a card's memory that is there in the end: the rest goes to the driver and to what cannot be filled."""

WORKING_BYTES = GIB
"""Set aside for activations and the libraries' own buffers: an estimate, the only one here."""
_FLOAT = 4
_SCORE_COPIES = 4
_MOST_BATCH = 2**16
_VIEWS = {"internvl": 13, "idefics3": 17, "smolvlm": 17, "llava_onevision": 10}
_GATED_VISION = ("qwen2_5_vl",)
_ONE_MATRIX = ("gemma3", "idefics3", "smolvlm")


@dataclass(frozen=True)
class Shape:
    """What memory depends on.

    `picture_tokens` are those of the largest picture, `context` the most tokens of a conversation.
    """

    parameters: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    picture_tokens: int
    context: int


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes for a batch of pictures whose conversations have `tokens` tokens each, answers included.

    `cached` is what is held for later rounds: an upper bound, for it is a share of what the rest leaves free.
    """

    tokens: int
    weights: int
    key_values: int
    attention: int
    working: int

    @property
    def least(self) -> int:
        """Sum up all but the caches.

        Answers are decoded and replayed one after the other, so the larger of the two counts.
        """
        return self.weights + max(self.key_values, self.attention) + self.working

    @property
    def cached(self) -> int:
        """Sum up vision features, and keys and values.

        A quarter of what the weights leave is a third of all else in it.
        """
        else_in_it = self.least - self.weights + FEATURES_BYTES
        return FEATURES_BYTES + min(MOST_PREFIX_BYTES, else_in_it // (PREFIX_SHARE - 1))

    @property
    def total(self) -> int:
        """Sum up all of it."""
        return self.least + self.cached


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Read the shape off a configuration (the content of config.json).

    Raises:
        ModelError: it is none of a decoder with a vision tower (`unknown_memory`).
    """
    text = {**config, **(config.get("text_config") or {})}
    try:
        heads, width = int(text["num_attention_heads"]), int(text["hidden_size"])
        return Shape(
            parameters=_decoder(text, config) + _tower(config),
            layers=int(text["num_hidden_layers"]),
            heads=heads,
            key_value_heads=int(text.get("num_key_value_heads") or heads),
            head_width=int(text.get("head_dim") or width // heads),
            vocabulary=int(text["vocab_size"]),
            picture_tokens=_picture_tokens(config),
            context=int(text.get("max_position_embeddings") or 32768),
        )
    except (KeyError, TypeError) as error:
        message = f"the configuration does not say how large the model is: {error} is missing; its memory is unknown"
        raise ModelError(message, reason="unknown_memory") from error


def memory_need(shape: Shape, batch: int, text_tokens: int, answer_tokens: int, bytes_a_number: int = 2) -> MemoryNeed:
    """Calculate what a batch takes, with the largest pictures and the longest prompts and answers.

    Args:
        shape: of the model.
        batch: conversations at once.
        text_tokens: of one whole conversation without its picture.
        answer_tokens: those of `text_tokens` whose attention is replayed.
        bytes_a_number: of weights, keys and values; 2 for bfloat16.
    """
    tokens = min(shape.context, shape.picture_tokens + text_tokens)
    a_token = 2 * shape.layers * shape.key_value_heads * shape.head_width * bytes_a_number
    conversation = (tokens + ROOM) * a_token
    in_float = answer_tokens * shape.picture_tokens + shape.key_value_heads * shape.head_width * tokens
    queries = max(PART, batch * (1 + MOST))
    weighed = queries * shape.heads * tokens * (_FLOAT + 2 * bytes_a_number)
    return MemoryNeed(
        tokens=tokens,
        weights=shape.parameters * bytes_a_number,
        key_values=(batch + 1) * conversation + batch * conversation // shape.layers,
        attention=conversation + _FLOAT * in_float,
        working=WORKING_BYTES + weighed + batch * shape.vocabulary * _FLOAT * _SCORE_COPIES,
    )


def largest_batch(shape: Shape, gib: float, text_tokens: int, answer_tokens: int) -> int:
    """Return the largest batch that a card takes, 0 if none does."""
    room = gib * GIB * USABLE
    batches = range(1, _MOST_BATCH + 1)
    return bisect_right(batches, room, key=lambda batch: memory_need(shape, batch, text_tokens, answer_tokens).total)


def _decoder(text: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    width, heads, layers = int(text["hidden_size"]), int(text["num_attention_heads"]), int(text["num_hidden_layers"])
    head = int(text.get("head_dim") or width // heads)
    shared = int(text.get("num_key_value_heads") or heads)
    if text.get("num_experts"):
        message = "how much memory a mixture of experts takes is not calculated here; see what its maker says"
        raise ModelError(message, reason="unknown_memory")
    attention = 2 * width * heads * head + 2 * width * shared * head
    layer = attention + 3 * width * int(text["intermediate_size"]) + 2 * width
    is_tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    return layers * layer + (1 if is_tied else 2) * int(text["vocab_size"]) * width + width


def _tower(config: Mapping[str, Any]) -> int:
    """Count the vision tower, and the layers that lead from it to the decoder."""
    vision = config["vision_config"]
    layers = int(vision.get("depth") or vision["num_hidden_layers"])
    width = int(vision.get("embed_dim") or vision["hidden_size"])
    inner = int(vision.get("intermediate_size") or width * vision.get("mlp_ratio", 4))
    matrices = 3 if config.get("model_type") in _GATED_VISION else 2
    text_width = int({**config, **(config.get("text_config") or {})}["hidden_size"])
    merged = width * int(vision.get("spatial_merge_size") or config.get("scale_factor") or 1) ** 2
    pixels = 3 * int(vision.get("temporal_patch_size") or 1) * _first(vision["patch_size"]) ** 2
    second = merged if vision.get("spatial_merge_size") else text_width
    bridge = merged * text_width + (0 if config.get("model_type") in _ONE_MATRIX else second**2)
    return layers * (4 * width**2 + matrices * width * inner) + pixels * width + bridge


def _picture_tokens(config: Mapping[str, Any]) -> int:
    """Count the tokens of the largest picture."""
    vision = config["vision_config"]
    patch = _first(vision["patch_size"])
    if vision.get("spatial_merge_size"):
        return round(MAX_SIDE / (patch * int(vision["spatial_merge_size"]))) ** 2
    merged = int(config.get("scale_factor") or 1)
    own = (_first(vision["image_size"]) // patch // merged) ** 2
    a_view = int(config.get("mm_tokens_per_image") or config.get("image_seq_length") or own)
    return a_view * _VIEWS.get(str(config.get("model_type")), 1)


def _first(size: Any) -> int:
    return int(size[0] if isinstance(size, list | tuple) else size)
