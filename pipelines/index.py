"""Captioned MIDI files to the tune index: convert, embed, commit."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import apache_beam as beam
import pyarrow as pa

from image2music.embedders import specs as embedders
from image2music.errors import TuneIndexError
from image2music.rows import failure_row, now
from image2music.tune_index import TuneIndex, failures_folder, index_schema, open_index, run_file
from pipelines import outputs
from pipelines.options import IndexOptions, beam_options, make_folder
from pipelines.progress import Progress
from pipelines.run_record import RunRecord, counters, stage_seconds
from pipelines.running import run_to_end
from pipelines.summary import failure_lines
from schemas.failure import FAILURE_SCHEMA
from transforms.embed import EmbedCaptions
from transforms.midi import ConvertTunes, IdentifyTunes, ReadCaptions
from transforms.shards import WriteShards
from transforms.stage import Stage
from transforms.tune_sink import WriteTunes

EXIT_DONE, EXIT_SOME_FAILED = 0, 3


def build(pipeline: beam.Pipeline, options: IndexOptions, schema: pa.Schema, failures: str, ticks: str | None) -> None:
    """The whole job: only ids and captions are shuffled, rows go where they were made."""
    captions = pipeline | "ReadCaptions" >> ReadCaptions(options.captions)
    identified = captions.done | "Identify" >> IdentifyTunes(options.midi_root)
    converted = identified.done | "Convert" >> ConvertTunes(options.midi_root)
    embedded = converted.done | "Embed" >> Stage(EmbedCaptions(options.embedder, options.batch_size))
    embedded.done | "WriteTunes" >> WriteTunes(options.index, schema, ticks)
    failed = (stage.failed for stage in (captions, identified, converted, embedded))
    (
        failed
        | "Failures" >> beam.Flatten()
        | "WriteFailures"
        >> beam.ParDo(
            WriteShards(
                failures,
                FAILURE_SCHEMA,
                lambda failure: failure_row(failure, now()),
                outputs.FAILURE_ID_COLUMNS,
                rows=1000,
                progress=ticks,
            )
        )
    )


def index(options: IndexOptions) -> int:
    """Run the job; returns the exit code: 0 all done, 3 some files failed. The table is replaced in one step.

    Raises:
        Image2MusicError: a spec or folder cannot be used, or no file gave a tune; the table stays as it was.
    """
    options = _without_slash(options)
    embedder = embedders.load_embedder(options.embedder)
    schema = index_schema(embedder.dim, embedder_id=embedder.id, embedder_spec=options.embedder)
    beam_flags = beam_options(options.beam)
    make_folder(os.path.dirname(options.index) or ".")
    failures = failures_folder(options.index)
    for shard in outputs.shards(Path(failures)):
        shard.unlink()

    record = RunRecord(run_file(options.index), "index", asdict(options), details={"embedder_id": embedder.id})
    record.write()
    before = _version(options.index)
    try:
        with Progress("tunes", _lines(options.captions)) as progress:
            pipeline = beam.Pipeline(options=beam_flags)
            build(pipeline, options, schema, failures, progress.folder)
            result = run_to_end(pipeline)
        record.counts = dict(sorted(counters(result).items()))
        record.seconds = stage_seconds(result)
        if _version(options.index) == before:
            message = f"none of the files gave a tune, the index is as it was; the reasons are in {failures}"
            raise TuneIndexError(message, reason="nothing_indexed")
    except KeyboardInterrupt:
        record.end("stopped", "stopped by hand; the table is as it was")
        raise
    except Exception as error:
        record.end("failed", str(error))
        raise
    made = open_index(options.index)
    record.details |= {"index": {"uri": made.uri, "version": made.version, "rows": made.rows}}
    record.end("done")
    return report(made, failures)


def report(made: TuneIndex, failures: str) -> int:
    """The closing words; returns the exit code."""
    failed = outputs.count_rows(Path(failures))
    print(f"{made.rows} tunes in {made.uri}, version {made.version}, embedded by {made.embedder_id}")
    if not failed:
        return EXIT_DONE
    print(f"{failed} lines of the captions gave no tune, written to {failures}:")
    for line in failure_lines(Path(failures)):
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
        return sum(1 for _ in file)


def _without_slash(options: IndexOptions) -> IndexOptions:
    return replace(options, index=options.index.rstrip("/"))
