from __future__ import annotations

import os
import sys
from pathlib import Path

# Small matrices gain nothing from threads, and threads that wait for each other make a busy machine crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Test files are imported by path (--import-mode=importlib), so the modules that they share have to be on it. stand_ins/
# is an installed package to everyone who looks: its entry points declare the stand-in models.
sys.path[:0] = [str(Path(__file__).parent / "stand_ins"), str(Path(__file__).parent)]


def pytest_addoption(parser):
    text = "write tests/fixtures/golden.json anew, after a rule was changed on purpose and its version raised"
    parser.addoption("--renew-golden", action="store_true", help=text)
