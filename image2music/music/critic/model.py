"""The critic: typicality of human music as a gate on a scorer that was taught by pairs. numpy alone.

Features become z-scores by ranks among human pieces, for one voice and for several apart. *Typicality* is how near they
lie to the middle of human music (fitted on human music alone), the *scorer* was trained to prefer human excerpts to
their corruptions. `CARD.md` beside the weights tells of both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.special import erf

from image2music.music.critic.features import critic_features
from image2music.music.critic.hearing import EXPECTATION_SIZES, Excerpt, Expectation, Floats, Ints, excerpt_of
from image2music.music.score import Score

WEIGHTS = Path(__file__).with_name("weights") / "critic.npz"
CRITIC_VERSION = 1
"""Raised whenever another score comes out for the same notes."""

EMPTY_VOICE = 3.0
"""What a declared voice that is silent costs of typicality."""
LOWEST, HIGHEST = -10.0, 3.0
_LONGEST = 40
_WINDOW = 32
_STEEP = 2.5
_HAIR = 1e-4
_FURTHEST = 6.0
SCORER_RANGE = (-8.0, 3.0)
_ORDINARY = 0.5
_STRANGE = -1.0
_DEEP = 4.0


@dataclass(frozen=True)
class Judgement:
    """`score` is 0 for a middling human piece with as many voices, in standard deviations of human pieces, -10 to 3.

    `typicality` and `scorer` are its two sources, on the same scale. Differences below about one unit say nothing.
    """

    score: float
    typicality: float
    scorer: float


@dataclass(frozen=True)
class Texture:
    """What is known of human music in one voice, or in several.

    `columns` int64[k] are the features that count; `quantiles` [41, k] and `widths` [k] make z-scores of them with
    `normal` [41]; `centre` [k] and `whitening` [k, k] give the distance. `typical`, `scorers` [2, 2] and `final` [2]
    are medians and spreads of human pieces.
    """

    columns: Ints
    normal: Floats
    quantiles: Floats
    widths: Floats
    centre: Floats
    whitening: Floats
    typical: Floats
    scorers: Floats
    final: Floats

    def z_scores(self, rows: Floats) -> Floats:
        """Return float[n, k] from features [n, all]: normal by rank, growing steadily outside; 0 where missing."""
        values = rows[:, self.columns]
        # Just below and just above: a value that many pieces share has the middle of their ranks.
        z = (self._interpolated(values - _HAIR * self.widths) + self._interpolated(values + _HAIR * self.widths)) / 2
        z += _STEEP * np.maximum(values - self.quantiles[-1], 0) / self.widths
        z -= _STEEP * np.maximum(self.quantiles[0] - values, 0) / self.widths
        return np.where(np.isnan(values), 0.0, np.clip(z, -_FURTHEST, _FURTHEST))

    def _interpolated(self, values: Floats) -> Floats:
        steps = len(self.quantiles) - 1
        place = np.clip((values[:, None] > self.quantiles).sum(axis=1) - 1, 0, steps - 1)
        column = np.arange(values.shape[1])
        low, high = self.quantiles[place, column], self.quantiles[place + 1, column]
        share = np.clip((values - low) / (high - low), 0.0, 1.0)
        return self.normal[place] * (1 - share) + self.normal[place + 1] * share

    def nearness(self, z: Floats) -> Floats:
        """Return minus the shrunk Mahalanobis distance and minus the root mean square, [n, 2]."""
        far = np.sqrt((((z - self.centre) @ self.whitening) ** 2).mean(axis=1))
        return -np.stack([far, np.sqrt((z * z).mean(axis=1))], axis=1)

    def typicality(self, z: Floats) -> Floats:
        """Return float[n], standardised."""
        return ((self.nearness(z) - self.typical[0]) / self.typical[1]).mean(axis=1)


@dataclass(frozen=True)
class Scorer:
    """A linear ranker on z and |z|, and a network of two hidden layers."""

    plain: Floats
    absolute: Floats
    layers: tuple[tuple[Floats, Floats], ...]

    def raw(self, z: Floats) -> Floats:
        """Return both scores of z-scores over all features, [n, 2]."""
        linear = z @ self.plain + np.abs(z) @ self.absolute
        hidden = z / 2
        for number, (weight, bias) in enumerate(self.layers):
            if number:
                hidden = 0.5 * hidden * (1 + erf(hidden / np.sqrt(2)))
            hidden = hidden @ weight + bias
        return np.stack([linear, hidden[:, 0]], axis=1)


@dataclass(frozen=True)
class Critic:
    """Everything that is needed to judge a piece; `names` are the features in order."""

    names: tuple[str, ...]
    surprise: Expectation
    solo: Texture
    several: Texture
    scorer: Scorer

    def texture(self, n_voices: int) -> Texture:
        """Return what an excerpt of so many voices is measured by."""
        return self.solo if n_voices == 1 else self.several

    def spread(self, z: Floats, texture: Texture) -> Floats:
        """Return z-scores over all features, those that do not count 0; the same length for all textures."""
        rows = np.zeros((len(z), len(self.names)))
        rows[:, texture.columns] = z * np.sqrt(len(self.names) / len(texture.columns))
        return rows

    def judge_rows(self, rows: Floats, n_voices: int, empty_voices: int = 0) -> Floats:
        """Return score, typicality and scorer of features [n, all], [n, 3]."""
        texture = self.texture(n_voices)
        z = texture.z_scores(rows)
        typicality = texture.typicality(z) - EMPTY_VOICE * min(empty_voices, 2)
        raw = (self.scorer.raw(self.spread(z, texture)) - texture.scorers[0]) / texture.scorers[1]
        scorer = np.clip(raw, *SCORER_RANGE).mean(axis=1)
        score = (gated(scorer, typicality) - texture.final[0]) / texture.final[1]
        return np.stack([_within_scale(score), np.clip(typicality, -12, 6), scorer], axis=1)

    def row(self, excerpt: Excerpt) -> Floats:
        """Return the features of an excerpt, [all]."""
        return np.array(list(critic_features(excerpt, self.surprise).values()))

    def judge(self, excerpts: Sequence[Excerpt]) -> Judgement:
        """Judge excerpts of one piece, the mean of them all."""
        each = [self.judge_rows(self.row(part)[None], part.n_voices, part.empty_voices)[0] for part in excerpts]
        score, typicality, scorer = np.mean(each, axis=0).tolist()
        return Judgement(round(score, 6), round(typicality, 6), round(scorer, 6))


def gated(scorer: Floats, typicality: Floats) -> Floats:
    """Join both: half of the scorer, and typicality, which gains nothing above `_ORDINARY`, is double below `_STRANGE`.

    What a corruption never showed, the scorer cannot know; what is merely ordinary, typicality should not reward.
    """
    return scorer / 2 + np.minimum(typicality, _ORDINARY) - np.maximum(0.0, _STRANGE - typicality)


def _within_scale(scores: Floats) -> Floats:
    """Keep scores between the bounds; below -4 they fall ever more slowly, so that bad tunes still differ."""
    deep = np.maximum(0.0, -_DEEP - scores)
    return np.clip(np.where(deep > 0, -_DEEP - _DEEP * np.log1p(deep / _DEEP), scores), LOWEST, HIGHEST)


def criticise(score: Score, empty_voices: int = 0) -> Judgement | None:
    """Judge a piece by its notes; None where no pitched note sounds. Velocities, instruments and tempo do not count.

    Tracks that are empty, or hold one note, are declared voices that are silent, and cost; `empty_voices` adds those
    that the score has no track for, as played ABC has none. Pieces of more than 40 bars are judged in parts of at most
    32.
    """
    excerpt = excerpt_of(score, empty_voices)
    return None if excerpt is None else load_critic().judge(windows(excerpt))


def windows(excerpt: Excerpt) -> list[Excerpt]:
    """Return the whole, or parts of equal length of a long piece; those without two notes are left out."""
    if excerpt.n_bars <= _LONGEST:
        return [excerpt]
    n = -(-excerpt.n_bars // _WINDOW)
    edges = np.linspace(0, excerpt.n_bars, n + 1).round().astype(int).tolist()
    parts = [excerpt.part(first, last) for first, last in pairwise(edges) if last > first]
    return [part for part in parts if len(part.onsets) > 1] or [excerpt]


@cache
def load_critic(path: Path = WEIGHTS) -> Critic:
    """Read the weights once a process."""
    with np.load(path) as arrays:
        names = tuple(json.loads(str(arrays["names"])))
        textures = [_texture(arrays, kind) for kind in ("solo", "several")]
        surprise = Expectation(*(arrays[f"surprise.{name}"].astype(np.float64) for name in EXPECTATION_SIZES))
        n_layers = sum(name.endswith(".weight") for name in arrays.files)
        layers = tuple(
            (arrays[f"layer{n}.weight"].astype(np.float64), arrays[f"layer{n}.bias"].astype(np.float64))
            for n in range(n_layers)
        )
        plain, absolute = arrays["plain"].astype(np.float64), arrays["absolute"].astype(np.float64)
    return Critic(names, surprise, textures[0], textures[1], Scorer(plain, absolute, layers))


_TEXTURE_FIELDS = ("normal", "quantiles", "widths", "centre", "whitening", "typical", "scorers", "final")


def _texture(arrays: np.lib.npyio.NpzFile, kind: str) -> Texture:
    values = [arrays[f"{kind}.{name}"].astype(np.float64) for name in _TEXTURE_FIELDS]
    quantiles = values[1]
    # Equal quantiles would divide by zero.
    values[1] = quantiles + np.arange(len(quantiles))[:, None] * 1e-7
    return Texture(arrays[f"{kind}.columns"].astype(np.int64), *values)


def save_critic(critic: Critic, path: Path) -> None:
    """Write the weights, float32, compressed."""
    arrays: dict[str, np.ndarray] = {"names": np.array(json.dumps(critic.names))}
    for kind, texture in (("solo", critic.solo), ("several", critic.several)):
        arrays[f"{kind}.columns"] = texture.columns.astype(np.int16)
        arrays |= {f"{kind}.{name}": getattr(texture, name).astype(np.float32) for name in _TEXTURE_FIELDS}
    arrays |= {f"surprise.{name}": getattr(critic.surprise, name).astype(np.float16) for name in EXPECTATION_SIZES}
    for number, (weight, bias) in enumerate(critic.scorer.layers):
        arrays |= {f"layer{number}.weight": weight.astype(np.float32), f"layer{number}.bias": bias.astype(np.float32)}
    arrays |= {"plain": critic.scorer.plain.astype(np.float32), "absolute": critic.scorer.absolute.astype(np.float32)}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
