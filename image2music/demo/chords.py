"""A rough harmony of a piece: the triad that fits each bar best."""

from __future__ import annotations

from collections import Counter

import numpy as np

from image2music.notation.score import Score

_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_TRIADS = np.array([[float((tone - root) % 12 in shape) for tone in range(12)] for shape in ((0, 4, 7), (0, 3, 7))
                    for root in range(12)])  # fmt: skip
_LABELS = [name + suffix for suffix in ("", "m") for name in _NAMES]
_PATTERN_LENGTHS = (4, 3, 5)


def chords_by_bar(score: Score) -> list[tuple[str, float]]:
    """Chord names such as "Am" with the seconds at which they begin, one for each bar with notes, repeats joined.

    Pitch classes weigh by how long they sound in the bar; what lies outside of the triad counts against it by half.
    """
    bar = score.ticks_per_quarter * 4 * score.meters[0].numerator // score.meters[0].denominator
    seconds = 60 / score.tempos[0].qpm / score.ticks_per_quarter
    chords: list[tuple[str, float]] = []
    for number, weights in sorted(_weights_by_bar(score, bar).items()):
        label = _LABELS[int((_TRIADS @ weights - 0.5 * (1 - _TRIADS) @ weights).argmax())]
        if not chords or chords[-1][0] != label:
            chords.append((label, round(number * bar * seconds, 3)))
    return chords


def commonest_pattern(chords: list[str]) -> tuple[list[str], int]:
    """The succession of four (or three, or five) chords that returns most often, and how often it is there."""
    for length in _PATTERN_LENGTHS:
        runs = Counter(tuple(chords[start : start + length]) for start in range(len(chords) - length + 1))
        if runs and (best := max(runs.items(), key=lambda item: item[1]))[1] > 1:
            return list(best[0]), best[1]
    return chords[:4], 1


def _weights_by_bar(score: Score, bar: int) -> dict[int, np.ndarray]:
    weights: dict[int, np.ndarray] = {}
    for track in score.tracks:
        for onset, duration, pitch in zip(track.onsets, track.durations, track.pitches, strict=True):
            weights.setdefault(int(onset) // bar, np.zeros(12))[int(pitch) % 12] += float(duration)
    return weights
