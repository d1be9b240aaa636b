"""The nearest tunes of the index, by description and by picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from image2music.asking import ask
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
        """One search for the whole batch; similarities are computed pair by pair, whatever else is in it."""
        answers = ask(lambda part: model.references([_pair(context) for context in part], self._top_k), batch)
        return [
            answer if isinstance(answer, Exception) else replace(context, references=answer)
            for context, answer in zip(batch, answers, strict=True)
        ]


def _pair(context: RetrievedContext) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return context.description_embedding, context.image_embedding
