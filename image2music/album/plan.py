"""Plan an album as one piece: a key for each chapter, an arc of tempo, one motif, a theme for near-duplicates.

The links between pictures and music here are this project's choice, as in the composers: bright is major, strong is
fast. Only figures of light and colour are used, so the plan is the same whatever model composes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

from image2music.images.features import measure_palette, mood_of
from image2music.music.similarity import AlbumMode, make_answer, make_motif, opening_of
from image2music.settings import picture_seed
from image2music.types import AlbumPart

GLANCE_SIDE = 128
"""Longer side, in pixels, that a picture is opened at; light and colour need no more."""
_HASH_SIDE = 8
_MOST_BITS = 8
_MOST_COLOUR = 24.0


@dataclass(frozen=True)
class ImageSummary:
    """What the plan needs of a picture, in about 100 bytes.

    valence: -1 (dark, dull) to 1 (bright, warm), arousal: 0 (faint) to 1 (strong), from light and colour alone
    (`image2music.images.features`). print: the 64 bits of `difference_hash`. colour: mean R, G and B, 0-255.
    """

    image_id: str
    place: str
    valence: float
    arousal: float
    print: int
    colour: tuple[float, float, float]


def image_summary(image_id: str, place: str, image: Image.Image) -> ImageSummary:
    """Summarise an upright RGB picture."""
    small = image.copy()
    small.thumbnail((GLANCE_SIDE, GLANCE_SIDE))
    pixels = np.asarray(small, dtype=np.uint8)
    mood = mood_of(measure_palette(pixels))
    red, green, blue = (round(float(value), 1) for value in pixels.reshape(-1, 3).mean(0))
    return ImageSummary(image_id, place, mood.valence, mood.arousal, difference_hash(image), (red, green, blue))


def difference_hash(image: Image.Image) -> int:
    """Return the 64 bits of dHash (Krawetz 2013): whether each cell of a grid is brighter than its left neighbour.

    Scaling, compression and exposure hardly change it.
    """
    grey = np.asarray(image.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), dtype=np.int16)
    bits = (np.diff(grey, axis=1) > 0).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def near_duplicates(one: ImageSummary, other: ImageSummary) -> bool:
    """Tell whether two pictures are near-duplicates: frames of one burst, other sizes or compressions of one picture.

    At most 8 of 64 bits differ, and the mean colours by at most 24 of 255 in any channel.
    """
    colours = max(abs(a - b) for a, b in zip(one.colour, other.colour, strict=True))
    return (one.print ^ other.print).bit_count() <= _MOST_BITS and colours <= _MOST_COLOUR


def natural_order(place: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a sort key that puts IMG_9 before IMG_10."""
    parts = re.split(r"(\d+)", place)
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)


RECIPE = "album-1"
"""Part of the settings of a run that makes albums. Raise it with every change here that changes a plan."""

LARGEST_STEP = 1.15
"""Tempos of neighbours differ by at most this factor."""
PICTURES_A_CHAPTER = 3
_FEWEST_IN_CHAPTER = 2
_LOOK_BACK = 64
_BRIGHTER, _DARKER = 0.03, -0.1
_TONICS: dict[AlbumMode, tuple[int, ...]] = {"major": (0, 2, 5, 7, 9), "minor": (2, 4, 7, 9, 11)}

# Melody and accompaniment, General MIDI from 0: flute and guitar, violin and piano ...
_PROGRAMS: dict[AlbumMode, tuple[tuple[int, int], ...]] = {
    "major": ((73, 24), (40, 0), (21, 24)),
    "minor": ((40, 42), (68, 46), (71, 48)),
}
_QPM_OF_CALM, _QPM_OF_EXCITED = 76.0, 140.0
_SLOWEST, _FASTEST = 58, 168

# Share of the album gone by, and how much faster than its mean it is then.
_ARC = ((0.0, 0.65, 1.0), (0.93, 1.08, 0.92))
TonicAndMode = tuple[int, AlbumMode]


def plan_album(glances: Sequence[ImageSummary], seed: int) -> dict[str, AlbumPart]:
    """What each picture's tune takes over, by image_id. The order of `glances` does not matter."""
    pictures = sorted(glances, key=lambda one: (natural_order(one.place), one.image_id))
    themes = themes_of(pictures)
    bounds = chapters([(one.valence, one.arousal) for one in pictures], themes)
    valence, arousal = (float(np.mean([getattr(one, mood) for one in pictures])) for mood in ("valence", "arousal"))
    # The first picture's id, so that pictures added behind it leave the motif as it is.
    own_seed = picture_seed(seed, pictures[0].image_id)
    rng = np.random.Generator(np.random.Philox([own_seed, 3]))
    mode: AlbumMode = "major" if valence >= 0 else "minor"
    meter = "3/4" if arousal < 0.4 else "6/8" if arousal > 0.6 else "4/4"
    home: TonicAndMode = (int(rng.choice(_TONICS[mode])), mode)
    programs = _PROGRAMS[mode][int(rng.integers(len(_PROGRAMS[mode])))]
    motif = make_motif(meter, rising=valence >= 0, seed=own_seed)
    moods = [float(np.mean([one.valence for one in pictures[a:b]])) - valence for a, b in bounds]
    keys = [key for key, (a, b) in zip(chapter_keys(home, moods), bounds, strict=True) for _ in range(a, b)]
    tempos = tempo_arc([one.arousal for one in pictures])
    sizes = Counter(themes)
    parts = {}
    for picture, theme, (tonic, key_mode), qpm in zip(pictures, themes, keys, tempos, strict=True):
        answer = make_answer(motif, meter, key_mode, seed=int(theme, 16)) if sizes[theme] > 1 else None
        opening = opening_of(motif, answer)
        parts[picture.image_id] = AlbumPart(tonic, key_mode, meter, qpm, programs, theme, motif, opening)
    return parts


