"""Reading a gzip file from any place: the state of the decompressor is kept every few megabytes.

The method of zlib's examples/zran.c, with the copies of the state that Python's zlib can make.
"""

from __future__ import annotations

import io
import os
import threading
import weakref
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Protocol

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
    """Bytes that are read by their place."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; fewer at the end."""
        ...


class LocalFile:
    """A file, open as long as somebody holds this. Threads may read at the same time."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; fewer at the end."""
        return os.pread(self._descriptor, size, offset)


class SeekableGzip:
    """Bytes of a gzip file by their place before compression. Sequential reads go on where the last one ended."""

    def __init__(self, file: ByteSource) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._points = [_Point(0, 0, zlib.decompressobj(_GZIP))]
        self._go_to(self._points[0])

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; fewer at the end of the file.

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
        """Decompress the next piece of the file; False at its end."""
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
        """A file may hold several gzip streams one after the other, and zeros after the last."""
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
    """Anything with `read_at` as a file that is read and sought in."""

    def __init__(self, data: ByteSource) -> None:
        self._data = data
        self._place = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """From the beginning or from here: nobody knows the end before it is reached."""
        self._place = offset if whence == io.SEEK_SET else self._place + offset
        return self._place

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """As many bytes as there are."""
        data = self._data.read_at(self._place, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
