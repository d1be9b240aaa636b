"""Which pictures a run takes."""

from __future__ import annotations

import glob
import os

from apache_beam.io.filesystems import FileSystems

from image2music.errors import ConfigError


def list_pictures(images: str) -> list[str]:
    """Every regular file of a folder (at any depth, whatever its ending), of a glob, or the file itself, sorted.

    Places stay as given: relative stays relative.

    Raises:
        ConfigError: nothing is there (`images_missing`), or nothing is in it (`images_empty`).
    """
    if "://" in images:
        found = [entry.path for match in FileSystems.match([images]) for entry in match.metadata_list]
    elif os.path.isdir(images):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(images) for name in names]
    else:
        found = [images] if os.path.lexists(images) else glob.glob(images, recursive=True)
        if not found and not glob.has_magic(images):
            raise ConfigError(f"--images: there is no folder or file {images}", reason="images_missing")
    pictures = sorted(path for path in found if "://" in path or os.path.isfile(path))
    if not pictures:
        raise ConfigError(f"--images: no files in {images}", reason="images_empty")
    return pictures
