"""Attention maps: their cells, equation 2 for the parts of a tune and its motivation, and whether one is faithful.

Each image token stands for a part of the original picture, by model family, and is painted on the grid of the map.

Does a map show what mattered? Cells of the picture are blurred in the map's order, and the tune's likelihood falls.
Deletion: from the sharp picture, the first cells of the order are blurred. Insertion: from the blurred picture, the
first cells are made sharp. A map is faithful where its order moves the likelihood of the fixed text sooner than cells
in random order and cells from the centre outwards, for photographs have their subject there. Source: Petsiuk, Das and
Saenko 2018 (RISE), with the text's likelihood in place of a class score.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from image2music.errors import ModelError
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


def relative_weights(weights: NDArray[np.float64], baseline: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights as multiples of a blank picture's; 1 where the blank picture drew no attention.

    Some patches draw attention whatever they show; the division leaves what the picture itself did.
    """
    return np.divide(weights, baseline, out=np.ones_like(weights), where=baseline > 0)


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


Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares of the picture's width and height."""
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

MOST_CELLS = 48
"""Most rows and most columns of a grid."""
_NOWHERE: Box = (math.nan,) * 4
_TILE = re.compile(r"<row_(\d+)_col_(\d+)>")


@dataclass(frozen=True, eq=False)
class Tokenised:
    """A picture as the processor tokenised it, with the processor's output for one prompt."""

    config: Any
    processor: Any
    inputs: Mapping[str, Any]
    width: int
    height: int
    image_tokens: int


def image_token_boxes(seen: Tokenised) -> NDArray[np.float64]:
    """Return float64[image tokens, 4], the box of each image token in order; NaN for one that stands for no place.

    Raises:
        ModelError: the family is not known (`unknown_boxes`), or its boxes do not match the number of tokens.
    """
    family = seen.config.model_type
    refuse_unknown_family(family)
    boxes = np.array(_FAMILIES[family](seen), dtype=np.float64).reshape(-1, 4)
    if len(boxes) != seen.image_tokens:
        message = (
            f"{family} has {seen.image_tokens} image tokens where {len(boxes)} are expected: attention is left out"
        )
        raise ModelError(message, reason="unknown_boxes")
    return boxes


def refuse_unknown_family(family: str) -> None:
    """Refuse a family of models whose image tokens have no known place in the picture.

    Raises:
        ModelError: the family is not known (`unknown_boxes`).
    """
    if family not in _FAMILIES:
        message = f"where the image tokens of {family} lie is not known: its attention cannot be drawn"
        raise ModelError(message, reason="unknown_boxes")


def grid_of(boxes: NDArray[np.float64]) -> tuple[int, int]:
    """Return rows and columns of the finest boxes, at most `MOST_CELLS` each."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    cols, rows = np.rint(1 / np.nanmin(sizes, axis=0)).astype(int).clip(1, MOST_CELLS)
    return int(rows), int(cols)


def paint(weights: NDArray[np.float32], boxes: NDArray[np.float64], rows: int, cols: int) -> NDArray[np.float32]:
    """Spread float32[..., image tokens] over a grid, float32[..., rows, cols].

    The weight of a token is spread evenly over its box, so the sum over the cells is that of the tokens inside the
    picture; tokens without a place are left out.
    """
    placed = ~np.isnan(boxes[:, 0])
    down = _shares(boxes[placed][:, [1, 3]], rows)
    across = _shares(boxes[placed][:, [0, 2]], cols)
    cells = (down[:, :, None] * across[:, None, :]).reshape(int(placed.sum()), rows * cols).astype(np.float32)
    painted: NDArray[np.float32] = (weights[..., placed] @ cells).reshape(*weights.shape[:-1], rows, cols)
    return painted


def _shares(sides: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Return float64[boxes, cells].

    How much of each side, from low to high, lies in each of the equal cells of 0 to 1.
    """
    edges = np.arange(cells + 1) / cells
    low, high = sides[:, :1], sides[:, 1:]
    inside = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    return inside.clip(0) / (high - low)


def _cells(rows: int, cols: int, box: Box = WHOLE) -> list[Box]:
    """Cut a box into rows by cols, row by row."""
    left, top, right, bottom = box
    width, height = (right - left) / cols, (bottom - top) / rows
    return [
        (left + col * width, top + row * height, left + (col + 1) * width, top + (row + 1) * height)
        for row, col in product(range(rows), range(cols))
    ]


