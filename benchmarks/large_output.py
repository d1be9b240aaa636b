"""The commands that read a whole output, on one of 100,000 generated rows and as many failures: seconds and memory.

    python -m benchmarks.large_output [--rows 100000] [--only status finish]

The rows are those of the tests' stand-in under other ids, in shards of 16 as a run writes them. Of `report`, its list
is made: the pages of the pictures are made one by one, each as in a small report.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from benchmarks.kill_compose import finish, make_captions, make_world
from benchmarks.process_tree import image2music, measure
from image2music.storage.output import open_output

_SHARD, _ALBUM = 16, 500
_MB = 1 << 20


def make_output(home: Path, rows: int) -> str:
    """An output of so many rows and failures, with the run.json of the job that its rows are modelled on."""
    make_captions(home)
    make_world(home, 2)
    finish(home, "small", 1, "--max_failures", "50%")
    small, output = open_output(str(home / "small")), open_output(str(home / "out"))
    model = next(table for _, table in small.compositions.tables()).slice(0, 1)
    shutil.copytree(home / "small", home / "out", ignore=shutil.ignore_patterns("compositions", "failures"))
    for first in range(0, rows, _SHARD):
        numbers = range(first, min(first + _SHARD, rows))
        output.compositions.append_table(_renamed(model, numbers), ("image_id",))
        output.failures.add([_failure(number) for number in numbers])
    return output.uri


def _renamed(model: pa.Table, numbers: range) -> pa.Table:
    table = pa.concat_tables([model] * len(numbers))
    uris = [f"s3://pictures/{number // _ALBUM:05}/{number:07}.jpg" for number in numbers]
    new = {
        "image_id": [hashlib.sha256(uri.encode()).hexdigest() for uri in uris],
        "image_uri": uris,
        "image_uris": [[uri] for uri in uris],
        "album": [uri.rpartition("/")[0] for uri in uris],
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
from image2music.report.site import COLUMNS, Site, album_labels, card_of, render_failures, render_list, sorted_cards
from image2music.storage.datasets import read_shards
from image2music.storage.output import open_output
from pipelines.jobs.report import _failures
source = open_output(sys.argv[1])
cards = sorted_cards(card_of(row) for row in read_shards(source.compositions.shards(), COLUMNS))
site = Site("report", 0, False, False, album_labels(card.album for card in cards))
failed = render_failures(site, _failures(source))
print(len(cards), "cards,", len(render_list(site, cards)) >> 20, "MB of list,", len(failed) >> 20, "MB of failures")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", default=[], metavar="COMMAND")
    parser.add_argument("--folder", type=Path, default=Path("build/large_output"))
    args = parser.parse_args()
    home = args.folder.absolute()
    if not (home / "out").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        began = time.monotonic()
        make_output(home, args.rows)
        print(f"made in {time.monotonic() - began:.0f} s", file=sys.stderr)
    output = str(home / "out")
    commands = {
        "status": image2music("status", output),
        "the list of report": [sys.executable, "-c", _LISTING, output],
        "finish": image2music("finish", output),
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
    report = Path("build/bench/large_output.json")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(found, indent=2) + "\n")
    return max(entry["code"] for entry in found)


if __name__ == "__main__":
    sys.exit(main())
