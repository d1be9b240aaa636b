"""The constants of the cost model (pipelines.runtime.forecast), fitted on runs, and what large jobs take by it.

    python -m benchmarks.cost_model --scheduler                    what a scheduler costs a slice, by 8 workers
    python -m benchmarks.cost_model --runs 500 1000 2000 [--workers 1 2] [--composer nano]
    python -m benchmarks.cost_model --table                        what 1, 10 and 100 million pictures take

Runs use the tests' stand-in, which sleeps so many seconds a picture, on generated pictures of a few pixels; nano with
`--composer nano` on crops of the demo's photographs. What a worker does a picture is told apart from what happens once;
the error is that of each run by the constants that the others give.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.optimize import nnls

from benchmarks.crops import make_crops
from benchmarks.kill_compose import environment, make_captions, run
from image2music.storage.output import open_output
from pipelines.runtime.engines import OnDask
from pipelines.runtime.forecast import Forecast, Rates, forecast
from pipelines.runtime.slices import Slice, SliceResult, cut_slices, run_slices

SEED = 20260107
_RESULTS = Path("build/bench/cost_model.json")
_MILLIONS = (1_000_000, 10_000_000, 100_000_000)
_NANO_S, _NANO_ROW = 6.0, 12_000.0


@dataclass(frozen=True)
class Run:
    """A job that was run: `sleep_s` is what each picture takes whatever the machine does. `bytes` are those of rows."""

    composer: str
    pictures: int
    workers: int
    slices: int
    sleep_s: float
    seconds: float
    bytes: int
    load: float


@dataclass(frozen=True)
class Fit:
    """Constants of `seconds = once + pictures x (picture / workers + end) + slices x around / workers`.

    `end` is not among them: it is far below what two runs differ by, and benchmarks.large_output measures it.
    """

    once_s: float
    picture_s: float
    around_s: float

    def seconds(self, run: Run) -> float:
        """What a run takes by these constants."""
        return float(np.dot(_parts(run), list(asdict(self).values()))) + _known(run)


def _parts(run: Run) -> list[float]:
    return [1.0, run.pictures / run.workers, run.slices / run.workers]


def _known(run: Run) -> float:
    """Seconds of a run that need no fit: its pictures' sleep, and the end of the job."""
    return run.pictures * (run.sleep_s / run.workers + Rates().end_s)


def fit(runs: Sequence[Run]) -> Fit:
    """The constants, none of them below zero, with the least error in shares of each run's time."""
    parts = np.array([_parts(run) for run in runs])
    beside = np.array([run.seconds - _known(run) for run in runs])
    weights = 1 / np.array([run.seconds for run in runs])
    found, _ = nnls(parts * weights[:, None], np.maximum(beside, 0.0) * weights)
    return Fit(*map(float, found))


def errors_left_out(runs: Sequence[Run]) -> list[float]:
    """For each run the error, as a share of its time, of the constants that all others give."""
    left = [fit([other for other in runs if other is not run]).seconds(run) for run in runs]
    return [value / run.seconds - 1 for value, run in zip(left, runs, strict=True)]


class Nothing:
    """The work that takes no time, to see what handing it out takes."""

    def check(self) -> None:
        """Nothing."""

    def do(self, slice: Slice[int]) -> SliceResult:
        """Nothing."""
        return SliceResult({"pictures": len(slice)})

    def give_up(self, item: int) -> SliceResult:
        """Nothing."""
        return SliceResult()


