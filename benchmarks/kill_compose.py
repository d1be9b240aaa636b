"""Kill a job again and again at random moments, and see that nothing is lost, doubled or half-written.

    python -m benchmarks.kill_compose --whole 20 --worker 10 --album 5

`--album` kills all processes of jobs of two workers that make albums: mid-album, or while the books are bound.

The models are the stand-ins of the tests: what is tried here is the job, and each try should be short.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.watched_job import command_of, family

SEED = 20260103
LONGEST_SILENCE = 60.0
_ROOT = Path(__file__).parent.parent
_SECONDS_A_TUNE = 0.05
_FOLDERS = 8
_CHANGES = ("seconds", "composed_at")
"""Columns that tell a disturbed run from an undisturbed one."""


def make_world(home: Path, pictures: int) -> int:
    """Pictures of noise, some of them twice and some broken, and an index; return how many contents there are."""
    random = np.random.default_rng(SEED)
    for folder in range(_FOLDERS):
        (home / "pictures" / f"{folder}").mkdir(parents=True)
    for number in range(pictures):
        noise = random.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(home / "pictures" / f"{number % _FOLDERS}" / f"{number:05}.png")
    for number in range(0, pictures, 50):
        folder = home / "pictures" / f"{number % _FOLDERS}"
        shutil.copy(folder / f"{number:05}.png", folder / f"copy-{number}.png")
        (folder / f"broken-{number}.png").write_bytes(b"no picture %d" % number)
    run(home, "index", "--captions", "captions.json", "--midi_root", "midi", "--embedder", "fake")
    return pictures + len(range(0, pictures, 50))


def make_captions(home: Path) -> None:
    """Three short tunes with captions."""
    from image2music.abc.playback import abc_to_midi

    (home / "midi").mkdir(parents=True)
    for name, notes in (("red", "CDEF GABc"), ("green", "cBAG FEDC"), ("blue", "CEGc cGEC")):
        (home / "midi" / f"{name}.mid").write_bytes(abc_to_midi(f"X:1\nM:4/4\nL:1/8\nK:C\n{notes} |]\n"))
    lines = [f'{{"location": "{name}.mid", "caption": "{name}"}}' for name in ("red", "green", "blue")]
    (home / "captions.json").write_text("\n".join(lines) + "\n")


def command(name: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "pipelines.cli.main", name, "--index", "tunes.lance", *options]


def compose(output: str, workers: int, *options: str, seconds: float = _SECONDS_A_TUNE) -> list[str]:
    known = ("--images", "pictures", "--output", output, "--composer", f"fake:{seconds}", "--workers", str(workers))
    return command("compose", *known, *options)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{_ROOT / 'tests' / 'stand_ins'}{os.pathsep}{_ROOT}"}


def run(home: Path, name: str, *options: str) -> None:
    subprocess.run(command(name, *options), cwd=home, env=environment(), check=True, stdout=subprocess.DEVNULL)


@contextmanager
def started(home: Path, words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as file:
        job = subprocess.Popen(words, cwd=home, env=environment(), stdout=file, stderr=subprocess.STDOUT)
        try:
            yield job
        finally:
            kill_all(family(job.pid))
            job.wait()


def kill_all(processes: list[int]) -> None:
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def content(output: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows without what differs from run to run, and ids of the failures, both sorted."""
    table = pq.read_table(output / "compositions").drop_columns(list(_CHANGES)).sort_by("image_id")
    return table.to_pylist(), sorted(pq.read_table(output / "failures").column("id").to_pylist())


