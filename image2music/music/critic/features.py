"""Numbers that tell human music from its imitations: lines, rhythm, key, chords, dissonance, form, the end.

Every feature is a share, a mean or a logarithm, so that long and short, thin and full pieces compare; NaN where it does
not apply (a solo has no counterpoint). What is counted line by line is counted for all voices at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from image2music.music.critic.excerpt import STEPS, Excerpt
from image2music.music.critic.heard import (
    CHORD_BONUS,
    CHORD_TONES,
    FAMILIES,
    IN_SCALE,
    IS_SEVENTH,
    KEYS,
    LENGTH_EDGES,
    ROOTS,
    SLICE,
    Floats,
    Heard,
    Ints,
    Surprise,
    centred,
    chord_keys,
    melody_keys,
    weighted_counts,
)  # fmt: skip

_HASHES = np.random.Generator(np.random.Philox(7)).integers(1, 2**62, (STEPS * 16, 256)).astype(np.uint64)


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _spread(values: NDArray[Any]) -> float:
    return float(values.std()) if values.size else float("nan")


def _correlation(one: NDArray[Any], two: NDArray[Any]) -> float:
    if len(one) < 3:
        return float("nan")
    x, y = one - one.mean(), two - two.mean()
    size = float((x @ x) * (y @ y))
    return float(x @ y) / size**0.5 if size > 1e-9 else float("nan")


def _entropies(counts: Floats) -> Floats:
    """Return bits of each row."""
    share = counts / np.maximum(1e-9, counts.sum(axis=-1, keepdims=True))
    return -(share * np.log2(share + 1e-12)).sum(axis=-1)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Divide, NaN where there is nothing to divide by."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def _complexity(tokens: list[int]) -> float:
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


def line_features(heard: Heard, surprise: Surprise) -> dict[str, Floats]:
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
    out["interval"], out["interval_bits"] = each(size), _entropies(by_size.astype(np.float64))

    out |= _contour(h, intervals, voice, size)
    pitches = np.bincount(h.voice * 128 + h.pitch, minlength=h.n_lines * 128).reshape(-1, 128)
    out["pitches"], out["pitch_bits"] = (pitches > 0).sum(axis=1) * 1.0, _entropies(pitches.astype(np.float64))
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
    out["complexity"] = np.array([_complexity(part) for part in lists])
    return out


def _contour(h: Heard, intervals: Ints, voice: Ints, size: Ints) -> dict[str, Floats]:
    out: dict[str, Floats] = {}
    sign = np.sign(intervals)
    pairs = voice[1:] == voice[:-1]
    moving = pairs & (sign[1:] != 0) & (sign[:-1] != 0)
    turning = moving & (sign[1:] != sign[:-1])

    def count(mask: NDArray[np.bool_]) -> Floats:
        return np.bincount(voice[1:][mask], minlength=h.n_lines).astype(np.float64)

    out["turns"] = _ratio(count(turning), count(moving))
    out["neighbours"] = count(pairs & (intervals[1:] == -intervals[:-1]) & (sign[1:] != 0)) / np.maximum(1, h.count - 2)
    leap = pairs & (size[:-1] >= 5)
    answered = leap & (sign[1:] != sign[:-1]) & (size[1:] < size[:-1])
    out["recovered"] = np.where(count(leap) > 2, _ratio(count(answered), count(leap)), np.nan)
    # Runs in one direction: where one begins anew.
    begins = np.flatnonzero(np.append(True, ~pairs | (sign[1:] != sign[:-1]))[: len(sign)])
    runs = np.diff(np.append(begins, len(sign)))
    longest = np.zeros(h.n_lines)
    np.maximum.at(longest, voice[begins], runs)
    out["longest_run"] = np.log1p(longest)
    return out


def _rhythm(h: Heard, size: Ints, voice: Ints) -> dict[str, Floats]:
    out: dict[str, Floats] = {}
    length = np.searchsorted(LENGTH_EDGES, h.gap)
    counts = np.bincount(h.voice * 11 + length, minlength=h.n_lines * 11).reshape(-1, 11).astype(np.float64)
    out["length_bits"], out["top_length"] = _entropies(counts), counts.max(axis=1) / h.count
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
    mean_closing = _ratio(h.total(h.gap * closing), h.total(closing))
    out["phrase_ends"] = np.log(mean_closing + 2) - np.log(_ratio(h.total(h.gap * other), h.total(other)) + 2)
    degree = (h.pitch - h.tonic) % 12
    good = np.isin(degree, (0, 2, 3, 4, 7, 11))
    out["phrase_degrees"] = _ratio(h.total(closing & good), h.total(closing))
    return out


def _difference(h: Heard, values: NDArray[Any], voice: Ints, marked: NDArray[np.bool_]) -> Floats:
    """Return the mean of the marked intervals less that of the others, by voice."""
    inside, outside = marked.astype(np.float64), (~marked).astype(np.float64)

    def total(weights: NDArray[Any]) -> Floats:
        return weighted_counts(voice, weights, h.n_lines)

    return _ratio(total(values * inside), total(inside)) - _ratio(total(values * outside), total(outside))


def _line_surprise(h: Heard, surprise: Surprise, voice: Ints) -> dict[str, Floats]:
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


def _patterns(h: Heard, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Add up hashes of the line notes of every bar, uint64[V, b]."""
    place = h.voice * h.n_bars + h.line_bar
    starts = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
    sums = np.zeros(h.n_lines * h.n_bars, dtype=np.uint64)
    sums[place[starts]] = np.add.reduceat(values, starts)
    return sums.reshape(h.n_lines, h.n_bars)


