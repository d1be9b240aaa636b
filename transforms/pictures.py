"""From places of files to pictures by content, and what they show."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import apache_beam as beam
from apache_beam.metrics import Metrics

from image2music.composers import registry
from image2music.composers.base import Composer
from image2music.errors import PictureError
from image2music.failures import batch_with_fallback, failure_from, map_catching
from image2music.images.decode import Picture, open_picture
from image2music.types import NO_METADATA, DescribedImage, Description, Failure, ImageRef, ImageSource, metadata_key
from transforms.files import PictureReader, content_id
from transforms.stage import NAMESPACE, StageHandler, StageOutputs, Stopwatch, split_failures


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
    """Opens each picture once and asks the composer what it shows."""

    stage = "describe"

    def __init__(self, composer_spec: str, batch_size: int, read: PictureReader) -> None:
        super().__init__(batch_size)
        self._spec = composer_spec
        self._read = read

    def load_model(self) -> Composer:
        """The composer, shared with the composing stage of this process."""
        return registry.load_composer(self._spec)

    def place(self, element: ImageRef) -> tuple[str, str]:
        """Where the picture is."""
        return element.image_id, element.uri

    def work(self, batch: Sequence[ImageRef], model: Composer) -> list[DescribedImage | Exception]:
        """Open all, describe those that open."""
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
    """The hint of a catalogue stands in front of what the composer sees: in the row, the search and the prompts."""
    if hint is None:
        return description
    end = "" if hint.endswith((".", "!", "?")) else "."
    return replace(description, text=f"{hint}{end} {description.text}")


class SkipFinished(beam.DoFn):
    """Lets pictures through that have no finished row yet, or one that was made for another brief.

    `finished` holds keys of `metadata_key`: bytes, for a collection may have millions.
    """

    def __init__(self, finished: frozenset[bytes]) -> None:
        self._finished = finished
        self._skipped = Metrics.counter(NAMESPACE, "skip.skipped")

    def process(self, ref: ImageRef) -> Iterator[ImageRef]:
        """The picture, or nothing."""
        if metadata_key(ref.image_id, ref.brief.row) in self._finished:
            self._skipped.inc()
            return
        yield ref
