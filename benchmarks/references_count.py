"""Do references count? The same pictures and seeds with their references and without any, compared in pairs.

`python -m benchmarks.references_count OUT --output OUT2 [--count 40]`: OUT is an output of `compose`; its pictures that
have references are composed again without, to OUT2/compositions, which `benchmarks.judging` and `worth_hearing` read
like any other. Printed: how near instruments and groove are to the references', how long the longest copied run is,
and whether drums come where a reference has drums. `--reuse` measures an OUT2 that is there already.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from image2music.abc.playback import abc_to_score
from image2music.composers import registry
from image2music.composers.base import ComposeRequest
from image2music.errors import AbcError
from image2music.images.decode import open_picture
from image2music.loop.chain import compose_batch
from image2music.loop.choose import voices_of_abc
from image2music.music.grid import bars_of
from image2music.music.score import Score, Track
from image2music.music.similarity import longest_shared_run, sung_steps
from image2music.music.theory import GRID_QUARTER
from image2music.rows import plan_of_row, plan_row
from image2music.settings import LoopSettings, picture_seed

_AT_ONCE = 8
_FAMILY = 8
_BINS = 16
"""Parts of a bar, and sixteenths between two onsets, that a groove counts."""
_RESAMPLES = 2000


def compose_without(rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any], output: Path) -> None:
    """Compose the rows' pictures again without references and write what judges and measures read."""
    settings = record["settings"]
    composer = registry.load_composer(record["options"].get("composer") or "nano")
    loop = LoopSettings(**settings["loop"])
    found = []
    for at in range(0, len(rows), _AT_ONCE):
        batch = rows[at : at + _AT_ONCE]
        images = [open_picture(_place(row["image_uri"]).read_bytes()).image for row in batch]
        requests = [
            ComposeRequest(row["image_id"], image, seen, (), picture_seed(row["seed"], row["image_id"]))
            for row, image, seen in zip(batch, images, composer.look(images), strict=True)
        ]
        for row, tune in zip(batch, compose_batch(composer, requests, loop), strict=True):
            if isinstance(tune, Exception):
                print(f"left out {row['image_uri']}: {tune}")
                continue
            found.append(
                {name: row[name] for name in ("image_id", "image_uri", "references", "seed", "seconds")}
                | {"abc": tune.draft.abc, "plan": plan_row(tune.plan), "key": tune.key, "meter": tune.meter}
                | {"tempo_qpm": tune.tempo_qpm, "critic": tune.draft.critic}
            )
    (output / "compositions").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(found), output / "compositions" / "part-without.parquet")


