"""Equation 2 for the parts of a tune and its motivation, and whether such a map is faithful.

Does a map show what mattered? Cells of the picture are blurred in the map's order, and the tune's likelihood falls.

Deletion: from the sharp picture, the first cells of the order are blurred. Insertion: from the blurred picture, the
first cells are made sharp. A map is faithful where its order moves the likelihood of the fixed text sooner than cells
in random order and cells from the centre outwards, for photographs have their subject there. Source: Petsiuk, Das and
Saenko 2018 (RISE), with the text's likelihood in place of a class score.

The parts of a tune and of its motivation that get a map of their own, and equation 2 for one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from image2music.types import AttentionMap, SegmentKind

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
    """Mean over `SHARES` of the nats that an order of cells removes by blurring, and adds by showing.

    Float64[tokens] each.
    """

    fall: Floats
    gain: Floats


class Faithfulness:
    """Measures how faithful maps over one picture are for one text; what all maps share is computed once."""

    def __init__(self, nats: Nats, rows: int, cols: int, seed: int) -> None:
        self._nats, self._grid = nats, (rows, cols)
        self._known: dict[bytes, Curves] = {}
        dice = np.random.default_rng(seed)
        self._sharp, self._blurred = nats(np.stack([np.zeros(self._grid, bool), np.ones(self._grid, bool)]))
        self._random = self._mean(dice.permutation(rows * cols) for _ in range(RANDOM_ORDERS))
        self._centre = self._curves(from_centre(rows, cols))

    def of(self, weights: NDArray[np.float32], tokens: Sequence[int]) -> dict[str, float]:
        """Return the nats that a map moves, with two other orders to compare it with: larger is more faithful.

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
        """Measure an order once: the maps of a tune of one voice, for example, have the same order."""
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
    """Return the cells, numbered row by row, from the largest weight to the smallest."""
    return np.argsort(-weights.ravel(), kind="stable")


def from_centre(rows: int, cols: int) -> Order:
    """Return the cells from the centre outwards."""
    y, x = np.mgrid[:rows, :cols]
    distance = np.hypot((y - (rows - 1) / 2) / rows, (x - (cols - 1) / 2) / cols)
    return np.argsort(distance.ravel(), kind="stable")


def first_cells(order: Order, counts: Sequence[int]) -> Masks:
    """Return bool[counts, cells]: the first so many cells of an order."""
    masks = np.zeros((len(counts), order.size), dtype=np.bool_)
    for mask, count in zip(masks, counts, strict=True):
        mask[order[:count]] = True
    return masks


def blurred(image: Image.Image) -> Image.Image:
    """Blur the picture by a twelfth of its longer side."""
    return image.filter(ImageFilter.GaussianBlur(max(1.0, _BLUR * max(image.size))))


def with_blur(image: Image.Image, blur: Image.Image, mask: Masks) -> Image.Image:
    """Return the picture with its `blurred` version where bool[rows, cols] is True."""
    shown = Image.fromarray(mask.astype(np.uint8) * 255).resize(image.size, Image.Resampling.NEAREST)
    return Image.composite(blur, image, shown)


BARS_A_GROUP = 4


@dataclass(frozen=True)
class Segment:
    """A named set of tokens of one text, by their positions in it."""

    name: str
    kind: SegmentKind
    text: str
    tokens: tuple[int, ...]


def segment_map(
    segment: Segment,
    looked: NDArray[np.float32],
    blank: NDArray[np.float32],
    layers: NDArray[np.float32] | None,
    measure: Faithfulness | None,
    before: int = 0,
) -> AttentionMap:
    """Average a segment's tokens (equation 2 of Zhao, Jin and Zhou, after its mean over layers and heads).

    Args:
        segment: which tokens.
        looked: float32[tokens, rows, cols], each token's attention to the picture.
        blank: the same for a blank picture.
        layers: float32[layers, tokens, rows, cols], where each layer's map is wanted.
        measure: measures the map, where that is wanted.
        before: tokens that stand before the text in what `measure` reads.
    """
    tokens = list(segment.tokens)
    weights, baseline = (grids[tokens].mean(0, dtype=np.float64) for grids in (looked, blank))
    return AttentionMap(
        segment.name,
        segment.kind,
        segment.text,
        weights.astype(np.float32),
        baseline.astype(np.float32),
        layers=None if layers is None else layers[:, tokens].mean(1, dtype=np.float64).astype(np.float32),
        faithfulness=measure.of(weights, [before + token for token in tokens]) if measure else None,
    )
