"""The files that one job enters, in order: `python -m benchmarks.walk compose --images a.jpg ...`.

Runs a command of `image2music` in this process and counts each call from one file of the project into another. Prints
the files in the order in which they are first entered, with the number of entries. Imports do not count. Worker
processes are not seen: use one worker.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

TOP = ("pipelines", "transforms", "image2music", "schemas")


class Walk:
    """Files in the order in which they were entered, and how often each was entered."""

    def __init__(self, root: Path) -> None:
        self._prefixes = tuple(f"{root / folder}/" for folder in TOP)
        self._cut = len(f"{root}/")
        self.order: list[str] = []
        self.entries: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Take note of a call (see `sys.setprofile`)."""
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(self._prefixes) or frame.f_code.co_name == "<module>":
            return
        before = frame.f_back
        while before is not None and not before.f_code.co_filename.startswith(self._prefixes):
            before = before.f_back
        if before is not None and before.f_code.co_filename == name:
            return
        path = name[self._cut :]
        if path not in self.entries:
            self.order.append(path)
        self.entries[path] += 1


def main() -> int:
    """Run the command in the current folder's checkout and print its files."""
    root = Path.cwd()
    sys.path.insert(0, str(root))
    try:
        from pipelines.cli.main import main as command
    except ImportError:  # a checkout from before the commands had a folder
        from pipelines.cli import main as command
    walk = Walk(root)
    threading.setprofile(walk)
    sys.setprofile(walk)
    try:
        code = command(sys.argv[1:])
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    for number, path in enumerate(walk.order, 1):
        print(f"{number:3} {path} {walk.entries[path]}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
