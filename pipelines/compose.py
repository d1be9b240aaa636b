"""Pictures to tunes: describe, embed, retrieve, compose, write."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa

from image2music.album.plan import RECIPE as ALBUM_RECIPE
from image2music.album.row import BOOKS
from image2music.briefs import NO_BRIEF, Brief, Place
from image2music.catalog import Matched, match, read_catalog
from image2music.composers import specs as composers
from image2music.config import ComposeSettings, prompts_version
from image2music.embedders import specs as embedders
from image2music.errors import JobError, TuneIndexError
from image2music.index_filter import narrowed
from image2music.rows import Provenance, composition_row, failure_row, now
from image2music.tune_index import TuneIndex, open_index
from pipelines import generations, outputs
from pipelines.albums import bind_albums
from pipelines.inputs import list_pictures
from pipelines.options import ComposeOptions, beam_options, make_folder
from pipelines.progress import Progress
from pipelines.run_record import RunRecord, counters, stage_seconds
from pipelines.running import new_pipeline, run_to_end
from pipelines.summary import catalog_counts, catalog_lines, compositions_table, failure_lines, places
from schemas.composition import BRIEF_FIELDS, composition_schema
from schemas.failure import FAILURE_SCHEMA
from transforms.album import PlanAlbums
from transforms.compose import WITHOUT_ATTENTION, ComposeTunes
from transforms.embed import EmbedPictures
from transforms.log_lines import LogPictures
from transforms.pictures import DescribePictures, IdentifyPictures, SkipFinished
from transforms.reading import PictureReader
from transforms.retrieve import RetrieveTunes
from transforms.shards import WriteShards
from transforms.stage import REASON, Stage
from transforms.time_limit import TimeLimit

EXIT_DONE, EXIT_FAILED, EXIT_SOME_FAILED = 0, 1, 3


@dataclass(frozen=True)
class ComposeRun:
    """A run with everything looked up: nothing in it can be wrong any more."""

    options: ComposeOptions
    settings: ComposeSettings
    index: TuneIndex
    embedder_spec: str
    pictures: tuple[str, ...]
    output: Path
    catalog: Matched | None = None
    briefs: Mapping[str, Brief] = field(default_factory=dict)

    @property
    def provenance(self) -> Provenance:
        """What every row of the run says about its making."""
        return Provenance(
            composer_id=self.settings.composer_id,
            embedder_id=self.settings.embedder_id,
            index_uri=self.index.uri,
            index_version=self.index.version,
            settings_hash=self.settings.hash,
            seed=self.settings.seed,
        )

    @property
    def limit(self) -> TimeLimit:
        """How long a picture may hold a stage up."""
        return TimeLimit(self.options.time_limit, str(self.output / outputs.STUCK))

    @property
    def plans_albums(self) -> bool:
        """Whether pictures get their parts in this run; a refresh keeps those that the rows have."""
        return self.options.album and not self.options.refresh

    @property
    def more_columns(self) -> tuple[pa.Field, ...]:
        """Columns that only some runs have."""
        brought = {name for brief in self.briefs.values() for name, value in brief.row.items() if value is not None}
        wanted = {"hint": "hint" in brought, "album_part": self.options.album}
        return tuple(BRIEF_FIELDS[name] for name, here in wanted.items() if here)


def build(pipeline: beam.Pipeline, run: ComposeRun, finished: frozenset[bytes], ticks: str | None) -> None:
    """The whole job. After the pictures are told apart nothing is shuffled, so pixels stay where they were read."""
    options, provenance = run.options, run.provenance
    retrieved, failed_before = find_references(pipeline, run, finished)
    handler = ComposeTunes(options.composer, options.loop, options.seed, options.batch_size, options.looking)
    composed = retrieved | "Compose" >> Stage(handler, run.limit)
    composed.done | "WriteCompositions" >> beam.ParDo(
        WriteShards(
            str(run.output / outputs.COMPOSITIONS),
            composition_schema(run.index.dim, run.more_columns),
            lambda refined: composition_row(refined, provenance, now()),
            ("image_id",),
            progress=ticks,
        )
    )
    failed = [*failed_before, composed.failed] | "Failures" >> beam.Flatten()
    (
        failed
        | "WriteFailures"
        >> beam.ParDo(
            WriteShards(
                str(run.output / outputs.FAILURES),
                FAILURE_SCHEMA,
                lambda failure: failure_row(failure, now()),
                outputs.FAILURE_ID_COLUMNS,
                progress=ticks,
            )
        )
    )
    if options.log_json:
        (composed.done, failed) | "Ends" >> beam.Flatten() | "LogPictures" >> beam.ParDo(LogPictures(options.log_json))


def find_references(
    pipeline: beam.Pipeline, run: ComposeRun, finished: frozenset[bytes]
) -> tuple[beam.PCollection, list[beam.PCollection]]:
    """Pictures that have no row yet, described and with the tunes that they recall; and what failed on the way."""
    options, size, read = run.options, run.options.batch_size, PictureReader(run.options.allow_web)
    places = pipeline | "Places" >> beam.Create([Place(uri, run.briefs.get(uri, NO_BRIEF)) for uri in run.pictures])
    identified = places | "Identify" >> IdentifyPictures(read)
    planned = identified.done | "PlanAlbums" >> PlanAlbums(options.seed, read) if run.plans_albums else identified.done
    todo = planned | "SkipFinished" >> beam.ParDo(SkipFinished(finished))
    described = todo | "Describe" >> Stage(DescribePictures(options.composer, size, read), run.limit)
    embedded = described.done | "Embed" >> Stage(EmbedPictures(run.embedder_spec, size), run.limit)
    retrieved = embedded.done | "Retrieve" >> RetrieveTunes(run.index, options.top_k, size)
    return retrieved.done, [stage.failed for stage in (identified, described, embedded, retrieved)]


def look_up(options: ComposeOptions) -> ComposeRun:
    """Open and load what the options name, and hold one against the other.

    Raises:
        Image2MusicError: something is missing, or does not fit together.
    """
    pictures = [] if options.refresh else list_pictures(options.images, options.allow_web)
    catalog = match(read_catalog(Path(options.catalog)), pictures, options.images) if options.catalog else None
    index = open_index(options.index)
    if options.where is not None:
        index = narrowed(index, options.where)
    embedder_spec = options.embedder or index.embedder_spec
    embedder_id = embedders.load_embedder(embedder_spec).id
    if embedder_id != index.embedder_id:
        message = (
            f"{index.uri} was made with the embedder {index.embedder_id}, and {embedder_spec} is {embedder_id}; "
            "leave --embedder away, or make the index anew with it"
        )
        raise TuneIndexError(message, reason="other_embedder")
    settings = ComposeSettings(
        composer_id=(composers.identify if options.plan else _id_of_loaded)(options.composer),
        embedder_id=embedder_id,
        prompts_version=prompts_version(),
        top_k=options.top_k,
        loop=options.loop,
        seed=options.seed,
        where=options.where,
        album=ALBUM_RECIPE if options.album else None,
        looking=options.looking.name,
    )
    briefs = {place.uri: place.brief for place in catalog.places if place.brief != NO_BRIEF} if catalog else {}
    return ComposeRun(options, settings, index, embedder_spec, tuple(pictures), Path(options.output), catalog, briefs)


def _id_of_loaded(spec: str) -> str:
    return composers.load_composer(spec).id


def compose(options: ComposeOptions) -> int:
    """Run the job; returns the exit code: 0 all done, 3 some pictures failed within the bound, 1 too many failed."""
    run = look_up(options)
    make_folder(options.output)
    generations.finish(run.output)
    if options.overwrite:
        outputs.retire_generation(run.output, run.settings.hash)
    finished = outputs.finished_ids(run.output, run.settings.hash)
    beam_flags = beam_options(options.beam)
    outputs.forget_failures(run.output / outputs.FAILURES, run.pictures)

    record = RunRecord(run.output / "run.json", "compose", asdict(options), details=_details(run))
    record.write()
    try:
        with Progress("pictures", max(0, len(run.pictures) - len(finished))) as progress:
            pipeline = new_pipeline(beam_flags)
            build(pipeline, run, finished, progress.folder)
            result = run_to_end(pipeline)
        outputs.drop_repeated(run.output)
        shutil.rmtree(run.output / outputs.STUCK, ignore_errors=True)
        _check_rows(run, counters(result))
        albums = bind_albums(run.output, beam_flags) if options.album else {}
    except KeyboardInterrupt:
        record.end("stopped", "stopped by hand; the same command goes on where it stopped")
        raise
    except Exception as error:
        record.end("failed", str(error))
        raise
    record.counts = count(counters(result), places=len(run.pictures)) | catalog_counts(run.catalog) | albums
    record.seconds = stage_seconds(result)
    failed, pictures = record.counts["failed"], record.counts["pictures"]
    within = options.max_failures.allows(failed, pictures)
    record.end("done" if within else "failed", "" if within else f"{failed} of {pictures} pictures failed")
    report(run, record)
    if not within:
        allowed = "more than --max_failures allows; their reasons are in " + str(run.output / outputs.FAILURES)
        print(f"image2music: {failed} of {pictures} pictures failed, {allowed}", file=sys.stderr)
    if failed == 0 and not record.counts.get("albums_failed"):
        return EXIT_DONE
    return EXIT_SOME_FAILED if within else EXIT_FAILED


def _check_rows(run: ComposeRun, found: Mapping[str, int]) -> None:
    rows, wanted = outputs.count_rows(run.output / outputs.COMPOSITIONS), found["compose.done"] + found["skip.skipped"]
    if rows < wanted:
        message = f"{run.output} holds {rows} rows and should hold {wanted}: something removed them; run again"
        raise JobError(message, reason="rows_missing")


def count(found: dict[str, int], places: int) -> dict[str, Any]:
    """Counters of the stages to what a person asks: how many pictures, done, skipped, failed and where."""
    failed = {name.removesuffix(".failed"): number for name, number in found.items() if name.endswith(".failed")}
    composed, skipped, lost = found.get("compose.done", 0), found.get("skip.skipped", 0), sum(failed.values())
    return {
        "places": places,
        "pictures": composed + skipped + lost,
        "composed": composed,
        "skipped": skipped,
        "failed": lost,
        "failed_in_stage": {stage: number for stage, number in sorted(failed.items()) if number},
        "failed_for_reason": {
            name.removeprefix(REASON): number for name, number in sorted(found.items()) if name.startswith(REASON)
        },
        "without_attention": {
            name.removeprefix(WITHOUT_ATTENTION): number
            for name, number in sorted(found.items())
            if name.startswith(WITHOUT_ATTENTION)
        },
    }


def report(run: ComposeRun, record: RunRecord) -> None:
    """The closing table, failures and places."""
    counts = record.counts
    if counts["composed"] + counts["skipped"]:
        print(compositions_table(run.output))
    print(f"{counts['composed']} composed, {counts['skipped']} there before, {counts['failed']} failed")
    if "albums" in counts:
        print(f"{counts['albums']} albums bound, {counts['albums_failed']} could not be, in {run.output / BOOKS}")
    for line in failure_lines(run.output / outputs.FAILURES):
        print(f"  {line}")
    for line in catalog_lines(run.catalog):
        print(line)
    print(places(run.output))


def _details(run: ComposeRun) -> dict[str, Any]:
    index = {"uri": run.index.uri, "version": run.index.version, "rows": run.index.rows}
    return {"settings": asdict(run.settings), "settings_hash": run.settings.hash, "index": index}
