"""Loads a vision-language model of the transformers library by hub id or folder, with what decoding needs beside it.

That is its tokenizer, its banned tokens, its uniform draws and the grammars of forms; and its processor, whose chat
template renders conversations and finds each answer's tokens in them. Also how much memory a model takes, calculated
from its configuration alone.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from image2music.composers.chat.conversations import Conversation, Message
from image2music.composers.chat.engine.cache import (
    FEATURES_BYTES,
    MOST_PREFIX_BYTES,
    PREFIX_SHARE,
    ROOM,
    LruByteCache,
    picture_key,
)
from image2music.composers.chat.engine.decode import MOST, BannedTokens, Sampling, banned_tokens, uniform_draws
from image2music.composers.chat.engine.replay import PART
from image2music.composers.constrained.constraint import AbcConstraint, AbcVocabulary, FormState
from image2music.composers.constrained.forms import Form, ProseForm
from image2music.errors import ConfigError, ModelError
from image2music.images.decode import MAX_SIDE
from image2music.plugins import accelerator, fingerprint

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


@dataclass(frozen=True, eq=False)
class Turn:
    """The tokens of one answer: `positions` in the prompt, `spans` int64[tokens, 2] in the characters of `text`."""

    text: str
    positions: tuple[int, ...]
    spans: NDArray[np.int64]


PREPARED_BYTES = 2**30


class PreparedPictures:
    """An image processor that prepares a picture once, as long as it is shown alone."""

    def __init__(self, image_processor: Any) -> None:
        self._image_processor = image_processor
        self._prepared: LruByteCache[Any] = LruByteCache(PREPARED_BYTES)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image_processor, name)

    def __call__(self, images: Any, **options: Any) -> Any:
        """Return the image processor's output for the pictures; a copy, for processors take things out of it."""
        shown = _flat(images)
        if len(shown) != 1:
            return self._image_processor(images, **options)
        key = f"{picture_key(shown[0])} {sorted(options.items(), key=str)}"
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = self._image_processor(images, **options)
            self._prepared.put(key, prepared, sum(getattr(value, "nbytes", 0) for value in prepared.values()))
        return copy.copy(prepared)


def _flat(images: Any) -> list[Image]:
    return [one for part in images for one in _flat(part)] if isinstance(images, list | tuple) else [images]


class Renderer:
    """Renders conversations with a processor's chat template."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        added = processor.tokenizer.added_tokens_decoder.values()
        self._special = sorted((str(token) for token in added if token.special), key=len, reverse=True)

    def tokenise(self, conversations: Sequence[Conversation], *, asking: bool) -> Any:
        """Return the model's inputs, padded on the left; `asking` opens the model's next turn."""
        return self.processor.apply_chat_template(
            [self._chat(conversation) for conversation in conversations],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=asking,
            processor_kwargs={"padding": True},
        )

    def turns(self, conversation: Conversation, tokens: Sequence[int]) -> list[Turn]:
        """Return each of the model's own turns in a finished conversation whose token ids are `tokens`.

        The template's text is tokenised alone, with the offsets of each token. A picture's tokens are written out in
        `tokens` only, so the two sequences agree from their ends back to the first answer.

        Raises:
            ModelError: they do not agree, and no token can be placed (`tokens_not_placed`).
        """
        text = self.processor.apply_chat_template([self._chat(conversation)], tokenize=False)[0]
        encoded = self.processor.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids, offsets = encoded["input_ids"], np.array(encoded["offset_mapping"], dtype=np.int64)
        turns = []
        for answer, start in self._answers(conversation, text):
            chosen = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < start + len(answer)))
            shift = len(tokens) - len(ids)
            if not len(chosen) or list(tokens[chosen[0] + shift :]) != ids[chosen[0] :]:
                message = "the chat template's tokens cannot be placed in its text: attention is left out"
                raise ModelError(message, reason="tokens_not_placed")
            spans = (offsets[chosen] - start).clip(0, len(answer))
            turns.append(Turn(answer, tuple((chosen + shift).tolist()), spans))
        return turns

    def _answers(self, conversation: Conversation, text: str) -> list[tuple[str, int]]:
        """Return text and position of each of the model's turns. Templates may trim what they are given."""
        found, at = [], 0
        for message in conversation.messages:
            said = self._plain(message.text).strip()
            start = text.find(said, at)
            if start < 0:
                reason = "tokens_not_placed"
                raise ModelError("the chat template changes what was said: attention is left out", reason=reason)
            at = start + len(said)
            if message.role == "assistant":
                found.append((said, start))
        return found

    def _chat(self, conversation: Conversation) -> list[dict[str, Any]]:
        shown = [conversation.image, *[None] * (len(conversation.messages) - 1)]
        return [self._turn(message, picture) for message, picture in zip(conversation.messages, shown, strict=True)]

    def _turn(self, message: Message, image: Image | None) -> dict[str, Any]:
        shown = [] if image is None else [{"type": "image", "image": image}]
        return {"role": message.role, "content": [*shown, {"type": "text", "text": self._plain(message.text)}]}

    def _plain(self, text: str) -> str:
        """Remove everything that the tokenizer would read as a control token or as a picture."""
        for special in self._special:
            text = text.replace(special, " ")
        return text


