"""The job `index --update`: make only what is new or changed since the last build or update."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.ml.rag.ingestion.base import VectorDatabaseWriteTransform

from image2music.embedders import base as embedders
from image2music.errors import TuneIndexError
from image2music.index.maintenance import finalize
from image2music.index.sync import Changes, Manifest, find_changes, read_manifest, without_repeats, write_manifest
from image2music.index.table import TuneIndex, open_index, replace_rows, stored_tunes
from image2music.rows import failure_row, now
from image2music.storage.output import open_index_files
from image2music.types import CaptionedMidi, Failure
from pipelines.jobs.index import (
    AS_IT_WAS,
    FAILURES_A_SHARD,
    check_archive,
    print_tunes,
    read_failures,
    time_limit,
    version_made,
)
from pipelines.jobs.options import IndexOptions
from pipelines.runtime.job import open_job
from transforms.embed import EmbedCaptions
from transforms.midi import ConvertTunes, read_captions
from transforms.shards import failure_sink
from transforms.stage import Stage
from transforms.tune_files import identify_files, is_lasting
from transforms.tune_sink import TuneUpdateConfig


@dataclass(frozen=True)
class IndexSurvey:
    """What an update found before it changed anything. `lost` of the rows to remove have a line, but no file."""

    changes: Changes
    failures: tuple[Failure, ...]
    manifest: Manifest
    hashed: int
    lost: int

    @property
    def counts(self) -> dict[str, Any]:
        """For run.json and for the terminal."""
        changes = self.changes
        return {
            "new": len(changes.new),
            "changed": len(changes.changed),
            "removed": len(changes.removed),
            "unchanged": changes.unchanged,
            "files_read": self.hashed,
        }


def update(options: IndexOptions) -> int:
    """Bring an index up to its captions and files, in one commit; return the exit code: 0 all done, 3 some failed.

    The rows are those that a full build would make. A run that is killed leaves the last version whole; the same
    command then does what is left.

    Raises:
        Image2MusicError: there is no index, another embedder made it, another run is writing, or no row would be
            left; the table stays as it was.
    """
    options = replace(options, index=options.index.rstrip("/"))
    check_archive(options)
    made = open_index(options.index)
    store = open_index_files(options.index)
    with open_job("index", options, store) as job:
        with job.recorded({"embedder_id": made.embedder_id}, AS_IT_WAS) as record:
            made = open_index(options.index)
            with _no_collecting():
                found = survey_sources(options, made)
            record.counts = found.counts
            _check(options, made, found.changes)
            store.failures.clear()
            store.failures.add([failure_row(failure, now()) for failure in found.failures])
            if found.changes.to_make:
                pipeline = partial(update_pipeline, options=options, index=made, changes=found.changes)
                record.counts |= dict(sorted(job.run(pipeline, "tunes", len(found.changes.to_make)).items()))
            elif found.changes.removed:
                replace_rows(options.index, made.version, [], found.changes.removed)
            finalize(options.index, "update")
            write_manifest(store.manifest, _with_failures(found.manifest, read_failures(options.index)))
            made = open_index(options.index)
            record.details["index"] = version_made(made)
        job.end()
    print_changes(options, found)
    return print_tunes(made)


def update_pipeline(
    pipeline: beam.Pipeline, ticks: str | None, options: IndexOptions, index: TuneIndex, changes: Changes
) -> None:
    """Do as `index_pipeline`, for the tunes that need it; other rows are not read."""
    limit = time_limit(options)
    tunes = pipeline | "Tunes" >> beam.Create(changes.to_make, reshuffle=True)
    converted = tunes | "Convert" >> ConvertTunes(options.midi_root, limit)
    embedded = converted.done | "Embed" >> Stage(EmbedCaptions(index.embedder_spec, options.batch_size), limit)
    config = TuneUpdateConfig(options.index, index.schema, index.version, frozenset(changes.removed), ticks)
    embedded.done | "UpdateTunes" >> VectorDatabaseWriteTransform(config)
    failed = (converted.failed, embedded.failed)
    (
        failed
        | "Failures" >> beam.Flatten()
        | "WriteFailures" >> failure_sink(open_index_files(options.index).failures, ticks, rows=FAILURES_A_SHARD)
    )


def print_changes(options: IndexOptions, found: IndexSurvey) -> None:
    """Print what an update found, and how to get lost rows back."""
    print(", ".join(f"{number} {name.replace('_', ' ')}" for name, number in found.counts.items()))
    if found.lost:
        print(
            f"{found.lost} rows went because the files of their lines cannot be read; --keep_removed keeps such rows,"
        )
        print(f"image2music index --index {options.index} --history names the versions to go back to")


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Turn garbage collection off: a survey makes millions of objects and drops none; collecting takes a quarter."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def survey_sources(options: IndexOptions, index: TuneIndex) -> IndexSurvey:
    """Compare captions and files with the table. Nothing is converted, embedded or written."""
    lines = list(read_captions(options.captions))
    sources = [line for line in lines if isinstance(line, CaptionedMidi)]
    known = {} if options.rehash else read_manifest(open_index_files(options.index).manifest)
    files = identify_files(options.midi_root, sources, known)
    wanted, repeated = without_repeats(files.tunes)
    hopeless = {file.tune_id: file for file in files.manifest.values() if file.reason}
    again = [
        Failure("convert", id, place, hopeless[id].reason, hopeless[id].message)
        for tune_id, source in wanted
        for id, place in ((tune_id, source.location), (source.image_id, source.image))
        if id in hopeless
    ]
    given_up = [tune_id for tune_id, source in wanted if not hopeless.keys().isdisjoint((tune_id, source.image_id))]
    stored = stored_tunes(index)
    unread = {failure.uri for failure in files.failures}
    without_line = {source.location for source in stored.values()} - {source.location for source in sources}
    changes = find_changes(wanted, stored, given_up, keep=without_line | unread if options.keep_removed else ())
    lost = sum(stored[tune_id].location in unread for tune_id in changes.removed)
    bad_lines = [line for line in lines if isinstance(line, Failure)]
    return IndexSurvey(changes, (*bad_lines, *files.failures, *repeated, *again), files.manifest, files.hashed, lost)


def _check(options: IndexOptions, index: TuneIndex, changes: Changes) -> None:
    if not (changes.unchanged or changes.to_make):
        message = (
            f"{options.captions} names no file that can be read under {options.midi_root}, and {index.uri} would lose "
            "every row; see that the files are there"
        )
        raise TuneIndexError(message, reason="nothing_indexed")
    # Loading a model takes longer than finding out that nothing changed.
    if not (changes.to_make or options.embedder):
        return
    spec = options.embedder or index.embedder_spec
    embedder_id = embedders.load_embedder(spec).id
    if embedder_id != index.embedder_id:
        message = (
            f"{index.uri} was made with the embedder {index.embedder_id}, and {spec} is {embedder_id}; "
            "make the index anew without --update"
        )
        raise TuneIndexError(message, reason="other_embedder")


def _with_failures(manifest: Manifest, failures: list[Failure]) -> Manifest:
    """Return the manifest with the lasting failures of this run."""
    lasting = {failure.id: failure for failure in failures if is_lasting(failure)}
    return {
        location: replace(known, reason=lasting[known.tune_id].reason, message=lasting[known.tune_id].message)
        if known.tune_id in lasting
        else known
        for location, known in manifest.items()
    }
