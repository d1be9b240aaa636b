"""What nano can and cannot do: loss against an n-gram, control tokens, pictures, and whether its maps mean anything.

`python -m benchmarks.nano [--pictures DIR] [--tries 100]` prints Markdown and writes build/bench/nano.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.faithfulness import deletion_curves
from benchmarks.ngram import NgramModel
from benchmarks.obedience import obedience
from benchmarks.pictures_matter import pictures_matter
from image2music.composers.nano.composer import NanoComposer, load_nano
from image2music.composers.nano.melody import body_text
from image2music.composers.nano.model import NanoComposerModel
from image2music.composers.nano.training.train import make_dataset, validate
from image2music.embedders.conse import load_conse


def language(model: NanoComposerModel, seed: int = 0) -> dict[str, float]:
    """Nats a character of ABC on held-out groups: nano with every condition told, and n-grams of order 3 and 6.

    A character is one of the melody's lines as `abc_text` writes them, spaces and line ends included; the figure
    without spaces divides the same nats by the other characters only.
    """
    data = make_dataset(model.config, load_conse(), seed)
    nats = validate(model, data, seed)
    held_out = data.validation()
    tokens = sum(len(data.bodies[i]) for i in held_out)
    texts = [body_text(data.tunes[i].melody) for i in held_out]
    training = [body_text(data.tunes[i].melody) for i in data.training()]
    characters = sum(len(text) + 1 for text in texts)
    dense = sum(len("".join(text.split())) + 1 for text in texts)
    return {
        "held_out_tunes": len(held_out),
        "nano": nats * tokens / characters,
        "nano_without_spaces": nats * tokens / dense,
        "trigram": NgramModel(3, training).nats_a_character(texts),
        "six_gram": NgramModel(6, training).nats_a_character(texts),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    names = list(rows[0])
    cells = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    lines = [" | ".join(names), " | ".join("---" for _ in names), *(" | ".join(row) for row in cells)]
    return "\n".join(f"| {line} |" for line in lines)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, default=Path("build/demo/data/pictures"))
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--output", type=Path, default=Path("build/bench/nano.json"))
    parser.add_argument("--parts", nargs="*", default=["language", "controls", "pictures", "deletion"])
    options = parser.parse_args(arguments)
    composer: NanoComposer = load_nano()
    pictures = sorted(path for path in options.pictures.iterdir() if path.is_file())
    parts: dict[str, Any] = {
        "language": lambda: [language(load_model())],
        "controls": lambda: obedience(composer, pictures[0], options.tries),
        "pictures": lambda: pictures_matter(composer, pictures),
        "deletion": lambda: deletion_curves(composer, pictures),
    }
    report = {}
    for name in options.parts:
        report[name] = parts[name]()
        print(f"\n## {name}\n\n{table(report[name])}", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1))


def load_model() -> NanoComposerModel:
    """The weights in float32, for the loss."""
    from image2music.composers.nano.patches import WEIGHTS

    model: NanoComposerModel = NanoComposerModel.from_pretrained(WEIGHTS, dtype=torch.float32)
    return model


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
