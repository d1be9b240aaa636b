"""The chain from places to rows, as a Beam pipeline: of a whole job, or of one slice of it.

After the pictures are told apart nothing is shuffled, so pixels stay where they were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import apache_beam as beam
import pyarrow as pa

from image2music.catalog import Matched
from image2music.images.reading import PictureReader
from image2music.index.table import TuneIndex
from image2music.music.planning.plan import Plan
from image2music.rights import ModelLicences
from image2music.rows import Provenance
from image2music.settings import ComposeSettings
from image2music.storage.output import OutputStore
from image2music.types import NO_METADATA, ImageMetadata, ImageSource
from pipelines.options.compose import AblateOptions, ComposeOptions
from schemas.composition import METADATA_FIELDS
from transforms.album import PlanAlbums
from transforms.compose import ComposeTunes
from transforms.deadlines import TimeLimit
from transforms.pictures import DescribePictures, IdentifyPictures, PictureList, SkipFinished, with_plan
from transforms.retrieve import EmbedPictures, RetrieveTunes
from transforms.shards import LogPictures, composition_sink, failure_sink
from transforms.stage import Stage


@dataclass(frozen=True)
class ComposeRun:
    """A run with everything looked up: nothing in it can be wrong any more."""

    options: ComposeOptions | AblateOptions
    settings: ComposeSettings
    index: TuneIndex
    embedder_spec: str
    pictures: tuple[str, ...]
    output: OutputStore
    catalog: Matched | None = None
    briefs: Mapping[str, ImageMetadata] = field(default_factory=dict)
    listed: PictureList = field(default_factory=lambda: PictureList((), {}))
    plans: Mapping[str, Plan] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    """Of further takes, by image_id; all other pictures have the settings' seed."""
    columns: tuple[str, ...] | None = None
    """Names of `more_columns`, where the metadata that tell are left out."""
    licences: ModelLicences = field(default_factory=ModelLicences)

    def for_workers(self) -> ComposeRun:
        """Return what every slice of the run needs: nothing of single pictures."""
        columns = tuple(column.name for column in self.more_columns)
        nothing = PictureList((), {})
        return replace(self, pictures=(), catalog=None, briefs={}, listed=nothing, plans={}, seeds={}, columns=columns)

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
        """Whether pictures get their parts in this run; pictures of the output's rows keep those that they have."""
        return self.options.album and not self.options.from_rows

    @property
    def more_columns(self) -> tuple[pa.Field, ...]:
        """Columns that only some runs have."""
        if self.columns is not None:
            return tuple(METADATA_FIELDS[name] for name in self.columns)
        brought = {name for brief in self.briefs.values() for name, value in brief.row.items() if value is not None}
        wanted = {
            "hint": "hint" in brought,
            "wishes": "wishes" in brought,
            "asked_plan": bool(self.plans) or "asked_plan" in brought,
            "album_part": self.options.album,
        }
        return tuple(METADATA_FIELDS[name] for name, here in wanted.items() if here)


def compose_pipeline(
    pipeline: beam.Pipeline, ticks: str | None, run: ComposeRun, finished: frozenset[bytes], log_json: str = ""
) -> None:
    """Build a whole job as one pipeline."""
    refs, failed = tell_apart(pipeline, run)
    retrieved, lost = find_references(refs, run, finished)
    write_tunes(retrieved, [*failed, *lost], run, ticks, log_json)


def tell_apart(pipeline: beam.Pipeline, run: ComposeRun) -> tuple[beam.PCollection, list[beam.PCollection]]:
    """Build the stages that read every place and plan albums; return pictures by their content, and what failed."""
    read = PictureReader(run.options.allow_web)
    sources = [ImageSource(uri, run.briefs.get(uri, NO_METADATA)) for uri in run.pictures]
    identified = pipeline | "Places" >> beam.Create(sources) | "Identify" >> IdentifyPictures(read)
    refs = identified.done
    if run.plans:
        refs = refs | "GivePlans" >> beam.Map(with_plan, run.plans, run.options.images)
    if run.plans_albums:
        refs = refs | "PlanAlbums" >> PlanAlbums(
            run.options.seed, read, run.limit, run.output.glances, run.options.chapter_gap
        )
    return refs, [identified.failed]


def find_references(
    refs: beam.PCollection, run: ComposeRun, finished: frozenset[bytes], composed: frozenset[bytes] = frozenset()
) -> tuple[beam.PCollection, list[beam.PCollection]]:
    """Build the stages up to retrieval; return pictures with their references, and what failed on the way.

    `finished`, and `composed` earlier in this run, are the keys of pictures that have a row.
    """
    options, size, read = run.options, run.options.batch_size, PictureReader(run.options.allow_web)
    todo = refs | "SkipFinished" >> beam.ParDo(SkipFinished(finished, composed))
    described = todo | "Describe" >> Stage(
        DescribePictures(options.composer, size, read, options.sending, options.language), run.limit
    )
    suited = run.settings.loop.protocol == "plan"
    embedded = described.done | "Embed" >> Stage(EmbedPictures(run.embedder_spec, size, suited=suited), run.limit)
    retrieved = embedded.done | "Retrieve" >> RetrieveTunes(run.index, options.top_k, size, suited=suited)
    return retrieved.done, [stage.failed for stage in (described, embedded, retrieved)]


def write_tunes(
    retrieved: beam.PCollection,
    failed_before: Iterable[beam.PCollection],
    run: ComposeRun,
    ticks: str | None,
    log_json: str = "",
    of: str = "",
) -> None:
    """Build the stages from references to rows; all failures are written, those of stages before included."""
    options = run.options
    handler = ComposeTunes(
        options.composer,
        options.loop,
        options.seed,
        options.batch_size,
        options.attention_options,
        run.seeds,
        options.style,
        options.sending,
        options.language,
        run.licences,
        options.length,
        options.seamless,
    )
    composed = retrieved | "Compose" >> Stage(handler, run.limit)
    composed.done | "WriteCompositions" >> composition_sink(
        run.output.compositions, run.index.dim, run.more_columns, run.provenance, ticks, run.seeds, of
    )
    failed = [*failed_before, composed.failed] | "Failures" >> beam.Flatten()
    failed | "WriteFailures" >> failure_sink(run.output.failures, ticks, of=of)
    if log_json:
        # Not brought together before: a runner may cut a pipeline there, and pictures would have to pass.
        composed.done | "LogComposed" >> beam.ParDo(LogPictures(log_json))
        failed | "LogFailed" >> beam.ParDo(LogPictures(log_json))
