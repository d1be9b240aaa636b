"""Which pictures a run takes, how they are read, each content once, and what they show."""

from __future__ import annotations

import glob
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from image2music.catalog import plan_for
from image2music.composers import registry
from image2music.composers.base import Composer
from image2music.errors import CaptionError, ConfigError, PictureError
from image2music.failures import batch_with_fallback, counted, failure_from, map_catching
from image2music.images.containers import is_motion_photo
from image2music.images.decode import Picture, open_picture
from image2music.images.files import (
    HEAD_BYTES,
    SkippedFor,
    ending_of,
    is_film,
    is_picture_head,
    is_service_name,
    kind_by_name,
    kinds_of_pictures,
    pair,
    skipped_for,
    skipped_kind,
)
from image2music.images.reading import (
    LARGEST_FILE,
    PictureReader,
    content_id,
    is_remote,
    open_seekable,
    open_streamed,
    read_bytes,
)
from image2music.images.sources import is_picture_archive, is_web, list_members, member_of
from image2music.index.maintenance import Stamp, stamp_of
from image2music.music.planning.plan import Plan
from image2music.rows import valid_text
from image2music.settings import SendingOptions, WebRule
from image2music.storage.files import open_place
from image2music.storage.objects import FileInfo, is_store, stamp_number
from image2music.storage.output import TELLING, WrittenFiles
from image2music.storage.tar import is_tar, open_archive
from image2music.types import NO_METADATA, DescribedImage, Description, Failure, ImageRef, ImageSource, metadata_key
from transforms.stage import NAMESPACE, StageHandler, StageOutputs, Stopwatch, split_failures


@dataclass(frozen=True)
class PictureList:
    """The places of a run's pictures, sorted, and how many files of each kind were skipped, by what they are.

    live_photos: pictures whose film lies beside them and is among the skipped. raw_pairs: camera RAW files that were
    left out, as the camera's own JPEG or HEIC lies beside them.
    """

    places: tuple[str, ...]
    skipped_by_use: Mapping[SkippedFor, Mapping[str, int]]
    live_photos: int = 0
    raw_pairs: int = 0

    @property
    def kinds_line(self) -> str:
        """Return how many pictures there are of each ending: `180 .jpg, 12 .heic, 1 no ending`."""
        return ", ".join(f"{number} {kind}" for kind, number in kinds_of_pictures(self.places).items())

    @property
    def pairs_line(self) -> str:
        """Return how many files that belong together are one picture; empty where none do."""
        found = ((self.live_photos, "with its film beside it (Live Photo)"), (self.raw_pairs, "with its RAW beside it"))
        parts = ", ".join(f"{number} {what}" for number, what in found if number)
        return f"each one picture: {parts}" if parts else ""

    @property
    def counts(self) -> dict[str, Any]:
        """Return what run.json says of it."""
        pairs = {"live_photos": self.live_photos, "raw_pairs": self.raw_pairs}
        kinds = {"picture_kinds": kinds_of_pictures(self.places), "skipped_files": self.skipped}
        return {**kinds, **{name: number for name, number in pairs.items() if number}}

    @property
    def skipped(self) -> dict[str, int]:
        """Return how many files of each kind were skipped, most of them first."""
        return _most_first(sum((Counter(kinds) for kinds in self.skipped_by_use.values()), Counter()))

    @property
    def beside_line(self) -> str:
        """Return `3 files go with pictures: 2 .json (their times, for --album); 1 .aae (notes of other programs)`."""
        number, kinds = self._words_on(_GO_WITH_PICTURES)
        return f"{counted(number, 'file goes', 'files go')} with pictures: {kinds}" if number else ""

    @property
    def skipped_line(self) -> str:
        """Return `skipped 3 files that are no pictures: 2 .mp4 (films); 1 .txt (other files)`; empty where none was."""
        number, kinds = self._words_on(_NO_PICTURES)
        what = counted(number, "file that is no picture", "files that are no pictures")
        return f"skipped {what}: {kinds}" if number else ""

    def _words_on(self, uses: Mapping[SkippedFor, str]) -> tuple[int, str]:
        """Return how many files are of some uses, and how many of each kind."""
        found = [(_most_first(self.skipped_by_use.get(use, {})), words) for use, words in uses.items()]
        parts = [", ".join(f"{n} {kind}" for kind, n in kinds.items()) + words for kinds, words in found if kinds]
        return sum(sum(kinds.values()) for kinds, _ in found), "; ".join(parts)


_GO_WITH_PICTURES: dict[SkippedFor, str] = {
    "times": " (their times, for --album)",
    "live": " (films of Live Photos)",
    "notes": " (notes of other programs)",
}
_NO_PICTURES: dict[SkippedFor, str] = {
    "film": " (films)",
    "other": " (other files)",
    "system": " (of the system)",
    "own": "",
}


