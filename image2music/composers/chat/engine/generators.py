"""Two ways to generate answers: with a prefix cache and prompt lookup, or by the library's own `generate`.

The second reads every prompt whole and serves models for which reuse has not been tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from image2music.composers.attention.replay import observed, replay
from image2music.composers.chat.backend import Conversation, Form
from image2music.composers.chat.engine.cache import picture_key
from image2music.composers.chat.engine.decode import Decoder, DecodingRow, PromptLookup
from image2music.composers.chat.engine.loading import ChatModel
from image2music.composers.chat.engine.prefill import Prefiller
from image2music.composers.chat.engine.rendering import PreparedPictures
from image2music.composers.chat.engine.sampling import Sampling, sample_tokens

FAMILIES = frozenset(
    {
        "qwen2_vl",
        "qwen2_5_vl",
        "qwen3_vl",
        "smolvlm",
        "idefics3",
        "internvl",
        "gemma3",
        "llava",
        "llava_onevision",
    }
)
"""Families whose reuse is tested against whole prompts (Qwen2-VL by its twin Qwen2.5-VL). Others get whole prompts."""


class PrefixCachedGenerator:
    """Prefills only what no earlier round has prefilled, and decodes a batch of answers together."""

    def __init__(self, chat: ChatModel) -> None:
        self._chat = chat
        chat.processor.image_processor = PreparedPictures(chat.processor.image_processor)
        self._prefiller = Prefiller(chat.model, chat.image_token)
        self._decoder = Decoder(self._prefiller.language, chat.banned, chat.ends, chat.sampling)

    @property
    def passes(self) -> int:
        """Count the forward passes of the language model for more tokens of a batch."""
        return self._decoder.passes

    def generate(
        self, conversations: Sequence[Conversation], seeds: Sequence[int | None], max_tokens: int, form: Form
    ) -> list[list[int]]:
        """Return the tokens of each answer."""
        keys = [picture_key(conversation.image) for conversation in conversations]
        answers, scores = [], []
        for conversation, key, seed in zip(conversations, keys, seeds, strict=True):
            answer, after = self._prefill(conversation, key, seed, max_tokens, form)
            answers.append(answer)
            scores.append(after)
        self._decoder.decode(answers, torch.cat(scores), lambda row, prefix: self._prefiller.store(keys[row], prefix))
        return [answer.written for answer in answers]

    def _prefill(
        self, conversation: Conversation, key: str, seed: int | None, max_tokens: int, form: Form
    ) -> tuple[DecodingRow, Tensor]:
        """Prefill a prompt: the row to decode, and the scores of its first token.

        Nothing else holds the keys and values.
        """
        prompt, after = self._prefiller.prefill(self._chat.inputs([conversation], asking=True), key)
        draws = self._chat.draws(seed, max_tokens, len(prompt.tokens))
        lookup = PromptLookup(prompt.tokens) if self._uses_lookup(conversation, form) else None
        return DecodingRow(prompt, draws, self._chat.tune(form, len(draws)), lookup), after

    def attention(self, inputs: Any, image: Image, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
        """Return float32[rows, columns], attention in a finished conversation.

        Only what follows the first row is read.
        """
        past = self._prefiller.cached_prefix(inputs, picture_key(image), rows[0])
        rest = inputs["input_ids"][0, len(past.tokens) :].tolist()
        return observed(self._chat.model, lambda: self._prefiller.extend(past, rest), 1, rows, columns)[0]

    def _uses_lookup(self, conversation: Conversation, form: Form) -> bool:
        """Return whether the answer repeats a tune of its prompt, as repairs and refinements do.

        Rejected proposals leave gaps, which a sliding window would count as tokens, so such models get no lookup.
        """
        return self._prefiller.language.has_full_attention and form == "abc" and len(conversation.messages) > 1


class PlainGenerator:
    """Reads every conversation from its beginning; same methods as `PrefixCachedGenerator`."""

    def __init__(self, chat: ChatModel) -> None:
        self._chat = chat

    def generate(
        self, conversations: Sequence[Conversation], seeds: Sequence[int | None], max_tokens: int, form: Form
    ) -> list[list[int]]:
        """Return the tokens of each answer, decoded in one batch that is padded on the left."""
        from transformers import GenerationConfig, LogitsProcessorList

        chat = self._chat
        inputs = chat.inputs(conversations, asking=True)
        length = inputs["input_ids"].shape[1]
        draws = torch.stack([chat.draws(seed, max_tokens, length) for seed in seeds])
        rules = [chat.banned, *chat.grammar(form, len(conversations), draws.shape[1]), _Drawn(draws, chat.sampling)]
        config = GenerationConfig(
            max_new_tokens=draws.shape[1],
            do_sample=False,
            eos_token_id=chat.ends,
            pad_token_id=chat.ends[0] if chat.tokenizer.pad_token_id is None else chat.tokenizer.pad_token_id,
        )
        chat.model.generation_config = config
        written = chat.model.generate(**inputs, generation_config=config, logits_processor=LogitsProcessorList(rules))
        rows: list[list[int]] = written[:, length:].tolist()
        return rows

    def attention(self, inputs: Any, image: Image, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
        """Return float32[rows, columns], attention in a finished conversation, read from the picture on."""
        return replay(self._chat.model, inputs, rows, columns)[0]


class _Drawn:
    """A logits processor that leaves the one token that each row's own uniform draw chooses."""

    def __init__(self, draws: Tensor, sampling: Sampling) -> None:
        self._draws, self._sampling, self._step = draws, sampling, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores float[rows, vocabulary]: 0 for one token of each row and -inf for all others."""
        chosen = sample_tokens(scores, self._draws[:, self._step], self._sampling)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen[:, None], 0.0)
