"""Pictures as nano attends to them: one vector a cell, a mixture of what it shows and how it looks; and nano's id.

The same mixture makes the synthetic pictures of training and the real ones at run time, so that both lie in the same
region of the embedding space (text-only training: DeCap, Li et al. 2023; CapDec, Nukrai et al. 2022). The id names the
embedder that patches come from beside the weights, and is found without loading torch or a model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from image2music.embedders.base import Embedder
from image2music.embedders.conse import ConseEmbedder
from image2music.errors import ModelError
from image2music.images.scene import Look, Scene

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
        """Return float32[cells, dim], unit vectors of how each cell looks."""
        cells = appearance.brightness.reshape(-1, 1).astype(np.float32)
        mixed = self._between("brightness", cells) * 2
        for name in ("contrast", "saturation", "warmth"):
            mixed = mixed + self._between(name, np.full_like(cells, getattr(appearance, name)))
        return unit_vectors(mixed)

    def _between(self, look: str, share: FloatArray) -> FloatArray:
        low, high = self.vectors[look]
        mixed: FloatArray = (1 - share) * low + share * high
        return mixed


def patches(objects: FloatArray, appearance: Appearance, poles: PoleVectors) -> FloatArray:
    """Mix `objects` float32[cells, dim], unit vectors of what each cell shows.

    With appearance to unit vectors alike.
    """
    return unit_vectors(OBJECT_SHARE * unit_vectors(objects) + (1 - OBJECT_SHARE) * poles.look(appearance))


def blank_patches(n_cells: int, poles: PoleVectors) -> FloatArray:
    """Return the patches float32[n_cells, dim] of an empty picture: middle grey, nothing in it."""
    grey = Appearance(np.full((n_cells, 1), 0.5, np.float32), 0.0, 0.0, 0.5)
    return poles.look(grey)


def unit_vectors(vectors: FloatArray) -> FloatArray:
    """Scale rows to length one."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-9)).astype(np.float32)


# Mean and standard deviation of each palette measure over ordinary photographs, to two digits.
ORDINARY = {"brightness": (0.50, 0.15), "contrast": (0.36, 0.15), "saturation": (0.25, 0.17), "warmth": (0.08, 0.22)}


@dataclass(frozen=True)
class SeenPicture:
    """What the decoder attends to: `patches` float32[cells, dim] on a grid of `rows` times `cols`.

    `without` are the scenes without each block of the picture (`images.leaving_out`), none where nobody left any out.
    """

    patches: FloatArray
    rows: int
    cols: int
    without: tuple[Scene, ...] = ()


def look_at(look: Look, poles: PoleVectors) -> SeenPicture:
    """Return the patches of a picture that was looked at."""
    palette = look.palette
    rows, cols, dim = look.grid.shape
    appearance = Appearance(
        np.clip(0.5 + 1.6 * (look.cell_brightness - 0.5), 0, 1).astype(np.float32),
        _spread("contrast", palette.contrast),
        _spread("saturation", palette.saturation),
        _spread("warmth", palette.warmth),
    )
    return SeenPicture(patches(look.grid.reshape(rows * cols, dim), appearance, poles), rows, cols, look.without)


def _spread(measure: str, value: float) -> float:
    """Scale a palette measure to 0 to 1 such that ordinary photographs fill that range."""
    centre, deviation = ORDINARY[measure]
    return float(np.clip(0.5 + 0.25 * (value - centre) / deviation, 0, 1))


_FOLDER = Path(__file__).parent
_LEARNED = (
    "network/weights/model.safetensors",
    "tables/pools.json.gz",
    "tables/melody.npz",
    "tables/harmony_by_hand.txt",
)
RECIPE = 7
"""Raise it with every change of code that changes a tune for the same weights and seed."""


def nano_id(folder: Path = _FOLDER) -> str:
    """Return recipe, 12 digits of the sha256 of weights and tables, and the ids of what patches and scenes come from.

    Raises:
        ModelError: the weights or tables are not there (`no_weights`).
    """
    digest = hashlib.sha256()
    for name in _LEARNED:
        if not (folder / name).is_file():
            raise ModelError(f"nano's {name} is not in {folder}: run `make train`", reason="no_weights")
        digest.update((folder / name).read_bytes())
    embedder = ConseEmbedder()
    return f"nano-{RECIPE}@{digest.hexdigest()[:12]}+{embedder.id}+{embedder.scene_id}"
