"""Twelve pictures composed as an album and one by one: does the book play as one piece?

    python -m benchmarks.album --images DIR --index tunes.lance --work build/bench/album

Takes the first eleven files of DIR and a smaller copy of the third, as near-duplicate. What is measured is read from
the files that the runs wrote: from album.abc the key and tempo of every bar, from the rows the tunes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from benchmarks.row import BenchRow, markdown, write_json
from image2music.abc.checker import check
from image2music.abc.parser import parse
from image2music.abc.playback import abc_to_score
from image2music.album.book import BRIDGE_TITLE
from image2music.album.chapters import natural_order
from image2music.music.score import Score
from image2music.music.similarity import count_motif
from image2music.types import read_line

PICTURES = 12
_COPIED = 2


def main() -> None:
    """Compose twice, measure, print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=Path, required=True)
    arguments.add_argument("--index", type=Path, required=True)
    arguments.add_argument("--work", type=Path, default=Path("build/bench/album"))
    arguments.add_argument("--seed", default="0")
    asked = arguments.parse_args()
    shutil.rmtree(asked.work, ignore_errors=True)
    pictures = make_album(asked.images, asked.work / "album")
    common = ["compose", "--images", str(pictures), "--index", str(asked.index), "--seed", asked.seed]
    for output, more in (("together", ["--album"]), ("alone", [])):
        command = [sys.executable, "-m", "pipelines.cli.main", *common, "--output", str(asked.work / output), *more]
        subprocess.run(command, check=True)
    rows = measured(asked.work / "together", asked.work / "alone")
    print(markdown(rows))
    write_json(rows, asked.work.parent / "album.json")


def make_album(source: Path, folder: Path) -> Path:
    """Eleven pictures in the order of their names, and after the third a smaller copy of it."""
    folder.mkdir(parents=True)
    for number, path in enumerate(sorted(source.iterdir())[: PICTURES - 1]):
        shutil.copy(path, folder / f"{number:02}{path.suffix}")
        if number == _COPIED:
            with Image.open(path) as image:
                image.convert("RGB").resize((image.width * 2 // 3, image.height * 2 // 3)).save(folder / "02b.jpg")
    return folder


def measured(together: Path, alone: Path) -> list[BenchRow]:
    """How many tunes have the motif, the largest step of tempo, and changes of key without a bridge."""
    (album,) = pq.read_table(together / "albums").to_pylist()
    text = (together / album["book"] / "album.abc").read_text(encoding="utf-8")
    motif = read_line(album["motif"])
    ours, peer = tunes_of(together), tunes_of(alone)
    print(f"findings of the checker on album.abc: {len(check(text))}; bars that are not full: {len(short_bars(text))}")
    print(f"tunes: {len(album['starts'])}, bridges: {album['bridges']}, keys: {' '.join(album['keys'])}")
    print(f"themes: {len(set(album['themes']))}; seconds of music: {album['duration_s']:.0f}")
    counts = [sum(count_motif(score, motif) > 0 for score in scores) for scores in (ours, peer)]
    peer_tempos = [score.tempos[0].qpm for score in peer]
    return [
        BenchRow("album_tunes_with_motif", counts[0], counts[1], "without --album", "tunes of 12", "higher"),
        BenchRow(
            "album_largest_tempo_step",
            largest_step([change.qpm for change in abc_to_score(text).tempos]),
            largest_step(peer_tempos),
            "without --album",
            "per cent",
            "lower",
        ),
        BenchRow(
            "album_unbridged_key_changes",
            unbridged(text),
            sum(before.keys != after.keys for before, after in pairwise(peer)),
            "without --album",
            "changes",
            "lower",
        ),
    ]


def tunes_of(output: Path) -> list[Score]:
    """The tunes of a run in the order of their pictures."""
    rows: list[dict[str, Any]] = pq.read_table(output / "compositions", columns=["image_uri", "abc"]).to_pylist()
    rows.sort(key=lambda row: natural_order(os.path.basename(row["image_uri"])))
    return [abc_to_score(row["abc"]) for row in rows]


def largest_step(tempos: list[float]) -> float:
    """Per cent by which the faster of two neighbours exceeds the slower."""
    return max(100 * (max(pair) / min(pair) - 1) for pair in pairwise(tempos))


def unbridged(abc: str) -> int:
    """Lines of the first voice that change the key outside of a bridge."""
    first = abc.partition("\nV:2")[0]
    return sum("[K:" in line and not line.startswith(f'"^{BRIDGE_TITLE}"') for line in first.splitlines())


def short_bars(abc: str) -> list[object]:
    """Bars whose notes do not fill the meter."""
    voices = parse(abc).tunes[0].voices.values()
    return [bar for voice in voices for bar in voice.bars if bar.length != bar.expected]


if __name__ == "__main__":
    main()
