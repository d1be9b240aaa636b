"""A loaded vision-language model with what its answers need: its tokens, its dice, its grammar."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from image2music.composers.chat.backend import Conversation, Form
from image2music.composers.chat.loading import LoadedModel
from image2music.composers.chat.rendering import Renderer
from image2music.composers.chat.sampling import Never, Sampling, dice, never_written
from image2music.composers.constrain import AbcConstraint, AbcVocabulary, TuneInMaking
from image2music.errors import ModelError

_FEWEST_ANSWER_TOKENS = 64


class ChatModel:
    """What both ways of answering, `WholePrompts` and `ReusedRounds`, are made from."""

    def __init__(self, loaded: LoadedModel, sampling: Sampling | None = None) -> None:
        self.model, self.processor = loaded.model, loaded.processor
        self.tokenizer = loaded.processor.tokenizer
        self.sampling = sampling or Sampling()
        self.image_token = image_token_of(self.model.config)
        self.renderer = Renderer(self.processor)
        self.ends = _eos_tokens(self.model, self.tokenizer)
        self.never = Never(never_written(self.model.config, self.tokenizer, self.ends))
        text = self.model.config.get_text_config()
        self.context: int = getattr(text, "max_position_embeddings", None) or 32768

    @property
    def family(self) -> str:
        """The library's name for the kind of model."""
        return str(self.model.config.model_type)

    @cached_property
    def _abc(self) -> AbcVocabulary:
        return AbcVocabulary(self.tokenizer, self.ends, self.model.config.get_text_config().vocab_size)

    def inputs(self, talks: Sequence[Conversation], *, asking: bool) -> Any:
        """What the processor makes of conversations, on the model's device; `asking` opens the model's next turn."""
        return self.renderer.tokenise(talks, asking=asking).to(self.model.device, self.model.dtype)

    def throws(self, seed: int | None, most: int, prompt: int) -> Tensor:
        """float64: a throw for each of at most `most` tokens for which a prompt leaves room, NaN without a seed."""
        room = min(most, max(_FEWEST_ANSWER_TOKENS, self.context - prompt))
        return torch.full((room,), torch.nan, dtype=torch.float64) if seed is None else dice(seed, room)

    def tune(self, form: Form, tokens: int) -> TuneInMaking | None:
        """What keeps a tune of at most so many tokens to ABC; nothing for prose."""
        return TuneInMaking(self._abc, tokens) if form == "abc" else None

    def grammar(self, form: Form, rows: int, tokens: int) -> list[AbcConstraint]:
        """The same for a batch, as the library's own `generate` wants it."""
        return [AbcConstraint(self._abc, rows, tokens)] if form == "abc" else []


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