def _distinct(rows: NDArray[np.uint64]) -> Floats:
    """Return how many different values each row has, divided by its length."""
    ordered = np.sort(rows, axis=1)
    return (1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)) / rows.shape[1]


def _returns(rows: NDArray[np.uint64], name: str) -> dict[str, Floats]:
    """Return how often a bar is the same as that 1, 2, 4 and 8 bars before, by row; silence is no return."""
    out = {}
    for lag in (1, 2, 4, 8):
        here, before = rows[:, lag:], rows[:, :-lag]
        same, heard = (here == before) & (here > 0), (here > 0) | (before > 0)
        out[f"{name}_{lag}"] = _ratio(same.sum(axis=1).astype(np.float64), heard.sum(axis=1).astype(np.float64))
    return out


def _bar_patterns(h: Heard) -> dict[str, Floats]:
    place = np.minimum(h.line_since, len(_HASHES) - 1)
    starts = np.append(True, (h.line_bar[1:] != h.line_bar[:-1]) | ~h.joined)
    first = h.pitch[np.flatnonzero(starts)][np.cumsum(starts) - 1]
    rhythms = _patterns(h, _HASHES[place, 0])
    bars = _patterns(h, _HASHES[place, h.pitch])
    shapes = _patterns(h, _HASHES[place, (h.pitch - first) % 256])
    out = {"rhythms": _distinct(rhythms), "bars": _distinct(bars), "shapes": _distinct(shapes)}
    out |= _returns(rhythms, "rhythm") | _returns(bars, "bar")
    out["shape_1"] = _returns(shapes, "shape")["shape_1"]
    per_bar = np.bincount(h.voice * h.n_bars + h.line_bar, minlength=rhythms.size).reshape(rhythms.shape)
    out["heard"] = (per_bar > 0).mean(axis=1)
    out["density_spread"] = per_bar.std(axis=1) / np.maximum(0.1, per_bar.mean(axis=1))
    sums = np.bincount(h.voice * h.n_bars + h.line_bar, h.pitch, rhythms.size).reshape(rhythms.shape)
    means = sums / np.maximum(1, per_bar)
    playing = per_bar > 0
    deviation = np.where(playing, means - (means.sum(axis=1) / np.maximum(1, playing.sum(axis=1)))[:, None], 0.0)
    squares = (deviation**2).sum(axis=1)
    out["bar_heights"] = np.sqrt(squares / np.maximum(1, playing.sum(axis=1)))
    out["bar_drift"] = _ratio((deviation[:, 1:] * deviation[:, :-1]).sum(axis=1), squares)
    return out


