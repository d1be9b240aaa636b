"""What image2music itself wrote: outputs, indexes, reports, exports. None of it is ever taken as input."""

from __future__ import annotations

import os
import re

from image2music.storage.output import COMPOSITIONS, FAILURES, GENERATIONS, LOCK, RUN_FILE

REPORT_MARKER = "report.json"
"""Lies in every report."""

_SHARD = re.compile(r"part-[0-9a-f]{24}(-\d+)?\.parquet")
_BESIDE_INDEX = re.compile(r".*\.lance\.(failures|stuck|run\.json|lock|files\.parquet)")
_EXPORT = re.compile(r"[0-9a-f]{16}\.(abc|mid|musicxml|wav|heatmap\.png)")
_SCORE = ("score.json", "score.parquet")

_IN_OUTPUT = (COMPOSITIONS, FAILURES, GENERATIONS, RUN_FILE, LOCK)
"""In albums and books, names that people use for folders, nothing but shards and notation is written."""

_TELLING = (RUN_FILE, LOCK, COMPOSITIONS, FAILURES, REPORT_MARKER, "index.html", "_versions", *_SCORE)
"""Names that tell what a folder is."""


class WrittenFiles:
    """Tells whether a local file or folder was written by image2music. Looks at each folder above it once."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}

    def holds(self, path: str) -> bool:
        """Return whether image2music wrote it, or a folder that it lies in."""
        path = os.path.abspath(path)
        while path != os.path.dirname(path):
            if self.has_entry(os.path.dirname(path), os.path.basename(path)):
                return True
            path = os.path.dirname(path)
        return False

    def has_entry(self, folder: str, name: str) -> bool:
        """Return whether image2music wrote the entry `name` of a folder; folders above are not looked at."""
        if _SHARD.fullmatch(name) or _BESIDE_INDEX.fullmatch(name) or _EXPORT.fullmatch(name):
            return True
        there = self._telling_names(folder)
        if {REPORT_MARKER, "index.html"} <= there or (folder.endswith(".lance") and "_versions" in there):
            return True
        if there & {RUN_FILE, LOCK} and there & {COMPOSITIONS, FAILURES} and name in _IN_OUTPUT:
            return True
        return name in _SCORE and there.issuperset(_SCORE)

    def _telling_names(self, folder: str) -> frozenset[str]:
        if folder not in self._folders:
            here = (name for name in _TELLING if os.path.lexists(os.path.join(folder, name)))
            self._folders[folder] = frozenset(here)
        return self._folders[folder]
