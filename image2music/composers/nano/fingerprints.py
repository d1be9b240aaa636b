"""Every run of 17 notes in the training tunes, as 32-bit fingerprints, so that nano can tell when it copies.

Fingerprints collide once in about ten thousand runs; a collision costs one needless resampling, never a missed copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.melody import Melody
from image2music.composers.nano.neighbours import RUN_NOTES, intervals

FINGERPRINTS_FILE = "training_runs.npy"


@dataclass(frozen=True)
class TrainingRuns:
    """Sorted fingerprints, uint32[n]."""

    sorted_runs: NDArray[np.uint32]

    @classmethod
    def load(cls, folder: Path) -> TrainingRuns:
        """Read the file beside the weights."""
        return cls(np.load(folder / FINGERPRINTS_FILE))

    @classmethod
    def of(cls, melodies: Sequence[Melody]) -> TrainingRuns:
        """All runs of some melodies."""
        return cls(np.unique(np.concatenate([runs(melody) for melody in melodies])))

    def save(self, folder: Path) -> None:
        """Write the file beside the weights."""
        np.save(folder / FINGERPRINTS_FILE, self.sorted_runs)

    def shared_with(self, melody: Melody) -> int:
        """How many of a melody's runs also stand in a training tune."""
        found = runs(melody)
        places = np.searchsorted(self.sorted_runs, found)
        inside = places < len(self.sorted_runs)
        return int((self.sorted_runs[places[inside]] == found[inside]).sum())


def runs(melody: Melody) -> NDArray[np.uint32]:
    """Fingerprint of each run of 17 notes: 16 steps of interval and length, in unit notes."""
    steps = intervals(melody)
    size = RUN_NOTES - 1
    texts = (repr(steps[at : at + size]).encode() for at in range(len(steps) - size + 1))
    digests = [int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little") for text in texts]
    return np.array(digests, np.uint32)
