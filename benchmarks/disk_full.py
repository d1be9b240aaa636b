"""Jobs into a disk that fills up: a real one, small and in memory (tmpfs), which needs the right to mount.

    python -m benchmarks.disk_full

Each command runs once with room enough. Then it runs into disks that hold only a part of what it writes, at several
parts, so that the disk is full at other moments. It has to end with exit code 1 and one line; whatever lies there
under its own name has to be what was there before or what the undisturbed command wrote. The disk is made larger, the
same command is run again, and everything has to be there. The models are the stand-ins of the tests.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.kill_compose import environment

SEED = 20260104
PARTS = (0.0, 0.3, 0.6, 0.9)
_ROOM = 128 << 20
_PAGE = 4096
_CHANGES = ("seconds", "composed_at", "index_uri", "index_version", "settings_hash")
_TUNES, _PICTURES = 60, 150

Content = dict[str, Any]
"""What a reader finds, by name."""


@dataclass(frozen=True)
class Tried:
    """A command that writes to the disk. `before` puts there what must be there already."""

    name: str
    words: Sequence[str]
    content: Callable[[Path], Content]
    before: Callable[[Path], None] = lambda disk: None


def tables(disk: Path) -> Content:
    """The newest version of the index, as one thing: it is replaced in one step."""
    import lance

    try:
        rows = lance.dataset(str(disk / "tunes.lance")).to_table().to_pylist()
    except ValueError:  # there is none: no version was committed
        return {}
    return {"table": sorted(rows, key=lambda row: row["location"])}


def rows(disk: Path) -> Content:
    """Compositions by picture, and reasons of failures."""
    found: Content = {}
    for shard in sorted((disk / "out" / "compositions").glob("part-*")):
        kept = [name for name in pq.read_schema(shard).names if name not in _CHANGES]
        found |= {row["image_id"]: row for row in pq.ParquetFile(shard).read(columns=kept).to_pylist()}
    for shard in sorted((disk / "out" / "failures").glob("part-*")):
        failed = pq.ParquetFile(shard).read(columns=["id", "uri", "reason"]).to_pylist()
        found |= {f"failure of {row['uri']}": row["reason"] for row in failed}
    return found


def books(disk: Path) -> Content:
    """Rows, and the books of their albums."""
    return rows(disk) | {str(path.relative_to(disk)): path.read_bytes() for path in disk.glob("out/books/*/*")}


def files(disk: Path) -> Content:
    """Exported files, one by one."""
    return {path.name: path.read_bytes() for path in disk.glob("files/[!.]*")}


def pages(disk: Path) -> Content:
    """A report, as one thing: it is replaced in one step."""
    folder = disk / "page"
    made = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {"report": made} if made else {}


def commands(home: Path, disk: Path) -> list[Tried]:
    """What is tried. Everything but what is written lies outside of the disk."""

    def index(captions: str, *options: str) -> list[str]:
        return ["index", "--captions", captions, "--midi_root", "midi", "--index", f"{disk}/tunes.lance", *options]

    def a_table(disk: Path) -> None:
        for path in home.glob("tunes.lance*"):
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, disk / path.name)

    compose = ["compose", "--images", "pictures", "--index", "tunes.lance", "--composer", "fake"]
    compose += ["--max_failures", "10%", "--output", f"{disk}/out"]
    return [
        Tried("index", index("captions.json", "--embedder", "fake"), tables),
        Tried("index --update", index("more.json", "--update"), tables, a_table),
        Tried("compose", compose, rows),
        Tried("compose --workers 2", [*compose, "--workers", "2"], rows),
        Tried("compose --album", [*compose, "--album"], books),
        Tried("export", ["export", "--input", "out", "--output", f"{disk}/files", "--formats", "abc,midi,wav"], files),
        Tried("report", ["report", "--input", "out", "--output", f"{disk}/page"], pages),
    ]


def make_world(home: Path) -> None:
    """Tunes, pictures of noise with broken ones between, an index and an output to read."""
    from image2music.abc.playback import abc_to_midi

    random = np.random.default_rng(SEED)
    for name in ("midi", "pictures/sea", "pictures/wood"):
        (home / name).mkdir(parents=True)
    lines = []
    for number in range(_TUNES):
        notes = " ".join("".join(random.choice(list("CDEFGABc"), 8)) + " |" for _ in range(16))
        (home / "midi" / f"{number}.mid").write_bytes(abc_to_midi(f"X:1\nM:4/4\nL:1/8\nK:C\n{notes}]\n"))
        lines.append(json.dumps({"location": f"{number}.mid", "caption": f"tune {number}"}))
    (home / "captions.json").write_text("\n".join(lines[: _TUNES // 2]) + "\n")
    (home / "more.json").write_text("\n".join(lines[5:]) + "\n")
    for number in range(_PICTURES):
        noise = random.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(home / "pictures" / ("sea", "wood")[number % 2] / f"{number}.png")
    for number in range(3):
        (home / "pictures" / "sea" / f"broken-{number}.png").write_bytes(b"no picture %d" % number)
    index = ["--index", "tunes.lance"]
    run(home, ["index", "--captions", "captions.json", "--midi_root", "midi", "--embedder", "fake", *index])
    run(home, ["compose", "--images", "pictures/wood", "--composer", "fake", "--output", "out", *index])


def run(home: Path, words: Sequence[str]) -> tuple[int, list[str]]:
    """Exit code and the lines on stderr."""
    command = [sys.executable, "-m", "pipelines.cli.main", *words]
    done = subprocess.run(command, cwd=home, env=environment(), capture_output=True, text=True)
    return done.returncode, done.stderr.splitlines()


@contextmanager
def disk_of(size: int, place: Path) -> Iterator[Path]:
    """An empty disk of so many bytes (whole pages, one at least)."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_pages(size)}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def enlarge(disk: Path, size: int) -> None:
    """Give a disk another size; what lies there stays."""
    subprocess.run(["mount", "-o", f"remount,size={_pages(size)}", disk], check=True)


