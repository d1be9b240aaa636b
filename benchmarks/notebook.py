"""Figures of the phases of a long benchmark, kept on disk: what fails late does not lose what was measured early."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Figures = dict[str, float]


@dataclass(frozen=True)
class Notebook:
    """A JSON file of figures by phase."""

    path: Path

    def phase(self, name: str, measure: Callable[[], Figures]) -> Figures:
        """The figures of a phase: as they stand in the file, or measured now and written there."""
        known = self.read()
        if name in known:
            print(f"{name}: as measured before", flush=True)
            return known[name]
        print(f"{name} ...", flush=True)
        started = time.monotonic()
        figures = measure()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        hidden = self.path.with_name(f".{self.path.name}")
        hidden.write_text(json.dumps(self.read() | {name: figures}, indent=2) + "\n", encoding="utf-8")
        hidden.replace(self.path)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        return figures

    def read(self) -> dict[str, Figures]:
        """Every phase that is done."""
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}

    def forget(self) -> None:
        """Measure everything anew."""
        self.path.unlink(missing_ok=True)
