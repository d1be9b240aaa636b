"""The job `index`: captions and MIDI files to the table of tunes; and its update, for what is new or changed."""

from __future__ import annotations

import gc
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.rag.ingestion.base import VectorDatabaseWriteTransform

from image2music.embedders import base as embedders
from image2music.errors import TuneIndexError
from image2music.failures import counted
from image2music.index.maintenance import (
    Changes,
    Manifest,
    finalize,
    find_changes,
    read_manifest,
    without_repeats,
    write_manifest,
)
from image2music.index.table import (
    TuneIndex,
    WriteMode,
    commit,
    index_schema,
    named_columns,
    open_index,
    replace_rows,
    stored_tunes,
    with_later_columns,
)
from image2music.index.takedown import removed_tunes
from image2music.rows import failure_row, now
from image2music.storage.output import open_index_files
from image2music.storage.tar import is_tar, open_archive
from image2music.types import CaptionedMidi, Failure
from pipelines.jobs.tunes import MakeTunes, identify_sources, make_tunes, tunes_a_slice
from pipelines.options.index import IndexOptions
from pipelines.runtime.environment import EXIT_DONE, EXIT_SOME_FAILED
from pipelines.runtime.job import Job, failure_lines, open_job
from transforms.deadlines import TimeLimit
from transforms.midi import (
    ConvertTunes,
    IdentifiedFiles,
    IdentifyTunes,
    ReadCaptions,
    check_captions,
    identify_files,
    is_lasting,
    manifest_of_build,
    read_captions,
)
from transforms.retrieve import EmbedCaptions
from transforms.shards import TuneIndexConfig, TuneUpdateConfig, WrittenFragments, failure_sink
from transforms.stage import REASON, Stage

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
    taken_down = removed_tunes(options.index)
    embedder = embedders.load_embedder(spec)
    store = open_index_files(options.index)
    with open_job("index", options, store) as job:
        store.failures.clear()  # every run writes all failures anew
        with job.recorded({"embedder_id": embedder.id}, AS_IT_WAS) as record:
            if options.is_one_pipeline:
                manifest = _build_as_one_pipeline(job, options, spec)
            else:
                manifest = _build_in_slices(job, options, spec)
            finalize(options.index, "build")
            write_manifest(store.manifest, manifest)
            made = open_index(options.index)
            record.details["index"] = version_made(made)
        job.end()
    _print_taken_down(options, len(taken_down))
    return print_tunes(made)


def _print_taken_down(options: IndexOptions, listed: int) -> None:
    if listed:
        uri = open_index_files(options.index).removed
        out = counted(listed, "tune stays out, for it was removed", "tunes stay out, for they were removed")
        print(f"{out} ({uri}); --bring_back lets {'it' if listed == 1 else 'them'} in again")


def _build_in_slices(job: Job, options: IndexOptions, spec: str) -> Manifest:
    """Make every row where workers are, and commit them; return what the files looked like."""
    with _no_collecting():
        found = survey_sources(options, None, _identify_by(job, options))
    job.record.counts = dict(found.stage_counts)
    schema = _schema_for(spec, (source for _, source in found.changes.to_make))
    made = make_in_slices(job, options, found, "overwrite", schema, spec)
    if not made.fragments:
        raise _nothing_indexed(options)
    commit(options.index, made.fragments, schema)
    return _with_failures(found.manifest, read_failures(options.index))


def _schema_for(spec: str, sources: Iterable[CaptionedMidi]) -> pa.Schema:
    embedder = embedders.load_embedder(spec)
    return index_schema(embedder.dim, embedder_id=embedder.id, embedder_spec=spec, sources=sources)


def _build_as_one_pipeline(job: Job, options: IndexOptions, spec: str) -> Manifest:
    """Make every row by the runner that is named; return what the files looked like."""
    schema = _schema_for(spec, (line for line in read_captions(options.captions) if isinstance(line, CaptionedMidi)))
    started, before = time.time_ns(), _version(options.index)
    counts = job.run(partial(index_pipeline, options=options, spec=spec, schema=schema), "tunes")
    job.record.counts = dict(sorted(counts.items()))
    if _version(options.index) == before:
        raise _nothing_indexed(options)
    return manifest_of_build(
        options.midi_root, stored_tunes(open_index(options.index)), read_failures(options.index), started
    )


def make_in_slices(
    job: Job,
    options: IndexOptions,
    found: IndexSurvey,
    mode: WriteMode,
    schema: pa.Schema,
    spec: str,
    stored: TuneIndex | None = None,
) -> WrittenFragments:
    """Write the failures that were found, make the rows, and return their data files, which no version names yet.

    The notes of tunes that `stored` has are taken from there.
    """
    failures = open_index_files(options.index).failures
    failures.add([failure_row(failure, now()) for failure in found.failures])
    work = MakeTunes(
        midi_root=options.midi_root,
        index=options.index,
        mode=mode,
        schema=schema,
        embedder_spec=spec,
        embedder_id=schema.metadata[b"embedder_id"].decode(),
        batch_size=options.batch_size,
        limit=time_limit(options),
        ticks=job.ticks,
        stored=stored,
    )
    tunes = found.changes.to_make
    written, counters = make_tunes(job, work, tunes, tunes_a_slice(len(tunes), options), failures)
    counts = job.record.counts
    counts |= {name: counts.get(name, 0) + number for name, number in sorted(counters.items())}
    return written


