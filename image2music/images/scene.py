"""What is seen in a picture: for the embedded default (`Look`), for everybody (`Scene`), and in plain English.

Sentences for moods, light and colours use the words that captions of music use, so that both can be compared.

What it feels like comes from what it shows and how it looks. Three judgements count alike: what the kinds of things in
it feel like (`kinds.py`, set by hand), how colourful it is and how many colours it has, and what a ridge regression on
the classifier's features says (the probes of `places.py`). A mean of standard scores carried over to other pictures
better than weights fitted together. Places, people and motion add little steps, each for a reason that does not come
from labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from image2music.images.features import (
    COLOUR_NAMES,
    MOODS,
    Classified,
    Floats,
    Mood,
    Palette,
    Pixels,
    measure_palette,
)
from image2music.images.kinds import MOTIONS, all_kinds, groups, membership
from image2music.images.layout import PictureLayout, measure_layout
from image2music.images.people import People
from image2music.images.places import Gaze, Shares, find_places, load_probes, ramp
from image2music.images.places import Named as Named


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


@dataclass(frozen=True, eq=False)
class Look:
    """Everything the embedded default sees in a picture. It pickles (about 100 KB).

    vector: unit float32[384], the picture in the space of `ConseEmbedder.embed_texts`.
    grid: float32[7, 7, 384], each cell of the whole picture, rows from the top, unit vectors in the same space.
    palette: light and colour.
    cell_brightness: float32[7, 7], mean CIE L*/100 of each cell.
    scene: what it shows, where and how it feels.
    without: the scene without each of the blocks of `leaving_out.block_masks`.
    """

    vector: NDArray[np.float32]
    grid: NDArray[np.float32]
    palette: Palette
    cell_brightness: NDArray[np.float32]
    scene: Scene = Scene(subject="")
    without: tuple[Scene, ...] = ()


_DIGITS = 4


@dataclass(frozen=True, eq=False)
class Reading:
    """What networks and rules read off a picture before anybody looks for people.

    whole: what the classifier makes of the whole picture.
    layout, palette: measures of it; places: the confidence of every name of `PLACES`.
    kinds: float32[kinds], the probabilities of `all_kinds()`; shares: those of kinds and groups by name, a
        group's where both have the same name.
    probed: probabilities of drawing, indoors, outdoors, plant, sky and people; standard scores of valence and arousal.
    """

    whole: Classified
    layout: PictureLayout
    palette: Palette
    kinds: Floats
    shares: Mapping[str, float]
    probed: Mapping[str, float]
    places: Mapping[str, float]

    def hints(self) -> float:
        """Return how likely people are, 0 to 1, by what they wear and do and by the probe."""
        worn = sum(self.shares[name] for name in ("clothing", "wedding", "sport", "armour", "cosmetics"))
        return round(max(self.probed["people"], 0.8 * min(1.0, worn)) * (1 - self.probed["drawing"]), _DIGITS)

    def feeling(self, people: People | None = None) -> tuple[str, Mood]:
        """Return how much moves, a word of `MOTIONS`, and the mood."""
        motion = motion_of(self.layout, self.shares, self.places, people.count if people else 0)
        sure = people.confidence if people and people.count else 0.0
        return motion, feeling_of(self.layout, self.kinds, self.probed, self.places, motion, sure)

    def surest_places(self) -> tuple[str, ...]:
        """Return the places that can be named, surest first; neither indoors nor outdoors where it might be both."""
        apart = abs(self.places["indoors"] - self.places["outdoors"]) >= _APART
        named = sorted(self.places.items(), key=lambda item: -item[1])
        sure = [name for name, confidence in named if confidence >= _SURE_PLACE]
        return tuple(name for name in sure if apart or name not in ("indoors", "outdoors"))[:_MOST_PLACES]


def read_picture(
    whole: Classified, middle: Classified, pixels: Pixels, probed: Mapping[str, float] | None = None
) -> Reading:
    """Return what can be read off a picture.

    `pixels` are uint8[224, 224, 3] as `pixels_of` makes them, `whole` and `middle` what the classifier makes of the
    picture and its middle. The middle counts as much as the whole, because what is photographed stands there and shows
    larger. `probed` stands for the readings of the probes where they are known.
    """
    return reading_of(whole, middle, measure_layout(pixels), measure_palette(pixels), probed)


def reading_of(
    whole: Classified,
    middle: Classified,
    layout: PictureLayout,
    palette: Palette,
    probed: Mapping[str, float] | None = None,
) -> Reading:
    """Return what follows from measures that are there already."""
    kinds: Floats = membership() @ (np.float32(0.5) * (whole.whole + middle.whole))
    shares = {kind.name: float(share) for kind, share in zip(all_kinds(), kinds, strict=True)}
    for group in groups():
        shares[group] = sum(float(share) for kind, share in zip(all_kinds(), kinds, strict=True) if kind.group == group)
    shares = {name: round(share, _DIGITS) for name, share in shares.items()}
    readings = _probabilities(load_probes().read(np.float32(0.5) * (whole.pooled + middle.pooled)))
    known = readings if probed is None else probed
    return Reading(whole, layout, palette, kinds, shares, known, find_places(layout, shares, known))


def _probabilities(readings: Mapping[str, float]) -> dict[str, float]:
    """Return log odds as probabilities; standard scores of feelings as they are."""
    feelings = ("valence", "arousal")
    return {
        name: value if name in feelings else round(1 / (1 + math.exp(-value)), _DIGITS)
        for name, value in readings.items()
    }


def see_scene(reading: Reading, people: People | None) -> Scene:
    """Return the scene: what was read off the picture, and who was found in it (None where nobody looked)."""
    palette = reading.palette
    blank = palette.contrast < _BLANK_CONTRAST
    things = () if blank else _named_things(reading, people)
    where = () if blank else reading.surest_places()
    motion, mood = reading.feeling(people)
    gaze = Gaze(reading.layout, reading.whole, things, people)
    path = gaze.path()
    far, middle, near = gaze.layers(where)
    return Scene(
        subject=_subject(things, where, blank),
        things=things,
        people=None if people is None else people.count,
        place=", ".join(where),
        far=far,
        middle=middle,
        near=near,
        focal_point=path[0] if path else "",
        eye_path=path,
        motion=motion,
        light=_light_words(reading.layout, palette, where),
        palette=tuple(palette.colours),
        mood=mood.word,
        valence=mood.valence,
        arousal=mood.arousal,
    )


_SURE_PLACE, _MOST_PLACES, _APART = 0.5, 4, 0.2
_NAMED, _NAMED_VAGUE = 0.27, 0.6
"""From these probabilities on a kind is named, and one that is rarely what is meant."""
_RIVAL = 0.6
"""A kind is not named where another of its group is more than this part as likely: then the group is."""
_MOST_THINGS = 6
_VAGUE = (
    "worm", "clothing", "fabric", "envelope", "machine", "writing", "medicine", "cosmetics", "box", "electronics",
    "tool", "toy", "mask", "armour", "room", "volcano", "geyser",
)  # fmt: skip
"""Kinds that the classifier falls back to in pictures of something else: people, patterns, sky."""
_UNNAMED = frozenset({"other thing"})
_WIDER = {
    "bird": 0.45,
    "animal": 0.55,
    "vehicle": 0.45,
    "plant": 0.45,
    "food": 0.45,
    "building": 0.45,
    "landscape": 0.45,
    "sport": 0.45,
    "musical instrument": 0.45,
}
"""Groups to fall back to, and the probability from which on they are named. Animals have 400 of the 1000 classes, so
that anything odd is half an animal."""
_ON_PLANTS = ("insect", "butterfly", "spider", "frog", "lizard")
_FROM_PLANTS = ("vegetable", "mushroom", "fruit")
_NO_ANIMALS = ("worm", "sea creature")


_PLAIN_GREENERY = 0.4
"""From this chance of plants on, what sits or grows on them is told from them only where it is plain."""
_CALIBRATION = 0.4
"""Exponent that makes of a summed probability the chance that the name is right; 3 of 4 names were, on 69 pictures."""


def _named_things(reading: Reading, people: People | None) -> tuple[Named, ...]:
    """Return names that can be stood by, each with the chance that it is right, surest first."""
    greenery = reading.probed["plant"] * (1 - reading.places["drawing"])
    found = _sure_kinds(reading, greenery)
    found |= _sure_groups(reading, greenery, found)
    group_of = {kind.name: kind.group for kind in all_kinds()}
    unsure = greenery * (1 - max(found.values(), default=0.0))
    if unsure >= _PLAIN_GREENERY and not any(group_of.get(name, name) == "plant" for name in found):
        found["plant"] = greenery**2
    ranked = {name: round(share**_CALIBRATION, 2) for name, share in found.items()}
    if people and people.count:
        ranked["person" if people.count == 1 else "people"] = round(people.confidence, 2)
    order = sorted(ranked.items(), key=lambda item: (-item[1], item[0]))
    return tuple(order[:_MOST_THINGS])


def _trust(places: Mapping[str, float], drawing: float) -> float:
    """Return what a probability is worth: drawings, textures and outer space look like things to the classifier."""
    return (1 - drawing * places["drawing"]) * (1 - 0.6 * places["texture"]) * (1 - 0.9 * places["outer space"])


def _sure_kinds(reading: Reading, greenery: float) -> dict[str, float]:
    """Return the kinds that are likely enough and lead their group; what is drawn is told by its group alone."""
    shares, trust = reading.shares, _trust(reading.places, 0.6)
    drawn = reading.places["drawing"] >= _SURE_PLACE
    found: dict[str, float] = {}
    for kind in all_kinds():
        share = trust * shares.get(kind.name, 0.0) if kind.name != kind.group else 0.0
        if kind.name in (*_ON_PLANTS, *_FROM_PLANTS) and greenery >= _PLAIN_GREENERY:
            share *= 1 - 0.5 * greenery
        least = _NAMED_VAGUE if kind.name in _VAGUE else _NAMED
        if round(share, _DIGITS) < least or kind.name in _UNNAMED:
            continue
        rivals = [
            shares[other.name]
            for other in all_kinds()
            if other.group == kind.group and other.name not in (kind.name, kind.group)
        ]
        leads = max(rivals, default=0.0) <= _RIVAL * shares[kind.name]
        if kind.group not in _WIDER or (leads and not drawn):
            found[kind.name] = share
    return found


def _sure_groups(reading: Reading, greenery: float, kinds: Mapping[str, float]) -> dict[str, float]:
    """Return the groups that are likely enough and of which no kind is named."""
    shares, trust = reading.shares, _trust(reading.places, 0.3)
    group_of = {kind.name: kind.group for kind in all_kinds()}
    named = {name for kind in kinds for name in (kind, group_of[kind])}
    found: dict[str, float] = {}
    for group, least in _WIDER.items():
        inside = shares.get(group, 0.0)
        if group == "animal":
            if "bird" in named | set(found):
                continue
            inside += shares.get("bird", 0.0) - sum(shares.get(name, 0.0) for name in (*_ON_PLANTS, *_NO_ANIMALS))
            least += 0.15 * (greenery >= 0.5)
        inside *= trust
        if round(inside, _DIGITS) >= least and group not in named:
            found[group] = inside
    return found


def _subject(things: tuple[Named, ...], where: tuple[str, ...], blank: bool) -> str:
    """Return what it shows, in few words; the words for people are made elsewhere from the whole scene."""
    if blank:
        return "nothing to make out"
    names = [name for name, _ in things[:3]] or list(where[:2])
    return _listed(tuple(names)) if names else "hard to tell"


def _light_words(layout: PictureLayout, palette: Palette, where: tuple[str, ...]) -> str:
    parts = [brightness_words(palette)]
    if palette.contrast < FLAT:
        parts.append("soft and hazy")
    if palette.contrast >= STARK:
        parts.append("with strong contrasts of light and dark")
    if side := _lighter_side(layout.cells[..., 0]):
        parts.append(f"lighter towards {side}")
    if "sunset" in where:
        parts.append("a low warm sun")
    return ", ".join(parts)


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


def mood_words(mood: str) -> str:
    """Return the sentence for a mood, a word of `MOODS`."""
    return _MOODS[mood]


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


_BLANK_CONTRAST = 0.03

_SLOPE = 0.12
"""Difference of mean lightness between two halves from which one counts as the lighter side."""
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


def _lighter_side(cells: Floats) -> str | None:
    """Return the side of the picture that is clearly lighter than the opposite one."""
    slopes = {
        "the top": cells[:3].mean() - cells[-3:].mean(),
        "the bottom": cells[-3:].mean() - cells[:3].mean(),
        "the left": cells[:, :3].mean() - cells[:, -3:].mean(),
        "the right": cells[:, -3:].mean() - cells[:, :3].mean(),
        "the middle": cells[2:5, 2:5].mean() - (cells.sum() - cells[2:5, 2:5].sum()) / 40,
    }
    side = max(slopes, key=lambda name: float(slopes[name]))
    return side if slopes[side] >= _SLOPE else None


def _listed(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


_FEELING_DIGITS = 3

_CENTRE = {"valence": 0.2, "arousal": 0.4}
"""Where ordinary photographs lie."""
_SPREAD = {"valence": 0.33, "arousal": 0.17}
"""By how much they differ (a standard deviation)."""
_ROOM = {"valence": 0.8, "arousal": 0.4}
"""The farthest that anything lies from the centre."""

# Mean and spread of each measure over ordinary photographs, to two digits.
_KINDS = {"valence": (0.21, 0.13), "arousal": (0.43, 0.07)}
_COLOURFULNESS = (0.23, 0.13)
_DISTINCT_COLOURS = (5.3, 0.80)

_AGREEMENT = 0.72
"""The spread of the mean of the three standard scores, which hang together."""

# What a place adds to standard scores of valence and arousal.
_PLACES = {
    "storm": (-1.2, 1.0),
    "night": (-0.4, 0.0),
    "sunset": (0.3, -0.3),
    "outer space": (-0.2, -0.5),
    "texture": (-0.3, -0.8),
    "water": (0.1, -0.1),
}


def feeling_of(
    layout: PictureLayout, kinds: Floats, probed: Shares, places: Mapping[str, float], motion: str, people: float
) -> Mood:
    """Return valence, arousal and the word for them.

    `kinds` float32[kinds] are the probabilities of `all_kinds()`, `probed` the standard scores that the probes give for
    `valence` and `arousal`, `people` the confidence that there are any.
    """
    table = np.array([(kind.valence, kind.arousal) for kind in all_kinds()])
    felt = (kinds[:, None] * table).sum(axis=0)
    colour = (
        _clipped(_score(layout.colourfulness, _COLOURFULNESS)) + _clipped(_score(layout.colours, _DISTINCT_COLOURS))
    ) / 1.6
    moved = {"valence": 0.0, "arousal": 0.4 * (MOTIONS.index(motion) - 1)}
    values = {}
    for index, name in enumerate(("valence", "arousal")):
        scores = (_clipped(_score(float(felt[index]), _KINDS[name])), colour, _clipped(probed.get(name, 0.0)))
        added = sum(places.get(place, 0.0) * steps[index] for place, steps in _PLACES.items())
        score = sum(scores) / len(scores) / _AGREEMENT + added + moved[name] + 0.2 * people
        room = _ROOM[name]
        values[name] = round(_CENTRE[name] + room * math.tanh(_SPREAD[name] * score / room), _FEELING_DIGITS)
    valence, arousal = values["valence"], values["arousal"]
    return Mood(valence, arousal, mood_word(valence, arousal))


def mood_word(valence: float, arousal: float) -> str:
    """Return the word of `MOODS` that lies nearest."""
    # Arousal spans half as much as valence, so its differences count double.
    return min(MOODS, key=lambda word: math.hypot(MOODS[word][0] - valence, 2 * (MOODS[word][1] - arousal)))


# How much what it shows moves, 0 to 1; what is not named holds still.
_MOVES = {
    "sport": 0.9, "race car": 1.0, "motorbike": 0.55, "car": 0.5, "truck": 0.45, "train": 0.65, "bicycle": 0.6,
    "aircraft": 0.6, "warplane": 0.9, "rocket": 0.7, "parachute": 0.6, "balloon": 0.35, "boat": 0.35, "ship": 0.35,
    "horse cart": 0.5, "tank": 0.6, "bird": 0.35, "animal": 0.3, "horse": 0.5, "monkey": 0.4, "stage": 0.5,
    "geyser": 0.7, "volcano": 0.6, "sea coast": 0.4, "valley": 0.25, "lake": 0.15, "field": 0.25, "street": 0.55,
    "musical instrument": 0.4, "toy": 0.35, "bubble": 0.4, "drum": 0.55,
}  # fmt: skip


_SEEN = 0.2
"""A kind below this probability moves nothing."""
_CROWD = 6


def motion_of(layout: PictureLayout, shares: Shares, places: Mapping[str, float], people: int) -> str:
    """Return the word of `MOTIONS` for what is seen.

    It follows from what kinds of things do (a group counts for those of its kinds that the table leaves out), a smear
    over the whole picture, slanted lines in a drawing and a crowd.
    """
    groups = {kind.name: kind.group for kind in all_kinds()}
    listed: dict[str, float] = {}
    for name, moves in _MOVES.items():
        inside = sum(shares.get(other, 0.0) for other in _MOVES if other != name and groups.get(other) == name)
        share = shares.get(name, 0.0) - inside
        listed[name] = moves * share if share >= _SEEN else 0.0
    smear = ramp(layout.level, 0.9, 1.4) * ramp(layout.texture, 0.08, 0.05)
    swirl = places.get("drawing", 0.0) * ramp(layout.texture, 0.015, 0.04) * ramp(layout.diagonal, 0.15, 0.35)
    others = (0.65 * smear, 0.6 * swirl, 0.6 * places.get("storm", 0.0), 0.3 * places.get("water", 0.0))
    crowd = 0.5 if people >= _CROWD else 0.0
    amount = round(max(sum(listed.values()), crowd, *others), 2)
    return MOTIONS[(amount >= 0.22) + (amount >= 0.44) + (amount >= 0.7)]


def _score(value: float, centre_and_spread: tuple[float, float]) -> float:
    centre, spread = centre_and_spread
    return (value - centre) / spread


def _clipped(score: float) -> float:
    return min(2.0, max(-2.0, score))
