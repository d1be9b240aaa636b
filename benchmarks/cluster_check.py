"""Jobs on three hosts that share no disk, and what becomes of them when hosts, processes and wires fail.

    python -m benchmarks.cluster_check --demo build/demo [--times 10 | --short]

The hosts are network namespaces of this machine (benchmarks.netns): one with an S3 server, a Dask scheduler and the
command, two with workers. Index, pictures and output lie in a bucket. First the demo, by the real composer: index and
compose with albums, by 1, 2 and 4 workers and as an array job of four slices. Then many small pictures by the tests'
stand-in, which sleeps: processes are killed, hosts cut off, the S3 server is stopped. All rows, failures and albums
are held against those of one process on a local disk, all columns but SELDOM_EQUAL.

Where the machine allows no namespaces, it says so and ends with 0: nothing is claimed then.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cluster_site import BUCKET, ROOT, WORKERS, Site, put_folder, s3_program, site
from benchmarks.crops import make_crops
from benchmarks.generated_midicaps import generate
from benchmarks.kill_compose import kill_all, make_captions
from benchmarks.netns import reason_against
from benchmarks.same_table import compare_tables
from benchmarks.watched_job import family
from image2music.storage.output import open_output

SEED = 20260106
SELDOM_EQUAL = ("seconds", "composed_at", "index_uri", "index_version")
"""A version counts commits, and an index that came in many files has one more, which joins them."""
LOSS, DELAY = 0.02, 0.02
"""Of a bad wire: share of the frames that are lost, and seconds that others take longer, each way."""
_STORE_SILENCE = 20.0
_LONGEST = 900.0
_SLICE, _SECONDS_A_TUNE = 10, 0.2
_FINE = (0, 3)

Content = dict[str, Any]
"""Rows by picture, failures by picture, and albums by name."""


@dataclass(frozen=True)
class World:
    """What there is to compose from, as a folder `pictures`, a file `captions.json` and a folder `midi` in `home`."""

    name: str
    home: Path
    embedder: tuple[str, ...]
    composing: tuple[str, ...]

    @property
    def there(self) -> str:
        """The same in the bucket."""
        return f"s3://{BUCKET}/{self.name}"

    def index(self, place: str, *more: str) -> list[str]:
        """The command that makes the index beside the captions."""
        inputs = ["--captions", f"{place}/captions.json", "--midi_root", f"{place}/midi"]
        return ["index", *inputs, "--index", f"{place}/tunes.lance", *self.embedder, *more]

    def compose(self, place: str, output: str, *more: str) -> list[str]:
        """The command that composes into an output beside the index."""
        inputs = ["--images", f"{place}/pictures", "--index", f"{place}/tunes.lance"]
        return ["compose", *inputs, "--output", f"{place}/{output}", "--max_failures", "10%", *self.composing, *more]


@dataclass
class Tried:
    """Runs of one kind; `twice` are compositions begun of pictures that had been begun already."""

    what: str
    bound: int | None = None
    equal: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every run ended as it had to, and no more was done twice than may be."""
        return (
            all(self.equal) and not self.complaints and all(self.bound is None or n <= self.bound for n in self.twice)
        )

    def line(self) -> str:
        """A line of the table."""
        bound = "" if self.bound is None else f" (at most {self.bound})"
        twice = f"{max(self.twice)}{bound}" if self.twice else ""
        seconds = f"{statistics.median(self.seconds):.0f}, {max(self.seconds):.0f}"
        told = "; ".join(dict.fromkeys(self.complaints)) or "none"
        return f"| {self.what} | {len(self.equal)} | {sum(self.equal)} | {twice} | {seconds} | {told} |"


