"""Does a map show what mattered? Cells of the picture are blurred in the map's order, and the tune's likelihood falls.

Deletion: from the sharp picture, the first cells of the order are blurred. Insertion: from the blurred picture, the
first cells are made sharp. A map is faithful where its order moves the likelihood of the fixed text sooner than cells
in random order and cells from the centre outwards, for photographs have their subject there. Source: Petsiuk, Das and
Saenko 2018 (RISE), with the text's likelihood in place of a class score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Masks = NDArray[np.bool_]
Floats = NDArray[np.float64]
Order = NDArray[np.int64]

Nats = Callable[[Masks], Floats]
"""bool[n, rows, cols], True where the picture is blurred, to float64[n, tokens]: log likelihood of each token."""

SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4)
"""Shares of the cells after which the likelihood is looked at."""

RANDOM_ORDERS = 2
_BLUR = 1 / 12


@dataclass(frozen=True, eq=False)
class Curves:
    """float64[tokens] each: the mean over `SHARES` of what an order takes away by blurring, and gives by showing."""

    fall: Floats
    gain: Floats


class Faithfulness:
    """Measures maps over one picture for one text; what all maps share is computed once."""

    def __init__(self, nats: Nats, rows: int, cols: int, seed: int) -> None:
        self._nats, self._grid = nats, (rows, cols)
        self._known: dict[bytes, Curves] = {}
        dice = np.random.default_rng(seed)
        self._sharp, self._blurred = nats(np.stack([np.zeros(self._grid, bool), np.ones(self._grid, bool)]))
        self._random = self._mean(dice.permutation(rows * cols) for _ in range(RANDOM_ORDERS))
        self._centre = self._curves(from_centre(rows, cols))

    def of(self, weights: NDArray[np.float32], tokens: Sequence[int]) -> dict[str, float]:
        """Nats that a map moves, with two other orders to hold against it: larger is more faithful.

        Args:
            weights: float32[rows, cols], the map.
            tokens: those of the text that the map is about.
        """
        orders = {"": self._curves(most_first(weights)), "_random": self._random, "_centre": self._centre}
        chosen = list(tokens)
        return {
            f"{name}{suffix}": float(moved[chosen].sum())
            for suffix, curves in orders.items()
            for name, moved in (("deletion", curves.fall), ("insertion", curves.gain))
        }

    def _mean(self, orders: Iterable[Order]) -> Curves:
        found = [self._curves(order) for order in orders]
        return Curves(np.mean([one.fall for one in found], axis=0), np.mean([one.gain for one in found], axis=0))

    def _curves(self, order: Order) -> Curves:
        """Measured once: the maps of a tune of one voice, for example, have one order."""
        key = order.tobytes()
        if key not in self._known:
            self._known[key] = self._measured(order)
        return self._known[key]

    def _measured(self, order: Order) -> Curves:
        first = first_cells(order, [round(share * order.size) for share in SHARES]).reshape(-1, *self._grid)
        nats = self._nats(np.concatenate([first, ~first]))
        deleted, inserted = np.split(nats, 2)
        return Curves(self._sharp - deleted.mean(0), inserted.mean(0) - self._blurred)


def most_first(weights: NDArray[np.float32]) -> Order:
    """Cells, row by row, from the largest weight to the smallest."""
    return np.argsort(-weights.ravel(), kind="stable")


def from_centre(rows: int, cols: int) -> Order:
    """Cells from the centre outwards."""
    y, x = np.mgrid[:rows, :cols]
    distance = np.hypot((y - (rows - 1) / 2) / rows, (x - (cols - 1) / 2) / cols)
    return np.argsort(distance.ravel(), kind="stable")


def first_cells(order: Order, counts: Sequence[int]) -> Masks:
    """bool[counts, cells]: the first so many cells of an order."""
    masks = np.zeros((len(counts), order.size), dtype=np.bool_)
    for mask, count in zip(masks, counts, strict=True):
        mask[order[:count]] = True
    return masks


def blurred(image: Image.Image) -> Image.Image:
    """The picture, blurred by a twelfth of its longer side."""
    return image.filter(ImageFilter.GaussianBlur(max(1.0, _BLUR * max(image.size))))


def with_blur(image: Image.Image, blur: Image.Image, mask: Masks) -> Image.Image:
    """A picture that is its own `blurred` where bool[rows, cols] is True."""
    shown = Image.fromarray(mask.astype(np.uint8) * 255).resize(image.size, Image.Resampling.NEAREST)
    return Image.composite(blur, image, shown)
