"""What one look at a picture yields, for the embedder, the description and the composer alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from image2music.embedders.mood import Mood
from image2music.embedders.palette import Palette

Named = tuple[str, float]


@dataclass(frozen=True, eq=False)
class Look:
    """Everything the embedded default sees in a picture. It pickles (about 80 KB).

    vector: unit float32[384], the picture in the space of `ConseEmbedder.embed_texts`.
    grid: float32[7, 7, 384], each cell of the whole picture, rows from the top, unit vectors in the same space.
    objects: likeliest classes with probabilities 0..1, likeliest first.
    kinds: kinds of things ("bird", "vehicle", "landscape") with the sum of their classes' probabilities.
    cell_objects: the likeliest class of each cell with its probability, 49 in reading order.
    palette, mood: from light and colour alone.
    cell_brightness: float32[7, 7], mean CIE L*/100 of each cell.
    """

    vector: NDArray[np.float32]
    grid: NDArray[np.float32]
    objects: tuple[Named, ...]
    kinds: tuple[Named, ...]
    cell_objects: tuple[Named, ...]
    palette: Palette
    mood: Mood
    cell_brightness: NDArray[np.float32]
