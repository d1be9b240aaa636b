"""`python -m benchmarks.kill_index --rows N`: builds and updates of the index, killed at random moments.

Builds: after each kill the table has to be the last committed one, whole; the run that may end at last has to give the
table of an undisturbed build. Updates, of every twentieth row: each starts from a copy of the built table; after the
kill it has to be the table from before or the updated one, and after one more run that of an undisturbed update.
Moments are drawn from one seed, evenly over the time that the undisturbed run took.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from benchmarks.generated_midicaps import DataSet, generate
from benchmarks.index_phases import some_changed
from benchmarks.index_runs import build, forget, index_arguments, update
from benchmarks.process_tree import image2music, tree
from benchmarks.same_table import compare_tables
from benchmarks.samples import SEED


def main() -> None:
    """Exit code 1 where a table is not what it has to be."""
    options = _parsed()
    data = generate(options.data, options.rows, options.folder)
    built, updated, killed = (data.captions.with_name(f"{name}.lance") for name in ("undisturbed", "updated", "killed"))
    rng = random.Random(SEED)
    if not (options.updates_only and built.exists()):
        seconds = build(data, built, workers=options.workers)["seconds"]
        print(f"build, undisturbed: {data.rows} rows in {seconds:.0f} s", flush=True)
    if not options.updates_only:
        _kill_builds(data, built, killed, options.workers, [rng.uniform(0, seconds) for _ in range(options.kills)])
    changed = some_changed(data, options.data, "captions-twentieth.json", every=20)
    _copy(built, updated)
    seconds = update(changed, updated, workers=options.workers)["seconds"]
    print(f"update, undisturbed: {seconds:.0f} s", flush=True)
    moments = [rng.uniform(0, seconds) for _ in range(options.kills)]
    _kill_updates(changed, built, updated, options.workers, moments)


def _kill_builds(data: DataSet, built: Path, killed: Path, workers: int, moments: list[float]) -> None:
    """One after the other over the same table, which is there from the first build on that was let alone so long."""
    forget(killed)
    for number, after in enumerate(moments, start=1):
        ended = _killed(_start(data, killed, workers), after)
        _check(killed, {"as undisturbed": built}, f"build {number}, {ended}", may_be_missing=True)
    _finish(_start(data, killed, workers))
    _check(killed, {"as undisturbed": built}, "build, let alone")


def _kill_updates(changed: DataSet, built: Path, updated: Path, workers: int, moments: list[float]) -> None:
    for number, after in enumerate(moments, start=1):
        # A place of its own: this process keeps tables open by place and version.
        killed = built.with_name(f"killed-{number}.lance")
        _copy(built, killed)
        ended = _killed(_start(changed, killed, workers, "--update"), after)
        _check(killed, {"as before": built, "updated": updated}, f"update {number}, {ended}")
        _finish(_start(changed, killed, workers, "--update"))
        _check(killed, {"updated": updated}, f"update {number}, run again")
        forget(killed)


def _copy(table: Path, other: Path) -> None:
    forget(other)
    for part in table.parent.glob(f"{table.name}*"):
        place = other.with_name(part.name.replace(table.name, other.name, 1))
        shutil.copytree(part, place) if part.is_dir() else shutil.copy2(part, place)


def _start(data: DataSet, table: Path, workers: int, *flags: str) -> subprocess.Popen[bytes]:
    command = image2music("index", *index_arguments(data, table), f"--workers={workers}", *flags)
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def _killed(process: subprocess.Popen[bytes], after: float) -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(after)
        return f"which ended before {after:.1f} s"
    for member in tree(process.pid):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    process.wait()
    time.sleep(1)
    return f"killed after {after:.1f} s"


def _finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait() not in (0, 3):
        raise SystemExit(f"the run that was let alone ended with exit code {process.returncode}")


def _check(table: Path, allowed: Mapping[str, Path], moment: str, *, may_be_missing: bool = False) -> None:
    """Print which of the allowed tables it is, or end."""
    if may_be_missing and not (table / "_versions").is_dir():
        print(f"{moment}: no version yet", flush=True)
        return
    found = {name: compare_tables(other, table) for name, other in allowed.items()}
    same = next((name for name, comparison in found.items() if comparison.same), None)
    if same is None:
        sys.exit(f"{moment}: none of the tables that it may be: {found}")
    print(f"{moment}: {same}, {found[same].rows} rows", flush=True)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill builds and updates of the index and see what comes of it.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10, help="of builds, and as many of updates")
    parser.add_argument(
        "--updates_only", action="store_true", help="kill no builds, and keep the table of an earlier run"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, default=Path("build/demo/data"), help="folder of MIDI files to repeat")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="where data and tables go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
