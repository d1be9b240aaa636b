"""What the critic hears of a piece: the notes by steps and bars, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SLICE = STEPS // 4
"""Chords and dissonance are heard every sixteenth."""

# Albrecht and Shanahan (2013), key profiles from 490 pieces.
_PROFILES = np.array(
    [
        [0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081],
        [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052],
    ]
)
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 9, 10, 11))
_CHORDS: tuple[tuple[tuple[int, ...], float, int], ...] = (
    ((0, 4, 7), 0.06, 0), ((0, 3, 7), 0.05, 1), ((0, 3, 6), 0.0, 2), ((0, 4, 8), -0.06, 3), ((0, 4, 7, 10), 0.0, 0),
    ((0, 3, 7, 10), -0.04, 1), ((0, 4, 7, 11), -0.05, 0), ((0, 3, 6, 10), -0.04, 2), ((0, 3, 6, 9), -0.02, 2),
)  # fmt: skip
"""Pitch classes above the root, how much the chord is preferred, and its family."""


def centred(rows: NDArray[Any]) -> Floats:
    """Return rows of mean 0 and length 1."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    return rows / (np.sqrt((rows * rows).sum(axis=-1, keepdims=True)) + 1e-9)


def _rolled(members: tuple[int, ...]) -> Floats:
    """Return float[12, 12]: the set of pitch classes on every root."""
    first = np.zeros(12)
    first[list(members)] = 1.0
    return np.stack([np.roll(first, root) for root in range(12)])


KEYS = centred(np.concatenate([[np.roll(profile, tonic) for tonic in range(12)] for profile in _PROFILES]))
IN_SCALE = np.concatenate([_rolled(scale) for scale in _SCALES])
CHORD_TONES = np.concatenate([_rolled(members) for members, _, _ in _CHORDS])
CHORD_BONUS = np.repeat([bonus for _, bonus, _ in _CHORDS], 12)
ROOTS = np.arange(len(CHORD_TONES)) % 12
FAMILIES = np.repeat([family for _, _, family in _CHORDS], 12)
IS_SEVENTH = np.repeat([len(members) > 3 for members, _, _ in _CHORDS], 12)
LENGTH_EDGES = np.array([5, 7, 10, 14, 17, 21, 30, 42, 60, 84])
"""Edges between the eleven classes of note lengths, in steps: 4, 6, 8, 12, 16, 18, 24, 36, 48, 72, 96."""
INTERVALS = 31
"""Intervals of a melody: -15 to 15 semitones."""


@dataclass(frozen=True)
class Expectation:
    """Bits of information of what comes next, by tables of human music (`training` fits them).

    `melody` [24, 32, 31]: interval by scale degree and mode and the interval before. `rhythm` [24, 12, 11]: length by
    place in the bar and the length before. `chords` [96, 48] and `outer` [312, 12]: chord by chord and mode; degree of
    the highest voice by mode, its degree before and the bass. All are flat.
    """

    melody: Floats
    rhythm: Floats
    chords: Floats
    outer: Floats


EXPECTATION_SIZES = {
    "melody": 24 * 32 * INTERVALS, "rhythm": 24 * 12 * 11, "chords": 96 * 48, "outer": 2 * 13 * 12 * 12,
}  # fmt: skip


def weighted_counts(places: Ints, weights: NDArray[Any], n: int) -> Floats:
    """Add up weights by place, float[n]."""
    return np.asarray(np.bincount(places, weights, n), dtype=np.float64)


