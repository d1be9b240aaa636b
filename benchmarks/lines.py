"""nano's network on held-out lines: nats a note against n-grams, and whether maps lie where a bar's region is.

`python -m benchmarks.lines OUT/lines.npz`, the file that `image2music.composers.nano.network.train` leaves. The n-grams
are interpolated by Witten and Bell (1991) over the network's own tokens, with the chord that sounds and the place in
the bar beside up to seven notes; two chains each for steps and lengths, mixed half and half. A cache of what the piece
itself has had so far stands on top, since a network that reads the piece has it too.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from image2music.composers.nano.network.dataset import (
    NOT_HIDDEN,
    CellMaker,
    EncodedLine,
    PictureMaker,
    Prepared,
    collate_windows,
    line_window,
    load_prepared,
)
from image2music.composers.nano.network.model import LineDecoder, load_decoder, nats_of
from image2music.composers.nano.network.reader import NETWORK_WEIGHTS
from image2music.composers.nano.network.tokens import (
    BAR_ROW,
    FIRST,
    HARMONY,
    HEADS,
    KIND,
    NOTE_ROW,
    NUMBER,
    PLACE,
    SECOND,
    SECTION,
)

BACK = 7
MOST_BARS = 32
STEPS, LENGTHS = 62, 55
"""How many steps (a rest is one) and lengths there are: what a chain that has seen nothing chooses from."""
Table = NDArray[np.int64]
_STEP, _LENGTH, _HARMONY, _PLACE, _MODE, _BEFORE = range(6)


def opening_rows(line: EncodedLine, most: int = MOST_BARS) -> NDArray[np.int16]:
    """Return controls and the first bars of a line."""
    stop = line.bar_rows[min(most, len(line.sections))]
    return np.concatenate([line.prefix, line.rows[:stop]])


def table_of(rows: NDArray[np.int16]) -> Table:
    """Return int64[notes, columns]: step, length, chord, place, mode, then step and length of each note before."""
    at = np.flatnonzero(rows[:, KIND] == NOTE_ROW)
    own = rows[at].astype(np.int64)[:, [FIRST, SECOND]]
    table = np.zeros((len(at), _BEFORE + 2 * BACK), np.int64)
    table[:, [_STEP, _LENGTH]] = own
    table[:, [_HARMONY, _PLACE]] = rows[at - 1][:, [HARMONY, PLACE]]
    table[:, _MODE] = rows[2, FIRST]
    for k in range(1, min(BACK, len(at) - 1) + 1):
        table[k:, _BEFORE + 2 * (k - 1) : _BEFORE + 2 * k] = own[:-k]
    return table


def hashed(columns: Table, factors: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one number a row, uint64[n]."""
    found = np.zeros(len(columns), np.uint64)
    for column, factor in zip(columns.T, factors, strict=False):
        found = (found ^ (column.astype(np.uint64) + np.uint64(0x9E3779B9))) * factor
        found ^= found >> np.uint64(29)
    return found


def chain(known: Table, asked: Table, contexts: Sequence[Sequence[int]], column: int, size: int) -> NDArray[np.float64]:
    """Return P(column | context), float64[asked]: each longer context leans on the shorter one before it."""
    dice = np.random.Generator(np.random.Philox(0))
    factors = dice.integers(1, 2**63, size=64, dtype=np.uint64) | np.uint64(1)
    p = np.full(len(asked), 1 / size)
    for context in contexts:
        mine, theirs = (hashed(table[:, list(context)], factors) for table in (known, asked))
        keys, inverse, totals = np.unique(mine, return_inverse=True, return_counts=True)
        at = np.minimum(np.searchsorted(keys, theirs), len(keys) - 1)
        pairs = hashed(np.stack([inverse, known[:, column]], 1), factors)
        pair_keys, first, counts = np.unique(pairs, return_index=True, return_counts=True)
        types = np.bincount(inverse[first], minlength=len(keys))
        wanted = hashed(np.stack([at, asked[:, column]], 1), factors)
        place = np.minimum(np.searchsorted(pair_keys, wanted), len(pair_keys) - 1)
        count = np.where(pair_keys[place] == wanted, counts[place], 0)
        p = np.where(keys[at] == theirs, (count + types[at] * p) / (totals[at] + types[at]), p)
    return p


