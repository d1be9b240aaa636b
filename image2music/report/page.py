"""The content of one picture's page, ready for a template: maps, notes, plan, references, metrics, rounds, drawings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.evaluation.pieces import Heard, hear
from image2music.music.metrics import EXPLANATIONS, METRIC_NAMES
from image2music.music.similarity import LONGEST_ALLOWED, longest_shared_run
from image2music.report.bars import PlanView, SectionView, plan_view, section_views
from image2music.report.rounds import RoundView, fault_lines, rival, round_views, standing_round
from image2music.report.tunes import DrawnScore, Playback, drawn_score, piano_roll, playback
from image2music.rights import passport


@dataclass(frozen=True)
class ReferenceView:
    """A reference compared with the tune. `shared_notes` is None where the reference cannot be played."""

    location: str
    caption: str
    matched_by: str
    contributes: str
    similarity_text: float | None
    similarity_image: float | None
    shared_notes: int | None
    copied: bool
    abc: str


def reference_views(references: Sequence[Mapping[str, Any]], abc: str) -> list[ReferenceView]:
    """Return every reference of a row with the longest run of notes that it shares with the tune `abc`."""
    own = hear(abc)
    return [_reference_view(reference, own) for reference in references]


def metric_values(references: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the values of each metric over the references that can be played, in ascending order."""
    found = [heard.metrics.as_dict() for reference in references if (heard := hear(reference["abc"]))]
    return {name: sorted(value for row in found if (value := row[name]) is not None) for name in METRIC_NAMES}


def _reference_view(reference: Mapping[str, Any], own: Heard | None) -> ReferenceView:
    other = hear(reference["abc"])
    shared = longest_shared_run(own.voices, other.voices) if own and other else None
    return ReferenceView(
        location=reference["location"],
        caption=reference["caption"],
        matched_by=reference["matched_by"],
        contributes=reference.get("contributes") or "",
        similarity_text=reference["similarity_text"],
        similarity_image=reference["similarity_image"],
        shared_notes=shared,
        copied=shared is not None and shared > LONGEST_ALLOWED,
        abc=reference["abc"],
    )


_WIDTH, _EDGE = 200.0, 6.0


@dataclass(frozen=True)
class RangePlot:
    """A value among others, as x coordinates in a drawing 200 wide."""

    value: float | None
    others: tuple[float, ...]
    verdict: str

    @property
    def low(self) -> float | None:
        """The smallest of the others; None without any."""
        return min(self.others, default=None)

    @property
    def high(self) -> float | None:
        """The largest of the others; None without any."""
        return max(self.others, default=None)


def range_plot(value: float | None, others: Sequence[float]) -> RangePlot:
    """Place a value and others on a common line from the smallest to the largest of them."""
    known = [*others, *(() if value is None else (value,))]
    least, spread = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)

    def place(number: float) -> float:
        share = (number - least) / spread if spread else 0.5
        return round(_EDGE + share * (_WIDTH - 2 * _EDGE), 1)

    return RangePlot(None if value is None else place(value), tuple(map(place, others)), _verdict(value, others))


def _verdict(value: float | None, others: Sequence[float]) -> str:
    if value is None:
        return "undefined"
    if not others:
        return "nothing to compare with"
    if value < min(others):
        return "below the references"
    return "above the references" if value > max(others) else "within the references"


@dataclass(frozen=True)
class MetricView:
    """One metric of the tune beside the range of the references."""

    name: str
    meaning: str
    value: float | None
    low: float | None
    high: float | None
    plot: RangePlot


MotivationPart = tuple[str, int | None]
"""A text, and the place of its map among the page's; None where it has none."""


def motivation_parts(motivation: str, maps: Sequence[HeatMap]) -> list[MotivationPart]:
    """Split a motivation at the sentences that have a map of their own."""
    parts: list[MotivationPart] = []
    at = 0
    for place, heat in enumerate(maps):
        if heat.kind == "motivation" and (found := motivation.find(heat.text, at)) >= 0:
            parts += [(motivation[at:found].strip(), None), (heat.text, place)]
            at = found + len(heat.text)
    return [part for part in (*parts, (motivation[at:].strip(), None)) if part[0]]


@dataclass(frozen=True)
class PicturePage:
    """A row as a page. `data` is what the page's script reads: notes, bars, maps and the colours of their levels.

    `score` is what the script draws, None where nothing could be engraved; `sections` are the tune by bars, `scene`
    what was seen as (name, text). `remarks` are the tune's N: lines, such as the statement that a voice was derived by
    rule. `plan` and `critic` are None, and `faults` (of the tune that stands, worst first), `scene` and `wishes` empty,
    where a row has no such columns. `has_rival` tells that another candidate can be heard beside the tune;
    `passport` is what is known of its rights.
    """

    row: Mapping[str, Any]
    maps: tuple[HeatMap, ...]
    motivation: list[MotivationPart]
    playback: Playback
    roll: list[tuple[int, str]]
    score: DrawnScore | None
    sections: tuple[SectionView, ...]
    scene: list[tuple[str, str]]
    references: list[ReferenceView]
    metrics: list[MetricView]
    plan: PlanView | None
    wishes: dict[str, str]
    critic: float | None
    faults: list[str]
    rounds: list[RoundView]
    has_rival: bool
    passport: str
    remarks: list[str]
    data: dict[str, Any]