ALL = ("complexity", "melody_bits", "rhythm_bits", "bar_1", "smoothness", "odd", "outside", "pitches")
"""What is also looked at in the voice that has most and least of it."""
MELODY, OTHERS, MOST, LEAST = "melody", "others", "most", "least"


def features_of(excerpt: Excerpt, surprise: Surprise) -> dict[str, float]:
    """Return every feature by name, in a fixed order.

    `melody` is the lead; the `others` are the voices but for the highest of those that play in three bars of ten.
    """
    heard = Heard(excerpt)
    lines = line_features(heard, surprise)
    n = heard.n_voices
    main = int(np.where(lines["heard"][:n] > 0.3, np.round(heard.mean_pitch[:n], 6), -1.0).argmax())
    out = {f"{MELODY}.{name}": float(values[-1]) for name, values in lines.items()}
    names, table = list(lines), np.stack(list(lines.values()))[:, :n]
    known = ~np.isnan(table)
    others = np.arange(n) != main
    mean_others = _ratio(np.where(known & others, table, 0.0).sum(axis=1), (known & others).sum(axis=1))
    out |= {f"{OTHERS}.{name}": float(value) for name, value in zip(names, mean_others, strict=True)}
    for name in ALL:
        values, there = table[names.index(name)], known[names.index(name)]
        several = n > 1 and there.any()
        out[f"{MOST}.{name}"] = float(values[there].max()) if several else np.nan
        out[f"{LEAST}.{name}"] = float(values[there].min()) if several else np.nan
    out["least.heard"] = float(lines["heard"][:n].min())
    out |= _tonality(heard) | _harmony(heard, surprise) | _fit(heard, main) | _consonance(heard)
    out |= _outer_voices(heard) | _together(heard) | _form(heard) | _ending(heard)
    return out


def _tonality(h: Heard) -> dict[str, float]:
    total = h.class_count.sum(axis=1)
    best = np.sort(h.key_fit)
    out = {"key.fit": float(best[-1]), "key.margin": float(best[-1] - best[-2])}
    out["key.outside"] = 1 - float(IN_SCALE[h.key] @ total / total.sum())
    out["key.bits"] = float(_entropies(total))
    out["key.classes"] = float((total / total.sum() > 0.01).sum())
    # Four bars at a time, every second bar.
    sums = np.concatenate([np.zeros((12, 1)), np.cumsum(h.class_count, axis=1)], axis=1)
    first = np.arange(0, max(1, h.n_bars - 1), 2)
    spans = (sums[:, h.edges[np.minimum(first + 4, h.n_bars)]] - sums[:, h.edges[first]]).T
    spans = spans[spans.sum(axis=1) > 0]
    shape = centred(spans)
    fit = np.round(shape @ KEYS.T, 9)
    local = fit.argmax(axis=1)
    out["key.local_fit"], out["key.least_local_fit"] = float(fit.max(axis=1).mean()), float(fit.max(axis=1).min())
    out["key.global_fit"], out["key.least_global_fit"] = float(fit[:, h.key].mean()), float(fit[:, h.key].min())
    out["key.moves"] = _mean(local[1:] != local[:-1])
    out["key.alike"] = _mean((shape[1:] * shape[:-1]).sum(axis=1))
    out["key.local_outside"] = float((1 - (spans * IN_SCALE[local]).sum(axis=1) / spans.sum(axis=1)).mean())
    return out


