"""Where rows and failures of every job go: Parquet shards of their schemas."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pyarrow as pa

from image2music.rows import Provenance, composition_row, failure_row, now
from pipelines import outputs
from schemas.composition import composition_schema
from schemas.failure import FAILURE_SCHEMA
from transforms.shards import WriteShards


def composition_sink(
    output: Path, dim: int, more: tuple[pa.Field, ...], provenance: Provenance, ticks: str | None
) -> beam.ParDo:
    """Finished tunes to OUTPUT/compositions; `dim` is that of the embeddings, `more` the columns of this run only."""
    return beam.ParDo(
        WriteShards(
            str(output / outputs.COMPOSITIONS),
            composition_schema(dim, more),
            lambda refined: composition_row(refined, provenance, now()),
            ("image_id",),
            progress=ticks,
        )
    )


def failure_sink(folder: str | Path, ticks: str | None = None, *, rows: int = 64) -> beam.ParDo:
    """Failures to shards of at most `rows` in a folder."""
    return beam.ParDo(
        WriteShards(
            str(folder),
            FAILURE_SCHEMA,
            lambda failure: failure_row(failure, now()),
            outputs.FAILURE_ID_COLUMNS,
            rows=rows,
            progress=ticks,
        )
    )
