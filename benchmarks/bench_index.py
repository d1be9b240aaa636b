"""`python -m benchmarks.bench_index --rows N`: the tune index at MidiCaps' size, against its peers.

Generates the data set (`benchmarks.generated_midicaps`: real MIDI in other keys and tempi, captions by rule; it is
not MidiCaps), builds, searches and updates an index of it, prints a Markdown table and writes it as JSON. With
`--resume` phases that an earlier run has measured are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks import index_figures, index_phases
from benchmarks.generated_midicaps import generate
from benchmarks.notebook import Notebook
from benchmarks.row import markdown, write_json


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options = _parsed(arguments)
    data = generate(options.data, options.rows, options.output.parent)
    home = data.captions.parent
    notebook = Notebook(home / "figures.json")
    if not options.resume:
        notebook.forget()
    print(f"{data.rows} rows generated from {data.sources} real MIDI files; this is not MidiCaps\n", flush=True)
    index_phases.measure_all(notebook, data, options.data, sample=min(options.sample, options.rows))
    figures = notebook.read()
    rows = index_figures.rows(figures, data.rows)
    print("\n" + markdown(rows) + "\n")
    for line in index_figures.details(figures, data.rows):
        print(f"- {line}")
    write_json(rows, options.output)
    details = options.output.with_name(f"{options.output.stem}_details.json")
    details.write_text(json.dumps({"rows": data.rows, "sources": data.sources} | figures, indent=2) + "\n")
    print(f"\n{len(rows)} rows in {options.output}, everything measured in {details}")


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the tune index against its peers.")
    parser.add_argument("--rows", type=int, default=20_000, help="size of the table; MidiCaps has 168,385 rows")
    parser.add_argument("--data", type=Path, default=Path("build/demo/data"), help="folder of MIDI files to repeat")
    parser.add_argument("--sample", type=int, default=5000, help="rows that one worker and two workers index")
    parser.add_argument("--output", type=Path, default=Path("build/bench/bench_index.json"), help="where the rows go")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run has measured")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"{options.data} is no folder: run `make demo-data`, or give --data DIR")
    return options


if __name__ == "__main__":
    main()
