"""The nearest tunes of the index, by description and by picture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.requestresponse import NoOpsRepeater
from apache_beam.metrics import Metrics
from apache_beam.transforms.enrichment import Enrichment, EnrichmentSourceHandler
from numpy.typing import NDArray

from image2music.failures import batch_with_fallback, failure_from
from image2music.index.table import TuneIndex
from image2music.loop.recall import on_trial
from image2music.types import Failure, Reference, RetrievedContext
from transforms.stage import NAMESPACE, TIME, StageOutputs, split_failures

_STAGE = "retrieve"


@dataclass(frozen=True)
class Found:
    """References for one picture, or why there are none, and its share of the seconds that its batch took."""

    answer: tuple[Reference, ...] | Exception
    seconds: float


class TuneSearch(EnrichmentSourceHandler[list[RetrievedContext], list[tuple[RetrievedContext, Found]]]):
    """The tune index as a source of Beam's `Enrichment`: top_k tunes of either search for a batch of pictures."""

    use_custom_types = True

    def __init__(self, index: TuneIndex, top_k: int, batch_size: int, *, tried: bool = True) -> None:
        self._index = index
        self._top_k = top_k
        self._batch_size = batch_size
        self._tried = tried
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
        found = self._index.references([_pair(context) for context in batch], self._top_k)
        if not self._tried:
            return found
        scenes = [context.described.description.scene for context in batch]
        return [on_trial(references, scene) for references, scene in zip(found, scenes, strict=True)]


class RetrieveTunes(beam.PTransform):
    """Pictures with their embeddings to pictures with references: Beam's `Enrichment` from the tune index.

    The table is a file, not a service: nothing is tried again, slowed down or given up after a time. With `tried`
    references that do not suit the scene are left out, as everywhere but in the paper's chain.
    """

    def __init__(self, index: TuneIndex, top_k: int, batch_size: int, *, tried: bool = True) -> None:
        super().__init__()
        self._search = TuneSearch(index, top_k, batch_size, tried=tried)

    def expand(self, contexts: beam.PCollection) -> StageOutputs:
        """Search batch by batch."""
        enriched = contexts | Enrichment(self._search, timeout=None, repeater=NoOpsRepeater(), throttler=None)
        return split_failures(enriched, _STAGE)


def _pair(context: RetrievedContext) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return context.description_embedding, context.image_embedding
