"""Files of tar archives, compressed or not, on a disk or in a store, read one by one: nothing is unpacked to disk.

A gzip file can be read from any place, for the decompressor's state is kept every few megabytes. That is the method of
zlib's examples/zran.c, with the copies of the state that Python's zlib can make.
"""

from __future__ import annotations

import errno
import io
import os
import tarfile
import threading
import weakref
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Protocol, cast

from image2music.errors import CaptionError, ConfigError
from image2music.storage.files import open_place, open_regular
from image2music.storage.objects import FileInfo, ObjectPlace, RemoteFile, is_store

SPACING = 4 << 20
"""Bytes before compression from one kept state to the next. A state takes about 50 kB, so 6 GB need 75 MB."""
_CHUNK = 1 << 16
_GZIP = 31


@dataclass(frozen=True)
class _Point:
    """The decompressor when it had made `out` bytes of the first `used` bytes of the file."""

    out: int
    used: int
    state: Any


class ByteSource(Protocol):
    """Bytes that can be read from any place."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on; fewer at the end."""
        ...


class LocalFile:
    """A local file, open as long as this object lives. Threads may read at the same time."""

    def __init__(self, path: str) -> None:
        self._file = open_regular(path)
        weakref.finalize(self, self._file.close)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on; fewer at the end."""
        return os.pread(self._file.fileno(), size, offset)


_AHEAD = 4 << 20


class ReadAhead:
    """Bytes of a file in a store, some megabytes at once. Threads wait for each other."""

    def __init__(self, file: ByteSource) -> None:
        self._file, self._start, self._block, self._lock = file, 0, b"", threading.Lock()

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on; fewer at the end."""
        with self._lock:
            if not self._start <= offset <= offset + size <= self._start + len(self._block):
                self._start, self._block = offset, self._file.read_at(offset, max(size, _AHEAD))
            return self._block[offset - self._start : offset - self._start + size]


class SeekableGzip:
    """The content of a gzip file, read from any place. Sequential reads go on where the last one ended."""

    def __init__(self, file: ByteSource) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._points = [_Point(0, 0, zlib.decompressobj(_GZIP))]
        self._go_to(self._points[0])

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on; fewer at the end of the file.

        Raises:
            zlib.error: it is not gzip, or broken.
            EOFError: it ends in the middle.
        """
        with self._lock:
            point = self._points[bisect_right(self._points, offset, key=lambda point: point.out) - 1]
            if not self._start <= offset or point.out > self._out:
                self._go_to(point)
            pieces, wanted = [], offset
            while wanted < offset + size:
                if wanted < self._out:
                    piece = self._block[wanted - self._start : offset + size - self._start]
                    pieces.append(piece)
                    wanted += len(piece)
                elif not self._advance():
                    break
            return b"".join(pieces)

    def _go_to(self, point: _Point) -> None:
        self._state, self._used = point.state.copy(), point.used
        self._start = self._out = point.out
        self._block = b""

    def _advance(self) -> bool:
        """Decompress the next piece of the file; return False at its end."""
        chunk = self._file.read_at(self._used, _CHUNK)
        if not chunk:
            if not self._state.eof and self._used:
                raise EOFError("the gzip file ends in the middle")
            return False
        self._block, self._start = self._decompressed(chunk), self._out
        self._used += len(chunk)
        self._out += len(self._block)
        if self._out - self._points[-1].out >= SPACING:
            self._points.append(_Point(self._out, self._used, self._state.copy()))
        return True

    def _decompressed(self, chunk: bytes) -> bytes:
        """Decompress a chunk: a file may hold several gzip streams one after the other, and zeros after the last."""
        pieces = []
        while chunk:
            if self._state.eof:
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                self._state = zlib.decompressobj(_GZIP)
            pieces.append(self._state.decompress(chunk))
            chunk = self._state.unused_data
        return b"".join(pieces)


class ByteReader(io.RawIOBase):
    """A `ByteSource` as a file object that can be read and sought in."""

    def __init__(self, data: ByteSource) -> None:
        self._data = data
        self._place = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place counted from the beginning or from here: nobody knows the end before it is reached."""
        self._place = offset if whence == io.SEEK_SET else self._place + offset
        return self._place

    def tell(self) -> int:
        """Return the place in bytes from the beginning."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with as many bytes as there are, and return their number."""
        data = self._data.read_at(self._place, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


ENDINGS = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class TarMember:
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
    members: dict[str, TarMember] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)

    def member(self, location: str) -> TarMember:
        """Return where a file lies.

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
        """Return the bytes of a file.

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


def is_tar(path: str) -> bool:
    """Return whether a path names a tar archive; a folder whose name ends in .tar is a folder."""
    return path.endswith(ENDINGS) and (os.path.isfile(path) or (is_store(path) and open_place(path).is_file()))


def open_archive(path: str) -> TarMembers:
    """Return an archive with its table of contents, read once a process and again when the archive changed.

    Raises:
        ConfigError: it cannot be read as a tar archive (`bad_archive`).
    """
    try:
        found = open_place(path).info() or FileInfo(path, 0, "", 0.0)
        return _open(path, found)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        message = f"{path} is no tar archive that can be read: {error}"
        raise ConfigError(message, reason="bad_archive") from error


@lru_cache(maxsize=2)
def _open(path: str, info: FileInfo) -> TarMembers:
    file: ByteSource = RemoteFile(ObjectPlace(path), info) if is_store(path) else LocalFile(path)
    near: ByteSource = ReadAhead(file) if is_store(path) else file
    data = file if path.endswith(".tar") else SeekableGzip(near)
    found = TarMembers(path, data)
    contents = near if path.endswith(".tar") else data
    with tarfile.open(fileobj=cast(BinaryIO, ByteReader(contents)), mode="r:") as archive:
        while (entry := archive.next()) is not None:
            _enter(found, entry)
            archive.members = []  # type: ignore[attr-defined]  # or every entry would stay in memory
    return found


def _enter(found: TarMembers, entry: tarfile.TarInfo) -> None:
    """Add an entry. A later one of the same name takes the place of an earlier one, as it would when unpacked."""
    name = _normal(entry.name)
    found.members.pop(name, None)
    found.links.discard(name)
    target = _normal(entry.linkname)
    if entry.isreg() and not entry.issparse():
        found.members[name] = TarMember(entry.offset_data, entry.size, entry.mtime)
    elif entry.islnk() and target in found.members:
        found.members[name] = found.members[target]
    elif entry.issym() or entry.islnk():
        found.links.add(name)


def _normal(name: str) -> str:
    return str(PurePosixPath(name))
