from __future__ import annotations

import sys
from pathlib import Path

# Test files are imported by path (--import-mode=importlib); fakes.py is the one module that they share.
sys.path.insert(0, str(Path(__file__).parent))