def picture_page(row: Mapping[str, Any]) -> PicturePage:
    """Return the page of a whole row of `schemas/composition.py`.

    Raises:
        MidiError: the row's MIDI cannot be read; a row that `compose` wrote always can.
    """
    maps = tuple(heat_map(attention) for attention in row["attention"])
    played = playback(row["midi"], row["abc"])
    standing = standing_round(row["rounds"])
    score = drawn_score(row["abc"], row["midi"])
    return PicturePage(
        row=row,
        maps=maps,
        motivation=motivation_parts(row["motivation"], maps),
        playback=played,
        roll=piano_roll(played),
        score=score,
        sections=section_views(row, standing.get("faults") or ()),
        scene=scene_lines(row.get("scene")),
        references=reference_views(row["references"], row["abc"]),
        metrics=metric_views(row),
        plan=plan_view(row.get("plan")),
        wishes={name: wish for name, wish in (row.get("wishes") or {}).items() if wish},
        critic=row.get("critic"),
        faults=fault_lines(standing),
        rounds=round_views(row["rounds"]),
        has_rival=rival(row["rounds"]) is not None,
        passport=passport(row),
        remarks=[line[2:].strip() for line in row["abc"].splitlines() if line.startswith("N:")],
        data={
            "playback": asdict(played),
            "maps": [asdict(heat) for heat in maps],
            "colours": colours().tolist() if maps else [],
            "score": score.packed() if score else "",
        },
    )


_SEEN = ("subject", "place", "near", "middle", "far", "focal_point", "eye_path", "motion", "light", "palette", "mood")


def scene_lines(scene: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the column `scene` as (name, text), without what is empty."""
    if scene is None:
        return []
    things = ", ".join(f"{each['name']} ({each['confidence']:.0%})" for each in scene["things"] or ())
    found = [(name.replace("_", " "), _joined(scene[name])) for name in _SEEN]
    people = "" if scene["people"] is None else str(scene["people"])
    return [line for line in (found[0], ("things", things), ("people", people), *found[1:]) if line[1]]


def _joined(value: str | Sequence[str] | None) -> str:
    return value if isinstance(value, str) else " → ".join(value or ())


def metric_views(row: Mapping[str, Any]) -> list[MetricView]:
    """Return the eight metrics beside the range of the references."""
    values = metric_values(row["references"])
    views = []
    for name in METRIC_NAMES:
        value, others = row["metrics"][name], values[name]
        low, high = min(others, default=None), max(others, default=None)
        views.append(MetricView(name, EXPLANATIONS[name], value, low, high, range_plot(value, others)))
    return views


_BARS = re.compile(r"(\d+)\D+(\d+)")
_ONE_BAR = re.compile(r"\d+")

_STOPS = np.array([[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]], dtype=np.float64)
"""Five colours from dark to light (matplotlib's plasma): readable without telling red from green."""


@dataclass(frozen=True)
class HeatMap:
    """One segment's map for a page.

    `relative` and `raw` are levels 0-255, row by row, each stretched from its minimum to its maximum; `relative_range`
    and `raw_range` are those two values: multiples of the blank picture's weights, and probabilities. `bars` are the
    first and last bar of the segment, None for other kinds.
    """

    segment: str
    kind: str
    text: str
    rows: int
    cols: int
    relative: tuple[int, ...]
    raw: tuple[int, ...]
    relative_range: tuple[float, float]
    raw_range: tuple[float, float]
    bars: tuple[int, int] | None


def heat_map(attention: Mapping[str, Any]) -> HeatMap:
    """Return an entry of the column `attention` as levels."""
    weights = np.asarray(attention["weights"], dtype=np.float64)
    relative = relative_weights(weights, np.asarray(attention["baseline"], dtype=np.float64))
    return HeatMap(
        segment=attention["segment"],
        kind=attention["kind"],
        text=attention["text"] or "",
        rows=attention["rows"],
        cols=attention["cols"],
        relative=tuple(levels(relative).tolist()),
        raw=tuple(levels(weights).tolist()),
        relative_range=_range(relative),
        raw_range=_range(weights),
        bars=_bars(attention["segment"]) if attention["kind"] == "bars" else None,
    )


def relative_weights(weights: NDArray[np.float64], baseline: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights as multiples of a blank picture's; 1 where the blank picture drew no attention.

    Some patches draw attention whatever they show; the division leaves what the picture itself did.
    """
    return np.divide(weights, baseline, out=np.ones_like(weights), where=baseline > 0)


def levels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Stretch values to 0-255; all 0 where they are equal."""
    spread = float(np.ptp(values)) if values.size else 0.0
    if not np.isfinite(spread) or spread == 0.0:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint((values - values.min()) / spread * 255).astype(np.uint8)


def overlay(picture: Image.Image, heat: HeatMap, *, strength: float = 0.6) -> Image.Image:
    """Paint the relative map over the picture. `strength` 0-1 is the share of the colour in the blend."""
    grid = np.array(heat.relative, dtype=np.uint8).reshape(heat.rows, heat.cols)
    smooth = np.asarray(Image.fromarray(grid).resize(picture.size, Image.Resampling.BICUBIC))
    coloured = Image.fromarray(colours()[smooth])
    return Image.blend(picture.convert("RGB"), coloured, strength)


def colours() -> NDArray[np.uint8]:
    """Return uint8[256, 3]: the colour of each level."""
    places = np.linspace(0, 255, len(_STOPS))
    channels = [np.interp(np.arange(256), places, _STOPS[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    return (float(f"{values.min():.4g}"), float(f"{values.max():.4g}")) if values.size else (0.0, 0.0)


def _bars(segment: str) -> tuple[int, int] | None:
    several = _BARS.search(segment)
    if several:
        return int(several[1]), int(several[2])
    one = _ONE_BAR.search(segment)
    return (int(one[0]), int(one[0])) if one else None
