"""What is counted line by line, for all lines at once: intervals, contour, rhythm, surprise, bars that return."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from image2music.music.critic.hearing import (
    IN_SCALE,
    LENGTH_EDGES,
    STEPS,
    Expectation,
    Floats,
    Ints,
    PieceHeard,
    melody_keys,
    weighted_counts,
)  # fmt: skip

HASHES = np.random.Generator(np.random.Philox(7)).integers(1, 2**62, (STEPS * 16, 256)).astype(np.uint64)


def mean_of(values: NDArray[Any]) -> float:
    """Return the mean, NaN of nothing."""
    return float(values.sum()) / values.size if values.size else float("nan")


def spread_of(values: NDArray[Any]) -> float:
    """Return the standard deviation, NaN of nothing."""
    return float(values.std()) if values.size else float("nan")


def correlation(one: NDArray[Any], two: NDArray[Any]) -> float:
    """Return Pearson's correlation, NaN of fewer than three values or of constant ones."""
    if len(one) < 3:
        return float("nan")
    x, y = one - one.mean(), two - two.mean()
    size = float((x @ x) * (y @ y))
    return float(x @ y) / size**0.5 if size > 1e-9 else float("nan")


def entropies(counts: Floats) -> Floats:
    """Return bits of each row."""
    share = counts / np.maximum(1e-9, counts.sum(axis=-1, keepdims=True))
    return -(share * np.log2(share + 1e-12)).sum(axis=-1)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Divide, NaN where there is nothing to divide by."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def complexity(tokens: list[int]) -> float:
    """Return bits a token by the phrases of Lempel and Ziv (1978): little where everything came before."""
    tree: dict[int, int] = {}
    node = phrases = 0
    for token in tokens:
        key = node << 20 | token
        node = tree.get(key, 0)
        if not node:
            phrases += 1
            tree[key] = phrases
    phrases += node > 0
    return phrases * float(np.log2(phrases + 1)) / max(8, len(tokens))


def line_features(heard: PieceHeard, surprise: Expectation) -> dict[str, Floats]:
    """Return the features of every line, float[lines] each: of the voices and, where there are several, of the lead."""
    h = heard
    out: dict[str, Floats] = {}
    intervals = (h.pitch[1:] - h.pitch[:-1])[h.joined]
    voice = h.voice[1:][h.joined]
    n_intervals = np.maximum(1.0, h.count - 1)

    def each(values: NDArray[Any]) -> Floats:
        return weighted_counts(voice, values, h.n_lines) / n_intervals

    size = np.abs(intervals)
    by_size = np.bincount(voice * 14 + np.minimum(size, 13), minlength=h.n_lines * 14).reshape(-1, 14)
    shares = by_size / n_intervals[:, None]
    out["repeated"], out["semitones"], out["steps"] = shares[:, 0], shares[:, 1], shares[:, 1] + shares[:, 2]
    out["thirds"], out["leaps"] = shares[:, 3] + shares[:, 4], shares[:, 5] + shares[:, 7]
    out["wide"], out["odd"] = shares[:, 8] + shares[:, 9] + shares[:, 12], shares[:, [6, 10, 11, 13]].sum(axis=1)
    out["interval"], out["interval_bits"] = each(size), entropies(by_size.astype(np.float64))

    out |= _contour(h, intervals, voice, size)
    pitches = np.bincount(h.voice * 128 + h.pitch, minlength=h.n_lines * 128).reshape(-1, 128)
    out["pitches"], out["pitch_bits"] = (pitches > 0).sum(axis=1) * 1.0, entropies(pitches.astype(np.float64))
    out["top_pitch"] = pitches.max(axis=1) / h.count
    deviation = h.pitch - h.mean_pitch[h.voice]
    variance = h.mean(deviation * deviation)
    out["pitch_spread"] = np.sqrt(variance)
    products = np.bincount(voice, deviation[1:][h.joined] * deviation[:-1][h.joined], h.n_lines) / n_intervals
    out["smoothness"] = np.where(variance > 1e-6, products / np.maximum(variance, 1e-6), np.nan)
    highest = 127 - pitches[:, ::-1].argmax(axis=1)
    out["range"] = (highest - (pitches > 0).argmax(axis=1)) * 1.0
    out["peaks"] = pitches[np.arange(h.n_lines), highest] / h.count
    first_peak = np.full(h.n_lines, h.excerpt.length)
    at_peak = h.pitch == highest[h.voice]
    np.minimum.at(first_peak, h.voice[at_peak], h.onset[at_peak])
    out["peak_at"] = first_peak / h.excerpt.length

    out |= _rhythm(h, size, voice)
    out |= _line_surprise(h, surprise, voice)
    out |= _bar_patterns(h)
    weight = np.minimum(h.gap, 2 * STEPS)
    out["outside"] = 1 - h.total(IN_SCALE[h.key][h.pitch % 12] * weight) / h.total(weight)
    tokens = (np.append(np.clip(h.pitch[1:] - h.pitch[:-1], -60, 60), 0) + 64) * 16 + np.searchsorted(
        LENGTH_EDGES, h.gap
    )
    stops = np.flatnonzero(h.ends) + 1
    lists = [part.tolist() for part in np.split(tokens, stops[:-1])]
    out["complexity"] = np.array([complexity(part) for part in lists])
    return out


