"""The protocol that every embedder keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Pictures and texts to one space. Every row has unit length, so a dot product is the cosine."""

    @property
    def id(self) -> str:
        """Names the model and its revision; stored with every vector, compared before every search."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts to float32[n, dim]; n may be 0."""

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """RGB pictures to float32[n, dim]; n may be 0."""
