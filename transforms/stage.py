"""What every stage shares: batches for models, times, counters, and failures as an output of their own.

An element that is put off (`PutOffError`) is neither done nor failed: it is counted and goes no further, and a later
run, or a later pass of this one, finds that it has no row yet.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, RunInference

from image2music.errors import ModelError, PutOffError
from image2music.failures import failure_from
from image2music.types import Failure
from transforms.deadlines import NO_LIMIT, TimeLimit

Element = TypeVar("Element")
Result = TypeVar("Result")
Model = TypeVar("Model")

NAMESPACE = "image2music"
"""Namespace of every counter and time that run.json reports."""

TIME = "inference_batch_latency_micro_secs"
"""RunInference's name for the time of a batch; stages without a model use it too, so that there is one to read."""

REASON = "reason."
"""Before a failure's reason in the name of its counter."""

PUT_OFF = "put_off"
"""Behind a stage's name, the counter of elements that it put off; before a reason, that of all stages."""
_FAILED = "failed"
_DONE = "done"


@dataclass(frozen=True)
class _PutOff:
    """What a stage gives for an element that waits."""

    reason: str


class StageHandler(ModelHandler[Element, Result | Failure | _PutOff, Model], ABC, Generic[Element, Result, Model]):
    """A model handler whose `work` returns a result or an exception for each element.

    `RunInference.with_exception_handling` would give up the whole batch for one bad element.
    """

    stage: str
    limit: TimeLimit = NO_LIMIT

    def __init__(self, batch_size: int) -> None:
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)

    @abstractmethod
    def work(self, batch: Sequence[Element], model: Model) -> list[Result | Exception]:
        """Return one result or exception for each element, in order."""

    @abstractmethod
    def place(self, element: Element) -> tuple[str, str]:
        """Return (id, uri) of an element, for its failure."""

    def run_inference(
        self, batch: Sequence[Element], model: Model, inference_args: dict[str, Any] | None = None
    ) -> list[Result | Failure | _PutOff]:
        """Run a batch for RunInference. A result with a field `seconds` gets its share of the batch's time added."""
        start = time.perf_counter()
        results = self._work_in_time(batch, model)
        share = (time.perf_counter() - start) / len(batch)
        return [self._settle(element, result, share) for element, result in zip(batch, results, strict=True)]

    def _work_in_time(self, batch: Sequence[Element], model: Model) -> list[Result | Exception]:
        """Run a batch; one that takes too long or raises is done one by one, and only what does so alone is lost."""
        ids = [self.place(element)[0] for element in batch]
        if len(batch) == 1 or not any(self.limit.goes_alone(self.stage, id) for id in ids):
            try:
                return self.limit.run(lambda: self._checked(batch, model), self.stage, ids)
            except Exception as error:  # any: whatever an element breaks is its own failure, never the job's
                if len(batch) == 1:
                    return [error]
        return [self._work_in_time([element], model)[0] for element in batch]

    def _checked(self, batch: Sequence[Element], model: Model) -> list[Result | Exception]:
        results = self.work(batch, model)
        if len(results) != len(batch):
            message = f"the stage {self.stage} gave {len(results)} results for {len(batch)} elements"
            raise ModelError(message, reason="wrong_number_of_results")
        return results

    def _settle(self, element: Element, result: Result | Exception, share: float) -> Result | Failure | _PutOff:
        if isinstance(result, PutOffError):
            return _PutOff(result.reason)
        if isinstance(result, Exception):
            id, uri = self.place(element)
            return failure_from(result, stage=self.stage, id=id, uri=uri)
        if hasattr(result, "seconds"):
            return replace(result, seconds=getattr(element, "seconds", 0.0) + share)  # type: ignore[type-var]
        return result

    def get_num_bytes(self, batch: Sequence[Element]) -> int:
        """Return 0, for the default pickles every batch, pixels and all."""
        return 0

    def get_metrics_namespace(self) -> str:
        """Return the stage's own namespace, so that RunInference's times can be told apart."""
        return f"{NAMESPACE}.{self.stage}"


class Stopwatch:
    """Timer of a stage that runs no model: `with Stopwatch("convert"): ...`. Reusable, one element after the other."""

    def __init__(self, stage: str) -> None:
        self._times = Metrics.distribution(f"{NAMESPACE}.{stage}", TIME)

    def __enter__(self) -> None:
        self._start = time.perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        self._times.update((time.perf_counter_ns() - self._start) // 1000)


class _PartFailures(beam.DoFn):
    """Send failures to their own output, drop what is put off, and count all three."""

    def __init__(self, stage: str) -> None:
        self._counters = {kind: Metrics.counter(NAMESPACE, f"{stage}.{kind}") for kind in (_DONE, _FAILED, PUT_OFF)}

    def process(self, element: object) -> Iterator[object]:
        if isinstance(element, _PutOff):
            Metrics.counter(NAMESPACE, f"{PUT_OFF}.{element.reason}").inc()
            self._counters[PUT_OFF].inc()
            return
        failed = isinstance(element, Failure)
        if isinstance(element, Failure):
            Metrics.counter(NAMESPACE, f"{REASON}{element.reason}").inc()
        self._counters[_FAILED if failed else _DONE].inc()
        yield beam.pvalue.TaggedOutput(_FAILED, element) if failed else element


@dataclass(frozen=True)
class StageOutputs:
    """The two outputs of a stage."""

    done: beam.PCollection
    failed: beam.PCollection


def split_failures(results: beam.PCollection, stage: str) -> StageOutputs:
    """Split results from failures and count both."""
    both = results | f"Part{stage.title()}" >> beam.ParDo(_PartFailures(stage)).with_outputs(_FAILED, main=_DONE)
    return StageOutputs(done=both[_DONE], failed=both[_FAILED])


class Stage(beam.PTransform):
    """Run elements through a handler, in batches; the outputs are `.done` and `.failed`."""

    def __init__(self, handler: StageHandler[Any, Any, Any], limit: TimeLimit = NO_LIMIT) -> None:
        super().__init__()
        self._handler = copy(handler)
        self._handler.limit = limit

    def expand(self, elements: beam.PCollection) -> StageOutputs:
        """Run the handler, then part its results."""
        return split_failures(elements | RunInference(self._handler), self._handler.stage)
