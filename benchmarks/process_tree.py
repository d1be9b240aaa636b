"""Run a program and measure it with all processes that it starts."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 2.0
"""Between two looks at the memory: each costs some hundredths of a second of CPU time."""


@dataclass(frozen=True)
class Measured:
    """What a program took. `peak_bytes` is the most memory that its processes held at one time.

    Pages that several of them share are counted once, where the system can tell (PSS).
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    exit_code: int
    output: str


def measure(command: Sequence[str]) -> Measured:
    """Run a command to its end, one thread a library unless the environment says otherwise."""
    started, cpu = time.monotonic(), _cpu_of_children()
    peak = 0
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        while not _has_ended(process):
            peak = max(peak, sum(map(_memory, tree(process.pid))))
        seconds = time.monotonic() - started
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Measured(seconds, _cpu_of_children() - cpu, peak, process.returncode, text)


def image2music(*arguments: str) -> list[str]:
    """The command line of this very tree."""
    return [sys.executable, "-m", "pipelines.cli.main", *arguments]


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_EVERY_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def tree(root: int) -> list[int]:
    """Ids of a process and of all that descend from it and still run."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def _parent(process: Path) -> int:
    try:
        # The name of a program, in brackets, may hold anything.
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it has ended
        return 0


def _memory(process: int) -> int:
    for name, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{process}/{name}").read_text().splitlines()
        except OSError:  # it has ended, or this system has no such file
            continue
        for line in lines:
            if line.startswith(field):
                return int(line.split()[1]) << 10
    return 0


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