def demo_world(args: argparse.Namespace, home: Path) -> World:
    """The demo's music and photographs (or the first of them), and crops, some twice under other names.

    With `--captions` so many lines, of variants that are generated of the demo's music.
    """
    demo, photographs, crops = args.demo, args.photographs, args.crops
    if args.captions:
        made = generate(demo / "data", args.captions, home / "generated")
        shutil.move(made.midi, home / "midi")
        shutil.move(made.captions, home / "captions.json")
    else:
        shutil.copytree(demo / "data" / "midi", home / "midi")
        shutil.copy(demo / "data" / "captions.json", home)
    taken = sorted((demo / "data" / "pictures").iterdir())[:photographs]
    (home / "pictures" / "photographs").mkdir(parents=True)
    for path in taken:
        shutil.copy(path, home / "pictures" / "photographs")
    make_crops(demo / "data" / "pictures", home / "pictures" / "crops", crops)
    _repeat(home / "pictures" / "crops", home / "pictures" / "photographs")
    candidates = ("--candidates", str(args.candidates)) if args.candidates else ()
    return World("demo", home, (), ("--album", *candidates))


def noise_world(home: Path, pictures: int) -> World:
    """Small pictures of noise in two folders, some of them in both and some broken."""
    chance = np.random.default_rng(SEED)
    make_captions(home)
    for number in range(pictures):
        folder = home / "pictures" / ("sea", "wood")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(folder / f"{number:05}.png")
    _repeat(home / "pictures" / "sea", home / "pictures" / "wood")
    for number in range(3):
        (home / "pictures" / "wood" / f"broken-{number}.png").write_bytes(b"no picture %d" % number)
    return World("noise", home, ("--embedder", "fake"), ("--composer", f"fake:{_SECONDS_A_TUNE}"))


def _repeat(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir())[::10]:
        shutil.copy(path, target / f"again-{path.name}")


def content(output: str, pictures: str) -> Content:
    """What an output holds, without what differs from place to place."""
    store = open_output(output)
    found: Content = {}
    for _, table in store.compositions.tables():
        for row in table.drop_columns(list(SELDOM_EQUAL)).to_pylist():
            if row["image_id"] in found:
                raise SystemExit(f"{output} holds {row['image_id']} twice")
            found[row["image_id"]] = _placed(row, (pictures, output))
    for row in store.failures.read(["id", "uri", "reason", "stage"]):
        row = _placed(row, (pictures, output))
        found[f"failure of {row['uri']}"] = row
    for _, table in store.albums.tables():
        # A book's folder is named after the address of its album, which differs from place to place.
        kept = [name for name in table.column_names if name not in ("bound_at", "book")]
        found |= {f"album {row['album']}": row for row in _placed(table.select(kept).to_pylist(), (pictures, output))}
    return found


def _placed(value: Any, roots: Sequence[str]) -> Any:
    """The same with every address below one of the roots told from there."""
    if isinstance(value, dict):
        return {name: _placed(part, roots) for name, part in value.items()}
    if isinstance(value, list):
        return [_placed(part, roots) for part in value]
    root = next((root for root in roots if isinstance(value, str) and value.startswith(root)), None)
    return value if root is None else value.removeprefix(root).lstrip("/")


def differences(found: Content, expected: Content) -> list[str]:
    """What is missing, too much or other, in a few words each."""
    lost, more = expected.keys() - found.keys(), found.keys() - expected.keys()
    other = {
        name: [column for column in row if found[name].get(column) != row[column]]
        for name, row in expected.items()
        if name in found and found[name] != row
    }
    told = [f"{len(lost)} lost, as {min(lost)[:40]}"] if lost else []
    told += [f"{len(more)} too many, as {min(more)[:40]}"] if more else []
    columns = sorted({column for names in other.values() for column in names})
    return told + ([f"{len(other)} other in {', '.join(columns)}"] if other else [])


def here(world: World, words: Sequence[str]) -> None:
    """Run a command on this machine's own disk, in one process."""
    path = f"{ROOT / 'tests' / 'stand_ins'}{os.pathsep}{ROOT}"
    line = [sys.executable, "-m", "pipelines.cli.main", *words]
    log = world.home / "here.txt"
    with log.open("a") as file:
        done = subprocess.run(line, env=os.environ | {"PYTHONPATH": path}, stdout=file, stderr=subprocess.STDOUT)
    if done.returncode not in _FINE:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}, read {log}")


