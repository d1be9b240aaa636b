"""A job whose folders are taken away while it runs, or can only be read: exit code 1, one line, and a rerun mends it.

    python -m benchmarks.trouble

Folders are real mounts in memory, as in `benchmarks.disk_full`, for whoever may mount may also write into folders that
only the mode of their files protects. The models are the stand-ins of the tests.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.disk_full import Content, complaints, disk_of, make_world, rows, run
from benchmarks.kill_compose import environment

_ROOM = 64 << 20
_PATIENCE = 90.0


@dataclass(frozen=True)
class Trouble:
    """What happens to the disk that holds pictures, index and output, and how it is mended.

    It happens when the first rows are there, or `at_once`, before the command starts.
    """

    name: str
    happen: Callable[[Path], None]
    mend: Callable[[Path, Path], None] = lambda disk, home: None
    at_once: bool = False


def remount(disk: Path, how: str) -> None:
    """Make a disk read-only ("ro") or writable ("rw")."""
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


TROUBLES = (
    Trouble("the output is removed", lambda disk: shutil.rmtree(disk / "out")),
    Trouble("the folder of rows is removed", lambda disk: shutil.rmtree(disk / "out" / "compositions")),
    Trouble(
        "the index is removed",
        lambda disk: shutil.rmtree(disk / "tunes.lance"),
        lambda disk, home: bring(home / "tunes.lance", disk / "tunes.lance"),
    ),
    Trouble(
        "the output is read-only",
        lambda disk: remount(disk, "ro"),
        lambda disk, home: remount(disk, "rw"),
        at_once=True,
    ),
)


def bring(source: Path, target: Path) -> None:
    """A copy of a folder."""
    shutil.copytree(source, target)


def compose(disk: Path, pictures: Path, seconds: float, workers: int) -> list[str]:
    """The command; each tune takes so many seconds."""
    places = ["--images", str(pictures), "--index", f"{disk}/tunes.lance", "--output", f"{disk}/out"]
    how = ["--composer", f"fake:{seconds}", "--workers", str(workers), "--max_failures", "10%"]
    return ["compose", *places, *how]


def try_trouble(home: Path, disk: Path, trouble: Trouble, workers: int, expected: Content) -> list[str]:
    """What is wrong afterwards; print what was seen."""
    bring(home / "tunes.lance", disk / "tunes.lance")
    (disk / "out").mkdir()
    if trouble.at_once:
        trouble.happen(disk)
    words = [sys.executable, "-m", "pipelines.cli.main", *compose(disk, home / "photos", 0.1, workers)]
    job = subprocess.Popen(
        words, cwd=home, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if not trouble.at_once:
        _wait_for_rows(disk, job)
        trouble.happen(disk)
    said = job.communicate(timeout=_PATIENCE)[1].splitlines()
    print(
        f"{trouble.name}, {workers} working: exit code {job.returncode}, {said[-1] if said else 'no word'}", flush=True
    )
    # What came too late to matter, as an index that was read already, is no trouble.
    as_ever = (job.returncode, len(said)) == (3, 0) and rows(disk) == expected
    wrong = [] if as_ever or (job.returncode, len(said)) == (1, 1) else [f"exit code {job.returncode}", *said]
    wrong += [line for line in complaints(rows(disk), {}, expected) if "failure of" not in line]
    trouble.mend(disk, home)
    code, complained = run(home, compose(disk, home / "photos", 0.0, workers))
    wrong += [] if code == 3 else [f"exit code {code} when mended", *complained]
    return wrong + ([] if rows(disk) == expected else ["other content when mended"])


def _wait_for_rows(disk: Path, job: subprocess.Popen[str]) -> None:
    end = time.monotonic() + _PATIENCE
    while not list(disk.glob("out/compositions/part-*")):
        if job.poll() is not None or time.monotonic() > end:
            raise SystemExit("the job wrote no row")
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/trouble"))
    home = parser.parse_args().folder.absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    make_world(home)
    with disk_of(_ROOM, home / "photos") as photos:
        shutil.copytree(home / "pictures", photos, dirs_exist_ok=True)
        remount(photos, "ro")
        with disk_of(_ROOM, home / "disk") as disk:
            bring(home / "tunes.lance", disk / "tunes.lance")
            code, _ = run(home, compose(disk, photos, 0.0, 1))
            expected = rows(disk)
        print(f"pictures that can only be read: exit code {code}, {len(expected)} rows and failures", flush=True)
        good = code == 3
        for trouble, workers in ((trouble, workers) for trouble in TROUBLES for workers in (1, 2)):
            with disk_of(_ROOM, home / "disk") as disk:
                wrong = try_trouble(home, disk, trouble, workers, expected)
            print("".join(f"    WRONG: {line}\n" for line in wrong), end="", flush=True)
            good &= not wrong
    print("all as it has to be" if good else "NOT all as it has to be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
