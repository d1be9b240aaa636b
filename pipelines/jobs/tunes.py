"""The tunes of an index as slices: files identified, then converted and embedded where workers are.

Workers write data files that no version of the table names; whoever started the job commits them, all at once. What a
lost worker wrote, and nobody commits, harms nothing.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import apache_beam as beam
import pyarrow as pa

from image2music.embedders import base as embedders
from image2music.errors import ConfigError
from image2music.index.maintenance import IdentifiedMidi, KnownFile, Stamp
from image2music.index.table import TuneIndex, WriteMode
from image2music.rows import failure_row, now
from image2music.storage.objects import is_store
from image2music.storage.output import Failures
from image2music.storage.tar import is_tar
from image2music.types import CaptionedMidi, Failure
from pipelines.options.index import IndexOptions
from pipelines.runtime.beam_runner import run_here
from pipelines.runtime.job import Job
from pipelines.runtime.slices import WORKER_KILLED, Slice, SliceResult, cut_slices, killed_message
from transforms.deadlines import TimeLimit
from transforms.midi import ConvertTunes, IdentifiedFiles, identify_files
from transforms.pictures import stamps_under
from transforms.retrieve import EmbedCaptions
from transforms.shards import KeepElements, WriteFragments, WrittenFragments, kept_elements
from transforms.stage import REASON, Stage

FEWEST_FILES, SLICES = 2048, 32
"""Lines whose files are hashed, and the most slices of them: each worker reads the list of an archive once."""

FEWEST_TUNES, MOST_TUNES = 64, 1024
"""Files to convert: a slice costs half a second beside its tunes, some twenty seconds of work where it is large, and a
data file of the table, of which `finalize` makes few. Where several work at a small job, each gets some."""

MOST_SLICES = 50_000
"""Slices are larger where there would be more: 50,000 data files are committed in 8 s, with 13 MB in the manifest."""

KnownSource = tuple[CaptionedMidi, dict[str, KnownFile], dict[str, Stamp | None]]
"""What a line says, what is known of the files that it names, and their stamps where the job has listed them."""


@dataclass(frozen=True)
class IdentifySources:
    """Work: lines of captions to the ids of the files that they name (`identify_files`)."""

    midi_root: str

    def check(self) -> None:
        """Any process can read."""

    def do(self, slice: Slice[KnownSource]) -> SliceResult:
        """Hash what is new or has changed."""
        began = time.perf_counter()
        known = {place: file for _, files, _ in slice.items for place, file in files.items()}
        stamps = {place: stamp for *_, listed in slice.items for place, stamp in listed.items()}
        found = identify_files(self.midi_root, [source for source, *_ in slice.items], known, stamps)
        return SliceResult(seconds={"identify": round(time.perf_counter() - began, 3)}, value=found)

    def give_up(self, slice: Slice[KnownSource]) -> SliceResult:
        """Return the failure of a line whose files end every process that reads them."""
        location = slice.items[0][0].location
        return SliceResult(value=IdentifiedFiles(failures=[_killed("identify", location, location)]))


def identify_sources(
    job: Job, midi_root: str, sources: Sequence[CaptionedMidi], known: Mapping[str, KnownFile], most: int | None
) -> IdentifiedFiles:
    """Have all files identified, and return what became of each line, in any order. A store is listed once, here."""
    listed = stamps_under(midi_root, time.time_ns()) if is_store(midi_root) and not is_tar(midi_root) else None

    def with_known(source: CaptionedMidi) -> KnownSource:
        places = [place for place in (source.location, source.image) if place]
        stamps = {place: listed(place) for place in places} if listed is not None else {}
        return source, {place: known[place] for place in places if place in known}, stamps

    size = most or max(FEWEST_FILES, math.ceil(len(sources) / SLICES))
    slices = cut_slices(map(with_known, sources), lambda item: f"{item[0].location}\n{item[0].image}", size)
    found = IdentifiedFiles()
    for result in job.run_slices(slices, IdentifySources(midi_root), "files", len(sources)):
        part: IdentifiedFiles = result.value
        found.tunes += part.tunes
        found.failures += part.failures
        found.manifest |= part.manifest
        found.hashed += part.hashed
    return found


@dataclass(frozen=True)
class MadeTunes:
    """What became of some tunes, of which `first` is the first one's id.

    Data files that no version names yet, as JSON, the ids of their rows, and failures.
    """

    first: str
    fragments: tuple[str, ...] = ()
    tune_ids: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class MakeTunes:
    """Work: tunes to data files of a table, by the pipeline of one machine.

    Tunes that `stored` has are not converted again.
    """

    midi_root: str
    index: str
    mode: WriteMode
    schema: pa.Schema
    embedder_spec: str
    embedder_id: str
    batch_size: int
    limit: TimeLimit
    ticks: str | None = None
    stored: TuneIndex | None = None

    def check(self) -> None:
        """Compare this process with the one that started the job.

        Raises:
            ConfigError: its embedder is another one (`other_worker`).
        """
        found = embedders.load_embedder(self.embedder_spec).id
        if found != self.embedder_id:
            raise ConfigError(f"it has the embedder {found}, not {self.embedder_id}", reason="other_worker")

    def do(self, slice: Slice[IdentifiedMidi]) -> SliceResult:
        """Convert, embed and write all of it; what an earlier worker wrote of it is not looked for."""
        with tempfile.TemporaryDirectory(prefix="image2music-") as folder:
            result = run_here(partial(self._build, tunes=slice.items, folder=folder))
            kept = list(kept_elements(folder))
        written = [one for one in kept if isinstance(one, WrittenFragments)]
        made = MadeTunes(
            first=slice.items[0][0],
            fragments=tuple(fragment for one in written for fragment in one.fragments),
            tune_ids=tuple(tune_id for one in written for tune_id in one.tune_ids),
            failures=tuple(one for one in kept if isinstance(one, Failure)),
        )
        return replace(result, value=made)

    def _build(self, pipeline: beam.Pipeline, tunes: Sequence[IdentifiedMidi], folder: str) -> None:
        given = pipeline | "Tunes" >> beam.Create(tunes, reshuffle=False)
        converted = given | "Convert" >> ConvertTunes(self.midi_root, self.limit, self.stored)
        embedded = converted.done | "Embed" >> Stage(EmbedCaptions(self.embedder_spec, self.batch_size), self.limit)
        write = WriteFragments(self.index, self.schema, self.ticks, self.mode)
        written = embedded.done | "WriteFragments" >> beam.ParDo(write)
        (written, converted.failed, embedded.failed) | beam.Flatten() | "Keep" >> beam.ParDo(KeepElements(folder))

    def give_up(self, slice: Slice[IdentifiedMidi]) -> SliceResult:
        """Return the failure of a tune that ends its worker."""
        tune_id, source = slice.items[0]
        failure = _killed("convert", tune_id, source.location)
        return SliceResult(
            {"convert.failed": 1, f"{REASON}{WORKER_KILLED}": 1}, value=MadeTunes(tune_id, failures=(failure,))
        )


def tunes_a_slice(tunes: int, options: IndexOptions) -> int:
    """Return how many of so many tunes a slice has."""
    if options.slice_size is not None:
        return options.slice_size
    alone = options.workers == 1 and not options.cluster
    few = MOST_TUNES if alone else min(MOST_TUNES, max(FEWEST_TUNES, math.ceil(tunes / SLICES)))
    return max(few, math.ceil(tunes / MOST_SLICES))


def make_tunes(
    job: Job, work: MakeTunes, tunes: Sequence[IdentifiedMidi], most: int, failures: Failures
) -> tuple[WrittenFragments, Counter[str]]:
    """Have all tunes made; return their data files in the order of the tunes, and the stages' counters.

    Failures are written as they come.
    """
    counters: Counter[str] = Counter()
    parts: dict[str, MadeTunes] = {}
    slices = cut_slices(tunes, lambda one: one[0], most)
    for result in job.run_slices(slices, work, "tunes", len(tunes)):
        counters.update(result.counters)
        made: MadeTunes = result.value
        failures.add([failure_row(failure, now()) for failure in made.failures])
        parts[made.first] = made
    ordered = [parts[tune_id] for tune_id, _ in tunes if tune_id in parts]
    fragments = tuple(fragment for made in ordered for fragment in made.fragments)
    return WrittenFragments(fragments, tuple(tune_id for made in ordered for tune_id in made.tune_ids)), counters


def _killed(stage: str, id: str, uri: str) -> Failure:
    return Failure(stage, id, uri, WORKER_KILLED, killed_message("file"))
