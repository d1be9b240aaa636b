"""The files that are measured on."""

from __future__ import annotations

import random
from pathlib import Path

SEED = 20260101


def midi_files(data: Path, most: int) -> list[Path]:
    """At most `most` MIDI files under a folder, the same ones every time."""
    files = sorted(path for path in data.rglob("*") if path.is_file() and _begins_as_midi(path))
    if not files:
        raise SystemExit(f"no MIDI file under {data}: run `make demo-data`, or give --data DIR")
    return sorted(random.Random(SEED).sample(files, min(most, len(files))))


def _begins_as_midi(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"MThd"
