"""How steadily a rhythm goes on."""

from __future__ import annotations

import numpy as np

from image2music.notation.score import Score

STEPS_A_QUARTER = 12
"""Sixteenths and triplets both fall on this grid."""


def groove_consistency(score: Score) -> float | None:
    """1 - the mean Hamming distance between the onset patterns of neighbouring bars, 0-1; None below two bars.

    Wu and Yang, "The Jazz Transformer on the Front Line" (ISMIR 2020), as in MusPy but for its empty last bar, which
    it adds where a piece ends at a bar line. Bars are those of the first meter, 4/4 where none is named.
    """
    numerator, denominator = (score.meters[0].numerator, score.meters[0].denominator) if score.meters else (4, 4)
    bar = STEPS_A_QUARTER * 4 * numerator // denominator
    step = score.ticks_per_quarter / STEPS_A_QUARTER
    tracks = [track for track in score.tracks if len(track)]
    if not tracks or bar < 1:
        return None
    end = max(int(np.ceil((track.onsets + track.durations).max() / step)) for track in tracks)
    bars = -(-end // bar)
    if bars < 2:
        return None
    pattern = np.zeros((bars + 1) * bar, dtype=bool)
    for track in tracks:
        pattern[np.rint(track.onsets / step).astype(np.int64)] = True
    rows = pattern[: bars * bar].reshape(bars, bar)
    return float(1 - np.mean(rows[1:] != rows[:-1]))