def ngram_probabilities(known: Table, asked: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of steps and of lengths, each the mean of two chains."""
    steps = [[_BEFORE + 2 * i for i in range(k)] for k in range(BACK + 1)]
    lengths = [[_BEFORE + 1 + 2 * i for i in range(k)] for k in range(BACK + 1)]
    both = [[*steps[k], *lengths[k]] for k in range(BACK + 1)]
    with_chord = [[], [_MODE], [_MODE, _HARMONY], *([_MODE, _HARMONY, *steps[k]] for k in range(1, 5))]
    with_chord += [[_MODE, _HARMONY, _PLACE, *both[k]] for k in range(2, BACK)]
    by_notes = [[], *([_MODE, *steps[k]] for k in range(1, 4))]
    by_notes += [[_MODE, _PLACE, *both[k]] for k in range(2, BACK + 1)]
    rhythm = [[], *([_PLACE, *lengths[k]] for k in range(BACK + 1))]
    with_step = [*rhythm[:7], *([_PLACE, _STEP, _MODE, *both[k]] for k in range(2, BACK + 1))]
    step = (chain(known, asked, with_chord, _STEP, STEPS) + chain(known, asked, by_notes, _STEP, STEPS)) / 2
    length = (chain(known, asked, rhythm, _LENGTH, LENGTHS) + chain(known, asked, with_step, _LENGTH, LENGTHS)) / 2
    return step, length


def cached_nats(table: Table, step: NDArray[np.float64], length: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return nats a note of one piece, with what it has had so far on top of the n-grams."""
    seen: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    nats = np.zeros(len(table))
    for n, row in enumerate(table.tolist()):
        for said, p, tag in ((row[_STEP], step[n], 0), (row[_LENGTH], length[n], row[_STEP])):
            for k in (2, 3, 4, 6):
                counts = seen[(tag, row[_PLACE] if k > 3 else -1, k, *row[_BEFORE : _BEFORE + 2 * k])]
                if counts:
                    p = (counts[said] + len(counts) * p) / (counts.total() + len(counts))
                counts[said] += 1
            nats[n] -= np.log(p)
    return nats


@torch.inference_mode()
def network_nats(model: LineDecoder, rows: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return nats a note, without a picture, density and register hidden."""
    rows = rows.copy()
    rows[:, HEADS + 2 : HEADS + 4] = 0
    own = torch.from_numpy(rows.astype(np.int64))[None]
    n_bars = torch.tensor([int((rows[:, KIND] == BAR_ROW).sum())])
    cells = torch.zeros(1, model.config.cells, model.config.cell_dim)
    hidden, _, _ = model(own, n_bars, model.memory(cells), fused=True)
    nats = nats_of(model, hidden, own, own[..., HEADS:]).symbols[0].double().numpy()
    found: NDArray[np.float64] = nats[rows[1:, KIND] == NOTE_ROW]
    return found


@torch.inference_mode()
def map_figures(model: LineDecoder, prepared: Prepared, most: int = 110) -> dict[str, float]:
    """Return the share of a section's attention on cells that lies in its region, chance, and how often the peak."""
    torch.manual_seed(0)
    maker, cells = PictureMaker(prepared.kinds), CellMaker(prepared, torch.device("cpu"))
    songs = [line for line in prepared.held_out if line.kind != "solo" and len(line.sections) >= 8][::2]
    dances = [line for line in prepared.held_out if line.kind == "solo" and len(line.sections) >= 16][::8]
    figures: dict[str, list[float]] = defaultdict(list)
    for number, line in enumerate([*songs, *dances][:most]):
        dice = np.random.Generator(np.random.Philox([7, number]))
        batch = collate_windows([line_window(line, maker, dice, NOT_HIDDEN, from_start=True)])
        shown = batch.shown.clone()
        shown[..., HEADS + 2 : HEADS + 4] = 0
        _, _, layers = model(shown, batch.n_bars, model.memory(cells.cells(batch)))
        weights = torch.stack([layer[0, :, :-1, : model.config.cells].mean(0) for layer in layers]).mean(0)
        rows = batch.rows[0, 1:]
        for section, region in enumerate(batch.regions[0]):
            chosen = (rows[:, KIND] >= BAR_ROW) & (rows[:, KIND] <= NOTE_ROW) & (rows[:, SECTION] == section)
            if chosen.any():
                map_ = weights[chosen].mean(0)
                figures["share in region"].append(float(map_[region].sum() / map_.sum()))
                figures["chance"].append(float(region.float().mean()))
                figures["peak in region"].append(float(region[map_.argmax()]))
    return {name: float(np.mean(values)) for name, values in figures.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--weights", type=Path, default=NETWORK_WEIGHTS)
    options = parser.parse_args()
    prepared, model = load_prepared(options.lines), load_decoder(options.weights)
    known = np.concatenate([table_of(np.concatenate([line.prefix, line.rows])) for line in prepared.training])
    openings = [opening_rows(line) for line in prepared.held_out]
    tables = [table_of(rows) for rows in openings]
    step, length = ngram_probabilities(known, np.concatenate(tables))
    edges = np.cumsum([0, *map(len, tables)]).tolist()
    parts = [slice(a, b) for a, b in pairwise(edges)]
    nats = {
        "n-grams": -np.log(step) - np.log(length),
        "n-grams with cache": np.concatenate(
            [cached_nats(table, step[part], length[part]) for table, part in zip(tables, parts, strict=True)]
        ),
        "network": np.concatenate([network_nats(model, rows) for rows in openings]),
    }
    kinds = np.repeat([line.kind for line in prepared.held_out], [len(table) for table in tables])
    early = np.concatenate([rows[rows[:, KIND] == NOTE_ROW, NUMBER] < 8 for rows in openings])
    for name, values in nats.items():
        own = {kind: round(float(values[kinds == kind].mean()), 3) for kind in sorted(set(kinds.tolist()))}
        print(f"{name}: {values.mean():.3f} nats a note, first 8 bars {values[early].mean():.3f}, {own}")
    print({name: round(value, 3) for name, value in map_figures(model, prepared).items()})


if __name__ == "__main__":
    main()