def _harmony(h: Heard, surprise: Surprise) -> dict[str, float]:
    there = h.has_chord
    share, chord = h.chord_share[there], h.chord[there]
    root = ROOTS[chord]
    low = np.sort(share)
    out = {"chord.share": float(share.mean()), "chord.least_share": float(low[int(0.1 * (len(low) - 1) + 0.5)])}
    out["chord.poor"] = float((share < 0.8).mean())
    out["chord.classes"] = float((h.share[there] > 0.05).sum(axis=1).mean())
    out["chord.changes"] = _mean(root[1:] != root[:-1])
    counts = np.bincount(root, minlength=12)
    out["chord.roots"], out["chord.bits"] = float((counts > 0).sum()), float(_entropies(counts.astype(np.float64)))
    out["chord.bass_is_root"] = float((h.bass[there] % 12 == root).mean())
    out["chord.rare"] = float((FAMILIES[chord] > 1).mean())
    out["chord.sevenths"] = float(IS_SEVENTH[chord].mean())
    out["chord.roots_outside"] = 1 - float(IN_SCALE[h.key][root].mean())
    struck = h.classes[:, h.windows].T
    inside = (struck * CHORD_TONES[h.chord]).sum(axis=1) / np.maximum(1, struck.sum(axis=1))
    on_bar = np.isin(h.windows, h.edges[:-1]) & there
    out["chord.struck"], out["chord.struck_on_bar"] = float(inside[there].mean()), _mean(inside[on_bar])
    first = np.flatnonzero(on_bar)
    first = first[first > 0]
    over_bar = ROOTS[h.chord[first]] != ROOTS[h.chord[first - 1]]
    out["chord.changes_on_bar"] = _mean(over_bar) - out["chord.changes"]
    chords, outer = chord_keys(h)
    bits = surprise.chords[chords]
    out["chord.surprise"], out["chord.surprise_spread"] = _mean(bits), _spread(bits)
    crossing = on_bar[there][1:]
    out["chord.surprise_over_bar"] = _mean(bits[crossing]) - _mean(bits[~crossing])
    bits = surprise.outer[outer]
    out["outer.surprise"] = _mean(bits) if len(bits) > 3 else np.nan
    out["outer.shocks"] = _mean(bits > 6) if len(bits) > 3 else np.nan
    for lag in (1, 2, 4, 8):
        back = len(root) * lag // h.n_bars
        out[f"chord.returns_{lag}"] = _mean(root[back:] == root[:-back]) if 0 < back < len(root) else np.nan
    return out