def _most_first(kinds: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0])))


def list_pictures(images: str, allow_web: WebRule = "none") -> PictureList:
    """Return the places of all pictures, sorted and spelt as given: relative stays relative.

    `images` is a folder (at any depth), a glob, one file, or `@LIST`: a text file with a place on each line, where
    empty lines and lines that begin with # do not count. A tar or Parquet file stands for the pictures in it. Each may
    lie on a disk or in an object store.

    In a folder and behind a glob a file is a picture by a picture's ending or, where the ending is unknown, by its
    first bytes; all others are skipped and counted by kind, and so are hidden files. A camera RAW beside the camera's
    own JPEG or HEIC, and the film beside a picture, are one picture with it. A place of a list, and a single file, are
    taken whatever they are: one that is no picture, or not there, is a failure of the run. What image2music itself
    wrote is skipped wherever it lies.

    Raises:
        ConfigError: nothing is there (`images_missing`), no picture is in it (`images_empty`), or a web address is
            named without --allow_web (`web_not_allowed`).
    """
    listing = _Listing()
    found = list(_listed(images[1:]) if images.startswith("@") else listing.found(images))
    if allow_web == "none" and (addresses := [place for place in found if is_web(place)]):
        message = f"--images: {len(addresses)} web addresses, such as {addresses[0]}; add --allow_web to open them"
        raise ConfigError(message, reason="web_not_allowed")
    places = tuple(sorted({place for path in found for place in listing.expanded(path)}))
    live_photos = raw_pairs = 0
    if not images.startswith("@"):
        paired = pair(places, listing.films)
        places, live_photos, raw_pairs = paired.places, paired.live_photos, paired.raw_pairs
        listing.note_live(paired.films)
    pictures = PictureList(places, listing.by_use(), live_photos, raw_pairs)
    if not places:
        why = [line for line in (pictures.skipped_line, pictures.beside_line) if line]
        raise ConfigError("; ".join([f"--images: no pictures in {images}", *why]), reason="images_empty")
    return pictures


OWN = "written by image2music"
"""What an output of an earlier run is counted as."""


class _Listing:
    """One search for pictures, with the kinds that it skipped, and the films among them."""

    def __init__(self) -> None:
        self.skipped: Counter[tuple[SkippedFor, str]] = Counter()
        self.films: list[str] = []
        self._written = WrittenFiles()

    def by_use(self) -> dict[SkippedFor, dict[str, int]]:
        """Return how many files of each kind were skipped, by what they are."""
        found: dict[SkippedFor, dict[str, int]] = {}
        for (use, kind), number in self.skipped.items():
            if number:
                found.setdefault(use, {})[kind] = number
        return found

    def note_live(self, films: Iterable[str]) -> None:
        """Count films as those of Live Photos."""
        kinds = Counter(ending_of(film) for film in films)
        for kind, number in kinds.items():
            self.skipped["film", kind] -= number
            self.skipped["live", kind] += number

    def found(self, images: str) -> Iterator[str]:
        """Yield files of a folder, a glob or an object store that are pictures or archives; a single file as it is."""
        if is_web(images):
            yield images
        elif is_remote(images):
            yield from self._stored(images)
        elif os.path.isdir(images):
            if self._written.holds(images):
                self._skip_all(images, "own", OWN)
            else:
                yield from self._walked(images)
        elif os.path.lexists(images):
            yield images
        elif glob.has_magic(images):
            paths = (path for path in glob.iglob(images, recursive=True) if not os.path.isdir(path))
            yield from (path for path in paths if not self._in_service_folder(path, images) and self._is_wanted(path))
        else:
            raise ConfigError(f"--images: there is no folder or file {images}", reason="images_missing")

    def expanded(self, path: str) -> list[str]:
        """Return a place as its pictures: the members of an archive, or itself; nothing of what image2music wrote."""
        if is_web(path):
            return [path]
        if self._written.holds(path.partition("#")[0]):
            self.skipped["own", OWN] += 1
            return []
        if is_picture_archive(path) and (is_remote(path) or os.path.isfile(path)):
            members = list_members(path, open_seekable)
            self.skipped.update(members.skipped)
            self.films += members.films
            return members.places
        return [path]

    def _walked(self, root: str) -> Iterator[str]:
        for folder, folders, names in os.walk(root):
            for name in list(folders):
                own = self._written.has_entry(folder, name)
                if own or is_service_name(name):
                    folders.remove(name)
                    self._skip_all(os.path.join(folder, name), "own" if own else "system", OWN if own else f"{name}/")
            for name in names:
                if self._written.has_entry(folder, name):
                    self.skipped["own", OWN] += 1
                elif self._is_wanted(path := os.path.join(folder, name)):
                    yield path

    def _skip_all(self, folder: str, use: SkippedFor, kind: str) -> None:
        self.skipped[use, kind] += sum(len(names) for _, _, names in os.walk(folder))

    def _in_service_folder(self, path: str, given: str) -> bool:
        """Return whether a folder on the way, that was not asked for by name, is hidden or a system's own; count it."""
        asked = {"", ".", "..", *given.split("/")}
        for folder in path.split("/")[:-1]:
            if folder not in asked and is_service_name(folder):
                self.skipped["system", f"{folder}/"] += 1
                return True
        return False

    def _is_wanted(self, path: str) -> bool:
        """Return whether a file is a picture or an archive; count it where it is not."""
        name = path.rpartition("/")[2]
        kind = kind_by_name(name)
        if kind == "unknown" and is_picture_head(_head(path)):
            kind = "picture"
        if kind in ("picture", "archive"):
            return True
        self.skipped[skipped_for(name), skipped_kind(name)] += 1
        if is_film(name) and not is_service_name(name):
            self.films.append(path)
        return False

    def _stored(self, images: str) -> Iterator[str]:
        """Yield the one object of that name, or what everything under a name, or a glob, of an object store holds."""
        place = open_place(images)
        place.check()
        if place.is_file():
            yield images
            return
        parts = place.uri.split("/")
        fixed = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        root, pattern = "/".join(parts[:fixed]), parts[fixed:] or ["**"]
        if self._written.holds(root):
            self.skipped["own", OWN] += sum(1 for _ in open_place(root).files(deep=True))
            return
        # One pass over all keys: what is telling of a folder comes before or behind what lies in it.
        names, told = [], dict[str, set[str]]()
        for found in open_place(root).files(deep=True):
            _tell(told, root, found)
            if matches_glob(found.name.split("/"), pattern):
                names.append(found.name)
        self._written.learn(told)
        for name in names:
            path = f"{root}/{name}"
            if self._is_own(root, name):
                self.skipped["own", OWN] += 1
            elif not self._in_service_folder(path, images) and self._is_wanted(path):
                yield path

    def _is_own(self, root: str, name: str) -> bool:
        parts = name.split("/")
        return any(self._written.has_entry("/".join((root, *parts[:at])), part) for at, part in enumerate(parts))


