"""The example that reads rows, run as people run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.main import main

pytestmark = pytest.mark.process

EXAMPLE = Path(__file__).parents[2] / "examples" / "read_rows.py"
COMPOSE = "compose --images pictures --index tunes.lance --output out --composer fake"


@pytest.fixture
def said(indexed):
    """What the example prints for three rows."""
    assert main(COMPOSE.split()) == 0
    # The cache of datasets is its own copy of the rows: not in the home of whoever runs the tests.
    home = {"HF_HOME": str(indexed / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "out"], env=os.environ | home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pandas_duckdb_and_datasets_read_the_rows(said):
    assert "tempo_qpm" in said
    assert "nearest" in said
    assert "num_rows: 3" in said
    assert "[V:1]" in said
