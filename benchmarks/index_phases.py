"""The phases of the index benchmark, in their order."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import index_queries
from benchmarks.generated_midicaps import DataSet, more_lines
from benchmarks.index_runs import build, update
from benchmarks.notebook import Figures, Notebook
from benchmarks.process_tree import measure
from benchmarks.same_table import compare_tables

WORKERS = 2
_PEER_ROWS = 640


def measure_all(notebook: Notebook, data: DataSet, originals: Path, *, sample: int) -> None:
    """Everything, into the notebook. `originals` are the files that the data set was made from."""
    table = data.captions.with_name("tunes.lance")
    notebook.phase("build", lambda: build(data, table, workers=WORKERS))
    notebook.phase("peer", lambda: peer(data))
    notebook.phase("query", lambda: index_queries.queries(table))
    notebook.phase("batch", lambda: index_queries.batch(table))
    notebook.phase("nothing_changed", lambda: update(data, table, workers=1))
    notebook.phase("nothing_changed_rehash", lambda: update(data, table, "--rehash", workers=1))
    changed = some_changed(data, originals, "captions-changed.json", every=100)
    notebook.phase("update_1pct", lambda: update(changed, table, workers=WORKERS))
    notebook.phase("workers", lambda: one_and_two_workers(data, sample))


def peer(data: DataSet) -> Figures:
    """The paper's own steps, on a sample."""
    places = ("--captions", str(data.captions), "--midi_root", str(data.midi))
    ran = measure([sys.executable, "-m", "benchmarks.index_peer", *places, "--rows", str(min(_PEER_ROWS, data.rows))])
    if ran.exit_code:
        raise SystemExit(f"the peer ended with exit code {ran.exit_code}:\n{ran.output}")
    figures: Figures = json.loads(ran.output.splitlines()[-1])
    return figures


def some_changed(data: DataSet, originals: Path, name: str, *, every: int) -> DataSet:
    """One row of so many another: by turns another file in place of the old one, and another caption."""
    lines = data.lines()
    places = range(0, len(lines), every)
    files = iter(more_lines(originals, data, range(len(lines), len(lines) + len(places))))
    for number, place in enumerate(places):
        lines[place] = next(files) if number % 2 else _told_otherwise(lines[place])
    return data.with_lines(name, lines)


def one_and_two_workers(data: DataSet, sample: int) -> Figures:
    """The same rows by one process and by two, and whether the tables are the same."""
    some = data.with_lines("captions-sample.json", data.lines()[:sample])
    tables = [data.captions.with_name(f"workers-{workers}.lance") for workers in (1, WORKERS)]
    one, two = (build(some, table, workers=workers) for workers, table in zip((1, WORKERS), tables, strict=True))
    found = compare_tables(*tables)
    if not found.same:
        raise SystemExit(f"one worker and two do not give the same table: {found}")
    return {"one_s": one["seconds"], "two_s": two["seconds"], "one_cpu_s": one["cpu_seconds"],
            "two_cpu_s": two["cpu_seconds"]} | asdict(found)  # fmt: skip


def _told_otherwise(line: str) -> str:
    row = json.loads(line)
    row["caption"] = f"Heard again: {row['caption']}"
    return json.dumps(row) + "\n"
