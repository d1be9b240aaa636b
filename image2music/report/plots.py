"""Small drawings that stand inside a page: numbers to SVG coordinates, no colour of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from image2music.report.playback import Playback

_WIDTH, _EDGE = 200.0, 6.0
ROLL_WIDTH, ROLL_HEIGHT = 1000, 160


@dataclass(frozen=True)
class RangePlot:
    """A value among others, in a drawing 200 wide. `low` and `high` are the least and greatest of `others`."""

    value: float | None
    others: tuple[float, ...]
    verdict: str

    @property
    def low(self) -> float | None:
        """Where the range of the others begins; None without any."""
        return min(self.others, default=None)

    @property
    def high(self) -> float | None:
        """Where it ends."""
        return max(self.others, default=None)


def range_plot(value: float | None, others: Sequence[float]) -> RangePlot:
    """Where a value and others lie on a common line from the least to the greatest of them."""
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
    """One SVG path for each pitched part of a tune, 1000 wide and 160 high: a bar for each note, higher is higher."""
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
