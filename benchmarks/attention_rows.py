"""Attention to the picture for one answer: decoding and one replay, against decoding with `output_attentions=True`.

Each way runs in a process of its own, on the same random model of a real architecture (Qwen2.5-VL, 4 layers of 16
heads), from the same prompt, and must come to the same figures.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.row import BenchRow

FAMILY, LAYERS, WIDTH = "qwen2_5_vl", 4, 128
PICTURE = (560, 420)
PROMPT_WORDS, NEW_TOKENS = 1180, 300
TOLERANCE = 1e-4
PEER = "output_attentions=True"

_details: list[str] = []


def details() -> list[str]:
    """What was measured on, and how far the two ways differ."""
    return list(_details)


def rows(data: Path) -> Iterator[BenchRow]:
    """Both rows; no file under `data` is needed."""
    from tests.tiny_vlms import save

    _details.clear()
    with tempfile.TemporaryDirectory() as folder:
        model = save(FAMILY, Path(folder) / FAMILY, layers=LAYERS, width=WIDTH)
        ours, peer = (_measured(way, model) for way in ("replay", "kept"))
    difference = float(np.abs(np.array(ours["looks"]) - np.array(peer["looks"])).max())
    if difference > TOLERANCE:
        raise SystemExit(f"replay and {PEER} differ by {difference:.2g}: one of them is wrong")
    _details.append(
        f"- attention of {NEW_TOKENS} tokens to {len(ours['looks'])} image tokens, {ours['prompt']} tokens of prompt: "
        f"largest difference of the means {difference:.1g}"
    )
    yield BenchRow("attention_memory", ours["mb"], peer["mb"], PEER, "MB of peak growth", "lower")
    yield BenchRow("attention_seconds", ours["cpu_s"], peer["cpu_s"], PEER, "CPU s an answer", "lower")


def _measured(way: str, model: Path) -> Any:
    command = [sys.executable, "-m", "benchmarks.attention_rows", way, str(model)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if ran.returncode:
        raise SystemExit(f"measuring {way} failed:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout)


def _main(way: str, folder: str) -> None:
    import torch

    from image2music.composers.chat.engine.loading import ModelName, image_token_of, load_model

    torch.set_num_threads(1)
    loaded = load_model(ModelName(folder))
    inputs = _prompt(loaded.processor, PROMPT_WORDS, PICTURE)
    columns = (inputs["input_ids"][0] == image_token_of(loaded.model.config)).nonzero()[:, 0]
    looks = {"replay": _replayed, "kept": _kept}[way]
    small = _prompt(loaded.processor, 5, (56, 56))
    looks(loaded.model, small, torch.tensor([2]), 3)  # what is loaded once is no part of the comparison
    before, started = _peak_mb(), time.process_time()
    weights = looks(loaded.model, inputs, columns, NEW_TOKENS)
    measured = {"cpu_s": time.process_time() - started, "mb": _peak_mb() - before}
    print(json.dumps({**measured, "prompt": inputs["input_ids"].shape[1], "looks": weights.mean(0).tolist()}))


def _prompt(processor: Any, words: int, size: tuple[int, int]) -> Any:
    from PIL import Image

    from image2music.composers.chat.conversations import Conversation, Message
    from image2music.composers.chat.engine.loading import Renderer

    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    talk = Conversation(Image.fromarray(pixels), (Message("user", "calm lake " * (words // 2)),))
    return Renderer(processor).tokenise([talk], asking=True)


def _generate(model: Any, inputs: Any, new: int, **options: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model.generate(**inputs, max_new_tokens=new, min_new_tokens=new, do_sample=False, **options)


def _replayed(model: Any, inputs: Any, columns: Any, new: int) -> Any:
    """Float[new, columns], as the composer does it."""
    import torch
    from torch.nn.functional import pad

    from image2music.composers.chat.engine.replay import replay

    token = model.config.image_token_id
    never = [[token], [model.config.video_token_id], [model.config.vision_start_token_id]]
    written = _generate(model, inputs, new, bad_words_ids=never)
    prompt = inputs["input_ids"].shape[1]
    whole = {**inputs, "input_ids": written, "attention_mask": torch.ones_like(written)}
    whole["mm_token_type_ids"] = pad(inputs["mm_token_type_ids"], (0, new))
    return replay(model, whole, range(prompt - 1, prompt + new - 1), columns.tolist())[0]


def _kept(model: Any, inputs: Any, columns: Any, new: int) -> Any:
    """Float[new, columns] from every matrix, kept while decoding."""
    import torch

    model.set_attn_implementation({"text_config": "eager"})
    never = [[model.config.image_token_id], [model.config.video_token_id], [model.config.vision_start_token_id]]
    kept = _generate(
        model, inputs, new, bad_words_ids=never, output_attentions=True, return_dict_in_generate=True
    ).attentions
    return torch.stack([torch.stack([layer[0, :, -1, columns].mean(0) for layer in step]).mean(0) for step in kept])


def _peak_mb() -> float:
    """This program's own peak: on Linux `ru_maxrss` begins with that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    _main(*sys.argv[1:])
