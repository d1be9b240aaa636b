"""What libraries may say on the terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings

LEVEL = "IMAGE2MUSIC_LOG_LEVEL"
"""Environment variable that carries the level to worker processes."""


def quieten(level: str) -> None:
    """Logs and warnings of libraries only from `level` on: a person sees results, progress and one-line errors."""
    os.environ[LEVEL] = level
    logging.basicConfig(level=level, stream=sys.stderr)
    logging.getLogger().setLevel(level)
    for handler in logging.getLogger().handlers:
        handler.setLevel(level)  # Beam lowers the level of a worker's root again
    os.environ.setdefault("LANCE_LOG", "error" if level == "CRITICAL" else level.lower())
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", level.lower())
    if level == "CRITICAL" and not sys.warnoptions:
        warnings.simplefilter("ignore")