def _identify_by(job: Job, options: IndexOptions) -> Identify:
    """Return who identifies files: those who do slices, or, where a runner is named, this process."""
    if options.is_one_pipeline:
        return partial(identify_files, options.midi_root)
    return partial(identify_sources, job, options.midi_root, most=options.slice_size)


def index_pipeline(
    pipeline: beam.Pipeline, ticks: str | None, options: IndexOptions, spec: str, schema: pa.Schema
) -> None:
    """Build the whole job: only ids and captions are shuffled, rows go where they were made."""
    limit = time_limit(options)
    captions = pipeline | "ReadCaptions" >> ReadCaptions(options.captions)
    identified = captions.done | "Identify" >> IdentifyTunes(options.midi_root)
    stay_out = frozenset(removed_tunes(options.index))
    wanted = identified.done | "WithoutRemoved" >> beam.Filter(lambda tune: tune[0] not in stay_out)
    converted = wanted | "Convert" >> ConvertTunes(options.midi_root, limit)
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
    print(f"{counted(made.rows, 'tune')} in {made.uri}, version {made.version}, embedded by {made.embedder_id}")
    if not failed:
        return EXIT_DONE
    lines = counted(failed, "line of the captions", "lines of the captions")
    print(f"{lines} gave no tune, written to {failures.uri}:")
    for line in failure_lines(failures):
        print(f"  {line}")
    return EXIT_SOME_FAILED


def _version(uri: str) -> int:
    try:
        return open_index(uri).version
    except TuneIndexError:
        return 0


@dataclass(frozen=True)
class IndexSurvey:
    """What a job found before it changed anything. `lost` of the rows to remove have a line, but no file.

    `stage_counts` are those that a whole job as one pipeline counts, `taken_down` the tunes that have a line and a file
    and stay out, for they were removed.
    """

    changes: Changes
    failures: tuple[Failure, ...]
    manifest: Manifest
    hashed: int
    lost: int
    stage_counts: dict[str, int]
    taken_down: int = 0

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
        } | ({"stay_out": self.taken_down} if self.taken_down else {})


