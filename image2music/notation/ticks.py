"""Sets of grid ticks as sorted arrays. numpy's own set functions hash first, which costs more than short arrays do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from image2music.notation.score import IntArray


def distinct(ticks: IntArray) -> IntArray:
    """Each tick once, ascending."""
    ordered = np.sort(ticks)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def among(ticks: IntArray, known: IntArray) -> NDArray[np.bool_]:
    """Which of the ticks stand in `known`, which ascends; bool[n]."""
    if not len(known):
        return np.zeros(len(ticks), dtype=np.bool_)
    places = np.minimum(np.searchsorted(known, ticks), len(known) - 1)
    found: NDArray[np.bool_] = known[places] == ticks
    return found