@dataclass
class Bench:
    """What the runs share: the site, the undisturbed content of a world, and the moment of the next trouble."""

    site: Site
    world: World
    expected: Content
    chance: random.Random
    number: int = 0
    composing_s: float = 0.0
    """From the first picture that the stand-in begins to the end of an undisturbed job."""

    def fresh(self) -> str:
        """The name of an output that is not there yet."""
        self.number += 1
        return f"out-{self.number}"

    def start(self, words: Sequence[str], host: str = "head") -> subprocess.Popen[bytes]:
        """Start a command on a host."""
        log = self.site.logs / f"{self.world.name}-{self.number}.txt"
        return self.site.hosts[host].start(self.site.command(*words), log)

    def wait_for_work(self, job: subprocess.Popen[bytes]) -> None:
        """Wait until the stand-in begins a picture, or the job ends, which it does first with another composer."""
        before = self.site.composed()
        while job.poll() is None and self.site.composed() == before:
            time.sleep(0.05)

    def on_cluster(self, output: str) -> list[str]:
        """The command that composes by the workers of the cluster."""
        more = ["--cluster", self.site.scheduler_address, "--slice_size", str(_SLICE)]
        return self.world.compose(self.world.there, output, *more)

    def judge(self, tried: Tried, output: str, seconds: float, codes: Sequence[int]) -> None:
        """Add a run to those of its kind."""
        found = content(f"{self.world.there}/{output}", f"{self.world.there}/pictures")
        wrong = differences(found, self.expected)
        tried.equal.append(not wrong)
        tried.seconds.append(seconds)
        tried.complaints += wrong
        if codes[-1] not in _FINE:
            tried.complaints.append(
                f"exit codes {', '.join(map(str, codes))}: read {self.world.name}-{self.number}.txt"
            )


def undisturbed(bench: Bench, places: Sequence[str]) -> Tried:
    """A job that nothing happens to, by one worker on each of the places."""
    output, before = bench.fresh(), bench.site.requests()
    bench.site.start_workers(places)
    began = time.monotonic()
    job = bench.start(bench.on_cluster(output))
    bench.wait_for_work(job)
    composing = time.monotonic()
    code = job.wait(_LONGEST)
    bench.composing_s = time.monotonic() - composing
    asked = sum((bench.site.requests() - before).values())
    names = f"{len(places)} worker{'s' * (len(places) > 1)}"
    tried = Tried(f"{bench.world.name}: {names}, {asked} requests to the S3 server")
    bench.judge(tried, output, time.monotonic() - began, [code])
    return tried


def array_job(bench: Bench, parts: int) -> Tried:
    """An array job of so many slices by turns on the two hosts, no engine, and `finish`."""
    output, began, codes = bench.fresh(), time.monotonic(), []
    for first in range(1, parts + 1, len(WORKERS)):
        jobs = []
        for part, host in zip(range(first, parts + 1), WORKERS, strict=False):
            words = bench.world.compose(bench.world.there, output, "--slice", f"{part}/{parts}")
            jobs.append(bench.start(words, host))
        codes += [job.wait(_LONGEST) for job in jobs]
    codes.append(bench.start(["finish", f"{bench.world.there}/{output}"]).wait(_LONGEST))
    tried = Tried(f"{bench.world.name}: slices 1/{parts} to {parts}/{parts} on two hosts, and finish")
    bench.judge(tried, output, time.monotonic() - began, codes)
    return tried


@dataclass(frozen=True)
class Trouble:
    """What happens to a job at a random moment.

    Attributes:
        what: for the table. happen: does it; it may start a process of the job anew, and returns what undoes it.
        again: whether the job ends by it, and the command is given once more. lost: most workers whose work is lost.
    """

    what: str
    happen: Callable[[Bench, subprocess.Popen[bytes]], Callable[[], None]]
    again: bool
    lost: int


