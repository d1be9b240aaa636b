"""Tells whoever watches the run that an element is finished."""

from __future__ import annotations

import os
import uuid


class Ticker:
    """Appends one byte for each finished element to a file of its own in `folder`; does nothing without a folder."""

    def __init__(self, folder: str | None) -> None:
        self._path = os.path.join(folder, uuid.uuid4().hex) if folder else None

    def tick(self) -> None:
        """One more is finished."""
        if self._path is None:
            return
        with open(self._path, "ab") as file:
            file.write(b".")
