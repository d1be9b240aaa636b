"""Two searches, one list of references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from image2music.composers.base import MatchedBy, Reference
from image2music.notation.metrics import Metrics

_RANK_OFFSET = 60


@dataclass(frozen=True)
class Hit:
    """A row of the index and its cosine to the query."""

    tune_id: str
    row_hash: str
    location: str
    caption: str
    abc: str
    metrics: Metrics
    music_id: str
    similarity: float


def merge(by_text: Sequence[Hit], by_image: Sequence[Hit]) -> tuple[Reference, ...]:
    """Every music that either search found (best hit first, each music once), best first by reciprocal rank fusion.

    Similarities of descriptions and of pictures lie on different scales, so only ranks are compared: a music scores
    the sum of 1 / (60 + rank) over the lists it is in (Cormack, Clarke, Buettcher, SIGIR 2009). On a tie the hit of
    the description comes first, then the smaller id. Where the searches found different copies of one music, the copy
    with the better rank stands for it, on a tie that of the description; each similarity is that of its own search.
    """
    texts = {hit.music_id: (rank, hit) for rank, hit in enumerate(by_text, start=1)}
    images = {hit.music_id: (rank, hit) for rank, hit in enumerate(by_image, start=1)}

    def order(music: str) -> tuple[float, bool, str]:
        found = [hits[music] for hits in (texts, images) if music in hits]
        return -sum(1 / (_RANK_OFFSET + rank) for rank, _ in found), music not in texts, found[0][1].tune_id

    return tuple(_reference(texts.get(key), images.get(key)) for key in sorted(texts.keys() | images.keys(), key=order))


def _reference(text: tuple[int, Hit] | None, image: tuple[int, Hit] | None) -> Reference:
    _, hit = min((found for found in (text, image) if found), key=lambda found: found[0])
    return Reference(
        tune_id=hit.tune_id,
        row_hash=hit.row_hash,
        location=hit.location,
        caption=hit.caption,
        abc=hit.abc,
        metrics=hit.metrics,
        similarity_text=text[1].similarity if text else None,
        similarity_image=image[1].similarity if image else None,
        matched_by=_matched_by(text is not None, image is not None),
    )


def _matched_by(text: bool, image: bool) -> MatchedBy:
    if text and image:
        return "both"
    return "text" if text else "image"
