"""The whole conversation about a picture: batches that reuse what earlier rounds read, against the paper's way.

Both describe, compose, repair, refine and explain (attention included) with the same random model of a real
architecture (Qwen2.5-VL, 4 layers of 16 heads), the same pictures, prompts, seeds and rules. The peer takes one
picture at a time and gives the library's own `generate` every prompt whole.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.row import BenchRow

FAMILY, LAYERS, WIDTH = "qwen2_5_vl", 4, 128
PICTURES, PEER_PICTURES = 16, 4
SIZE = (448, 336)
PEER = "one picture, every round from scratch"

TUNE = "X:1\nT:Study\nM:4/4\nL:1/8\nQ:1/4=90\nK:G\n" + "G2B2 d2B2 | c2A2 F2A2 | B2G2 A2c2 | d4 D4 |\n" * 3 + "G8 |]\n"

_details: list[str] = []


def details() -> list[str]:
    """How alike the two ways' answers are, and where the time goes."""
    return list(_details)


def rows(data: Path) -> Iterator[BenchRow]:
    """One row; no file under `data` is needed."""
    import torch

    from tests.tiny_vlms import save

    torch.set_num_threads(1)
    _details.clear()
    with tempfile.TemporaryDirectory() as folder:
        model = str(save(FAMILY, Path(folder) / FAMILY, layers=LAYERS, width=WIDTH))
        ours, answers, spent = _reusing(model)
        peer, theirs, peer_spent = _from_scratch(model)
    same = sum(a == b for a, b in zip(answers, theirs, strict=False))
    _details.append(f"- the same answers in all five rounds: {same} of {len(theirs)} pictures")
    for step, seconds in spent.items():
        _details.append(f"- {step}: {seconds:.2f} s a picture, from scratch {peer_spent[step]:.2f}")
    yield BenchRow("conversation_per_minute", ours, peer, PEER, "pictures a minute", "higher")
