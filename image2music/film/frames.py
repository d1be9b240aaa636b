"""Frames of a film as planes of YUV 4:2:0: a picture on its blurred self, seen through a moving view; cards with words.

A picture is turned into planes once. Each frame is then cut out of them by an affine map with positions between pixels,
plane by plane, half the work that RGB frames take. Colours are those of BT.709 in the range of video, 16 to 235.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.film.camera import CLOSEST, WHOLE, CameraPath, Fit, View, fit_of
from image2music.music.engraving import TextFont, typst_fonts

Bytes = NDArray[np.uint8]
Size = tuple[int, int]
"""Width and height in pixels."""

_FILL_BRIGHTNESS, _CARD_BRIGHTNESS = 0.55, 0.4
_FILL_SIDE = 48
_RED, _GREEN, _BLUE = 0.2126, 0.7152, 0.0722
_LEFT_OUT = "\u200b"
_LONGEST_WORD = 18


@dataclass(frozen=True, eq=False)
class Planes:
    """One image: `y` is uint8[h, w], `u` and `v` are uint8[h / 2, w / 2]."""

    y: Bytes
    u: Bytes
    v: Bytes

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return self.y.shape[1], self.y.shape[0]


def planes_of(image: Bytes) -> Planes:
    """Return an RGB image, uint8[h, w, 3] with even sides, as planes."""
    import cv2

    down = np.array([[_RED, _GREEN, _BLUE]])
    blue, red = (np.array([[0, 0, 1.0]]) - down) / (2 - 2 * _BLUE), (np.array([[1.0, 0, 0]]) - down) / (2 - 2 * _RED)
    rows = np.concatenate([down * 219, blue * 224, red * 224]) / 255
    yuv = cv2.transform(image, np.column_stack([rows, [16, 128, 128]]))
    half = (image.shape[1] // 2, image.shape[0] // 2)
    u, v = (cv2.resize(yuv[..., at], half, interpolation=cv2.INTER_AREA) for at in (1, 2))
    return Planes(np.ascontiguousarray(yuv[..., 0]), u, v)


def blended(one: Planes, other: Planes, share: float) -> Planes:
    """Return `share` of the other image over the rest of the one; both have the same size."""
    import cv2

    if share <= 0 or one is other:
        return one
    if share >= 1:
        return other
    pairs = ((one.y, other.y), (one.u, other.u), (one.v, other.v))
    return Planes(*(cv2.addWeighted(a, 1 - share, b, share, 0.0) for a, b in pairs))


@dataclass(frozen=True, eq=False)
class Still:
    """A canvas, at least as large as what is seen of it, and the path of the view over it."""

    canvas: Planes
    path: CameraPath

    def seen(self, seconds: float, size: Size) -> Planes:
        """Return what is seen of it at a moment of its shot, as an image of that size."""
        view = self.path.at(seconds)
        return self.canvas if view == WHOLE and self.canvas.size == size else _cut_out(self.canvas, view, size)


def _cut_out(canvas: Planes, view: View, size: Size) -> Planes:
    width, height = size
    half = (width // 2, height // 2)
    return Planes(_warped(canvas.y, view, size), _warped(canvas.u, view, half), _warped(canvas.v, view, half))


def _warped(plane: Bytes, view: View, size: Size) -> Bytes:
    """Return the part of a plane that a view shows, by linear interpolation; pixels are squares, not points."""
    import cv2

    (high, wide), (width, height) = plane.shape, size
    across, down = view.width * wide / width, view.width * high / height
    left, top = (view.x - view.width / 2) * wide, (view.y - view.width / 2) * high
    back = np.array([[across, 0, left + across / 2 - 0.5], [0, down, top + down / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plane, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def longest_side(size: Size) -> int:
    """Return how long a picture's longer side has to be for a film of that size: in its closest view it is sharp."""
    return round(max(size) / CLOSEST)


