"""Where a picture is: its layout, colour and texture, the names of places that follow, and where the eye goes in it.

A place's confidence is a product of soft steps: how far each thing that makes the place (a smooth blue top, an even
dark frame with points of light) holds. What pixels alone can't tell (indoors or outdoors, a drawing or a photograph,
plants) is judged by probes on the classifier's pooled features; benchmarks/seeing.py fits them and says how well they
carry over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import numpy as np

from image2music.images.features import CELLS, Classified, Floats
from image2music.images.kinds import PLACES, all_kinds, membership
from image2music.images.layout import PictureLayout
from image2music.images.people import People

Shares = Mapping[str, float]
"""Probabilities by name: of kinds, of their groups, or of what probes judge."""

Named = tuple[str, float]

_DIGITS = 3


@dataclass(frozen=True, eq=False)
class Probes:
    """Linear readings of pooled features: `weights` float32[probes, 1280], `offsets` and `slopes` float32[probes]."""

    names: tuple[str, ...]
    weights: Floats
    offsets: Floats
    slopes: Floats

    def read(self, pooled: Floats) -> dict[str, float]:
        """Return each probe's reading of float32[1280], rounded: log odds for places, standard scores for feelings."""
        readings = (self.weights * pooled).sum(axis=1) * self.slopes + self.offsets
        return {name: round(float(value), _DIGITS) for name, value in zip(self.names, readings, strict=True)}


@cache
def load_probes() -> Probes:
    """Return the probes that come with the package (probes.npz, fitted by benchmarks/seeing.py)."""
    with files("image2music.images").joinpath("probes.npz").open("rb") as stream:
        held = np.load(stream)
        names = tuple(str(name) for name in held["names"])
        return Probes(names, held["weights"].astype(np.float32), held["offsets"], held["slopes"])


