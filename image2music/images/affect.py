"""What a picture feels like, from what it shows and how it looks: motion, valence, arousal and a word for the mood.

Three judgements count alike: what the kinds of things in it feel like (`kinds.py`, set by hand), how colourful it is
and how many colours it has, and what a ridge regression on the classifier's features says (the probes of `places.py`).
A mean of standard scores carried over to other pictures better than weights fitted together. Places, people and motion
add little steps, each for a reason that does not come from labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from image2music.images.features import MOODS, Floats, Mood
from image2music.images.kinds import MOTIONS, all_kinds
from image2music.images.places import PictureLayout, Shares, ramp

_DIGITS = 3

_CENTRE = {"valence": 0.2, "arousal": 0.4}
"""Where ordinary photographs lie."""
_SPREAD = {"valence": 0.33, "arousal": 0.17}
"""By how much they differ (a standard deviation)."""
_ROOM = {"valence": 0.8, "arousal": 0.4}
"""The farthest that anything lies from the centre."""

# Mean and spread of each measure over ordinary photographs, to two digits.
_KINDS = {"valence": (0.21, 0.13), "arousal": (0.43, 0.07)}
_COLOURFULNESS = (0.23, 0.13)
_COLOURS = (5.3, 0.80)

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
    colour = (_clipped(_score(layout.colourfulness, _COLOURFULNESS)) + _clipped(_score(layout.colours, _COLOURS))) / 1.6
    moved = {"valence": 0.0, "arousal": 0.4 * (MOTIONS.index(motion) - 1)}
    values = {}
    for index, name in enumerate(("valence", "arousal")):
        scores = (_clipped(_score(float(felt[index]), _KINDS[name])), colour, _clipped(probed.get(name, 0.0)))
        added = sum(places.get(place, 0.0) * steps[index] for place, steps in _PLACES.items())
        score = sum(scores) / len(scores) / _AGREEMENT + added + moved[name] + 0.2 * people
        room = _ROOM[name]
        values[name] = round(_CENTRE[name] + room * math.tanh(_SPREAD[name] * score / room), _DIGITS)
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
