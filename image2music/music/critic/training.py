"""Train the critic: read human scores, spoil them, fit_critic, write the weights.

`python -m image2music.music.critic.training --data DIR` reads DIR/lieder and DIR/quartets (`.mxl`), DIR/hymns (`.abc`)
and, from music21's corpus, Bach's chorales and the fiddle tunes of O'Neill, Aird and Ryan. Nothing else of that corpus
is used. Needs torch.
"""

from __future__ import annotations

import argparse
import csv
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm

from image2music.errors import Image2MusicError
from image2music.music.critic.corruptions import CORRUPTIONS, DEGENERATE, Maker
from image2music.music.critic.features import critic_features
from image2music.music.critic.hearing import (
    EXPECTATION_SIZES,
    INTERVALS,
    STEPS,
    Excerpt,
    Expectation,
    Floats,
    Ints,
    PieceHeard,
    chord_keys,
    excerpt_of,
    melody_keys,
)  # fmt: skip
from image2music.music.critic.model import SCORER_RANGE, WEIGHTS, Critic, Scorer, Texture, gated, save_critic
from image2music.music.musicxml import read_musicxml
from image2music.music.score import Score

KINDS = {"solo": 1.0, "song": 1.0, "quartet": 1.5, "hymn": 0.6, "chorale": 0.3}
"""How much each kind of music weighs among human music."""
HUMAN = "human"
_LEVELS = np.linspace(0.005, 0.995, 41)
_SHRINK = 2.0
_SCORER_FOLDS = 3


@dataclass(frozen=True)
class HumanPiece:
    """A human piece. Pieces of one `group` (composer; like openings of tunes) stand on one side of a split."""

    name: str
    kind: str
    group: str
    score: Score


@dataclass(frozen=True)
class Example:
    """The features of an excerpt: of human music (`label` is `HUMAN`), or of what a maker of that label made of it."""

    label: str
    kind: str
    group: str
    n_voices: int
    row: Floats
    empty_voices: int = 0
    source: int = 0


def read_pieces(data: Path) -> list[HumanPiece]:
    """Read all human pieces; files that cannot be read are named and left out."""
    # Rooms import downward only, and ABC lies above: its reader is found by name when the program runs.
    read_abc = resolve_name("image2music.abc.playback:abc_to_score")
    with open(data / "INDEX.csv", encoding="utf-8") as file:
        composers = {row["path"]: row["composer"] for row in csv.DictReader(file)}
    from music21 import corpus

    shelf = Path(next(iter(corpus.getComposer("ryansMammoth")))).parents[1]
    pieces = []
    for kind, place in (("song", data / "lieder"), ("quartet", data / "quartets"), ("chorale", shelf / "bach")):
        for path in sorted(place.glob("*.mxl")):
            group = composers.get(f"{place.name}/{path.name}") or path.stem
            pieces += _read(path.stem, kind, group, partial(_read_staves, path))
    for path in sorted((data / "hymns").glob("*.abc")):
        pieces += _read(path.stem, "hymn", path.stem, partial(read_abc, _plain(path)))
    for folder in ("oneills1850", "airdsAirs", "ryansMammoth"):
        for path in sorted((shelf / folder).glob("*.abc")):
            for text in re.split(r"(?m)^(?=X:)", _plain(path))[1:]:
                name = f"{path.stem} {text.partition(chr(10))[0]}"
                pieces += [_grouped(piece) for piece in _read(name, "solo", name, partial(read_abc, text))]
    return pieces


def _read_staves(path: Path) -> Score:
    return read_musicxml(path.read_bytes(), by="staff")


def _plain(path: Path) -> str:
    """Return ABC without grace notes."""
    return re.sub(r"\{[^}\n]*\}", "", path.read_text(encoding="utf-8", errors="replace"))


def _read(name: str, kind: str, group: str, read: Callable[[], Score]) -> list[HumanPiece]:
    try:
        return [HumanPiece(name, kind, group, read())]
    except Image2MusicError as error:
        print(f"left out {name}: {error}")
        return []


def _grouped(piece: HumanPiece) -> HumanPiece:
    """Group a tune by its first nine intervals: collections share tunes under other names."""
    opening = np.diff(piece.score.tracks[0].pitches[:10]).tolist()
    return replace(piece, group=" ".join(map(str, opening)))


def share_of(group: str) -> float:
    """Return where a group falls between 0 and 1, the same on all machines."""
    return int.from_bytes(sha256(group.encode()).digest()[:4], "big") / 2**32