def themes_of(pictures: Sequence[ImageSummary]) -> list[str]:
    """Return each picture's theme: the short id of the first picture that it is a near-duplicate of, or its own."""
    firsts: list[ImageSummary] = []
    themes = []
    for picture in pictures:
        like = next((first for first in reversed(firsts[-_LOOK_BACK:]) if near_duplicates(first, picture)), None)
        if like is None:
            firsts.append(picture)
        themes.append((like or picture).image_id[:12])
    return themes


def chapters(moods: Sequence[tuple[float, float]], themes: Sequence[str]) -> list[tuple[int, int]]:
    """Return (start, stop) of each chapter: cut where the mood jumps most, about three pictures each.

    A cut never falls between near-duplicates.
    """
    n = len(moods)
    jumps = {at: _jump(moods[at - 1], moods[at]) for at in range(1, n) if themes[at - 1] != themes[at]}
    cuts = {0, n}
    for at in sorted(jumps, key=lambda at: (-jumps[at], at)):
        if len(cuts) - 1 >= max(1, round(n / PICTURES_A_CHAPTER)):
            break
        if cuts.isdisjoint(range(at - _FEWEST_IN_CHAPTER + 1, at + _FEWEST_IN_CHAPTER)):
            cuts.add(at)
    return list(pairwise(sorted(cuts)))


def _jump(before: tuple[float, float], after: tuple[float, float]) -> float:
    # Arousal spans half as much as valence.
    return abs(after[0] - before[0]) + 2 * abs(after[1] - before[1])


def chapter_keys(home: TonicAndMode, moods: Sequence[float]) -> list[TonicAndMode]:
    """Return a key for each chapter, at most one sign away from home, where the album begins and ends.

    `moods` holds each chapter's valence less the album's. Brighter ones go to the dominant (from minor: the relative
    major), darker ones to the relative minor (from minor: the subdominant), others to the nearest key left.
    """
    if len(moods) == 1:
        return [home]
    keys = [home]
    for mood in moods[1:-1]:
        keys.append(next(key for key in _away(home, mood) if key != keys[-1]))
    return [*keys, home]


def _away(home: TonicAndMode, mood: float) -> tuple[TonicAndMode, TonicAndMode]:
    """Return the two keys that a chapter may go to, the fitting one first; the second avoids a repetition."""
    tonic, mode = home
    minor: AlbumMode = "minor"
    major: AlbumMode = "major"
    fourth, fifth = ((tonic + 5) % 12, mode), ((tonic + 7) % 12, mode)
    relative = ((tonic + 9) % 12, minor) if mode == major else ((tonic + 3) % 12, major)
    brighter, darker = (fifth, relative) if mode == major else (relative, fourth)
    if mood > _BRIGHTER:
        return brighter, fourth if mode == major else fifth
    if mood < _DARKER:
        return darker, fourth if mode == major else fifth
    return (fourth, fifth) if mode == major else (fifth, fourth)


def tempo_arc(arousals: Sequence[float]) -> list[int]:
    """Return quarter notes a minute for each picture: rising until two thirds, then falling; stronger is faster."""
    mean = float(np.mean(arousals))
    base = _QPM_OF_CALM + (_QPM_OF_EXCITED - _QPM_OF_CALM) * mean
    gone = np.linspace(0, 1, len(arousals)) if len(arousals) > 1 else np.array([0.5])
    arc = np.interp(gone, *_ARC)
    wanted = [base * float(a) * (1 + 0.4 * (arousal - mean)) for a, arousal in zip(arc, arousals, strict=True)]
    return gentle([min(_FASTEST, max(_SLOWEST, round(qpm))) for qpm in wanted])


def gentle(tempos: Sequence[int]) -> list[int]:
    """Return the tempos with steps limited to the factor `LARGEST_STEP`, up or down."""
    calmed = list(tempos[:1])
    for qpm in tempos[1:]:
        before = calmed[-1]
        calmed.append(min(int(before * LARGEST_STEP), max(-int(-before // LARGEST_STEP), qpm)))
    return calmed
