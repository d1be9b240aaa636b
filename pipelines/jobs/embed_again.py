"""The job `index --embedder` over a table that is there: other vectors for the same tunes, and no MIDI file is read."""

from __future__ import annotations

from dataclasses import replace

from image2music.embedders import base as embedders
from image2music.errors import ConfigError, TuneIndexError
from image2music.failures import counted
from image2music.index.maintenance import Changes, finalize, keep_version
from image2music.index.table import TuneIndex, commit, open_index, stored_tunes
from image2music.storage.output import open_index_files
from pipelines.jobs.index import AS_IT_WAS, IndexSurvey, check_archive, make_in_slices, version_made
from pipelines.options.index import IndexOptions
from pipelines.runtime.environment import EXIT_DONE
from pipelines.runtime.job import Job, open_job
from schemas.fields import vector


def embed_again(options: IndexOptions) -> int:
    """Embed every caption and picture of a table by another embedder, in one commit; return the exit code.

    All other columns stay as they are, a user's included; row_hash, which covers the embedder, changes. What was the
    newest version gets a name to go back to.

    Raises:
        Image2MusicError: there is no table, another run is writing, a picture is not there, or a row cannot be
            embedded; the table stays as it was.
    """
    options = replace(options, index=options.index.rstrip("/"))
    if options.midi_root:
        check_archive(options)
    made = open_index(options.index)
    assert options.embedder is not None
    embedder_id = embedders.load_embedder(options.embedder).id
    if (embedder_id, options.embedder) == (made.embedder_id, made.embedder_spec):
        if options.embeds_alone:
            print(f"{made.uri} is embedded by {embedder_id} already; nothing was done")
        return EXIT_DONE
    with open_job("index", options, open_index_files(options.index)) as job:
        with job.recorded({"embedder_id": embedder_id}, AS_IT_WAS) as record:
            before = open_index(options.index)
            made = embedded_again(job, options, before)
            record.details["index"] = version_made(made)
        job.end()
    tunes = counted(made.rows, "tune")
    print(f"{tunes} in {made.uri}, version {made.version}, embedded by {made.embedder_id}; no MIDI was read")
    print(f"image2music index --index {made.uri} --restore {before.version} goes back to {before.embedder_id}")
    return EXIT_DONE


def embedded_again(job: Job, options: IndexOptions, before: TuneIndex) -> TuneIndex:
    """Embed and commit inside a job; return the table's new version.

    Raises:
        Image2MusicError: as `embed_again`.
    """
    spec = options.embedder
    assert spec is not None
    if options.is_one_pipeline:
        message = "a table is embedded again in slices: leave Beam's options away, and take --workers or --cluster"
        raise ConfigError(message, reason="bad_runner")
    sources = stored_tunes(before)
    pictures = sum(bool(source.image) for source in sources.values())
    if pictures and not options.midi_root:
        have = counted(pictures, "tune has a picture, which is", "tunes have pictures, which are")
        message = f"{before.uri}: {have} read again: give --midi_root, where they lie"
        raise ConfigError(message, reason="bad_arguments")
    embedder = embedders.load_embedder(spec)
    at, field = before.schema.get_field_index("vector"), before.schema.field("vector")
    schema = before.schema.set(at, field.with_type(vector(embedder.dim)))
    schema = schema.with_metadata({"embedder_id": embedder.id, "embedder_spec": spec})
    changed = tuple(sorted(sources.items(), key=lambda tune: (tune[1].location, tune[0])))
    found = IndexSurvey(Changes((), changed, (), 0), (), {}, 0, 0, {})
    written = make_in_slices(job, options, found, "overwrite", schema, spec, stored=before)
    if len(written.tune_ids) < len(changed):
        failed = len(changed) - len(written.tune_ids)
        reasons = open_index_files(options.index).failures.uri
        of = counted(len(changed), "tune")
        message = f"{failed} of {of} could not be embedded, and {AS_IT_WAS}; why is in {reasons}"
        raise TuneIndexError(message, reason="not_embedded")
    keep_version(before.uri, before.version)
    commit(before.uri, written.fragments, schema)
    finalize(before.uri, "embed")
    return open_index(before.uri)
