"""From the bytes of a file to a small upright RGB picture. Bytes that give none give a `PictureError` that says why."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from image2music.errors import PictureError
from image2music.images.containers import count_scans, is_raw, open_heic, raw_preview
from image2music.images.files import is_heif

_lock = threading.Lock()
_inside = 0
_restore = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """Let no warning leave this block and let no bound of Pillow hold in it.

    What matters in a picture is raised as an error instead. Python's filters and Pillow's bound belong to the process,
    so the first thread in silences them and the last one out restores them: plain `catch_warnings` in several threads
    can leave them silent for good.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _restore.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _restore.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = None  # the size is checked here


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            _restore.close()


_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded picture of any mode to RGB; what is transparent becomes white.

    16-bit grey keeps its upper 8 bits, unless it only uses the lower ones; floating-point grey counts as 0 to 1, or
    as 0 to 255 where it exceeds 1.
    """
    if image.mode.startswith("I"):
        return _from_integers(np.asarray(image))
    if image.mode == "F":
        return _from_floats(np.asarray(image))
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _from_integers(values: np.ndarray) -> Image.Image:
    clipped = np.clip(values, 0, 65535).astype(np.uint16)
    grey = clipped >> 8 if clipped.max(initial=0) > 255 else clipped
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _from_floats(values: np.ndarray) -> Image.Image:
    finite = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    scale = 255.0 if finite.max(initial=0.0) <= 1 else 1.0
    return Image.fromarray(np.clip(finite * scale, 0, 255).astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


MAX_SIDE = 1024
"""Longest side of a picture as it is shown to models, in pixels."""

MAX_BYTES = 256 * 2**20
"""Larger files are refused unread."""

MAX_PIXELS = 1 << 28
"""Pictures with more are refused from the header alone. Telephones take pictures of 108 and 200 megapixels.

A JPEG of so many pixels takes little memory, for it is decoded at an eighth of its size (a progressive one takes up to
1.5 GiB). Other formats hold up to 4 bytes a pixel, 1 GiB, and 8 bytes where they are transparent. Measured for 108
megapixels: 17 MB as JPEG, 320 MB as progressive JPEG, 444 MB as PNG, 870 MB as PNG with transparency.
"""

MAX_DEEP_PIXELS = 89_478_485
"""The same for pictures with more than 8 bits a channel, which take up to 12 bytes a pixel to convert: 1 GiB."""

MAX_ASPECT = 100
"""Pictures longer than this many times their breadth show nothing that can be looked at."""

_MAX_SCANS = 256
"""Progressive JPEG files repeat their pixels in scans, a dozen of them; thousands are there to waste time."""

# Formats that Pillow decodes by itself from one stream. Left out are those that start other programs (EPS), accept
# almost any bytes (TGA), or hold films.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP",
            "XPM")  # fmt: skip

_DEEP = ("I", "I;16", "I;16L", "I;16B", "F")
"""Modes with more than 8 bits a channel."""

_SHRINKABLE = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Modes in which neighbouring values may be averaged."""
_ORIENTATION = 0x0112

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture ready to be looked at.

    image: RGB, upright, its longer side at most the `max_side` asked for.
    width, height: size in pixels of the original, after the rotation that its EXIF data ask for.
    format: Pillow's name of the file format, such as "JPEG".
    """

    image: Image.Image
    width: int
    height: int
    format: str


def open_picture(data: bytes, *, max_side: int = MAX_SIDE) -> Picture:
    """Open the first frame of a picture file, upright and in RGB, on white where it is transparent.

    What it is, its bytes say, never its name. Of a HEIC file it is the primary picture, of a camera RAW the preview.
    Size and shape are checked in the header, before pixels cost memory or time.

    Raises:
        PictureError: with reason empty_file, file_too_large, not_a_picture, bad_size, too_many_pixels, too_thin,
            too_many_scans, truncated, broken_file, heic_not_supported, no_preview or unsupported_tiff.
    """
    _check_bytes(data)
    with quiet():
        if is_heif(data):
            return _open_heic(data, max_side)
        if is_raw(data):
            return _open_raw(data, max_side)
        return _open_plain(data, max_side)


def _open_plain(data: bytes, max_side: int, turned: int = 1) -> Picture:
    """Open what Pillow reads; `turned` is an orientation that counts before the picture's own."""
    header = _read_header(data)
    _check_size(*header.size, MAX_DEEP_PIXELS if header.mode in _DEEP else MAX_PIXELS)
    _check_scans(data)
    width, height = header.size
    image = _decode(header, max_side)
    own = _orientation(header)
    return _upright(image, width, height, turned if turned in _UPRIGHT else own, header.format or "")


def _upright(image: Image.Image, width: int, height: int, orientation: int, kind: str) -> Picture:
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Picture(image, width, height, kind)


