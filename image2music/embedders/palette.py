"""Light and colour of a picture, as numbers and as plain colour names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

NAMED_SHARE = 0.10
"""A colour is named when it covers at least this share of the picture."""

MOST_NAMED = 3

# Upper end of each hue in degrees; what lies above the last one is red again.
_HUES = (
    (15, "red"),
    (42, "orange"),
    (70, "yellow"),
    (165, "green"),
    (198, "teal"),
    (258, "blue"),
    (295, "violet"),
    (345, "pink"),
    (361, "red"),
)
COLOUR_NAMES = ("black", "grey", "white", "brown", "red", "orange", "yellow", "green", "teal", "blue", "violet", "pink")


@dataclass(frozen=True)
class Palette:
    """What the eye sees before it sees things.

    brightness: mean CIE lightness L*/100, 0 (black) to 1 (white).
    contrast: twice the standard deviation of L*/100, 0 (flat) to 1 (half black, half white).
    saturation: mean chroma, max minus min of R, G and B, 0 (grey) to 1 (pure colours).
    warmth: mean of R minus B, -1 (blue) to 1 (red or yellow).
    colours: names of the largest colours, largest first, each covering at least `NAMED_SHARE`.
    """

    brightness: float
    contrast: float
    saturation: float
    warmth: float
    colours: tuple[str, ...]


def measure(pixels: Pixels) -> Palette:
    """Palette of sRGB pixels uint8[height, width, 3]."""
    lightness = lightness_of(pixels)
    rgb = _unit_rgb(pixels)
    return Palette(
        brightness=_rounded(lightness.mean()),
        contrast=_rounded(min(1.0, 2 * float(lightness.std()))),
        saturation=_rounded((rgb.max(-1) - rgb.min(-1)).mean()),
        warmth=_rounded((rgb[..., 0] - rgb[..., 2]).mean()),
        colours=_largest_colours(rgb),
    )


def lightness_of(pixels: Pixels) -> Floats:
    """CIE L* divided by 100 (CIE 1976, D65 white) of sRGB pixels uint8[..., 3] as float32[...]."""
    rgb = _unit_rgb(pixels)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
    lightness = np.where(luminance > 0.008856, 1.16 * np.cbrt(luminance) - 0.16, 9.033 * luminance)
    return np.clip(lightness, 0, 1).astype(np.float32)


def cell_brightness(pixels: Pixels, cells: int) -> Floats:
    """Mean L*/100 of each cell, float32[cells, cells]; height and width must be multiples of `cells`."""
    height, width, _ = pixels.shape
    grid = lightness_of(pixels).reshape(cells, height // cells, cells, width // cells)
    return grid.mean(axis=(1, 3)).astype(np.float32)


def _largest_colours(rgb: Floats) -> tuple[str, ...]:
    """Names of the colours that cover most pixels; the single largest where none covers enough."""
    shares = np.bincount(_colour_codes(rgb).ravel(), minlength=len(COLOUR_NAMES)) / (rgb.shape[0] * rgb.shape[1])
    order = np.argsort(-shares, kind="stable")[:MOST_NAMED]
    named = tuple(COLOUR_NAMES[code] for code in order if shares[code] >= NAMED_SHARE)
    return named or (COLOUR_NAMES[order[0]],)


def _colour_codes(rgb: Floats) -> NDArray[np.intp]:
    """Index into `COLOUR_NAMES` of every pixel."""
    value, chroma = rgb.max(-1), rgb.max(-1) - rgb.min(-1)
    hue = _hue_degrees(rgb, value, chroma)
    by_hue = np.array([COLOUR_NAMES.index(name) for _, name in _HUES])
    codes = by_hue[np.searchsorted([end for end, _ in _HUES], hue, side="right").clip(max=len(_HUES) - 1)]
    codes[(hue < 50) & (value < 0.6) & (chroma >= 0.10)] = COLOUR_NAMES.index("brown")
    colourless = (chroma < 0.10) | (chroma < 0.18 * value)
    codes[colourless] = COLOUR_NAMES.index("grey")
    codes[colourless & (value > 0.85)] = COLOUR_NAMES.index("white")
    codes[value < 0.18] = COLOUR_NAMES.index("black")
    return codes


def _hue_degrees(rgb: Floats, value: Floats, chroma: Floats) -> Floats:
    """Hue of the HSV model, 0 to 360; 0 where a pixel has no colour."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    safe = np.where(chroma == 0, 1, chroma)
    sector = np.select(
        [chroma == 0, value == red, value == green],
        [np.zeros_like(value), ((green - blue) / safe) % 6, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    return (60 * sector).astype(np.float32)


def _unit_rgb(pixels: Pixels) -> Floats:
    return (pixels / np.float32(255)).astype(np.float32)


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 4)
