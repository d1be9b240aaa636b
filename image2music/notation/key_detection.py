"""The key of a piece that does not name one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


def _standardised(profile: FloatArray) -> FloatArray:
    return (profile - profile.mean()) / profile.std()


_TONIC = np.arange(24) % 12
_PROFILES = np.stack([np.roll(_standardised(p), t) for p in (_MAJOR, _MINOR) for t in range(12)])


def detect_key(weights: FloatArray) -> tuple[int, bool]:
    """Signature and mode from how long each pitch class sounds.

    Args:
        weights: float64[12], any unit.

    Returns:
        `(sharps, minor)`, sharps -5 to 6; `(0, False)` where nothing sounds.
    """
    if not weights.any():
        return 0, False
    best = int((_PROFILES @ weights).argmax())
    minor = best >= 12
    fifths = (int(_TONIC[best]) + (3 if minor else 0)) * 7 % 12
    return (fifths if fifths <= 6 else fifths - 12), minor