def _tiles(rows: int, cols: int, side: int) -> list[Box]:
    """Cut the picture into rows by cols tiles, each of side by side tokens."""
    return [box for tile in _cells(rows, cols) for box in _cells(side, side, tile)]


def _qwen(seen: Tokenised) -> list[Box]:
    merge = seen.config.vision_config.spatial_merge_size
    _, height, width = seen.inputs["image_grid_thw"][0].tolist()
    return _cells(height // merge, width // merge)


def _square(seen: Tokenised) -> list[Box]:
    side = math.isqrt(seen.image_tokens)
    return _cells(side, side)


def _centre_crop(seen: Tokenised) -> list[Box]:
    """LLaVA scales the shorter side and crops the longer one; some checkpoints do not crop."""
    side = math.isqrt(seen.image_tokens)
    if not getattr(seen.processor.image_processor, "do_center_crop", True):
        return _cells(side, side)
    shorter = min(seen.width, seen.height)
    left, top = (seen.width - shorter) / 2 / seen.width, (seen.height - shorter) / 2 / seen.height
    return _cells(side, side, (left, top, 1 - left, 1 - top))


def _marked_tiles(seen: Tokenised) -> list[Box]:
    """Idefics3 and SmolVLM name each tile in the text and end with a view of the whole."""
    tokens = seen.processor.tokenizer.convert_ids_to_tokens(seen.inputs["input_ids"][0].tolist())
    marks = [tuple(map(int, match.groups())) for token in tokens if (match := _TILE.fullmatch(token))]
    side = math.isqrt(seen.processor.image_seq_len)
    rows, cols = max((row for row, _ in marks), default=0), max((col for _, col in marks), default=0)
    tiles = _tiles(rows, cols, side) if marks else []
    return [*tiles, *_cells(side, side)]


def _internvl(seen: Tokenised) -> list[Box]:
    """Tiles of the best-fitting canvas, then a view of the whole; a single tile is the whole."""
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    images, length = seen.processor.image_processor, seen.processor.image_seq_length
    side = math.isqrt(length)
    if seen.image_tokens == length:
        return _cells(side, side)
    size = (images.size["height"], images.size["width"])
    cols, rows = get_optimal_tiled_canvas((seen.height, seen.width), size, images.min_patches, images.max_patches)
    return [*_tiles(rows, cols, side), *_cells(side, side)]


def _llava_onevision(seen: Tokenised) -> list[Box]:
    """A view of the whole, then the tiles joined, without their padding, each row closed by a newline token."""
    from transformers.models.llava_onevision.modeling_llava_onevision import get_anyres_image_grid_shape

    vision = seen.config.vision_config
    side = vision.image_size // vision.patch_size
    size = seen.inputs["image_sizes"][0].tolist()
    tile_rows, tile_cols = get_anyres_image_grid_shape(size, seen.config.image_grid_pinpoints, vision.image_size)
    rows, cols = _without_padding(tile_rows * side, tile_cols * side, seen.width, seen.height)
    most = int(seen.config.vision_aspect_ratio.removeprefix("anyres_max_"))
    ratio = math.sqrt(rows * cols / (most * side * side))
    if ratio > 1.1:
        rows, cols = int(rows // ratio), int(cols // ratio)
    tiled = _cells(rows, cols)
    joined = [box for row in range(rows) for box in (*tiled[row * cols : (row + 1) * cols], _NOWHERE)]
    return [*_cells(side, side), *joined]


def _without_padding(rows: int, cols: int, width: int, height: int) -> tuple[int, int]:
    if width / height > cols / rows:
        return rows - 2 * ((rows - int(round(height * (cols / width), 7))) // 2), cols
    return rows, cols - 2 * ((cols - int(round(width * (rows / height), 7))) // 2)


_FAMILIES: dict[str, Callable[[Tokenised], list[Box]]] = {
    "qwen2_vl": _qwen,
    "qwen2_5_vl": _qwen,
    "qwen3_vl": _qwen,
    "smolvlm": _marked_tiles,
    "idefics3": _marked_tiles,
    "internvl": _internvl,
    "gemma3": _square,
    "llava": _centre_crop,
    "llava_onevision": _llava_onevision,
}
