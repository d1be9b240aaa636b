from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.index_figures import details, rows
from benchmarks.index_queries import recall
from benchmarks.notebook import Notebook
from benchmarks.process_tree import measure

pytestmark = pytest.mark.process

RUN = {"seconds": 100.0, "cpu_seconds": 150.0, "peak_bytes": 1e9}
FOUND = {
    "build": RUN,
    "peer": {"rows": 10.0} | {f"{step}{clock}": 0.5 for step in ("convert_mido", "convert_midi2abc", "embed")
                              for clock in ("_s", "_cpu_s")},
    "query": {"queries": 9.0, "query_ms": 2.0, "query_p95_ms": 3.0, "recall": 1.0, "exact_queries": 3.0,
              "exact_ms": 100.0, "numpy_ms": 20.0, "picture_ms": 9.0},
    "batch": {"pictures": 1000.0, "batch_query_ms": 1.0, "exact_ms": 100.0, "exact_queries": 3.0},
    "nothing_changed": RUN,
    "nothing_changed_rehash": RUN,
    "update_1pct": RUN | {"seconds": 2.0},
    "workers": {"rows": 60.0, "one_s": 60.0, "two_s": 30.0, "one_cpu_s": 60.0, "two_cpu_s": 62.0,
                "vector_difference": 0.0},
}  # fmt: skip


def test_the_rows_are_named_as_agreed_and_held_against_their_peers() -> None:
    assert {row.name: row.ratio for row in rows(FOUND, n_rows=1500)} == {
        "rows_per_minute": pytest.approx(2.0),  # 2 cores, 0.1 s a row, against 0.1 s a row
        "query_ms": 50.0,
        "batch_query_ms": 100.0,
        "update_1pct_s": 50.0,
        "two_workers_rate": 2.0,
    }
    assert "recall@5 1.0000" in "\n".join(details(FOUND, n_rows=1500))


def test_a_phase_is_measured_once(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "figures.json")
    assert notebook.phase("build", lambda: {"seconds": 1.0}) == {"seconds": 1.0}
    assert notebook.phase("build", lambda: {"seconds": 2.0}) == {"seconds": 1.0}
    notebook.forget()
    assert notebook.phase("build", lambda: {"seconds": 2.0}) == {"seconds": 2.0}


def test_recall_counts_any_of_equally_near_rows_as_right() -> None:
    similarities = np.array([0.9, 0.5, 0.5, 0.1], dtype=np.float32)
    assert recall(similarities, [0, 1]) == recall(similarities, [0, 2]) == 1.0
    assert recall(similarities, [0, 3]) == 0.5


def test_a_program_is_measured_with_what_it_starts() -> None:
    child = "import time; block = bytearray(60_000_000); time.sleep(5)"
    found = measure(["/bin/sh", "-c", f"python3 -c '{child}'; exit 3"])
    assert found.exit_code == 3
    assert found.seconds >= 5
    assert found.peak_bytes > 60_000_000
