"""How far the critic can be trusted, on human scores that it was not trained on.

`python -m benchmarks.critic --data DIR` judges by the shipped weights. `--left-out` trains again without each kind of
corruption in turn, and once without any degenerate tune, and shows how that kind is then told from human music. DIR is
what `image2music.music.critic.training` reads. `--tunes DIR` ranks the ABC files of a folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from image2music.abc.playback import abc_to_score
from image2music.music.critic.corruptions import CORRUPTIONS, DEGENERATE, Dice, Maker
from image2music.music.critic.hearing import Excerpt, Expectation
from image2music.music.critic.model import Critic, criticise, load_critic
from image2music.music.critic.training import (
    HUMAN,
    KINDS,
    Example,
    HumanPiece,
    cached_pieces,
    chosen_pieces,
    fit_critic,
    make_examples,
    split,
    surprise_of,
)  # fmt: skip

MOST_TESTED = 150


def judged(critic: Critic, examples: Sequence[Example]) -> np.ndarray:
    """Score, typicality and scorer of every example, [n, 3]."""
    return np.array([critic.judge_rows(e.row[None], e.n_voices, e.empty_voices)[0] for e in examples])


def accuracies(critic: Critic, examples: Sequence[Example]) -> dict[str, tuple[float, float, float]]:
    """Share of pairs in which the human piece is above, by label: by score, typicality and scorer alone.

    A spoiled excerpt is compared with its own, a degenerate tune with all human excerpts.
    """
    values = judged(critic, examples)
    own = {e.source: n for n, e in enumerate(examples) if e.label == HUMAN}
    humans = values[sorted(own.values())]
    found: dict[str, list[np.ndarray]] = {}
    for example, value in zip(examples, values, strict=True):
        if example.label != HUMAN:
            above = values[own[example.source]] > value if example.source in own else (humans > value).mean(axis=0)
            found.setdefault(example.label, []).append(np.asarray(above, dtype=float))
    return {label: tuple(np.mean(rows, axis=0)) for label, rows in found.items()}


def percentiles(critic: Critic, examples: Sequence[Example]) -> dict[str, float]:
    """Where the middle piece of every kind stands among human pieces, all kinds weighing the same."""
    humans = [e for e in examples if e.label == HUMAN]
    scores = judged(critic, humans)[:, 0]
    by_kind = {kind: scores[[e.kind == kind for e in humans]] for kind in KINDS}
    medians = {kind: np.median(values) for kind, values in by_kind.items()}
    return {kind: float(np.mean([(v < medians[kind]).mean() for v in by_kind.values()])) for kind in KINDS}


def backwards(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Play from the end to the beginning."""
    return replace(excerpt, onsets=excerpt.length - excerpt.onsets - excerpt.durations).in_order()


def jumping_octaves(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Move every third note by an octave."""
    chosen = dice.random(len(excerpt.pitches)) < 1 / 3
    step = np.where(excerpt.pitches < 64, 12, -12)
    return replace(excerpt, pitches=excerpt.pitches + step * chosen).in_order()


def late_voice(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Let one voice come a beat and a half late."""
    if excerpt.n_voices < 2:
        return None
    late = excerpt.voices == dice.integers(excerpt.n_voices)
    return replace(excerpt, onsets=excerpt.onsets + excerpt.beat * 3 // 2 * late).in_order()


AFTERWARDS: dict[str, Maker] = {"backwards": backwards, "octave jumps": jumping_octaves, "a voice late": late_voice}
"""Kinds that were made when the model was frozen."""


def table(rows: Mapping[str, tuple[float, float, float]]) -> str:
    """The accuracies as Markdown."""
    lines = ["| kind | score | typicality | scorer |", "|---|---|---|---|"]
    lines += [f"| {name} | {a:.3f} | {b:.3f} | {c:.3f} |" for name, (a, b, c) in rows.items()]
    return "\n".join(lines)


def left_out(
    pieces: Sequence[HumanPiece], tested: Sequence[Example], names: Sequence[str], surprise: Expectation
) -> None:
    """Train without each kind in turn and print how it is told."""
    examples = make_examples(pieces, surprise, CORRUPTIONS)
    rows = {}
    for kind in [*CORRUPTIONS, *DEGENERATE]:
        critic = fit_critic([e for e in examples if e.label != kind], names, surprise)
        rows[kind] = accuracies(critic, [e for e in tested if e.label in (HUMAN, kind)])[kind]
    critic = fit_critic([e for e in examples if e.label not in DEGENERATE], names, surprise)
    every = accuracies(critic, [e for e in tested if e.label == HUMAN or e.label in DEGENERATE])
    rows |= {f"{kind} (all degenerate left out)": row for kind, row in every.items()}
    print(table(rows))
    print(f"mean of corruptions {np.mean([rows[kind][0] for kind in CORRUPTIONS]):.3f}\n")


def speed() -> float:
    """Median milliseconds of `criticise` on scores of about 20 bars in 4 voices."""
    notes = "|".join(["cdef gabc'"] * 20) + "|"
    score = abc_to_score("X:1\nM:4/4\nL:1/8\nK:C\n" + "".join(f"V:{voice}\n{notes}\n" for voice in range(1, 5)))
    times = []
    for _ in range(50):
        start = perf_counter()
        criticise(score)
        times.append(perf_counter() - start)
    return 1000 * float(np.median(times))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with INDEX.csv, lieder, quartets, hymns")
    parser.add_argument("--cache", type=Path, help="keep the scores that were read here")
    parser.add_argument("--left-out", action="store_true", help="train without each kind in turn (long)")
    parser.add_argument("--tunes", type=Path, nargs="*", default=[], help="folders of ABC files to rank")
    options = parser.parse_args(arguments)
    if options.data:
        parts = split(cached_pieces(options.data, options.cache))
        critic = load_critic()
        pieces = chosen_pieces(parts["test"], dict.fromkeys(KINDS, MOST_TESTED))
        tested = make_examples(pieces, critic.surprise, CORRUPTIONS, 1, n_degenerate=100)
        rows = accuracies(critic, tested)
        print(table(rows), "\n")
        print(
            "median percentile:", {kind: round(value, 2) for kind, value in percentiles(critic, tested).items()}, "\n"
        )
        afterwards = make_examples(pieces, critic.surprise, AFTERWARDS, 2, n_degenerate=0)
        print(table(accuracies(critic, afterwards)), "\n")
        print(f"{speed():.2f} ms for 20 bars in 4 voices\n")
        if options.left_out:
            surprise = surprise_of(chosen_pieces(parts["surprise"]))
            left_out(chosen_pieces(parts["critic"]), tested, critic.names, surprise)
    for folder in options.tunes:
        for path in sorted(folder.rglob("*.abc")):
            judgement = criticise(abc_to_score(path.read_text(encoding="utf-8")))
            print(path.name, judgement)


if __name__ == "__main__":
    main()
