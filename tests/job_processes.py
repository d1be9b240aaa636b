"""Whole jobs as processes, with the stand-in models, to be watched and killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
STAND_INS = Path(__file__).parent / "stand_ins"
WORKER = "spawn_main"
JOB = "-m pipelines.cli.main"


def environment() -> dict[str, str]:
    """This environment, with the stand-in models installed for every Python that it starts."""
    paths = [str(STAND_INS), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def start(arguments: list[str], folder: Path, group: int | None = None) -> subprocess.Popen[str]:
    """The command, started in a folder; stdout and stderr together. With `group` 0 it leads a process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli.main", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=group,
    )


def children(parent: int, words: str) -> list[int]:
    """Process ids of all descendants whose command holds the words, themselves no shell, in order of their start."""
    lines = subprocess.run(["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    table = [line.split(maxsplit=2) for line in lines.splitlines()[1:]]
    family = {str(parent)}
    while more := {pid for pid, above, _ in table if above in family} - family:
        family |= more
    found = [int(pid) for pid, _, words_of in table if pid in family and words in words_of and "sh -c" not in words_of]
    return [pid for pid in sorted(found) if pid != parent]


def wait_for(what, seconds: float = 60.0):
    """What a function returns as soon as it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{what} stayed empty for {seconds} s")


def noise_pictures(folder: Path, count: int) -> None:
    """Small pictures that differ from each other."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(folder / f"{number:05}.png")
