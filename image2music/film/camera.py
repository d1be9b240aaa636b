"""How the view moves over a still picture: where to, by the composer's attention, and how fast.

A view is a part of a canvas that has the shape of the film and holds the whole picture. Views that lie in the canvas
are a convex set, so whatever lies between two of them does too.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from image2music.composers.attention import relative_weights

FASTEST = 0.04
"""Most that anything in the frame moves in a second, in widths of the frame."""

CLOSEST = 0.76
"""Narrowest view, in widths of the canvas."""

_NEAR, _PUSH = 0.76, 0.86
_COVER = 0.95
_PEAK = 16 / 9
"""Greatest speed of a move (`_eased`) over its mean."""

Point = tuple[float, float]
"""Across and down a picture or a canvas, 0 to 1."""


@dataclass(frozen=True)
class View:
    """The part of a canvas that is seen: its middle and its width, in widths and heights of the canvas."""

    x: float
    y: float
    width: float


WHOLE = View(0.5, 0.5, 1.0)


def view_at(point: Point, width: float) -> View:
    """Return the view with its middle as near to a point of the canvas as the edges of the canvas let it."""
    half = width / 2
    x, y = (min(1 - half, max(half, at)) for at in point)
    return View(x, y, width)


@dataclass(frozen=True)
class Fit:
    """How large a picture lies in the middle of its canvas, in widths and heights of the canvas; above 1 it is cut."""

    width: float
    height: float

    def on_canvas(self, point: Point) -> Point:
        """Return where a point of the picture lies on the canvas."""
        return 0.5 + (point[0] - 0.5) * self.width, 0.5 + (point[1] - 0.5) * self.height


def fit_of(picture: tuple[int, int], canvas: tuple[int, int]) -> Fit:
    """Return how a picture lies on a canvas, of (width, height) each: whole, unless a twentieth of it at most is cut.

    Thin stripes beside a picture whose shape is nearly that of the film would look like a mistake.
    """
    wider = (picture[0] * canvas[1]) / (picture[1] * canvas[0])
    if min(wider, 1 / wider) >= _COVER:
        return Fit(max(1.0, wider), max(1.0, 1 / wider))
    return Fit(min(1.0, wider), min(1.0, 1 / wider))


@dataclass(frozen=True)
class Stop:
    """From `seconds` of a shot on the view goes to a point of the picture; None: to its middle."""

    seconds: float
    point: Point | None


@dataclass(frozen=True)
class CameraPath:
    """A view for each moment of a shot: from `seconds[n]` on it goes from `views[n]` to `views[n + 1]`.

    What fills the canvas beside the picture is seen on both sides alike, or not at all: a view narrower than the
    picture stays inside it, a wider one has it in the middle.
    """

    seconds: tuple[float, ...]
    views: tuple[View, ...]
    fit: Fit = Fit(1.0, 1.0)

    def at(self, seconds: float) -> View:
        """Return the view at a moment; before the beginning the first, behind the end the last."""
        leg = bisect_right(self.seconds, seconds) - 1
        if leg < 0:
            return self._even(self.views[0])
        if leg >= len(self.seconds) - 1:
            return self._even(self.views[-1])
        share = (seconds - self.seconds[leg]) / (self.seconds[leg + 1] - self.seconds[leg])
        return self._even(_between(self.views[leg], self.views[leg + 1], _eased(share)))

    def _even(self, view: View) -> View:
        rooms = [max(0.0, min(1.0, side) - view.width) / 2 for side in (self.fit.width, self.fit.height)]
        x, y = (0.5 + min(room, max(-room, at - 0.5)) for at, room in zip((view.x, view.y), rooms, strict=True))
        return View(x, y, view.width)


HELD = CameraPath((0.0,), (WHOLE,))
"""No move at all."""


def path_over(stops: Sequence[Stop], seconds: float, fit: Fit, *, outward: bool = False) -> CameraPath:
    """Return the path of the view over one picture.

    It begins with the whole picture, leaves for the point of each stop in its moment, closer and wider by turns, and
    comes back to the whole. With one stop it goes there and stays, or with `outward` comes from there. No move is
    faster than `FASTEST`: one that would be ends earlier on its way.

    Args:
        stops: in order of time; the first is taken to be in moment 0.
        seconds: of the shot.
        fit: how the picture lies on the canvas.
        outward: from the first point to the whole, where there is one stop.
    """
    kept = [stop for stop in stops if stop.seconds < seconds - 1e-3] or [Stop(0.0, None)]
    starts = [0.0, *(stop.seconds for stop in kept[1:])]
    legs = [at for at, start in enumerate(starts) if at == 0 or start > starts[at - 1] + 1e-3]
    times = [starts[at] for at in legs]
    aims = [
        view_at(fit.on_canvas(kept[at].point or (0.5, 0.5)), _NEAR if nth % 2 else _PUSH) for nth, at in enumerate(legs)
    ]
    if len(aims) > 1:
        aims[-1] = WHOLE
    views = [WHOLE]
    for aim, start, end in zip(aims, times, [*times[1:], seconds], strict=True):
        views.append(_reached(views[-1], aim, end - start))
    if len(aims) == 1 and outward:
        views.reverse()
    return CameraPath((*times, seconds), tuple(views), fit)


def _reached(start: View, aim: View, seconds: float) -> View:
    """Return the view on the way to `aim` that a move of so many seconds reaches."""
    speed = _PEAK * _way(start, aim) / max(seconds, 1e-6)
    return _between(start, aim, min(1.0, FASTEST / speed)) if speed > 0 else aim


def _way(one: View, other: View) -> float:
    """Return the longest way that a point of the frame, a corner, goes between two views, in widths of the frame."""
    moved = math.hypot(one.x - other.x, one.y - other.y) + math.hypot(0.5, 0.5) * abs(one.width - other.width)
    return moved / min(one.width, other.width)


def _between(one: View, other: View, share: float) -> View:
    return View(
        one.x + (other.x - one.x) * share,
        one.y + (other.y - one.y) * share,
        one.width + (other.width - one.width) * share,
    )


def _eased(share: float) -> float:
    """Return how far a move is: it starts gently, is fastest in its first third and settles slowly."""
    return share * share * (6 + share * (3 * share - 8))


def attention_point(maps: Sequence[Mapping[str, Any]]) -> Point | None:
    """Return where the composer looked most, by entries of the column `attention` taken together; None without any.

    What counts is how much more a cell drew than the same cell of a blank picture, with its neighbours.
    """
    grids = [_grid(entry) for entry in maps]
    shapes = {grid.shape for grid in grids}
    if len(shapes) != 1:
        return None
    mean = np.mean(grids, axis=0)
    above = np.round(np.maximum(mean - mean.mean(), 0.0), 3)
    rows, cols = above.shape
    padded = np.pad(above, 1)
    around = sum(padded[row : row + rows, col : col + cols] for row in range(3) for col in range(3))
    row, col = divmod(int(np.argmax(np.round(around + above, 3))), cols)
    weights = padded[row : row + 3, col : col + 3]
    if not weights.sum() > 0:
        return None
    x = (weights.sum(axis=0) @ np.arange(col - 0.5, col + 2)) / weights.sum() / cols
    y = (weights.sum(axis=1) @ np.arange(row - 0.5, row + 2)) / weights.sum() / rows
    return round(float(x), 3), round(float(y), 3)


def _grid(entry: Mapping[str, Any]) -> NDArray[np.float64]:
    weights, blank = (np.asarray(entry[name], dtype=np.float64) for name in ("weights", "baseline"))
    relative = relative_weights(weights, blank) if len(blank) == len(weights) else weights
    return np.nan_to_num(relative, nan=1.0, posinf=1.0).reshape(entry["rows"], entry["cols"])


_BARS = re.compile(r"(\d+)-(\d+)")
_ACROSS = {"left": 0.2, "right": 0.8}
_DOWN = {"top": 0.2, "upper": 0.2, "bottom": 0.8, "lower": 0.8}
_MIDDLE = ("middle", "centre", "center")


def section_point(section: Mapping[str, Any], attention: Sequence[Mapping[str, Any]]) -> Point | None:
    """Return where the composer looked in a section of the plan; None where nothing tells.

    The attention maps of its bars tell, or else the words for its part of the picture ("at the upper right").
    """
    inside = []
    for entry in attention:
        found = _BARS.search(entry["segment"]) if entry["kind"] == "bars" else None
        if found is not None and int(found[1]) <= section["last"] and int(found[2]) >= section["first"]:
            inside.append(entry)
    return attention_point(inside) or _named_point(section.get("picture_part") or "")


def _named_point(part: str) -> Point | None:
    words = re.findall(r"[a-z]+", part.lower())
    across = [_ACROSS[word] for word in words if word in _ACROSS]
    down = [_DOWN[word] for word in words if word in _DOWN]
    if not across and not down and not any(word in _MIDDLE for word in words):
        return None
    return (across or [0.5])[-1], (down or [0.5])[-1]