class PieceHeard:
    """Arrays of one excerpt that the features share. V voices, b bars, S sixteenths, W windows of a chord."""

    def __init__(self, excerpt: Excerpt) -> None:
        self.excerpt = excerpt
        self.n_bars, self.n_voices = excerpt.n_bars, excerpt.n_voices
        self._find_key()
        self._lay_out_lines()
        self._lay_out_slices()
        self._find_chords()

    def _find_key(self) -> None:
        excerpt = self.excerpt
        weights = np.minimum(excerpt.durations, 4 * STEPS).astype(np.float64)
        counts = weighted_counts(excerpt.pitches % 12, weights, 12)
        late = excerpt.onsets + excerpt.durations > excerpt.length - STEPS
        if late.any():
            ending = np.bincount(excerpt.pitches[late] % 12, minlength=12)
            counts = counts + 0.04 * counts.sum() * ending / ending.sum()
        self.key_fit = np.round(KEYS @ centred(counts), 9)
        self.key = int(self.key_fit.argmax())
        self.tonic, self.minor = self.key % 12, self.key // 12

    def _lay_out_lines(self) -> None:
        """The highest notes of each voice, line after line: `pitch`, `onset`, `held`, `gap` (to the next onset)."""
        excerpt = self.excerpt
        bars = excerpt.bars
        bar_of = np.searchsorted(bars, excerpt.onsets, side="right") - 1
        since = excerpt.onsets - bars[bar_of]
        pickup = excerpt.bar - int(bars[1])
        if self.n_bars > 1 and pickup > 0:
            since = np.where(bar_of == 0, since + pickup, since)
        self.bar_of, self.since = bar_of, since
        self.weight = _metrical_weight(since, excerpt.beat)
        order = np.lexsort((excerpt.pitches, excerpt.onsets, excerpt.voices))
        voice, onset = excerpt.voices[order], excerpt.onsets[order]
        last = np.append((voice[1:] != voice[:-1]) | (onset[1:] != onset[:-1]), True)
        top = self._with_lead(order[last], bar_of)
        self.onset, self.pitch, self.held = excerpt.onsets[top], excerpt.pitches[top], excerpt.durations[top]
        self.joined = self.voice[1:] == self.voice[:-1]
        self.ends = np.append(~self.joined, True)
        gaps = np.append(self.onset[1:] - self.onset[:-1], 1)
        self.gap = np.where(self.ends, np.maximum(1, self.held), gaps)
        self.line_bar, self.line_since, self.line_weight = bar_of[top], since[top], self.weight[top]
        self.count = np.bincount(self.voice, minlength=self.n_lines).astype(np.float64)
        self.mean_pitch = self.mean(self.pitch)

    def _with_lead(self, top: Ints, bar_of: Ints) -> Ints:
        """Add a line that has the tune: in every bar that of the highest voice that plays. A solo is its own."""
        voice = self.excerpt.voices[top]
        n, self.n_lines = self.n_voices, self.n_voices
        if n > 1:
            height = weighted_counts(voice, self.excerpt.pitches[top], n) / np.bincount(voice, minlength=n)
            plays = np.zeros((n, self.n_bars), dtype=np.bool_)
            plays[voice, bar_of[top]] = True
            leads = np.where(plays, np.round(height, 6)[:, None], -1.0).argmax(axis=0)
            lead = top[voice == leads[bar_of[top]]]
            lead = lead[np.argsort(self.excerpt.onsets[lead], kind="stable")]
            top, voice = np.append(top, lead), np.append(voice, np.full_like(lead, n))
            self.n_lines += 1
        self.voice = voice
        return top

    def total(self, values: NDArray[Any]) -> Floats:
        """Sum something over the notes of each line, float[lines]."""
        return weighted_counts(self.voice, values, self.n_lines)

    def mean(self, values: NDArray[Any]) -> Floats:
        """Average something over the notes of each line, float[lines]."""
        return weighted_counts(self.voice, values, self.n_lines) / self.count

    def _lay_out_slices(self) -> None:
        excerpt = self.excerpt
        n = self.n_slices = max(4, -(-excerpt.length // SLICE))
        first = np.minimum((excerpt.onsets + SLICE // 2) // SLICE, n - 1)
        last = np.minimum(np.maximum((excerpt.onsets + excerpt.durations + SLICE // 2) // SLICE, first + 1), n)
        length = last - first
        index = np.repeat(first - np.cumsum(length) + length, length) + np.arange(int(length.sum()))
        pitch, voice = np.repeat(excerpt.pitches, length), np.repeat(excerpt.voices, length)
        self.sounding = np.zeros((128, n), dtype=np.bool_)
        self.sounding[pitch, index] = True
        counts = np.bincount(pitch % 12 * n + index, minlength=12 * n)
        self.class_count = counts.reshape(12, n).astype(np.float64)
        self.classes = self.class_count > 0
        tops = np.zeros(self.n_voices * n, dtype=np.int64)
        # Pitches ascend within an onset only; a stable sort by pitch lets the highest be written last.
        by_pitch = np.argsort(pitch, kind="stable")
        tops[(voice * n + index)[by_pitch]] = pitch[by_pitch]
        self.voice_top = tops.reshape(self.n_voices, n)
        self.any = self.class_count.sum(axis=0) > 0
        self.highest = np.where(self.any, 127 - self.sounding[::-1].argmax(axis=0), 0)
        self.lowest = self.sounding.argmax(axis=0)
        self.edges = np.clip((excerpt.bars + SLICE // 2) // SLICE, 0, n)
        self.beats = np.arange(0, excerpt.length, excerpt.beat) // SLICE
        self.beats = self.beats[self.any[self.beats]]

    def _find_chords(self) -> None:
        """Name the chord of every beat, or half bar where a bar has many beats."""
        excerpt = self.excerpt
        per_bar = excerpt.bar // excerpt.beat
        window = excerpt.beat if per_bar <= 2 else excerpt.bar // 2 if per_bar % 2 == 0 else excerpt.bar
        lengths = np.diff(excerpt.bars)
        per = -(-lengths // window)
        nth = np.arange(int(per.sum())) - np.repeat(np.cumsum(per) - per, per)
        starts = np.repeat(excerpt.bars[:-1], per) + nth * window
        starts = np.minimum((starts + SLICE // 2) // SLICE, self.n_slices - 1)
        self.windows = starts[np.append(True, starts[1:] > starts[:-1])]
        self.window_weight = np.add.reduceat(self.class_count, self.windows, axis=1).T
        total = self.window_weight.sum(axis=1)
        self.has_chord = total > 0
        share = self.window_weight / (total[:, None] + 1e-9)
        inside = share @ CHORD_TONES.T
        bass = self.lowest[self.windows]
        is_root = (ROOTS[None] == (bass % 12)[:, None]) & self.any[self.windows][:, None]
        self.chord = np.round(inside + CHORD_BONUS + 0.12 * is_root, 9).argmax(axis=1)
        self.chord_share = inside[np.arange(len(self.chord)), self.chord]
        self.share, self.bass = share, bass


def _metrical_weight(since: Ints, beat: int) -> Ints:
    """Return 4 on the bar line, 3 on a beat, 2 on half of it, 1 on a third or quarter, else 0."""
    weight = np.where((since % (beat // 4) == 0) | (since % (beat // 3) == 0), 1, 0)
    weight = np.where(since % (beat // 2) == 0, 2, weight)
    return np.where(since == 0, 4, np.where(since % beat == 0, 3, weight))


def melody_keys(heard: PieceHeard) -> tuple[Ints, Ints]:
    """Return for each interval inside a line its place in `Expectation.melody`, and for each note in `.rhythm`."""
    step = np.clip(heard.pitch[1:] - heard.pitch[:-1], -15, 15) + 15
    before = np.where(np.append(False, heard.joined[:-1]), np.append(0, step[:-1]), INTERVALS)
    degree = (heard.pitch[:-1] - heard.tonic) % 12 * 2 + heard.minor
    length = np.searchsorted(LENGTH_EDGES, heard.gap)
    length_before = np.where(np.append(False, heard.joined), np.append(0, length[:-1]), 11)
    place = np.minimum((heard.line_since + SLICE // 2) // SLICE, 23)
    melody = ((degree * 32 + before) * INTERVALS + step)[heard.joined]
    return melody, (place * 12 + length_before) * 11 + length


def chord_keys(heard: PieceHeard) -> tuple[Ints, Ints]:
    """Return the places of chord changes in `Expectation.chords` and of beats in two parts in `Expectation.outer`."""
    named = ((ROOTS[heard.chord] - heard.tonic) % 12 * 4 + FAMILIES[heard.chord])[heard.has_chord]
    chords = (named[:-1] + 48 * heard.minor) * 48 + named[1:]
    high, low = heard.highest[heard.beats], heard.lowest[heard.beats]
    degree = (high - heard.tonic) % 12
    before = np.append(12, degree[:-1])[: len(degree)]
    outer = ((heard.minor * 13 + before) * 12 + (low - heard.tonic) % 12) * 12 + degree
    return chords, outer[high > low]
