"""A captions file and a folder of MIDI files to tunes in ABC notation.

Also which of the files changed since they were last read.
"""

from __future__ import annotations

import gzip
import io
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import BinaryIO, cast

import apache_beam as beam
from PIL.Image import Image

from image2music.abc.writer.text import score_to_abc
from image2music.errors import CaptionError, MidiError, PictureError
from image2music.failures import failure_from
from image2music.images.decode import open_picture
from image2music.images.reading import content_id, open_streamed
from image2music.index.maintenance import KnownFile, Manifest, Stamp, first_of_each, parse_caption_line
from image2music.index.table import TuneIndex, stored_rows
from image2music.music.metrics import metrics_of_score
from image2music.music.midi import read_midi
from image2music.music.similarity import music_id
from image2music.rows import Row, tune_of_row
from image2music.storage.objects import is_store
from image2music.types import CaptionedMidi, CaptionedTune, Failure
from transforms.deadlines import NO_LIMIT, TimeLimit
from transforms.pictures import read_under, stamps_under
from transforms.stage import StageOutputs, Stopwatch, split_failures

LONGEST_LINE = 4 << 20
"""Characters. MidiCaps' longest lines hold every chord of a long piece and stay far below."""


def read_captions(path: str) -> Iterator[CaptionedMidi | Failure]:
    """Yield what each line of a captions file says; no more than one line is held in memory.

    Raises:
        CaptionError: the name ends in .gz, and it cannot be unpacked to its end (`broken_captions`), or it is one JSON
            array (`captions_array`).
    """
    with _opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape")
        lines = ((number, line) for number, line in enumerate(_lines(text), start=1) if line.strip())
        for position, (number, line) in enumerate(lines):
            if position == 0 and line.lstrip().startswith("["):
                message = f"{path} is one JSON array; write one object a line, as jq -c '.[]' {path} does"
                raise CaptionError(message, reason="captions_array")
            yield _parse(line, place=f"{path}:{number}")


def check_captions(path: str) -> None:
    """Read the first line of a captions file, before a job is started.

    Raises:
        CaptionError: as `read_captions`.
    """
    next(iter(read_captions(path)), None)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a captions file, unpacked."""
    with open_streamed(path) as file:
        if not path.endswith(".gz"):
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast(BinaryIO, unpacked)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            message = f"{path} is not a whole gzip file ({error}); make it again"
            raise CaptionError(message, reason="broken_captions") from error


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines; of one that is too long its beginning, one character longer than allowed."""
    while line := text.readline(LONGEST_LINE + 1):
        yield line
        while len(line) > LONGEST_LINE and not line.endswith("\n"):
            line = text.readline(LONGEST_LINE + 1)


def _parse(line: str, place: str) -> CaptionedMidi | Failure:
    try:
        if len(line) > LONGEST_LINE:
            message = f"a line of more than {LONGEST_LINE >> 20} MiB, which no caption needs"
            raise CaptionError(message, reason="line_too_long")
        return parse_caption_line(_in_unicode(line))
    except Exception as error:  # any, as below: a line may be nested deeper than Python's parser goes
        return failure_from(error, stage="captions", id=place, uri=place)


def _in_unicode(line: str) -> str:
    """Return a line that was read as UTF-8, or, where its bytes are not UTF-8, as Latin-1."""
    if line.isascii():
        return line
    try:
        line.encode()
    except UnicodeEncodeError:
        return line.encode("utf-8", "surrogateescape").decode("latin-1")
    return line


