"""What stays the same on another processor: `compose` with other kernels and thread counts forced.

    python -m benchmarks.processors --images FOLDER --index tunes.lance [--n 16] [--code CHECKOUT]

The same pictures are composed once a variant, each in a process of its own whose environment makes numpy, MKL, oneDNN,
ATen and OpenBLAS run as on an older processor, or with two threads. Sums come out in another order, and single
precision in other bits. Texts, tunes, MIDI bytes and references have to be the same, and numbers near each other.
Prints a line a variant, and ends with 1 if a variant differs from the first. A processor that lacks bfloat16 is among
them: oneDNN below AVX-512 has no such products.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

_ROOT = Path(__file__).parent.parent

VARIANTS = {
    "as it is": {},
    "AVX2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    },
    "SSE4.1": {
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Prescott",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    },
    "two threads": {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
}
"""Name to what is set in the environment. What a library does not know, it ignores."""

NUMBERS_WITHIN = 1e-3
EXACT = (
    *("description", "references", "abc", "title", "key", "meter", "tempo_qpm", "midi", "motivation"),
    *("rounds", "attention", "composer_id", "embedder_id", "settings_hash"),
)
"""Columns in which everything but numbers with a fraction has to be equal."""
NUMBERS = ("image_embedding", "description_embedding", "metrics")


@dataclass(frozen=True)
class Difference:
    """How the rows of a variant differ from those of the first one."""

    rows: int
    other: dict[str, int]
    largest: float

    @property
    def is_promised(self) -> bool:
        """Whether it is none but in numbers, and small there."""
        return not self.other and self.largest <= NUMBERS_WITHIN

    def __str__(self) -> str:
        columns = ", ".join(f"{name} {count}" for name, count in self.other.items()) or "none"
        return f"{self.rows} rows; rows with another value: {columns}; numbers within {self.largest:.1e}"


def split(value: Any, numbers: list[float]) -> Any:
    """The value without its numbers that have a fraction, which are appended to a list."""
    if isinstance(value, float):
        numbers.append(value)
        return None
    if isinstance(value, dict):
        return {name: split(part, numbers) for name, part in value.items()}
    return [split(part, numbers) for part in value] if isinstance(value, list) else value


def compare(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> Difference:
    """Compare rows by image_id, each a dictionary of its columns."""
    found: dict[str, int] = {}
    largest = 0.0
    if one.keys() != other.keys():
        found["image_id"] = len(one.keys() ^ other.keys())
    for image_id in one.keys() & other.keys():
        for column in (*EXACT, *NUMBERS):
            ours: list[float] = []
            theirs: list[float] = []
            same = split(one[image_id][column], ours) == split(other[image_id][column], theirs)
            if not same or len(ours) != len(theirs):
                found[column] = found.get(column, 0) + 1
            elif ours:
                largest = max(largest, float(np.abs(np.array(ours) - np.array(theirs)).max()))
    return Difference(len(other), found, largest)


def read_rows(output: Path) -> dict[str, dict[str, Any]]:
    shards = sorted((output / "compositions").glob("part-*.parquet"))
    rows = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    return {row["image_id"]: row for row in rows}


def compose(pictures: Path, index: Path, output: Path, code: Path, changes: dict[str, str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(code)} | changes
    command = [sys.executable, "-m", "pipelines.cli.main", "compose", "--images", pictures, "--index", index]
    subprocess.run([*map(str, command), "--output", str(output)], env=environment, cwd=code, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--n", type=int, default=16, help="pictures, the first by name")
    parser.add_argument("--code", type=Path, default=_ROOT, help="a checkout, to compare with an earlier commit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "pictures").mkdir()
        for picture in sorted(options.images.iterdir())[: options.n]:
            shutil.copy(picture, home / "pictures")
        found = {}
        for name, changes in VARIANTS.items():
            output = home / name.replace(" ", "_")
            compose(home / "pictures", options.index.resolve(), output, options.code.resolve(), changes)
            found[name] = read_rows(output)
    first, *_ = found.values()
    differences = {name: compare(first, rows) for name, rows in found.items()}
    for name, difference in differences.items():
        print(f"{name}: {difference}")
    return 0 if all(difference.is_promised for difference in differences.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
