"""Renders conversations with a processor's chat template, and finds each answer's tokens in them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from image2music.composers.chat.backend import Conversation, Message
from image2music.composers.chat.engine.cache import LruByteCache, picture_key
from image2music.errors import ModelError


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
