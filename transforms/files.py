"""Bytes of files: local or remote, under --midi_root, in archives, and of a picture wherever it lies."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from image2music.errors import CaptionError
from image2music.images.archives import is_web, member_of, read_member
from image2music.images.http import WebRule, fetch
from image2music.index.sync import Stamp, stamp_of
from image2music.storage.files import open_regular
from image2music.storage.tar import is_tar, open_archive

LARGEST_FILE = 256 << 20
"""Bytes. Folders of pictures also hold videos, and a whole one should not be read to find out."""


def is_remote(uri: str) -> bool:
    """Return whether a URI names a scheme, as in gs://bucket/file."""
    return "://" in uri


def read_bytes(uri: str, *, at_most: int = LARGEST_FILE) -> bytes:
    """Return the content of a file as it is: a name that ends in .gz is not unpacked.

    Raises:
        OSError: it cannot be read, or holds more than `at_most` bytes.
    """
    if is_remote(uri):
        with open_remote(uri) as file:
            data = file.read(at_most + 1)
    else:
        with open_regular(uri) as file:
            # Room is made before anything is read, and for most files `at_most` is a thousand times too much.
            data = file.read(min(os.fstat(file.fileno()).st_size, at_most) + 1)
    if len(data) > at_most:
        raise OSError(errno.EFBIG, f"larger than {at_most >> 20} MiB, which no picture and no tune is", uri)
    return data


def open_remote(uri: str) -> BinaryIO:
    """Open a remote file as it is, through Beam's filesystems; it can be sought in."""
    file: BinaryIO = FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)
    return file


def content_id(data: bytes) -> str:
    """Return the sha256 in hex, which image_id and tune_id are."""
    return hashlib.sha256(data).hexdigest()


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


def stamp_under(root: str, location: str, started_ns: int) -> Stamp | None:
    """Return size and time of change of a file, as `stamp_of`; of a member of an archive as the archive says."""
    if is_remote(root):
        return None
    if not is_tar(root):
        return stamp_of(f"{root.rstrip('/')}/{location}", started_ns)
    member = open_archive(root).members.get(os.path.normpath(location))
    return None if member is None else Stamp(member.size, int(member.mtime * 1e9))


@dataclass(frozen=True)
class PictureReader:
    """Reads pictures by their URI (`image2music.images.archives`), web addresses by the rule `web`. Picklable."""

    web: WebRule = "none"

    def __call__(self, uri: str) -> bytes:
        """Return the bytes of a picture.

        Raises:
            PictureError: with the reasons of `read_member` and `fetch`.
            OSError: a file cannot be read, or is too large.
        """
        if is_web(uri):
            return fetch(uri, self.web)
        member = member_of(uri)
        return read_bytes(uri) if member is None else read_member(member, open_seekable)


def open_seekable(path: str) -> BinaryIO:
    """Open a file that is read in more than one place."""
    return open_remote(path) if is_remote(path) else open_regular(path)
