"""The job `index`: captioned MIDI files to the tune index. Identify, convert, embed, commit."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.rag.ingestion.base import VectorDatabaseWriteTransform

from image2music.embedders import base as embedders
from image2music.errors import TuneIndexError
from image2music.index.maintenance import finalize
from image2music.index.sync import write_manifest
from image2music.index.table import TuneIndex, index_schema, open_index, stored_tunes
from image2music.storage.output import open_index_files
from image2music.storage.tar import is_tar, open_archive
from image2music.types import Failure
from pipelines.jobs.options import IndexOptions
from pipelines.runtime.job import open_job
from pipelines.runtime.supervisor import EXIT_DONE, EXIT_SOME_FAILED
from pipelines.runtime.tables import failure_lines
from transforms.deadlines import TimeLimit
from transforms.embed import EmbedCaptions
from transforms.midi import ConvertTunes, IdentifyTunes, ReadCaptions, check_captions
from transforms.shards import failure_sink
from transforms.stage import Stage
from transforms.tune_files import manifest_of_build
from transforms.tune_sink import TuneIndexConfig

DEFAULT_EMBEDDER = "conse"
FAILURES_A_SHARD = 1000
AS_IT_WAS = "the table is as it was"


def index(options: IndexOptions) -> int:
    """Run the job; return the exit code: 0 all done, 3 some files failed. The table is replaced in one step.

    Raises:
        Image2MusicError: a spec or folder cannot be used, another run is writing, or no file gave a tune; the table
            stays as it was.
    """
    check_archive(options)
    check_captions(options.captions)
    spec = options.embedder or DEFAULT_EMBEDDER
    options = replace(options, index=options.index.rstrip("/"), embedder=spec)
    embedder = embedders.load_embedder(spec)
    schema = index_schema(embedder.dim, embedder_id=embedder.id, embedder_spec=spec)
    store = open_index_files(options.index)
    with open_job("index", options, store) as job:
        store.failures.clear()  # every run writes all failures anew
        with job.recorded({"embedder_id": embedder.id}, AS_IT_WAS) as record:
            started, before = time.time_ns(), _version(options.index)
            pipeline = partial(index_pipeline, options=options, spec=spec, schema=schema)
            record.counts = dict(sorted(job.run(pipeline, "tunes", _lines(options.captions)).items()))
            if _version(options.index) == before:
                raise _nothing_indexed(options)
            finalize(options.index, "build")
            made = open_index(options.index)
            manifest = manifest_of_build(options.midi_root, stored_tunes(made), read_failures(options.index), started)
            write_manifest(store.manifest, manifest)
            record.details["index"] = version_made(made)
        job.end()
    return print_tunes(made)


def index_pipeline(
    pipeline: beam.Pipeline, ticks: str | None, options: IndexOptions, spec: str, schema: pa.Schema
) -> None:
    """Build the whole job: only ids and captions are shuffled, rows go where they were made."""
    limit = time_limit(options)
    captions = pipeline | "ReadCaptions" >> ReadCaptions(options.captions)
    identified = captions.done | "Identify" >> IdentifyTunes(options.midi_root)
    converted = identified.done | "Convert" >> ConvertTunes(options.midi_root, limit)
    embedded = converted.done | "Embed" >> Stage(EmbedCaptions(spec, options.batch_size), limit)
    embedded.done | "WriteTunes" >> VectorDatabaseWriteTransform(TuneIndexConfig(options.index, schema, ticks))
    failed = (stage.failed for stage in (captions, identified, converted, embedded))
    (
        failed
        | "Failures" >> beam.Flatten()
        | "WriteFailures" >> failure_sink(open_index_files(options.index).failures, ticks, rows=FAILURES_A_SHARD)
    )


def time_limit(options: IndexOptions) -> TimeLimit:
    """Return the limit for one file or caption; notes about stuck ones lie beside the table."""
    return TimeLimit(options.time_limit, open_index_files(options.index).stuck_notes)


def check_archive(options: IndexOptions) -> None:
    """Read the table of contents of an archive, where --midi_root is one: in the job, for a long one takes its time.

    Raises:
        ConfigError: it cannot be read (`bad_archive`).
    """
    if is_tar(options.midi_root):
        open_archive(options.midi_root)


def version_made(made: TuneIndex) -> dict[str, Any]:
    """Return what run.json says of the version that came of a job."""
    return {"uri": made.uri, "version": made.version, "rows": made.rows}


def _nothing_indexed(options: IndexOptions) -> TuneIndexError:
    failures = open_index_files(options.index).failures
    reasons = failure_lines(failures, most=1)
    if reasons:
        why = "; ".join(reasons)
        message = f"none of the files gave a tune, the index is as it was; {why}; all are in {failures.uri}"
    else:
        message = f"{options.captions} has no lines, the index is as it was; each line is a JSON object about one file"
    return TuneIndexError(message, reason="nothing_indexed")


def read_failures(uri: str) -> list[Failure]:
    """Read the failures that lie beside the table."""
    columns = ["stage", "id", "uri", "reason", "message"]
    return [Failure(**row) for row in open_index_files(uri).failures.read(columns)]


def print_tunes(made: TuneIndex) -> int:
    """Print what the index holds and what failed; return the exit code."""
    failures = open_index_files(made.uri).failures
    failed = failures.count()
    print(f"{made.rows} tunes in {made.uri}, version {made.version}, embedded by {made.embedder_id}")
    if not failed:
        return EXIT_DONE
    print(f"{failed} lines of the captions gave no tune, written to {failures.uri}:")
    for line in failure_lines(failures):
        print(f"  {line}")
    return EXIT_SOME_FAILED


def _version(uri: str) -> int:
    try:
        return open_index(uri).version
    except TuneIndexError:
        return 0


def _lines(captions: str) -> int | None:
    if "://" in captions or captions.endswith(".gz"):
        return None
    with open(captions, "rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
