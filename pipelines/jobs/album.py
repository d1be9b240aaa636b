"""Tunes to albums: what `compose --album` does when the last tune is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from image2music.storage import datasets
from image2music.storage.datasets import BOOKS
from pipelines.runtime.record import counters
from pipelines.runtime.running import new_pipeline, run_to_end
from schemas.album import ALBUM_SCHEMA
from transforms.album import BindAlbums
from transforms.shards import WriteShards, failure_sink

_STAGING = ".albums"


def album_pipeline(pipeline: beam.Pipeline, shards: Sequence[Path], staging: Path, failures: Path) -> None:
    """Every album of an output, bound anew."""
    bound = pipeline | "Shards" >> beam.Create([str(shard) for shard in shards]) | BindAlbums(str(staging))
    bound.done | "WriteAlbums" >> beam.ParDo(
        WriteShards(str(staging / datasets.ALBUMS), ALBUM_SCHEMA, dict, ("album",))
    )
    bound.failed | "WriteFailures" >> failure_sink(failures)


def assemble_albums(output: Path, options: PipelineOptions) -> dict[str, int]:
    """Write OUTPUT/albums and OUTPUT/books from OUTPUT/compositions; returns how many were bound or could not be.

    They take the places of earlier ones when they are whole.
    """
    staging = output / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    for name in (datasets.ALBUMS, BOOKS):
        (staging / name).mkdir(parents=True)
    datasets.forget_failures_of_stage(output / datasets.FAILURES, "bind")
    pipeline = new_pipeline(options)
    album_pipeline(pipeline, datasets.shards(output / datasets.COMPOSITIONS), staging, output / datasets.FAILURES)
    counts = counters(run_to_end(pipeline))
    for name in (datasets.ALBUMS, BOOKS):
        if (output / name).exists():
            os.replace(output / name, staging / f"earlier-{name}")
        os.replace(staging / name, output / name)
    shutil.rmtree(staging)
    return {"albums": counts["bind.done"], "albums_failed": counts["bind.failed"]}
