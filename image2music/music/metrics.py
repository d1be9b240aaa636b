"""MusPy's eight metrics and its groove consistency, computed from note arrays without a piano roll."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from image2music.music.midi import read_midi
from image2music.music.score import IntArray, Score, Track
from image2music.music.theory import SCALES


@dataclass(frozen=True)
class Metrics:
    """The eight metrics of one piece; None where a metric is undefined. Names and definitions are MusPy's (0.5.0).

    The first seven leave drums out; `empty_beat_rate` counts them. A metric is None where MusPy gives NaN or raises.
    Without pitched notes the range is None too, where MusPy gives 0 or, for drums alone, -127.
    """

    pitch_range: float | None
    n_pitches_used: float | None
    n_pitch_classes_used: float | None
    polyphony: float | None
    scale_consistency: float | None
    pitch_entropy: float | None
    pitch_class_entropy: float | None
    empty_beat_rate: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Return the values by metric name, in the order of `METRIC_NAMES`."""
        return asdict(self)


METRIC_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Metrics))

EXPLANATIONS: dict[str, str] = {
    "pitch_range": "distance in semitones from the lowest note to the highest",
    "n_pitches_used": "how many different pitches occur, each octave counted by itself",
    "n_pitch_classes_used": "how many of the twelve note names occur, whatever the octave",
    "polyphony": "how many different pitches sound together on average, silence left out; 1 is a single line",
    "scale_consistency": "the largest share of notes that one major or natural minor scale holds; 1 is all of them",
    "pitch_entropy": "how evenly the notes are spread over the pitches, in bits; 0 is one repeated pitch",
    "pitch_class_entropy": "how evenly the notes are spread over the twelve note names, in bits; at most 3.58",
    "empty_beat_rate": "share of beats (quarter notes) in which no note sounds; a note held through a beat fills it",
}
"""What each metric means, in words for a prompt."""

_SCALES = np.array(
    [
        [float((pitch - root) % 12 in SCALES[mode]) for pitch in range(12)]
        for mode in ("major", "minor")
        for root in range(12)
    ]
)


def metrics_of_midi(data: bytes) -> Metrics:
    """Return the metrics of a MIDI file.

    Raises:
        MidiError: with the reasons of `read_midi`.
    """
    return metrics_of_score(read_midi(data))


def metrics_of_score(score: Score) -> Metrics:
    """Return the metrics of a score, in time proportional to n log n for n notes.

    They equal MusPy's for the same notes, with one exception: MusPy's `empty_beat_rate` takes the length of a piece
    from its last event, lyrics and annotations after the last note included; here the last note ends the piece.
    From a file the notes themselves may differ: MusPy holds a note that is never released to the end of its track,
    `read_midi` leaves it out.
    """
    pitched = [track for track in score.tracks if len(track) and not track.is_drum]
    empty_beats = _empty_beat_rate(score)
    if not pitched:
        return Metrics(None, 0.0, 0.0, None, None, None, None, empty_beats)
    onsets, durations, pitches = _joined(pitched)
    counts = np.bincount(pitches, minlength=128)
    classes = np.bincount(pitches % 12, minlength=12)
    return Metrics(
        pitch_range=float(pitches.max() - pitches.min()),
        n_pitches_used=float(np.count_nonzero(counts)),
        n_pitch_classes_used=float(np.count_nonzero(classes)),
        polyphony=_polyphony(onsets, durations, pitches),
        scale_consistency=float((_SCALES @ classes).max() / len(pitches)),
        pitch_entropy=_entropy(counts),
        pitch_class_entropy=_entropy(classes),
        empty_beat_rate=empty_beats,
    )


def _joined(tracks: list[Track]) -> tuple[IntArray, IntArray, IntArray]:
    return (
        np.concatenate([track.onsets for track in tracks]),
        np.concatenate([track.durations for track in tracks]),
        np.concatenate([track.pitches for track in tracks]),
    )


def _entropy(counts: NDArray[np.int64]) -> float:
    """Return Shannon entropy in bits."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def _polyphony(onsets: IntArray, durations: IntArray, pitches: IntArray) -> float | None:
    """Return the pitch-ticks that sound divided by ticks in which anything sounds; a pitch doubled counts once.

    The intervals of each pitch are laid on a line of their own, so that one union serves for all pitches.
    """
    length = int((onsets + durations).max()) + 1
    shift = pitches * length
    sounding = _covered(onsets + shift, onsets + durations + shift)
    silent_free = _covered(onsets, onsets + durations)
    return sounding / silent_free if silent_free else None


def _covered(starts: IntArray, ends: IntArray) -> int:
    """Return the length of the union of intervals."""
    order = np.argsort(starts)
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    before = np.append(starts[0], reach[:-1])
    return int(np.maximum(reach - np.maximum(starts, before), 0).sum())


def _empty_beat_rate(score: Score) -> float | None:
    """Return the share of quarters up to the last note's end in which no note sounds; ends count as sounding."""
    if not score.n_notes:
        return None
    onsets, durations, _ = _joined(list(score.tracks))
    ends = onsets + durations
    if ends.max() < 1:
        return None
    beats = int(ends.max()) // score.ticks_per_quarter + 1
    changes = np.bincount(onsets // score.ticks_per_quarter, minlength=beats + 1)
    changes -= np.bincount(ends // score.ticks_per_quarter + 1, minlength=beats + 1)
    return float(np.mean(np.cumsum(changes[:beats]) == 0))


STEPS_A_QUARTER = 12
"""Sixteenths and triplets both fall on this grid."""


def groove_consistency(score: Score) -> float | None:
    """Return 1 - the mean Hamming distance between the onset patterns of neighbouring bars, 0-1; None below two bars.

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
