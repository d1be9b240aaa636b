"""The parts of a tune and of its motivation that get a map of their own, and equation 2 for one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from image2music.composers.base import AttentionMap, SegmentKind
from image2music.composers.faithfulness import Faithfulness

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
    """The mean over a segment's tokens (equation 2 of Zhao, Jin and Zhou, after its mean over layers and heads).

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
