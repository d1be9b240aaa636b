"""Albums: what each picture's tune takes over from the others, and the tunes of an album as one book."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from image2music.album.book import TUNE_COLUMNS, album_row
from image2music.album.plan import (
    ImageSummary,
    album_recipe,
    glance_at,
    plan_album,
    summary_as_json,
    summary_of_json,
)
from image2music.errors import ModelError, PictureError
from image2music.failures import failure_from
from image2music.images.decode import open_picture
from image2music.images.files import sidecar_names, sidecar_of
from image2music.images.reading import PictureReader, content_id, is_remote, open_seekable, read_bytes
from image2music.images.sources import album_of, member_of, member_time, read_member
from image2music.images.taken import SIDECAR_BYTES, Taken, taken_by_exif, taken_by_sidecar
from image2music.rows import Row, now
from image2music.storage.datasets import Dataset, read_shards
from image2music.storage.files import Folder
from image2music.types import Failure, ImageRef
from schemas.album import GLANCE_SCHEMA
from transforms.deadlines import NO_LIMIT, TimeLimit
from transforms.shards import WriteShards
from transforms.stage import StageOutputs, Stopwatch, split_failures

_STAGE = "glance"
Glanced = tuple[ImageRef, ImageSummary | None]
_FRESH = "fresh"


def _beside(uri: str) -> Taken | None:
    """Return what the JSON file beside a picture says of when it was taken.

    It is looked for in folders of this machine, and in tar files by the picture's whole name; in an object store each
    look would be a request.
    """
    member = member_of(uri)
    if member is not None and member.kind == "tar":
        folder, _, name = member.name.rpartition("/")
        for other in sidecar_names(name):
            with suppress(PictureError):  # there is none of this name
                place = member._replace(name=f"{folder}/{other}" if folder else other)
                return taken_by_sidecar(read_member(place, open_seekable))
        return None
    if member is not None or is_remote(uri):
        return None
    folder, name = os.path.split(uri)
    try:
        found = sidecar_of(name, _names_in(folder, os.stat(folder or ".").st_mtime_ns))
        return (
            None if found is None else taken_by_sidecar(read_bytes(os.path.join(folder, found), at_most=SIDECAR_BYTES))
        )
    except OSError:  # It went, is a pipe, or too large: whatever it is, it says nothing.
        return None


@lru_cache(maxsize=16)
def _names_in(folder: str, changed_ns: int) -> tuple[str, ...]:
    """Return all names in a folder, sorted, listed once for each time that it changed; none where none is of JSON."""
    names = sorted(os.listdir(folder or "."))
    return tuple(names) if any(name.endswith(".json") for name in names) else ()


def _file_time(uri: str) -> int | None:
    """Return when a file, or the member of a tar file, says that it changed, in seconds since 1970.

    An object in a store, and a row of a Parquet file, tell when they were uploaded or written: that is no such time.
    """
    member = member_of(uri)
    try:
        if member is not None:
            return member_time(member, open_seekable) if member.kind == "tar" else None
        return None if is_remote(uri) else int(os.stat(uri).st_mtime)
    except OSError:
        return None


def told_anew(summary: ImageSummary) -> ImageSummary:
    """Return the summary with what the file beside the picture says now, and with the time of its file.

    The first time of its file that was seen stays: a copy of the folder is no other album.
    """
    exif = summary.exif
    sidecar = _beside(summary.place) if exif is None or exif.offset is None else None
    file_time = _file_time(summary.place) if summary.file_time is None else summary.file_time
    return replace(summary, sidecar=sidecar, file_time=file_time)


class _Glance(beam.DoFn):
    """A picture to (album, (picture, summary)); pixels are not shuffled. Summaries that are new go to `_FRESH` too."""

    def __init__(self, read: PictureReader, limit: TimeLimit, kept: Dataset | None) -> None:
        self._read = read
        self._limit = limit
        self._kept = kept
        self._stopwatch = Stopwatch(_STAGE)

    def setup(self) -> None:
        """Read what earlier runs saw, once a worker."""
        self._eyes = album_recipe()
        rows = self._kept.read(GLANCE_SCHEMA.names) if self._kept is not None else ()
        self._known = {row["image_id"]: row["summary"] for row in rows if row["seen_by"] == self._eyes}

    def process(self, ref: ImageRef) -> Iterator[tuple[bytes, Glanced] | TaggedOutput]:
        with self._stopwatch:
            known = self._known.get(ref.image_id)
            seen = self._seen(ref) if known is None else told_anew(summary_of_json(known, ref.image_id, ref.uri))
        if known is None and seen is not None:
            row = {"image_id": ref.image_id, "seen_by": self._eyes, "summary": summary_as_json(seen)}
            yield TaggedOutput(_FRESH, row)
        yield os.fsencode(album_of(ref.uri)), (ref, seen)

    def _seen(self, ref: ImageRef) -> ImageSummary | None:
        return summarise_picture(ref, self._read, self._limit)


def summarise_picture(ref: ImageRef, read: PictureReader, limit: TimeLimit) -> ImageSummary | None:
    """Return what the plan of an album needs of a picture; None where it cannot be opened: a later stage says why.

    Raises:
        ModelError: what sees cannot be loaded; without it there is no album.
    """
    try:
        return limit.run(lambda: _glance(ref, read), _STAGE, [ref.image_id])
    except ModelError:
        raise
    except Exception:  # Any: the next stage opens it again, and says what is wrong with it.
        return None


def _glance(ref: ImageRef, read: PictureReader) -> ImageSummary:
    data = read(ref.uri)
    if content_id(data) != ref.image_id:
        raise PictureError("the picture changed while the job ran: run it again", reason="picture_changed")
    seen = glance_at(ref.image_id, ref.uri, open_picture(data).image)
    return told_anew(replace(seen, exif=taken_by_exif(data)))


def _plan(group: tuple[bytes, Iterable[Glanced]], seed: int, gap: float | None) -> Iterator[ImageRef]:
    yield from with_parts(list(group[1]), seed, gap)


def with_parts(pictures: Sequence[Glanced], seed: int, gap: float | None = None) -> Iterator[ImageRef]:
    """Yield the pictures of one album, in any order, with their parts in its plan; `gap` see `plan_album`."""
    seen = [one for _, one in pictures if one is not None]
    parts = plan_album(seen, seed, gap) if seen else {}
    for ref, _ in pictures:
        yield replace(ref, brief=replace(ref.brief, part=parts.get(ref.image_id)))


class PlanAlbums(beam.PTransform):
    """ImageRefs to the same ImageRefs with their part in their album. Only ids and summaries are shuffled.

    Each picture is seen once: its summary goes to `kept`, where there is such, and later runs and passes find it there.
    """

    def __init__(
        self,
        seed: int,
        read: PictureReader,
        limit: TimeLimit = NO_LIMIT,
        kept: Dataset | None = None,
        gap: float | None = None,
    ) -> None:
        super().__init__()
        self._seed = seed
        self._gap = gap
        self._read = read
        self._limit = limit
        self._kept = kept

    def expand(self, refs: beam.PCollection) -> beam.PCollection:
        """Summarise each picture, plan each album, and spread the pictures over the workers again."""
        glance = beam.ParDo(_Glance(self._read, self._limit, self._kept))
        glanced = refs | "Glance" >> glance.with_outputs(_FRESH, main="glanced")
        if self._kept is not None:
            sink = beam.ParDo(WriteShards(self._kept, GLANCE_SCHEMA, dict, ("image_id", "seen_by")))
            glanced[_FRESH] | "KeepGlances" >> sink
        return (
            glanced["glanced"]
            | "SameAlbum" >> beam.GroupByKey()
            | "Plan" >> beam.FlatMap(_plan, self._seed, self._gap)
            | "SpreadAgain" >> beam.Reshuffle()
        )


def _tunes(shard: str) -> Iterator[tuple[str, Row]]:
    for row in read_shards([shard], TUNE_COLUMNS):
        if row.get("album_part") is not None:
            yield row.pop("album"), row


class _Bind(beam.DoFn):
    """Tunes of an album to its row; writes album.abc and album.mid under `folder`."""

    def __init__(self, folder: str, language: str) -> None:
        self._folder = folder
        self._language = language
        self._stopwatch = Stopwatch("bind")

    def process(self, group: tuple[str, Iterable[Row]]) -> Iterator[Row | Failure]:
        album, tunes = group
        try:
            with self._stopwatch:
                row = album_row(album, list(tunes), now(), self._language)
        except Exception as error:  # An album that cannot be bound leaves its tunes as they are.
            yield failure_from(error, stage="bind", id=album, uri=album)
            return
        files = Folder(f"{self._folder}/{row['book']}")
        files.write("album.abc", row["abc"])
        files.write("album.mid", row["midi"])
        yield row


class BindAlbums(beam.PTransform):
    """Paths of shards of compositions to rows of albums, whose chapters have titles in `language`."""

    def __init__(self, folder: str, language: str = "en") -> None:
        super().__init__()
        self._folder = folder
        self._language = language

    def expand(self, shards: beam.PCollection) -> StageOutputs:
        """Bring the tunes of each album together."""
        tunes = shards | "SpreadShards" >> beam.Reshuffle() | "ReadTunes" >> beam.FlatMap(_tunes)
        return split_failures(
            tunes | "TunesOfAlbum" >> beam.GroupByKey() | "Bind" >> beam.ParDo(_Bind(self._folder, self._language)),
            "bind",
        )
