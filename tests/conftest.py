from __future__ import annotations

import os
import sys
from pathlib import Path

# Small matrices gain nothing from threads, and threads that wait for each other make a busy machine crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Test files are imported by path (--import-mode=importlib); fakes.py is the one module that they share.
sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser):
    text = "write tests/fixtures/golden.json anew, after a rule was changed on purpose and its version raised"
    parser.addoption("--renew-golden", action="store_true", help=text)
