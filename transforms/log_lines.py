"""One line of JSON for each picture that is done or has failed, for collectors of logs."""

from __future__ import annotations

import json
import os
from typing import Any

import apache_beam as beam

from image2music.rows import now, printable
from image2music.types import Failure, RefinedTune

STDOUT = "-"


def log_line(element: RefinedTune | Failure) -> str:
    """Return a line of JSON: `at`, `result` (composed or failed), `id`, `uri`, and what is known of the picture."""
    return json.dumps({"at": now().isoformat()} | _fields(element), ensure_ascii=False) + "\n"


def _fields(element: RefinedTune | Failure) -> dict[str, Any]:
    if isinstance(element, Failure):
        why = {"stage": element.stage, "reason": element.reason, "message": element.message}
        return {"result": "failed", "id": printable(element.id), "uri": printable(element.uri)} | why
    ref, tune = element.context.described.ref, element.tune
    made = {"title": tune.title, "rounds": len(tune.rounds), "seconds": round(element.seconds, 3)}
    return {"result": "composed", "id": ref.image_id, "uri": printable(ref.uri)} | made


class LogPictures(beam.DoFn):
    """Append a line for each element to a file, or write it to stdout; each line in one write, so that none mix."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, element: RefinedTune | Failure) -> None:
        """Write one line."""
        line = log_line(element).encode(errors="backslashreplace")
        if self._path == STDOUT:
            os.write(1, line)
            return
        target = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(target, line)
        finally:
            os.close(target)
