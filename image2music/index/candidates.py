"""What may become a reference: rows near to a picture or its description, and how near the index is to these anyway.

Only columns that tell whether a tune suits are read of many candidates; the music is read of those that were chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from image2music.index.search import Near, matched_by, rows_by_id
from image2music.music.metrics import Metrics
from image2music.types import Reference

T = TypeVar("T", float, NDArray[np.float64])


@dataclass(frozen=True)
class Candidate:
    """A row that may become a reference: what tells whether it suits, and not yet its music.

    `row` is its `_rowid`. Similarities are cosines; None where that search missed it. `mood` and `genre` are the data
    set's words.
    """

    row: int
    tune_id: str
    caption: str
    key: str
    tempo_qpm: float
    mood: tuple[str, ...]
    genre: tuple[str, ...]
    similarity_text: float | None
    similarity_image: float | None


@dataclass(frozen=True)
class Background:
    """How near the tunes of an index are to a query, near or not: mean and standard deviation of a sample's cosines."""

    mean: float
    spread: float

    def above(self, similarity: T) -> T:
        """Return by how many standard deviations a cosine, or each of many, lies above the mean."""
        return (similarity - self.mean) / max(self.spread, _LEAST_SPREAD)


@dataclass(frozen=True)
class Candidates:
    """What two searches found for one picture, in no order that counts, and the background of either.

    Without a background (None) the index is too small to tell near from far. `rows` is the size of its sample.
    """

    found: tuple[Candidate, ...]
    text: Background | None
    image: Background | None
    rows: int


_SAMPLE, _FEWEST = 1024, 16
_LEAST_SPREAD = 1e-3
_TRAIT_COLUMNS = ["caption", "key", "tempo_qpm", "mood", "genre"]
_READ_COLUMNS = ["row_hash", "location", "abc", "metrics"]


def sample_of(dataset: Any) -> NDArray[np.float64]:
    """Return the vectors float64[about 1024, dim] of the rows with the least tune_id, all where there are no more.

    Ids are digests, so these are any rows, and the same ones however the rows are stored.
    """
    rows = dataset.count_rows()
    chosen = f"tune_id < '{16**8 * _SAMPLE // rows:08x}'" if rows > _SAMPLE else None
    table = dataset.to_table(columns=["vector"], filter=chosen)
    values = np.asarray(table["vector"].combine_chunks().values, dtype=np.float64)
    return values.reshape(len(table), -1)


def background_of(sample: NDArray[np.float64], query: NDArray[np.float32]) -> Background | None:
    """Return the background of a query; None for a sample of fewer than 16 rows."""
    if len(sample) < _FEWEST:
        return None
    cosines = sample @ query.astype(np.float64)
    return Background(float(cosines.mean()), float(cosines.std()))


def candidates_of(
    dataset: Any, sample: NDArray[np.float64], queries: NDArray[np.float32], found: Sequence[Sequence[Near]]
) -> list[Candidates]:
    """Return the candidates of each pair of queries: every music that either search found.

    Where the searches found different copies of one music, the copy with the better rank stands for it, on a tie that
    of the description. Columns are read once for all pairs.
    """
    table = rows_by_id(dataset, {near.row for rows in found for near in rows}, _TRAIT_COLUMNS)
    traits = {row["_rowid"]: row for row in table.to_pylist()}
    return [
        Candidates(
            tuple(_candidate(traits, texts.get(key), images.get(key)) for key in texts | images),
            background_of(sample, text),
            background_of(sample, image),
            len(sample),
        )
        for text, image, texts, images in zip(
            queries[::2], queries[1::2], map(_by_music, found[::2]), map(_by_music, found[1::2]), strict=True
        )
    ]


def _by_music(rows: Sequence[Near]) -> dict[str, tuple[int, Near]]:
    return {near.music_id: (rank, near) for rank, near in enumerate(rows)}


def _candidate(
    traits: dict[int, dict[str, Any]], text: tuple[int, Near] | None, image: tuple[int, Near] | None
) -> Candidate:
    _, near = min((found for found in (text, image) if found), key=lambda found: found[0])
    row = traits[near.row]
    return Candidate(
        row=near.row,
        tune_id=near.tune_id,
        caption=row["caption"],
        key=row["key"],
        tempo_qpm=row["tempo_qpm"],
        mood=tuple(row["mood"] or ()),
        genre=tuple(row["genre"] or ()),
        similarity_text=-text[1].distance if text else None,
        similarity_image=-image[1].distance if image else None,
    )


def read_references(dataset: Any, chosen: Sequence[Sequence[Candidate]]) -> list[tuple[Reference, ...]]:
    """Read the music of the candidates that were chosen, once for all pictures, in the order given."""
    table = rows_by_id(dataset, {one.row for some in chosen for one in some}, _READ_COLUMNS)
    rows = {row.pop("_rowid"): row | {"metrics": Metrics(**row["metrics"])} for row in table.to_pylist()}
    return [tuple(_recalled(one, rows[one.row]) for one in some) for some in chosen]


def _recalled(one: Candidate, row: dict[str, Any]) -> Reference:
    return Reference(
        tune_id=one.tune_id,
        caption=one.caption,
        similarity_text=one.similarity_text,
        similarity_image=one.similarity_image,
        matched_by=matched_by(one.similarity_text is not None, one.similarity_image is not None),
        **row,
    )
