"""What the critic looks at: the notes of a piece in bars, on a grid of 24 steps a quarter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from image2music.music.score import IntArray, MeterChange, Score, Track
from image2music.music.theory import Meter

STEPS = 24
"""Grid steps of a quarter note: a 64th note is lost, triplets and 32nds are exact."""


@dataclass(frozen=True)
class Excerpt:
    """Whole bars of a piece.

    `onsets`, `durations` (steps), `pitches` (0-127) and `voices` (from 0) are int64[n], sorted by onset, voice, pitch.
    `bars` are the bar lines, int64[b + 1], first 0. `bar` and `beat` are steps: the usual bar and its beat (a dotted
    quarter in 6/8). `empty_voices` were declared and are silent. `has_end` tells that the piece ends here.
    """

    onsets: IntArray
    durations: IntArray
    pitches: IntArray
    voices: IntArray
    n_voices: int
    bars: IntArray
    bar: int
    beat: int
    empty_voices: int = 0
    has_end: bool = True

    @property
    def n_bars(self) -> int:
        """Number of bars."""
        return len(self.bars) - 1

    @property
    def length(self) -> int:
        """Steps in all."""
        return int(self.bars[-1])

    def part(self, first: int, last: int) -> Excerpt:
        """Return bars `first` to before `last` (from 0). Notes are cut at the end; what began before is left out."""
        low, high = int(self.bars[first]), int(self.bars[last])
        inside = (self.onsets >= low) & (self.onsets < high)
        return replace(
            self.kept(inside),
            onsets=self.onsets[inside] - low,
            bars=self.bars[first : last + 1] - low,
            has_end=self.has_end and last == self.n_bars,
        ).in_order()

    def kept(self, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]] | IntArray) -> Excerpt:
        """Return the excerpt with the chosen notes alone."""
        return replace(
            self,
            onsets=self.onsets[chosen],
            durations=self.durations[chosen],
            pitches=self.pitches[chosen],
            voices=self.voices[chosen],
        )

    def in_order(self) -> Excerpt:
        """Return it sorted, without notes outside the bars, none held beyond the end; silent voices are left out."""
        inside = np.flatnonzero((self.onsets >= 0) & (self.onsets < self.length))
        order = inside[np.lexsort((self.pitches[inside], self.voices[inside], self.onsets[inside]))]
        result = self.kept(order)
        there = np.bincount(result.voices, minlength=self.n_voices) > 0
        return replace(
            result,
            durations=np.minimum(result.durations, self.length - result.onsets),
            voices=(np.cumsum(there) - 1)[result.voices],
            n_voices=int(there.sum()),
        )


def excerpt_of(score: Score, empty_voices: int = 0) -> Excerpt | None:
    """Return the whole piece, drums left out; None where no pitched note sounds.

    Tracks are voices; those with fewer than two notes count as empty and are left out, and `empty_voices` more are
    declared. Tracks of one name that never sound together are one voice whose instrument changes. A single voice full
    of chords is heard as two, the highest notes and the rest. Bars follow from the meters, which start anew where one
    is named; without any they are in 4/4. A first bar that is silent in all voices is no part of it.
    """
    voices = _voices([track for track in score.tracks if not track.is_drum])
    sounding = [track for track in voices if len(track) > 1] or [track for track in voices if len(track)]
    if not sounding:
        return None
    empty = empty_voices + sum(len(track) < 2 for track in voices)
    scale = STEPS / score.ticks_per_quarter
    onsets = _steps(np.concatenate([track.onsets for track in sounding]), scale)
    ends = _steps(np.concatenate([track.onsets + track.durations for track in sounding]), scale)
    bars, meter = _bars(_meters_of(score), scale, int(max(ends.max(), onsets.max() + 1)))
    bar = 4 * STEPS * meter.numerator // meter.denominator
    silent = int(np.searchsorted(bars, onsets.min(), side="right")) - 1
    whole = Excerpt(
        onsets - bars[silent],
        np.maximum(1, ends - onsets),
        np.concatenate([track.pitches for track in sounding]),
        np.repeat(np.arange(len(sounding)), [len(track) for track in sounding]),
        len(sounding),
        bars[silent:] - bars[silent],
        bar,
        _beat(meter),
        empty,
    ).in_order()
    return _top_and_rest(whole) if whole.n_voices == 1 else whole


_FEW_CHORDS = 0.3
"""Up to this share of notes below others a voice is a line with some double stops."""


def _top_and_rest(excerpt: Excerpt) -> Excerpt:
    """Make two voices of one that is full of chords, as a piano piece in one track is: its highest notes, the rest."""
    last = np.append(excerpt.onsets[1:] != excerpt.onsets[:-1], True)
    if (~last).mean() <= _FEW_CHORDS:
        return excerpt
    return replace(excerpt, voices=np.where(last, 0, 1), n_voices=2).in_order()


def _steps(ticks: IntArray, scale: float) -> IntArray:
    return np.floor(ticks * scale + 0.5).astype(np.int64)


def _voices(tracks: list[Track]) -> list[Track]:
    """Join tracks of one name that take turns."""
    joined: list[Track] = []
    for track in tracks:
        before = next((n for n, other in enumerate(joined) if track.name and other.name == track.name), None)
        if before is None or not len(track) or not _take_turns(joined[before], track):
            joined.append(track)
            continue
        other = joined[before]
        onsets, durations, pitches, velocities = (
            np.concatenate([getattr(other, name), getattr(track, name)])
            for name in ("onsets", "durations", "pitches", "velocities")
        )
        joined[before] = Track(onsets, durations, pitches, velocities, name=track.name)
    return joined


def _take_turns(one: Track, two: Track) -> bool:
    if not len(one):
        return False
    starts = np.sort(one.onsets)
    place = np.searchsorted(starts, two.onsets + two.durations)
    held = np.searchsorted(np.sort(one.onsets + one.durations), two.onsets, side="right")
    return bool((place == held).all())


def _meters_of(score: Score) -> tuple[MeterChange, ...]:
    """Return the meters; a pick-up, which only the bar lines tell, has the first one named anew behind it."""
    if len(score.bar_starts) < 2 or not score.meters or score.meters[0].tick > 0:
        return score.meters
    first, rest, pickup = score.meters[0], score.meters[1:], score.bar_starts[1].tick
    whole = score.ticks_per_quarter * 4 * first.numerator // first.denominator
    if pickup >= whole or (rest and rest[0].tick <= pickup):
        return score.meters
    return (first, MeterChange(pickup, first.numerator, first.denominator), *rest)


def _bars(meters: tuple[MeterChange, ...], scale: float, end: int) -> tuple[IntArray, Meter]:
    """Return bar lines to behind `end`, and the meter that is in force longest."""
    changes = [(round(m.tick * scale), Meter.of(m.numerator, m.denominator)) for m in meters if m.numerator > 0]
    if not changes or changes[0][0] > 0:
        changes.insert(0, (0, Meter.of(4, 4)))
    lines = []
    spans: dict[Meter, int] = {}
    starts = [start for start, _ in changes]
    for (start, meter), stop in zip(changes, [*starts[1:], end], strict=True):
        bar = max(STEPS // 4, 4 * STEPS * meter.numerator // meter.denominator)
        lines.append(np.arange(start, max(start, min(stop, end)), bar))
        spans[meter] = spans.get(meter, 0) + min(stop, end) - start
        last_bar = bar
    bars = np.concatenate(lines)
    main = max(spans, key=lambda meter: spans[meter])
    close = bars[-1] + last_bar if len(lines[-1]) else end
    return np.append(bars, max(close, bars[-1] + 1)), main


def _beat(meter: Meter) -> int:
    """Return the steps of a beat: the meter's, no shorter than an eighth, three of them in compound meters."""
    unit = 4 * STEPS // meter.denominator
    if meter.denominator >= 8 and meter.numerator % 3 == 0 and meter.numerator > 3:
        return 3 * unit
    return max(unit, STEPS // 2)
