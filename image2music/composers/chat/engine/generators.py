"""Answers of a model: with everything reused, or by the library's own generate.

Answers for which nothing is read twice: pictures, beginnings of conversations, and what an answer repeats.

Answers by the library's own `generate`, every prompt whole: for models whose reuse is not known to be right.
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
    """Reads what no round before has read, and writes a batch of answers together."""

    def __init__(self, chat: ChatModel) -> None:
        self._chat = chat
        chat.processor.image_processor = PreparedPictures(chat.processor.image_processor)
        self._reader = Prefiller(chat.model, chat.image_token)
        self._writer = Decoder(self._reader.language, chat.never, chat.ends, chat.sampling)

    @property
    def passes(self) -> int:
        """How often the language model was asked for more tokens of a batch."""
        return self._writer.passes

    def write(
        self, talks: Sequence[Conversation], seeds: Sequence[int | None], max_tokens: int, form: Form
    ) -> list[list[int]]:
        """The tokens of each answer."""
        keys = [picture_key(talk.image) for talk in talks]
        answers, scores = [], []
        for talk, key, seed in zip(talks, keys, seeds, strict=True):
            answer, after = self._begun(talk, key, seed, max_tokens, form)
            answers.append(answer)
            scores.append(after)
        self._writer.write(answers, torch.cat(scores), lambda row, prefix: self._reader.keep(keys[row], prefix))
        return [answer.written for answer in answers]

    def _begun(
        self, talk: Conversation, key: str, seed: int | None, max_tokens: int, form: Form
    ) -> tuple[DecodingRow, Tensor]:
        """An answer whose prompt is read, and the scores of its first token. Nothing else holds what was read."""
        prompt, after = self._reader.read(self._chat.inputs([talk], asking=True), key)
        throws = self._chat.throws(seed, max_tokens, len(prompt.tokens))
        lookup = PromptLookup(prompt.tokens) if self._repeats(talk, form) else None
        return DecodingRow(prompt, throws, self._chat.tune(form, len(throws)), lookup), after

    def looks(self, inputs: Any, image: Image, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
        """float32[rows, columns]: attention in a finished conversation. Only from the first row on is it read."""
        past = self._reader.known(inputs, picture_key(image), rows[0])
        rest = inputs["input_ids"][0, len(past.tokens) :].tolist()
        return observed(self._chat.model, lambda: self._reader.on(past, rest), 1, rows, columns)[0]

    def _repeats(self, talk: Conversation, form: Form) -> bool:
        """Whether the answer is a tune that stands, changed: repairs and refinements are.

        Proposals that are not taken leave gaps, which a sliding window would count as tokens: no lookup there.
        """
        return self._reader.language.has_full_attention and form == "abc" and len(talk.messages) > 1


class PlainGenerator:
    """Reads every conversation from its beginning. It keeps the same protocol as `PrefixCachedGenerator`."""

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
        chosen = sample_tokens(scores, self._throws[:, self._step], self._sampling)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen[:, None], 0.0)
