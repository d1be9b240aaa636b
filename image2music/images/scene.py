"""What is seen in a picture: for the embedded default (`Look`), for everybody (`Scene`), and in plain English.

Sentences for moods, light and colours use the words that captions of music use, so that both can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from image2music.images.features import COLOUR_NAMES, Mood, Palette, kind_of

Named = tuple[str, float]


@dataclass(frozen=True, eq=False)
class Look:
    """Everything the embedded default sees in a picture. It pickles (about 80 KB).

    vector: unit float32[384], the picture in the space of `ConseEmbedder.embed_texts`.
    grid: float32[7, 7, 384], each cell of the whole picture, rows from the top, unit vectors in the same space.
    objects: likeliest classes with probabilities 0..1, likeliest first.
    kinds: kinds of things ("bird", "vehicle", "landscape") with the sum of their classes' probabilities.
    cell_objects: the likeliest class of each cell with its probability, 49 in reading order.
    palette, mood: from light and colour alone.
    cell_brightness: float32[7, 7], mean CIE L*/100 of each cell.
    """

    vector: NDArray[np.float32]
    grid: NDArray[np.float32]
    objects: tuple[Named, ...]
    kinds: tuple[Named, ...]
    cell_objects: tuple[Named, ...]
    palette: Palette
    mood: Mood
    cell_brightness: NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """What is seen, whoever saw it: a part of the row, and what a plan starts from.

    `things` are names with confidences (0 to 1), surest first. `people` counts persons, None where nobody looked for
    them. `far`, `middle`, `near` are what the layers show, `eye_path` the places that the eye visits in order.
    `valence` runs from -1 (sad) to 1 (happy), `arousal` from 0 (still) to 1 (wild); None where unknown. A text that
    nobody wrote is empty.
    """

    subject: str
    things: tuple[Named, ...] = ()
    people: int | None = None
    place: str = ""
    far: str = ""
    middle: str = ""
    near: str = ""
    focal_point: str = ""
    eye_path: tuple[str, ...] = ()
    motion: str = ""
    light: str = ""
    palette: tuple[str, ...] = ()
    mood: str = ""
    valence: float | None = None
    arousal: float | None = None


_DIGITS = 4


def scene_of(look: Look) -> Scene:
    """Return what the embedded default can say of a picture; layers, path and motion are not known to it."""
    palette = look.palette
    parts = [brightness_words(palette)]
    if side := _lighter_side(look):
        parts.append(f"lighter towards {side}")
    return Scene(
        subject=_things(look) if palette.contrast >= _BLANK_CONTRAST else "nothing to make out",
        things=tuple((name, round(float(share), _DIGITS)) for name, share in look.objects),
        light=", ".join(parts),
        palette=tuple(palette.colours),
        mood=look.mood.word,
        valence=round(look.mood.valence, _DIGITS),
        arousal=round(look.mood.arousal, _DIGITS),
    )


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
    """Return all sentences, in groups of which a picture takes one (or some, of the colours)."""
    return tuple(_MOODS.values()), _BRIGHTNESS, _CONTRAST, tuple(_COLOURS.values())


def mood_words(mood: Mood) -> str:
    """Return the sentence for a mood."""
    return _MOODS[mood.word]


def palette_words(palette: Palette) -> tuple[str, ...]:
    """Return the sentences for light, contrast and colours of a picture."""
    colours = tuple(_COLOURS[name] for name in palette.colours)
    return brightness_words(palette), contrast_words(palette), *colours


def brightness_words(palette: Palette) -> str:
    """Return how light the picture is, in words; the bounds are the lower and upper quarter of ordinary photographs."""
    return _step(palette.brightness, _DARK, _BRIGHT, _BRIGHTNESS)


def contrast_words(palette: Palette) -> str:
    """Return how far apart its lights and darks are, in words."""
    return _step(palette.contrast, FLAT, STARK, _CONTRAST)


def _step(value: float, low: float, high: float, words: tuple[str, str, str]) -> str:
    if value < low:
        return words[0]
    return words[1] if value < high else words[2]


_SURE, _LIKELY, _POSSIBLE, _EXAMPLE = 0.6, 0.3, 0.18, 0.1
_SURE_OF_KIND = 0.4
_BLANK_CONTRAST = 0.03

_SLOPE = 0.12
"""Difference of mean lightness between two halves from which one counts as the lighter side."""
_PLURAL = ("jeans", "binoculars", "sunglasses", "swimming trunks", "parallel bars")
_MASS = ("hay", "wool", "velvet", "guacamole", "mashed potato", "carbonara", "chain mail", "toilet tissue")

_FEELING = {
    "joyful": "colourful and full of energy",
    "cheerful": "light and friendly",
    "serene": "light and quiet",
    "lively": "vivid and restless",
    "gentle": "neither glad nor sad",
    "calm": "quiet and even",
    "stormy": "tense and agitated",
    "sombre": "heavy and serious",
    "melancholy": "dim and still",
}


def describe(look: Look) -> str:
    """Return two or three sentences: what it shows, how it is lit and coloured, what mood that makes.

    The wording follows the network's own probabilities, so a guess is called a guess. The same look gives the same
    words.
    """
    if look.palette.contrast < _BLANK_CONTRAST:
        colour = look.palette.colours[0]
        return f"The picture is almost one even {colour}, with nothing to make out in it. {_mood(look.mood)}"
    return f"{_things(look)} {_light(look)} {_mood(look.mood)}"


def _things(look: Look) -> str:
    name, probability = look.objects[0]
    second, second_probability = look.objects[1]
    kind, share = _best_kind(look.kinds)
    if probability >= _SURE:
        return f"The picture shows {_with_article(name)}{_also(second, second_probability)}."
    if share >= _SURE_OF_KIND:
        return f"The picture seems to show {_with_article(kind)}{_example(kind, look.objects)}."
    if probability >= _LIKELY:
        return f"The picture probably shows {_with_article(name)}{_also(second, second_probability)}."
    guesses = f"{_with_article(name)} or {_with_article(second)}"
    if probability >= _POSSIBLE:
        return f"The picture may show {guesses}; it is hard to tell."
    return f"It is hard to say what the picture shows: parts of it recall {guesses}."


def _best_kind(kinds: tuple[Named, ...]) -> Named:
    """Return the likeliest kind that says more than "object"."""
    return next(((kind, share) for kind, share in kinds if kind != "object"), ("object", 0.0))


def _example(kind: str, objects: tuple[Named, ...]) -> str:
    """Return the likeliest thing of a kind, as far as one stands out."""
    name, probability = next(((name, p) for name, p in objects if kind_of()[name] == kind), ("", 0.0))
    if probability < _EXAMPLE:
        return ""
    guess = "most likely" if probability >= _LIKELY else "perhaps"
    return f", {guess} {'with ' if kind == 'landscape' else ''}{_with_article(name)}"


def _also(name: str, probability: float) -> str:
    return f", perhaps with {_with_article(name)}" if probability >= _EXAMPLE else ""


def _light(look: Look) -> str:
    palette = look.palette
    parts = [brightness_words(palette)]
    if palette.contrast < FLAT:
        parts.append("soft and hazy")
    if palette.contrast >= STARK:
        parts.append("with strong contrasts of light and dark")
    side = _lighter_side(look)
    if side:
        parts.append(f"lighter towards {side}")
    return f"It is {', '.join(parts)}; {_colours(palette)}."


def _lighter_side(look: Look) -> str | None:
    """Return the side of the picture that is clearly lighter than the opposite one."""
    cells = look.cell_brightness
    slopes = {
        "the top": cells[:3].mean() - cells[-3:].mean(),
        "the bottom": cells[-3:].mean() - cells[:3].mean(),
        "the left": cells[:, :3].mean() - cells[:, -3:].mean(),
        "the right": cells[:, -3:].mean() - cells[:, :3].mean(),
        "the middle": cells[2:5, 2:5].mean() - (cells.sum() - cells[2:5, 2:5].sum()) / 40,
    }
    side = max(slopes, key=lambda name: float(slopes[name]))
    return side if slopes[side] >= _SLOPE else None


def _colours(palette: Palette) -> str:
    if palette.saturation < 0.02:
        return "there is no colour in it but " + _listed(palette.colours)
    if len(palette.colours) == 1:
        return f"nearly everything is {palette.colours[0]}"
    return "its colours are " + _listed(palette.colours)


def _mood(mood: Mood) -> str:
    return f"The mood is {mood.word}: {_FEELING[mood.word]}."


def _listed(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _with_article(name: str) -> str:
    if name in _PLURAL or name in _MASS:
        return name
    # ImageNet's names begin with a sounded vowel wherever they begin with one of these letters, but for the "u" words.
    vowel = name[0].lower() in "aeio" or name.lower().startswith(("um", "up"))
    return f"{'an' if vowel else 'a'} {name}"
