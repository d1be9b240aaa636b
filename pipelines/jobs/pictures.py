"""The pictures of a job as slices: each place identified, each album planned, and what has no row cut into slices.

What is found out of places and pictures is kept in the output, a shard for each slice of them that is cut by names, so
that the next run, and other parts of an array job, need not find it out again. Nothing here holds more in memory than
the list of places and a few bytes for each.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, groupby, islice
from typing import Any, Generic, TypeVar

import apache_beam as beam
import numpy as np

from image2music.album.plan import ImageSummary, album_recipe, summary_as_json, summary_of_json
from image2music.composers import registry as composers
from image2music.embedders import base as embedders
from image2music.errors import ConfigError, Image2MusicError, JobError
from image2music.images.reading import PictureReader
from image2music.images.sources import album_of
from image2music.index.table import open_index
from image2music.loop.chain import rules_version
from image2music.rows import KEY_COLUMNS, Row, composition_key, failure_row, now, printable
from image2music.settings import ComposeSettings, language_version, prompts_version
from image2music.storage.datasets import Dataset, read_shards
from image2music.storage.output import OutputStore
from image2music.types import NO_METADATA, Failure, ImageRef, metadata_key
from pipelines.jobs.chain import ComposeRun, find_references, write_tunes
from pipelines.options.compose import AblateOptions, ComposeOptions, PictureOptions
from pipelines.runtime.beam_runner import run_here
from pipelines.runtime.job import Job
from pipelines.runtime.options import ArrayPart
from pipelines.runtime.slices import (
    PICTURES_A_SLICE,
    WORKER_KILLED,
    Slice,
    SliceResult,
    SliceWork,
    cut_by_name,
    cut_slices,
    killed_message,
)
from schemas.album import GLANCE_SCHEMA
from schemas.place import PLACE_SCHEMA
from transforms.album import summarise_picture, told_anew, with_parts
from transforms.pictures import MOTION, Identified, identify, place_stamp, with_plan
from transforms.stage import REASON

Thing = TypeVar("Thing")

ABOUT = 256
"""Places whose identity is kept in one shard; four times as many for each time that a job is four times larger than
`MANY`, so that a hundred million make some ten thousand shards."""
MANY = 100_000

_PLACE_KEYS = ("uri", "image_id", "stamp")
_NOTHING: Row = dict.fromkeys(PLACE_SCHEMA.names)


@dataclass(frozen=True)
class Todo:
    """A picture without a row: its `seed` where it is another take, the bytes of its file."""

    ref: ImageRef
    size: int = 0
    seed: int | None = None


class Fitness:
    """See whether a process is fit for a run: the same models, rules and index as whoever started it."""

    run: ComposeRun

    def check(self) -> None:
        """Compare this process with the run.

        Raises:
            ConfigError: it would make other rows (`other_worker`).
        """
        run = self.run
        try:
            here, version = settings_here(run.options, run.embedder_spec), open_index(run.index.uri).version
        except Image2MusicError as error:
            raise ConfigError(str(error), reason="other_worker") from error
        wanted, found = vars(run.settings), vars(here)
        other = [f"{name} {found[name]}, not {wanted[name]}" for name in wanted if found[name] != wanted[name]]
        if version < run.index.version:
            other.append(f"version {version} of {run.index.uri}, not {run.index.version}")
        if other:
            raise ConfigError(f"it has {'; '.join(other)}", reason="other_worker")


@cache
def settings_here(options: ComposeOptions | AblateOptions, embedder_spec: str) -> ComposeSettings:
    """Return the settings of a run that this process composes, with the models that it loads."""
    composer_id = composers.load_composer(options.composer, options.sending).id
    return settings_of(options, composer_id, embedders.load_embedder(embedder_spec).id)


def settings_of(options: ComposeOptions | AblateOptions, composer_id: str, embedder_id: str) -> ComposeSettings:
    """Return everything that a row depends on beside picture and index."""
    return ComposeSettings(
        composer_id=composer_id,
        embedder_id=embedder_id,
        prompts_version=prompts_version(),
        top_k=options.top_k,
        loop=options.loop,
        seed=options.seed,
        where=options.where,
        album=album_recipe(options.chapter_gap) if options.album else None,
        looking=options.attention_options.name,
        rules=rules_version(),
        style=options.style or None,
        language=language_version(options.language),
        length=options.length,
        seamless=options.seamless or None,
    )


@dataclass(frozen=True)
class IdentifyPlaces:
    """Work: places, each with what is known of it, to rows of schemas/place.py.

    `trusts` lets what another part of an array job has found stand where nobody can tell whether a place has changed.
    """

    places: Dataset
    read: PictureReader
    trusts: bool = False

    def check(self) -> None:
        """Any process can read."""

    def do(self, slice: Slice[tuple[str, Row | None]]) -> SliceResult:
        """Read what is new or has changed; where all is as it was, write nothing."""
        start, began = time.time_ns(), time.perf_counter()
        own = self.places.shards(slice.root)
        there = {row["uri"]: row for row in read_shards(own, PLACE_SCHEMA.names)}
        rows = [self._row(uri, there.get(printable(uri), known), start) for uri, known in slice.items]
        if len(own) != 1 or slice.earlier or [there.get(row["uri"]) for row in rows] != rows:
            shard = self.places.append(rows, PLACE_SCHEMA, _PLACE_KEYS, slice.root)
            if not slice.earlier:  # halves lie beside each other
                self.places.discard(old for old in own if os.path.basename(old) != os.path.basename(shard))
        return SliceResult(seconds={"identify": round(time.perf_counter() - began, 3)})

    def _row(self, uri: str, known: Row | None, started_ns: int) -> Row:
        stamp = place_stamp(uri, started_ns)
        stays = known is not None and known["image_id"] is not None and known["stamp"] == stamp
        if known is not None and stays and (stamp is not None or self.trusts):
            return known
        found = identify(uri, self.read)
        if isinstance(found, Identified):
            content = {"image_id": found.image_id, "size": found.size, "motion": found.motion}
            return _NOTHING | {"uri": printable(uri), "stamp": stamp} | content
        return _NOTHING | {"uri": printable(uri), "reason": found.reason, "message": found.message}

    def give_up(self, slice: Slice[tuple[str, Row | None]]) -> SliceResult:
        """Note that reading a place ends its process."""
        row = {"uri": printable(slice.items[0][0]), "reason": WORKER_KILLED, "message": killed_message("picture")}
        self.places.append([_NOTHING | row], PLACE_SCHEMA, _PLACE_KEYS, slice.root)
        return SliceResult()


@dataclass(frozen=True)
class GlanceAtPictures:
    """Work: pictures, each with what an earlier run saw, to rows of GLANCE_SCHEMA."""

    run: ComposeRun

    def check(self) -> None:
        """What planned albums is among the settings that composing checks."""

    def do(self, slice: Slice[tuple[Todo, Row | None]]) -> SliceResult:
        """Look at pictures that nobody has looked at; one that cannot be opened is left out."""
        began, run, eyes = time.perf_counter(), self.run, album_recipe()
        own = run.output.glances.shards(slice.root)
        there = {row["image_id"]: row for row in read_shards(own, GLANCE_SCHEMA.names) if row["seen_by"] == eyes}
        read, rows = PictureReader(run.options.allow_web), []
        for one, known in slice.items:
            ref, row = one.ref, there.get(one.ref.image_id) or _seen_by(eyes, known)
            seen = summarise_picture(ref, read, run.limit) if row is None else told_anew(_summary(ref, row))
            if seen is not None:
                rows.append({"image_id": ref.image_id, "seen_by": eyes, "summary": summary_as_json(seen)})
        if rows and any(there.get(row["image_id"]) != row for row in rows):
            shard = run.output.glances.append(rows, GLANCE_SCHEMA, ("image_id", "seen_by"), slice.root)
            if not slice.earlier:
                run.output.glances.discard(old for old in own if os.path.basename(old) != os.path.basename(shard))
        return SliceResult(seconds={"glance": round(time.perf_counter() - began, 3)})

    def give_up(self, slice: Slice[tuple[Todo, Row | None]]) -> SliceResult:
        """Leave it out of its album's plan: composing meets it again, and writes the failure."""
        return SliceResult()


