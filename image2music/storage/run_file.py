"""What lies beside the table of a tune index.

The file run.json itself, for those who do not run the job.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from image2music.storage.files import atomic_write


def failures_folder(uri: str) -> str:
    """Where `index` writes its failures."""
    return _beside(uri, "failures")


def stuck_folder(uri: str) -> str:
    """Where workers of `index` note what takes too long."""
    return _beside(uri, "stuck")


def index_run_file(uri: str) -> Path:
    """Where `index` writes what it did."""
    return Path(_beside(uri, "run.json"))


def index_lock(uri: str) -> Path:
    """What a writer locks (`write_lock.one_writer`)."""
    return Path(_beside(uri, "lock"))


def manifest_file(uri: str) -> Path:
    """What the MIDI files looked like (`index_manifest`)."""
    return Path(_beside(uri, "files.parquet"))


def _beside(uri: str, ending: str) -> str:
    return f"{uri.rstrip('/')}.{ending}"


def read_record(path: Path) -> dict[str, Any]:
    """run.json as it stands."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def replace_record(path: Path, content: dict[str, Any]) -> None:
    """In one step: a reader never sees half of it."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    atomic_write(path, text.encode(errors="backslashreplace"))


def close_record(path: Path, state: str, message: str) -> None:
    """Say how a run ended that had no time to say so itself; nothing where it had, or where another one goes on."""
    if not path.is_file():
        return
    content = read_record(path)
    if content["state"] == "running" and is_gone(content["process"]):
        finished = datetime.now(UTC).isoformat()
        replace_record(path, content | {"state": state, "message": message, "finished_at": finished})


def is_gone(process: dict[str, Any]) -> bool:
    """Whether a process of this machine has ended; of another machine nobody can tell."""
    if process.get("host") != platform.node():
        return False
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
