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

from image2music.composers.nano.mining.figures import candidates
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
    pools: dict[str, dict[str, list[list[object]]]] = {
        "progressions": progression_tables(chords.rows()),
        **rhythm_tables(rhythms),
    }
    for name, tables in pools.items():
        sizes = sorted((len(rows) for rows in tables.values()), reverse=True)
        print(f"{name}: {sum(sizes)} rows in {len(sizes)} tables, {sizes[len(sizes) // 2]} in the middle one")
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
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{len(lines)} melodies, {len(runs)} runs; {size} bytes in {out}")


def main() -> None:
    """Read the folders that were named, and mine what is there."""
    parser = argparse.ArgumentParser(description="Mine the repertoire for nano's pools.")
    parser.add_argument("--data", type=Path, required=True, help="folder with lieder/, quartets/, hymns/, INDEX.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the tables to")
    parser.add_argument("--figures", type=Path, help="file for accompaniment figures to choose from, one a line")
    args = parser.parse_args()
    pieces = read_pieces(args.data)
    mine(pieces, args.out)
    if args.figures:
        args.figures.write_text("\n".join(candidates(pieces)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