def _place(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def instruments(score: Score) -> set[int]:
    """Families of General MIDI (eight programs each), drums as one more."""
    return {16 if track.is_drum else track.program // _FAMILY for track in score.tracks if len(track)}


def programs(score: Score) -> set[int]:
    """Programs that sound, 128 for drums."""
    return {128 if track.is_drum else track.program for track in score.tracks if len(track)}


def share_of_own(tune: set[int], references: Sequence[set[int]]) -> float:
    """The largest share of the tune's instruments that one reference has."""
    return max(len(tune & one) / len(tune) for one in references)


def groove(score: Score) -> np.ndarray:
    """Where accompaniment and drums begin notes in the bar, and how far apart, as two histograms of `_BINS` each."""
    tracks = _accompaniment(score)
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks if len(track))
    scale = GRID_QUARTER / score.ticks_per_quarter
    lines = bars_of(score, int(end * scale) + 1).lines
    places, gaps = np.zeros(_BINS), np.zeros(_BINS)
    for track in tracks:
        onsets = np.unique(np.rint(track.onsets * scale)).astype(np.int64)
        bars = np.clip(np.searchsorted(lines, onsets, side="right") - 1, 0, len(lines) - 2)
        inside = (onsets - lines[bars]) / np.maximum(1, lines[bars + 1] - lines[bars])
        places += np.bincount(np.minimum((inside * _BINS + 0.25).astype(int), _BINS - 1), minlength=_BINS)
        steps = np.rint(np.diff(onsets) / (GRID_QUARTER / 4)).astype(int)
        gaps += np.bincount(np.clip(steps, 1, _BINS) - 1, minlength=_BINS) if len(steps) else 0
    return np.concatenate([row / row.sum() if row.sum() else row for row in (places, gaps)])


def _accompaniment(score: Score) -> list[Track]:
    """Drums, and all pitched tracks but the highest; that one alone where there is no other."""
    tracks = [track for track in score.tracks if len(track)]
    pitched = sorted((t for t in tracks if not t.is_drum), key=lambda track: float(track.pitches.mean()))
    return [track for track in tracks if track.is_drum] + (pitched[:-1] or pitched)


def alike(one: np.ndarray, two: np.ndarray) -> float:
    """Intersection of histograms, 0 to 1."""
    return float(np.minimum(one, two).sum() / 2)


def references_of(row: Mapping[str, Any]) -> list[Score]:
    """The references that can be played."""
    found = []
    for reference in row["references"]:
        try:
            score = abc_to_score(reference["abc"])
        except AbcError as error:
            print(f"left out a reference: {error}")
            continue
        if any(len(track) for track in score.tracks):
            found.append(score)
    return found


@dataclass(frozen=True)
class Compared:
    """One measure of one tune against its references; `better` says which way is nearer to them or more careful."""

    name: str
    of: Callable[[Score, Sequence[Score], Mapping[str, Any]], float]
    better: str


def _copied(score: Score, references: Sequence[Score], row: Mapping[str, Any]) -> float:
    """What is sung counts; accompaniment may be a reference's and is cited."""
    own = sung_steps(score, plan_of_row(row["plan"]))
    return max((longest_shared_run(own, voices_of_abc(one["abc"])) for one in row["references"]), default=0)


def _drums(score: Score, references: Sequence[Score], row: Mapping[str, Any]) -> float:
    """1 where the tune has drums and a reference has, NaN where no reference has any."""
    if not any(track.is_drum and len(track) for one in references for track in one.tracks):
        return float("nan")
    return float(any(track.is_drum and len(track) for track in score.tracks))


MEASURES = (
    Compared(
        "instrument families of the nearest reference",
        lambda score, others, row: share_of_own(instruments(score), [instruments(one) for one in others]),
        "higher",
    ),
    Compared(
        "programs of the nearest reference",
        lambda score, others, row: share_of_own(programs(score), [programs(one) for one in others]),
        "higher",
    ),
    Compared(
        "groove like the nearest reference's",
        lambda score, others, row: max(alike(groove(score), groove(one)) for one in others),
        "higher",
    ),
    Compared(
        "groove like all references', mean",
        lambda score, others, row: mean(alike(groove(score), groove(one)) for one in others),
        "higher",
    ),
    Compared("drums where a reference has drums", _drums, "higher"),
    Compared("longest copied run of what is sung, notes", _copied, "lower"),
)


def table(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Means with and without references, and the mean difference with a 95 % bootstrap interval, as Markdown."""
    lines = ["| | better | pairs | with | without | difference | 95 % |", "|---|---|---|---|---|---|---|"]
    values: dict[str, list[tuple[float, float]]] = {measure.name: [] for measure in MEASURES}
    for own, bare in pairs:
        others = references_of(own)
        if not others:
            continue
        scores = [abc_to_score(row["abc"]) for row in (own, bare)]
        for measure in MEASURES:
            first, second = (measure.of(score, others, row) for score, row in zip(scores, (own, bare), strict=True))
            if not np.isnan(first):
                values[measure.name].append((first, second))
    dice = np.random.Generator(np.random.Philox(0))
    for measure in MEASURES:
        found = np.array(values[measure.name])
        if not len(found):
            lines.append(f"| {measure.name} | {measure.better} | 0 | | | | |")
            continue
        gaps = found[:, 0] - found[:, 1]
        means = gaps[dice.integers(len(gaps), size=(_RESAMPLES, len(gaps)))].mean(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        cells = [str(len(found)), *(f"{value:.3f}" for value in (*found.mean(axis=0), gaps.mean()))]
        lines.append(f"| {measure.name} | {measure.better} | {' | '.join(cells)} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compose without references, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("with_references", type=Path, metavar="OUT")
    parser.add_argument("--output", type=Path, default=Path("build/without_references"))
    parser.add_argument("--count", type=int, default=40, help="pictures at most, by their ids; 0: all")
    parser.add_argument("--reuse", action="store_true")
    options = parser.parse_args(arguments)
    record = json.loads((options.with_references / "run.json").read_text(encoding="utf-8"))
    table_of = pq.read_table(options.with_references / "compositions")
    names = ["image_id", "image_uri", "references", "plan", "abc", "seed", "seconds"]
    rows = sorted(table_of.select(names).to_pylist(), key=lambda row: row["image_id"])
    having = [row for row in rows if row["references"]]
    rows = having[: options.count or None]
    if not options.reuse:
        compose_without(rows, record, options.output)
    bare = {row["image_id"]: row for row in pq.read_table(options.output / "compositions").to_pylist()}
    pairs = [(row, bare[row["image_id"]]) for row in rows if row["image_id"] in bare]
    print(f"{len(having)} of {len(table_of)} pictures have references, {len(pairs)} pairs\n")
    print(table(pairs))


if __name__ == "__main__":
    main()
