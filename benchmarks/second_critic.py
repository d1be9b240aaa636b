"""A second critic, for measuring alone: taught by the composers that the shipped one was not fitted to.

`python -m benchmarks.second_critic --data DIR [--cache FILE] [--output build/second_critic.npz]` trains it and prints
where human pieces of composers that it has never seen stand. DIR is what `image2music.music.critic.training` reads.
The shipped critic's textures and scorer come from the composers whose hash falls in [.3, .85); this one's come from all
others, divided anew into tables of surprise and the rest, by another hash of the composer. So the pieces of the shipped
one's composers are held out here. Nothing that composes may read these weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.critic import accuracies, table
from image2music.music.critic.corruptions import CORRUPTIONS
from image2music.music.critic.model import load_critic
from image2music.music.critic.training import (
    HUMAN,
    Example,
    HumanPiece,
    cached_pieces,
    chosen_pieces,
    critic_options,
    make_examples,
    share_of,
    split,
    train_critic,
)  # fmt: skip
from image2music.music.score import Score

SECOND = Path("build/second_critic.npz")
PEERS = ("song", "quartet", "hymn", "chorale")
"""The kinds in several voices, which weigh the same in a percentile."""
_SURPRISE = 0.35
_TESTED = {"solo": 150, "song": 250, "quartet": 60, "hymn": 120, "chorale": 150}


def halves(pieces: Sequence[HumanPiece]) -> dict[str, list[HumanPiece]]:
    """Pieces for the second critic's tables of surprise, for its fit, and those of the shipped one's composers."""
    first = split(pieces)
    parts: dict[str, list[HumanPiece]] = {"surprise": [], "critic": [], "held_out": first["critic"]}
    for piece in first["surprise"] + first["test"]:
        share = share_of(f"second {piece.kind} {piece.group}")
        parts["surprise" if share < _SURPRISE else "critic"].append(piece)
    return parts


def percentile(score: float, humans: dict[str, np.ndarray], kinds: Sequence[str] = PEERS) -> float:
    """Share of human pieces below a score, from 0 to 1; ties count half, every kind the same."""
    shares = [((humans[kind] < score).mean() + (humans[kind] <= score).mean()) / 2 for kind in kinds]
    return float(np.mean(shares))


def save_humans(humans: dict[str, np.ndarray], path: Path) -> None:
    """Write the scores of held-out human pieces beside the weights."""
    np.savez_compressed(path, **humans)  # type: ignore[arg-type]


class SecondCritic:
    """The weights at `path`, and the scores of held-out human pieces, which lie beside them as `.humans.npz`."""

    def __init__(self, path: Path = SECOND) -> None:
        if not path.exists():
            raise SystemExit(f"no weights at {path}: run `python -m benchmarks.second_critic --data DIR`")
        self.critic = load_critic(path)
        with np.load(path.with_suffix(".humans.npz")) as arrays:
            self.humans = {kind: arrays[kind] for kind in arrays.files}

    def score(self, score: Score, empty_voices: int = 0) -> float | None:
        """The second critic's score of a tune; None where nothing sounds."""
        from image2music.music.critic.hearing import excerpt_of
        from image2music.music.critic.model import windows

        excerpt = excerpt_of(score, empty_voices)
        return None if excerpt is None else self.critic.judge(windows(excerpt)).score

    def percentile(self, score: float, kinds: Sequence[str] = PEERS) -> float:
        """Where a score stands among human pieces in several voices, from 0 to 1."""
        return percentile(score, self.humans, kinds)


@cache
def load_second(path: Path = SECOND) -> SecondCritic:
    """The second critic, read once."""
    return SecondCritic(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, write, measure."""
    options = critic_options(__doc__, SECOND, 1, arguments)
    parts = halves(cached_pieces(options.data, options.cache))
    pieces, examples, surprise = train_critic(parts, options.seed, options.output)
    print(f"{len(pieces)} pieces of {len({(p.kind, p.group) for p in pieces})} composers or tunes, ", end="")
    print(f"{len(examples)} excerpts: {options.output}\n")
    tested = make_examples(
        chosen_pieces(parts["held_out"], _TESTED), surprise, CORRUPTIONS, options.seed + 1, n_degenerate=60
    )
    humans = _human_scores(options.output, [example for example in tested if example.label == HUMAN])
    save_humans(humans, options.output.with_suffix(".humans.npz"))
    print(human_table(humans), "\n")
    print(table(accuracies(load_critic(options.output), tested)))


def _human_scores(path: Path, examples: Sequence[Example]) -> dict[str, np.ndarray]:
    critic = load_critic(path)
    scores: dict[str, list[float]] = {}
    for one in examples:
        value = critic.judge_rows(one.row[None], one.n_voices, one.empty_voices)[0, 0]
        scores.setdefault(one.kind, []).append(round(float(value), 6))
    return {kind: np.sort(np.array(values)) for kind, values in sorted(scores.items())}


def human_table(humans: dict[str, np.ndarray]) -> str:
    """Scores at percentiles of held-out human pieces, and where each kind's median stands among all, as Markdown."""
    levels = (5, 10, 20, 30, 50, 70, 90)
    heads = ["pieces", "excerpts", *(f"{level} %" for level in levels), "median stands at"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for kind, scores in humans.items():
        peers = [kind] if kind == "solo" else PEERS
        cells = [f"{np.percentile(scores, level):.2f}" for level in levels]
        place = percentile(float(np.median(scores)), humans, peers)
        lines.append(f"| {kind} | {len(scores)} | {' | '.join(cells)} | {place:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
