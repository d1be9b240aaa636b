"""Pictures to tunes: describe, embed, retrieve, compose, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import apache_beam as beam
import pyarrow as pa

from image2music.album.plan import RECIPE as ALBUM_RECIPE
from image2music.catalog import Matched, match, read_catalog
from image2music.composers import registry as composers
from image2music.embedders import registry as embedders
from image2music.errors import TuneIndexError
from image2music.index.table import TuneIndex, narrowed, open_index
from image2music.rows import Provenance
from image2music.settings import ComposeSettings, prompts_version
from image2music.storage.output import OutputStore, open_output
from image2music.types import NO_METADATA, ImageMetadata, ImageSource
from pipelines.cli.options import ComposeOptions
from schemas.composition import METADATA_FIELDS
from transforms.album import PlanAlbums
from transforms.compose import ComposeTunes
from transforms.deadlines import TimeLimit
from transforms.embed import EmbedPictures
from transforms.files import PictureReader
from transforms.log_lines import LogPictures
from transforms.pictures import DescribePictures, IdentifyPictures, PictureList, SkipFinished, list_pictures
from transforms.retrieve import RetrieveTunes
from transforms.shards import composition_sink, failure_sink
from transforms.stage import Stage


@dataclass(frozen=True)
class ComposeRun:
    """A run with everything looked up: nothing in it can be wrong any more."""

    options: ComposeOptions
    settings: ComposeSettings
    index: TuneIndex
    embedder_spec: str
    pictures: tuple[str, ...]
    output: OutputStore
    catalog: Matched | None = None
    briefs: Mapping[str, ImageMetadata] = field(default_factory=dict)
    listed: PictureList = field(default_factory=lambda: PictureList((), {}))

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
        return TimeLimit(self.options.time_limit, self.output.stuck_notes)

    @property
    def plans_albums(self) -> bool:
        """Whether pictures get their parts in this run; a refresh keeps those that the rows have."""
        return self.options.album and not self.options.refresh

    @property
    def more_columns(self) -> tuple[pa.Field, ...]:
        """Columns that only some runs have."""
        brought = {name for brief in self.briefs.values() for name, value in brief.row.items() if value is not None}
        wanted = {"hint": "hint" in brought, "album_part": self.options.album}
        return tuple(METADATA_FIELDS[name] for name, here in wanted.items() if here)


def compose_pipeline(pipeline: beam.Pipeline, run: ComposeRun, finished: frozenset[bytes], ticks: str | None) -> None:
    """The whole job. After the pictures are told apart nothing is shuffled, so pixels stay where they were read."""
    options = run.options
    retrieved, failed_before = find_references(pipeline, run, finished)
    handler = ComposeTunes(options.composer, options.loop, options.seed, options.batch_size, options.looking)
    composed = retrieved | "Compose" >> Stage(handler, run.limit)
    composed.done | "WriteCompositions" >> composition_sink(
        run.output.compositions, run.index.dim, run.more_columns, run.provenance, ticks
    )
    failed = [*failed_before, composed.failed] | "Failures" >> beam.Flatten()
    failed | "WriteFailures" >> failure_sink(run.output.failures, ticks)
    if options.log_json:
        (composed.done, failed) | "Ends" >> beam.Flatten() | "LogPictures" >> beam.ParDo(LogPictures(options.log_json))


def find_references(
    pipeline: beam.Pipeline, run: ComposeRun, finished: frozenset[bytes]
) -> tuple[beam.PCollection, list[beam.PCollection]]:
    """Pictures that have no row yet, described and with the tunes that they recall; and what failed on the way."""
    options, size, read = run.options, run.options.batch_size, PictureReader(run.options.allow_web)
    places = pipeline | "Places" >> beam.Create(
        [ImageSource(uri, run.briefs.get(uri, NO_METADATA)) for uri in run.pictures]
    )
    identified = places | "Identify" >> IdentifyPictures(read)
    planned = identified.done | "PlanAlbums" >> PlanAlbums(options.seed, read) if run.plans_albums else identified.done
    todo = planned | "SkipFinished" >> beam.ParDo(SkipFinished(finished))
    described = todo | "Describe" >> Stage(DescribePictures(options.composer, size, read), run.limit)
    embedded = described.done | "Embed" >> Stage(EmbedPictures(run.embedder_spec, size), run.limit)
    retrieved = embedded.done | "Retrieve" >> RetrieveTunes(run.index, options.top_k, size)
    return retrieved.done, [stage.failed for stage in (identified, described, embedded, retrieved)]


def look_up(options: ComposeOptions) -> ComposeRun:
    """Open what the options name, and hold one against the other. Models are loaded where this process will use them.

    Raises:
        Image2MusicError: something is missing, or does not fit together.
    """
    pictures = PictureList((), {}) if options.refresh else list_pictures(options.images, options.allow_web)
    catalog = match(read_catalog(options.catalog), pictures.places, options.images) if options.catalog else None
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
        composer_id=(_id_of_loaded if options.works_here else composers.composer_id)(options.composer),
        embedder_id=embedder_id,
        prompts_version=prompts_version(),
        top_k=options.top_k,
        loop=options.loop,
        seed=options.seed,
        where=options.where,
        album=ALBUM_RECIPE if options.album else None,
        looking=options.looking.name,
    )
    briefs = {place.uri: place.brief for place in catalog.places if place.brief != NO_METADATA} if catalog else {}
    output = open_output(options.output)
    return ComposeRun(options, settings, index, embedder_spec, pictures.places, output, catalog, briefs, pictures)


def _id_of_loaded(spec: str) -> str:
    # Whatever keeps it from loading is better said before anything is written.
    return composers.load_composer(spec).id