FEWEST_TOKENS = 1000
"""Of a conversation without its picture: with less room than that nothing can be composed."""
_REMOTE_CODE = "+remote_code"


@dataclass(frozen=True)
class ModelName:
    """`ID_OR_PATH[@REVISION][+remote_code]`. Code that comes with a model runs only where `+remote_code` says so."""

    name: str
    revision: str | None = None
    remote_code: bool = False

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Parse the part of the spec behind `transformers:`.

        Raises:
            ConfigError: it names no model (`bad_composer_spec`).
        """
        rest = text.removesuffix(_REMOTE_CODE)
        name, revision = (rest, "") if Path(rest).is_dir() else rest.partition("@")[::2]
        if not name:
            message = f"transformers:{text} names no model: write transformers:ID_OR_PATH[@REVISION]"
            raise ConfigError(message, reason="bad_composer_spec")
        return cls(name, revision or None, rest != text)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in evaluation mode on its device, its processor, and an id that names its revision."""

    model: Any
    processor: Any
    id: str


def load_model(wanted: ModelName) -> LoadedModel:
    """Load model and processor; bfloat16 on a GPU, float32 on the processor.

    Raises:
        ModelError: the model is not there, or is none that answers in text about pictures (`model_not_loaded`), or
            there is less memory than it takes (`does_not_fit`).
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    device, dtype = accelerator()
    options = {"revision": wanted.revision, "trust_remote_code": wanted.remote_code}
    refuse_what_does_not_fit(wanted.name, read_config(wanted), dtype.itemsize, device.type)
    try:
        processor = AutoProcessor.from_pretrained(wanted.name, **options)
        model = AutoModelForImageTextToText.from_pretrained(wanted.name, dtype=dtype, **options)
    except Exception as error:  # whatever hub, disk or configuration raises means the same to the user
        raise _not_loaded(wanted, error) from error
    if getattr(processor, "tokenizer", None) is None or not processor.tokenizer.is_fast:
        message = f"{wanted.name!r} has no fast tokenizer with its processor; take another model"
        raise ModelError(message, reason="model_not_loaded")
    if not (getattr(processor, "chat_template", None) or processor.tokenizer.chat_template):
        message = f"{wanted.name!r} has no chat template: take a model that was trained to follow instructions"
        raise ModelError(message, reason="model_not_loaded")
    processor.tokenizer.padding_side = "left"
    commit = getattr(model.config, "_commit_hash", None)
    return LoadedModel(model.to(device).eval(), processor, _id(wanted, commit))


def read_config(wanted: ModelName) -> dict[str, Any]:
    """Read a model's configuration without its weights, with the library's defaults where it knows the family.

    Raises:
        ModelError: there is none (`model_not_loaded`).
    """
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    try:
        found, _ = PreTrainedConfig.get_config_dict(wanted.name, revision=wanted.revision)
        kind = CONFIG_MAPPING[found["model_type"]] if found.get("model_type") in CONFIG_MAPPING else None
        return {**found, **kind.from_dict(found).to_dict()} if kind else found
    except Exception as error:  # as in `load_model`
        raise _not_loaded(wanted, error) from error


def model_id(wanted: ModelName) -> str:
    """Return the id that a loaded model would have, without loading it.

    Raises:
        ModelError: there is no such model (`model_not_loaded`).
    """
    return _id(wanted, read_config(wanted).get("_commit_hash"))


def refuse_what_does_not_fit(name: str, config: Mapping[str, Any], bytes_a_number: int, device: str) -> None:
    """Refuse a model that is too large for the memory there is, before anything is loaded.

    Raises:
        ModelError: the weights and one picture take more memory than is free (`does_not_fit`).
    """
    from image2music.composers.chat.engine.loading import GIB, memory_need, shape_of

    free = free_memory(device)
    try:
        needed = memory_need(shape_of(config), 1, FEWEST_TOKENS, 0, bytes_a_number).least
    except ModelError:
        return  # of a size that cannot be calculated only loading can tell
    if free is not None and needed > free:
        where = "of the GPU" if device == "cuda" else "of this machine"
        message = (
            f"{name!r} takes {needed / GIB:.1f} GiB for its weights and one picture, and {free / GIB:.1f} GiB of the "
            f"memory {where} are free: take a smaller model, or name a server by openai:BASE_URL#MODEL"
        )
        raise ModelError(message, reason="does_not_fit")


def free_memory(device: str) -> int | None:
    """Return the bytes that are free on the GPU or in this machine; None where the system does not say."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _not_loaded(wanted: ModelName, error: Exception) -> ModelError:
    first = " ".join(str(error).split())[:200]
    message = f"cannot load {wanted.name!r} with transformers; check the id or folder: {first}"
    return ModelError(message, reason="model_not_loaded")


