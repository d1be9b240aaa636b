"""Which pictures a run takes, each content once, and what they show."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics

from image2music.composers import registry
from image2music.composers.base import Composer
from image2music.errors import ConfigError, PictureError
from image2music.failures import batch_with_fallback, failure_from, map_catching
from image2music.images.archives import is_picture_archive, is_web, list_members
from image2music.images.decode import Picture, open_picture
from image2music.images.http import WebRule
from image2music.storage.files import open_regular
from image2music.types import NO_METADATA, DescribedImage, Description, Failure, ImageRef, ImageSource, metadata_key
from transforms.files import PictureReader, content_id, open_seekable
from transforms.stage import NAMESPACE, StageHandler, StageOutputs, Stopwatch, split_failures


def list_pictures(images: str, allow_web: WebRule = "none") -> list[str]:
    """Return the places of all pictures, sorted and spelt as given: relative stays relative.

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
    """Yield a file or a glob of an object store, or everything under a name that is neither."""
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
    with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", errors="surrogateescape") as lines:
        places = (line.strip() for line in lines)
        yield from (place for place in places if place and not place.startswith("#"))


def _expanded(place: str) -> list[str]:
    if is_picture_archive(place) and ("://" in place or os.path.isfile(place)):
        return list_members(place, open_seekable)
    return [place]


class _Identify(beam.DoFn):
    """A place to (image_id, place)."""

    def __init__(self, read: PictureReader) -> None:
        self._read = read
        self._stopwatch = Stopwatch("identify")

    def process(self, place: ImageSource) -> Iterator[tuple[str, ImageSource] | Failure]:
        uri = place.uri
        try:
            with self._stopwatch:
                image_id = content_id(self._read(uri))
            yield image_id, place
        except (OSError, PictureError) as error:
            yield failure_from(error, stage="identify", id=uri, uri=uri)


def _gather(group: tuple[str, Iterable[ImageSource]]) -> ImageRef:
    image_id, places = group
    briefs = {place.uri: place.brief for place in places}
    uris = sorted(briefs, key=os.fsencode)
    brief = next((briefs[uri] for uri in uris if briefs[uri] != NO_METADATA), NO_METADATA)
    return ImageRef(image_id=image_id, uris=tuple(uris), brief=brief)


class IdentifyPictures(beam.PTransform):
    """Places to one ImageRef for each distinct content."""

    def __init__(self, read: PictureReader) -> None:
        super().__init__()
        self._read = read

    def expand(self, places: beam.PCollection) -> StageOutputs:
        """Hash each file where it is read, then bring equal contents together: no pixels cross the shuffle."""
        identified = split_failures(
            places | "Spread" >> beam.Reshuffle() | "Hash" >> beam.ParDo(_Identify(self._read)), "identify"
        )
        refs = identified.done | "SameBytes" >> beam.GroupByKey() | "Gather" >> beam.Map(_gather)
        return StageOutputs(done=refs, failed=identified.failed)


class DescribePictures(StageHandler[ImageRef, DescribedImage, Composer]):
    """Opens each picture once and has the composer describe it."""

    stage = "describe"

    def __init__(self, composer_spec: str, batch_size: int, read: PictureReader) -> None:
        super().__init__(batch_size)
        self._spec = composer_spec
        self._read = read

    def load_model(self) -> Composer:
        """Return the composer, shared with the composing stage of this process."""
        return registry.load_composer(self._spec)

    def place(self, element: ImageRef) -> tuple[str, str]:
        """Return image_id and URI, for failures."""
        return element.image_id, element.uri

    def work(self, batch: Sequence[ImageRef], model: Composer) -> list[DescribedImage | Exception]:
        """Open all pictures, and describe those that open."""
        opened = map_catching(self._open, batch)
        pictures = [picture for picture in opened if not isinstance(picture, Exception)]
        descriptions = iter(batch_with_fallback(model.describe, [picture.image for picture in pictures]))
        results: list[DescribedImage | Exception] = []
        for ref, picture in zip(batch, opened, strict=True):
            description = picture if isinstance(picture, Exception) else next(descriptions)
            if isinstance(picture, Exception) or isinstance(description, Exception):
                results.append(description)  # type: ignore[arg-type]
                continue
            described = with_hint(description, ref.brief.hint)
            results.append(DescribedImage(ref, picture.image, picture.width, picture.height, described))
        return results

    def _open(self, ref: ImageRef) -> Picture:
        data = self._read(ref.uri)
        if content_id(data) != ref.image_id:
            raise PictureError("the picture changed while the job ran: run it again", reason="picture_changed")
        return open_picture(data)


def with_hint(description: Description, hint: str | None) -> Description:
    """Put the hint of a catalogue before what the composer sees: in the row, the search and the prompts."""
    if hint is None:
        return description
    end = "" if hint.endswith((".", "!", "?")) else "."
    return replace(description, text=f"{hint}{end} {description.text}")


class SkipFinished(beam.DoFn):
    """Lets pictures through that have no finished row yet, or one that was made with other metadata.

    `finished` holds keys of `metadata_key`: bytes, for a collection may have millions.
    """

    def __init__(self, finished: frozenset[bytes]) -> None:
        self._finished = finished
        self._skipped = Metrics.counter(NAMESPACE, "skip.skipped")

    def process(self, ref: ImageRef) -> Iterator[ImageRef]:
        """Yield the picture, or nothing."""
        if metadata_key(ref.image_id, ref.brief.row) in self._finished:
            self._skipped.inc()
            return
        yield ref
