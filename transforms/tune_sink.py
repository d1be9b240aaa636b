"""Rows to the tune index: many workers write, one step commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from image2music.rows import Row
from image2music.tune_index import commit, write_fragments
from transforms.ticker import Ticker

ROWS_PER_FRAGMENT = 4096
"""About 50 MB of ABC and vectors: few files for a full table, little memory in a worker."""


class _WriteFragments(beam.DoFn):
    """Rows to data files that no version of the table names yet; a repeated bundle leaves unused files, no rows."""

    def __init__(self, uri: str, schema: pa.Schema, progress: str | None) -> None:
        self._uri = uri
        self._schema = schema
        self._progress = progress
        self._rows: list[Row] = []

    def setup(self) -> None:
        self._ticker = Ticker(self._progress)

    def start_bundle(self) -> None:
        self._rows = []

    def process(self, row: Row) -> Iterator[str]:
        self._rows.append(row)
        self._ticker.tick()
        if len(self._rows) >= ROWS_PER_FRAGMENT:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for fragment in self._flush():
            yield WindowedValue(fragment, 0, [GlobalWindow()])

    def _flush(self) -> list[str]:
        rows, self._rows = self._rows, []
        return write_fragments(self._uri, rows, self._schema) if rows else []


def _commit(_: None, fragments: Sequence[str], uri: str, schema: pa.Schema) -> Iterator[int]:
    """Without a single row the table stays as it was."""
    if fragments:
        yield commit(uri, fragments, schema)


class WriteTunes(beam.PTransform):
    """Replaces the table's rows in one commit; emits the new version."""

    def __init__(self, uri: str, schema: pa.Schema, progress: str | None = None) -> None:
        super().__init__()
        self._uri = uri
        self._schema = schema
        self._progress = progress

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Fragments from everywhere, one commit."""
        fragments = (
            rows
            | "WriteFragments" >> beam.ParDo(_WriteFragments(self._uri, self._schema, self._progress))
            | beam.Reshuffle()
        )
        once = rows.pipeline | "Once" >> beam.Create([None])
        return once | "Commit" >> beam.FlatMap(_commit, beam.pvalue.AsList(fragments), self._uri, self._schema)