def split(pieces: Sequence[HumanPiece]) -> dict[str, list[HumanPiece]]:
    """Split by group: pieces for the tables of surprise (30 %), for the critic (55 %), kept aside (15 %)."""
    parts: dict[str, list[HumanPiece]] = {"surprise": [], "critic": [], "test": []}
    for piece in pieces:
        share = share_of(f"{piece.kind} {piece.group}")
        parts["surprise" if share < 0.3 else "critic" if share < 0.85 else "test"].append(piece)
    return parts


MOST_PIECES = {"solo": 600, "song": 500}
"""Of the kinds that have very many pieces, so many at most train the critic."""
_MOST_VOICES, _FEWEST_NOTES, _FEWEST_BARS = 6, 30, 8


def excerpts_of(piece: HumanPiece, dice: np.random.Generator) -> list[Excerpt]:
    """Return the end of a piece, 16 to 24 bars, or the whole if it is short; of quartets two places inside as well."""
    whole = excerpt_of(piece.score)
    if whole is None:
        return []
    n = int(dice.integers(16, 25))
    if whole.n_bars <= 40 and dice.random() < 0.5:
        n = whole.n_bars
    starts = [max(0, whole.n_bars - n)]
    if piece.kind == "quartet" and whole.n_bars > 3 * n:
        starts += [int(start) for start in dice.integers(0, whole.n_bars - 2 * n, 2)]
    found = []
    for number, start in enumerate(starts):
        score = _cut(piece.score, whole, start, min(start + n, whole.n_bars))
        part = excerpt_of(score)
        if (
            part is not None
            and part.n_voices <= _MOST_VOICES
            and part.n_bars >= _FEWEST_BARS
            and len(part.onsets) >= _FEWEST_NOTES
        ):
            found.append(replace(part, empty_voices=0, has_end=number == 0))
    return found


def _cut(score: Score, whole: Excerpt, first: int, last: int) -> Score:
    """Return bars `first` to before `last` of a score, with the meters that are in force there."""
    step = score.ticks_per_quarter // STEPS
    silent = min(int(track.onsets.min()) for track in score.tracks if len(track) and not track.is_drum)
    begin = silent - int(whole.onsets.min()) * step
    low, high = begin + int(whole.bars[first]) * step, begin + int(whole.bars[last]) * step
    tracks = []
    for track in score.tracks:
        inside = (track.onsets >= low) & (track.onsets < high)
        onsets = track.onsets[inside] - low
        durations = np.minimum(track.durations[inside], high - low - onsets)
        tracks.append(
            replace(
                track,
                onsets=onsets,
                durations=durations,
                pitches=track.pitches[inside],
                velocities=track.velocities[inside],
            )
        )
    before = [change for change in score.meters if change.tick <= low][-1:]
    later = [change for change in score.meters if low < change.tick < high]
    meters = [replace(change, tick=max(0, change.tick - low)) for change in [*before, *later]]
    return Score(score.ticks_per_quarter, tuple(tracks), meters=tuple(meters))


def count_surprise(excerpts: Iterable[Excerpt]) -> Expectation:
    """Count what follows what in whole pieces, and return bits of information, smoothed by shorter contexts."""
    counts = {name: np.zeros(size) for name, size in EXPECTATION_SIZES.items()}
    for excerpt in excerpts:
        heard = PieceHeard(excerpt)
        for names, keys in ((("melody", "rhythm"), melody_keys(heard)), (("chords", "outer"), chord_keys(heard))):
            for name, key in zip(names, keys, strict=True):
                np.add.at(counts[name], key, 1)
    return Expectation(
        _bits(counts["melody"].reshape(24, 32, INTERVALS), 1, 8.0),
        _bits(counts["rhythm"].reshape(24, 12, 11), 0, 8.0),
        _bits(counts["chords"].reshape(2, 48, 48), 0, 10.0),
        _bits(counts["outer"].reshape(2, 13 * 12, 12), 0, 10.0),
    )


def _bits(counts: Floats, axis: int, weight: float) -> Floats:
    """Blend each context with the sum over `axis`, and that with the sum over all contexts."""
    everything = counts.sum(axis=(0, 1)) + 1
    beside = counts.sum(axis=axis, keepdims=True)
    wide = (beside + weight * everything / everything.sum()) / (beside.sum(axis=2, keepdims=True) + weight)
    narrow = (counts + weight * wide) / (counts.sum(axis=2, keepdims=True) + weight)
    return -np.log2(narrow).ravel()