def _contour(h: PieceHeard, intervals: Ints, voice: Ints, size: Ints) -> dict[str, Floats]:
    out: dict[str, Floats] = {}
    sign = np.sign(intervals)
    pairs = voice[1:] == voice[:-1]
    moving = pairs & (sign[1:] != 0) & (sign[:-1] != 0)
    turning = moving & (sign[1:] != sign[:-1])

    def count(mask: NDArray[np.bool_]) -> Floats:
        return np.bincount(voice[1:][mask], minlength=h.n_lines).astype(np.float64)

    out["turns"] = ratio(count(turning), count(moving))
    out["neighbours"] = count(pairs & (intervals[1:] == -intervals[:-1]) & (sign[1:] != 0)) / np.maximum(1, h.count - 2)
    leap = pairs & (size[:-1] >= 5)
    answered = leap & (sign[1:] != sign[:-1]) & (size[1:] < size[:-1])
    out["recovered"] = np.where(count(leap) > 2, ratio(count(answered), count(leap)), np.nan)
    # Runs in one direction: where one begins anew.
    begins = np.flatnonzero(np.append(True, ~pairs | (sign[1:] != sign[:-1]))[: len(sign)])
    runs = np.diff(np.append(begins, len(sign)))
    longest = np.zeros(h.n_lines)
    np.maximum.at(longest, voice[begins], runs)
    out["longest_run"] = np.log1p(longest)
    return out


