"""A tune as a page shows it: attention maps as levels and painted over a picture, and times in seconds to play by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.abc.parser import parse
from image2music.abc.playback import bars_as_played
from image2music.music.midi import read_midi
from image2music.music.render import PlayedTrack
from image2music.music.score import Score, Track, seconds_at
from image2music.music.theory import QUARTER


@dataclass(frozen=True)
class Playback:
    """A tune in seconds. `bars` are (start, number of the bar as written, from 1); a repeated bar occurs twice."""

    seconds: float
    tracks: tuple[PlayedTrack, ...]
    bars: tuple[tuple[float, int], ...]


def playback(midi: bytes, abc: str) -> Playback:
    """Return the notes of a MIDI file and the bars of the ABC that it was made from.

    Raises:
        MidiError: as `read_midi`.
    """
    score = read_midi(midi)
    tracks = tuple(_played(track, score) for track in score.tracks)
    end = max(start + duration for track in tracks for start, duration, _, _ in track.notes)
    bars = tuple(
        (round(seconds_at(quarters, score.tempos, score.ticks_per_quarter), 4), number)
        for quarters, number in played_bars(abc)
    )
    return Playback(round(end, 4), tracks, bars)


def played_bars(abc: str) -> Iterator[tuple[float, int]]:
    """Yield (quarters from the beginning, bar number from 1) of every bar of the first voice, as it is played."""
    tune = next((tune for tune in parse(abc).tunes if tune.has_music), None)
    return iter(()) if tune is None else ((float(at / QUARTER), number) for at, number in bars_as_played(tune))


def _played(track: Track, score: Score) -> PlayedTrack:
    per_quarter = score.ticks_per_quarter
    notes = []
    for onset, duration, pitch, velocity in zip(
        track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), track.velocities.tolist(), strict=True
    ):
        start = seconds_at(onset / per_quarter, score.tempos, per_quarter)
        end = seconds_at((onset + duration) / per_quarter, score.tempos, per_quarter)
        notes.append((round(start, 4), round(end - start, 4), pitch, velocity))
    return PlayedTrack(track.name, track.program, track.is_drum, tuple(notes))


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
