"""Which MIDI files changed since they were last read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from image2music.errors import CaptionError
from image2music.failures import failure_from
from image2music.index.sync import KnownFile, Manifest, Stamp
from image2music.types import CaptionedMidi, Failure
from transforms.pictures import content_id, read_under, stamp_under

_THREADS = 4
"""Reading waits for the disk. More threads wait for each other: files are small, and so is what each does alone."""

_FILES_AT_ONCE = 256
"""Handed to a thread together."""


@dataclass
class IdentifiedFiles:
    """What became of the lines of a captions file. `hashed` counts the files that were read."""

    tunes: list[tuple[str, CaptionedMidi]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    manifest: Manifest = field(default_factory=dict)
    hashed: int = 0


def identify_files(root: str, sources: Sequence[CaptionedMidi], known: Mapping[str, KnownFile]) -> IdentifiedFiles:
    """Return the tune_id of every file and the image_id of every picture.

    They come from `known` where size and time of change are the same, else from the bytes. Files of a remote root
    have no stamp here and are read each time. The manifest returned holds the files of `sources` only, without those
    that changed a moment ago.
    """
    found, started = IdentifiedFiles(), time.time_ns()
    unread: dict[str, Stamp | None] = {}
    ids: dict[str, str | Exception] = {}
    for place in dict.fromkeys(place for source in sources for place in (source.location, source.image) if place):
        # The stamp comes first: a file that changes while it is read has another stamp the next time.
        stamp, before = stamp_under(root, place, started), known.get(place)
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
    with ThreadPoolExecutor(_THREADS) as threads:
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
    manifest = {}
    for location, (reason, message, tune_id) in read.items():
        stamp = stamp_under(root, location, started_ns)
        if stamp is not None:
            manifest[location] = KnownFile(stamp, tune_id, reason, message)
    return manifest


def is_lasting(failure: Failure) -> bool:
    """Return whether the same content would fail again."""
    return failure.stage == "convert" and failure.reason not in ("file_changed", "unreadable_file", "timed_out")
