"""The nearest tunes of the index, by description and by picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from image2music.asking import each
from image2music.stages import RetrievedContext
from image2music.tune_index import TuneIndex
from transforms.stage import StageHandler


class RetrieveTunes(StageHandler[RetrievedContext, RetrievedContext, TuneIndex]):
    """top_k tunes of either search, merged by rank."""

    stage = "retrieve"

    def __init__(self, index: TuneIndex, top_k: int, batch_size: int) -> None:
        super().__init__(batch_size)
        self._index = index
        self._top_k = top_k

    def load_model(self) -> TuneIndex:
        """The index at the version that the run started with."""
        return self._index

    def place(self, element: RetrievedContext) -> tuple[str, str]:
        """Where the picture is."""
        return element.described.ref.image_id, element.described.ref.uri

    def work(self, batch: Sequence[RetrievedContext], model: TuneIndex) -> list[RetrievedContext | Exception]:
        """Search for each picture on its own: the answer must not depend on the batch."""
        return each(lambda context: self._retrieve(context, model), batch)

    def _retrieve(self, context: RetrievedContext, index: TuneIndex) -> RetrievedContext:
        found = index.references(context.description_embedding, context.image_embedding, self._top_k)
        return replace(context, references=found)
