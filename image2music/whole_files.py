"""Files and folders that are there whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from image2music.errors import OutputError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A hidden place beside `path` for a file or a folder, which takes that name when the block ends well.

    Where it does not, what was written is removed: it may be what fills the disk. A file at `path` is replaced.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    hidden = path.with_name(f".{path.name}.part")
    _remove(hidden)
    try:
        yield hidden
        os.replace(hidden, path)
    except OSError as error:
        _remove(hidden)
        message = f"cannot write {path}: {error.strerror or error}; mend that, and run the same command again"
        raise OutputError(message, reason="output_not_written") from error
    except BaseException:
        _remove(hidden)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, or replace it, in one step.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    with written_aside(path) as hidden:
        hidden.write_bytes(data)


def _remove(hidden: Path) -> None:
    with suppress(OSError):  # on a disk that can only be read there is nothing to remove
        if hidden.is_dir():
            shutil.rmtree(hidden)
        else:
            hidden.unlink(missing_ok=True)