def _open_heic(data: bytes, max_side: int) -> Picture:
    try:
        found = open_heic(data)
        _check_size(*found.size, MAX_PIXELS)
        image = found.reduced(max_side)
        rgb = to_rgb(image)
        _shrink(rgb, max_side)
    except PictureError:
        raise
    except Exception as error:  # A decoder may raise anything on hostile bytes.
        raise _unreadable(error) from error
    return _upright(rgb, *found.size, found.orientation, "HEIF")


def _open_raw(data: bytes, max_side: int) -> Picture:
    try:
        preview = raw_preview(data)
    except PictureError as error:
        try:
            return _open_plain(data, max_side)  # a preview that is the first picture of the TIFF itself
        except PictureError:
            raise error from None
    if isinstance(preview.picture, bytes):
        found = _open_plain(preview.picture, max_side, preview.orientation)
        return Picture(found.image, found.width, found.height, "RAW")
    size = preview.picture.size
    _check_size(*size, MAX_PIXELS)
    rgb = to_rgb(preview.picture)
    _shrink(rgb, max_side)
    return _upright(rgb, *size, preview.orientation, "RAW")


def _check_bytes(data: bytes) -> None:
    if not data:
        raise PictureError("the file is empty", reason="empty_file")
    if len(data) > MAX_BYTES:
        _refuse(f"the file has {len(data)} bytes; make it smaller than {MAX_BYTES}", "file_too_large")


def _read_header(data: bytes) -> Image.Image:
    Image.init()  # Pillow registers most formats only when asked to; `formats` does not ask.
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        if data.startswith((b"II*\0", b"MM\0*")):
            raise PictureError(_tiff_message(data), reason="unsupported_tiff") from error
        raise PictureError(
            f"not a picture in a known format ({', '.join(_FORMATS)}, HEIC, camera RAW)", reason="not_a_picture"
        ) from error
    except Exception as error:  # A decoder may raise anything on a hostile header.
        raise PictureError(f"the header cannot be read: {_one_line(error)}", reason="broken_file") from error


_PHOTOMETRIC = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELAB", 9: "ICCLAB",
                10: "ITULAB", 32803: "camera raw", 32844: "LogL", 32845: "LogLuv", 34892: "camera raw"}  # fmt: skip


def _tiff_message(data: bytes) -> str:
    """Return which kind of TIFF it is that Pillow does not open."""
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(directory.next)
        directory.load(file)
        photometric, bits = int(directory[262]), directory.get(258, (1,))
    except Exception:  # The directory of a hostile file may break its reader in any way.
        return "the header of the TIFF file cannot be read"
    kind = _PHOTOMETRIC.get(photometric, f"photometric {photometric}")
    depth = f"{len(bits)} channels of {bits[0]} bits"
    return f"a TIFF file of a kind that is not read ({kind}, {depth}); save it as JPEG or PNG"


def _check_size(width: int, height: int, most: int) -> None:
    if width < 1 or height < 1:
        _refuse(f"the header says {width} x {height} pixels", "bad_size")
    if width * height > most:
        _refuse(f"{width} x {height} is more than {most} pixels; scale it down", "too_many_pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        _refuse(f"{width} x {height} is more than {MAX_ASPECT} times as long as broad; crop it", "too_thin")


def _check_scans(data: bytes) -> None:
    if data.startswith(b"\xff\xd8") and count_scans(data, _MAX_SCANS) > _MAX_SCANS:
        _refuse(f"more than {_MAX_SCANS} scans; save it again as a plain JPEG", "too_many_scans")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation 1 to 8 of a decoded picture.

    1 where there is none or where it is broken, which spoils no pixel.

    Decoded, because PNG files decode here otherwise, and an error in the pixels would pass for one in the EXIF data.
    """
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # The EXIF reader may raise anything on hostile data.
        return 1
    return value if value in _UPRIGHT else 1


def _decode(image: Image.Image, max_side: int) -> Image.Image:
    """Return RGB pixels of the first frame, at most `max_side` long."""
    try:
        # JPEG decodes straight to a half, a quarter or an eighth; the other formats ignore it.
        image.draft("RGB", (max_side, max_side))
        image.load()
        if image.mode in _SHRINKABLE and "transparency" not in image.info:
            # Before the conversion, which would hold two or three copies of a large picture.
            _shrink(image, max_side)
        rgb = to_rgb(image)
        _shrink(rgb, max_side)
    except Exception as error:  # A decoder may raise anything on hostile pixels.
        raise _unreadable(error) from error
    return rgb


def _unreadable(error: Exception) -> PictureError:
    reason = "truncated" if _is_truncation(error) else "broken_file"
    return PictureError(f"the pixels cannot be read: {_one_line(error)}", reason=reason)


def _shrink(image: Image.Image, max_side: int) -> None:
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _is_truncation(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, EOFError) or any(word in words for word in ("truncated", "unexpected end", "not enough"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _refuse(message: str, reason: str) -> NoReturn:
    raise PictureError(message, reason=reason)
