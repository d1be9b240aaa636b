"""The files in a tar archive, read one by one: nothing is unpacked to disk."""

from __future__ import annotations

import errno
import os
import tarfile
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from image2music.errors import CaptionError, ConfigError
from image2music.gzip_seeking import ByteReader, ByteSource, LocalFile, SeekableGzip

ENDINGS = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Member:
    """Where a file's bytes lie in the archive (before compression), and when it changed, in seconds."""

    offset: int
    size: int
    mtime: float


@dataclass(frozen=True)
class TarMembers:
    """The regular files of an archive by their name.

    A hard link is the file that it names; other links are not followed, for nobody can say where they lead.
    """

    path: str
    data: ByteSource
    members: dict[str, Member] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)

    def member(self, location: str) -> Member:
        """Where a file lies.

        Raises:
            OSError: the archive has no such file.
            CaptionError: it is a link (`link_in_archive`).
        """
        name = _normal(location)
        if name in self.links:
            message = f"{location} is a link in {self.path}, and links in archives are not followed"
            raise CaptionError(message, reason="link_in_archive")
        if name not in self.members:
            raise FileNotFoundError(errno.ENOENT, f"no such file in {self.path}", location)
        return self.members[name]

    def read(self, location: str, *, at_most: int) -> bytes:
        """The bytes of a file.

        Raises:
            OSError: as `member`; or it is larger than `at_most` bytes, or the archive ends before it does.
            CaptionError: as `member`.
        """
        member = self.member(location)
        if member.size > at_most:
            raise OSError(errno.EFBIG, f"larger than {at_most >> 20} MiB, which no picture and no tune is", location)
        data = self.data.read_at(member.offset, member.size)
        if len(data) < member.size:
            raise OSError(errno.EIO, f"{self.path} ends in the middle of this file", location)
        return data


def is_archive(path: str) -> bool:
    """Whether a path names a local tar archive; a folder whose name ends in .tar is a folder."""
    return path.endswith(ENDINGS) and os.path.isfile(path)


def open_archive(path: str) -> TarMembers:
    """An archive with its table of contents, read once a process and again when the archive changed.

    Raises:
        ConfigError: it cannot be read as a tar archive (`bad_archive`).
    """
    try:
        found = os.stat(path)
        return _open(path, found.st_size, found.st_mtime_ns)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        message = f"--midi_root: {path} is no tar archive that can be read: {error}"
        raise ConfigError(message, reason="bad_archive") from error


@lru_cache(maxsize=2)
def _open(path: str, size: int, mtime_ns: int) -> TarMembers:
    file = LocalFile(path)
    data: ByteSource = file if path.endswith(".tar") else SeekableGzip(file)
    found = TarMembers(path, data)
    with tarfile.open(fileobj=cast(BinaryIO, ByteReader(data)), mode="r:") as archive:
        while (entry := archive.next()) is not None:
            _enter(found, entry)
            archive.members = []  # type: ignore[attr-defined]  # or every entry would stay in memory
    return found


def _enter(found: TarMembers, entry: tarfile.TarInfo) -> None:
    """A later entry of the same name takes the place of an earlier one, as it would when unpacked."""
    name = _normal(entry.name)
    found.members.pop(name, None)
    found.links.discard(name)
    target = _normal(entry.linkname)
    if entry.isreg() and not entry.issparse():
        found.members[name] = Member(entry.offset_data, entry.size, entry.mtime)
    elif entry.islnk() and target in found.members:
        found.members[name] = found.members[target]
    elif entry.issym() or entry.islnk():
        found.links.add(name)


def _normal(name: str) -> str:
    return str(PurePosixPath(name))
