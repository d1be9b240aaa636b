"""What the MIDI files looked like when they were last read: a Parquet file beside the table.

It only saves work. The table says what is in the index, so a manifest that is lost or old costs time and no rows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from image2music import __version__
from image2music.whole_files import written_aside

_SCHEMA = pa.schema(
    [
        ("location", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("tune_id", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
    ]
)

_SETTLED_NS = 2_000_000_000
"""A file that changed so short before it is read may change again within one tick of its clock."""


@dataclass(frozen=True)
class Stamp:
    """Size in bytes and time of change in nanoseconds."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class KnownFile:
    """A file as it was read last. `reason` and `message` say why it cannot be converted; empty where it can."""

    stamp: Stamp
    tune_id: str
    reason: str = ""
    message: str = ""


Manifest = dict[str, KnownFile]
"""Known files by location."""


def stamp_of(path: str, started_ns: int) -> Stamp | None:
    """Of a local file; None where there is none, or where it changed since `started_ns` or just before."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    settled = found.st_mtime_ns < started_ns - _SETTLED_NS
    return Stamp(found.st_size, found.st_mtime_ns) if settled else None


def read_manifest(path: Path) -> Manifest:
    """Known files; none where the file is missing or broken. Failures of another release are left out."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid):
        return {}
    if table.schema.names != _SCHEMA.names:
        return {}
    same_release = (table.schema.metadata or {}).get(b"release") == __version__.encode()
    columns = (table[name].to_pylist() for name in _SCHEMA.names)
    return {
        location: KnownFile(Stamp(size, mtime_ns), tune_id, reason, message)
        for location, size, mtime_ns, tune_id, reason, message in zip(*columns, strict=True)
        if same_release or not reason
    }


def write_manifest(path: Path, manifest: Mapping[str, KnownFile]) -> None:
    """Replace the manifest in one step."""
    known = sorted(manifest.items())
    columns = {
        "location": [location for location, _ in known],
        "size": [file.stamp.size for _, file in known],
        "mtime_ns": [file.stamp.mtime_ns for _, file in known],
        "tune_id": [file.tune_id for _, file in known],
        "reason": [file.reason for _, file in known],
        "message": [file.message for _, file in known],
    }
    schema = _SCHEMA.with_metadata({"release": __version__})
    with written_aside(path) as hidden:
        pq.write_table(pa.Table.from_pydict(columns, schema=schema), hidden, compression="zstd")
