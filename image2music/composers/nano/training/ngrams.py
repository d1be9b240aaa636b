"""What training tunes share: near-duplicates, nearest tunes, and fingerprints of runs of notes that nano must not copy.

Every run of 17 notes in the training tunes has a 32-bit fingerprint. Fingerprints collide once in about ten thousand
runs; a collision costs one needless resampling, never a missed copy.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from image2music.composers.nano.melody import Melody

RUN_NOTES = 17


def melodic_intervals(melody: Melody) -> list[tuple[int, Fraction]]:
    """Return each step as (semitones, length of the note it leaves), which transposition does not change."""
    notes = melody.sounding()
    return [(b.pitch - a.pitch, a.length) for a, b in pairwise(notes)]  # type: ignore[operator]


def duplicate_groups(melodies: Sequence[Melody]) -> list[int]:
    """Return a group number a tune.

    Tunes that share a run of 17 intervals, directly or through others, share a group.
    """
    parent = list(range(len(melodies)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_owner: dict[tuple[int, ...], int] = {}
    for i, melody in enumerate(melodies):
        steps = [step for step, _ in melodic_intervals(melody)]
        for at in range(len(steps) - RUN_NOTES + 1):
            owner = first_owner.setdefault(tuple(steps[at : at + RUN_NOTES]), i)
            parent[root(i)] = root(owner)
    return [root(i) for i in range(len(melodies))]


def motif_vectors(melodies: Sequence[Melody], size: int = 4) -> csr_matrix:
    """Return unit-length TF-IDF rows over runs of `size` steps, float32[n, motifs]."""
    columns: dict[tuple[tuple[int, Fraction], ...], int] = {}
    rows: list[int] = []
    places: list[int] = []
    for i, melody in enumerate(melodies):
        steps = melodic_intervals(melody)
        for at in range(len(steps) - size + 1):
            rows.append(i)
            places.append(columns.setdefault(tuple(steps[at : at + size]), len(columns)))
    counts = csr_matrix((np.ones(len(rows), np.float32), (rows, places)), (len(melodies), len(columns)))
    document_frequency = np.bincount(counts.indices, minlength=len(columns))
    weighted = counts.multiply(np.log(len(melodies) / document_frequency)).tocsr()
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    return weighted.multiply(1 / np.maximum(norms, 1e-9)[:, None]).tocsr()


def nearest_training_tunes(
    vectors: csr_matrix, groups: Sequence[int], allowed: Sequence[bool], k: int
) -> list[list[int]]:
    """Return for each tune the `k` nearest allowed tunes of other groups, best first."""
    group = np.asarray(groups)
    open_to_all = np.asarray(allowed)
    found: list[list[int]] = []
    for start in range(0, vectors.shape[0], 256):
        block = (vectors[start : start + 256] @ vectors.T).toarray()
        block[:, ~open_to_all] = -1.0
        for offset, row in enumerate(block):
            row[group == group[start + offset]] = -1.0
            best = np.argpartition(-row, k)[:k]
            found.append(best[np.argsort(-row[best], kind="stable")].tolist())
    return found


def by_meter_and_mode(melodies: Sequence[Melody], allowed: Sequence[bool]) -> dict[tuple[str, str], list[int]]:
    """Return allowed tunes by (meter, mode), which is what a caption says of a tune."""
    shelves: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, melody in enumerate(melodies):
        if allowed[i]:
            shelves[melody.meter, melody.mode].append(i)
    return shelves


FINGERPRINTS_FILE = "training_runs.npy"


@dataclass(frozen=True)
class TrainingNgrams:
    """Sorted fingerprints, uint32[n]."""

    sorted_runs: NDArray[np.uint32]

    @classmethod
    def load(cls, folder: Path) -> TrainingNgrams:
        """Read the file beside the weights."""
        return cls(np.load(folder / FINGERPRINTS_FILE))

    @classmethod
    def of(cls, melodies: Sequence[Melody]) -> TrainingNgrams:
        """Fingerprint all runs of some melodies."""
        return cls(np.unique(np.concatenate([melody_ngrams(melody) for melody in melodies])))

    def save(self, folder: Path) -> None:
        """Write the file beside the weights."""
        np.save(folder / FINGERPRINTS_FILE, self.sorted_runs)

    def shared_with(self, melody: Melody) -> int:
        """Count the runs of a melody that also stand in a training tune."""
        found = melody_ngrams(melody)
        places = np.searchsorted(self.sorted_runs, found)
        inside = places < len(self.sorted_runs)
        return int((self.sorted_runs[places[inside]] == found[inside]).sum())


def melody_ngrams(melody: Melody) -> NDArray[np.uint32]:
    """Fingerprint each run of 17 notes: 16 steps of interval and length, in unit notes."""
    steps = melodic_intervals(melody)
    size = RUN_NOTES - 1
    texts = (repr(steps[at : at + size]).encode() for at in range(len(steps) - size + 1))
    digests = [int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little") for text in texts]
    return np.array(digests, np.uint32)
