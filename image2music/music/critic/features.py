"""Numbers that tell human music from its imitations: lines, rhythm, key, chords, dissonance, form, the end.

Every feature is a share, a mean or a logarithm, so that long and short, thin and full pieces compare; NaN where it does
not apply (a solo has no counterpoint). What is counted line by line is counted for all voices at once.
"""

from __future__ import annotations

import numpy as np

from image2music.music.critic.hearing import (
    CHORD_BONUS,
    CHORD_TONES,
    FAMILIES,
    IN_SCALE,
    IS_SEVENTH,
    KEYS,
    ROOTS,
    SLICE,
    STEPS,
    Excerpt,
    Expectation,
    PieceHeard,
    centred,
    chord_keys,
)  # fmt: skip
from image2music.music.critic.line_features import (
    HASHES,
    complexity,
    correlation,
    distinct_share,
    entropies,
    line_features,
    mean_of,
    pairs_apart,
    ratio,
    returning,
    spread_of,
)  # fmt: skip

ALL = ("complexity", "melody_bits", "rhythm_bits", "bar_1", "smoothness", "odd", "outside", "pitches")
"""What is also looked at in the voice that has most and least of it."""
MELODY, OTHERS, MOST, LEAST = "melody", "others", "most", "least"


def critic_features(excerpt: Excerpt, surprise: Expectation) -> dict[str, float]:
    """Return every feature by name, in a fixed order.

    `melody` is the lead; the `others` are the voices but for the highest of those that play in three bars of ten.
    """
    heard = PieceHeard(excerpt)
    lines = line_features(heard, surprise)
    n = heard.n_voices
    main = int(np.where(lines["heard"][:n] > 0.3, np.round(heard.mean_pitch[:n], 6), -1.0).argmax())
    out = {f"{MELODY}.{name}": float(values[-1]) for name, values in lines.items()}
    names, table = list(lines), np.stack(list(lines.values()))[:, :n]
    known = ~np.isnan(table)
    others = np.arange(n) != main
    mean_others = ratio(np.where(known & others, table, 0.0).sum(axis=1), (known & others).sum(axis=1))
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


def _tonality(h: PieceHeard) -> dict[str, float]:
    total = h.class_count.sum(axis=1)
    best = np.sort(h.key_fit)
    out = {"key.fit": float(best[-1]), "key.margin": float(best[-1] - best[-2])}
    out["key.outside"] = 1 - float(IN_SCALE[h.key] @ total / total.sum())
    out["key.bits"] = float(entropies(total))
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
    out["key.moves"] = mean_of(local[1:] != local[:-1])
    out["key.alike"] = mean_of((shape[1:] * shape[:-1]).sum(axis=1))
    out["key.local_outside"] = float((1 - (spans * IN_SCALE[local]).sum(axis=1) / spans.sum(axis=1)).mean())
    return out


def _harmony(h: PieceHeard, surprise: Expectation) -> dict[str, float]:
    there = h.has_chord
    share, chord = h.chord_share[there], h.chord[there]
    root = ROOTS[chord]
    low = np.sort(share)
    out = {"chord.share": mean_of(share), "chord.least_share": float(low[int(0.1 * (len(low) - 1) + 0.5)])}
    out["chord.poor"] = mean_of(share < 0.8)
    out["chord.classes"] = float((h.share[there] > 0.05).sum(axis=1).mean())
    out["chord.changes"] = mean_of(root[1:] != root[:-1])
    counts = np.bincount(root, minlength=12)
    out["chord.roots"], out["chord.bits"] = float((counts > 0).sum()), float(entropies(counts.astype(np.float64)))
    out["chord.bass_is_root"] = float((h.bass[there] % 12 == root).mean())
    out["chord.rare"] = mean_of(FAMILIES[chord] > 1)
    out["chord.sevenths"] = mean_of(IS_SEVENTH[chord])
    out["chord.roots_outside"] = 1 - float(IN_SCALE[h.key][root].mean())
    struck = h.classes[:, h.windows].T
    inside = (struck * CHORD_TONES[h.chord]).sum(axis=1) / np.maximum(1, struck.sum(axis=1))
    on_bar = np.isin(h.windows, h.edges[:-1]) & there
    out["chord.struck"], out["chord.struck_on_bar"] = mean_of(inside[there]), mean_of(inside[on_bar])
    first = np.flatnonzero(on_bar)
    first = first[first > 0]
    over_bar = ROOTS[h.chord[first]] != ROOTS[h.chord[first - 1]]
    out["chord.changes_on_bar"] = mean_of(over_bar) - out["chord.changes"]
    chords, outer = chord_keys(h)
    bits = surprise.chords[chords]
    out["chord.surprise"], out["chord.surprise_spread"] = mean_of(bits), spread_of(bits)
    crossing = on_bar[there][1:]
    out["chord.surprise_over_bar"] = mean_of(bits[crossing]) - mean_of(bits[~crossing])
    bits = surprise.outer[outer]
    out["outer.surprise"] = mean_of(bits) if len(bits) > 3 else np.nan
    out["outer.shocks"] = mean_of(bits > 6) if len(bits) > 3 else np.nan
    for lag in (1, 2, 4, 8):
        back = len(root) * lag // h.n_bars
        out[f"chord.returns_{lag}"] = mean_of(root[back:] == root[:-back]) if 0 < back < len(root) else np.nan
    return out


