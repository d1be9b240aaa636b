"""Compute the eight metrics by MusPy itself and compare them with ours.

MusPy (Dong et al., ISMIR 2020; package `muspy`) computes them from a piano roll; `image2music/music/metrics.py` gets
the same figures from note arrays. A score shows the largest difference where it is asked for.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from image2music.evaluation.pieces import Piece
from image2music.music.metrics import METRIC_NAMES, metrics_of_score
from image2music.music.score import Score

_VELOCITY = 90
"""No metric depends on the loudness of a note, but MusPy's notes must have one."""


@dataclass(frozen=True)
class MetricDifference:
    """One metric over `tunes` tunes: the largest absolute difference between MusPy's value and ours.

    `undefined` counts the tunes for which only one of the two has a value; they are no part of `largest`, which is None
    where no tune has both values.
    """

    name: str
    tunes: int
    largest: float | None
    undefined: int


def muspy_metrics(score: Score) -> dict[str, float | None]:
    """Return MusPy's metrics of a score by name; None where MusPy gives NaN or raises.

    As in `metrics_of_score`, the range is None where no pitched note sounds; MusPy gives 0 or -127 there.
    """
    import muspy  # takes seconds to import, and only this check needs it

    music = _as_muspy(score)
    values = {name: _value(getattr(muspy, name), music) for name in METRIC_NAMES}
    if not any(len(track) and not track.is_drum for track in score.tracks):
        values["pitch_range"] = None
    return values


def muspy_differences(pieces: Iterable[Piece]) -> list[MetricDifference]:
    """Return the largest difference of each metric over the pieces that can be played, in the order of the metrics."""
    scores = [piece.score for piece in pieces if piece.score]
    pairs = [(metrics_of_score(score).as_dict(), muspy_metrics(score)) for score in scores]
    return [_difference(name, [(ours[name], theirs[name]) for ours, theirs in pairs]) for name in METRIC_NAMES]


def _difference(name: str, pairs: Sequence[tuple[float | None, float | None]]) -> MetricDifference:
    gaps = [abs(ours - theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
    undefined = sum((ours is None) != (theirs is None) for ours, theirs in pairs)
    return MetricDifference(name, len(pairs), max(gaps, default=None), undefined)


def _as_muspy(score: Score) -> Any:
    import muspy

    tracks = [
        muspy.Track(
            is_drum=track.is_drum,
            notes=[
                muspy.Note(int(onset), int(pitch), int(duration), _VELOCITY)
                for onset, duration, pitch in zip(track.onsets, track.durations, track.pitches, strict=True)
            ],
        )
        for track in score.tracks
    ]
    return muspy.Music(resolution=score.ticks_per_quarter, tracks=tracks)


def _value(metric: Any, music: Any) -> float | None:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            value = float(metric(music))
    except Exception:  # MusPy raises what it likes where a metric is undefined
        return None
    return None if math.isnan(value) else value
