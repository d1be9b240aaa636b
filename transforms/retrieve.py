"""Embeddings of captions, pictures and what is looked for, and the tunes of the index that suit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.requestresponse import NoOpsRepeater
from apache_beam.metrics import Metrics
from apache_beam.ml.rag.types import Content, EmbeddableItem, Embedding
from apache_beam.transforms.enrichment import Enrichment, EnrichmentSourceHandler
from numpy.typing import NDArray

from image2music.embedders import base
from image2music.embedders.base import Embedder, vector_of
from image2music.failures import batch_with_fallback, failure_from, map_catching
from image2music.index.table import TuneIndex
from image2music.loop.recall import query_text, recall
from image2music.rows import Row, tune_row
from image2music.types import CaptionedTune, DescribedImage, Failure, Reference, RetrievedContext
from transforms.stage import NAMESPACE, TIME, StageHandler, StageOutputs, split_failures


class EmbedPictures(StageHandler[DescribedImage, RetrievedContext, Embedder]):
    """A described picture to its two embeddings; references are still to come.

    With `suited` the text is what is seen and the music that suits it (`loop.recall.query_text`), as everywhere but in
    the paper's chain; there it is the description.
    """

    stage = "embed"

    def __init__(self, embedder_spec: str, batch_size: int, *, suited: bool = True) -> None:
        super().__init__(batch_size)
        self._spec = embedder_spec
        self._suited = suited

    def load_model(self) -> Embedder:
        """Return the embedder, loaded once a process."""
        return base.load_embedder(self._spec)

    def place(self, element: DescribedImage) -> tuple[str, str]:
        """Return image_id and URI, for failures."""
        return element.ref.image_id, element.ref.uri

    def work(self, batch: Sequence[DescribedImage], model: Embedder) -> list[RetrievedContext | Exception]:
        """Embed the texts in one call, the pictures in another."""
        texts = batch_with_fallback(model.embed_texts, [self._text(described) for described in batch])
        images = batch_with_fallback(model.embed_images, [described.image for described in batch])
        results: list[RetrievedContext | Exception] = []
        for described, text, image in zip(batch, texts, images, strict=True):
            if isinstance(text, Exception) or isinstance(image, Exception):
                results.append(text if isinstance(text, Exception) else image)
                continue
            results.append(RetrievedContext(described, image_embedding=image, description_embedding=text))
        return results

    def _text(self, described: DescribedImage) -> str:
        text, scene = described.description.text, described.description.scene
        return query_text(text, scene, described.ref.brief.hint) if self._suited else text


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


_STAGE = "retrieve"


@dataclass(frozen=True)
class Found:
    """References for one picture, or why there are none, and its share of the seconds that its batch took."""

    answer: tuple[Reference, ...] | Exception
    seconds: float


class TuneSearch(EnrichmentSourceHandler[list[RetrievedContext], list[tuple[RetrievedContext, Found]]]):
    """The tune index as a source of Beam's `Enrichment`: the tunes that suit each picture of a batch.

    In the paper's chain: top_k tunes of either search.
    """

    use_custom_types = True

    def __init__(self, index: TuneIndex, top_k: int, batch_size: int, *, suited: bool = True) -> None:
        self._index = index
        self._top_k = top_k
        self._batch_size = batch_size
        self._suited = suited
        # A search runs in a thread of its own, where Beam's metrics are lost: `join_fn` keeps the time.
        self._times = Metrics.distribution(f"{NAMESPACE}.{_STAGE}", TIME)

    def __enter__(self) -> TuneSearch:
        """Open the index at the version that the run started with, once a process."""
        self._index.dataset()
        return self

    def __call__(
        self, request: list[RetrievedContext], *args: Any, **kwargs: Any
    ) -> list[tuple[RetrievedContext, Found]]:
        """Search once for the whole batch; similarities are computed pair by pair, whatever else is in it."""
        start = time.perf_counter()
        answers = batch_with_fallback(self._references, request)
        share = (time.perf_counter() - start) / len(request)
        return [(context, Found(answer, share)) for context, answer in zip(request, answers, strict=True)]

    def batch_elements_kwargs(self) -> dict[str, int]:
        """Return the arguments of beam.BatchElements."""
        return {"min_batch_size": self._batch_size, "max_batch_size": self._batch_size}

    def join_fn(self, context: RetrievedContext, found: Found) -> RetrievedContext | Failure:
        """Return the picture with its references, or its failure."""
        self._times.update(int(found.seconds * 1e6))
        if isinstance(found.answer, Exception):
            ref = context.described.ref
            return failure_from(found.answer, stage=_STAGE, id=ref.image_id, uri=ref.uri)
        return replace(context, references=found.answer, seconds=context.seconds + found.seconds)

    def _references(self, batch: Sequence[RetrievedContext]) -> list[tuple[Reference, ...]]:
        pairs = [_pair(context) for context in batch]
        if not self._suited:
            return self._index.references(pairs, self._top_k)
        return recall(self._index, pairs, [context.described.description.scene for context in batch], self._top_k)


class RetrieveTunes(beam.PTransform):
    """Pictures with their embeddings to pictures with references: Beam's `Enrichment` from the tune index.

    The table is a file, not a service: nothing is tried again, slowed down or given up after a time. With `suited`
    they are those that suit the scene, as everywhere but in the paper's chain.
    """

    def __init__(self, index: TuneIndex, top_k: int, batch_size: int, *, suited: bool = True) -> None:
        super().__init__()
        self._search = TuneSearch(index, top_k, batch_size, suited=suited)

    def expand(self, contexts: beam.PCollection) -> StageOutputs:
        """Search batch by batch."""
        enriched = contexts | Enrichment(self._search, timeout=None, repeater=NoOpsRepeater(), throttler=None)
        return split_failures(enriched, _STAGE)


def _pair(context: RetrievedContext) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return context.description_embedding, context.image_embedding
