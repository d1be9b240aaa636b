"""Trains the network: `python -m image2music.composers.nano.network.train --data DIR --out DIR`.

What was read (`OUT/lines.npz`), checkpoints and the log lie in OUT, which may be anywhere; a call that finds them goes
on. A GPU is used where there is one. `--rank FILE` trains only the judge of liveliness anew, with the lines of FILE
beside the spoiled ones.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from image2music.composers.nano.network.dataset import (
    BATCHES_AT_ONCE,
    JUDGED,
    NOT_HIDDEN,
    BatchesBySeed,
    CellMaker,
    Hiding,
    PictureMaker,
    Prepared,
    WindowBatch,
    collate_windows,
    judged_rows,
    line_window,
    load_prepared,
    prepare,
    save_prepared,
)
from image2music.composers.nano.network.model import LineConfig, LineDecoder, nats_of, pooled, save_decoder
from image2music.composers.nano.network.repertoire import read_rank_file, read_repertoire
from image2music.composers.nano.network.tokens import (
    BAR_ROW,
    CHORD_ROW,
    CONTROL_ROW,
    END_ROW,
    FIRST,
    HEAD_ROW,
    HEADS,
    KIND,
    NOTE_ROW,
    SECTION,
    Rows,
    encode_sketch,
)

ROW_WEIGHTS = {CONTROL_ROW: 0.1, BAR_ROW: 0.5, HEAD_ROW: 0.0, CHORD_ROW: 0.3, NOTE_ROW: 1.0, END_ROW: 0.5}
HEAD_WEIGHT = 0.5


@dataclass(frozen=True)
class LineTrainingConfig:
    """How the network is trained. `guide` weighs the share of attention that lies in a bar's region, at the start.

    It falls to zero after `guided` of the steps: what attention does then, the line's tokens alone decide.
    """

    steps: int = 6000
    batch: int = 64
    muon_rate: float = 0.01
    adam_rate: float = 0.002
    warmup: int = 150
    decay: float = 0.7
    weight_decay: float = 0.1
    guide: float = 0.5
    guided: float = 0.85
    seed: int = 0


def region_share(maps: Sequence[Tensor], batch: WindowBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each row, the share of the attention on cells that lies in its section's region.

    Also the share of cells that are in it (chance), and whether the row counts; float, float, bool, all [b, n].
    """
    n_cells = batch.regions.shape[-1]
    on_cells = torch.stack([layer[..., :n_cells].mean(1) for layer in maps]).mean(0).float()
    sections = batch.rows[..., SECTION].clamp(0, batch.regions.shape[1] - 1)
    regions = torch.gather(batch.regions, 1, sections[..., None].expand(-1, -1, n_cells)).float()
    share = (on_cells * regions).sum(-1) / on_cells.sum(-1)
    kinds = batch.rows[..., KIND]
    counts = (kinds >= BAR_ROW) & (kinds <= NOTE_ROW) & (batch.pictured == 2)[:, None]
    return share, regions.mean(-1), counts


def line_loss(model: LineDecoder, cells: CellMaker, batch: WindowBatch, guide: float) -> tuple[Tensor, Tensor]:
    """Return the loss that is trained on and the mean nats of a note."""
    bf16 = batch.rows.device.type == "cuda"
    with torch.autocast(batch.rows.device.type, torch.bfloat16, enabled=bf16):
        kept = model.memory(cells.cells(batch))
        hidden, _, maps = model(batch.shown, batch.n_bars, kept, fused=guide == 0)
        nats = nats_of(model, hidden, batch.shown, batch.rows[..., HEADS:])
    kinds = batch.rows[:, 1:, KIND]
    weights = nats.symbols.new_tensor([ROW_WEIGHTS[kind] for kind in range(6)])[kinds]
    there = (batch.rows[:, 1:, FIRST] > 0) & (batch.rows[:, 1:, FIRST] == batch.shown[:, 1:, FIRST])
    notes = (kinds == NOTE_ROW) & there
    loss = (nats.symbols * weights * there).sum() + HEAD_WEIGHT * nats.heads.sum()
    loss = loss / notes.sum()
    if guide > 0:
        share, _, counts = region_share(maps, batch)
        loss = loss + guide * -(share[counts] + 1e-6).log().mean()
    return loss, (nats.symbols * notes).sum() / notes.sum()


