"""How many pictures a minute, how much memory a worker, where the time goes, and what more candidates cost.

`python -m benchmarks.pace --pictures DIR --index tunes.lance [--workers 2] [--count 96] [--candidates default 1 2 8]`
runs `image2music compose` as a program of its own for each setting (`default` leaves the option out) and prints one row
each. The job runs twice, with a third of the pictures first: `a minute` is what the others add, so that loading does
not count; `with loading` is the whole job. Give whole batches: 96 are six of 16. Memory is resident, of the process
that took most. With `--critic` (see `second_critic`) the music of each setting is measured beside its pace.
Outputs stay in `--folder`, so that judges can be given them: benchmarks.judging --systems NAME=FOLDER/NAME.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.second_critic import load_second
from benchmarks.watched_job import Watched, watch
from benchmarks.worth_hearing import measured, rows_of

LEAST = {"default": 20.0, "1": 60.0}
MOST_MEMORY_MB = 1600.0
_SHOWN = (
    "median percentile of human pieces, second critic",
    "faults a bar",
    "one rhythm in over half of the melody's bars",
)


@dataclass(frozen=True)
class Pace:
    """What one setting took. Rates are pictures a minute; `cpu_s` processor seconds a picture, without loading."""

    candidates: str
    rows: int
    rate: float
    with_loading: float
    cpu_s: float
    worker_mb: float
    stages: dict[str, float]
    music: dict[str, str]


def compose(pictures: Path, index: str, output: Path, candidates: str, workers: int, composer: str) -> Watched:
    """Run the job and watch it.

    Raises:
        SystemExit: it failed.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pipelines.cli.main", "compose", "--images", str(pictures), "--index", index]
    command += ["--output", str(output), "--workers", str(workers), "--composer", composer]
    seen = watch(
        command if candidates == "default" else [*command, "--candidates", candidates], output.with_suffix(".log"), 0.5
    )
    if seen.code != 0:
        raise SystemExit(f"compose ended with {seen.code}: {seen.output[-2000:]}")
    return seen


def pace_of(seen: Watched, before: Watched, fewer: int, output: Path, candidates: str, music: dict[str, str]) -> Pace:
    """The figures of one setting: of the whole run, and of one with `fewer` pictures."""
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    rows = len(rows_of(output))
    span = _seconds(seen) - _seconds(before)
    stages = {name: float(value) for name, value in record["seconds"].items() if isinstance(value, int | float)}
    return Pace(
        candidates=candidates,
        rows=rows,
        rate=60 * (rows - fewer) / span if span > 0 else 0.0,
        with_loading=60 * rows / _seconds(seen),
        cpu_s=(seen.cpu_seconds(float("inf")) - before.cpu_seconds(float("inf"))) / max(1, rows - fewer),
        worker_mb=max(seen.peak_mb(pid) for pid in seen.samples),
        stages=stages,
        music=music,
    )


def _seconds(seen: Watched) -> float:
    return max(sample.at for samples in seen.samples.values() for sample in samples) - seen.started


def table(paces: Sequence[Pace], workers: int) -> str:
    """The settings as Markdown; what misses its bound in bold."""
    shown = [name for name in _SHOWN if any(name in pace.music for pace in paces)]
    heads = [
        "candidates",
        "pictures",
        f"a minute ({workers} workers)",
        "with loading",
        "CPU s a picture",
        "MB a worker",
    ]
    lines = [f"| {' | '.join([*heads, 'seconds by stage', *shown])} |", "|" + "---|" * (len(heads) + 1 + len(shown))]
    for pace in paces:
        slow = pace.rate < LEAST.get(pace.candidates, 0.0)
        rate = f"**{pace.rate:.1f}**" if slow else f"{pace.rate:.1f}"
        memory = f"**{pace.worker_mb:.0f}**" if pace.worker_mb > MOST_MEMORY_MB else f"{pace.worker_mb:.0f}"
        stages = ", ".join(f"{name} {value:.1f}" for name, value in pace.stages.items())
        cells = [pace.candidates, str(pace.rows), rate, f"{pace.with_loading:.1f}", f"{pace.cpu_s:.2f}", memory, stages]
        lines.append(f"| {' | '.join([*cells, *(pace.music.get(name, '') for name in shown)])} |")
    return "\n".join(lines)


def _folder(folder: Path, paths: Sequence[Path]) -> Path:
    """A folder with just these pictures."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in paths:
        shutil.copy(path, folder / path.name)
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--index", required=True)
    parser.add_argument("--count", type=int, default=96, help="pictures, the first of the folder; 0: all")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--composer", default="nano")
    parser.add_argument("--candidates", nargs="*", default=["default", "1"])
    parser.add_argument("--critic", type=Path, help="weights of the second critic")
    parser.add_argument("--folder", type=Path, default=Path("build/pace"))
    options = parser.parse_args(arguments)
    paths = sorted(path for path in options.pictures.iterdir() if path.is_file())[: options.count or None]
    few = len(paths) // 3
    pictures, fewer = (_folder(options.folder / name, some) for name, some in (("all", paths), ("few", paths[:few])))
    paces = []
    for candidates in options.candidates:
        output = options.folder / f"candidates-{candidates}"
        arguments_of = (options.index, output, candidates, options.workers, options.composer)
        before = compose(fewer, *arguments_of)
        seen = compose(pictures, *arguments_of)
        music = {}
        if options.critic is not None:
            lines = measured(rows_of(output), load_second(options.critic), None)
            music = {line.name: line.text for line in lines if line.name in _SHOWN}
        paces.append(pace_of(seen, before, few, output, candidates, music))
        print(table(paces[-1:], options.workers).splitlines()[-1], flush=True)
    print(f"\n{table(paces, options.workers)}")
    report = Path("build/bench/pace.json")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps([asdict(pace) for pace in paces], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
