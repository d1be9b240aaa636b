"""Vision-language models that run in this process, by the transformers library.

Native families: Qwen2-VL, Qwen2.5-VL, Qwen3-VL, SmolVLM, Idefics3, InternVL, Gemma 3, LLaVA and LLaVA-OneVision.
Others may answer too, but where they look is not known (`image2music.composers.boxes`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from image2music.composers.chat.backend import Conversation, Form, Looks, Message
from image2music.composers.chat.loading import LoadedModel, ModelName, load_model
from image2music.composers.chat.rendering import Renderer
from image2music.composers.chat.sampling import Never, Sampling, SeededRows, never_written
from image2music.composers.constrain import AbcConstraint, AbcVocabulary
from image2music.errors import ModelError

MOST_PROMPT_TOKENS, FEWEST_PROMPT_TOKENS = 6000, 600
_ROOM_FOR_ANSWERS = 4000
"""Tokens kept for the tune that stands, what is said about it, and the next one."""

_LARGEST = (1024, 1024)
_BLANK = (128, 128, 128)

_log = logging.getLogger(__name__)


class TransformersBackend:
    """Keeps the protocol `ChatBackend`. One call at a time: the library keeps state on the model."""

    def __init__(self, loaded: LoadedModel, sampling: Sampling | None = None) -> None:
        self.id = loaded.id
        self._model, self._processor = loaded.model, loaded.processor
        self._tokenizer = loaded.processor.tokenizer
        self._sampling = sampling or Sampling()
        self._image_token = image_token_of(self._model.config)
        self._renderer = Renderer(self._processor)
        self._eos = _eos_tokens(self._model, self._tokenizer)
        self._never = Never(never_written(self._model.config, self._tokenizer, self._eos))
        self._context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or 32768
        self._lock: AbstractContextManager[Any] = Lock()
        self.prompt_tokens = self._room_for_prompts()

    @cached_property
    def _abc(self) -> AbcVocabulary:
        return AbcVocabulary(self._tokenizer, self._eos, self._model.config.get_text_config().vocab_size)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a loaded model does not travel between processes: load it where it is needed")

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def generate(
        self, conversations: Sequence[Conversation], seeds: Sequence[int | None], *, max_tokens: int, form: Form
    ) -> list[str]:
        """The next turn of each conversation, all in one batch, padded on the left; a tune keeps to the grammar."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        inputs = self._renderer.tokenise(conversations, asking=True).to(self._model.device, self._model.dtype)
        length = inputs["input_ids"].shape[1]
        config = GenerationConfig(
            max_new_tokens=min(max_tokens, max(64, self._context - length)),
            do_sample=False,
            eos_token_id=self._eos,
            pad_token_id=self._eos[0] if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id,
        )
        written_as = [AbcConstraint(self._abc, len(seeds), config.max_new_tokens)] if form == "abc" else []
        rules = LogitsProcessorList([self._never, *written_as, SeededRows(seeds, self._sampling)])
        with self._lock, torch.inference_mode():
            self._model.generation_config = config
            written = self._model.generate(**inputs, generation_config=config, logits_processor=rules)
        return [self._tokenizer.decode(row[length:], skip_special_tokens=True).strip() for row in written]

    def attention(self, conversation: Conversation) -> list[Looks]:
        """One replay over the picture and a blank one of its size; empty, and said so in the log, where it cannot be.

        Looks are on the finest grid of the picture's own tokens; see `boxes`.
        """
        try:
            return self._attention(conversation)
        except ModelError as error:
            _log.warning("no attention: %s", error)
            return []

    def _attention(self, talk: Conversation) -> list[Looks]:
        from image2music.composers.attention import replay
        from image2music.composers.boxes import Tokenised, grid_of, image_token_boxes, paint

        blank = Conversation(Image.new("RGB", talk.image.size, _BLANK), talk.messages)
        inputs = self._renderer.tokenise([talk, blank], asking=False).to(self._model.device, self._model.dtype)
        tokens = inputs["input_ids"][0].tolist()
        if inputs["input_ids"][1].tolist() != tokens:
            raise ModelError("a blank picture has other tokens: attention is left out", reason="unknown_boxes")
        turns = self._renderer.turns(talk, tokens)
        columns = [at for at, token in enumerate(tokens) if token == self._image_token]
        seen = Tokenised(self._model.config, self._processor, inputs, *talk.image.size, len(columns))
        boxes = image_token_boxes(seen)
        rows = [at - 1 for turn in turns for at in turn.positions]
        with self._lock:
            looks = replay(self._model, inputs, rows, columns).numpy()
        picture, baseline = paint(looks, boxes, *grid_of(boxes))
        ends = np.cumsum([len(turn.positions) for turn in turns])[:-1]
        parts = zip(turns, np.split(picture, ends), np.split(baseline, ends), strict=True)
        return [Looks(turn.text, turn.spans, weights, blanks) for turn, weights, blanks in parts]

    def _room_for_prompts(self) -> int:
        """What the largest picture and the answers leave of the context."""
        largest = Conversation(Image.new("RGB", _LARGEST, _BLANK), (Message("user", ""),))
        picture = self._renderer.tokenise([largest], asking=True)["input_ids"].shape[1]
        left = self._context - picture - _ROOM_FOR_ANSWERS
        return max(FEWEST_PROMPT_TOKENS, min(MOST_PROMPT_TOKENS, left))


def image_token_of(config: Any) -> int:
    """The id that stands for a piece of the picture in the model's input. A processor may name another one.

    Raises:
        ModelError: the configuration names none (`model_not_loaded`).
    """
    for name in ("image_token_id", "image_token_index"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    raise ModelError(f"{config.model_type} names no image token: take another model", reason="model_not_loaded")


def _eos_tokens(model: Any, tokenizer: Any) -> list[int]:
    """All tokens that end an answer, by the model's and the tokenizer's word."""
    named = model.generation_config.eos_token_id
    ends = named if isinstance(named, list) else [named]
    return sorted({int(end) for end in (*ends, tokenizer.eos_token_id) if end is not None})


def load(argument: str) -> TransformersBackend:
    """The backend for the part of the spec behind `transformers:`."""
    return TransformersBackend(load_model(ModelName.parse(argument)))
