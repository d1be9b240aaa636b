"""A command that runs while the memory and processor time of all its processes are written down."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_MB = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """One process at one moment: seconds since the epoch, resident memory in MB, processor seconds so far."""

    at: float
    rss_mb: float
    cpu_s: float


@dataclass
class Watched:
    """What a command did: its exit code, its output and the samples of each process by id, with their commands."""

    code: int = 0
    output: str = ""
    started: float = 0.0
    commands: dict[int, str] = field(default_factory=dict)
    samples: dict[int, list[Sample]] = field(default_factory=dict)

    def cpu_seconds(self, at: float) -> float:
        """Processor seconds of all processes until a moment, as far as the samples tell."""
        until = ([sample.cpu_s for sample in samples if sample.at <= at] for samples in self.samples.values())
        return sum(times[-1] for times in until if times)

    def peak_mb(self, process: int, begin: float = 0.0, end: float = float("inf")) -> float:
        """Most memory of a process between two moments; 0 where it did not live then."""
        return max((sample.rss_mb for sample in self.samples[process] if begin <= sample.at <= end), default=0.0)


def watch(command: Sequence[str], log: Path, every: float = 1.0) -> Watched:
    """Run a command to its end and sample it and all its descendants. Linux only: it reads /proc."""
    seen = Watched(started=time.time())
    with log.open("w+") as file:
        process = subprocess.Popen(list(command), stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for pid in family(process.pid):
                _sample(pid, seen)
            time.sleep(every)
        file.seek(0)
        seen.output = file.read()
    seen.code = process.returncode
    return seen


def family(root: int) -> list[int]:
    """A process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found = [root]
    for pid in found:  # grows while it is read
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def command_of(pid: int) -> str:
    """The command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _sample(pid: int, seen: Watched) -> None:
    fields, command = _stat(pid), command_of(pid)
    if not fields or not command or command.startswith("/bin/sh"):
        return
    seen.commands[pid] = command
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    sample = Sample(time.time(), int(fields[21]) * _PAGE / _MB, cpu)
    seen.samples.setdefault(pid, []).append(sample)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
