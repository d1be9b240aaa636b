"""Runs of `image2music index` that are measured from outside, with all their processes."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.generated_midicaps import DataSet
from benchmarks.notebook import Figures
from benchmarks.process_tree import Measured, image2music, measure


def build(data: DataSet, table: Path, *, workers: int) -> Figures:
    """Make the table anew."""
    forget(table)
    return _figures(_index(data, table, f"--workers={workers}"))


def update(data: DataSet, table: Path, *flags: str, workers: int) -> Figures:
    """Bring the table up to the data set."""
    return _figures(_index(data, table, "--update", f"--workers={workers}", *flags))


def forget(table: Path) -> None:
    """Delete a table and what lies beside it."""
    for part in table.parent.glob(f"{table.name}*"):
        shutil.rmtree(part) if part.is_dir() else part.unlink()


def index_arguments(data: DataSet, table: Path) -> tuple[str, ...]:
    """The places, as options."""
    return "--captions", str(data.captions), "--midi_root", str(data.midi), "--index", str(table)


def _index(data: DataSet, table: Path, *flags: str) -> Measured:
    ran = measure(image2music("index", *index_arguments(data, table), *flags))
    if ran.exit_code not in (0, 3):
        raise SystemExit(f"index {' '.join(flags)} ended with exit code {ran.exit_code}:\n{ran.output}")
    return ran


def _figures(ran: Measured) -> Figures:
    return {"seconds": ran.seconds, "cpu_seconds": ran.cpu_seconds, "peak_bytes": ran.peak_bytes}
