"""Whether other runners of Beam make the rows of one process: Prism, and Beam's job service with a pool of workers.

    python -m benchmarks.prism_check [--pictures 12] [--tunes 24]

`index`, `compose` and `compose --album` run over a sample of the demo's data in this process, by Prism
(`--environment_type=LOOPBACK`) and by the job service with a worker pool beside it (`make job-service`,
`make worker-pool`); all columns but the durations and moments are compared. Prism is looked for in PRISM, on PATH and
where `go install` puts it. Where it is not there, this is said, and the other way is tried all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lance
import pyarrow.parquet as pq

HOW_TO_GET_IT = "go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
HERE = "in process"
_ROOT = Path(__file__).parents[1]
_OF_THE_RUN = {"seconds", "composed_at", "failed_at", "bound_at"}
"""Columns that differ from run to run."""
_PATIENCE = 60.0
_LONGEST = 900.0
"""Seconds that one command may take."""


@dataclass(frozen=True)
class Way:
    """A way to run a job: its name, and Beam's options for it."""

    name: str
    flags: tuple[str, ...] = ()


@dataclass
class Line:
    """What a job made in one way. `wrong` says what is not as in process; empty where all is."""

    job: str
    way: str
    rows: int
    seconds: float
    wrong: str = ""


@dataclass
class Seen:
    """Rows of each job, by the folder or table they lie in."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def find_prism() -> str | None:
    """Return the path of the program, by PRISM, on PATH or in Go's folder of programs; None where it is nowhere."""
    named = os.environ.get("PRISM")
    if named:
        return named if os.access(named, os.X_OK) else None
    found = shutil.which("prism")
    if found or not shutil.which("go"):
        return found
    gopath = subprocess.run(["go", "env", "GOPATH"], capture_output=True, text=True, check=False).stdout.strip()
    return shutil.which("prism", path=os.path.join(gopath, "bin")) if gopath else None


def make_sample(data: Path, home: Path, pictures: int, tunes: int) -> None:
    """Copy a sample of the demo's data: captions.json, midi/, and photos/ with two albums and one repeated picture."""
    home.mkdir(parents=True, exist_ok=True)
    chosen = (data / "captions.json").read_text(encoding="utf-8").splitlines()[:tunes]
    places = [json.loads(line)["location"] for line in chosen]
    repeated = json.loads(chosen[0]) | {"location": "again.mid"}
    (home / "captions.json").write_text("\n".join([*chosen, json.dumps(repeated)]) + "\n", encoding="utf-8")
    for place in places:
        _copy(data / "midi" / place, home / "midi" / place)
    _copy(data / "midi" / places[0], home / "midi" / "again.mid")
    photographs = sorted(path for path in (data / "pictures").rglob("*") if path.is_file())[:pictures]
    for number, photograph in enumerate(photographs):
        _copy(photograph, home / "photos" / f"album-{number % 2}" / photograph.name)
    _copy(photographs[0], home / "photos" / "album-1" / f"again-{photographs[0].name}")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)  # no link: what a captions file names must lie inside its folder


def jobs(home: Path, way: Way) -> list[tuple[str, list[str], list[Path]]]:
    """Return the jobs of one way: name, words of the command, and what is compared.

    Every `compose` reads the table that was made in process, so that all rows name the same one.
    """
    folder = home / way.name.replace(" ", "-")
    sources = ["--captions", f"{home}/captions.json", "--midi_root", f"{home}/midi"]
    pictures = ["--images", f"{home}/photos", "--index", f"{home}/{HERE.replace(' ', '-')}/tunes.lance"]
    out, albums = folder / "out", folder / "albums"
    return [
        ("index", ["index", *sources, "--index", f"{folder}/tunes.lance"], [folder / "tunes.lance"]),
        ("compose", ["compose", *pictures, "--output", str(out)], [out / "compositions"]),
        (
            "compose --album",
            ["compose", *pictures, "--output", str(albums), "--album"],
            [albums / "compositions", albums / "albums"],
        ),
    ]


