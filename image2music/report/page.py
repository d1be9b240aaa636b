"""The content of one picture's page, ready for a template: maps, notes, references, metrics, rounds and drawings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from image2music.evaluation.pieces import Heard, hear
from image2music.music.metrics import EXPLANATIONS, METRIC_NAMES
from image2music.music.similarity import LONGEST_ALLOWED, longest_shared_run
from image2music.report.tune import HeatMap, Playback, colours, heat_map, playback

_PIECES = re.compile(r"\s+|\||[^\s|]+")

WRITTEN_ANEW = 0.3
"""Below this share of kept text a comparison says nothing: the round shows its tune without marks."""


@dataclass(frozen=True)
class TextChange:
    """A stretch of ABC that is the same, gone or new."""

    kind: Literal["same", "gone", "new"]
    text: str


@dataclass(frozen=True)
class Move:
    """A metric before and after a round; `before` is None for the first tune."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class RoundView:
    """A round compared with the tune that stood when it began. `kept` is the share of its text from there, 0 to 1."""

    purpose: str
    accepted: bool
    reason: str
    diagnostics: Sequence[Mapping[str, Any]]
    kept: float | None
    changes: tuple[TextChange, ...]
    moves: tuple[Move, ...]


def round_views(rounds: Sequence[Mapping[str, Any]]) -> list[RoundView]:
    """Return all rounds of a row, in order, each compared with the tune accepted before it."""
    views: list[RoundView] = []
    standing: Mapping[str, Any] | None = None
    for each in rounds:
        views.append(_view(each, standing))
        if each["accepted"] or standing is None:
            standing = each
    return views


def changes(before: str, after: str) -> tuple[TextChange, ...]:
    """Return the changes from `before` to `after`, word by word. The stretches "same" and "new" make up `after`."""
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    found = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(TextChange("same", "".join(new[k:m])))
            continue
        gone, came = "".join(old[i:j]), "".join(new[k:m])
        found += [TextChange("gone", gone)] if gone else []
        found += [TextChange("new", came)] if came else []
    return tuple(found)


def _view(each: Mapping[str, Any], standing: Mapping[str, Any] | None) -> RoundView:
    marked: tuple[TextChange, ...] = (TextChange("same", each["abc"]),)
    kept = None
    if standing is not None:
        compared = changes(standing["abc"], each["abc"])
        kept = _ink("".join(change.text for change in compared if change.kind == "same")) / max(_ink(each["abc"]), 1)
        marked = compared if kept >= WRITTEN_ANEW else marked
    moves = tuple(_moves(each["metrics"], standing["metrics"] if standing else None))
    return RoundView(each["purpose"], each["accepted"], each["reason"], each["diagnostics"], kept, marked, moves)


def _ink(abc: str) -> int:
    """Count the characters without bar lines and blanks, which any two tunes share."""
    return sum(not (letter.isspace() or letter == "|") for letter in abc)


def _moves(after: Mapping[str, float | None] | None, before: Mapping[str, float | None] | None) -> Iterator[Move]:
    """Yield the metrics that a round changed, or all of the first tune's."""
    for name, value in (after or {}).items():
        old = before[name] if before else None
        if before is None or old != value:
            yield Move(name, old, value)


@dataclass(frozen=True)
class ReferenceView:
    """A reference compared with the tune. `shared_notes` is None where the reference cannot be played."""

    location: str
    caption: str
    matched_by: str
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
        similarity_text=reference["similarity_text"],
        similarity_image=reference["similarity_image"],
        shared_notes=shared,
        copied=shared is not None and shared > LONGEST_ALLOWED,
        abc=reference["abc"],
    )


_WIDTH, _EDGE = 200.0, 6.0
ROLL_WIDTH, ROLL_HEIGHT = 1000, 160


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


def piano_roll(playback: Playback) -> list[str]:
    """Return an SVG path for each pitched part of a tune, 1000 wide and 160 high, with a rectangle for each note."""
    pitched = [track for track in playback.tracks if not track.is_drum]
    pitches = [pitch for track in pitched for _, _, pitch, _ in track.notes]
    if not pitches or playback.seconds <= 0:
        return []
    lowest, step = min(pitches), ROLL_HEIGHT / (max(pitches) - min(pitches) + 1)
    scale = ROLL_WIDTH / playback.seconds
    return [_path(track.notes, lowest, step, scale) for track in pitched]


def _path(notes: Sequence[tuple[float, float, int, int]], lowest: int, step: float, scale: float) -> str:
    height = max(1.0, step - 0.5)
    parts = []
    for start, duration, pitch, _ in notes:
        left, top = start * scale, ROLL_HEIGHT - (pitch - lowest + 1) * step
        width = max(1.0, duration * scale - 1)
        parts.append(f"M{left:.1f} {top:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
    return "".join(parts)


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

    `remarks` are the tune's N: lines, such as the statement that a voice was derived by rule.
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
    """Return the page of a whole row of `schemas/composition.py`.

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
    """Return the eight metrics beside the range of the references."""
    values = metric_values(row["references"])
    views = []
    for name in METRIC_NAMES:
        value, others = row["metrics"][name], values[name]
        low, high = min(others, default=None), max(others, default=None)
        views.append(MetricView(name, EXPLANATIONS[name], value, low, high, range_plot(value, others)))
    return views
