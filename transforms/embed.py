"""Embeddings of captions, of pictures and of what the composer says about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from apache_beam.ml.rag.types import Content, EmbeddableItem, Embedding
from numpy.typing import NDArray

from image2music.embedders import base
from image2music.embedders.base import Embedder, vector_of
from image2music.failures import batch_with_fallback, map_catching
from image2music.rows import Row, tune_row
from image2music.types import CaptionedTune, DescribedImage, RetrievedContext
from transforms.stage import StageHandler


class EmbedPictures(StageHandler[DescribedImage, RetrievedContext, Embedder]):
    """A described picture to its two embeddings; references are still to come."""

    stage = "embed"

    def __init__(self, embedder_spec: str, batch_size: int) -> None:
        super().__init__(batch_size)
        self._spec = embedder_spec

    def load_model(self) -> Embedder:
        """Return the embedder, loaded once a process."""
        return base.load_embedder(self._spec)

    def place(self, element: DescribedImage) -> tuple[str, str]:
        """Return image_id and URI, for failures."""
        return element.ref.image_id, element.ref.uri

    def work(self, batch: Sequence[DescribedImage], model: Embedder) -> list[RetrievedContext | Exception]:
        """Embed the texts in one call, the pictures in another."""
        texts = batch_with_fallback(model.embed_texts, [described.description.text for described in batch])
        images = batch_with_fallback(model.embed_images, [described.image for described in batch])
        results: list[RetrievedContext | Exception] = []
        for described, text, image in zip(batch, texts, images, strict=True):
            if isinstance(text, Exception) or isinstance(image, Exception):
                results.append(text if isinstance(text, Exception) else image)
                continue
            results.append(RetrievedContext(described, image_embedding=image, description_embedding=text))
        return results


class EmbedCaptions(StageHandler[CaptionedTune, EmbeddableItem, Embedder]):
    """A tune to its row of the index, as an item that Beam's vector sinks take."""

    stage = "embed"

    def __init__(self, embedder_spec: str, batch_size: int) -> None:
        super().__init__(batch_size)
        self._spec = embedder_spec

    def load_model(self) -> Embedder:
        """Return the embedder, loaded once a process."""
        return base.load_embedder(self._spec)

    def place(self, element: CaptionedTune) -> tuple[str, str]:
        """Return tune_id and location, for failures."""
        return element.tune_id, element.source.location

    def work(self, batch: Sequence[CaptionedTune], model: Embedder) -> list[EmbeddableItem | Exception]:
        """Embed all captions in one call, all pictures in another."""
        captions = iter(
            batch_with_fallback(model.embed_texts, [tune.source.caption for tune in batch if tune.source.caption])
        )
        pictures = iter(batch_with_fallback(model.embed_images, [tune.picture for tune in batch if tune.picture]))
        given = [(next(captions) if t.source.caption else None, next(pictures) if t.picture else None) for t in batch]
        vectors = map_catching(_vector, given)
        return [
            vector if isinstance(vector, Exception) else _item(tune_row(tune, vector, model.id))
            for tune, vector in zip(batch, vectors, strict=True)
        ]


Answer = NDArray[np.float32] | Exception | None


def _vector(given: tuple[Answer, Answer]) -> NDArray[np.float32]:
    caption, picture = given
    if isinstance(caption, Exception):
        raise caption
    if isinstance(picture, Exception):
        raise picture
    return vector_of(caption, picture)


def _item(row: Row) -> EmbeddableItem:
    """Return the item of a row.

    Every column but the vector is metadata; the id is that of the content, where Beam would take a random one.
    """
    embedding = Embedding(dense_embedding=row.pop("vector"))
    content = Content(text=row["caption"] or None, image=row["image"])
    return EmbeddableItem(content, id=row["tune_id"], metadata=row, embedding=embedding)
