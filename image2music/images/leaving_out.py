"""What would be seen without a part of the picture: the scene once more for each block of cells that is left out.

Nothing is looked at again: of the features that the classifier found, of pixels and of people those of the block are
left out of every mean and count. Whatever follows from a scene can so be traced to where in the picture it comes from
(occlusion: Zeiler and Fergus 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from image2music.images.features import CELLS, Classified, Floats, Pixels
from image2music.images.layout import layouts_without
from image2music.images.people import SURE, Frame, People
from image2music.images.scene import Reading, Scene, reading_of, see_scene

BLOCK = 2
"""Cells in a row and in a column of what is left out at once: things are seldom smaller."""
BLOCKS = CELLS - BLOCK + 1
"""Blocks in a row and in a column; they overlap."""

Masks = NDArray[np.bool_]


def block_masks() -> Masks:
    """Return bool[36, 7, 7], True in the cells of each block, row by row."""
    masks = np.zeros((BLOCKS * BLOCKS, CELLS, CELLS), np.bool_)
    for block in range(len(masks)):
        row, column = divmod(block, BLOCKS)
        masks[block, row : row + BLOCK, column : column + BLOCK] = True
    return masks


def cell_means(of_blocks: Sequence[float]) -> NDArray[np.float64]:
    """Return float64[7, 7]: for each cell the mean over the blocks that it is in."""
    masks = block_masks()
    values = np.asarray(of_blocks, np.float64)
    means: NDArray[np.float64] = (masks * values[:, None, None]).sum(axis=0) / masks.sum(axis=0)
    return means


def scenes_without(
    whole: Classified,
    middle: Classified,
    reading: Reading,
    pixels: Pixels,
    people: People | None,
    classes_of: Callable[[Floats], Floats],
) -> tuple[Scene, ...]:
    """Return the scene without each block of `block_masks`; none where the classifier kept no features.

    `whole`, `middle`, `reading`, `pixels` and `people` are those of the whole scene; `classes_of` returns the
    probabilities float32[n, 1000] for pooled features float32[n, 1280].
    """
    if whole.features is None or middle.features is None:
        return ()
    masks = block_masks()
    pooled, middles = _pooled(whole.features, ~masks), _pooled(middle.features, ~_in_middle(masks))
    classes = np.split(classes_of(np.concatenate([pooled, middles])), 2)
    return tuple(
        see_scene(
            reading_of(
                replace(whole, whole=classes[0][n], cells=_others(whole.cells, mask), pooled=pooled[n]),
                replace(middle, whole=classes[1][n], pooled=middles[n]),
                layout,
                reading.palette,
            ),
            None if people is None else _people_outside(people, mask),
        )
        for n, (mask, layout) in enumerate(zip(masks, layouts_without(pixels, masks), strict=True))
    )


def _pooled(features: Floats, kept: Masks) -> Floats:
    weights = kept.reshape(len(kept), -1).astype(np.float32)
    means: Floats = weights @ features.reshape(CELLS * CELLS, -1) / weights.sum(axis=1, keepdims=True)
    return means


def _in_middle(masks: Masks) -> Masks:
    """Return which cells of the middle, three fifths of each side, have their own middle in a block of the whole."""
    at = ((0.2 + 0.6 * (np.arange(CELLS) + 0.5) / CELLS) * CELLS).astype(int)
    return masks[:, at][:, :, at]


def _others(cells: Floats, mask: Masks) -> Floats:
    """Let left-out cells show what the others show on the whole."""
    shown = cells.copy()
    shown[mask] = cells[~mask].mean(axis=0)
    return shown


_LOST = 0.5
"""A person of whom so much is left out is gone."""


def _people_outside(people: People, mask: Masks) -> People:
    if not people.count or not people.boxes:
        return people
    lost = [_share_inside(frame, mask) for frame in people.boxes]
    boxes = tuple(frame for frame, share in zip(people.boxes, lost, strict=True) if share < _LOST)
    count = max(0, people.count - (len(people.boxes) - len(boxes)))
    confidence = round(people.confidence * (1 - sum(lost) / len(lost)), 2)
    if not count or confidence < SURE:
        return People(0, min(confidence, SURE - 0.01), 0.0, 0, ())
    return replace(people, count=count, confidence=confidence, boxes=boxes)


def _share_inside(frame: Frame, mask: Masks) -> float:
    """Return how much of a frame lies in the cells of a mask, 0 to 1."""
    rows, columns = np.nonzero(mask)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    x1, y1, x2, y2 = (CELLS * side for side in frame)
    width, height = min(x2, right) - max(x1, left), min(y2, bottom) - max(y1, top)
    area = (x2 - x1) * (y2 - y1)
    return round(float(max(0.0, width) * max(0.0, height) / area), 3) if area > 0 else 0.0
