"""Pictures that other formats hold: HEIC, the preview in a camera RAW, and a JPEG that is followed by a film."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from PIL import Image

from image2music.errors import PictureError
from image2music.images.files import RAW_HEADS, is_heif, is_raw_film

if TYPE_CHECKING:
    from numpy.typing import NDArray

Boxes = Iterator[tuple[bytes, int, int]]

_STRIP_ROWS = 256
"""Rows of a HEIC picture, after it was reduced, that are converted at once."""

_REDUCING_GAP = 2.0
"""A picture is averaged down to this many times the size that is asked for, and resampled from there (as in Pillow)."""


@dataclass(frozen=True, eq=False)
class HeicPicture:
    """The primary picture of a HEIC file before its pixels cost anything.

    size: width and height in pixels, with the turn that the file's boxes ask for. orientation: what is still to be
    undone, 1 to 8 as in EXIF.
    """

    size: tuple[int, int]
    orientation: int
    _image: Any

    def reduced(self, max_side: int) -> Image.Image:
        """Return the pixels, averaged over whole numbers of them where they are many more than `max_side` asks for.

        The decoder holds 1.5 bytes a pixel (3 with 10 bits) and 3 for RGB (4 with transparency); no third copy is made.
        """
        pixels, mode, (width, height) = memoryview(self._image.data), self._image.mode, self._image.size
        factor = max(1, int(max(width, height) / max_side / _REDUCING_GAP))
        raw, mode = ("RGBa", "RGBA") if mode == "RGBa" else (mode, mode)
        stride, whole = self._image.stride, Image.new(mode, (-(-width // factor), -(-height // factor)))
        for top in range(0, height, _STRIP_ROWS * factor):
            rows = min(_STRIP_ROWS * factor, height - top)
            part = bytes(pixels[top * stride : (top + rows) * stride])
            strip = Image.frombuffer(raw, (width, rows), part, "raw", raw, stride, 1).convert(mode)
            whole.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
        return whole


def open_heic(data: bytes) -> HeicPicture:
    """Open a HEIC file by libheif, with libde265 as its decoder; of several pictures the primary one.

    The boxes irot and imir turn the pixels while they are decoded, and the orientation in the EXIF data, which most
    files have beside them, says the same once more: it counts only where there are no such boxes.

    Raises:
        PictureError: the package is not installed (`heic_not_supported`), or the file cannot be read (`truncated`,
            `broken_file`).
    """
    try:
        import pi_heif
    except ImportError as error:
        message = "HEIC pictures are read by the package pi-heif, which is not installed: pip install pi-heif"
        raise PictureError(message, reason="heic_not_supported") from error
    file = pi_heif.open_heif(data)
    image = file[file.primary_index]
    exif = Image.Exif()
    if image.info.get("exif") and not _is_turned_by_boxes(data):
        exif.load(image.info["exif"])
    return HeicPicture(image.size, _orientation_in(exif), image)


def _orientation_in(exif: Image.Exif) -> int:
    value = exif.get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


_ORIENTATION = 0x0112


def _is_turned_by_boxes(data: bytes) -> bool:
    """Return whether the primary picture has a box irot or imir; so too where its boxes cannot be followed."""
    try:
        meta = next((start + 4, end) for kind, start, end in _boxes(data, 0, len(data)) if kind == b"meta")
        inside = {kind: (start, end) for kind, start, end in _boxes(data, *meta)}
        start, _ = inside[b"pitm"]
        primary = int.from_bytes(data[start + 4 : start + (8 if data[start] else 6)], "big")
        parts = {kind: (start, end) for kind, start, end in _boxes(data, *inside[b"iprp"])}
        kinds = [kind for kind, _, _ in _boxes(data, *parts[b"ipco"])]
        return any(kinds[at - 1] in (b"irot", b"imir") for at in _properties(data, parts[b"ipma"][0], primary))
    except (StopIteration, KeyError, IndexError, struct.error):
        return True


def _boxes(data: bytes, start: int, end: int) -> Boxes:
    """Yield kind, place of the content and end of each box of ISO 14496-12 between two places."""
    while start + 8 <= end:
        size, kind, head = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        size = end - start if size == 0 else size
        if size < head:
            return
        yield kind, start + head, min(start + size, end)
        start += size


def _properties(data: bytes, at: int, item: int) -> list[int]:
    """Return the numbers, from 1, of an item's properties, by the box ipma (ISO 23008-12)."""
    version, wide = data[at], data[at + 3] & 1
    (count,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(count):
        found, number = struct.unpack_from(">IB" if version else ">HB", data, at)
        at += 5 if version else 3
        size = 2 if wide else 1
        numbers = [int.from_bytes(data[at + size * n : at + size * (n + 1)], "big") for n in range(number)]
        if found == item:
            return [value & (0x7FFF if wide else 0x7F) for value in numbers if value & (0x7FFF if wide else 0x7F)]
        at += size * number
    return []


# ---------------------------------------------------------------- films behind pictures

_SAMSUNG_FILM = b"MotionPhoto_Data"
_FILM_BRANDS = (b"mp4", b"iso", b"qt ", b"avc", b"M4V", b"3gp")
_MOST_LOOKS = 1000
"""How often a word is looked for in a file that holds it again and again to waste time."""
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG, _SCAN, _END = b"\xff\xd8\xff", 0xDA, 0xD9


def is_motion_photo(data: bytes) -> bool:
    """Return whether a picture has its film behind it, in the same file: a JPEG, or a HEIC of Samsung's."""
    if data.startswith(_JPEG):
        return _SAMSUNG_FILM in data or _holds_film(data)
    return is_heif(data) and (
        _SAMSUNG_FILM in data or any(kind == b"mpvd" for kind, _, _ in _boxes(data, 0, len(data)))
    )


def _holds_film(data: bytes) -> bool:
    at = 0
    for _ in range(_MOST_LOOKS):
        at = data.find(b"ftyp", at + 1)
        if at < 0:
            return False
        if data[at - 4 : at - 1] == bytes(3) and data[at + 4 : at + 7] in _FILM_BRANDS:
            return True
    return False


def count_scans(data: bytes, most: int) -> int:
    """Return how many scans a JPEG has, counting to just above `most`; what lies behind its end is not looked at.

    Progressive files have a dozen. Behind the end there may be a film, in which any bytes occur. A file of thousands of
    segments counts as one of too many scans.
    """
    scans = 0
    for number, (kind, _, _) in enumerate(_segments(data, 0)):
        scans += kind == _SCAN
        if scans > most or number > _MOST_SEGMENTS:
            return most + 1
    return scans


def _segments(data: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield marker, place of the content and its size, of each segment of a JPEG that begins at `start`."""
    at = start + 2
    while (found := _MARKER.search(data, at)) is not None:
        kind, at = data[found.start() + 1], found.end()
        size = 0 if kind in _ALONE or kind == _END else int.from_bytes(data[at : at + 2], "big")
        yield kind, at, size
        if kind == _END:
            return
        at += size


# ---------------------------------------------------------------- camera RAW

_NEW_SUBFILE, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 254, 262, 330, 50706
_MOSAIC = (32803, 34892)
_LARGE_ENOUGH = 1024
_FRAMES = (0xC0, 0xC1, 0xC2)
_MOST_TAGS, _MOST_SEGMENTS, _MOST_JPEGS = 512, 4096, 64
_UPRIGHT_BY_FLIP = {3: 3, 5: 8, 6: 6}
"""EXIF orientations by LibRaw's numbers."""


@dataclass(frozen=True, eq=False)
class RawPreview:
    """What a camera RAW shows: a JPEG file, or pixels; `orientation`, 1 to 8 as in EXIF, is that of the RAW."""

    picture: bytes | Image.Image
    orientation: int


def is_raw(data: bytes) -> bool:
    """Return whether a file is a camera RAW, by its first bytes and, where they are those of TIFF, by its tags."""
    if data.startswith(RAW_HEADS) or is_raw_film(data):
        return True
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return False
    tags = _first_directory(data)
    smaller = tags.get(_NEW_SUBFILE, 0) & 1 == 1 and _SUB_DIRECTORIES in tags
    return data[8:10] == b"CR" or _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _MOSAIC or smaller


def raw_preview(data: bytes) -> RawPreview:
    """Return the preview of a camera RAW: LibRaw's, else the largest JPEG inside, else the RAW developed at half size.

    Raises:
        PictureError: there is none (`no_preview`).
    """
    orientation, raw, why = _first_directory(data).get(_ORIENTATION, 1), None, ""
    try:
        import rawpy

        raw = rawpy.imread(io.BytesIO(data))
        orientation = _UPRIGHT_BY_FLIP.get(raw.sizes.flip, 1)
    except ImportError:
        why = ", and the package rawpy is not installed: pip install rawpy"
    except Exception:  # LibRaw refuses, in many ways, what it does not know; the JPEG inside is looked for instead.
        raw = None
    best = _thumb(raw)
    if best is None or _long_side(best) < _LARGE_ENOUGH:
        best = max((one for one in (best, _largest_jpeg(data)) if one is not None), key=_long_side, default=None)
    best = _developed(raw) if best is None else best
    if best is None:
        message = f"a camera RAW without a preview that can be read{why}; export it as JPEG"
        raise PictureError(message, reason="no_preview")
    return RawPreview(best, orientation if orientation in range(1, 9) else 1)


def _thumb(raw: Any) -> bytes | Image.Image | None:
    try:
        found = raw.extract_thumb().data
    except Exception:  # there is none, or of a kind that LibRaw does not hand out
        return None
    thumb = found if isinstance(found, bytes) else _image_of(found)
    return thumb if _long_side(thumb) else None


def _image_of(pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(pixels)


def _developed(raw: Any) -> Image.Image | None:
    try:
        return _image_of(raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8, user_flip=0))
    except Exception:  # as above
        return None


def _long_side(picture: bytes | Image.Image) -> int:
    return max(picture.size if isinstance(picture, Image.Image) else _frame_size(picture, 0))


def _largest_jpeg(data: bytes) -> bytes | None:
    """Return the largest JPEG picture among these bytes; a sensor's pixels, in lossless JPEG, are none."""
    starts = (found.start() for found in islice(re.finditer(_JPEG, data), _MOST_JPEGS))
    sides = {start: max(_frame_size(data, start)) for start in starts}
    start = max(sides, key=lambda at: sides[at], default=0)
    return data[start:] if sides.get(start) else None


def _frame_size(data: bytes, start: int) -> tuple[int, int]:
    """Return width and height of the JPEG at a place; zeros where it is none that is shown."""
    for kind, at, size in islice(_segments(data, start), _MOST_SEGMENTS):
        if kind in _FRAMES and size >= 11 and data[at + 2] == 8:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if kind in (_SCAN, _END) or size < 2:
            break
    return 0, 0


def _first_directory(data: bytes) -> dict[int, int]:
    """Return the first value of each tag of a TIFF's first directory, as far as it is a whole number."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return {}
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        tags = {}
        for entry in range(at + 2, at + 2 + 12 * min(count, _MOST_TAGS), 12):
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            tags[tag] = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, entry + 8)[0]
        return tags
    except struct.error:
        return {}