def read(place: Path) -> list[dict[str, Any]]:
    """Return the rows of a Lance table or of a folder of Parquet shards, in an order of their own."""
    table = lance.dataset(str(place)).to_table() if place.suffix == ".lance" else pq.read_table(place)
    kept = [name for name in table.column_names if name not in _OF_THE_RUN]
    return sorted(table.select(kept).to_pylist(), key=_first_key)


def _first_key(row: dict[str, Any]) -> str:
    return str(next(row[name] for name in ("tune_id", "image_id", "album") if name in row))


def difference(expected: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> str:
    """Return in some words what is not equal; empty where nothing is."""
    if len(expected) != len(found):
        return f"{len(expected)} rows in process"
    columns = sorted({name for one, other in zip(expected, found, strict=True) for name in _unequal(one, other)})
    return f"unequal: {', '.join(columns)}" if columns else ""


def _unequal(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    # As text, for a NaN is no other NaN's equal.
    return (name for name in one.keys() | other.keys() if repr(one.get(name)) != repr(other.get(name)))


def try_way(home: Path, way: Way, expected: Seen) -> list[Line]:
    """Run all jobs in one way; rows made in process are put into `expected`, others are compared with it."""
    lines = []
    for name, words, places in jobs(home, way):
        start = time.monotonic()
        ended = _run([*words, *way.flags], home)
        line = Line(name, way.name, 0, time.monotonic() - start)
        lines.append(line)
        if ended.returncode not in (0, 3):
            line.wrong = f"exit code {ended.returncode}: {ended.stdout.strip()[-300:]}"
            continue
        for place in places:
            rows = read(place)
            line.rows += len(rows)
            key = f"{name} {place.name}"
            if way.name == HERE:
                expected.rows[key] = rows
            line.wrong = line.wrong or difference(expected.rows.get(key, []), rows)
    return lines


def _run(words: Sequence[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli.main", *words],
        cwd=home,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LONGEST,
        check=False,
    )


def _environment() -> dict[str, str]:
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextlib.contextmanager
def make_target(target: str, variable: str, port: int) -> Iterator[None]:
    """Run a target of the Makefile that serves at a port, until the block ends."""
    command = ["make", "-s", target, f"{variable}={port}", f"BIN={Path(sys.executable).parent}"]
    server = subprocess.Popen(
        command,
        cwd=_ROOT,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(port, target)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_for(port: int, what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with socket.socket() as caller:
            if caller.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.2)
    raise SystemExit(f"make {what} does not listen at {port} after {_PATIENCE:g} s")


def free_port() -> int:
    """Return a port that nothing listens at."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port: int = found.getsockname()[1]
        return port


def table_of(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table."""
    text = ["| job | way | rows | equal | seconds |", "|---|---|---|---|---|"]
    text += [f"| {one.job} | {one.way} | {one.rows} | {one.wrong or 'yes'} | {one.seconds:.0f} |" for one in lines]
    return "\n".join(text)


def check(home: Path, prism: str | None) -> list[Line]:
    """Run all jobs in all ways that there are."""
    expected = Seen()
    lines = try_way(home, Way(HERE), expected)
    if prism:
        flags = ("--runner=PrismRunner", f"--prism_location={prism}", "--environment_type=LOOPBACK")
        lines += try_way(home, Way("Prism", flags), expected)
    service, pool = free_port(), free_port()
    with make_target("job-service", "JOB_PORT", service), make_target("worker-pool", "POOL_PORT", pool):
        flags = (
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{service}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool}",
        )
        lines += try_way(home, Way("job service", flags), expected)
    return lines


def main() -> int:
    """Print the table; 1 where a way made other rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/demo/data"), help="captions.json, midi, pictures")
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--tunes", type=int, default=24)
    args = parser.parse_args()
    if not (args.data / "captions.json").is_file():
        raise SystemExit(f"no captions.json in {args.data}: run `make demo-data`, or give --data DIR")
    prism = find_prism()
    if prism is None:
        print(f"Prism is not here, and nothing is claimed about it; to get it (two minutes): {HOW_TO_GET_IT}")
    with tempfile.TemporaryDirectory(prefix="image2music-runners-") as folder:
        make_sample(args.data, Path(folder), args.pictures, args.tunes)
        lines = check(Path(folder), prism)
    print(table_of(lines))
    return 1 if any(line.wrong for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