def kill_a_worker(bench: Bench, job: subprocess.Popen[bytes]) -> Callable[[], None]:
    """SIGKILL of a process that runs tasks."""
    bench.site.kill_a_worker(bench.chance)
    return lambda: None


def cut_a_host(bench: Bench, job: subprocess.Popen[bytes]) -> Callable[[], None]:
    """A host's link down until the job has ended."""
    host = bench.site.hosts[bench.chance.choice(WORKERS)]
    host.cut()

    def undo() -> None:
        host.mend()
        bench.site.stop_workers()

    return undo


def kill_the_scheduler(bench: Bench, job: subprocess.Popen[bytes]) -> Callable[[], None]:
    """SIGKILL of the scheduler; it is started again, with workers, when the command has ended."""
    bench.site.kill_scheduler()
    job.wait(_LONGEST)
    bench.site.start_scheduler()
    bench.site.start_workers(WORKERS)
    return lambda: None


def kill_the_command(bench: Bench, job: subprocess.Popen[bytes]) -> Callable[[], None]:
    """SIGKILL of the command."""
    kill_all(family(job.pid))
    return lambda: None


def stop_the_store(bench: Bench, job: subprocess.Popen[bytes]) -> Callable[[], None]:
    """No answer of the S3 server for a while: killed and started again, or standing still."""
    bench.site.stop_store(_STORE_SILENCE, by_kill=bench.site.keeps_objects and bench.number % 2 == 0)
    return lambda: None


def spoil_the_wires(bench: Bench, job: subprocess.Popen[bytes]) -> Callable[[], None]:
    """Both workers' hosts behind bad wires until the job has ended."""
    wires = ExitStack()
    for number, name in enumerate(WORKERS):
        wires.enter_context(bench.site.hosts[name].bad_wire(LOSS, DELAY, SEED + number))
    return wires.close


TROUBLES = (
    Trouble("a worker's process killed", kill_a_worker, again=False, lost=1),
    Trouble("a worker's host cut off", cut_a_host, again=False, lost=1),
    Trouble("the scheduler killed, the command given again", kill_the_scheduler, again=True, lost=2),
    Trouble("the command killed and given again", kill_the_command, again=True, lost=2),
    Trouble(f"the S3 server silent for {_STORE_SILENCE:.0f} s", stop_the_store, again=False, lost=2),
    Trouble(f"{LOSS:.0%} of the frames lost and {1000 * DELAY:.0f} ms more, each way", spoil_the_wires, False, 0),
)


def disturbed(bench: Bench, trouble: Trouble, times: int) -> Tried:
    """Jobs by two workers on two hosts, each with the trouble at another moment of the seconds that composing takes."""
    tried = Tried(trouble.what, bound=trouble.lost * _SLICE)
    for _ in range(times):
        output = bench.fresh()
        bench.site.start_workers(WORKERS)
        before, began = bench.site.composed(), time.monotonic()
        job, codes = bench.start(bench.on_cluster(output)), []
        bench.wait_for_work(job)
        time.sleep(bench.chance.uniform(0.0, bench.composing_s))
        undo = trouble.happen(bench, job)
        codes.append(job.wait(_LONGEST))
        if trouble.again:
            # A job that was over before the trouble came ends well, and once more.
            if codes[0] not in (1, -signal.SIGKILL, 128 + signal.SIGKILL, *_FINE):
                tried.complaints.append(f"exit code {codes[0]} by {trouble.what}")
            codes.append(bench.start(bench.on_cluster(output)).wait(_LONGEST))
        seconds = time.monotonic() - began
        undo()
        tried.twice.append(sum(times - 1 for times in (bench.site.composed() - before).values()))
        bench.judge(tried, output, seconds, codes)
        print(f"    {trouble.what}: {seconds:.0f} s, {codes}, {tried.twice[-1]} twice", file=sys.stderr, flush=True)
    return tried