def _rhythm(h: PieceHeard, size: Ints, voice: Ints) -> dict[str, Floats]:
    out: dict[str, Floats] = {}
    length = np.searchsorted(LENGTH_EDGES, h.gap)
    counts = np.bincount(h.voice * 11 + length, minlength=h.n_lines * 11).reshape(-1, 11).astype(np.float64)
    out["length_bits"], out["top_length"] = entropies(counts), counts.max(axis=1) / h.count
    out["lengths"] = (counts > 0).sum(axis=1) * 1.0
    out["mean_length"] = np.log(h.mean(h.gap) / h.excerpt.beat)
    out["weight"] = h.mean(h.line_weight)
    out["off_grid"], out["on_beat"] = h.mean(h.line_weight == 0), h.mean(h.line_weight >= 3)
    beat = h.excerpt.beat
    next_beat = (h.line_since // beat + 1) * beat
    out["syncopation"] = h.mean((h.line_weight < 3) & (h.line_since + h.gap > next_beat + 2))
    logs = np.log(h.gap)
    from_mean = logs - h.mean(logs)[h.voice]
    from_weight = h.line_weight - h.mean(h.line_weight)[h.voice]
    spread = h.mean(from_mean**2) * h.mean(from_weight**2)
    out["long_on_strong"] = np.where(spread > 1e-9, h.mean(from_mean * from_weight) / np.sqrt(spread + 1e-12), np.nan)
    out["rests"] = 1 - h.total(np.minimum(h.held, h.gap)) / h.total(h.gap)
    crosses = (h.line_bar[1:] != h.line_bar[:-1])[h.joined]
    out["over_bar"] = _difference(h, size, voice, crosses)
    # The last note of every fourth bar against those of the others.
    last = np.append(h.line_bar[1:] != h.line_bar[:-1], True) | h.ends
    fourth = (h.n_bars - 1 - h.line_bar) % 4 == 0
    closing, other = last & fourth, last & ~fourth
    mean_closing = ratio(h.total(h.gap * closing), h.total(closing))
    out["phrase_ends"] = np.log(mean_closing + 2) - np.log(ratio(h.total(h.gap * other), h.total(other)) + 2)
    degree = (h.pitch - h.tonic) % 12
    good = np.isin(degree, (0, 2, 3, 4, 7, 11))
    out["phrase_degrees"] = ratio(h.total(closing & good), h.total(closing))
    return out


def _difference(h: PieceHeard, values: NDArray[Any], voice: Ints, marked: NDArray[np.bool_]) -> Floats:
    """Return the mean of the marked intervals less that of the others, by voice."""
    inside, outside = marked.astype(np.float64), (~marked).astype(np.float64)

    def total(weights: NDArray[Any]) -> Floats:
        return weighted_counts(voice, weights, h.n_lines)

    return ratio(total(values * inside), total(inside)) - ratio(total(values * outside), total(outside))


def _line_surprise(h: PieceHeard, surprise: Expectation, voice: Ints) -> dict[str, Floats]:
    melody_key, rhythm_key = melody_keys(h)
    melody, rhythm = surprise.melody[melody_key], surprise.rhythm[rhythm_key]
    n = np.maximum(1.0, h.count - 1)

    def each(values: NDArray[Any]) -> Floats:
        return weighted_counts(voice, values, h.n_lines) / n

    mean = each(melody)
    out = {"melody_bits": mean, "melody_spread": np.sqrt(np.maximum(0.0, each(melody * melody) - mean * mean))}
    out["melody_shocks"], out["melody_known"] = each(melody > 6), each(melody < 1.5)
    out["rhythm_bits"] = h.mean(rhythm)
    out["rhythm_spread"] = np.sqrt(np.maximum(0.0, h.mean(rhythm * rhythm) - out["rhythm_bits"] ** 2))
    out["rhythm_shocks"] = h.mean(rhythm > 5)
    crosses = (h.line_bar[1:] != h.line_bar[:-1])[h.joined]
    out["bits_over_bar"] = _difference(h, melody, voice, crosses)
    return out


def _patterns(h: PieceHeard, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Add up hashes of the line notes of every bar, uint64[V, b]."""
    place = h.voice * h.n_bars + h.line_bar
    starts = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
    sums = np.zeros(h.n_lines * h.n_bars, dtype=np.uint64)
    sums[place[starts]] = np.add.reduceat(values, starts)
    return sums.reshape(h.n_lines, h.n_bars)


@cache
def pairs_apart(n: int) -> tuple[Ints, Ints]:
    """Return rows and columns of all pairs of n things that are at least two apart."""
    return np.triu_indices(n, 2)


def distinct_share(rows: NDArray[np.uint64]) -> Floats:
    """Return how many different values each row has, divided by its length."""
    ordered = np.sort(rows, axis=1)
    return (1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)) / rows.shape[1]


def returning(rows: NDArray[np.uint64], name: str) -> dict[str, Floats]:
    """Return how often a bar is the same as that 1, 2, 4 and 8 bars before, by row; silence is no return."""
    out = {}
    for lag in (1, 2, 4, 8):
        here, before = rows[:, lag:], rows[:, :-lag]
        same, heard = (here == before) & (here > 0), (here > 0) | (before > 0)
        out[f"{name}_{lag}"] = ratio(same.sum(axis=1).astype(np.float64), heard.sum(axis=1).astype(np.float64))
    return out


def _bar_patterns(h: PieceHeard) -> dict[str, Floats]:
    place = np.minimum(h.line_since, len(HASHES) - 1)
    starts = np.append(True, (h.line_bar[1:] != h.line_bar[:-1]) | ~h.joined)
    first = h.pitch[np.flatnonzero(starts)][np.cumsum(starts) - 1]
    rhythms = _patterns(h, HASHES[place, 0])
    bars = _patterns(h, HASHES[place, h.pitch])
    shapes = _patterns(h, HASHES[place, (h.pitch - first) % 256])
    out = {"rhythms": distinct_share(rhythms), "bars": distinct_share(bars), "shapes": distinct_share(shapes)}
    out |= returning(rhythms, "rhythm") | returning(bars, "bar")
    out["shape_1"] = returning(shapes, "shape")["shape_1"]
    per_bar = np.bincount(h.voice * h.n_bars + h.line_bar, minlength=rhythms.size).reshape(rhythms.shape)
    out["heard"] = (per_bar > 0).mean(axis=1)
    out["density_spread"] = per_bar.std(axis=1) / np.maximum(0.1, per_bar.mean(axis=1))
    sums = np.bincount(h.voice * h.n_bars + h.line_bar, h.pitch, rhythms.size).reshape(rhythms.shape)
    means = sums / np.maximum(1, per_bar)
    playing = per_bar > 0
    deviation = np.where(playing, means - (means.sum(axis=1) / np.maximum(1, playing.sum(axis=1)))[:, None], 0.0)
    squares = (deviation**2).sum(axis=1)
    out["bar_heights"] = np.sqrt(squares / np.maximum(1, playing.sum(axis=1)))
    out["bar_drift"] = ratio((deviation[:, 1:] * deviation[:, :-1]).sum(axis=1), squares)
    return out
