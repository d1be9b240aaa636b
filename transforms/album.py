"""Albums: what each picture's tune takes over from the others, and the tunes of an album as one book."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

import apache_beam as beam

from image2music.album.book import TUNE_COLUMNS, album_row
from image2music.album.plan import GLANCE_SIDE, ImageSummary, image_summary, plan_album
from image2music.failures import failure_from
from image2music.images.archives import album_of
from image2music.images.decode import open_picture
from image2music.rows import Row, now
from image2music.storage.datasets import read_shards
from image2music.storage.files import Folder
from image2music.types import Failure, ImageRef
from transforms.pictures import PictureReader
from transforms.stage import StageOutputs, Stopwatch, split_failures

Glanced = tuple[ImageRef, ImageSummary | None]


class _Glance(beam.DoFn):
    """A picture to (album, (picture, summary)); pixels are not shuffled."""

    def __init__(self, read: PictureReader) -> None:
        self._read = read
        self._stopwatch = Stopwatch("glance")

    def process(self, ref: ImageRef) -> Iterator[tuple[bytes, Glanced]]:
        with self._stopwatch:
            seen = _glance(ref, self._read)
        yield os.fsencode(album_of(ref.uri)), (ref, seen)


def _glance(ref: ImageRef, read: PictureReader) -> ImageSummary | None:
    try:
        image = open_picture(read(ref.uri), max_side=2 * GLANCE_SIDE).image
        return image_summary(ref.image_id, ref.uri, image)
    except Exception:  # Any: the next stage opens it again, and says what is wrong with it.
        return None


def _plan(group: tuple[bytes, Iterable[Glanced]], seed: int) -> Iterator[ImageRef]:
    pictures = list(group[1])
    seen = [one for _, one in pictures if one is not None]
    parts = plan_album(seen, seed) if seen else {}
    for ref, _ in pictures:
        yield replace(ref, brief=replace(ref.brief, part=parts.get(ref.image_id)))


class PlanAlbums(beam.PTransform):
    """ImageRefs to the same ImageRefs with their part in their album. Only ids and a few figures are shuffled."""

    def __init__(self, seed: int, read: PictureReader) -> None:
        super().__init__()
        self._read = read
        self._seed = seed

    def expand(self, refs: beam.PCollection) -> beam.PCollection:
        """Summarise each picture, plan each album, and spread the pictures over the workers again."""
        return (
            refs
            | "Glance" >> beam.ParDo(_Glance(self._read))
            | "SameAlbum" >> beam.GroupByKey()
            | "Plan" >> beam.FlatMap(_plan, self._seed)
            | "SpreadAgain" >> beam.Reshuffle()
        )


def _tunes(shard: str) -> Iterator[tuple[str, Row]]:
    for row in read_shards([shard], TUNE_COLUMNS):
        if row.get("album_part") is not None:
            yield row.pop("album"), row


class _Bind(beam.DoFn):
    """Tunes of an album to its row; writes album.abc and album.mid under `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._stopwatch = Stopwatch("bind")

    def process(self, group: tuple[str, Iterable[Row]]) -> Iterator[Row | Failure]:
        album, tunes = group
        try:
            with self._stopwatch:
                row = album_row(album, list(tunes), now())
        except Exception as error:  # An album that cannot be bound leaves its tunes as they are.
            yield failure_from(error, stage="bind", id=album, uri=album)
            return
        files = Folder(f"{self._folder}/{row['book']}")
        files.write("album.abc", row["abc"])
        files.write("album.mid", row["midi"])
        yield row


class BindAlbums(beam.PTransform):
    """Paths of shards of compositions to rows of albums."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def expand(self, shards: beam.PCollection) -> StageOutputs:
        """Bring the tunes of each album together."""
        tunes = shards | "SpreadShards" >> beam.Reshuffle() | "ReadTunes" >> beam.FlatMap(_tunes)
        return split_failures(
            tunes | "TunesOfAlbum" >> beam.GroupByKey() | "Bind" >> beam.ParDo(_Bind(self._folder)), "bind"
        )
