"""Small copies of pictures without anything but their pixels."""

from __future__ import annotations

import base64
import io

from PIL import Image

_QUALITY = 80


def thumbnail(image: Image.Image, side: int) -> bytes:
    """A JPEG of at most `side` pixels a side. EXIF, GPS, comments and colour profiles stay behind."""
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    bare = Image.new("RGB", small.size)
    bare.paste(small)
    stream = io.BytesIO()
    bare.save(stream, format="JPEG", quality=_QUALITY, optimize=True)
    return stream.getvalue()


def data_uri(jpeg: bytes) -> str:
    """The same as a `data:` address, to stand inside a page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
