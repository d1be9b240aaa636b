"""Which pictures a run takes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from apache_beam.io.filesystems import FileSystems

from image2music.errors import ConfigError
from image2music.pictures.archives import list_members
from image2music.pictures.places import is_archive, is_web
from image2music.pictures.web import WebRule
from transforms.reading import open_seekable


def list_pictures(images: str, allow_web: WebRule = "none") -> list[str]:
    """The places of all pictures, sorted. Places stay as given: relative stays relative.

    `images` is a folder (every regular file, at any depth, whatever its ending), a glob, one file, or `@LIST`: a text
    file with a place on each line, where empty lines and lines that begin with # do not count. A tar or Parquet file
    stands for the pictures in it. A place of a list that is not there is found out, and accounted for, by the run.

    Raises:
        ConfigError: nothing is there (`images_missing`), nothing is in it (`images_empty`), or a web address is named
            without --allow_web (`web_not_allowed`).
    """
    found = list(_listed(images[1:]) if images.startswith("@") else _found(images))
    if allow_web == "none" and (addresses := [place for place in found if is_web(place)]):
        message = f"--images: {len(addresses)} web addresses, such as {addresses[0]}; add --allow_web to open them"
        raise ConfigError(message, reason="web_not_allowed")
    pictures = sorted({picture for place in found for picture in _expanded(place)})
    if not pictures:
        raise ConfigError(f"--images: no files in {images}", reason="images_empty")
    return pictures


def _found(images: str) -> Iterator[str]:
    if is_web(images):
        yield images
    elif "://" in images:
        yield from _remote(images)
    elif os.path.isdir(images):
        for folder, _, names in os.walk(images):
            yield from (path for name in names if os.path.isfile(path := os.path.join(folder, name)))
    else:
        found = [images] if os.path.lexists(images) else glob.glob(images, recursive=True)
        if not found and not glob.has_magic(images):
            raise ConfigError(f"--images: there is no folder or file {images}", reason="images_missing")
        yield from (path for path in found if os.path.isfile(path))


def _remote(images: str) -> Iterator[str]:
    """A file or a glob of an object store, or everything under a name that is neither."""
    for pattern in (images, f"{images.rstrip('/')}/**"):
        try:
            matches = FileSystems.match([pattern])
        except ValueError as error:  # Beam's way to say that it has no file system for this kind of address
            kind = images.split("://", 1)[0]
            message = f"--images: {kind}:// cannot be opened: install Beam's part for it (apache-beam[gcp], [aws])"
            raise ConfigError(message, reason="no_file_system") from error
        found = [entry.path for match in matches for entry in match.metadata_list]
        if found:
            yield from found
            return


def _listed(path: str) -> Iterator[str]:
    if not os.path.isfile(path):
        raise ConfigError(f"--images: there is no list {path}", reason="images_missing")
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as lines:
        places = (line.strip() for line in lines)
        yield from (place for place in places if place and not place.startswith("#"))


def _expanded(place: str) -> list[str]:
    if is_archive(place) and ("://" in place or os.path.isfile(place)):
        return list_members(place, open_seekable)
    return [place]