def make_examples(
    pieces: Sequence[HumanPiece],
    surprise: Expectation,
    makers: Mapping[str, Maker],
    seed: int = 0,
    *,
    n_degenerate: int = 150,
    degenerate: Mapping[str, Maker] = DEGENERATE,
) -> list[Example]:
    """Return the features of human excerpts, of each spoiled in every way, and of degenerate tunes."""
    dice = np.random.Generator(np.random.Philox(seed))
    excerpts = [(piece, excerpt) for piece in pieces for excerpt in excerpts_of(piece, dice)]
    pools: dict[str, list[Excerpt]] = {}
    for piece, excerpt in excerpts:
        pools.setdefault(piece.kind, []).append(excerpt)
    examples = []

    def add(label: str, piece: HumanPiece, excerpt: Excerpt, source: int) -> None:
        row = np.array(list(critic_features(excerpt, surprise).values()))
        kind, group = piece.kind, f"{piece.kind} {piece.group}"
        examples.append(Example(label, kind, group, excerpt.n_voices, row, excerpt.empty_voices, source))

    for source, (piece, excerpt) in enumerate(excerpts):
        add(HUMAN, piece, excerpt, source)
        if not excerpt.has_end:
            continue
        for label, make in makers.items():
            bad = make(excerpt, dice, pools[piece.kind])
            if bad is not None and len(bad.onsets) > 4 and not _same(bad, excerpt):
                add(label, piece, bad, source)
    with_end = [(piece, excerpt) for piece, excerpt in excerpts if excerpt.has_end]
    for label, make in degenerate.items():
        for _ in range(n_degenerate):
            piece, excerpt = with_end[int(dice.integers(len(with_end)))]
            bad = make(excerpt, dice, pools[piece.kind])
            if bad is not None:
                add(label, piece, bad, -1)
    return examples


def _same(one: Excerpt, two: Excerpt) -> bool:
    """Say whether next to nothing was changed: equal rhythm where the piece is so already."""
    if len(one.onsets) != len(two.onsets) or one.length != two.length:
        return False
    kept = (one.onsets == two.onsets) & (one.durations == two.durations) & (one.pitches == two.pitches)
    return int((~kept).sum()) < (0.03 * len(kept) if (one.pitches == two.pitches).all() else 1)


def _weights(examples: Sequence[Example], kinds: Mapping[str, float] = KINDS) -> Floats:
    """Let kinds of music weigh what `kinds` says, whatever their number, and n pieces of a composer only as root n."""
    groups = Counter(example.group for example in examples)
    weights = np.array([groups[example.group] ** -0.5 for example in examples])
    sums: Counter[str] = Counter()
    for example, weight in zip(examples, weights.tolist(), strict=True):
        sums[example.kind] += weight
    return weights * np.array([kinds[example.kind] / sums[example.kind] for example in examples])


def _quantiles(values: Floats, weights: Floats, levels: Floats) -> Floats:
    """Return weighted quantiles of a column."""
    order = np.argsort(values, kind="stable")
    places = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(levels, places / weights.sum(), values[order])


def _middle(values: Floats, weights: Floats) -> tuple[float, float]:
    """Return median and half of the distance between the 16th and the 84th percentile."""
    low, median, high = _quantiles(values, weights, np.array([0.16, 0.5, 0.84])).tolist()
    return median, (high - low) / 2 + 1e-6


def fit_texture(rows: Floats, weights: Floats, folds: Ints) -> tuple[Texture, Floats]:
    """Fit z-scores and distance to human excerpts [n, all].

    Also returns their typicality, float[n], each by the distance that the other `folds` (0-4) give.
    """
    missing = np.isnan(rows)
    columns = np.flatnonzero((missing.mean(axis=0) < 0.5) & (np.nanstd(rows, axis=0) > 1e-6))
    quantiles, widths = [], []
    for column in columns:
        there = ~missing[:, column]
        values, weight = rows[there, column], weights[there]
        quantiles.append(_quantiles(values, weight, _LEVELS))
        low, high = _quantiles(values, weight, np.array([0.1, 0.9])).tolist()
        widths.append(max(high - low, 0.3 * float(values.std())) + 1e-6)
    steps = np.arange(len(_LEVELS))[:, None] * 1e-7
    unit = np.array([[0.0, 0.0], [1.0, 1.0]])
    texture = Texture(
        columns, norm.ppf(_LEVELS), np.stack(quantiles, axis=1) + steps, np.array(widths), np.zeros(len(columns)),
        np.eye(len(columns)), unit, unit, np.array([0.0, 1.0]),
    )  # fmt: skip
    z = texture.z_scores(rows)
    nearness = np.zeros((len(z), 2))
    for fold in range(5):
        out = folds == fold
        nearness[out] = _shaped(texture, z[~out], weights[~out]).nearness(z[out])
    typical = np.array([_middle(column, weights) for column in nearness.T]).T
    unseen = ((nearness - typical[0]) / typical[1]).mean(axis=1)
    return replace(_shaped(texture, z, weights), typical=typical), unseen


