"""Tunes to albums: what `compose --album` does when the last tune is written."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from image2music.storage.output import OutputStore
from pipelines.runtime.record import counters
from pipelines.runtime.running import new_pipeline, run_to_end
from schemas.album import ALBUM_SCHEMA
from transforms.album import BindAlbums
from transforms.shards import WriteShards, failure_sink


def album_pipeline(pipeline: beam.Pipeline, output: OutputStore, staged: OutputStore) -> None:
    """Every album of an output, bound anew."""
    bound = pipeline | "Shards" >> beam.Create(output.compositions.shards()) | BindAlbums(staged.uri)
    bound.done | "WriteAlbums" >> beam.ParDo(WriteShards(staged.albums, ALBUM_SCHEMA, dict, ("album",)))
    bound.failed | "WriteFailures" >> failure_sink(output.failures)


def assemble_albums(output: OutputStore, options: PipelineOptions) -> dict[str, int]:
    """Write OUTPUT/albums and OUTPUT/books from OUTPUT/compositions; returns how many were bound or could not be.

    They take the places of earlier ones when they are whole.
    """
    staged = output.begin_albums()
    output.failures.forget(lambda row: row["stage"] == "bind")
    pipeline = new_pipeline(options)
    album_pipeline(pipeline, output, staged)
    counts = counters(run_to_end(pipeline))
    output.publish_albums()
    return {"albums": counts["bind.done"], "albums_failed": counts["bind.failed"]}
