"""A mood from light and colour alone, on the plane of valence and arousal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from image2music.embedders.palette import Palette

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
    """The mood that a picture's light and colour suggest, whatever it shows.

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
