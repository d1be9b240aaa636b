"""What the plan of an album needs to know of a picture: its mood, and a print by which its like is recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from image2music.embedders.mood import mood_of
from image2music.embedders.palette import measure

GLANCE_SIDE = 128
"""Longer side, in pixels, that a picture is opened at; light and colour need no more."""

_HASH_SIDE = 8
_MOST_BITS = 8
_MOST_COLOUR = 24.0


@dataclass(frozen=True)
class Glance:
    """One picture of an album, in about 100 bytes.

    valence -1 (dark, dull) to 1 (bright, warm) and arousal 0 (faint) to 1 (strong), from light and colour alone
    (`image2music.embedders.mood`). print: 64 bits. colour: mean R, G and B, 0-255.
    """

    image_id: str
    place: str
    valence: float
    arousal: float
    print: int
    colour: tuple[float, float, float]


def glance(image_id: str, place: str, image: Image.Image) -> Glance:
    """Look at an upright RGB picture."""
    small = image.copy()
    small.thumbnail((GLANCE_SIDE, GLANCE_SIDE))
    pixels = np.asarray(small, dtype=np.uint8)
    mood = mood_of(measure(pixels))
    red, green, blue = (round(float(value), 1) for value in pixels.reshape(-1, 3).mean(0))
    return Glance(image_id, place, mood.valence, mood.arousal, difference_hash(image), (red, green, blue))


def difference_hash(image: Image.Image) -> int:
    """64 bits: for each cell of a grid of 8 rows whether it is brighter than its left neighbour (Krawetz 2013, dHash).

    Scaling, compression and exposure hardly change it.
    """
    grey = np.asarray(image.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), dtype=np.int16)
    bits = (np.diff(grey, axis=1) > 0).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def alike(one: Glance, other: Glance) -> bool:
    """Whether two pictures are near-duplicates: frames of one burst, another size or compression of one picture.

    At most 8 of 64 bits differ, and the mean colours by at most 24 of 255 in any channel.
    """
    colours = max(abs(a - b) for a, b in zip(one.colour, other.colour, strict=True))
    return (one.print ^ other.print).bit_count() <= _MOST_BITS and colours <= _MOST_COLOUR


def natural_order(place: str) -> tuple[tuple[bool, int, str], ...]:
    """A key that sorts IMG_9 before IMG_10."""
    parts = re.split(r"(\d+)", place)
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)
