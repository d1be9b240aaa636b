"""`python -m image2music.demo --output DIR`: make the demo's data."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from image2music.demo.make import make_demo
from image2music.errors import Image2MusicError


def main(arguments: list[str] | None = None) -> int:
    """Make the data; return 0, or 1 with a line on standard error when they cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m image2music.demo", description="Make the demo's data.")
    parser.add_argument("--output", type=Path, required=True, help="folder to write; left alone when up to date")
    output: Path = parser.parse_args(arguments).output
    begun = time.monotonic()
    try:
        demo = make_demo(output)
    except Image2MusicError as error:
        print(f"image2music.demo: {error}", file=sys.stderr)
        return 1
    done = f"made in {time.monotonic() - begun:.0f} s" if demo.made else "up to date"
    print(f"{output}: {demo.pieces} pieces and {demo.pictures} pictures, {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