def _seen_by(eyes: str, row: Row | None) -> Row | None:
    return row if row is not None and row["seen_by"] == eyes else None


@dataclass(frozen=True)
class ComposePictures(Fitness):
    """Work: pictures to rows and failures, by the pipeline of one machine."""

    run: ComposeRun
    ticks: str | None = None
    log_json: str = ""

    def do(self, slice: Slice[Todo]) -> SliceResult:
        """Compose what neither this slice nor one that it was halved from has finished."""
        self.run.output.failures.discard(self.run.output.failures.shards(slice.id))
        run = replace(self.run, seeds={one.ref.image_id: one.seed for one in slice.items if one.seed is not None})
        composed = finished_by(run.output.compositions, slice)
        return run_here(partial(self._build, run=run, slice=slice, composed=composed))

    def _build(self, pipeline: beam.Pipeline, run: ComposeRun, slice: Slice[Todo], composed: frozenset[bytes]) -> None:
        refs = pipeline | "Pictures" >> beam.Create([one.ref for one in slice.items])
        retrieved, failed = find_references(refs, run, frozenset(), composed)
        write_tunes(retrieved, failed, run, self.ticks, self.log_json, slice.id)

    def give_up(self, slice: Slice[Todo]) -> SliceResult:
        """Write the failure of a picture that ends its worker."""
        ref = slice.items[0].ref
        failure = Failure("compose", ref.image_id, ref.uri, WORKER_KILLED, killed_message("picture"))
        self.run.output.failures.add([failure_row(failure, now())])
        return SliceResult({"compose.failed": 1, f"{REASON}{WORKER_KILLED}": 1})


