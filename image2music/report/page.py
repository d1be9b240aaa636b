"""Everything one picture's page shows, ready to be put into a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from image2music.notation.metrics import EXPLANATIONS, METRIC_NAMES
from image2music.report.heat import HeatMap, colours, heat_map
from image2music.report.playback import Playback, playback
from image2music.report.plots import RangePlot, piano_roll, range_plot
from image2music.report.references import ReferenceView, metric_values, reference_views
from image2music.report.rounds import RoundView, round_views


@dataclass(frozen=True)
class MetricView:
    """One metric of the tune beside the range of the references."""

    name: str
    meaning: str
    value: float | None
    low: float | None
    high: float | None
    plot: RangePlot


@dataclass(frozen=True)
class PicturePage:
    """A row as a page. `data` is what the page's script reads: notes, bars, maps and the colours of their levels.

    `remarks` are the tune's N: lines, such as the word that a voice was derived by rule.
    """

    row: Mapping[str, Any]
    maps: tuple[HeatMap, ...]
    playback: Playback
    roll: list[str]
    references: list[ReferenceView]
    metrics: list[MetricView]
    rounds: list[RoundView]
    remarks: list[str]
    data: dict[str, Any]


def picture_page(row: Mapping[str, Any]) -> PicturePage:
    """A page from a whole row of `schemas/composition.py`.

    Raises:
        MidiError: the row's MIDI cannot be read; a row that `compose` wrote always can.
    """
    maps = tuple(heat_map(attention) for attention in row["attention"])
    played = playback(row["midi"], row["abc"])
    return PicturePage(
        row=row,
        maps=maps,
        playback=played,
        roll=piano_roll(played),
        references=reference_views(row["references"], row["abc"]),
        metrics=metric_views(row),
        rounds=round_views(row["rounds"]),
        remarks=[line[2:].strip() for line in row["abc"].splitlines() if line.startswith("N:")],
        data={
            "playback": asdict(played),
            "maps": [asdict(heat) for heat in maps],
            "colours": colours().tolist() if maps else [],
            "abc": row["abc"],
        },
    )


def metric_views(row: Mapping[str, Any]) -> list[MetricView]:
    """The eight metrics against the range that the references span."""
    values = metric_values(row["references"])
    views = []
    for name in METRIC_NAMES:
        value, others = row["metrics"][name], values[name]
        low, high = min(others, default=None), max(others, default=None)
        views.append(MetricView(name, EXPLANATIONS[name], value, low, high, range_plot(value, others)))
    return views