@torch.inference_mode()
def evaluate_lines(
    model: LineDecoder, cells: CellMaker, prepared: Prepared, device: torch.device, most: int = 256
) -> dict[str, float]:
    """Return held-out figures: nats a note with everything known and with nothing, heads with and without a picture.

    Also the share of attention on the region that a bar belongs to, and chance.
    """
    model.eval()
    maker = PictureMaker(prepared.kinds)
    cases = {
        "all": NOT_HIDDEN,
        "no_picture": Hiding(0, 0, 0, 0, 0, 1),
        "bare": Hiding(1, 1, 1, 1, 1, 1),
        "heads_hidden": Hiding(0, 0, 0, 1, 1, 0),
        "heads_hidden_no_picture": Hiding(0, 0, 0, 1, 1, 1),
    }
    lines = [line for line in prepared.held_out if len(line.sections) >= 8]
    step = max(1, len(lines) // most)
    found: dict[str, float] = {}
    torch.manual_seed(0)
    for name, hiding in cases.items():
        totals = np.zeros(7)
        for at in range(0, len(lines[::step]), 32):
            dice = np.random.Generator(np.random.Philox([99, at]))
            chosen = lines[::step][at : at + 32]
            batch = collate_windows([line_window(line, maker, dice, hiding) for line in chosen]).to(device)
            hidden, _, maps = model(batch.shown, batch.n_bars, model.memory(cells.cells(batch)))
            nats = nats_of(model, hidden, batch.shown, batch.rows[..., HEADS:])
            notes = batch.rows[:, 1:, KIND] == NOTE_ROW
            bars = batch.rows[:, 1:, KIND] == HEAD_ROW
            totals[:4] += [
                float((nats.symbols * notes).sum()),
                int(notes.sum()),
                float(nats.heads.sum()),
                int(bars.sum()),
            ]
            share, chance, counts = region_share(maps, batch)
            if counts.any():
                totals[4:] += [float(share[counts].sum()), float(chance[counts].sum()), int(counts.sum())]
        found[f"nats_a_note.{name}"] = totals[0] / totals[1]
        found[f"nats_a_head.{name}"] = totals[2] / totals[3]
        if totals[6]:
            found[f"region_share.{name}"], found[f"region_chance.{name}"] = totals[4] / totals[6], totals[5] / totals[6]
    model.train()
    return found


def line_optimizers(model: LineDecoder, config: LineTrainingConfig) -> list[torch.optim.Optimizer]:
    """Return Muon for the layers' matrices, AdamW for the rest; the judge of liveliness is left alone."""
    lively = {id(p) for p in model.lively_parameters()}
    hidden = [p for name, p in model.named_parameters() if name.startswith("layers.") and p.ndim == 2]
    taken = {id(p) for p in hidden} | lively
    rest = [p for p in model.parameters() if id(p) not in taken]
    return [
        torch.optim.Muon(hidden, lr=config.muon_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=config.adam_rate, betas=(0.9, 0.95), weight_decay=0.02),
    ]


def train_lines(
    model: LineDecoder,
    prepared: Prepared,
    config: LineTrainingConfig,
    out: Path,
    device: torch.device,
    workers: int,
    seconds: float,
) -> None:
    """Train until `config.steps` or for so many seconds; the rate falls by whichever is nearer to its end."""
    cells = CellMaker(prepared, device)
    optimizers = line_optimizers(model, config)
    start = _resume(model, optimizers, out, device)
    groups = range(start // BATCHES_AT_ONCE, -(-config.steps // BATCHES_AT_ONCE))
    data = DataLoader(
        BatchesBySeed(prepared, config.batch, config.seed), batch_size=None, sampler=groups, num_workers=workers,
        prefetch_factor=2 if workers else None,
    )  # fmt: skip
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    began, seen = time.time(), []
    model.train()
    for step, batch in enumerate(chain.from_iterable(data), start):
        spent = max(step / config.steps, (time.time() - began) / seconds)
        if spent >= 1:
            break
        guide = max(0.0, config.guide * (1 - spent / config.guided)) if config.guided > 0 else 0.0
        loss, nats = line_loss(model, cells, batch.to(device), guide)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        share = min(1.0, (step + 1) / config.warmup, (1 - spent) / config.decay)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seen.append(nats.detach())
        if (step + 1) % (250 * BATCHES_AT_ONCE) == 0:
            mean = float(torch.stack(seen[-250 * BATCHES_AT_ONCE :]).mean())
            entry = {"step": step + 1, "minutes": (time.time() - began) / 60, "training_nats_a_note": mean}
            _log(out, entry | evaluate_lines(model, cells, prepared, device, 128))
            _checkpoint(model, optimizers, step + 1, out)
    _checkpoint(model, optimizers, start + len(seen), out)
    _log(out, {"step": "end"} | evaluate_lines(model, cells, prepared, device, 1000))


def _log(out: Path, entry: dict[str, Any]) -> None:
    text = json.dumps({name: round(value, 4) if isinstance(value, float) else value for name, value in entry.items()})
    print(text, flush=True)
    with (out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def _checkpoint(model: LineDecoder, optimizers: Sequence[torch.optim.Optimizer], step: int, out: Path) -> None:
    state = {"model": model.state_dict(), "step": step, "optimizers": [o.state_dict() for o in optimizers]}
    torch.save(state, out / "checkpoint.tmp")
    (out / "checkpoint.tmp").replace(out / "checkpoint.pt")


def _resume(model: LineDecoder, optimizers: Sequence[torch.optim.Optimizer], out: Path, device: torch.device) -> int:
    if not (out / "checkpoint.pt").is_file():
        return 0
    state = torch.load(out / "checkpoint.pt", map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    if optimizers:
        for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
    return int(state["step"])


@torch.inference_mode()
def lively_inputs(model: LineDecoder, lines: Sequence[Rows], device: torch.device) -> Tensor:
    """Return float[n, width + inputs], read without a picture."""
    model.eval()
    found = []
    for start in range(0, len(lines), 64):
        some = lines[start : start + 64]
        padded = np.zeros((len(some), max(map(len, some)), some[0].shape[1]), np.int64)
        for at, rows in enumerate(some):
            padded[at, : len(rows)] = rows
        own = torch.from_numpy(padded).to(device)
        n_bars = torch.tensor([int((rows[:, KIND] == BAR_ROW).sum()) for rows in some], device=device)
        empty = torch.zeros(len(some), model.config.cells, model.config.cell_dim, device=device)
        hidden, _, _ = model(own, n_bars, model.memory(empty), fused=True)
        nats = nats_of(model, hidden, own, own[..., HEADS:]).symbols.cpu()
        for rows, last, own_nats in zip(some, hidden.float().cpu(), nats, strict=True):
            n = len(rows)
            found.append(pooled(last[:n], own_nats[: n - 1], torch.from_numpy(rows.astype(np.int64))))
    return torch.stack(found).to(device)


def train_liveliness(
    model: LineDecoder, good: Tensor, bad: Tensor, held: NDArray[np.bool_], seed: int, steps: int = 1500
) -> dict[str, float]:
    """Train the judge on pairs float[n, inputs]; returns the shares in the right order, trained and held out."""
    torch.manual_seed(seed)
    for layer in (model.lively_in, model.lively_out):
        layer.reset_parameters()
    with torch.enable_grad():
        good, bad, out = good.clone(), bad.clone(), torch.from_numpy(held).to(good.device)
        optimizer = torch.optim.AdamW(model.lively_parameters(), lr=2e-3, weight_decay=0.1)
        inside = (~out).nonzero()[:, 0]
        for _ in range(steps):
            chosen = inside[torch.randint(0, len(inside), (256,), device=good.device)]
            keep = (torch.rand(256, good.shape[1], device=good.device) > 0.3) / 0.7
            margin = model.liveliness(good[chosen] * keep) - model.liveliness(bad[chosen] * keep)
            loss = functional.softplus(-margin).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        right = (model.liveliness(good) > model.liveliness(bad)).float()
    figures = {"lively.training": float(right[~out].mean())}
    if out.any():
        figures["lively.held_out"] = float(right[out].mean())
    return figures


def ranked_pairs(path: Path) -> Iterator[tuple[Rows, Rows, bool]]:
    """Yield pairs of a rank file: of one group, the better first."""
    entries = read_rank_file(path)
    groups: dict[str, list[tuple[float, Rows]]] = {}
    for sketch, rank, group in entries:
        groups.setdefault(group, []).append((rank, judged_rows(encode_sketch(sketch, unknown=JUDGED))))
    for n, (_, members) in enumerate(sorted(groups.items())):
        ordered = sorted(members, key=lambda member: -member[0])
        for i, (rank, good) in enumerate(ordered):
            for lower, bad in ordered[i + 1 :]:
                if lower < rank:
                    yield good, bad, n % 5 == 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with INDEX.csv, lieder, quartets, hymns")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for what was read, checkpoints, log and weights"
    )
    parser.add_argument("--steps", type=int, default=LineTrainingConfig.steps)
    parser.add_argument("--seconds", type=float, default=1e9, help="end after so long, the rate falling in time")
    parser.add_argument("--batch", type=int, default=LineTrainingConfig.batch)
    parser.add_argument("--width", type=int, default=LineConfig.width)
    parser.add_argument("--layers", type=int, default=LineConfig.layers)
    parser.add_argument("--dropout", type=float, default=LineConfig.dropout)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--guide", type=float, default=LineTrainingConfig.guide)
    parser.add_argument("--lively_steps", type=int, default=1500)
    parser.add_argument("--rank", type=Path, help="train the judge of liveliness alone, with these lines as well")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "lines.npz"
    if not kept.is_file():
        if options.data is None:
            parser.error("--data is needed the first time")
        save_prepared(prepare(read_repertoire(options.data), options.seed), kept)
    prepared = load_prepared(kept)
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = LineConfig(
        width=options.width, layers=options.layers, heads=options.width // 32, dropout=options.dropout,
        feed_forward=options.width * 8 // 3 // 64 * 64, cell_dim=prepared.things.shape[1],
    )  # fmt: skip
    model = LineDecoder(sizes).to(device)
    model.blank.copy_(torch.from_numpy(prepared.blank))
    config = LineTrainingConfig(options.steps, options.batch, guide=options.guide, seed=options.seed)
    if options.rank is None:
        train_lines(model, prepared, config, options.out, device, options.workers, options.seconds)
    elif _resume(model, [], options.out, device) == 0:
        parser.error(f"nothing is trained yet in {options.out}")
    pairs = [*prepared.pairs, *(ranked_pairs(options.rank) if options.rank is not None else ())]
    good, bad = (lively_inputs(model, [pair[side] for pair in pairs], device) for side in (0, 1))
    held = np.array([is_held for _, _, is_held in pairs])
    _log(options.out, train_liveliness(model, good, bad, held, options.seed, options.lively_steps))
    save_decoder(model, options.out)


if __name__ == "__main__":
    main()