def _id(wanted: ModelName, commit: str | None) -> str:
    path = Path(wanted.name)
    code = _REMOTE_CODE if wanted.remote_code else ""
    if path.is_dir():
        return f"transformers:{path.resolve().name}@{fingerprint(path)}{code}"
    revision = commit or wanted.revision or "unknown"
    return f"transformers:{wanted.name}@{revision}{code}"


_FEWEST_ANSWER_TOKENS = 64


class ChatModel:
    """Model, tokenizer, renderer and limits: what both generators work with."""

    def __init__(self, loaded: LoadedModel, sampling: Sampling | None = None) -> None:
        self.model, self.processor = loaded.model, loaded.processor
        self.tokenizer = loaded.processor.tokenizer
        self.sampling = sampling or Sampling()
        self.image_token = image_token_of(self.model.config)
        self.renderer = Renderer(self.processor)
        self.ends = _eos_tokens(self.model, self.tokenizer)
        self.banned = BannedTokens(banned_tokens(self.model.config, self.tokenizer, self.ends))
        text = self.model.config.get_text_config()
        self.context: int = getattr(text, "max_position_embeddings", None) or 32768

    @property
    def family(self) -> str:
        """Return the library's name for the kind of model."""
        return str(self.model.config.model_type)

    @cached_property
    def _vocabulary(self) -> AbcVocabulary:
        return AbcVocabulary(self.tokenizer, self.ends, self.model.config.get_text_config().vocab_size)

    def inputs(self, conversations: Sequence[Conversation], *, asking: bool) -> Any:
        """Return the processor's output for conversations, on the model's device.

        `asking` opens the model's next turn.

        Raises:
            ModelError: what is asked is longer than the model can read (`longer_than_context`).
        """
        inputs = self.renderer.tokenise(conversations, asking=asking)
        if asking and inputs["input_ids"].shape[1] > self.context:
            message = (
                f"the conversation takes {inputs['input_ids'].shape[1]} tokens, more than the model can read, "
                f"{self.context}: take smaller steps, or a model that reads more"
            )
            raise ModelError(message, reason="longer_than_context")
        return inputs.to(self.model.device, self.model.dtype)

    def draws(self, seed: int | None, most: int, prompt: int) -> Tensor:
        """Return float64 draws for at most `most` tokens, as many as the prompt leaves room for; NaN without a seed."""
        room = min(most, max(_FEWEST_ANSWER_TOKENS, self.context - prompt))
        return torch.full((room,), torch.nan, dtype=torch.float64) if seed is None else uniform_draws(seed, room)

    def state(self, form: Form, tokens: int) -> FormState | None:
        """Return the state that keeps an answer of at most so many tokens to its form; None for prose."""
        return None if isinstance(form, ProseForm) else self._vocabulary.state(form, tokens)

    def grammar(self, form: Form, rows: int, tokens: int) -> list[AbcConstraint]:
        """Return the same for a batch, as a logits processor for the library's own `generate`."""
        return [] if isinstance(form, ProseForm) else [AbcConstraint(self._vocabulary, rows, tokens, form)]


def image_token_of(config: Any) -> int:
    """Return the id that stands for a piece of the picture in the model's input; a processor may name another one.

    Raises:
        ModelError: the configuration names none (`model_not_loaded`).
    """
    for name in ("image_token_id", "image_token_index"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    raise ModelError(f"{config.model_type} names no image token: take another model", reason="model_not_loaded")


def _eos_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return all tokens that end an answer, by the model's configuration and the tokenizer's."""
    named = model.generation_config.eos_token_id
    ends = named if isinstance(named, list) else [named]
    return sorted({int(end) for end in (*ends, tokenizer.eos_token_id) if end is not None})
