"""Read pictures and other files by their addresses: from a disk, an archive, an object store or the web."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

from image2music.images.sources import as_on_disk, fetch, is_web, member_of, read_member
from image2music.settings import WebRule
from image2music.storage.files import open_place, open_regular

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
    return open_place(uri).read(at_most)


def content_id(data: bytes) -> str:
    """Return the sha256 in hex, which image_id and tune_id are."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class PictureReader:
    """Reads pictures by their URI (`image2music.images.sources`), web addresses by the rule `web`. Picklable.

    A URI may be as rows spell it, for a report or another take reads the picture again.
    """

    web: WebRule = "none"

    def __call__(self, uri: str) -> bytes:
        """Return the bytes of a picture.

        Raises:
            PictureError: with the reasons of `read_member` and `fetch`.
            OSError: a file cannot be read, or is too large.
        """
        if is_web(uri):
            return fetch(uri, self.web)
        uri = as_on_disk(uri)
        member = member_of(uri)
        return read_bytes(uri) if member is None else read_member(member, open_seekable)


def open_seekable(path: str) -> BinaryIO:
    """Open a file that is read in more than one place."""
    return open_place(path).open() if is_remote(path) else open_regular(path)


def open_streamed(path: str) -> BinaryIO:
    """Open a file that is read from its beginning to its end."""
    return open_place(path).open(_AHEAD)


_AHEAD = 4 << 20
"""Bytes of a file in a store that are asked for at once."""
