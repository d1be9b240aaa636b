"""How a picture looks: its palette and light as numbers and colour names, the mood they suggest, and small copies.

Moods lie on the plane of valence and arousal. Copies hold nothing but pixels.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

NAMED_SHARE = 0.10
"""A colour is named when it covers at least this share of the picture."""
MOST_NAMED = 3
COLOUR_NAMES = ("black", "grey", "white", "brown", "red", "orange", "yellow", "green", "teal", "blue", "violet", "pink")

# Width of each hue in degrees, from red at 0 round to red at 360.
_HUES = (
    (15, "red"), (27, "orange"), (28, "yellow"), (95, "green"), (33, "teal"), (60, "blue"), (37, "violet"),
    (50, "pink"), (16, "red"),
)  # fmt: skip
_CODE_OF_DEGREE = np.repeat([COLOUR_NAMES.index(name) for _, name in _HUES], [width for width, _ in _HUES])
_LEVELS: Floats = (np.arange(256) / 255).astype(np.float32)
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)


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


def measure_palette(pixels: Pixels) -> Palette:
    """Return the palette of sRGB pixels uint8[height, width, 3]."""
    lightness = lightness_of(pixels)
    red, green, blue = _planes(pixels)
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    return Palette(
        brightness=_rounded(lightness.mean()),
        contrast=_rounded(min(1.0, 2 * float(lightness.std()))),
        saturation=_rounded(chroma.mean()),
        warmth=_rounded((red - blue).mean()),
        colours=_largest_colours(_hue_degrees((red, green, blue), value, chroma), value, chroma),
    )


def lightness_of(pixels: Pixels) -> Floats:
    """Return CIE L*/100 (CIE 1976, D65 white) of sRGB pixels uint8[height, width, 3] as float32[height, width]."""
    red, green, blue = (_LINEAR[pixels[..., channel]] for channel in range(3))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    lightness = np.where(luminance > 0.008856, 1.16 * np.cbrt(luminance) - 0.16, 9.033 * luminance)
    clipped: Floats = np.clip(lightness, 0, 1).astype(np.float32)
    return clipped


def cell_brightness(pixels: Pixels, cells: int) -> Floats:
    """Return the mean L*/100 of each cell, float32[cells, cells]; height and width must be multiples of `cells`."""
    height, width, _ = pixels.shape
    grid = lightness_of(pixels).reshape(cells, height // cells, cells, width // cells)
    return grid.mean(axis=(1, 3)).astype(np.float32)


def _largest_colours(hue: Floats, value: Floats, chroma: Floats) -> tuple[str, ...]:
    """Return the names of the colours that cover most pixels; the single largest where none covers enough."""
    shares = np.bincount(_colour_codes(hue, value, chroma).ravel(), minlength=len(COLOUR_NAMES)) / hue.size
    order = np.argsort(-shares, kind="stable")[:MOST_NAMED]
    named = tuple(COLOUR_NAMES[code] for code in order if shares[code] >= NAMED_SHARE)
    return named or (COLOUR_NAMES[order[0]],)


def _colour_codes(hue: Floats, value: Floats, chroma: Floats) -> NDArray[np.intp]:
    """Return the index into `COLOUR_NAMES` of every pixel."""
    codes = _CODE_OF_DEGREE[hue.astype(np.intp)]
    codes[(hue < 50) & (value < 0.6) & (chroma >= 0.10)] = COLOUR_NAMES.index("brown")
    colourless = (chroma < 0.10) | (chroma < 0.18 * value)
    codes[colourless] = COLOUR_NAMES.index("grey")
    codes[colourless & (value > 0.85)] = COLOUR_NAMES.index("white")
    codes[value < 0.18] = COLOUR_NAMES.index("black")
    return codes


def _hue_degrees(rgb: tuple[Floats, Floats, Floats], value: Floats, chroma: Floats) -> Floats:
    """Return the hue of the HSV model, 0 to 360; 0 where a pixel has no colour."""
    red, green, blue = rgb
    safe = np.where(chroma == 0, np.float32(1), chroma)
    sector = np.where(value == red, ((green - blue) / safe) % 6, (red - green) / safe + 4)
    sector = np.where((value == green) & (value != red), (blue - red) / safe + 2, sector)
    return (60 * sector).astype(np.float32)


def _planes(pixels: Pixels) -> tuple[Floats, Floats, Floats]:
    return _LEVELS[pixels[..., 0]], _LEVELS[pixels[..., 1]], _LEVELS[pixels[..., 2]]


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 4)


# Mean and spread of each measure over ordinary photographs, to two digits.
_BRIGHTNESS = (0.50, 0.15)
_SATURATION = (0.25, 0.17)
_CONTRAST = (0.36, 0.15)
_WARMTH = (0.08, 0.22)

# Where each word lies: (valence, arousal), after the circumplex of Russell (1980).
MOODS: dict[str, tuple[float, float]] = {
    "joyful": (0.65, 0.75),
    "cheerful": (0.55, 0.52),
    "serene": (0.60, 0.28),
    "lively": (0.05, 0.78),
    "gentle": (0.05, 0.50),
    "calm": (0.05, 0.28),
    "stormy": (-0.55, 0.70),
    "sombre": (-0.55, 0.48),
    "melancholy": (-0.55, 0.28),
}


@dataclass(frozen=True)
class Mood:
    """valence -1 (unpleasant) to 1 (pleasant), arousal 0 (quiet) to 1 (excited), and the nearest word of `MOODS`."""

    valence: float
    arousal: float
    word: str


def mood_of(palette: Palette) -> Mood:
    """Return the mood that a picture's light and colour suggest, whatever it shows.

    Pleasure = .69 brightness + .22 saturation and arousal = -.31 brightness + .60 saturation, all standardised, are
    the regressions of Valdez and Mehrabian, "Effects of Color on Emotions" (1994). They looked at single colour
    chips; a picture also has contrast, which excites (+.45), and warmth, which pleases (+.20). Those two weights are
    a choice of this project, not a measurement. Pleasure is squeezed by tanh to -1..1, arousal by a logistic to 0..1.
    """
    brightness = _standard(palette.brightness, _BRIGHTNESS)
    saturation = _standard(palette.saturation, _SATURATION)
    contrast = _standard(palette.contrast, _CONTRAST)
    pleasure = 0.69 * brightness + 0.22 * saturation + 0.20 * _standard(palette.warmth, _WARMTH)
    excitement = -0.31 * max(brightness, -1.5) + 0.60 * saturation + 0.45 * contrast
    valence = round(math.tanh(pleasure / 1.5), 4)
    arousal = round(1 / (1 + math.exp(-excitement)), 4)
    return Mood(valence, arousal, _nearest_word(valence, arousal))


def _standard(value: float, centre_and_spread: tuple[float, float]) -> float:
    centre, spread = centre_and_spread
    return (value - centre) / spread


def _nearest_word(valence: float, arousal: float) -> str:
    # Arousal spans half as much as valence, so its differences count double.
    return min(MOODS, key=lambda word: math.hypot(MOODS[word][0] - valence, 2 * (MOODS[word][1] - arousal)))


_QUALITY = 80


def thumbnail(image: Image.Image, side: int) -> bytes:
    """Return a JPEG of at most `side` pixels a side. EXIF, GPS, comments and colour profiles stay behind."""
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    bare = Image.new("RGB", small.size)
    bare.paste(small)
    stream = io.BytesIO()
    bare.save(stream, format="JPEG", quality=_QUALITY, optimize=True)
    return stream.getvalue()


def data_uri(jpeg: bytes) -> str:
    """Return it as a `data:` address, to stand inside a page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