def _shaped(texture: Texture, z: Floats, weights: Floats) -> Texture:
    share = weights / weights.sum()
    centre = share @ z
    covariance = (z - centre).T @ ((z - centre) * share[:, None])
    values, vectors = np.linalg.eigh(covariance)
    return replace(texture, centre=centre, whitening=vectors / np.sqrt(np.maximum(values, 0) + _SHRINK))


def _pairs(examples: Sequence[Example], dice: np.random.Generator) -> tuple[Ints, Ints, Floats]:
    """Return good, bad and weight of pairs: each spoiled excerpt with its own, degenerate ones with six of any."""
    own = {example.source: n for n, example in enumerate(examples) if example.label == HUMAN}
    humans = np.array(list(own.values()))
    labels = [example.label for example in examples]
    good, bad, weight = [], [], []
    for n, example in enumerate(examples):
        if example.label == HUMAN:
            continue
        partners = [own[example.source]] if example.source in own else dice.choice(humans, 6).tolist()
        for partner in partners:
            good.append(partner)
            bad.append(n)
            weight.append(1 / labels.count(example.label) / len(partners))
    weights = np.array(weight)
    return np.array(good), np.array(bad), weights / weights.mean()


def fit_scorer(z: Floats, examples: Sequence[Example], seed: int, *, steps: int = 700) -> Scorer:
    """Train the linear ranker and the network on pairs; z [n, all]."""
    dice = np.random.Generator(np.random.Philox(seed))
    good, bad, weight = _pairs(examples, dice)
    both = np.concatenate([z, np.abs(z)], axis=1)
    difference = both[good] - both[bad]

    def loss(vector: Floats) -> tuple[float, Floats]:
        margin = difference @ vector
        value = (weight * np.logaddexp(0, -margin)).mean() + 0.002 * vector @ vector
        slope = -(weight / (1 + np.exp(np.clip(margin, -50, 50)))) @ difference / len(margin)
        return float(value), slope + 0.004 * vector

    vector = minimize(loss, np.zeros(both.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    n = z.shape[1]
    return Scorer(vector[:n], vector[n:], _network(z, good, bad, weight, seed, steps))


def _network(
    z: Floats, good: Ints, bad: Ints, weight: Floats, seed: int, steps: int
) -> tuple[tuple[Floats, Floats], ...]:
    import torch

    torch.manual_seed(seed)
    rows = torch.tensor(z / 2, dtype=torch.float32)
    left, right = torch.tensor(good), torch.tensor(bad)
    weights = torch.tensor(weight, dtype=torch.float32)
    network = torch.nn.Sequential(
        torch.nn.Dropout(0.2), torch.nn.Linear(z.shape[1], 48), torch.nn.GELU(), torch.nn.Dropout(0.3),
        torch.nn.Linear(48, 16), torch.nn.GELU(), torch.nn.Linear(16, 1),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    size = 768
    for _ in range(steps):
        chosen = torch.randint(0, len(left), (size,))
        scores = network(rows[torch.cat([left[chosen], right[chosen]])])[:, 0]
        margin = scores[:size] - scores[size:]
        loss = (torch.nn.functional.softplus(-margin) * weights[chosen]).mean() + 1e-3 * (scores * scores).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    layers = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    return tuple(
        (layer.weight.detach().numpy().astype(np.float64).T, layer.bias.detach().numpy().astype(np.float64))
        for layer in layers
    )


def fit_critic(examples: Sequence[Example], names: Sequence[str], surprise: Expectation, seed: int = 0) -> Critic:
    """Fit everything; the scales come from human excerpts that the part in question was not fitted on."""
    humans = [example for example in examples if example.label == HUMAN]
    textures, typicalities = [], []
    for is_solo in (True, False):
        own = [example for example in humans if _shows(example, is_solo)]
        folds = np.array([int(share_of(example.group) * 1e6) % 5 for example in own])
        texture, unseen = fit_texture(np.stack([example.row for example in own]), _weights(own), folds)
        textures.append(texture)
        typicalities.append(unseen)
    nothing = Scorer(np.zeros(len(names)), np.zeros(len(names)), ())
    critic = Critic(tuple(names), surprise, textures[0], textures[1], nothing)
    z = np.concatenate([_z(critic, example) for example in examples])
    fold = np.array([int(share_of(example.group) * 1e6) % _SCORER_FOLDS for example in examples])
    raw = np.zeros((len(examples), 2))
    for number in range(_SCORER_FOLDS):
        inside = np.flatnonzero(fold != number)
        scorer = fit_scorer(z[inside], [examples[n] for n in inside.tolist()], seed)
        raw[fold == number] = scorer.raw(z[fold == number])
    scaled = [
        _scaled(texture, raw, unseen, examples, is_solo)
        for texture, unseen, is_solo in zip(textures, typicalities, (True, False), strict=True)
    ]
    return replace(critic, solo=scaled[0], several=scaled[1], scorer=fit_scorer(z, examples, seed))


def _shows(example: Example, is_solo: bool) -> bool:
    """Say whether an example shows a texture: fiddle tunes that of one voice, all other kinds that of several."""
    return (example.n_voices == 1) == is_solo and (example.kind == "solo") == is_solo


def _z(critic: Critic, example: Example) -> Floats:
    texture = critic.texture(example.n_voices)
    return critic.spread(texture.z_scores(example.row[None]), texture)


def _scaled(texture: Texture, raw: Floats, unseen: Floats, examples: Sequence[Example], is_solo: bool) -> Texture:
    """Return a texture with the scales of its scorers and of the whole; all kinds count the same for these."""
    own = [n for n, example in enumerate(examples) if example.label == HUMAN and _shows(example, is_solo)]
    weights = _weights([examples[n] for n in own], {**dict.fromkeys(KINDS, 1.0), "chorale": KINDS["chorale"]})
    scorers = np.array([_middle(column, weights) for column in raw[own].T]).T
    mixed = np.clip((raw[own] - scorers[0]) / scorers[1], *SCORER_RANGE).mean(axis=1)
    return replace(texture, scorers=scorers, final=np.array(_middle(gated(mixed, unseen), weights)))


def cached_pieces(data: Path, cache: Path | None) -> list[HumanPiece]:
    """Read the pieces, or what an earlier call left at `cache` (a pickle of ours)."""
    if cache is not None and cache.exists():
        with cache.open("rb") as file:
            kept: list[HumanPiece] = pickle.load(file)
        return kept
    pieces = read_pieces(data)
    if cache is not None:
        with cache.open("wb") as file:
            pickle.dump(pieces, file)
    return pieces


def chosen_pieces(pieces: Sequence[HumanPiece], most: Mapping[str, int] = MOST_PIECES) -> list[HumanPiece]:
    """Leave out pieces of kinds that have more than `most`; which, their names decide."""
    counts: dict[str, int] = {}
    chosen = []
    for piece in sorted(pieces, key=lambda piece: share_of(piece.name)):
        counts[piece.kind] = counts.get(piece.kind, 0) + 1
        if counts[piece.kind] <= most.get(piece.kind, len(pieces)):
            chosen.append(piece)
    return chosen


def surprise_of(pieces: Sequence[HumanPiece]) -> Expectation:
    """Return the tables of whole pieces."""
    return count_surprise(excerpt for piece in pieces if (excerpt := excerpt_of(piece.score)) is not None)


def feature_names(pieces: Sequence[HumanPiece], surprise: Expectation) -> list[str]:
    """Return the names of the features in order."""
    return list(critic_features(excerpts_of(pieces[0], np.random.Generator(np.random.Philox(0)))[0], surprise))


def critic_options(
    description: str | None, output: Path, seed: int, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Read where scores lie and where weights go."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with INDEX.csv, lieder, quartets, hymns")
    parser.add_argument("--cache", type=Path, help="keep the scores that were read here, for the next time")
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--seed", type=int, default=seed)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write the weights."""
    options = critic_options(__doc__, WEIGHTS, 0, arguments)
    train_critic(split(cached_pieces(options.data, options.cache)), options.seed, options.output)


def train_critic(
    parts: Mapping[str, Sequence[HumanPiece]], seed: int, output: Path
) -> tuple[list[HumanPiece], list[Example], Expectation]:
    """Train on the parts `surprise` and `critic`, write the weights, and return what was learned from."""
    surprise = surprise_of(chosen_pieces(parts["surprise"]))
    pieces = chosen_pieces(parts["critic"])
    examples = make_examples(pieces, surprise, CORRUPTIONS, seed)
    save_critic(fit_critic(examples, feature_names(pieces, surprise), surprise, seed), output)
    return pieces, examples, surprise


if __name__ == "__main__":
    main()
