"""From a look at a picture to what nano needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from image2music.composers.nano.patches import Appearance, FloatArray, PoleVectors, patches
from image2music.embedders.look import Look

# Mean and standard deviation of each palette measure over ordinary photographs, to two digits.
ORDINARY = {"brightness": (0.50, 0.15), "contrast": (0.36, 0.15), "saturation": (0.25, 0.17), "warmth": (0.08, 0.22)}


@dataclass(frozen=True)
class Seen:
    """`patches` float32[cells, dim]; the rest is what titles, tempo and the motivation are made from.

    `brightness`, `contrast` and `energy` (the mean of these two and saturation) run from 0 to 1 over ordinary
    photographs, `valence` from -1 to 1.
    """

    patches: FloatArray
    rows: int
    cols: int
    objects: tuple[tuple[str, float], ...]
    brightness: float
    contrast: float
    energy: float
    valence: float
    mood: str
    colours: tuple[str, ...]

    @property
    def subject(self) -> str | None:
        """The most likely object's name, None where nothing is likely."""
        name, probability = self.objects[0] if self.objects else ("", 0.0)
        return name if probability >= 0.12 else None


def see(look: Look, poles: PoleVectors) -> Seen:
    """Patches and plain figures of a look."""
    palette = look.palette
    rows, cols, dim = look.grid.shape
    contrast = _spread("contrast", palette.contrast)
    saturation = _spread("saturation", palette.saturation)
    brightness = _spread("brightness", palette.brightness)
    appearance = Appearance(
        np.clip(0.5 + 1.6 * (look.cell_brightness - 0.5), 0, 1).astype(np.float32),
        contrast,
        saturation,
        _spread("warmth", palette.warmth),
    )
    return Seen(
        patches(look.grid.reshape(rows * cols, dim), appearance, poles),
        rows,
        cols,
        look.objects,
        brightness,
        contrast,
        (brightness + contrast + saturation) / 3,
        look.mood.valence,
        look.mood.word,
        tuple(palette.colours),
    )


def _spread(measure: str, value: float) -> float:
    """A palette measure from 0 to 1 such that ordinary photographs fill that range."""
    centre, deviation = ORDINARY[measure]
    return float(np.clip(0.5 + 0.25 * (value - centre) / deviation, 0, 1))


def allowed_words(seen: Seen) -> Mapping[str, tuple[str, ...]]:
    """Plan words that suit the picture; the model chooses among them.

    Plainly dark pictures rule major out, plainly bright ones minor; faint ones rule out fast, strong ones slow. What
    the model learned from imagined pictures decides everything between, but cannot contradict the plainest thing
    there is to see. The links themselves are this project's choice.
    """
    words: dict[str, tuple[str, ...]] = {"pickup": ("no",), "rests": ("none",), "bars": ("16",)}
    words["meter"] = ("2/4", "3/4", "4/4", "2/2", "6/8", "9/8")
    if seen.valence < -0.3:
        words["mode"] = ("minor", "dorian")
    elif seen.valence > 0.3:
        words["mode"] = ("major", "mixolydian")
    if seen.energy < 0.4:
        words["tempo"] = ("slow", "moderate")
    elif seen.energy > 0.6:
        words["tempo"] = ("moderate", "fast")
    return words
