"""Answers by the library's own `generate`, every prompt whole: for models whose reuse is not known to be right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from image2music.composers.attention import replay
from image2music.composers.chat.backend import Conversation, Form
from image2music.composers.chat.chat_model import ChatModel
from image2music.composers.chat.sampling import Sampling, choose


class WholePrompts:
    """Reads every conversation from its beginning. It keeps the same protocol as `ReusedRounds`."""

    def __init__(self, chat: ChatModel) -> None:
        self._chat = chat

    def write(
        self, talks: Sequence[Conversation], seeds: Sequence[int | None], max_tokens: int, form: Form
    ) -> list[list[int]]:
        """The tokens of each answer, written in one batch that is padded on the left."""
        from transformers import GenerationConfig, LogitsProcessorList

        chat = self._chat
        inputs = chat.inputs(talks, asking=True)
        length = inputs["input_ids"].shape[1]
        throws = torch.stack([chat.throws(seed, max_tokens, length) for seed in seeds])
        rules = [chat.never, *chat.grammar(form, len(talks), throws.shape[1]), _Drawn(throws, chat.sampling)]
        config = GenerationConfig(
            max_new_tokens=throws.shape[1],
            do_sample=False,
            eos_token_id=chat.ends,
            pad_token_id=chat.ends[0] if chat.tokenizer.pad_token_id is None else chat.tokenizer.pad_token_id,
        )
        chat.model.generation_config = config
        written = chat.model.generate(**inputs, generation_config=config, logits_processor=LogitsProcessorList(rules))
        rows: list[list[int]] = written[:, length:].tolist()
        return rows

    def looks(self, inputs: Any, image: Image, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
        """float32[rows, columns]: attention in a finished conversation, from the picture itself."""
        return replay(self._chat.model, inputs, rows, columns)[0]


class _Drawn:
    """A logits processor after which the likeliest token is the one that each row's own throw falls on."""

    def __init__(self, throws: Tensor, sampling: Sampling) -> None:
        self._throws, self._sampling, self._step = throws, sampling, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores float[rows, vocabulary]: 0 for one token of each row and -inf for all others."""
        chosen = choose(scores, self._throws[:, self._step], self._sampling)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen[:, None], 0.0)