def update(options: IndexOptions) -> int:
    """Bring an index up to its captions and files, in one commit; return the exit code: 0 all done, 3 some failed.

    The rows are those that a full build would make. A run that is killed leaves the last version whole; the same
    command then does what is left.

    Raises:
        Image2MusicError: there is no index, its embedder is another one now, another run is writing, or no row would be
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
                found = survey_sources(options, made, _identify_by(job, options))
            record.counts = found.counts
            _check(options, made, found.changes)
            made = with_later_columns(made, named_columns(source for _, source in found.changes.to_make))
            store.failures.clear()
            if options.is_one_pipeline:
                _update_as_one_pipeline(job, options, made, found)
            else:
                spec = made.embedder_spec
                written = make_in_slices(job, options, found, "append", made.schema, spec, stored=made)
                dropped = frozenset(found.changes.removed).union(written.tune_ids)
                if dropped:
                    replace_rows(options.index, made.version, written.fragments, dropped)
            finalize(options.index, "update")
            write_manifest(store.manifest, _with_failures(found.manifest, read_failures(options.index)))
            made = open_index(options.index)
            record.details["index"] = version_made(made)
        job.end()
    print_changes(options, found)
    _print_taken_down(options, found.taken_down)
    return print_tunes(made)


def _update_as_one_pipeline(job: Job, options: IndexOptions, made: TuneIndex, found: IndexSurvey) -> None:
    """Make and commit the rows by the runner that is named."""
    open_index_files(options.index).failures.add([failure_row(failure, now()) for failure in found.failures])
    if found.changes.to_make:
        pipeline = partial(update_pipeline, options=options, index=made, changes=found.changes)
        job.record.counts |= dict(sorted(job.run(pipeline, "tunes", len(found.changes.to_make)).items()))
    elif found.changes.removed:
        replace_rows(options.index, made.version, [], found.changes.removed)


def update_pipeline(
    pipeline: beam.Pipeline, ticks: str | None, options: IndexOptions, index: TuneIndex, changes: Changes
) -> None:
    """Do as `index_pipeline`, for the tunes that need it; other rows are not read."""
    limit = time_limit(options)
    tunes = pipeline | "Tunes" >> beam.Create(changes.to_make, reshuffle=True)
    converted = tunes | "Convert" >> ConvertTunes(options.midi_root, limit, index)
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
    one = {"files_read": "file read", "stay_out": "stays out"}
    said = {name: name.replace("_", " ") for name in found.counts}
    print(", ".join(counted(number, one.get(name, said[name]), said[name]) for name, number in found.counts.items()))
    if found.lost:
        went = "went because the files of their lines cannot be read"
        print(f"{counted(found.lost, 'row')} {went}; --keep_removed keeps such rows,")
        print(f"image2music index --index {options.index} --history names the versions to go back to")


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Turn garbage collection off: a survey makes millions of objects and drops none; collecting takes a quarter."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


Identify = Callable[[Sequence[CaptionedMidi], Manifest], IdentifiedFiles]


def survey_sources(options: IndexOptions, index: TuneIndex | None, identify: Identify) -> IndexSurvey:
    """Compare captions and files with the table, or with none. Nothing is converted, embedded or written."""
    lines = list(read_captions(options.captions))
    sources = [line for line in lines if isinstance(line, CaptionedMidi)]
    bad_lines = [line for line in lines if isinstance(line, Failure)]
    fresh = index is None or options.rehash
    files = identify(sources, {} if fresh else read_manifest(open_index_files(options.index).manifest))
    there, repeated = without_repeats(files.tunes)
    removed = removed_tunes(options.index)
    wanted = [tune for tune in there if tune[0] not in removed]
    wanted.sort(key=lambda tune: (tune[1].location, tune[0]))  # whoever identified them, and in whatever order
    hopeless = {file.tune_id: file for file in files.manifest.values() if file.reason}
    again = [
        Failure("convert", id, place, hopeless[id].reason, hopeless[id].message)
        for tune_id, source in wanted
        for id, place in ((tune_id, source.location), (source.image_id, source.image))
        if id in hopeless
    ]
    given_up = [tune_id for tune_id, source in wanted if not hopeless.keys().isdisjoint((tune_id, source.image_id))]
    stored = stored_tunes(index) if index is not None else {}
    unread = {failure.uri for failure in files.failures}
    without_line = {source.location for source in stored.values()} - {source.location for source in sources}
    changes = find_changes(wanted, stored, given_up, keep=without_line | unread if options.keep_removed else ())
    lost = sum(stored[tune_id].location in unread for tune_id in changes.removed)
    stages: Stages = {
        "captions": (sources, bad_lines),
        "identify": (files.tunes, files.failures),
        "duplicates": (wanted, repeated),
    }
    return IndexSurvey(
        changes=changes,
        failures=(*bad_lines, *files.failures, *repeated, *again),
        manifest=files.manifest,
        hashed=files.hashed,
        lost=lost,
        stage_counts=_stage_counts(stages),
        taken_down=len(there) - len(wanted),
    )


Stages = Mapping[str, tuple[Sequence[Any], Sequence[Failure]]]
"""What each stage gave: what is done, and what failed."""


def _stage_counts(stages: Stages) -> dict[str, int]:
    counts = {f"{stage}.done": len(done) for stage, (done, _) in stages.items()}
    counts |= {f"{stage}.failed": len(failed) for stage, (_, failed) in stages.items() if failed}
    return counts | Counter(f"{REASON}{failure.reason}" for _, failed in stages.values() for failure in failed)


def _check(options: IndexOptions, index: TuneIndex, changes: Changes) -> None:
    if not (changes.unchanged or changes.to_make):
        message = (
            f"{options.captions} names no file that can be read under {options.midi_root}, and {index.uri} would lose "
            "every row; see that the files are there"
        )
        raise TuneIndexError(message, reason="nothing_indexed")
    # Loading a model takes longer than finding out that nothing changed.
    if changes.to_make:
        check_embedder(index, index.embedder_spec, embedders.load_embedder(index.embedder_spec).id)


def check_embedder(index: TuneIndex, spec: str, embedder_id: str) -> None:
    """Check that an embedder, named `spec`, is the one that made the index.

    Raises:
        TuneIndexError: it is another one (`other_embedder`); the message names the command which embeds it again.
    """
    if embedder_id != index.embedder_id:
        choice = "leave --embedder away, or" if spec != index.embedder_spec else "to"
        message = (
            f"{index.uri} was made with the embedder {index.embedder_id}, and {spec} is {embedder_id}; "
            f"{choice} embed it again: {_command_again(index.uri, spec)}"
        )
        raise TuneIndexError(message, reason="other_embedder")


def _command_again(uri: str, spec: str) -> str:
    return shlex.join(["image2music", "index", "--index", uri, "--embedder", spec])


def _with_failures(manifest: Manifest, failures: list[Failure]) -> Manifest:
    """Return the manifest with the lasting failures of this run."""
    lasting = {failure.id: failure for failure in failures if is_lasting(failure)}
    return {
        location: replace(known, reason=lasting[known.tune_id].reason, message=lasting[known.tune_id].message)
        if known.tune_id in lasting
        else known
        for location, known in manifest.items()
    }
