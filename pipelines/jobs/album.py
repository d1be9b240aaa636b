"""The job `album`, after the tunes of `compose --album` or of a refresh: the tunes of each folder become one piece."""

from __future__ import annotations

from functools import partial

import apache_beam as beam

from image2music.storage.output import OutputStore
from pipelines.runtime.job import Job
from schemas.album import ALBUM_SCHEMA
from transforms.album import BindAlbums
from transforms.shards import WriteShards, failure_sink


def assemble_albums(job: Job, output: OutputStore) -> dict[str, int]:
    """Write OUTPUT/albums and OUTPUT/books from OUTPUT/compositions; return how many were bound or could not be.

    They take the places of earlier ones when they are whole.
    """
    staged = output.begin_albums()
    output.failures.forget(lambda row: row["stage"] == "bind")
    found = job.run(partial(album_pipeline, output=output, staged=staged), "albums")
    output.publish_albums()
    return {"albums": found["bind.done"], "albums_failed": found["bind.failed"]}


def album_pipeline(pipeline: beam.Pipeline, ticks: str | None, output: OutputStore, staged: OutputStore) -> None:
    """Bind every album of an output anew."""
    bound = pipeline | "Shards" >> beam.Create(output.compositions.shards()) | BindAlbums(staged.uri)
    bound.done | "WriteAlbums" >> beam.ParDo(WriteShards(staged.albums, ALBUM_SCHEMA, dict, ("album",), progress=ticks))
    bound.failed | "WriteFailures" >> failure_sink(output.failures)