def _fit(h: PieceHeard, melody: int) -> dict[str, float]:
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
    share, poor = ratio((inside * both).sum(axis=1), n_both), ratio(((inside < 0.5) & both).sum(axis=1), n_both)
    known = n_both > 0
    out = {"share": mean_of(share[known]), "least_share": float(share[known].min()) if known.any() else np.nan}
    out["poor"] = float(poor[known].max()) if known.any() else np.nan
    out["melody_share"], out["melody_poor"] = float(share[melody]), float(poor[melody])
    total = own.sum(axis=1)
    fit = (centred(total) * KEYS[h.key]).sum(axis=1)
    alike = (centred(total) * centred(total.sum(axis=0) - total)).sum(axis=1)
    out["key"], out["least_key"], out["classes"], out["least_classes"] = (
        mean_of(fit), float(fit.min()), mean_of(alike), float(alike.min())
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
    out["local_classes"], out["least_local_classes"] = mean_of(each), float(each.min()) if len(each) else np.nan
    return {f"fit.{name}": out[name] for name in names}


def _consonance(h: PieceHeard) -> dict[str, float]:
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
    out["pairs.clash"], out["pairs.beat_clash"] = mean_of(near), mean_of(near[on_beat])
    rough = np.zeros(h.n_slices + 2, dtype=np.int64)
    rough[1:-1][several] = semitone
    change = np.diff(rough)
    lengths = np.flatnonzero(change < 0) - np.flatnonzero(change > 0)
    out["pairs.long_clash"] = float(lengths[lengths >= h.excerpt.beat // SLICE].sum() / n)
    out["pairs.clash_length"] = mean_of(lengths) if len(lengths) else 0.0
    out["pairs.alone"] = 1 - n / max(1, int(h.any.sum()))
    return {name: out[name] for name in names}


def _outer_voices(h: PieceHeard) -> dict[str, float]:
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
    out["contrary"] = mean_of((np.sign(high_step) != np.sign(low_step))[both]) if both.sum() > 3 else np.nan
    out["oblique"] = mean_of((high_step != 0) ^ (low_step != 0))
    parallel = both & (high_step == low_step) & np.isin(apart[1:] % 12, (0, 7)) & two[1:]
    out["parallels"] = parallel.sum() / max(1, both.sum())
    out["bass_leap"] = mean_of(np.abs(low_step)[low_step != 0])
    return {f"outer.{name}": float(out[name]) for name in names}


def _together(h: PieceHeard) -> dict[str, float]:
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


def _form(h: PieceHeard) -> dict[str, float]:
    """The whole texture: density, bars that return, and how bars resemble each other."""
    excerpt, n = h.excerpt, h.n_bars
    onsets = np.zeros(excerpt.length, dtype=np.bool_)
    onsets[excerpt.onsets] = True
    out = {"form.density": float(np.log(onsets.sum() / excerpt.length * excerpt.beat))}
    per_bar = np.bincount(h.bar_of, minlength=n)
    out["form.density_spread"] = float(per_bar.std() / max(0.1, per_bar.mean()))
    out["form.weight"], out["form.off_grid"] = mean_of(h.weight), mean_of(h.weight == 0)
    out["form.silence"] = 1 - mean_of(h.any)
    out["form.empty_bars"] = mean_of(per_bar == 0)
    place = np.minimum(h.since, len(HASHES) - 1)
    starts = np.flatnonzero(np.append(True, h.bar_of[1:] != h.bar_of[:-1]))
    bars = np.zeros((1, n), dtype=np.uint64)
    bars[0, h.bar_of[starts]] = np.add.reduceat(HASHES[place, excerpt.pitches], starts)
    new = np.append(True, np.diff(excerpt.onsets) > 0)
    rhythms = np.zeros((1, n), dtype=np.uint64)
    rhythms[0, h.bar_of[starts]] = np.add.reduceat(np.where(new, HASHES[place, 0], np.uint64(0)), starts)
    out["form.bars"], out["form.rhythms"] = float(distinct_share(bars)[0]), float(distinct_share(rhythms)[0])
    for name, values in (returning(bars, "form.bar") | returning(rhythms, "form.rhythm")).items():
        out[name] = float(values[0])
    changes = np.append(np.flatnonzero(bars[0, 1:] != bars[0, :-1]), n - 1)
    out["form.longest_same"] = float(np.log(np.diff(np.append(-1, changes)).max()))
    sums = np.concatenate([np.zeros((12, 1)), np.cumsum(h.class_count, axis=1)], axis=1)
    of_bar = np.diff(sums[:, h.edges], axis=1).T
    of_bar = of_bar / (np.sqrt((of_bar * of_bar).sum(axis=1, keepdims=True)) + 1e-9)
    alike = of_bar @ of_bar.T
    for lag in (1, 2, 4, 8):
        out[f"form.alike_{lag}"] = mean_of(np.diagonal(alike, lag))
    out["form.alike"] = float((alike.sum() - n) / max(1, n * n - n))
    out["form.alike_nearby"] = out["form.alike_1"] - out["form.alike"]
    same = (rhythms[0][:, None] == rhythms[0][None]).astype(np.float64)
    out["form.same_rhythm"] = float((same.sum() - n) / max(1, n * n - n))
    if n > 6:
        row, column = pairs_apart(n - 1)
        out["form.diagonal"] = correlation(alike[row, column], alike[row + 1, column + 1])
        out["form.rhythm_diagonal"] = correlation(same[row, column], same[row + 1, column + 1])
    else:
        out["form.diagonal"] = out["form.rhythm_diagonal"] = np.nan
    order = excerpt.pitches + 128 * np.minimum(np.diff(excerpt.onsets, prepend=0), 192)
    out["form.complexity"] = complexity(order.tolist())
    return out


def _ending(h: PieceHeard) -> dict[str, float]:
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