def books(output: Path) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Album rows without the moment of their binding, and every file of the books."""
    table = pq.read_table(output / "albums").drop_columns(["bound_at"]).sort_by("album")
    return table.to_pylist(), {str(path.relative_to(output)): path.read_bytes() for path in output.glob("books/*/*")}


def finish(home: Path, output: str, workers: int, *options: str, seconds: float = 0.0) -> float:
    """Let a job run to its end, with failures; return how long it took."""
    begin = time.monotonic()
    words = compose(output, workers, "--max_failures", "10%", *options, seconds=seconds)
    subprocess.run(words, cwd=home, env=environment(), stdout=subprocess.DEVNULL)
    return _since(begin)


def kill_whole_jobs(home: Path, output: str, times: int, within: float, workers: int, *options: str) -> list[float]:
    """Kill every process of a job `times` times, each time from the start; then let it finish. Returns the moments."""
    chance, moments = random.Random(SEED), []
    for _ in range(times):
        with started(home, compose(output, workers, *options), home / "log.txt"):
            moments.append(chance.uniform(0.0, within))
            time.sleep(moments[-1])
    finish(home, output, workers, *options)
    return moments


def kill_albums(home: Path, times: int) -> bool:
    """Kill whole jobs of two workers that make albums; return whether all is as in an undisturbed run of one."""
    finish(home, "albums", 1, "--album")
    took = finish(home, "albums-of-two", 2, "--album", seconds=_SECONDS_A_TUNE)
    moments = kill_whole_jobs(home, "albums-killed", times, took, 2, "--album")
    expected = content(home / "albums"), books(home / "albums")
    good = True
    for output, what in (("albums-of-two", "by two workers"), ("albums-killed", f"killed {_times(moments)}")):
        same = (content(home / output), books(home / output)) == expected
        print(f"{len(expected[1][0])} albums {what}: {_verdict(same)}", flush=True)
        good &= same
    return good


def kill_a_worker(home: Path, number: int) -> tuple[float, float, int]:
    """Seconds from the start to the kill, from the kill to the end of the job, and the exit code."""
    log, chance = home / f"worker-{number}.txt", random.Random(SEED + number)
    with started(home, compose(f"worker-{number}", 2, "--max_failures", "10%"), log) as job:
        begin = time.monotonic()
        while len(workers := [pid for pid in family(job.pid) if _is_worker(pid)]) < 2:
            time.sleep(0.05)
        time.sleep(chance.uniform(0.0, 8.0))
        kill_all([chance.choice(workers)])
        killed = time.monotonic()
        code = job.wait(10 * LONGEST_SILENCE)
        return killed - begin, _since(killed), code


def _is_worker(process: int) -> bool:
    return "spawn_main" in command_of(process)


def _times(moments: list[float]) -> str:
    return f"{len(moments)} times after {min(moments):.1f} to {max(moments):.1f} s"


def _since(moment: float) -> float:
    return time.monotonic() - moment


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", type=int, default=20)
    parser.add_argument("--worker", type=int, default=10)
    parser.add_argument("--album", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--folder", type=Path, default=Path("build/kill"))
    args = parser.parse_args()
    home = args.folder.absolute()
    shutil.rmtree(home, ignore_errors=True)
    make_captions(home)
    contents = make_world(home, args.pictures)
    took = finish(home, "undisturbed", 1)
    expected = content(home / "undisturbed")
    good = len(expected[0]) + len(expected[1]) == contents
    print(f"{len(expected[0])} rows and {len(expected[1])} failures of {contents} contents, undisturbed", flush=True)
    if args.whole:
        moments = kill_whole_jobs(home, "killed", args.whole, 1.5 * took, 1)
        same = content(home / "killed") == expected
        print(f"killed {_times(moments)}: {_verdict(same)}", flush=True)
        good &= same
    if args.album:
        good &= kill_albums(home, args.album)
    for number in range(args.worker):
        moment, rest, code = kill_a_worker(home, number)
        same = code == 3 and content(home / f"worker-{number}") == expected
        told = f"done {rest:.1f} s later, exit code {code}, {_verdict(same)}"
        print(f"a worker killed {moment:.1f} s after the start: {told}", flush=True)
        good &= same
    return 0 if good else 1


def _verdict(same: bool) -> str:
    return "the rows and failures of the undisturbed run" if same else "OTHER rows or failures"


if __name__ == "__main__":
    sys.exit(main())
