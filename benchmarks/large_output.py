"""The commands that read a whole output, on one of 100,000 generated rows and as many failures: seconds and memory.

    python -m benchmarks.large_output [--rows 100000] [--only status finish]

The rows are those of the tests' stand-in under other ids, in shards of 16 as a run writes them, one for each of as many
pictures of a few pixels. So the one part of an array job has all of them to look at and nothing to compose; `finish`
makes larger shards, which later commands read. Of `report`, its list is made: the pages of the pictures are made one by
one, each as in a small report.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.kill_compose import environment, make_captions, run
from benchmarks.process_tree import image2music, measure
from image2music.storage.output import open_output

SEED = 20260108
_SHARD, _ALBUM = 16, 500
_STAND_IN = ("--composer", "fake")
_MB = 1 << 20


def make_output(home: Path, rows: int) -> None:
    """Pictures of a few pixels, an index, and an output that has a row for each of them, and as many failures."""
    make_captions(home)
    run(home, "index", "--captions", "captions.json", "--midi_root", "midi", "--embedder", "fake")
    ids = make_pictures(home / "pictures", rows)
    first = next((home / "pictures").rglob("*.png"))
    subprocess.run(compose_words("small", str(first)), cwd=home, env=environment(), check=True)
    model = next(table for _, table in open_output(str(home / "small")).compositions.tables())
    output = open_output(str(home / "out"))
    for start in range(0, rows, _SHARD):
        output.compositions.append_table(
            _renamed(model, dict(list(ids.items())[start : start + _SHARD])), ("image_id",)
        )
        output.failures.add([_failure(number) for number in range(start, min(start + _SHARD, rows))])


def compose_words(output: str, images: str, *more: str) -> list[str]:
    """A command that composes by the stand-in."""
    return image2music("compose", "--images", images, "--index", "tunes.lance", "--output", output, *_STAND_IN, *more)


def make_pictures(folder: Path, count: int) -> dict[str, str]:
    """All different, so many to a folder; return their ids by their places."""
    chance, ids = np.random.default_rng(SEED), {}
    for number in range(count):
        place = folder / f"{number // _ALBUM:05}" / f"{number:07}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        held = io.BytesIO()
        Image.fromarray(chance.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(held, "PNG", compress_level=1)
        place.write_bytes(held.getvalue())
        ids[str(place)] = hashlib.sha256(held.getvalue()).hexdigest()
    return ids


def _renamed(model: pa.Table, ids: dict[str, str]) -> pa.Table:
    table = pa.concat_tables([model] * len(ids))
    new = {
        "image_id": list(ids.values()),
        "image_uri": list(ids),
        "image_uris": [[place] for place in ids],
        "album": [place.rpartition("/")[0] for place in ids],
    }
    for name, values in new.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))
    return table


def _failure(number: int) -> dict[str, object]:
    uri = f"s3://pictures/{number // _ALBUM:05}/broken-{number:07}.jpg"
    told = {"reason": "unreadable", "message": "it is no picture that can be read", "stage": "identify"}
    return {"id": uri, "uri": uri, "failed_at": datetime(2026, 1, 1, tzinfo=UTC), **told}


_LISTING = """
import sys
from image2music.report.site import Site, album_labels, render_failures, render_list
from image2music.storage.files import Spool
from image2music.storage.output import open_output
from pipelines.jobs.report import _failures, read_cards
source = open_output(sys.argv[1])
with Spool() as texts:
    cards, described = read_cards(source.compositions.shards(), texts)
    failures = _failures(source)
    site = Site("report", failures.num_rows, False, album_labels(card.album for card in cards))
    listed = sum(len(piece.encode()) for piece in render_list(site, cards, described))
rows = (row for batch in failures.to_batches(max_chunksize=256) for row in batch.to_pylist())
failed = sum(len(piece.encode()) for piece in render_failures(site, rows))
print(len(cards), "cards,", listed >> 20, "MB of list,", failed >> 20, "MB of failures")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", default=[], metavar="COMMAND")
    parser.add_argument("--folder", type=Path, default=Path("build/large_output"))
    args = parser.parse_args()
    report = Path("build/bench/large_output.json").absolute()
    home = args.folder.absolute()
    if not (home / "out").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        began = time.monotonic()
        make_output(home, args.rows)
        print(f"made in {time.monotonic() - began:.0f} s", file=sys.stderr)
    output = str(home / "out")
    os.environ |= environment()
    os.chdir(home)
    commands = {
        "compose --slice 1/1": compose_words("out", "pictures", "--slice", "1/1", "--max_failures", "100%"),
        "status of small shards": image2music("status", output),
        "the list of report": [sys.executable, "-c", _LISTING, output],
        "finish": image2music("finish", output),
        "status": image2music("status", output),
    }
    print(f"{args.rows} rows and failures, load of the machine {os.getloadavg()[0]:.1f}\n")
    print("| command | seconds | of the processor | peak memory, MB | exit code |\n|---|---|---|---|---|", flush=True)
    found = []
    for name, words in commands.items():
        if args.only and not any(word in name for word in args.only):
            continue
        seen = measure(words)
        found.append({"name": name, "seconds": seen.seconds, "peak_bytes": seen.peak_bytes, "code": seen.exit_code})
        cells = (name, f"{seen.seconds:.0f}", f"{seen.cpu_seconds:.0f}", f"{seen.peak_bytes / _MB:.0f}", seen.exit_code)
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        print("    " + seen.output.strip().replace("\n", "\n    "), file=sys.stderr)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(found, indent=2) + "\n")
    return max(entry["code"] for entry in found)


if __name__ == "__main__":
    sys.exit(main())