def matches_glob(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a name match those of a glob, in which `**` is any number of parts."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(matches_glob(parts[at:], pattern[1:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches_glob(parts[1:], pattern[1:])


def _tell(told: dict[str, set[str]], root: str, found: FileInfo) -> None:
    """Note which names that tell what a folder is a key goes through."""
    folder = root
    for part in found.name.split("/"):
        names = told.setdefault(folder, set())
        if part in TELLING:
            names.add(part)
        folder = f"{folder}/{part}"


def _head(path: str) -> bytes:
    """Return the first bytes of a file; nothing where it cannot be read."""
    try:
        with open_seekable(path) as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _listed(path: str) -> Iterator[str]:
    open_place(path).check()
    if not open_place(path).is_file():
        raise ConfigError(f"--images: there is no list {path}", reason="images_missing")
    with io.TextIOWrapper(open_streamed(path), encoding="utf-8-sig", errors="surrogateescape") as lines:
        places = (line.strip() for line in lines)
        yield from (place for place in places if place and not place.startswith("#"))


MOTION = "identify.motion"
"""The counter of pictures with a film behind them in the same file."""


@dataclass(frozen=True)
class Identified:
    """What lies at a place: its image_id, the bytes of the file, and whether a film is behind the picture in it."""

    image_id: str
    size: int
    motion: bool = False


def identify(uri: str, read: PictureReader) -> Identified | Failure:
    """Read what lies at a place; whatever a picture breaks is its own failure, never the job's."""
    try:
        data = read(uri)
        return Identified(content_id(data), len(data), is_motion_photo(data))
    except Exception as error:  # any: see above
        return failure_from(error, stage="identify", id=uri, uri=uri)


def place_stamp(uri: str, started_ns: int) -> str | None:
    """Return what tells that a place holds what it held: size and time of change of its file, by `stamp_of`.

    In a store it is the etag. None where nobody can tell: behind a web address, or where it changed since `started_ns`
    or just before.
    """
    if is_web(uri):
        return None
    member = member_of(uri)
    path = uri if member is None else member.archive
    if is_store(path):
        found = open_place(path).info()
        return None if found is None else f"{found.size}:{found.version}"
    stamp = stamp_of(path, started_ns)
    return None if stamp is None else f"{stamp.size}:{stamp.mtime_ns}"


class _Identify(beam.DoFn):
    """A place to (image_id, place)."""

    def __init__(self, read: PictureReader) -> None:
        self._read = read
        self._stopwatch = Stopwatch("identify")
        self._motion = Metrics.counter(NAMESPACE, MOTION)

    def process(self, place: ImageSource) -> Iterator[tuple[str, ImageSource] | Failure]:
        with self._stopwatch:
            found = identify(place.uri, self._read)
        if isinstance(found, Identified) and found.motion:
            self._motion.inc()
        yield found if isinstance(found, Failure) else (found.image_id, place)


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

    def __init__(
        self,
        composer_spec: str,
        batch_size: int,
        read: PictureReader,
        sending: SendingOptions = SendingOptions(),  # noqa: B008 - frozen
        language: str = "en",
    ) -> None:
        super().__init__(batch_size)
        self._spec = composer_spec
        self._read = read
        self._sending = sending
        self._language = language

    def load_model(self) -> Composer:
        """Return the composer, shared with the composing stage of this process."""
        return registry.load_composer(self._spec, self._sending)

    def place(self, element: ImageRef) -> tuple[str, str]:
        """Return image_id and URI, for failures."""
        return element.image_id, element.uri

    def work(self, batch: Sequence[ImageRef], model: Composer) -> list[DescribedImage | Exception]:
        """Open all pictures, and describe those that open."""
        opened = map_catching(self._open, batch)
        pictures = [picture for picture in opened if not isinstance(picture, Exception)]
        look = partial(model.look, language=self._language)
        descriptions = iter(batch_with_fallback(look, [picture.image for picture in pictures]))
        results: list[DescribedImage | Exception] = []
        for ref, picture in zip(batch, opened, strict=True):
            description = picture if isinstance(picture, Exception) else next(descriptions)
            if isinstance(picture, Exception) or isinstance(description, Exception):
                results.append(description)  # type: ignore[arg-type]
                continue
            description = replace(description, text=valid_text(description.text))
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


def with_plan(ref: ImageRef, plans: Mapping[str, Plan], images: str) -> ImageRef:
    """Give a picture the plan that a person wrote for it; `images` is the folder that addresses may lie under."""
    plan = plan_for(plans, ref.image_id, ref.uris, images)
    return ref if plan is None else replace(ref, brief=replace(ref.brief, plan=plan))


class SkipFinished(beam.DoFn):
    """Lets pictures through that have no finished row yet, or one that was made with other metadata.

    `finished` holds keys of `metadata_key`: bytes, for a collection may have millions. `composed` are those that this
    run has composed before: a worker did so, and was lost before it could say so.
    """

    def __init__(self, finished: frozenset[bytes], composed: frozenset[bytes] = frozenset()) -> None:
        self._finished, self._composed = finished, composed
        self._skipped = Metrics.counter(NAMESPACE, "skip.skipped")
        self._found = Metrics.counter(NAMESPACE, "compose.done")

    def process(self, ref: ImageRef) -> Iterator[ImageRef]:
        """Yield the picture, or nothing."""
        key = metadata_key(ref.image_id, ref.brief.row)
        if key in self._finished:
            self._skipped.inc()
        elif key in self._composed:
            self._found.inc()
        else:
            yield ref


def inside(root: str, location: str) -> str:
    """Return the path of `location` under `root`.

    Raises:
        CaptionError: a link leads out of `root` (`outside_midi_root`); captions files come from elsewhere, and what
            they name is read.
    """
    path = f"{root.rstrip('/')}/{location}"
    if is_remote(root):
        return path
    real_root = os.path.realpath(root)
    if os.path.commonpath([real_root, os.path.realpath(path)]) != real_root:
        raise CaptionError(f"{location} leads out of --midi_root by a link", reason="outside_midi_root")
    return path


def read_under(root: str, location: str) -> bytes:
    """Return the bytes of a file under `root`, a folder or a tar archive.

    Raises:
        OSError: there is no such file, it cannot be read, is none (a pipe would never end), or is too large.
        ValueError: a NUL in the name.
        CaptionError: a link leads out of `root` (`outside_midi_root`), or lies in an archive (`link_in_archive`).
    """
    if is_tar(root):
        return open_archive(root).read(location, at_most=LARGEST_FILE)
    return read_bytes(inside(root, location))


def stamps_under(root: str, started_ns: int) -> Callable[[str], Stamp | None]:
    """Return what gives the stamp of each file under `root`, as `stamp_of`; of a member of an archive as that says.

    What lies in a store is listed once: size and etag of each object, which changes with its content.
    """
    if is_tar(root):
        members = open_archive(root).members
        found = {name: Stamp(member.size, int(member.mtime * 1e9)) for name, member in members.items()}
        return lambda location: found.get(os.path.normpath(location))
    if is_store(root):
        files = open_place(root).files(deep=True)
        listed = {file.name: Stamp(file.size, stamp_number(file.version)) for file in files}
        return lambda location: listed.get(os.path.normpath(location))
    return lambda location: stamp_of(f"{root.rstrip('/')}/{location}", started_ns)
