"""Which MIDI files changed since they were last read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from image2music.errors import CaptionError
from image2music.failures import failure_from
from image2music.index_manifest import KnownFile, Manifest, stamp_of
from image2music.stages import CaptionedMidi, Failure
from transforms.files import content_id, inside, is_remote, read_bytes

_THREADS = 8
"""Hashing waits for the disk and leaves the interpreter while it computes."""


@dataclass
class IdentifiedFiles:
    """What became of the lines of a captions file. `hashed` counts the files that were read."""

    tunes: list[tuple[str, CaptionedMidi]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    manifest: Manifest = field(default_factory=dict)
    hashed: int = 0


def identify_files(root: str, sources: Iterable[CaptionedMidi], known: Mapping[str, KnownFile]) -> IdentifiedFiles:
    """tune_id of every file: read from `known` where its size and time of change are the same, else from its bytes.

    Files of a remote root have no stamp here and are read each time. The manifest returned holds the files of
    `sources` only, without those that changed a moment ago.
    """
    found = IdentifiedFiles()
    started, unread = time.time_ns(), []
    for source in sources:
        # The stamp comes first: a file that changes while it is read has another stamp the next time.
        stamp = None if is_remote(root) else stamp_of(f"{root.rstrip('/')}/{source.location}", started)
        before = known.get(source.location)
        if before is None or stamp != before.stamp:
            unread.append((source, stamp))
            continue
        found.tunes.append((before.tune_id, source))
        found.manifest[source.location] = before
    found.hashed = len(unread)
    with ThreadPoolExecutor(_THREADS) as threads:
        answers = threads.map(lambda entry: _hash(root, entry[0]), unread)
        for (source, stamp), answer in zip(unread, answers, strict=True):
            if isinstance(answer, Failure):
                found.failures.append(answer)
                continue
            found.tunes.append((answer, source))
            if stamp is not None:
                found.manifest[source.location] = KnownFile(stamp, answer)
    return found


def _hash(root: str, source: CaptionedMidi) -> str | Failure:
    try:
        return content_id(read_bytes(inside(root, source.location)))
    except (OSError, ValueError, CaptionError) as error:  # ValueError: a NUL in the name
        return failure_from(error, stage="identify", id=source.location, uri=source.location)


def manifest_of_build(
    root: str, tunes: Mapping[str, CaptionedMidi], failures: Iterable[Failure], started_ns: int
) -> Manifest:
    """What a full build read: its rows by tune_id, and the failures of files whose content it knew.

    Files that changed since it started are left out: nobody knows which of their contents it read.
    """
    read = {source.location: ("", "", tune_id) for tune_id, source in tunes.items()}
    for failure in failures:
        if failure.stage == "duplicates":
            read[failure.uri] = ("", "", failure.id)
        if is_lasting(failure):
            read[failure.uri] = (failure.reason, failure.message, failure.id)
    manifest = {}
    for location, (reason, message, tune_id) in read.items():
        stamp = None if is_remote(root) else stamp_of(f"{root.rstrip('/')}/{location}", started_ns)
        if stamp is not None:
            manifest[location] = KnownFile(stamp, tune_id, reason, message)
    return manifest


def is_lasting(failure: Failure) -> bool:
    """Whether the same content would fail again."""
    return failure.stage == "convert" and failure.reason not in ("file_changed", "unreadable_file", "timed_out")
