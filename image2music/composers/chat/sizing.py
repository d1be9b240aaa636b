"""What a plan says about the memory of a model that runs here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from image2music.composers.chat.composer import AnswerLengths
from image2music.composers.chat.memory import CARDS, GIB, USABLE, largest_batch, memory, shape_of
from image2music.composers.chat.transformers_backend import MOST_PROMPT_TOKENS, ROOM_FOR_ANSWERS

_TEXT_TOKENS = MOST_PROMPT_TOKENS + ROOM_FOR_ANSWERS


def lines(config: Mapping[str, Any], batch: int) -> dict[str, str]:
    """Name of a line to its text: what a batch takes in bfloat16, and the largest batch for each card.

    Raises:
        ModelError: the configuration does not say how large the model is (`unknown_memory`).
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    shape, lengths = shape_of(config), AnswerLengths()
    text_tokens, replayed = _TEXT_TOKENS, lengths.tune + lengths.motivation
    taken = memory(shape, batch, text_tokens, replayed)
    parts = {
        f"weights ({shape.parameters / 1e9:.2f} billion)": taken.weights,
        "keys and values": taken.key_values,
        "kept for later rounds": taken.kept,
        "working space": taken.working,
    }
    batches = {f"{name} ({gib} GiB)": largest_batch(shape, gib, text_tokens, replayed) for name, gib in CARDS.items()}
    fitting = ", ".join(f"{name} {most}" for name, most in batches.items() if most)
    small = ", ".join(name for name, most in batches.items() if not most)
    family = str(config.get("model_type"))
    foreign = f"{family} is not in this release of transformers: serve it, and name it by openai:BASE_URL#MODEL"
    return {
        "memory": f"{taken.total / GIB:.1f} GiB in bfloat16: {_in_gib(parts)}",
        "attention": f"{taken.attention / GIB:.1f} GiB, by replay, when keys and values are gone",
        "batch": f"{batch} pictures of at most {taken.tokens} tokens, {shape.picture_tokens} of them the picture's",
        "fits": f"largest batch on {fitting or 'none of the cards that are listed'}",
        "fits not": small or "all do",
        **({} if family in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES else {"family": foreign}),
    }


def replay_lines(config: Mapping[str, Any]) -> dict[str, str]:
    """As `lines`, for a model that only reads what a server's model wrote, one picture after the other.

    Raises:
        ModelError: the configuration does not say how large the model is (`unknown_memory`).
    """
    shape, lengths = shape_of(config), AnswerLengths()
    taken = memory(shape, 1, _TEXT_TOKENS, lengths.tune + lengths.motivation)
    parts = {
        f"weights ({shape.parameters / 1e9:.2f} billion)": taken.weights,
        "one replay": taken.attention,
        "kept for the next": taken.kept,
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
