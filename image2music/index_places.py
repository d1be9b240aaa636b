"""What lies beside the table of a tune index."""

from __future__ import annotations

from pathlib import Path


def failures_folder(uri: str) -> str:
    """Where `index` writes its failures."""
    return _beside(uri, "failures")


def stuck_folder(uri: str) -> str:
    """Where workers of `index` note what takes too long."""
    return _beside(uri, "stuck")


def run_file(uri: str) -> Path:
    """Where `index` writes what it did."""
    return Path(_beside(uri, "run.json"))


def lock_file(uri: str) -> Path:
    """What a writer locks (`write_lock.one_writer`)."""
    return Path(_beside(uri, "lock"))


def manifest_file(uri: str) -> Path:
    """What the MIDI files looked like (`index_manifest`)."""
    return Path(_beside(uri, "files.parquet"))


def _beside(uri: str, ending: str) -> str:
    return f"{uri.rstrip('/')}.{ending}"
