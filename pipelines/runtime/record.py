"""run.json: what a run was asked to do, with what, and what came of it."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from apache_beam.runners.runner import PipelineResult

from image2music import __version__
from image2music.rows import now
from image2music.storage.run_file import RunFile
from transforms.stage import NAMESPACE, TIME

_PACKAGES = ("apache-beam", "pyarrow", "pylance", "torch", "transformers", "symusic", "numpy", "pillow")


@dataclass
class RunRecord:
    """The content of run.json. `state` goes from running to done, failed or stopped."""

    file: RunFile
    command: str
    options: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, Any] = field(default_factory=dict)
    state: str = "running"
    message: str = ""
    started_at: str = field(default_factory=lambda: now().isoformat())
    _clock: float = field(default_factory=time.monotonic)

    def write(self) -> None:
        """Replace run.json in one step."""
        content = {
            "state": self.state,
            "message": self.message,
            "command": self.command,
            "options": self.options,
            **self.details,
            "versions": versions(),
            "process": {"host": platform.node(), "pid": os.getpid()},
            "counts": self.counts,
            "seconds": {"total": round(time.monotonic() - self._clock, 3)} | self.seconds,
            "started_at": self.started_at,
            "finished_at": None if self.state == "running" else now().isoformat(),
        }
        self.file.replace(content)

    def end(self, state: str, message: str = "") -> None:
        """Write the last state."""
        self.state, self.message = state, message
        self.write()


def versions() -> dict[str, str]:
    """Of this project, of Python and of the packages that can change a row."""
    found = {"image2music": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def counters(result: PipelineResult) -> Counter[str]:
    """The stages' counters: `STAGE.done` and `STAGE.failed`, `skip.skipped`."""
    found = result.metrics().query()["counters"]
    return Counter({entry.key.metric.name: entry.result for entry in found if entry.key.metric.namespace == NAMESPACE})


def stage_seconds(result: PipelineResult) -> dict[str, float]:
    """Seconds that each stage spent on its elements, over all workers."""
    prefix = f"{NAMESPACE}."
    return {
        entry.key.metric.namespace.removeprefix(prefix): round(entry.result.sum / 1e6, 3)
        for entry in result.metrics().query()["distributions"]
        if entry.key.metric.namespace.startswith(prefix) and entry.key.metric.name == TIME
    }
