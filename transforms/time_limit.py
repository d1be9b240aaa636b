"""How long an element may take in a stage, and what becomes of one that cannot be stopped."""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from image2music.errors import TimeLimitError
from image2music.time_limits import GRACE, within

Result = TypeVar("Result")

EXIT_START_AGAIN = 75
"""What a process ends with whose job may be started again (EX_TEMPFAIL of sysexits.h)."""

SUPERVISOR = "IMAGE2MUSIC_SUPERVISOR"
"""Environment variable with the process id of whoever starts the job again."""


@dataclass(frozen=True)
class TimeLimit:
    """Seconds for one element in one stage, and the folder of notes about those that could not be stopped."""

    seconds: float = math.inf
    notes: str | None = None
    grace: float = GRACE

    def run(self, call: Callable[[], Result], stage: str, ids: Sequence[str]) -> Result:
        """The call's answer for all these elements; an element alone that was stuck before is not tried again.

        Raises:
            TimeLimitError: it took longer than `seconds` for each element (`timed_out`).
        """
        if self.seconds == math.inf:
            return call()
        if len(ids) == 1 and self._note(stage, ids[0], alone=True).exists():
            raise TimeLimitError("could not be stopped after its --time_limit, and is left out", reason="timed_out")
        return within(self.seconds * len(ids), call, lambda: self._give_up(stage, ids), self.grace)

    def goes_alone(self, stage: str, id: str) -> bool:
        """Whether an element was in a batch that could not be stopped, or could not be stopped itself."""
        return self.notes is not None and any(self._note(stage, id, alone).exists() for alone in (True, False))

    def _note(self, stage: str, id: str, alone: bool) -> Path:
        name = hashlib.sha256(id.encode(errors="surrogateescape")).hexdigest()
        return Path(self.notes or os.devnull, f"{stage}-{name}.{'alone' if alone else 'batch'}")

    def _give_up(self, stage: str, ids: Sequence[str]) -> None:
        """End this process: a call of C that does not return ends with nothing less."""
        if self.notes is not None:
            os.makedirs(self.notes, exist_ok=True)
            for id in ids:
                self._note(stage, id, alone=len(ids) == 1).touch()
        after = "the same command goes on" if SUPERVISOR not in os.environ else "the job goes on"
        print(f"image2music: {stage} does not come back from {_named(ids)}; {after} without it", file=sys.stderr)
        sys.stderr.flush()
        os._exit(EXIT_START_AGAIN if SUPERVISOR in os.environ else 1)


NO_LIMIT = TimeLimit()


def _named(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"a batch of {len(ids)}"
