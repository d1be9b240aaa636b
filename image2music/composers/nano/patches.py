"""Pictures as nano attends to them: one vector a cell, what it shows mixed with how it looks.

The same mixing makes the imagined pictures of training and the real ones at run time, so that both live in one place
of the embedding space (text-only training: DeCap, Li et al. 2023; CapDec, Nukrai et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from image2music.embedders.base import Embedder

FloatArray = NDArray[np.float32]

# Each look runs from the first sentence (0) to the second (1).
POLES = {
    "brightness": ("a dark, gloomy picture at night", "a bright, sunny picture in daylight"),
    "contrast": ("a flat, misty picture with soft, faint tones", "a crisp picture with strong, hard contrast"),
    "saturation": ("a grey picture with no colour", "a vivid, colourful picture"),
    "warmth": ("cold blue tones", "warm orange and golden tones"),
}
OBJECT_SHARE = 0.6


@dataclass(frozen=True)
class Appearance:
    """How a picture looks: `brightness` float32[rows, cols] of each cell, the rest of the whole; all from 0 to 1."""

    brightness: FloatArray
    contrast: float
    saturation: float
    warmth: float


@dataclass(frozen=True)
class PoleVectors:
    """Unit vectors of the poles, float32[2, dim] each."""

    vectors: dict[str, FloatArray]

    @classmethod
    def embed(cls, embedder: Embedder) -> PoleVectors:
        """Embed the pole sentences once."""
        return cls({look: embedder.embed_texts(list(sentences)) for look, sentences in POLES.items()})

    def look(self, appearance: Appearance) -> FloatArray:
        """float32[cells, dim]: unit vectors of how each cell looks."""
        cells = appearance.brightness.reshape(-1, 1).astype(np.float32)
        mixed = self._between("brightness", cells) * 2
        for name in ("contrast", "saturation", "warmth"):
            mixed = mixed + self._between(name, np.full_like(cells, getattr(appearance, name)))
        return unit(mixed)

    def _between(self, look: str, share: FloatArray) -> FloatArray:
        low, high = self.vectors[look]
        mixed: FloatArray = (1 - share) * low + share * high
        return mixed


def patches(objects: FloatArray, appearance: Appearance, poles: PoleVectors) -> FloatArray:
    """`objects` float32[cells, dim] (unit vectors of what each cell shows) to float32[cells, dim] unit vectors."""
    return unit(OBJECT_SHARE * unit(objects) + (1 - OBJECT_SHARE) * poles.look(appearance))


def blank_patches(n_cells: int, poles: PoleVectors) -> FloatArray:
    """A picture of nothing: middle grey, nothing in it. float32[n_cells, dim]."""
    grey = Appearance(np.full((n_cells, 1), 0.5, np.float32), 0.0, 0.0, 0.5)
    return poles.look(grey)


def unit(vectors: FloatArray) -> FloatArray:
    """Rows to length one."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