def _pages(size: int) -> int:
    return max(_PAGE, -(-size // _PAGE) * _PAGE)


def try_command(home: Path, place: Path, tried: Tried) -> bool:
    """Run a command into disks of every size; return whether all went as it has to."""
    with disk_of(_ROOM, place) as disk:
        tried.before(disk)
        used, earlier = shutil.disk_usage(disk).used, tried.content(disk)
        well, _ = run(home, tried.words)
        needed, expected = shutil.disk_usage(disk).used - used, tried.content(disk)
    print(f"{tried.name}: writes {needed / 1024:.0f} KiB, {len(expected)} things, exit code {well}", flush=True)
    good = well in (0, 3)
    for part in PARTS:
        with disk_of(_ROOM, place) as disk:
            tried.before(disk)
            enlarge(disk, used + int(part * needed))
            code, said = run(home, tried.words)
            wrong = complaints(tried.content(disk), earlier, expected)
            wrong += [] if code in (1, well) and len(said) == (code == 1) else [f"exit code {code}", *said]
            enlarge(disk, _ROOM)
            again, complained = run(home, tried.words)
            wrong += [] if again == well else [f"exit code {again} with room", *complained]
            wrong += [] if tried.content(disk) == expected else ["other content with room"]
        print(f"  room for {part:.0%}: exit code {code}, {said[-1] if said else 'no word'}", flush=True)
        for line in wrong:
            print(f"    WRONG: {line}", flush=True)
        good &= not wrong
    return good


def complaints(found: Content, earlier: Content, expected: Content) -> list[str]:
    """Things that are neither what was there before nor what the undisturbed command wrote."""
    whole = [[part[name] for part in (earlier, expected) if name in part] for name in found]
    return [f"half-written: {name}" for name, known in zip(found, whole, strict=True) if found[name] not in known]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/disk_full"))
    parser.add_argument("--only", default="", help="the one command to try")
    args = parser.parse_args()
    home = args.folder.absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    make_world(home)
    tried = [one for one in commands(home, home / "disk") if args.only in ("", one.name)]
    good = [try_command(home, home / "disk", one) for one in tried]
    print("all as it has to be" if all(good) else "NOT all as it has to be")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