def _fit(h: Heard, melody: int) -> dict[str, float]:
    """Each voice against the others: against their chord, window by window, and their pitch classes."""
    names = ("share", "least_share", "poor", "melody_share", "melody_poor", "key", "least_key", "classes",
             "least_classes", "local_classes", "least_local_classes")  # fmt: skip
    if h.n_voices < 2:
        return {f"fit.{name}": np.nan for name in names}
    n, n_windows = h.n_voices, len(h.windows)
    voice, at = np.nonzero(h.voice_top)
    pitch_class = h.voice_top[voice, at] % 12
    window_of = np.zeros(h.n_slices, dtype=np.int64)
    window_of[h.windows[1:]] = 1
    window_of = np.cumsum(window_of)
    own = np.bincount((voice * n_windows + window_of[at]) * 12 + pitch_class, minlength=n * n_windows * 12)
    own = own.reshape(n, n_windows, 12).astype(np.float64)
    rest = h.window_weight[None] - own
    own_total, rest_total = own.sum(axis=2), rest.sum(axis=2)
    both = (own_total > 0) & (rest_total > 0)
    own_share = own / np.maximum(1, own_total)[:, :, None]
    wanted = rest / np.maximum(1, rest_total)[:, :, None] + 0.02 * own_share
    chord = np.round(wanted @ CHORD_TONES.T + CHORD_BONUS, 9).argmax(axis=2)
    inside = (own_share * CHORD_TONES[chord]).sum(axis=2)
    n_both = both.sum(axis=1).astype(np.float64)
    share, poor = _ratio((inside * both).sum(axis=1), n_both), _ratio(((inside < 0.5) & both).sum(axis=1), n_both)
    known = n_both > 0
    out = {"share": _mean(share[known]), "least_share": float(share[known].min()) if known.any() else np.nan}
    out["poor"] = float(poor[known].max()) if known.any() else np.nan
    out["melody_share"], out["melody_poor"] = float(share[melody]), float(poor[melody])
    total = own.sum(axis=1)
    fit = (centred(total) * KEYS[h.key]).sum(axis=1)
    alike = (centred(total) * centred(total.sum(axis=0) - total)).sum(axis=1)
    out["key"], out["least_key"], out["classes"], out["least_classes"] = (
        float(fit.mean()), float(fit.min()), float(alike.mean()), float(alike.min())
    )  # fmt: skip
    # The same over four bars at a time.
    n_spans = max(1, h.n_bars // 4)
    bar_of_slice = np.searchsorted(h.edges, np.arange(h.n_slices), side="right") - 1
    span = np.minimum(bar_of_slice // 4, n_spans - 1)
    spans = np.bincount((voice * n_spans + span[at]) * 12 + pitch_class, minlength=n * n_spans * 12)
    spans = spans.reshape(n, n_spans, 12).astype(np.float64)
    enough = spans.sum(axis=2) > 3
    spans = spans * enough[:, :, None]
    local = (centred(spans) * centred(spans.sum(axis=0)[None] - spans)).sum(axis=2)
    several = enough.sum(axis=0)
    each = ((local * enough).sum(axis=0)[several > 1]) / several[several > 1]
    out["local_classes"], out["least_local_classes"] = _mean(each), float(each.min()) if len(each) else np.nan
    return {f"fit.{name}": out[name] for name in names}


def _consonance(h: Heard) -> dict[str, float]:
    """Pairs of pitch classes that sound together, on all sixteenths and on beats alone."""
    several = h.classes.sum(axis=0) >= 2
    n = int(several.sum())
    names = [f"pairs.{which}{size}" for size in range(1, 7) for which in ("", "beat_")]
    names += ["pairs.clash", "pairs.beat_clash", "pairs.long_clash", "pairs.clash_length", "pairs.alone"]
    if n < 9:
        return dict.fromkeys(names, np.nan) | {"pairs.alone": np.nan if h.n_voices < 2 else 1.0}
    out: dict[str, float] = {}
    classes = h.classes[:, several]
    is_beat = np.zeros(h.n_slices, dtype=np.bool_)
    is_beat[h.beats] = True
    on_beat = is_beat[several]
    each = classes.sum(axis=0)
    pairs = each * (each - 1) / 2
    all_pairs, beat_pairs = pairs.sum(), max(1.0, pairs[on_beat].sum())
    wrapped = np.concatenate([classes, classes[:6]])
    semitone = np.zeros(n, dtype=np.bool_)
    for size in range(1, 7):
        found = (classes & wrapped[size : size + 12]).sum(axis=0) / (2 if size == 6 else 1)
        out[f"pairs.{size}"] = float(found.sum() / all_pairs)
        out[f"pairs.beat_{size}"] = float(found[on_beat].sum() / beat_pairs)
        if size == 1:
            semitone = found > 0
    near = (h.sounding[:-1] & h.sounding[1:]).sum(axis=0)[several]
    out["pairs.clash"], out["pairs.beat_clash"] = float(near.mean()), _mean(near[on_beat])
    rough = np.zeros(h.n_slices + 2, dtype=np.int64)
    rough[1:-1][several] = semitone
    change = np.diff(rough)
    lengths = np.flatnonzero(change < 0) - np.flatnonzero(change > 0)
    out["pairs.long_clash"] = float(lengths[lengths >= h.excerpt.beat // SLICE].sum() / n)
    out["pairs.clash_length"] = float(lengths.mean()) if len(lengths) else 0.0
    out["pairs.alone"] = 1 - n / max(1, int(h.any.sum()))
    return {name: out[name] for name in names}


def _outer_voices(h: Heard) -> dict[str, float]:
    names = ("perfect", "imperfect", "dissonant", "fourths", "span", "contrary", "oblique", "parallels", "bass_leap")
    high, low = h.highest[h.beats], h.lowest[h.beats]
    apart = high - low
    two = apart > 0
    if two.sum() < 5:
        return {f"outer.{name}": np.nan for name in names}
    counts = np.bincount(apart[two] % 12, minlength=12) / two.sum()
    out = {"perfect": counts[[0, 7]].sum(), "imperfect": counts[[3, 4, 8, 9]].sum(), "fourths": counts[5]}
    out["dissonant"], out["span"] = counts[[1, 2, 6, 10, 11]].sum(), apart[two].mean()
    high_step, low_step = np.diff(high), np.diff(low)
    both = (high_step != 0) & (low_step != 0)
    out["contrary"] = _mean((np.sign(high_step) != np.sign(low_step))[both]) if both.sum() > 3 else np.nan
    out["oblique"] = _mean((high_step != 0) ^ (low_step != 0))
    parallel = both & (high_step == low_step) & np.isin(apart[1:] % 12, (0, 7)) & two[1:]
    out["parallels"] = parallel.sum() / max(1, both.sum())
    out["bass_leap"] = _mean(np.abs(low_step)[low_step != 0])
    return {f"outer.{name}": float(out[name]) for name in names}


def _together(h: Heard) -> dict[str, float]:
    """How voices share onsets, cross, and overlap."""
    names = ("onsets", "least_onsets", "crossing", "overlap")
    if h.n_voices < 2:
        return {f"together.{name}": np.nan for name in names}
    struck = np.zeros((h.n_voices, h.excerpt.length), dtype=np.bool_)
    own = h.voice < h.n_voices
    struck[h.voice[own], h.onset[own]] = True
    shared = struck & (struck.sum(axis=0) > 1)
    common = shared.sum(axis=1) / h.count[: h.n_voices]
    order = np.argsort(-np.round(h.mean_pitch[: h.n_voices], 6), kind="stable")
    upper, lower = h.voice_top[order[:-1]], h.voice_top[order[1:]]
    both = (upper > 0) & (lower > 0)
    crossing = ((upper < lower) & both).sum(axis=1) / np.maximum(1, both.sum(axis=1))
    sounding = h.voice_top > 0
    overlap = (sounding & (sounding.sum(axis=0) > 1)).sum(axis=1) / np.maximum(1, sounding.sum(axis=1))
    values = (common.mean(), common.min(), crossing.mean(), overlap.mean())
    return {f"together.{name}": float(value) for name, value in zip(names, values, strict=True)}


def _form(h: Heard) -> dict[str, float]:
    """The whole texture: density, bars that return, and how bars resemble each other."""
    excerpt, n = h.excerpt, h.n_bars
    onsets = np.zeros(excerpt.length, dtype=np.bool_)
    onsets[excerpt.onsets] = True
    out = {"form.density": float(np.log(onsets.sum() / excerpt.length * excerpt.beat))}
    per_bar = np.bincount(h.bar_of, minlength=n)
    out["form.density_spread"] = float(per_bar.std() / max(0.1, per_bar.mean()))
    out["form.weight"], out["form.off_grid"] = float(h.weight.mean()), float((h.weight == 0).mean())
    out["form.silence"] = 1 - float(h.any.mean())
    out["form.empty_bars"] = float((per_bar == 0).mean())
    place = np.minimum(h.since, len(_HASHES) - 1)
    starts = np.flatnonzero(np.append(True, h.bar_of[1:] != h.bar_of[:-1]))
    bars = np.zeros((1, n), dtype=np.uint64)
    bars[0, h.bar_of[starts]] = np.add.reduceat(_HASHES[place, excerpt.pitches], starts)
    new = np.append(True, np.diff(excerpt.onsets) > 0)
    rhythms = np.zeros((1, n), dtype=np.uint64)
    rhythms[0, h.bar_of[starts]] = np.add.reduceat(np.where(new, _HASHES[place, 0], np.uint64(0)), starts)
    out["form.bars"], out["form.rhythms"] = float(_distinct(bars)[0]), float(_distinct(rhythms)[0])
    for name, values in (_returns(bars, "form.bar") | _returns(rhythms, "form.rhythm")).items():
        out[name] = float(values[0])
    changes = np.append(np.flatnonzero(bars[0, 1:] != bars[0, :-1]), n - 1)
    out["form.longest_same"] = float(np.log(np.diff(np.append(-1, changes)).max()))
    sums = np.concatenate([np.zeros((12, 1)), np.cumsum(h.class_count, axis=1)], axis=1)
    of_bar = np.diff(sums[:, h.edges], axis=1).T
    of_bar = of_bar / (np.sqrt((of_bar * of_bar).sum(axis=1, keepdims=True)) + 1e-9)
    alike = of_bar @ of_bar.T
    for lag in (1, 2, 4, 8):
        out[f"form.alike_{lag}"] = _mean(np.diagonal(alike, lag))
    out["form.alike"] = float((alike.sum() - n) / max(1, n * n - n))
    out["form.alike_nearby"] = out["form.alike_1"] - out["form.alike"]
    same = (rhythms[0][:, None] == rhythms[0][None]).astype(np.float64)
    out["form.same_rhythm"] = float((same.sum() - n) / max(1, n * n - n))
    if n > 6:
        row, column = np.triu_indices(n - 1, 2)
        out["form.diagonal"] = _correlation(alike[row, column], alike[row + 1, column + 1])
        out["form.rhythm_diagonal"] = _correlation(same[row, column], same[row + 1, column + 1])
    else:
        out["form.diagonal"] = out["form.rhythm_diagonal"] = np.nan
    order = excerpt.pitches + 128 * np.minimum(np.diff(excerpt.onsets, prepend=0), 192)
    out["form.complexity"] = _complexity(order.tolist())
    return out


def _ending(h: Heard) -> dict[str, float]:
    """How the piece closes; NaN where it goes on behind the excerpt."""
    names = ("sounds", "on_tonic", "triad", "tonic_chord", "dominant", "length", "melody_length", "melody_triad",
             "melody_tonic", "melody_weight", "melody_step", "melody_gap", "bass_step", "together")  # fmt: skip
    excerpt = h.excerpt
    out: dict[str, float] = {"start.in_triad": float((excerpt.pitches[0] - h.tonic) % 12 in (0, 3, 4, 7))}
    if not excerpt.has_end:
        return out | {f"end.{name}": np.nan for name in names}
    triad = (0, 3, 7) if h.minor else (0, 4, 7)
    held = excerpt.onsets + excerpt.durations > excerpt.length - STEPS // 3
    final = held if held.any() else excerpt.onsets == excerpt.onsets.max()
    pitches = excerpt.pitches[final]
    out["end.sounds"] = float(held.any())
    out["end.on_tonic"] = float((pitches.min() - h.tonic) % 12 == 0)
    out["end.triad"] = float(np.isin((pitches - h.tonic) % 12, (*triad, 4)).mean())
    degree = (ROOTS[h.chord[h.has_chord]] - h.tonic) % 12
    before = degree[-6:-1][degree[-6:-1] != degree[-1]]
    out["end.tonic_chord"] = float(degree[-1] == 0)
    out["end.dominant"] = float(len(before) > 0 and before[-1] in (7, 11))
    out["end.length"] = float(excerpt.length - excerpt.onsets.max()) / excerpt.bar
    last = len(h.pitch) - 1
    note = (h.pitch[last] - h.tonic) % 12
    mean_gap = h.total(h.gap)[-1] / h.count[-1]
    out["end.melody_length"] = float(np.log(h.gap[last] / mean_gap))
    out["end.melody_triad"], out["end.melody_tonic"] = float(note in triad), float(note == 0)
    out["end.melody_weight"] = float(h.line_weight[last])
    moved = last > 0 and bool(h.joined[last - 1])
    out["end.melody_step"] = float(abs(h.pitch[last] - h.pitch[last - 1])) if moved else np.nan
    out["end.melody_gap"] = float(excerpt.length - h.onset[last] - h.held[last]) / excerpt.bar
    low = h.lowest[h.beats]
    different = low[low != low[-1]] if len(low) else low
    out["end.bass_step"] = float((low[-1] - different[-1]) % 12 in (5, 7)) if len(different) else np.nan
    lasts = np.flatnonzero(h.ends)[: h.n_voices]
    out["end.together"] = float((h.onset[lasts] + h.held[lasts] >= excerpt.length - STEPS // 3).mean())
    return {"start.in_triad": out["start.in_triad"]} | {f"end.{name}": out[f"end.{name}"] for name in names}
