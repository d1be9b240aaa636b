"""Sentences for moods, light and colours, in the words that captions of music use."""

from __future__ import annotations

from image2music.embedders.mood import Mood
from image2music.embedders.palette import COLOUR_NAMES, Palette

_MOODS = {
    "joyful": "A joyful, happy and energetic piece, fast and uplifting.",
    "cheerful": "A cheerful, bright and happy piece with an upbeat feel.",
    "serene": "A serene, relaxing and hopeful piece, peaceful and bright.",
    "lively": "A lively, energetic and fast piece full of drive.",
    "gentle": "A gentle, soft and melodic piece at a moderate pace.",
    "calm": "A calm, slow and meditative piece, quiet and relaxing.",
    "stormy": "A stormy, dramatic and dark piece, tense and powerful.",
    "sombre": "A sombre, dark and emotional piece in a minor key.",
    "melancholy": "A melancholy, sad and slow piece, dark and quiet.",
}
_BRIGHTNESS = ("dark and shadowy", "softly lit", "bright and full of light")
_CONTRAST = ("soft and hazy", "clear", "strong contrasts of light and dark")
_COLOURS = {name: f"the colour {name}" for name in COLOUR_NAMES}

_DARK, _BRIGHT = 0.36, 0.60
FLAT, STARK = 0.22, 0.50
"""Below and from these contrasts on a picture looks hazy or stark."""


def vocabulary() -> tuple[tuple[str, ...], ...]:
    """All sentences, in groups of which a picture takes one (or some, of the colours)."""
    return tuple(_MOODS.values()), _BRIGHTNESS, _CONTRAST, tuple(_COLOURS.values())


def mood_words(mood: Mood) -> str:
    """The sentence for a mood."""
    return _MOODS[mood.word]


def palette_words(palette: Palette) -> tuple[str, ...]:
    """The sentences for light, contrast and colours of a picture."""
    colours = tuple(_COLOURS[name] for name in palette.colours)
    return brightness_words(palette), contrast_words(palette), *colours


def brightness_words(palette: Palette) -> str:
    """How light the picture is, in words; the bounds are the lower and upper quarter of ordinary photographs."""
    return _step(palette.brightness, _DARK, _BRIGHT, _BRIGHTNESS)


def contrast_words(palette: Palette) -> str:
    """How far apart its lights and darks are, in words."""
    return _step(palette.contrast, FLAT, STARK, _CONTRAST)


def _step(value: float, low: float, high: float, words: tuple[str, str, str]) -> str:
    if value < low:
        return words[0]
    return words[1] if value < high else words[2]
