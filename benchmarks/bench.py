"""`python -m benchmarks.bench --data DIR`: measure, print a Markdown table, write build/bench/bench.json.

A module joins by its name in `MODULES`. It has a function `rows(data)` that takes the folder of files to measure on
and yields `BenchRow`s, and may have `details()`, lines of Markdown about what it has just measured.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.row import BenchRow, markdown, write_json

MODULES: tuple[str, ...] = (
    "benchmarks.notation_rows",
    "benchmarks.playback_rows",
    "benchmarks.attention_rows",
    "benchmarks.conversation_rows",
    "benchmarks.grammar_rows",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every module and report."""
    parser = argparse.ArgumentParser(description="Measure image2music against its peers.")
    parser.add_argument("--data", type=Path, default=Path("build/demo/data"), help="folder of files to measure on")
    parser.add_argument("--output", type=Path, default=Path("build/bench/bench.json"), help="where the rows go")
    parser.add_argument("--only", default="", help="run the modules whose name contains this")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"{options.data} is no folder: run `make demo-data`, or give --data DIR")
    rows: list[BenchRow] = []
    for name in MODULES:
        if options.only in name:
            rows += _measured(name, options.data)
    print(markdown(rows))
    write_json(rows, options.output)
    print(f"\n{len(rows)} rows in {options.output}")


def _measured(name: str, data: Path) -> list[BenchRow]:
    started = time.perf_counter()
    module = importlib.import_module(name)
    rows = list(module.rows(data))
    for line in module.details() if hasattr(module, "details") else ():
        print(line)
    print(f"\n{name}: {time.perf_counter() - started:.0f} s\n")
    return rows


if __name__ == "__main__":
    main()