def check(args: argparse.Namespace, home: Path) -> bool:
    """Print the table; return whether all is as it has to be."""
    makers = {
        "demo": lambda folder: demo_world(args, folder),
        "noise": lambda folder: noise_world(folder, args.noise),
    }
    worlds = []
    for name in args.worlds:
        (home / name).mkdir(parents=True)
        worlds.append(makers[name](home / name))
    expected = {}
    for world in worlds:
        here(world, world.index(str(world.home)))
        here(world, world.compose(str(world.home), "out"))
        expected[world.name] = content(f"{world.home}/out", str(world.home / "pictures"))
    good = True

    def tell(tried: Tried) -> None:
        nonlocal good
        good &= tried.good
        print(tried.line(), flush=True)

    with site(home / "site") as there:
        os.environ |= there.keys
        print(f"S3 server: {Path(s3_program()[-1]).name}; three hosts; load of the machine {os.getloadavg()[0]:.1f}\n")
        print("| what | times | rows equal | begun twice | seconds: median, most | complaints |")
        print("|---|---|---|---|---|---|", flush=True)
        for world in worlds:
            for part in ("pictures", "midi"):
                put_folder(there.bucket(), world.home / part, f"{world.name}/{part}")
            there.put(world.home / "captions.json", f"{world.name}/captions.json")
            bench = Bench(there, world, expected[world.name], random.Random(SEED))
            there.start_workers(WORKERS)
            tell(indexed(bench))
            for places in (WORKERS[:1], WORKERS, WORKERS * 2) if world.name == "demo" else (WORKERS,):
                tell(undisturbed(bench, places))
            tell(array_job(bench, 4))
        for trouble in TROUBLES if bench.world.name == "noise" else ():
            if not args.only or any(word in trouble.what for word in args.only):
                tell(disturbed(bench, trouble, args.times))
    return good


def indexed(bench: Bench) -> Tried:
    """The index by the cluster's workers, held against that of one process."""
    began, world = time.monotonic(), bench.world
    words = world.index(world.there, "--cluster", bench.site.scheduler_address)
    code = bench.start(words).wait(_LONGEST)
    tried = Tried(f"{world.name}: index by 2 workers")
    tried.seconds.append(time.monotonic() - began)
    if code:
        raise SystemExit(f"index: exit code {code}, read {bench.site.logs}")
    tried.equal.append(compare_tables(f"{world.home}/tunes.lance", f"{world.there}/tunes.lance").same)
    return tried


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("build/demo"), help="with `data`, as of make demo-data")
    parser.add_argument("--worlds", nargs="+", default=["demo", "noise"], choices=["demo", "noise"])
    parser.add_argument("--crops", type=int, default=20, help="crops of the demo's photographs, by the real composer")
    parser.add_argument("--photographs", type=int, help="of the demo, by the real composer; all unless it says fewer")
    parser.add_argument("--captions", type=int, help="of the demo's music and variants of it; the demo's own otherwise")
    parser.add_argument("--candidates", type=int, help="tunes that the real composer writes for a picture")
    parser.add_argument("--noise", type=int, default=120, help="pictures of noise, by the stand-in that sleeps")
    parser.add_argument("--times", type=int, default=10, help="of each trouble")
    parser.add_argument("--short", action="store_true", help="few pictures of noise, each trouble once")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="troubles whose names hold one of these")
    parser.add_argument("--folder", type=Path, default=Path("build/cluster"))
    args = parser.parse_args()
    if args.short:
        args.times, args.worlds, args.noise = 1, ["noise"], 60
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # hosts are taken down then, too
    if reason := reason_against():
        print(f"{reason}: nothing was tried, and nothing is claimed")
        return 0
    home = args.folder.absolute()
    shutil.rmtree(home, ignore_errors=True)
    good = check(args, home)
    print("\nall as it has to be" if good else "\nNOT all as it has to be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