def scheduler_cost(slices: int, workers: int) -> tuple[float, float]:
    """Seconds, and seconds of the processor, that a slice of 64 pictures costs scheduler, workers and command."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        items = range(64 * slices)
        began, used = time.monotonic(), time.process_time()
        done = run_slices(
            cut_slices(items, name="s3://bucket/photographs/{:09}.jpg".format),
            Nothing(),
            OnDask(client, {}, is_here=False),
        )
        if sum(ended.result.counters["pictures"] for ended in done if ended.result) != len(items):
            raise SystemExit("slices are missing")
        return (time.monotonic() - began) / slices, (time.process_time() - used) / slices


def compose_once(
    home: Path, composer: str, pictures: int, workers: int, slice_size: int, sleep: float, more: Sequence[str] = ()
) -> Run:
    """Run a job from its start to its end; `more` are options of compose."""
    output = home / "out"
    shutil.rmtree(output, ignore_errors=True)
    places = ["--images", f"pictures-{pictures}", "--index", "tunes.lance", "--output", "out"]
    how = ["--composer", composer, "--workers", str(workers), "--slice_size", str(slice_size), *more]
    words = [sys.executable, "-m", "pipelines.cli.main", "compose", *places, *how]
    began = time.monotonic()
    with (home / "log.txt").open("a") as log:
        done = subprocess.run(words, cwd=home, env=environment(), stdout=log, stderr=subprocess.STDOUT)
    seconds, rows = time.monotonic() - began, open_output(str(output)).compositions
    if done.returncode or rows.count() != pictures:
        raise SystemExit(f"exit code {done.returncode}, {rows.count()} rows of {pictures}: read {home / 'log.txt'}")
    slices = -(-pictures // slice_size)
    return Run(composer, pictures, workers, slices, sleep, seconds, rows.size(), os.getloadavg()[0])


def make_pictures(folder: Path, count: int) -> None:
    """Pictures of 12 by 16 pixels, all different."""
    chance = np.random.default_rng(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(chance.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(folder / f"{number:06}.png")


def measure_runs(args: argparse.Namespace) -> list[Run]:
    """Run the jobs; print and return them."""
    home = args.folder.absolute()
    shutil.rmtree(home, ignore_errors=True)
    real = not args.composer.startswith("fake")
    if real:
        shutil.copytree(args.demo / "tunes.lance", home / "tunes.lance")
    else:
        make_captions(home)
        run(home, "index", "--captions", "captions.json", "--midi_root", "midi", "--embedder", "fake")
    sleep = 0.0 if real else float(args.composer.partition(":")[2] or 0)
    runs = []
    print("| composer | pictures | workers | a slice | seconds | load |\n|---|---|---|---|---|---|", flush=True)
    for pictures in args.runs:
        folder = home / f"pictures-{pictures}"
        if real:
            make_crops(args.demo / "data" / "pictures", folder, pictures)
        else:
            make_pictures(folder, pictures)
        for workers, size in ((workers, size) for workers in args.workers for size in args.slice_size):
            more = ["--candidates", str(args.candidates)] if args.candidates else []
            done = compose_once(home, args.composer, pictures, workers, size, sleep, more)
            runs.append(done)
            print(
                f"| {done.composer} | {pictures} | {workers} | {size} | {done.seconds:.1f} | {done.load:.1f} |",
                flush=True,
            )
        shutil.rmtree(folder)
    return runs


def print_fit(runs: Sequence[Run]) -> None:
    """Print the constants of the runs, and the error of each run left out."""
    found = fit(runs)
    print(f"\nonce {found.once_s:.1f} s; a picture {1000 * found.picture_s:.0f} ms of a worker beside its sleep;")
    print(f"a slice {found.around_s:.2f} s of a worker")
    errors = errors_left_out(runs)
    shown = ", ".join(f"{error:+.0%}" for error in errors)
    print(f"error of each run left out: {shown}; largest {max(map(abs, errors)):.0%}")


def print_table(picture_s: float, row_bytes: float, slice_size: int, rates: Rates) -> None:
    """Print what large jobs take."""
    print(f"\n{picture_s:.1f} s and {row_bytes / 1000:.0f} kB a picture, slices of {slice_size}\n")
    heads = ("pictures", "workers", "hours", "machine hours", "slices", "shards, at the end", "requests", "GB of rows")
    heads = (*heads, "GB of the command", "what breaks first")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for pictures in _MILLIONS:
        for workers in (100, 1000):
            print(_line(forecast(pictures, workers, slice_size, picture_s, row_bytes, rates)))


def _line(job: Forecast) -> str:
    cells = (
        f"{job.pictures:,}",
        f"{job.workers:,}",
        f"{job.seconds / 3600:,.1f}",
        f"{job.machine_hours:,.0f}",
        f"{job.slices:,}",
        f"{job.shards:,}, {job.shards_left:,}",
        f"{job.requests / 1e6:,.1f} million",
        f"{job.bytes / 1e9:,.0f}",
        f"{job.command_bytes / 1e9:.1f}",
        job.first_limit() or "nothing",
    )
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scheduler", action="store_true")
    parser.add_argument("--slices", type=int, default=5000, help="of --scheduler")
    parser.add_argument("--runs", type=int, nargs="*", default=[], metavar="PICTURES")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of --runs; the first of --scheduler")
    parser.add_argument("--slice_size", type=int, nargs="+", default=[64])
    parser.add_argument("--composer", default="fake:0.3")
    parser.add_argument("--candidates", type=int, help="tunes for a picture, of --runs")
    parser.add_argument("--keep", action="store_true", help="fit the runs of earlier commands of this composer, too")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--picture_s", type=float, default=_NANO_S, help="of --table")
    parser.add_argument("--row_bytes", type=float, default=_NANO_ROW, help="of --table")
    parser.add_argument("--demo", type=Path, default=Path("build/demo"))
    parser.add_argument("--folder", type=Path, default=Path("build/cost_model"))
    args = parser.parse_args()
    if args.scheduler:
        for workers in args.workers:
            seconds, used = scheduler_cost(args.slices, workers)
            each = f"{1000 * seconds:.2f} ms, {1000 * used:.2f} ms of the processor"
            print(f"{args.slices} slices by {workers} workers: {each}, each; load {os.getloadavg()[0]:.1f}")
    if args.runs:
        known = [Run(**entry) for entry in json.loads(_RESULTS.read_text())] if _RESULTS.exists() else []
        others = [run for run in known if run.composer != args.composer]
        runs = [run for run in known if args.keep and run.composer == args.composer] + measure_runs(args)
        _RESULTS.parent.mkdir(parents=True, exist_ok=True)
        _RESULTS.write_text(json.dumps([asdict(run) for run in others + runs], indent=2) + "\n")
        if len(runs) > 2:
            print_fit(runs)
    if args.table:
        print_table(args.picture_s, args.row_bytes, args.slice_size[0], replace(Rates()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
