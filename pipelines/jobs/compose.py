"""Pictures to tunes: describe, embed, retrieve, compose, write.

Which pictures a run takes.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from image2music.album.plan import RECIPE as ALBUM_RECIPE
from image2music.catalog import Matched, match, read_catalog
from image2music.composers import registry as composers
from image2music.embedders import registry as embedders
from image2music.errors import ConfigError, TuneIndexError
from image2music.images.archives import is_picture_archive, is_web, list_members
from image2music.images.http import WebRule
from image2music.index.table import TuneIndex, narrowed, open_index
from image2music.rows import Provenance
from image2music.settings import ComposeSettings, prompts_version
from image2music.storage import datasets
from image2music.types import NO_METADATA, ImageMetadata, ImageSource
from pipelines.cli.options import ComposeOptions
from schemas.composition import METADATA_FIELDS
from transforms.album import PlanAlbums
from transforms.compose import ComposeTunes
from transforms.deadlines import TimeLimit
from transforms.embed import EmbedPictures
from transforms.files import PictureReader, open_seekable
from transforms.log_lines import LogPictures
from transforms.pictures import DescribePictures, IdentifyPictures, SkipFinished
from transforms.retrieve import RetrieveTunes
from transforms.shards import composition_sink, failure_sink
from transforms.stage import Stage


def list_pictures(images: str, allow_web: WebRule = "none") -> list[str]:
    """The places of all pictures, sorted. Places stay as given: relative stays relative.

    `images` is a folder (every regular file, at any depth, whatever its ending), a glob, one file, or `@LIST`: a text
    file with a place on each line, where empty lines and lines that begin with # do not count. A tar or Parquet file
    stands for the pictures in it. A place of a list that is not there is found out, and accounted for, by the run.

    Raises:
        ConfigError: nothing is there (`images_missing`), nothing is in it (`images_empty`), or a web address is named
            without --allow_web (`web_not_allowed`).
    """
    found = list(_listed(images[1:]) if images.startswith("@") else _found(images))
    if allow_web == "none" and (addresses := [place for place in found if is_web(place)]):
        message = f"--images: {len(addresses)} web addresses, such as {addresses[0]}; add --allow_web to open them"
        raise ConfigError(message, reason="web_not_allowed")
    pictures = sorted({picture for place in found for picture in _expanded(place)})
    if not pictures:
        raise ConfigError(f"--images: no files in {images}", reason="images_empty")
    return pictures


def _found(images: str) -> Iterator[str]:
    if is_web(images):
        yield images
    elif "://" in images:
        yield from _remote(images)
    elif os.path.isdir(images):
        for folder, _, names in os.walk(images):
            yield from (path for name in names if os.path.isfile(path := os.path.join(folder, name)))
    else:
        found = [images] if os.path.lexists(images) else glob.glob(images, recursive=True)
        if not found and not glob.has_magic(images):
            raise ConfigError(f"--images: there is no folder or file {images}", reason="images_missing")
        yield from (path for path in found if os.path.isfile(path))


def _remote(images: str) -> Iterator[str]:
    """A file or a glob of an object store, or everything under a name that is neither."""
    for pattern in (images, f"{images.rstrip('/')}/**"):
        try:
            matches = FileSystems.match([pattern])
        except ValueError as error:  # Beam's way to say that it has no file system for this kind of address
            kind = images.split("://", 1)[0]
            message = f"--images: {kind}:// cannot be opened: install Beam's part for it (apache-beam[gcp], [aws])"
            raise ConfigError(message, reason="no_file_system") from error
        found = [entry.path for match in matches for entry in match.metadata_list]
        if found:
            yield from found
            return


def _listed(path: str) -> Iterator[str]:
    if not os.path.isfile(path):
        raise ConfigError(f"--images: there is no list {path}", reason="images_missing")
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as lines:
        places = (line.strip() for line in lines)
        yield from (place for place in places if place and not place.startswith("#"))


def _expanded(place: str) -> list[str]:
    if is_picture_archive(place) and ("://" in place or os.path.isfile(place)):
        return list_members(place, open_seekable)
    return [place]


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
    briefs: Mapping[str, ImageMetadata] = field(default_factory=dict)

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
        return TimeLimit(self.options.time_limit, str(self.output / datasets.STUCK))

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
    handler = ComposeTunes(options.composer, options.loop, options.seed, options.batch_size, options.attention_options)
    composed = retrieved | "Compose" >> Stage(handler, run.limit)
    composed.done | "WriteCompositions" >> composition_sink(
        run.output, run.index.dim, run.more_columns, run.provenance, ticks
    )
    failed = [*failed_before, composed.failed] | "Failures" >> beam.Flatten()
    failed | "WriteFailures" >> failure_sink(run.output / datasets.FAILURES, ticks)
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
        composer_id=(_id_of_loaded if options.works_here else composers.composer_id)(options.composer),
        embedder_id=embedder_id,
        prompts_version=prompts_version(),
        top_k=options.top_k,
        loop=options.loop,
        seed=options.seed,
        where=options.where,
        album=ALBUM_RECIPE if options.album else None,
        looking=options.attention_options.name,
    )
    briefs = {place.uri: place.brief for place in catalog.places if place.brief != NO_METADATA} if catalog else {}
    return ComposeRun(options, settings, index, embedder_spec, tuple(pictures), Path(options.output), catalog, briefs)


def _id_of_loaded(spec: str) -> str:
    # Whatever keeps it from loading is better said before anything is written.
    return composers.load_composer(spec).id
