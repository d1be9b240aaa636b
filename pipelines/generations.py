"""A new generation of an output takes the place of the earlier one, in steps that can be repeated.

While it is made it lies in OUT/.refresh: `compositions` holds rows composed anew, `kept` those of the earlier
generation. A marker says that it is whole and where the earlier one goes; from then on only folders are renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from image2music.whole_files import write_whole
from pipelines.outputs import COMPOSITIONS, FAILURES, GENERATIONS, shards

KEPT = "kept"
_STAGING, _MARKER, _RECORD = ".refresh", "complete.json", "run.json"


def staging(output: Path) -> Path:
    """Where a new generation is made."""
    return output / _STAGING


def begin(output: Path, *, version: int) -> Path:
    """The staging folder, with what a stopped run composed from the same version of the index.

    run.json of the earlier generation is put aside, for the new run writes its own.
    """
    home = staging(output)
    note = home / "version"
    if note.exists() and note.read_text() != str(version):
        shutil.rmtree(home / COMPOSITIONS, ignore_errors=True)
    shutil.rmtree(home / KEPT, ignore_errors=True)
    shutil.rmtree(home / FAILURES, ignore_errors=True)
    (home / KEPT).mkdir(parents=True)
    (home / COMPOSITIONS).mkdir(exist_ok=True)
    note.write_text(str(version))
    if (output / _RECORD).exists() and not (home / _RECORD).exists():
        shutil.copy2(output / _RECORD, home / _RECORD)
    return home


def complete(output: Path, *, version: int) -> Path:
    """Say that the staged generation is whole, and put it in place; returns where the earlier one lies now."""
    names = (f"index-{version}", *(f"index-{version}-{number}" for number in range(2, 10_000)))
    name = next(name for name in names if not (output / GENERATIONS / name).exists())
    write_whole(staging(output) / _MARKER, json.dumps({"earlier": name}).encode())
    finish(output)
    return output / GENERATIONS / name


def finish(output: Path) -> None:
    """Do what is left of putting a whole generation in place; nothing where there is none."""
    home, current = staging(output), output / COMPOSITIONS
    marker = home / _MARKER
    if not marker.exists():
        return
    earlier = output / GENERATIONS / json.loads(marker.read_text())["earlier"]
    earlier.mkdir(parents=True, exist_ok=True)
    if not (earlier / COMPOSITIONS).exists():
        os.replace(current, earlier / COMPOSITIONS)
    if (home / _RECORD).exists():
        os.replace(home / _RECORD, earlier / _RECORD)
    if not current.exists():
        _move(home / KEPT, home / COMPOSITIONS)
        os.replace(home / COMPOSITIONS, current)
    _move(home / FAILURES, output / FAILURES)
    shutil.rmtree(home)


def _move(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for shard in shards(source):
        os.replace(shard, target / shard.name)
