"""Vision-language models that run in this process, by the transformers library.

Native families: Qwen2-VL, Qwen2.5-VL, Qwen3-VL, SmolVLM, Idefics3, InternVL, Gemma 3, LLaVA and LLaVA-OneVision.
Others may answer too, but where they look is not known (`image2music.composers.boxes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from image2music.composers.attention import full_attention_layers
from image2music.composers.chat import plain
from image2music.composers.chat.backend import Conversation, Form, Looks, Message
from image2music.composers.chat.kept import picture_key
from image2music.composers.chat.loading import LoadedModel, ModelName, load_model
from image2music.composers.chat.lookup import Lookup
from image2music.composers.chat.reading import REUSING_FAMILIES, Reader
from image2music.composers.chat.rendering import Renderer
from image2music.composers.chat.sampling import Never, Sampling, dice, never_written
from image2music.composers.chat.writing import Answer, Writer
from image2music.composers.constrain import AbcConstraint, AbcVocabulary
from image2music.errors import ModelError

MOST_PROMPT_TOKENS, FEWEST_PROMPT_TOKENS = 6000, 600
ROOM_FOR_ANSWERS = 4000
"""Tokens kept for the tune that stands, what is said about it, and the next one."""

_LARGEST = (1024, 1024)
_BLANK = (128, 128, 128)


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
        self.reuses = self._model.config.model_type in REUSING_FAMILIES
        self._reader = Reader(self._model, self._image_token)
        self._writer = Writer(self._reader.language, self._eos, self._sampling)
        self._may_look_up = (
            len(full_attention_layers(self._model)) == self._model.config.get_text_config().num_hidden_layers
        )
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
        """The next turn of each conversation, all in one batch; a tune keeps to the grammar."""
        import torch

        with self._lock, torch.inference_mode():
            write = self._write if self.reuses else self._write_plainly
            written = write(conversations, seeds, max_tokens, form)
        return [self._tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in written]

    def _write(
        self, talks: Sequence[Conversation], seeds: Sequence[int | None], max_tokens: int, form: Form
    ) -> list[list[int]]:
        """Reads only what no round before has read, and writes all answers together."""
        import torch

        keys = [picture_key(talk.image) for talk in talks]
        read = [self._reader.read(self._inputs(talk), key) for talk, key in zip(talks, keys, strict=True)]
        throws = [
            self._throws(seed, max_tokens, len(prompt.tokens)) for seed, (prompt, _) in zip(seeds, read, strict=True)
        ]
        answers = [
            Answer(
                prompt,
                throw,
                [self._never, *self._grammar(form, 1, len(throw))],
                Lookup(prompt.tokens) if self._repeats(talk, form) else None,
            )
            for talk, throw, (prompt, _) in zip(talks, throws, read, strict=True)
        ]
        scores = torch.cat([scores for _, scores in read])
        del read  # each prompt's own copy is not needed beside the batch
        self._writer.write(answers, scores, lambda row, prefix: self._reader.keep(keys[row], prefix))
        return [answer.written for answer in answers]

    def _write_plainly(
        self, talks: Sequence[Conversation], seeds: Sequence[int | None], max_tokens: int, form: Form
    ) -> list[Any]:
        """Every prompt whole, for families of which it is not known that reuse changes nothing."""
        import torch

        inputs = self._renderer.tokenise(talks, asking=True).to(self._model.device, self._model.dtype)
        length = inputs["input_ids"].shape[1]
        throws = torch.stack([self._throws(seed, max_tokens, length) for seed in seeds])
        rules = [self._never, *self._grammar(form, len(talks), throws.shape[1]), plain.Drawn(throws, self._sampling)]
        pad = self._eos[0] if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id
        return plain.write(self._model, inputs, throws, rules, self._eos, pad)

    def _inputs(self, talk: Conversation, asking: bool = True) -> Any:
        return self._renderer.tokenise([talk], asking=asking).to(self._model.device, self._model.dtype)

    def _throws(self, seed: int | None, most: int, prompt: int) -> Any:
        """One throw for each token for which there is room."""
        import torch

        room = min(most, max(64, self._context - prompt))
        return torch.full((room,), torch.nan, dtype=torch.float64) if seed is None else dice(seed, room)

    def _grammar(self, form: Form, rows: int, tokens: int) -> list[AbcConstraint]:
        return [AbcConstraint(self._abc, rows, tokens)] if form == "abc" else []

    def _repeats(self, talk: Conversation, form: Form) -> bool:
        """Whether the answer is a tune that stands, changed: repairs and refinements are."""
        return self._may_look_up and form == "abc" and len(talk.messages) > 1

    def attention(self, conversation: Conversation) -> list[Looks]:
        """One replay over the picture and a blank one of its size.

        Looks are on the finest grid of the picture's own tokens; see `boxes`.

        Raises:
            ModelError: image tokens or answers cannot be placed.
        """
        from image2music.composers.boxes import Tokenised, grid_of, image_token_boxes, paint

        blank = Conversation(Image.new("RGB", conversation.image.size, _BLANK), conversation.messages)
        inputs, blanks = self._inputs(conversation, asking=False), self._inputs(blank, asking=False)
        tokens = inputs["input_ids"][0].tolist()
        if blanks["input_ids"][0].tolist() != tokens:
            raise ModelError("a blank picture has other tokens: attention is left out", reason="unknown_boxes")
        turns = self._renderer.turns(conversation, tokens)
        columns = [at for at, token in enumerate(tokens) if token == self._image_token]
        seen = Tokenised(self._model.config, self._processor, inputs, *conversation.image.size, len(columns))
        boxes = image_token_boxes(seen)
        rows = [at - 1 for turn in turns for at in turn.positions]
        looks = [
            self._looks(given, picture_key(shown.image), rows, columns)
            for shown, given in ((conversation, inputs), (blank, blanks))
        ]
        picture, baseline = paint(np.concatenate(looks), boxes, *grid_of(boxes))
        ends = np.cumsum([len(turn.positions) for turn in turns])[:-1]
        parts = zip(turns, np.split(picture, ends), np.split(baseline, ends), strict=True)
        return [Looks(turn.text, turn.spans, weights, blanks) for turn, weights, blanks in parts]

    def _looks(self, inputs: Any, picture: str, rows: Sequence[int], columns: Sequence[int]) -> Any:
        """float32[1, rows, columns]: a replay of what no round before has read."""
        import torch

        from image2music.composers.attention import observed

        with self._lock, torch.inference_mode():
            past = self._reader.known(inputs, picture, rows[0])
            rest = inputs["input_ids"][0, len(past.tokens) :].tolist()
            return observed(self._model, lambda: self._reader.on(past, rest), 1, rows, columns).numpy()

    def _room_for_prompts(self) -> int:
        """What the largest picture and the answers leave of the context."""
        largest = Conversation(Image.new("RGB", _LARGEST, _BLANK), (Message("user", ""),))
        picture = self._renderer.tokenise([largest], asking=True)["input_ids"].shape[1]
        left = self._context - picture - ROOM_FOR_ANSWERS
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
