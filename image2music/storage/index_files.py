"""What lies beside the table of a tune index: failures, run.json, the lock, the manifest of files."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass

from image2music.storage.files import bytes_under, file_lock, make_folder
from image2music.storage.output import Failures
from image2music.storage.run_file import RunFile


@dataclass(frozen=True)
class IndexStore:
    """The files of the index whose table is at `uri`, DIR/NAME.lance; they are DIR/NAME.lance.*."""

    uri: str

    @property
    def failures(self) -> Failures:
        """What the last run could not index, and why."""
        return Failures(self._beside("failures"))

    @property
    def run(self) -> RunFile:
        """run.json of the last run."""
        return RunFile(self._beside("run.json"))

    @property
    def stuck_notes(self) -> str:
        """Where workers note what takes too long."""
        return self._beside("stuck")

    @property
    def manifest(self) -> str:
        """The Parquet file that says what the MIDI files looked like (`image2music.index.sync`)."""
        return self._beside("files.parquet")

    def prepare(self) -> None:
        """Make the folder that the table lies in, and prove that it can be written.

        Raises:
            OutputError: it cannot (`output_not_writable`).
        """
        make_folder(os.path.dirname(self.uri) or ".")

    def lock(self) -> AbstractContextManager[None]:
        """Hold the right to write, as `file_lock` does."""
        return file_lock(self.uri, self._beside("lock"))

    def size(self) -> int:
        """Return the bytes of the table with all of its versions."""
        return bytes_under(self.uri)

    def clear_stuck_notes(self) -> None:
        """Remove the notes about what takes too long: all is done."""
        shutil.rmtree(self.stuck_notes, ignore_errors=True)

    def _beside(self, ending: str) -> str:
        return f"{self.uri}.{ending}"


def open_index_files(uri: str) -> IndexStore:
    """Return the files beside a table; nothing is made or read."""
    return IndexStore(uri.rstrip("/"))