def canvas_of(image: Image.Image, size: Size, fit: Fit | None = None) -> Planes:
    """Return a picture in the middle of a canvas of a film's shape; what is left beside it, its blurred self fills.

    The canvas is as large as its closest view needs. So what is seen of it is always made smaller, or nearly: views of
    other scales would be sharp in one frame and soft in the next.
    """
    import cv2

    fit = fit or fit_of(image.size, size)
    width, height = (2 * round(side / CLOSEST / 2) for side in size)
    inner = (max(1, round(fit.width * width)), max(1, round(fit.height * height)))
    pixels = np.asarray(image.convert("RGB"))
    smaller = inner[0] < image.width
    resized = cv2.resize(pixels, inner, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    if left <= 0 and top <= 0:
        return planes_of(np.ascontiguousarray(resized[-top : height - top, -left : width - left]))
    canvas = _blurred(pixels, (width, height), _FILL_BRIGHTNESS)
    canvas[top : top + inner[1], left : left + inner[0]] = resized
    return planes_of(canvas)


def _blurred(pixels: Bytes, size: Size, brightness: float) -> Bytes:
    """Return a picture as wide and high as asked for, cut to that shape, without anything to be recognised."""
    import cv2

    high, wide = pixels.shape[:2]
    scale = max(size[0] / wide, size[1] / high)
    width, height = (max(1, min(side, round(want / scale))) for side, want in zip((wide, high), size, strict=True))
    top, left = (high - height) // 2, (wide - width) // 2
    middle = pixels[top : top + height, left : left + width]
    least = _FILL_SIDE / min(size)
    small = cv2.resize(middle, tuple(max(8, round(side * least)) for side in size), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 2.5, borderType=cv2.BORDER_REFLECT)
    large = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.convertScaleAbs(large, alpha=brightness), np.uint8)


def title_card(
    image: Image.Image | None, size: Size, title: str, subtitle: str = "", font: TextFont | None = None
) -> Planes:
    """Return a card with words in the middle, over the blurred picture, or over plain dark grey where there is none."""
    if image is None:
        ground = np.full((size[1], size[0], 3), 34, np.uint8)
    else:
        ground = _blurred(np.asarray(image.convert("RGB")), size, _CARD_BRIGHTNESS)
    words = lettering(size, title, subtitle, font)
    high = min(words.shape[0], size[1])
    top = (size[1] - high) // 2
    part, share = ground[top : top + high], words[:high, :, 3:].astype(np.float32) / 255
    part[:] = np.rint(part * (1 - share) + words[:high, :, :3] * share).astype(np.uint8)
    return planes_of(ground)


_FACE = "Libertinus Serif"
_LETTERING = b"""
#let given = sys.inputs
#let size = float(given.size) * 1pt
#set page(width: float(given.width) * 1pt, height: auto, margin: (x: size, y: size / 4), fill: none)
#set text(font: given.families.split("|"), fill: white, size: size, hyphenate: false)
#set par(leading: 0.35em, justify: false)
#align(center)[#given.title#if given.subtitle != "" [#v(0.9em, weak: true)#text(size: 0.6em, given.subtitle)]]
"""


def lettering(size: Size, title: str, subtitle: str = "", font: TextFont | None = None) -> Bytes:
    """Return white words as an image as wide as the film, uint8[h, w, 4] with alpha, broken into lines.

    Typst sets them in `font`, or in its own, which have the letters of Latin, Greek and Cyrillic; others come from the
    fonts of the system. A box stands where there is none: `unwritten_scripts` tells.
    """
    import typst

    inputs = {
        "width": str(size[0]),
        "size": f"{min(size[0] / 14, size[1] / 9):g}",
        "families": "|".join([*(font.families if font else ()), _FACE]),
        "title": _breakable(title),
        "subtitle": _breakable(subtitle),
    }
    fonts = typst_fonts(font.path if font else None)
    png: Any = typst.compile(_LETTERING, format="png", ppi=72, sys_inputs=inputs, font_paths=fonts)
    with Image.open(io.BytesIO(png[0] if isinstance(png, list) else png)) as image:
        return np.asarray(image.convert("RGBA").resize((size[0], image.height)))


def _breakable(text: str) -> str:
    """Return a text whose longest words may be broken, and without signs of control."""
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split()).split(" ")
    return " ".join(word if len(word) <= _LONGEST_WORD else _LEFT_OUT.join(word) for word in words)
