"""`python -m benchmarks.kill_index --rows N`: builds of the index, killed at random moments, then one that may end.

After each kill the table has to be the last committed one, whole; after the last run it has to be the table of an
undisturbed build. Moments are drawn from one seed, evenly over the time that the undisturbed build took.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.generated_midicaps import DataSet, generate
from benchmarks.index_runs import build, forget, index_arguments
from benchmarks.process_tree import image2music, tree
from benchmarks.same_table import compare_tables
from benchmarks.samples import SEED


def main() -> None:
    """Exit code 1 where a table is not what it has to be."""
    options = _parsed()
    data = generate(options.data, options.rows, options.folder)
    undisturbed, killed = (data.captions.with_name(f"{name}.lance") for name in ("undisturbed", "killed"))
    seconds = build(data, undisturbed, workers=options.workers)["seconds"]
    print(f"undisturbed: {data.rows} rows in {seconds:.0f} s", flush=True)
    forget(killed)
    rng = random.Random(SEED)
    for number in range(1, options.kills + 1):
        after = rng.uniform(0, seconds)
        ended = _killed(data, killed, options.workers, after)
        _check(undisturbed, killed, f"kill {number} after {after:.0f} s{ended}", missing="no version yet")
    if _run(data, killed, options.workers).wait() not in (0, 3):
        raise SystemExit("the last run did not end well")
    _check(undisturbed, killed, "run to its end", missing="")


def _killed(data: DataSet, table: Path, workers: int, after: float) -> str:
    process = _run(data, table, workers)
    with suppress(subprocess.TimeoutExpired):
        process.wait(after)
        return ", it had ended before"
    for member in tree(process.pid):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    process.wait()
    time.sleep(1)
    return ""


def _run(data: DataSet, table: Path, workers: int) -> subprocess.Popen[bytes]:
    command = image2music("index", *index_arguments(data, table), f"--workers={workers}")
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def _check(undisturbed: Path, killed: Path, moment: str, *, missing: str) -> None:
    if missing and not (killed / "_versions").is_dir():
        print(f"{moment}: {missing}", flush=True)
        return
    found = compare_tables(undisturbed, killed)
    print(f"{moment}: {found}", flush=True)
    if not found.same:
        sys.exit(1)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill builds of the index and see what comes of it.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, default=Path("build/demo/data"), help="folder of MIDI files to repeat")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="where data and tables go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