class ReadCaptions(beam.PTransform):
    """A captions file (JSON lines, also .gz) to CaptionedMidi."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, begin: beam.Pipeline) -> StageOutputs:
        """Read in one place, so that a bad line can be named by its number, and spread the lines afterwards."""
        return split_failures(
            begin | beam.Create([self._path]) | "ReadLines" >> beam.FlatMap(read_captions), "captions"
        )


class _Identify(beam.DoFn):
    """A captioned file to (tune_id, captioned file)."""

    def __init__(self, midi_root: str) -> None:
        self._root = midi_root
        self._stopwatch = Stopwatch("identify")

    def process(self, source: CaptionedMidi) -> Iterator[tuple[str, CaptionedMidi] | Failure]:
        try:
            with self._stopwatch:
                tune_id = content_id(read_under(self._root, source.location))
                if source.image:
                    source = replace(source, image_id=content_id(read_under(self._root, source.image)))
            yield tune_id, source
        except Exception as error:  # any: whatever a line or a file breaks is its own failure, never the job's
            yield failure_from(error, stage="identify", id=source.location, uri=source.location)


class _FirstOfEach(beam.DoFn):
    """The first location of a content; the others are failures, for an id stands once in the table."""

    def process(self, group: tuple[str, Iterable[CaptionedMidi]]) -> Iterator[tuple[str, CaptionedMidi] | Failure]:
        tune_id, sources = group
        first, others = first_of_each(tune_id, sources)
        yield tune_id, first
        yield from others


class IdentifyTunes(beam.PTransform):
    """CaptionedMidi to (tune_id, CaptionedMidi), each content once."""

    def __init__(self, midi_root: str) -> None:
        super().__init__()
        self._root = midi_root

    def expand(self, sources: beam.PCollection) -> StageOutputs:
        """Hash and group.

        Only ids and captions cross the shuffle: reading a file twice costs less than shuffling it.
        """
        identified = split_failures(
            sources | beam.Reshuffle() | "Hash" >> beam.ParDo(_Identify(self._root)), "identify"
        )
        grouped = identified.done | "SameBytes" >> beam.GroupByKey()
        first = split_failures(grouped | "FirstOfEach" >> beam.ParDo(_FirstOfEach()), "duplicates")
        return StageOutputs(first.done, (identified.failed, first.failed) | beam.Flatten())


class _Convert(beam.DoFn):
    """Some (tune_id, CaptionedMidi) to CaptionedTune: notes that the table has are taken from there."""

    def __init__(self, midi_root: str, limit: TimeLimit, stored: TuneIndex | None) -> None:
        self._root = midi_root
        self._limit = limit
        self._stored = stored
        self._stopwatch = Stopwatch("convert")

    def process(self, some: Sequence[tuple[str, CaptionedMidi]]) -> Iterator[CaptionedTune | Failure]:
        with self._stopwatch:
            ids = [tune_id for tune_id, _ in some]
            rows = {row["tune_id"]: row for row in stored_rows(self._stored, ids)} if self._stored else {}
        for tune_id, source in some:
            make = partial(self._tune, tune_id, source, rows.get(tune_id))
            try:
                with self._stopwatch:
                    made = self._limit.run(make, "convert", [tune_id])
                yield made
            except Exception as error:  # the file comes from anywhere, and whatever it breaks is its own failure
                yield failure_from(error, stage="convert", id=tune_id, uri=source.location)

    def _tune(self, tune_id: str, source: CaptionedMidi, row: Row | None) -> CaptionedTune | Failure:
        if row is not None:
            picture = self._picture(source)
            return picture if isinstance(picture, Failure) else tune_of_row(row, source, picture)
        data = read_under(self._root, source.location)
        if content_id(data) != tune_id:
            raise MidiError("the file changed while it was read; run again", reason="file_changed")
        tune = captioned_tune(tune_id, source, data)
        picture = self._picture(source)
        return picture if isinstance(picture, Failure) else replace(tune, picture=picture)

    def _picture(self, source: CaptionedMidi) -> Image | Failure | None:
        """Open the picture.

        It is what fails, not the tune, so that the row is tried again when the picture is another one.
        """
        if not source.image:
            return None
        try:
            data = read_under(self._root, source.image)
            if content_id(data) != source.image_id:
                raise PictureError("the picture changed while it was read; run again", reason="file_changed")
            return open_picture(data).image
        except Exception as error:  # as in `process`
            return failure_from(error, stage="convert", id=source.image_id, uri=source.image)


def captioned_tune(tune_id: str, source: CaptionedMidi, data: bytes) -> CaptionedTune:
    """Return the whole MIDI file as one tune, with its metrics.

    Raises:
        MidiError: the bytes cannot be read, or hold nothing to play.
    """
    score = read_midi(data)
    converted = score_to_abc(score)
    return CaptionedTune(
        tune_id=tune_id,
        source=source,
        abc=converted.abc,
        key=converted.key,
        meter=converted.meter,
        tempo_qpm=converted.tempo_qpm,
        duration_s=converted.duration_s,
        bars=converted.bars,
        voices=converted.voices,
        metrics=metrics_of_score(score),
        music_id=music_id(score),
    )


_STORED_AT_ONCE = 256
"""Rows that are read together."""


class ConvertTunes(beam.PTransform):
    """(tune_id, CaptionedMidi) to CaptionedTune: MIDI to ABC.

    Of tunes that `stored` has no MIDI file is read: the same bytes give the same notes.
    """

    def __init__(self, midi_root: str, limit: TimeLimit = NO_LIMIT, stored: TuneIndex | None = None) -> None:
        super().__init__()
        self._root = midi_root
        self._limit = limit
        self._stored = stored

    def expand(self, identified: beam.PCollection) -> StageOutputs:
        """Convert file by file."""
        if self._stored is None:
            some = identified | "Alone" >> beam.Map(lambda tune: [tune])
        else:
            some = identified | "Together" >> beam.BatchElements(_STORED_AT_ONCE, _STORED_AT_ONCE)
        made = some | "Convert" >> beam.ParDo(_Convert(self._root, self._limit, self._stored))
        return split_failures(made, "convert")


_THREADS = 4
"""Reading waits for the disk. More threads wait for each other: files are small, and so is what each does alone."""

_WAITING_THREADS = 32
"""For files of a store: each waits for its answer."""

_FILES_AT_ONCE = 256
"""Handed to a thread together."""


@dataclass
class IdentifiedFiles:
    """What became of the lines of a captions file. `hashed` counts the files that were read."""

    tunes: list[tuple[str, CaptionedMidi]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    manifest: Manifest = field(default_factory=dict)
    hashed: int = 0


def identify_files(
    root: str,
    sources: Sequence[CaptionedMidi],
    known: Mapping[str, KnownFile],
    stamps: Mapping[str, Stamp | None] | None = None,
) -> IdentifiedFiles:
    """Return the tune_id of every file and the image_id of every picture.

    They come from `known` where size and time of change (in a store the etag) are the same, else from the bytes. The
    manifest returned holds the files of `sources` only, without those that changed a moment ago. `stamps` are those of
    all places, where somebody has listed `root` already.
    """
    found = IdentifiedFiles()
    stamp_under = stamps.get if stamps else stamps_under(root, time.time_ns())
    unread: dict[str, Stamp | None] = {}
    ids: dict[str, str | Exception] = {}
    for place in dict.fromkeys(place for source in sources for place in (source.location, source.image) if place):
        # The stamp comes first: a file that changes while it is read has another stamp the next time.
        stamp, before = stamp_under(place), known.get(place)
        if before is None or stamp != before.stamp:
            unread[place] = stamp
            continue
        ids[place] = before.tune_id
        found.manifest[place] = before
    found.hashed = len(unread)
    for place, answer in _hashed(root, list(unread)):
        ids[place] = answer
        stamp = unread[place]
        if stamp is not None and isinstance(answer, str):
            found.manifest[place] = KnownFile(stamp, answer)
    for source in sources:
        identified = _identified(source, ids)
        (found.failures if isinstance(identified, Failure) else found.tunes).append(identified)  # type: ignore[arg-type]
    return found


def _hashed(root: str, places: Sequence[str]) -> Iterator[tuple[str, str | Exception]]:
    """Yield each place with the id of its content, or why there is none."""
    parts = [places[start : start + _FILES_AT_ONCE] for start in range(0, len(places), _FILES_AT_ONCE)]
    with ThreadPoolExecutor(_THREADS if not is_store(root) else _WAITING_THREADS) as threads:
        for part, answers in zip(parts, threads.map(lambda part: [_hash(root, p) for p in part], parts), strict=True):
            yield from zip(part, answers, strict=True)


def _hash(root: str, place: str) -> str | Exception:
    try:
        return content_id(read_under(root, place))
    except (OSError, ValueError, CaptionError) as error:  # ValueError: a NUL in the name
        return error


def _identified(source: CaptionedMidi, ids: Mapping[str, str | Exception]) -> tuple[str, CaptionedMidi] | Failure:
    tune_id, image_id = ids[source.location], ids[source.image] if source.image else ""
    for answer in (tune_id, image_id):
        if isinstance(answer, Exception):
            return failure_from(answer, stage="identify", id=source.location, uri=source.location)
    return str(tune_id), replace(source, image_id=str(image_id)) if image_id else source


def manifest_of_build(
    root: str, tunes: Mapping[str, CaptionedMidi], failures: Iterable[Failure], started_ns: int
) -> Manifest:
    """Return the manifest of a full build, by what it read.

    Its rows by tune_id, and the failures of files whose content it knew.

    Files that changed since it started are left out: nobody knows which of their contents it read.
    """
    read = {source.location: ("", "", tune_id) for tune_id, source in tunes.items()}
    read |= {source.image: ("", "", source.image_id) for source in tunes.values() if source.image}
    for failure in failures:
        if failure.stage == "duplicates":
            read[failure.uri] = ("", "", failure.id)
        if is_lasting(failure):
            read[failure.uri] = (failure.reason, failure.message, failure.id)
    manifest, stamp_under = {}, stamps_under(root, started_ns)
    for location, (reason, message, tune_id) in read.items():
        stamp = stamp_under(location)
        if stamp is not None:
            manifest[location] = KnownFile(stamp, tune_id, reason, message)
    return manifest


def is_lasting(failure: Failure) -> bool:
    """Return whether the same content would fail again."""
    return failure.stage == "convert" and failure.reason not in ("file_changed", "unreadable_file", "timed_out")
