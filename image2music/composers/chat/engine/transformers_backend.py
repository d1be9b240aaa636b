"""Vision-language models that run in this process, by the transformers library.

Native families: Qwen2-VL, Qwen2.5-VL, Qwen3-VL, SmolVLM, Idefics3, InternVL, Gemma 3, LLaVA and LLaVA-OneVision.
Others may answer too, but their attention has no known place in the picture (`image2music.composers.attention`).
Answers come about in one of two ways: with every beginning and picture read once, for the families that this is tested
with, or by the library's own `generate`. Also the lines of a dry run about the memory of such a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from itertools import pairwise
from threading import Lock
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from image2music.composers.attention import Tokenised, grid_of, image_token_boxes, paint
from image2music.composers.chat.conversations import AnswerLengths, Conversation, Message, Question, TokenAttention
from image2music.composers.chat.engine.cache import Prefiller, picture_key
from image2music.composers.chat.engine.decode import Decoder, DecodingRow, PromptLookup, Sampling, sample_tokens
from image2music.composers.chat.engine.loading import (
    CARDS,
    GIB,
    USABLE,
    ChatModel,
    ModelName,
    PreparedPictures,
    largest_batch,
    load_model,
    memory_need,
    shape_of,
)
from image2music.composers.chat.engine.replay import observed, replay, replay_by_layer
from image2music.composers.constrained.forms import Form, LinesForm, TuneForm
from image2music.errors import ModelError
from image2music.failures import counted
from image2music.images.decode import MAX_SIDE

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

    def generate(self, questions: Sequence[Question]) -> list[list[int]]:
        """Return the tokens of each answer."""
        keys = [picture_key(question.conversation.image) for question in questions]
        answers, scores = [], []
        for question, key in zip(questions, keys, strict=True):
            answer, after = self._prefill(question, key)
            answers.append(answer)
            scores.append(after)
        self._decoder.decode(answers, torch.cat(scores), lambda row, prefix: self._prefiller.store(keys[row], prefix))
        return [answer.written for answer in answers]

    def _prefill(self, question: Question, key: str) -> tuple[DecodingRow, Tensor]:
        """Prefill a prompt: the row to decode, and the scores of its first token.

        Nothing else holds the keys and values.
        """
        prompt, after = self._prefiller.prefill(self._chat.inputs([question.conversation], asking=True), key)
        draws = self._chat.draws(question.seed, question.max_tokens, len(prompt.tokens))
        lookup = PromptLookup(prompt.tokens) if self._uses_lookup(question) else None
        state = self._chat.state(question.form, len(draws))
        return DecodingRow(prompt, draws, state, lookup, self._prefiller.language.has_full_attention), after

    def attention(self, inputs: Any, image: Image.Image, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
        """Return float32[rows, columns], attention in a finished conversation.

        Only what follows the first row is read.
        """
        past = self._prefiller.cached_prefix(inputs, picture_key(image), rows[0])
        rest = inputs["input_ids"][0, len(past.tokens) :].tolist()
        return observed(self._chat.model, lambda: self._prefiller.extend(past, rest), 1, rows, columns)[0]

    def _uses_lookup(self, question: Question) -> bool:
        """Return whether the answer repeats music of its prompt, as repairs do, and lines that are added to others.

        Rejected proposals leave gaps, which a sliding window would count as tokens, so such models get no lookup.
        """
        is_later = len(question.conversation.messages) > 1
        repeats = isinstance(question.form, LinesForm) or (isinstance(question.form, TuneForm) and is_later)
        return self._prefiller.language.has_full_attention and repeats


class PlainGenerator:
    """Reads every conversation from its beginning; same methods as `PrefixCachedGenerator`."""

    def __init__(self, chat: ChatModel) -> None:
        self._chat = chat

    def generate(self, questions: Sequence[Question]) -> list[list[int]]:
        """Return the tokens of each answer; questions of one form and length are decoded in one batch, padded left."""
        answers: list[list[int]] = [[] for _ in questions]
        alike: dict[tuple[Form, int], list[int]] = {}
        for place, question in enumerate(questions):
            alike.setdefault((question.form, question.max_tokens), []).append(place)
        for places in alike.values():
            for place, answer in zip(places, self._together([questions[at] for at in places]), strict=True):
                answers[place] = answer
        return answers

    def _together(self, questions: Sequence[Question]) -> list[list[int]]:
        from transformers import GenerationConfig, LogitsProcessorList

        chat, form, most = self._chat, questions[0].form, questions[0].max_tokens
        inputs = chat.inputs([question.conversation for question in questions], asking=True)
        length = inputs["input_ids"].shape[1]
        draws = torch.stack([chat.draws(question.seed, most, length) for question in questions])
        rules = [chat.banned, *chat.grammar(form, len(questions), draws.shape[1]), _Drawn(draws, chat.sampling)]
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

    def attention(self, inputs: Any, image: Image.Image, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
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


MOST_PROMPT_TOKENS, FEWEST_PROMPT_TOKENS = 6000, 600

ROOM_FOR_ANSWERS = 4000
"""Tokens reserved for the accepted tune, what is said about it, and the next one."""
_COUNTS_KEPT = 256
_TOKENS_SCORED_AT_ONCE = 256
_LARGEST = (MAX_SIDE, MAX_SIDE)
_BLANK = (128, 128, 128)


class Generator(Protocol):
    """What both generators offer: answers, and attention in them."""

    def generate(self, questions: Sequence[Question]) -> list[list[int]]:
        """Return the tokens of each answer."""

    def attention(self, inputs: Any, image: Image.Image, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
        """Return float32[rows, columns], attention between positions of a finished conversation."""


def generator_for(chat: ChatModel) -> Generator:
    """Return `PrefixCachedGenerator` for the families that it is tested with.

    `PlainGenerator` for every other model.
    """
    return PrefixCachedGenerator(chat) if chat.family in FAMILIES else PlainGenerator(chat)


class TransformersBackend:
    """Keeps the protocol `ChatBackend`. One call at a time: the library keeps state on the model."""

    def __init__(self, name: str, chat: ChatModel, generator: Generator) -> None:
        self.id, self.chat, self.generator = name, chat, generator
        self._counted = lru_cache(_COUNTS_KEPT)(self._count)
        self._lock: AbstractContextManager[Any] = Lock()
        self.prompt_tokens = self._room_for_prompts()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a loaded model does not travel between processes: load it where it is needed")

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text; all rounds about a picture count the same first prompt."""
        return self._counted(text)

    def _count(self, text: str) -> int:
        return len(self.chat.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def generate(self, questions: Sequence[Question]) -> list[str]:
        """Return the answer to each question, decoded in one batch; it keeps to its form."""
        with self._lock, torch.inference_mode():
            written = self.generator.generate(questions)
        return [self.chat.tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in written]

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[TokenAttention]:
        """Return attention of each of the model's own turns.

        By one replay over the picture and a blank one of its size.

        Maps are on the finest grid of the picture's own tokens (`image2music.composers.attention`).

        Raises:
            ModelError: image tokens or answers cannot be placed, or there are more tokens than the model can read.
        """
        chat, image = self.chat, conversation.image
        blank = Image.new("RGB", image.size, _BLANK)
        inputs = chat.inputs([conversation], asking=False)
        greys = chat.inputs([Conversation(blank, conversation.messages)], asking=False)
        tokens = inputs["input_ids"][0].tolist()
        if len(tokens) > chat.context:
            message = f"{len(tokens)} tokens are more than the model can read, {chat.context}: attention is left out"
            raise ModelError(message, reason="longer_than_context")
        if greys["input_ids"][0].tolist() != tokens:
            raise ModelError("a blank picture has other tokens: attention is left out", reason="unknown_boxes")
        turns = chat.renderer.turns(conversation, tokens)
        columns = [at for at, token in enumerate(tokens) if token == chat.image_token]
        boxes = image_token_boxes(Tokenised(chat.model.config, chat.processor, inputs, *image.size, len(columns)))
        rows = [at - 1 for turn in turns for at in turn.positions]
        with self._lock, torch.inference_mode():
            attention = [
                self.generator.attention(*shown, rows, columns).numpy() for shown in ((inputs, image), (greys, blank))
            ]
            of_layers = replay_by_layer(chat.model, inputs, rows, columns)[:, 0].numpy() if layers else None
        picture, baseline = paint(np.stack(attention), boxes, *grid_of(boxes))
        each = None if of_layers is None else paint(of_layers, boxes, *grid_of(boxes))
        starts = np.cumsum([0, *(len(turn.positions) for turn in turns)]).tolist()
        return [
            TokenAttention(turn.text, turn.spans, picture[a:b], baseline[a:b], None if each is None else each[:, a:b])
            for turn, (a, b) in zip(turns, pairwise(starts), strict=True)
        ]

    def log_likelihood(self, conversation: Conversation, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Return float64[images, tokens of its own turns] in nats.

        One picture at a time, each read from the beginning.
        """
        positions, found = None, []
        for image in images:
            inputs = self.chat.inputs([Conversation(image, conversation.messages)], asking=False)
            if positions is None:
                turns = self.chat.renderer.turns(conversation, inputs["input_ids"][0].tolist())
                positions = [at for turn in turns for at in turn.positions]
            found.append(self._nats(inputs, positions))
        return np.stack(found)

    def _nats(self, inputs: Any, positions: Sequence[int]) -> NDArray[np.float64]:
        """Return float64[positions], the log likelihood of the tokens there, given all before them."""
        head = self.chat.model.get_output_embeddings()
        with self._lock, torch.inference_mode():
            hidden = self.chat.model.model(**inputs, use_cache=False).last_hidden_state[0]
            found = []
            for some in torch.tensor(positions, device=hidden.device).split(_TOKENS_SCORED_AT_ONCE):
                scores = head(hidden[some - 1]).float().log_softmax(-1)
                found.append(scores.gather(1, inputs["input_ids"][0, some][:, None])[:, 0])
            nats: NDArray[np.float64] = torch.cat(found).double().cpu().numpy()
            return nats

    def _room_for_prompts(self) -> int:
        """Return what the largest picture and the answers leave of the context."""
        largest = Conversation(Image.new("RGB", _LARGEST, _BLANK), (Message("user", ""),))
        picture = self.chat.inputs([largest], asking=True)["input_ids"].shape[1]
        left = self.chat.context - picture - ROOM_FOR_ANSWERS
        return max(FEWEST_PROMPT_TOKENS, min(MOST_PROMPT_TOKENS, left))


def load_transformers_backend(argument: str) -> TransformersBackend:
    """Load the backend for the part of the spec behind `transformers:`."""
    loaded = load_model(ModelName.parse(argument))
    chat = ChatModel(loaded)
    return TransformersBackend(loaded.id, chat, generator_for(chat))


_TEXT_TOKENS = MOST_PROMPT_TOKENS + ROOM_FOR_ANSWERS


def memory_report(config: Mapping[str, Any], batch: int) -> dict[str, str]:
    """Return a dry run's lines by name: what a batch takes in bfloat16, and the largest batch for each card.

    Raises:
        ModelError: the configuration does not say how large the model is (`unknown_memory`).
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    shape, lengths = shape_of(config), AnswerLengths()
    text_tokens, replayed = _TEXT_TOKENS, lengths.tune + lengths.motivation
    taken = memory_need(shape, batch, text_tokens, replayed)
    parts = {
        f"weights ({shape.parameters / 1e9:.2f} billion)": taken.weights,
        "keys and values": taken.key_values,
        "kept for later rounds": taken.cached,
        "working space": taken.working,
    }
    batches = {f"{name} ({gib} GiB)": largest_batch(shape, gib, text_tokens, replayed) for name, gib in CARDS.items()}
    fitting = ", ".join(f"{name} {most}" for name, most in batches.items() if most)
    small = ", ".join(name for name, most in batches.items() if not most)
    family, pictures = str(config.get("model_type")), counted(batch, "picture")
    foreign = f"{family} is not in this release of transformers: serve it, and name it by openai:BASE_URL#MODEL"
    return {
        "memory": f"{taken.total / GIB:.1f} GiB in bfloat16: {_in_gib(parts)}",
        "attention": f"{taken.attention / GIB:.1f} GiB, by replay, when keys and values are gone",
        "batch": f"{pictures} of at most {taken.tokens} tokens, {shape.picture_tokens} of them the picture's",
        "fits": f"largest batch on {fitting or 'none of the cards that are listed'}",
        "fits not": small or "all do",
        **({} if family in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES else {"family": foreign}),
    }


def replay_lines(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the same for a model that only replays what a server's model wrote, one picture after the other.

    Raises:
        ModelError: the configuration does not say how large the model is (`unknown_memory`).
    """
    shape, lengths = shape_of(config), AnswerLengths()
    taken = memory_need(shape, 1, _TEXT_TOKENS, lengths.tune + lengths.motivation)
    parts = {
        f"weights ({shape.parameters / 1e9:.2f} billion)": taken.weights,
        "one replay": taken.attention,
        "kept for the next": taken.cached,
        "working space": taken.working,
    }
    fitting = [f"{name} ({gib} GiB)" for name, gib in CARDS.items() if taken.total <= gib * GIB * USABLE]
    here = f"{taken.total / GIB:.1f} GiB here in bfloat16 for attention: {_in_gib(parts)}"
    return {
        "memory": f"that of the server, and {here}",
        "fits": ", ".join(fitting) or "none of the cards that are listed",
    }


def _in_gib(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value / GIB:.1f}" for name, value in parts.items())
