"""Bytes of a file, local or remote."""

from __future__ import annotations

import hashlib
import os

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from image2music.errors import CaptionError


def is_remote(uri: str) -> bool:
    """Whether a URI names a scheme, as in gs://bucket/file."""
    return "://" in uri


def read_bytes(uri: str) -> bytes:
    """The file as it is: a name that ends in .gz is not unpacked.

    Raises:
        OSError: it cannot be read.
    """
    if not is_remote(uri):
        with open(uri, "rb") as file:
            return file.read()
    with FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()


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
