"""Captioned MIDI files to the tune index: convert, embed, commit."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.rag.ingestion.base import VectorDatabaseWriteTransform

from image2music.embedders import registry as embedders
from image2music.errors import TuneIndexError
from image2music.index.maintenance import finalize
from image2music.index.sync import write_manifest
from image2music.index.table import TuneIndex, index_schema, open_index, stored_tunes
from image2music.storage.index_files import open_index_files
from image2music.storage.tar import is_tar, open_archive
from image2music.types import Failure
from pipelines.cli.options import IndexOptions, beam_options
from pipelines.cli.tables import failure_lines
from pipelines.runtime.ending import EXIT_DONE, EXIT_SOME_FAILED, recorded
from pipelines.runtime.progress import Progress
from pipelines.runtime.record import RunRecord, counters, stage_seconds
from pipelines.runtime.running import new_pipeline, run_to_end
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


def index_pipeline(
    pipeline: beam.Pipeline, options: IndexOptions, spec: str, schema: pa.Schema, ticks: str | None
) -> None:
    """The whole job: only ids and captions are shuffled, rows go where they were made."""
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
    """What `index` may take for one file or caption; notes about stuck ones lie beside the table."""
    return TimeLimit(options.time_limit, open_index_files(options.index).stuck_notes)


def index(options: IndexOptions) -> int:
    """Run the job; returns the exit code: 0 all done, 3 some files failed. The table is replaced in one step.

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
    beam_flags = beam_options(options.beam)
    store = open_index_files(options.index)
    store.prepare()
    with store.lock():
        store.failures.clear()  # every run writes all failures anew
        record = RunRecord(store.run, "index", asdict(options), details={"embedder_id": embedder.id})
        record.write()
        started, before = time.time_ns(), _version(options.index)
        with recorded(record, AS_IT_WAS), Progress("tunes", _lines(options.captions)) as progress:
            pipeline = new_pipeline(beam_flags)
            index_pipeline(pipeline, options, spec, schema, progress.folder)
            result = run_to_end(pipeline)
            record.counts = dict(sorted(counters(result).items()))
            record.seconds = stage_seconds(result)
            if _version(options.index) == before:
                raise _nothing_indexed(options)
            finalize(options.index, "build")
            made = open_index(options.index)
            manifest = manifest_of_build(options.midi_root, stored_tunes(made), read_failures(options.index), started)
            write_manifest(store.manifest, manifest)
        end(record, made)
    return print_tunes(made)


def check_archive(options: IndexOptions) -> None:
    """Read the table of contents of an archive, where --midi_root is one: in the job, for a long one takes its time.

    Raises:
        ConfigError: it cannot be read (`bad_archive`).
    """
    if is_tar(options.midi_root):
        open_archive(options.midi_root)


def end(record: RunRecord, made: TuneIndex) -> None:
    """Write into run.json that all is well, and the version that came of it."""
    record.details |= {"index": {"uri": made.uri, "version": made.version, "rows": made.rows}}
    record.end("done")
    open_index_files(made.uri).clear_stuck_notes()


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
    """What lies beside the table."""
    columns = ["stage", "id", "uri", "reason", "message"]
    return [Failure(**row) for row in open_index_files(uri).failures.read(columns)]


def print_tunes(made: TuneIndex) -> int:
    """The closing words; returns the exit code."""
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
