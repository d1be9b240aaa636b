"""run.json: what the last run of a job was asked to do, and how it ended."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from image2music.errors import ConfigError
from image2music.storage.files import atomic_write_json


@dataclass(frozen=True)
class RunFile:
    """A run.json. It is replaced in one step, so a reader never sees half of it."""

    uri: str

    def exists(self) -> bool:
        """Return whether a run has written it."""
        return os.path.isfile(self.uri)

    def read(self) -> dict[str, Any]:
        """Return its content.

        Raises:
            ConfigError: it is not JSON (`bad_run_json`).
            OSError: it is not there.
        """
        with open(self.uri, encoding="utf-8") as file:
            text = file.read()
        try:
            content: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{self.uri} is not JSON: {error}", reason="bad_run_json") from error
        return content

    def replace(self, content: dict[str, Any]) -> None:
        """Write the content in place of what is there."""
        atomic_write_json(self.uri, content)

    def close(self, state: str, message: str) -> None:
        """Say how a run ended that had no time to say so itself.

        Do nothing where the run said so, where another one goes on, or where there is none.
        """
        if not self.exists():
            return
        content = self.read()
        if content["state"] == "running" and is_gone(content["process"]):
            finished = datetime.now(UTC).isoformat()
            self.replace(content | {"state": state, "message": message, "finished_at": finished})


def is_gone(process: dict[str, Any]) -> bool:
    """Return whether a process of this machine has ended; of another machine nobody can tell."""
    if process.get("host") != platform.node():
        return False
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
