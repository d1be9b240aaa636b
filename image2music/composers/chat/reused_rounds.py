"""Answers for which nothing is read twice: pictures, beginnings of conversations, and what an answer repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from image2music.composers.attention import observed
from image2music.composers.chat.backend import Conversation, Form
from image2music.composers.chat.chat_model import ChatModel
from image2music.composers.chat.kept import picture_key
from image2music.composers.chat.lookup import Lookup
from image2music.composers.chat.reading import Reader
from image2music.composers.chat.rendering import PreparedPictures
from image2music.composers.chat.writing import Answer, Writer

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


class ReusedRounds:
    """Reads what no round before has read, and writes a batch of answers together."""

    def __init__(self, chat: ChatModel) -> None:
        self._chat = chat
        chat.processor.image_processor = PreparedPictures(chat.processor.image_processor)
        self._reader = Reader(chat.model, chat.image_token)
        self._writer = Writer(self._reader.language, chat.never, chat.ends, chat.sampling)

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
    ) -> tuple[Answer, Tensor]:
        """An answer whose prompt is read, and the scores of its first token. Nothing else holds what was read."""
        prompt, after = self._reader.read(self._chat.inputs([talk], asking=True), key)
        throws = self._chat.throws(seed, max_tokens, len(prompt.tokens))
        lookup = Lookup(prompt.tokens) if self._repeats(talk, form) else None
        return Answer(prompt, throws, self._chat.tune(form, len(throws)), lookup), after

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
