"""The bytes of a picture, wherever it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from image2music.pictures.archives import read_member
from image2music.pictures.places import is_web, member_of
from image2music.pictures.web import WebRule, fetch
from transforms.files import is_remote, open_remote, read_bytes


@dataclass(frozen=True)
class PictureReader:
    """Reads places as `image2music.pictures.places` spells them; web addresses by `web`. Travels to the workers."""

    web: WebRule = "none"

    def __call__(self, uri: str) -> bytes:
        """The bytes.

        Raises:
            PictureError: with the reasons of `read_member` and `fetch`.
            OSError: a file cannot be read, or is too large.
        """
        if is_web(uri):
            return fetch(uri, self.web)
        member = member_of(uri)
        return read_bytes(uri) if member is None else read_member(member, open_seekable)


def open_seekable(path: str) -> BinaryIO:
    """A file to be read here and there."""
    return open_remote(path) if is_remote(path) else open(path, "rb")
