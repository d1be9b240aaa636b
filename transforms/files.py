"""Bytes of a file, local or remote."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from image2music.errors import CaptionError

LARGEST_FILE = 256 << 20
"""Bytes. Folders of pictures also hold videos, and a whole one should not be read to find out."""


def is_remote(uri: str) -> bool:
    """Whether a URI names a scheme, as in gs://bucket/file."""
    return "://" in uri


def read_bytes(uri: str, *, at_most: int = LARGEST_FILE) -> bytes:
    """The file as it is: a name that ends in .gz is not unpacked.

    Raises:
        OSError: it cannot be read, or holds more than `at_most` bytes.
    """
    if is_remote(uri):
        with open_remote(uri) as file:
            data = file.read(at_most + 1)
    else:
        with open(uri, "rb") as file:
            # Room is made before anything is read, and for most files `at_most` is a thousand times too much.
            data = file.read(min(os.fstat(file.fileno()).st_size, at_most) + 1)
    if len(data) > at_most:
        raise OSError(errno.EFBIG, f"larger than {at_most >> 20} MiB, which no picture and no tune is", uri)
    return data


def open_remote(uri: str) -> BinaryIO:
    """A remote file as it is, through Beam's filesystems; it can be sought in."""
    file: BinaryIO = FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)
    return file


def content_id(data: bytes) -> str:
    """sha256 in hex: what image_id and tune_id are."""
    return hashlib.sha256(data).hexdigest()


def inside(root: str, location: str) -> str:
    """The path of `location` under `root`.

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
