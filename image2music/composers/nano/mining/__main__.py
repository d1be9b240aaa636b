"""Write the tables that `pools` loads.

`python -m image2music.composers.nano.mining --data DIR --out image2music/composers/nano/tables` reads what
`critic.training.read_pieces` reads (songs with piano, quartets and hymns of DIR; chorales and fiddle tunes of music21's
corpus): counts of what several pieces share, never a piece. The same pieces give the same tables, to the byte.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from image2music.composers.nano.mining.harmony import Progressions, progression_tables
from image2music.composers.nano.mining.melodies import Rhythms, line_of, rhythm_tables, run_hashes, surprise_bits
from image2music.music.critic.training import HumanPiece, read_pieces


def mine(pieces: Sequence[HumanPiece], out: Path) -> None:
    """Mine pieces and write `pools.json.gz` and `melody.npz` into a folder."""
    print("pieces:", dict(Counter(piece.kind for piece in pieces)))
    lines = [line for line in map(line_of, pieces) if line is not None]
    rhythms = Rhythms()
    for line in lines:
        rhythms.take(line)
    chords = Progressions()
    for piece in pieces:
        chords.take(piece)
    print("bars with a clear chord and without:", dict(chords.bars))
    pools = {"progressions": progression_tables(chords.rows()), **rhythm_tables(rhythms)}
    for name, tables in pools.items():
        print(name, {key: len(rows) for key, rows in tables.items()})
    text = json.dumps(pools, separators=(",", ":"), sort_keys=True)
    (out / "pools.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    runs = run_hashes(lines)
    gaps = np.diff(runs, prepend=np.uint64(0))
    np.savez_compressed(
        out / "melody.npz",
        surprise=surprise_bits(lines),
        runs_low=(gaps & np.uint64(0xFFFF)).astype(np.uint16),
        runs_high=(gaps >> np.uint64(16)).astype(np.uint16),
    )
    print(
        f"{len(lines)} melodies, {len(runs)} runs; {sum(path.stat().st_size for path in out.iterdir())} bytes in {out}"
    )


def main() -> None:
    """Read the folders that were named, and mine what is there."""
    parser = argparse.ArgumentParser(description="Mine the repertoire for nano's pools.")
    parser.add_argument("--data", type=Path, required=True, help="folder with lieder/, quartets/, hymns/, INDEX.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the tables to")
    args = parser.parse_args()
    mine(read_pieces(args.data), args.out)


if __name__ == "__main__":
    main()
