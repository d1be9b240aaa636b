"""One row of a benchmark: what we measure, what a peer measures, which of the two is better."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class BenchRow:
    """A figure beside its peer's, both in `unit`; `better` says which way is better."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    better: Literal["higher", "lower"]

    @property
    def ratio(self) -> float:
        """How many times better ours is; above 1 means better, whichever way the figure goes."""
        above, below = (self.ours, self.peer) if self.better == "higher" else (self.peer, self.ours)
        return above / below if below else float("inf")


def markdown(rows: Iterable[BenchRow]) -> str:
    """Rows as a Markdown table."""
    lines = ["| figure | ours | peer | what the peer is | unit | better | ratio |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        figures = f"{row.ours:.4g} | {row.peer:.4g} | {row.peer_name} | {row.unit} | {row.better} | {row.ratio:.3g}"
        lines.append(f"| {row.name} | {figures} |")
    return "\n".join(lines)


def write_json(rows: Sequence[BenchRow], path: Path) -> None:
    """Write rows, with their ratio, as a JSON list; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows], indent=2) + "\n")