def ramp(value: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, evenly between; the other way round where `low` is the larger."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def find_places(layout: PictureLayout, shares: Shares, probed: Shares) -> dict[str, float]:
    """Return the confidence, 0 to 1, of every name of `PLACES`.

    `shares` are the probabilities of kinds and groups, `probed` those of `drawing`, `indoors`, `outdoors`, `plant` and
    `sky`; names that are missing count as 0.
    """

    def share(*names: str) -> float:
        return min(1.0, sum(shares.get(name, 0.0) for name in names))

    drawing, plant = max(probed.get("drawing", 0.0), _two_tone(layout)), probed.get("plant", 0.0)
    photograph = 1 - drawing
    space = _outer_space(layout)
    land = share("landscape")
    outdoors = max(probed.get("outdoors", 0.0), ramp(land, 0.3, 0.8)) * (1 - space)
    indoors = probed.get("indoors", 0.0) * (1 - ramp(land, 0.3, 0.8))
    minute = share("flower", "insect", "butterfly", "dragonfly", "spider", "spider web", "mushroom", "bubble")
    closeup = max(ramp(minute, 0.3, 0.7), plant * ramp(layout.blurred, 0.15, 0.5)) * (1 - ramp(land, 0.2, 0.5))
    even = _evenness(layout) * (1 - ramp(max(share("animal", "bird"), share("vehicle"), land), 0.3, 0.6))
    traffic = share("car", "truck", "race car", "motorbike", "train", "street")
    built = share("building", "structure", "street")
    vegetation = (1 - ramp(traffic + built, 0.2, 0.5)) * (1 - ramp(share("sea coast"), 0.2, 0.5))
    sea = max(ramp(share("sea coast"), 0.2, 0.6), 0.7 * share("ship", "whale", "coral reef"))
    night = _night(layout) * photograph * (1 - space)
    sky = _sky(layout, outdoors, probed.get("sky", 0.0)) * (1 - space) * (1 - 0.5 * closeup)
    found = {
        "indoors": indoors * photograph,
        "outdoors": outdoors * photograph,
        "sky": max(sky, 0.8 * night * outdoors * ramp(layout.texture_top, 0.05, 0.02)),
        "water": max(sea, ramp(share("lake", "boat", "swimming", "bubble"), 0.2, 0.5), _water(layout) * (1 - indoors)),
        "sea": sea,
        "beach": sea * ramp(layout.sandy_bottom, 0.2, 0.5),
        "mountains": ramp(share("mountain") + 0.6 * share("valley", "cliff", "volcano"), 0.25, 0.6),
        "forest": _forest(layout) * outdoors * vegetation * (1 - closeup),
        "meadow": max(
            _meadow(layout, closeup) * outdoors * vegetation, ramp(share("field"), 0.2, 0.6) * (1 - 0.5 * closeup)
        ),
        "garden": max(ramp(share("flower"), 0.25, 0.6) * (1 - closeup), ramp(share("garden"), 0.3, 0.7)) * outdoors,
        "desert": ramp(layout.sandy_bottom, 0.7, 0.95) * ramp(layout.texture_bottom, 0.035, 0.015) * sky * (1 - sea),
        "snow": max(ramp(share("winter sport"), 0.3, 0.7), _snow(layout) * outdoors),
        "city": ramp(built + 0.6 * traffic, 0.3, 0.8) * outdoors,
        "road": ramp(traffic, 0.4, 0.9) * outdoors,
        "night": night,
        "sunset": _sunset(layout) * outdoors * (1 - 0.7 * closeup),
        "outer space": space * photograph,
        "storm": _storm(layout) * outdoors * (1 - night),
        "close-up": closeup * photograph,
        "texture": even * photograph,
        "drawing": drawing,
        "black and white": ramp(layout.chroma, 3.5, 1.5),
    }
    return {name: round(found[name], _DIGITS) for name in PLACES}


def _two_tone(layout: PictureLayout) -> float:
    """Black and white without greys, some of each: a silhouette, a print."""
    both = ramp(min(layout.black, layout.clipped), 0.01, 0.03)
    return 0.9 * both * ramp(layout.black + layout.clipped, 0.85, 0.95) * ramp(layout.chroma, 8, 3)


def _outer_space(layout: PictureLayout) -> float:
    """A black frame with many points of light in it, or with one round body."""
    black = ramp(layout.black, 0.45, 0.7) * ramp(layout.rim, 0.15, 0.06)
    return black * max(ramp(layout.points, 15, 60) * ramp(layout.bright, 0.1, 0.03), 0.7 * layout.disc)


def _night(layout: PictureLayout) -> float:
    """Dark all over, the top too, with little light; points of light make it surer."""
    dark = ramp(layout.lightness, 0.38, 0.26) * ramp(layout.top_lightness, 0.42, 0.3) * ramp(layout.bright, 0.15, 0.05)
    return dark * (0.5 + 0.5 * ramp(layout.points, 4, 20))


def _sky(layout: PictureLayout, outdoors: float, probed: float) -> float:
    """A smooth top, blue, or pale where it is plainly outdoors."""
    blue = ramp(layout.blue_sky, 0.15, 0.5) * (0.3 + 0.7 * outdoors)
    pale = ramp(layout.grey_sky, 0.3, 0.8) * outdoors * ramp(layout.clipped, 0.5, 0.2)
    return max(blue, pale, 0.7 * ramp(probed, 0.4, 0.8) * outdoors)


def _water(layout: PictureLayout) -> float:
    """Level ripples in something blue below a horizon; a smear over the whole picture is none."""
    ripples = ramp(layout.level_bottom, 0.25, 0.6) * ramp(layout.level, 1.0, 0.7)
    wavy = ripples * ramp(layout.texture_bottom, 0.003, 0.006)
    return wavy * ramp(layout.blue_bottom, 0.3, 0.6) * ramp(layout.horizon, 0.035, 0.07)


def _forest(layout: PictureLayout) -> float:
    return ramp(layout.green_top, 0.3, 0.6) * ramp(layout.texture, 0.06, 0.1)


def _meadow(layout: PictureLayout, closeup: float) -> float:
    """Green or straw below what is not, or rough all over, or upright blades."""
    ground = ramp(layout.grassy_bottom - layout.grassy_top, 0.35, 0.7)
    blades = ramp(layout.green, 0.6, 0.9) * ramp(layout.level, -0.7, -1.1)
    rough = 0.8 * ramp(layout.grassy_bottom, 0.75, 0.95) * ramp(layout.texture_bottom, 0.035, 0.06)
    return max(max(ground * ramp(layout.texture_bottom, 0.012, 0.03), rough) * (1 - 0.7 * closeup), blades)


def _snow(layout: PictureLayout) -> float:
    return ramp(layout.white_bottom, 0.6, 0.85) * ramp(layout.clipped, 0.5, 0.2)


def _sunset(layout: PictureLayout) -> float:
    """A light upper half, partly of warm hue, over dark ground."""
    glow = max(ramp(layout.warm_top, 0.06, 0.3), 0.6 * ramp(layout.fall, 0.4, 0.5))
    return glow * ramp(layout.fall, 0.15, 0.35) * ramp(layout.lightness, 0.62, 0.5) * ramp(layout.green, 0.6, 0.4)


def _storm(layout: PictureLayout) -> float:
    """Dim bluish grey from side to side above, smooth, over dark ground."""
    dim = ramp(layout.dull_top, 0.55, 0.85) * ramp(layout.texture_top, 0.035, 0.02)
    return dim * ramp(layout.lightness, 0.5, 0.4) * ramp(layout.warm, 0.1, 0.03)


def _evenness(layout: PictureLayout) -> float:
    """Light, colour and detail alike in all cells."""
    alike = ramp(layout.uneven_light, 0.14, 0.09) * ramp(layout.uneven_texture, 0.3, 0.18)
    return alike * ramp(layout.uneven_colour, 0.3, 0.15)


_WHERE = (
    ("at the upper left", "at the top", "at the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("at the lower left", "at the bottom", "at the lower right"),
)
_THIRD = (0, 0, 1, 1, 1, 2, 2)
_EVENTS = ("sport", "place")
"""Groups of what is not a body that stands somewhere."""


_SHORTEST_PATH, _LONGEST_PATH, _SALIENT = 3, 5, 0.45


@dataclass(frozen=True, eq=False)
class Gaze:
    """Where the eye goes: salience of the 7 x 7 cells, and what stands in each, as far as it is known."""

    layout: PictureLayout
    whole: Classified
    things: tuple[Named, ...]
    people: People | None

    def salience(self) -> Floats:
        """Return how much each cell draws the eye, float32[7, 7].

        How far its colour and detail stand out from the others (after Itti, Koch and Niebur 1998), lifted towards the
        middle, where there is something known, and most where there are people.
        """
        cells = self.layout.cells * np.array([1, 2, 2, 1.5, 0.3], np.float32)
        flat = cells.reshape(-1, cells.shape[-1])
        apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1).mean(axis=1).reshape(CELLS, CELLS)
        out = np.abs(np.arange(CELLS) - CELLS // 2) / CELLS
        centred = 1 - 0.6 * np.hypot(out[:, None], out[None])
        salience = apart / max(float(apart.max()), 1e-6) * centred
        for place in self._located.values():
            salience = salience + 0.4 * place / max(float(place.max()), 1e-6)
        for left, top, right, bottom in (self.people.boxes if self.people else ())[:3]:
            row, column = _cell_of((top + bottom) / 2), _cell_of((left + right) / 2)
            salience[max(0, row - 1) : row + 1, column] += 0.8
        rounded: Floats = salience.round(3).astype(np.float32)
        return rounded

    @cached_property
    def _located(self) -> dict[str, Floats]:
        """Return the probability of each thing named in each cell, float32[7, 7]."""
        cells = self.whole.cells @ membership().T
        names, groups = [kind.name for kind in all_kinds()], [kind.group for kind in all_kinds()]
        found: dict[str, Floats] = {}
        for thing, _ in self.things:
            own = [
                index
                for index, (name, group) in enumerate(zip(names, groups, strict=True))
                if thing in (name, group) and group not in _EVENTS
            ]
            if own and round(float(cells[..., own].sum(axis=-1).max()), _DIGITS) > 0.2:
                found[thing] = cells[..., own].sum(axis=-1)
        return found

    def path(self) -> tuple[str, ...]:
        """Return three to five places, as words, in the order in which the eye is likely to visit them.

        What has been seen is not looked at again, unless there is nothing else.
        """
        salience = self.salience().copy()
        visited: list[str] = []
        passed: list[str] = []
        seen: set[str] = set()
        while len(visited) < _LONGEST_PATH and salience.max() > 0:
            row, column = divmod(int(salience.argmax()), CELLS)
            if len(visited) >= _SHORTEST_PATH and salience[row, column] < _SALIENT:
                break
            what, words = self._what(row, column), self.words(row, column)
            if words not in (*visited, *passed):
                (passed if what in seen else visited).append(words)
            seen.add(what)
            salience[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
        return (*visited, *passed[: max(0, _SHORTEST_PATH - len(visited))])

    def words(self, row: int, column: int) -> str:
        """Return what stands in a cell and where that is: "the dog on the left"."""
        return f"the {self._what(row, column)} {_WHERE[_THIRD[row]][_THIRD[column]]}"

    def _what(self, row: int, column: int) -> str:
        for left, top, right, bottom in self.people.boxes if self.people else ():
            if top - 0.05 <= (row + 0.5) / CELLS <= bottom and left <= (column + 0.5) / CELLS <= right:
                return "person"
        located = {name: round(float(place[row, column]), 2) for name, place in self._located.items()}
        best = max(located, key=lambda name: located[name], default="")
        if best and located[best] >= 0.3:
            return best
        return f"{self._colour(slice(row, row + 1), slice(column, column + 1))} patch"

    def _colour(self, rows: slice, columns: slice) -> str:
        light, red_green, yellow_blue = (
            float(value) for value in self.layout.cells[rows, columns, :3].mean(axis=(0, 1))
        )
        return _colour_word(round(light, 3), round(red_green, 3), round(yellow_blue, 3))

    def layers(self, where: tuple[str, ...]) -> tuple[str, str, str]:
        """Return what the far, the middle and the near layer show: from the top of the picture to its bottom."""
        bands = {"far": slice(0, 2), "middle": slice(2, 5), "near": slice(5, 7)}
        located = self._located
        shown = []
        for layer, rows in bands.items():
            own = [place for place in _IN_LAYER[layer] if place in where]
            own += [
                name for name, place in located.items() if _row_of(place) == layer and name not in ("landscape", *own)
            ]
            if self.people and self.people.count and layer == ("near" if self.people.largest >= 0.3 else "middle"):
                own.append("person" if self.people.count == 1 else "people")
            colour = self._colour(rows, slice(0, CELLS))
            smooth = round(float(self.layout.cells[rows, :, 3].mean()), 2) < 0.13
            ground = f"{'smooth' if smooth else 'textured'} {colour}"
            shown.append(", ".join(own[:2]) + f" ({ground})" if own else ground)
        return shown[0], shown[1], shown[2]


_IN_LAYER = {
    "far": ("sky", "mountains", "outer space"),
    "middle": ("forest", "city", "sea"),
    "near": ("meadow", "snow", "beach", "road", "water", "desert", "garden"),
}


def _cell_of(share: float) -> int:
    return min(CELLS - 1, max(0, int(share * CELLS)))


def _row_of(place: Floats) -> str:
    centre = round(float((place.sum(axis=1) * np.arange(CELLS)).sum() / place.sum()), 1)
    return "far" if centre < 1.5 else "middle" if centre < 4 else "near"


def _colour_word(light: float, red_green: float, yellow_blue: float) -> str:
    """Return a plain word for a colour by L*/100, a*/100 and b*/100."""
    chroma = math.hypot(red_green, yellow_blue)
    if light < 0.12:
        return "black"
    if chroma < 0.08:
        return "white" if light > 0.85 else "dark grey" if light < 0.35 else "grey"
    hue = math.degrees(math.atan2(yellow_blue, red_green)) % 360
    names = ((15, "pink"), (48, "red"), (72, "orange"), (105, "yellow"), (165, "green"), (215, "teal"), (295, "blue"))
    name = next((name for end, name in names if hue < end), "violet" if hue < 330 else "pink")
    if name in ("orange", "red", "yellow") and (chroma < 0.25 or (light < 0.5 and chroma < 0.5)):
        name = "brown"
    return ("dark " if light < 0.35 else "pale " if light > 0.75 and name != "yellow" else "") + name
