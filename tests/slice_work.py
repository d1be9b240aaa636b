"""Work for slices of words, in a module of its own so that worker processes can load it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from image2music.errors import ConfigError
from pipelines.runtime.slices import Slice, SliceResult


@dataclass(frozen=True)
class Shout:
    """Writes a file for each word, the word in capitals; notes in `tries` who took which slice.

    `poison` kills the process that meets it, `once` only the first time, `sour` raises.
    """

    folder: str
    unfit: bool = False

    def check(self) -> None:
        if self.unfit:
            raise ConfigError("its rules are older", reason="other_worker")

    def do(self, slice: Slice[str]) -> SliceResult:
        folder = Path(self.folder)
        with open(folder / "tries", "a") as tries:
            tries.write(f"{slice.id} {os.getpid()}\n")
        for word in slice.items:
            if word == "poison" or (word == "once" and not (folder / "ONCE").exists()):
                (folder / word.upper()).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if word == "sour":
                raise ValueError("it is sour")
            (folder / word.upper()).touch()
        return SliceResult({"shout.done": len(slice)}, {"shout": 0.5}, value=[word.upper() for word in slice.items])

    def give_up(self, slice: Slice[str]) -> SliceResult:
        Path(self.folder, f"gave up {slice.items[0]}").touch()
        return SliceResult({"shout.failed": 1})


@dataclass(frozen=True)
class Environment:
    """Returns the values of environment variables, None where one is not set."""

    def check(self) -> None:
        pass

    def do(self, slice: Slice[str]) -> SliceResult:
        return SliceResult(value=[os.environ.get(name) for name in slice.items])

    def give_up(self, slice: Slice[str]) -> SliceResult:
        return SliceResult()
