"""A long job, watched: does it slow down, does its memory grow?

    python -m benchmarks.soak --pictures 2000

The pictures are crops of the demo's photographs in other colours. Its own measure is its peer: the first part of the
run (500 pictures) against the last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from bisect import bisect_right
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.crops import make_crops
from benchmarks.watched_job import Watched, watch

MOST_SLOWDOWN = 0.10
MOST_GROWTH_MB = 100.0
PART = 500


@dataclass(frozen=True)
class Soak:
    """What a long run showed. Rates are in pictures a minute; `growth_mb` is that of the process that grew most."""

    pictures: int
    rows: int
    part: int
    seconds: float
    rate: float
    first_rate: float
    last_rate: float
    first_cpu_rate: float
    last_cpu_rate: float
    growth_mb: float
    peaks_mb: dict[str, float]

    @property
    def is_steady(self) -> bool:
        """Whether the last part was as fast as the first: by the clock, or by its work where the machine is shared."""
        ratios = (self.last_rate / self.first_rate, self.last_cpu_rate / self.first_cpu_rate)
        return max(ratios) >= 1 - MOST_SLOWDOWN and self.growth_mb < MOST_GROWTH_MB and self.rows == self.pictures


def measure(seen: Watched, moments: list[float], pictures: int) -> Soak:
    """Figures of a run from the moments at which its rows were made, sorted."""
    part = min(PART, len(moments) // 4)
    begin, middle, late, end = moments[0], moments[part], moments[-part - 1], moments[-1]
    first, last = _made(moments, begin, middle), _made(moments, late, end)
    peaks = {pid: (seen.peak_mb(pid, end=middle), seen.peak_mb(pid, begin=middle)) for pid in seen.samples}
    lasting = {pid: both for pid, both in peaks.items() if all(both)}
    return Soak(
        pictures=pictures,
        rows=len(moments),
        part=part,
        seconds=end - seen.started,
        rate=60 * _made(moments, begin, end) / (end - begin),
        first_rate=60 * first / (middle - begin),
        last_rate=60 * last / (end - late),
        first_cpu_rate=60 * first / _work(seen, begin, middle),
        last_cpu_rate=60 * last / _work(seen, late, end),
        growth_mb=max(after - before for before, after in lasting.values()),
        peaks_mb={f"{_role(seen.commands[pid])} {pid}": round(max(both)) for pid, both in peaks.items()},
    )


def _made(moments: list[float], begin: float, end: float) -> int:
    """Rows made after one moment and until another: rows of one batch have the same."""
    return bisect_right(moments, end) - bisect_right(moments, begin)


def _work(seen: Watched, begin: float, end: float) -> float:
    return seen.cpu_seconds(end) - seen.cpu_seconds(begin)


def _role(command: str) -> str:
    if "spawn_main" in command:
        return "worker"
    return "job" if "-m pipelines.cli.main" in command else "command"


def moments_of(output: Path) -> list[float]:
    """When each row was made, in seconds since the epoch, sorted."""
    column = pq.read_table(output / "compositions", columns=["composed_at"]).column("composed_at")
    return sorted(moment.timestamp() for moment in column.to_pylist())


def lines_of(soak: Soak) -> list[str]:
    """The figures for a person."""
    return [
        f"{soak.rows} rows of {soak.pictures} pictures (crops of the demo's photographs) in {soak.seconds:.0f} s",
        f"{soak.rate:.1f} a minute without loading",
        f"first {soak.part}: {soak.first_rate:.1f} a minute, last {soak.part}: {soak.last_rate:.1f}, "
        f"ratio {soak.last_rate / soak.first_rate:.3f}",
        f"by processor minute: first {soak.first_cpu_rate:.1f}, last {soak.last_cpu_rate:.1f}, "
        f"ratio {soak.last_cpu_rate / soak.first_cpu_rate:.3f}",
        "peak memory: " + ", ".join(f"{name} {peak:.0f} MB" for name, peak in soak.peaks_mb.items()),
        f"growth of the peak after the first {soak.part}: {soak.growth_mb:.0f} MB",
        "steady" if soak.is_steady else "NOT steady",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--composer", default="nano")
    parser.add_argument("--demo", type=Path, default=Path("build/demo"), help="with data/pictures and tunes.lance")
    parser.add_argument("--folder", type=Path, default=Path("build/soak"))
    args = parser.parse_args()
    pictures, output = args.folder / f"pictures-{args.pictures}", args.folder / "out"
    shutil.rmtree(output, ignore_errors=True)
    make_crops(args.demo / "data" / "pictures", pictures, args.pictures)
    command = [
        sys.executable,
        "-m",
        "pipelines.cli.main",
        "compose",
        "--images",
        str(pictures),
        "--output",
        str(output),
    ]
    command += ["--index", str(args.demo / "tunes.lance"), "--composer", args.composer]
    seen = watch([*command, "--workers", str(args.workers)], args.folder / "log.txt")
    print("\n".join(seen.output.splitlines()[-3:]))
    if seen.code != 0:
        return 1
    soak = measure(seen, moments_of(output), args.pictures)
    print("\n".join(lines_of(soak)))
    report = Path("build/bench/soak.json")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(asdict(soak) | {"workers": args.workers}, indent=2) + "\n")
    return 0 if soak.is_steady else 1


if __name__ == "__main__":
    sys.exit(main())
