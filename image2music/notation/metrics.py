"""MusPy's eight metrics from note arrays."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metrics:
    """The eight metrics of one piece; None where a metric is undefined. Names are MusPy's."""

    pitch_range: float | None
    n_pitches_used: float | None
    n_pitch_classes_used: float | None
    polyphony: float | None
    scale_consistency: float | None
    pitch_entropy: float | None
    pitch_class_entropy: float | None
    empty_beat_rate: float | None
