"""The protocol that every embedder keeps, and embedders by their spec: `conse`, `open_clip:...`, `transformers:...`.

Also texts of any length for encoders that take few tokens, and rows' vectors. Forward passes have shapes that do not
depend on the batch, so neither do the vectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from image2music.errors import ModelError
from image2music.plugins import Kind, KindRegistry

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Maps pictures and texts to one space. Every row has unit length, so a dot product is the cosine."""

    @property
    def id(self) -> str:
        """Name the model and its revision; stored with every vector, compared before every search."""

    @property
    def dim(self) -> int:
        """Return the length of a vector."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as float32[n, dim]; n may be 0."""

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Embed RGB pictures as float32[n, dim]; n may be 0."""


ROWS = 8
"""Texts in each forward pass; a short last pass is filled up with copies, as another shape could round otherwise."""


class TextEncoder(Protocol):
    """What `embed_texts` needs of a model."""

    @property
    def max_tokens(self) -> int:
        """Return the most tokens that a text may have, special tokens counted."""

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text before any truncation, special tokens included."""

    def padded_length(self, tokens: int) -> int:
        """Return the length that a text of so many tokens (at most `max_tokens`) is padded to."""

    def encode(self, texts: Sequence[str], length: int) -> Vectors:
        """Encode `ROWS` texts, truncated and padded to `length` tokens, as float32[ROWS, dim]."""


def embed_texts(texts: Sequence[str], encoder: TextEncoder, dim: int) -> Vectors:
    """Embed texts as unit float32[n, dim].

    A text too long for the encoder is cut at the ends of sentences into chunks that fit; its vector is the mean of
    theirs. A single sentence that does not fit is truncated by the tokenizer.
    """
    owners, chunks = [], []
    for owner, text in enumerate(texts):
        for chunk in split_text(text, encoder.count_tokens, encoder.max_tokens):
            owners.append(owner)
            chunks.append(chunk)
    vectors = np.zeros((len(texts), dim), dtype=np.float32)
    # One after the other: the order of a sum decides its last bit.
    for owner, vector in zip(owners, _embed_chunks(chunks, encoder, dim), strict=True):
        vectors[owner] += vector
    return unit_rows(vectors)


def split_text(text: str, count_tokens: Callable[[str], int], limit: int) -> list[str]:
    """Return the text in one piece where it fits into `limit` tokens, otherwise in runs of whole sentences that do."""
    if count_tokens(text) <= limit:
        return [text]
    chunks: list[str] = []
    for sentence in re.split(r"(?<=[.!?;])\s+", text.strip()):
        joined = f"{chunks[-1]} {sentence}" if chunks else sentence
        if chunks and count_tokens(joined) <= limit:
            chunks[-1] = joined
        else:
            chunks.append(sentence)
    return chunks


def unit_rows(vectors: Vectors) -> Vectors:
    """Scale rows to length one.

    Raises:
        ModelError: `bad_vectors` where a row is zero, infinite or not a number.
    """
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise ModelError("the model gave vectors without a direction: check its weights", reason="bad_vectors")
    scaled: Vectors = (vectors / norms).astype(np.float32)
    return scaled


def _embed_chunks(chunks: Sequence[str], encoder: TextEncoder, dim: int) -> Vectors:
    """Embed texts that fit, those of one padded length together."""
    buckets: dict[int, list[int]] = {}
    for index, chunk in enumerate(chunks):
        tokens = min(encoder.count_tokens(chunk), encoder.max_tokens)
        buckets.setdefault(encoder.padded_length(tokens), []).append(index)
    vectors = np.zeros((len(chunks), dim), dtype=np.float32)
    for length, members in sorted(buckets.items()):
        for start in range(0, len(members), ROWS):
            some = members[start : start + ROWS]
            filled = [chunks[index] for index in some] + [chunks[some[-1]]] * (ROWS - len(some))
            vectors[some] = unit_rows(encoder.encode(filled, length))[: len(some)]
    return vectors


_NOTHING = 1e-6


def vector_of(caption: NDArray[np.float32] | None, picture: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return the unit vector float32[dim] of a tune from its caption's, its picture's, or their mean.

    Raises:
        ModelError: the two point in opposite directions (`no_direction`).
    """
    given = [np.asarray(vector, dtype=np.float64) for vector in (caption, picture) if vector is not None]
    if len(given) == 1:
        return given[0].astype(np.float32)
    mean = np.mean(given, axis=0)
    length = float(np.linalg.norm(mean))
    if length < _NOTHING:
        raise ModelError("caption and picture point in opposite directions; leave one away", reason="no_direction")
    return (mean / length).astype(np.float32)


class EmbedderKind(Kind, Protocol):
    """What an entry point of the group `image2music.embedders` names: an object that makes embedders of one kind."""

    def load(self, argument: str) -> Embedder:
        """Load the embedder.

        Raises:
            ModelError: the model is not there, or is no model of pictures and texts.
        """


KINDS: KindRegistry[EmbedderKind] = KindRegistry(
    model="embedder",
    group="image2music.embedders",
    own={
        "conse": "image2music.embedders.conse:CONSE",
        "open_clip": "image2music.embedders.clip:OPEN_CLIP",
        "transformers": "image2music.embedders.clip:TRANSFORMERS",
    },
    reason="bad_embedder_spec",
)


@lru_cache(maxsize=4)
def load_embedder(spec: str) -> Embedder:
    """Load a spec's embedder, once a process; `conse` loads its networks when they are first used.

    Raises:
        ConfigError: no kind of embedder has that spec (`bad_embedder_spec`).
        ModelError: the model is not there, or is no model of pictures and texts.
    """
    kind, argument = KINDS.find(spec)
    return kind.load(argument)