def finished_by(compositions: Dataset, slice: Slice[Any]) -> frozenset[bytes]:
    """Return the keys of the rows that a slice, or one that it was halved from, has written before it was lost."""
    shards = [shard for id in (slice.id, *slice.earlier) for shard in compositions.shards(id)]
    return frozenset(map(composition_key, read_shards(shards, KEY_COLUMNS)))


@dataclass(frozen=True)
class Survey(Generic[Thing]):
    """What is found out of each thing of a job, and kept in a dataset: rows that `key` names as `name` does the thing.

    A shard holds the rows of one slice, cut by names: a thing that comes or goes touches one shard.
    """

    things: Sequence[Thing]
    name: Callable[[Thing], str]
    kept: Dataset
    key: str
    columns: Sequence[str]

    def slices(self) -> Iterator[Slice[Thing]]:
        """Cut the things, the same way each time."""
        about, many = ABOUT, MANY
        while len(self.things) > many:
            about, many = 4 * about, 16 * many
        return cut_by_name(self.things, self.name, about)

    def make(self, job: Job, work: SliceWork[tuple[Thing, Row | None]], what: str, part: ArrayPart | None) -> None:
        """Have all slices done; a part of an array job begins with its share, and finds what others have done."""
        ids = [slice.id for slice in self.slices()]
        first = (part.number - 1) * len(ids) // part.of if part is not None else 0
        known = self._moved(ids)
        slices = self.slices() if not first else chain(islice(self.slices(), first, None), islice(self.slices(), first))
        given = (Slice(one.names, tuple((thing, known.get(self.name(thing))) for thing in one.items)) for one in slices)
        for _ in job.run_slices(given, work, what, len(self.things)):
            pass

    def _moved(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return the rows of slices that there are no more: something in them came or went."""
        gone = self._stale(ids)
        return {row[self.key]: row for row in read_shards(gone, self.columns)}

    def _stale(self, ids: Iterable[str]) -> list[str]:
        here = frozenset(ids)
        return [shard for id, shards in self.kept.shards_by_slice().items() if id not in here for shard in shards]

    def read(self) -> Iterator[tuple[Thing, Row | None]]:
        """Yield each thing with its row, in order; None where there is none."""
        shards = self.kept.shards_by_slice()
        for slice in self.slices():
            rows = {row[self.key]: row for row in read_shards(shards.get(slice.id, ()), self.columns)}
            yield from ((thing, rows.get(name)) for thing, name in zip(slice.items, slice.names, strict=True))

    def tidy(self) -> None:
        """Drop the rows of slices that there are no more; for the one who holds the lock."""
        self.kept.discard(self._stale(slice.id for slice in self.slices()))


def slices_to_compose(
    job: Job, run: ComposeRun, finished: frozenset[bytes], found: Counter[str]
) -> Iterator[Slice[Todo]]:
    """Identify every place, plan albums, and return what has no row as slices; of an array job, one part's share.

    All parts cut the same slices, whatever has a row by then. Counts of what was skipped or failed go to `found`, the
    failures into the output.
    """
    part, survey = run.options.part, survey_of_places(run.pictures, run.output)
    work = IdentifyPlaces(run.output.places, PictureReader(run.options.allow_web), trusts=part is not None)
    survey.make(job, work, "places", part)
    if part is None:
        survey.tidy()
    pictures: Iterator[Todo] = (_todo(run, one) for one in each_once(survey, part, run.output, found))
    if run.plans_albums:
        pictures = planned_albums(job, run, pictures, found)
    return _without_row(run, pictures, finished, found)


def _without_row(
    run: ComposeRun, pictures: Iterable[Todo], finished: frozenset[bytes], found: Counter[str]
) -> Iterator[Slice[Todo]]:
    most = pictures_a_slice(run.options, len(run.pictures))
    for slice in slices_of_part(pictures, _id_of, lambda one: one.size, run.options, most):
        todo = [one for one in slice.items if metadata_key(one.ref.image_id, one.ref.brief.row) not in finished]
        found["skip.skipped"] += len(slice) - len(todo)
        yield from cut_slices(todo, _id_of, len(slice))


SLICES_A_WORKER = 4
"""Of a job with few pictures: with one slice for each worker, all would wait for the slowest."""


def pictures_a_slice(options: PictureOptions, pictures: int) -> int:
    """Return how many pictures a slice has at most: fewer than usual where the workers here would have none else."""
    if options.slice_size or options.part is not None or options.workers == 1:
        return options.slice_size or PICTURES_A_SLICE
    return max(1, min(PICTURES_A_SLICE, -(-pictures // (SLICES_A_WORKER * options.workers))))


def slices_of_part(
    pictures: Iterable[Thing],
    name: Callable[[Thing], str],
    size: Callable[[Thing], int],
    options: PictureOptions,
    most: int,
) -> Iterator[Slice[Thing]]:
    """Cut pictures as a job does, `most` in a slice, and yield all slices, or of an array job those of its part."""
    part = options.part or ArrayPart(1, 1)
    slices = cut_slices(pictures, name, most, size)
    return (slice for number, slice in enumerate(slices) if number % part.of == part.number - 1)


def survey_of_places(places: Sequence[str], output: OutputStore) -> Survey[str]:
    """Return what is known of every place of a job."""
    return Survey(places, printable, output.places, "uri", PLACE_SCHEMA.names)


@dataclass(frozen=True)
class Distinct:
    """Bytes that lie at one place or more, in the order in which they were listed."""

    image_id: str
    uris: tuple[str, ...]
    size: int

    @property
    def uri(self) -> str:
        """The first place of all, by the bytes of its name, as that of an ImageRef is."""
        return min(self.uris, key=os.fsencode)


def each_once(
    survey: Survey[str], part: ArrayPart | None, output: OutputStore | None = None, found: Counter[str] | None = None
) -> Iterator[Distinct]:
    """Yield each picture once, where the first of its places was listed.

    Places that could not be read are counted in `found` and written to the failures of `output`, where these are given;
    those of a part's share alone, where there are parts.

    Raises:
        JobError: a place was not identified (`rows_missing`).
    """
    repeated = _repeated(row["image_id"] for _, row in survey.read() if row is not None)
    uris: dict[str, list[str]] = {}
    for uri, row in survey.read() if repeated else ():
        if row is not None and row["image_id"] is not None and _short(row["image_id"]) in repeated:
            uris.setdefault(row["image_id"], []).append(uri)
    failures: list[Row] = []
    counted: Counter[str] = Counter() if found is None else found
    for number, (uri, row) in enumerate(survey.read()):
        if row is None:
            message = f"{survey.kept.uri} does not say what lies at {uri}: the same command goes on"
            raise JobError(message, reason="rows_missing")
        ours = part is None or number % part.of == part.number - 1
        if row["image_id"] is None:
            failures += [_failed_place(uri, row)] if ours else []
            counted.update(ours * ["identify.failed", f"{REASON}{row['reason']}"])
        else:
            counted["identify.done"] += ours
            all_uris = uris.get(row["image_id"], [uri])
            if uri == all_uris[0]:
                counted[MOTION] += ours and bool(row.get("motion"))
                yield Distinct(row["image_id"], tuple(all_uris), row["size"] or 0)
    if output is not None:
        output.failures.add(failures)


def _failed_place(uri: str, row: Row) -> Row:
    return failure_row(Failure("identify", uri, uri, row["reason"], row["message"]), now())


def _todo(run: ComposeRun, one: Distinct) -> Todo:
    """Return a picture with what the first place that brings something brings, and a person's plan."""
    ordered = tuple(sorted(one.uris, key=os.fsencode))
    briefs = (run.briefs.get(uri, NO_METADATA) for uri in ordered)
    brief = next((brief for brief in briefs if brief != NO_METADATA), NO_METADATA)
    ref = ImageRef(image_id=one.image_id, uris=ordered, brief=brief)
    planned = with_plan(ref, run.plans, run.options.images) if run.plans else ref
    return Todo(planned, one.size, run.seeds.get(one.image_id))


def _id_of(one: Todo) -> str:
    return one.ref.image_id


def _short(image_id: str) -> int:
    return int(image_id[:15], 16)


def _repeated(ids: Iterable[str | None]) -> frozenset[int]:
    """Return the beginnings of the ids that come more than once: eight bytes for each place, no more."""
    short = np.fromiter((_short(id) for id in ids if id is not None), np.int64)
    short.sort()
    return frozenset(short[1:][short[1:] == short[:-1]].tolist())


def by_album(uri: str) -> bytes:
    """Return what pictures are ordered by where albums are planned."""
    return os.fsencode(album_of(uri))


NEAR_DUPLICATES = "album.near_duplicates"
"""The counter of pictures that are near-duplicates of an earlier one of their album."""


def planned_albums(job: Job, run: ComposeRun, pictures: Iterable[Todo], found: Counter[str]) -> Iterator[Todo]:
    """Return pictures, album by album, with their parts in their album's plan: workers look, here it is planned.

    Near-duplicates are counted in `found`.
    """
    ordered = sorted(pictures, key=lambda one: by_album(one.ref.uri))
    survey = Survey(ordered, _id_of, run.output.glances, "image_id", GLANCE_SCHEMA.names)
    survey.make(job, GlanceAtPictures(run.for_workers()), "glances", run.options.part)
    if run.options.part is None:
        survey.tidy()
    return _with_parts(run, survey, found)


def _with_parts(run: ComposeRun, survey: Survey[Todo], found: Counter[str]) -> Iterator[Todo]:
    eyes = album_recipe()
    for _, album in groupby(survey.read(), key=lambda seen: album_of(seen[0].ref.uri)):
        seen_here = ((one, _seen_by(eyes, row)) for one, row in album)
        here = [(one, _summary(one.ref, row) if row is not None else None) for one, row in seen_here]
        parts = list(with_parts([(one.ref, seen) for one, seen in here], run.options.seed, run.options.chapter_gap))
        themes = [ref.brief.part.theme for ref in parts if ref.brief.part is not None]
        found[NEAR_DUPLICATES] += len(themes) - len(set(themes))
        yield from (replace(one, ref=ref) for (one, _), ref in zip(here, parts, strict=True))


def _summary(ref: ImageRef, row: Row) -> ImageSummary:
    return summary_of_json(row["summary"], ref.image_id, ref.uri)
