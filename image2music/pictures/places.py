"""What a picture's place says about its company."""

from __future__ import annotations

import os


def album_of(uri: str) -> str:
    """The folder that a picture lies in."""
    return os.path.dirname(uri)
