"""What stands for a tune in the index: its caption, a picture, or both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from image2music.errors import ModelError

_NOTHING = 1e-6


def vector_of(caption: NDArray[np.float32] | None, picture: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """The unit vector float32[dim] of a row that has at least one of the two: their mean, scaled to unit length.

    Raises:
        ModelError: the two point in opposite directions (`no_direction`).
    """
    given = [np.asarray(vector, dtype=np.float64) for vector in (caption, picture) if vector is not None]
    if len(given) == 1:
        return given[0].astype(np.float32)
    mean = np.mean(given, axis=0)
    length = float(np.linalg.norm(mean))
    if length < _NOTHING:
        raise ModelError("caption and picture point in opposite directions; leave one away", reason="no_direction")
    return (mean / length).astype(np.float32)
