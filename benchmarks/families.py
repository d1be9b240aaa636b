"""A table over the vision-language families that run natively, by tiny random models of their real architectures.

For each family: whether model and processor load from a folder; whether a batch of four answers is the same as four
single ones; the largest difference between replayed attention and the library's own `output_attentions=True`; and on
how many of twelve places a dot in the picture changes that image token most whose box holds the dot.

Run `python -m benchmarks.families`; `tests/benchmarks/test_families.py` asserts every column.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-4
PLACES = tuple(product((0.24, 0.4, 0.6, 0.76), (0.2, 0.5, 0.8)))
"""Where the dots are, as shares of width and height; all inside the middle that LLaVA sees of a wide picture."""

SIZE, DOT = (336, 252), 20
MARGIN = 0.03
"""How far a dot's middle may lie outside of the box: a dot has a size, and resizing blurs it."""


@dataclass(frozen=True)
class Checked:
    """What one family does. `parted` counts answers that differ between a batch and single calls."""

    family: str
    parameters: int
    answers: int
    parted: int
    difference: float
    hits: int

    @property
    def holds(self) -> bool:
        """Whether every column is as it must be."""
        return not self.parted and self.difference < TOLERANCE and self.hits == len(PLACES)


def checked(family: str, folder: Path) -> Checked:
    """Save a tiny model of a family to `folder`, load it from there and try everything."""
    from image2music.composers.chat.engine.transformers_backend import load_transformers_backend
    from tests.tiny_vlms import save

    backend = load_transformers_backend(str(save(family, folder)))
    together, alone = _answers(backend)
    return Checked(
        family,
        sum(part.numel() for part in backend.chat.model.parameters()),
        len(alone),
        sum(a != b for a, b in zip(together, alone, strict=True)),
        _difference(backend.chat),
        sum(_hits(backend.chat)),
    )


def table(rows: Sequence[Checked]) -> str:
    """Markdown."""
    lines = [
        "| family | loads from disk | batch of 4 equals 4 singles | attention against eager, largest difference "
        "| dots found by their boxes |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        same = f"{row.answers - row.parted} of {row.answers}"
        lines.append(
            f"| {row.family} | yes, {row.parameters:,} weights | {same} | {row.difference:.1e} "
            f"| {row.hits} of {len(PLACES)} |"
        )
    return "\n".join(lines)


def _answers(backend: Any) -> tuple[list[str], list[str]]:
    """Four tunes, texts, lines of music and JSON documents, in batches and one by one; last, a batch of all forms."""
    from PIL import Image

    from image2music.composers.chat.conversations import Conversation, Message, questions_of
    from image2music.composers.forms import PROSE, TUNE_OF_TWO, BarsOfLine, JsonForm, LinesForm

    lines = LinesForm("3/4", (BarsOfLine("1-2 [V:1]", 2), BarsOfLine("3-4 [V:2] !p!", 2)))
    text = {"type": "string", "maxLength": 40}
    look = {"type": "object", "properties": {"mood": text, "light": text}, "required": ["mood", "light"]}
    seen = JsonForm.of("look", {**look, "additionalProperties": False})
    sizes, seeds = ((60, 40), (120, 200), (90, 90), (300, 80)), (1, None, 3, 4)
    talks = [
        Conversation(
            Image.fromarray(_noise(size, at)), (Message("user", "A tune about this, please. " * (1 + 3 * at)),)
        )
        for at, size in enumerate(sizes)
    ]
    together, alone = [], []
    forms = ((TUNE_OF_TWO, 40), (PROSE, 20), (lines, 90), (seen, 60))
    batches = [questions_of(talks, seeds, tokens, form) for form, tokens in forms]
    batches.append([batch[at] for at, batch in enumerate(batches)])
    for batch in batches:
        together += backend.generate(batch)
        for question in batch:
            alone += backend.generate([question])
    return together, alone


def _difference(chat: Any) -> float:
    """The largest difference, over a tune's tokens and the image tokens of two pictures."""
    import torch
    from PIL import Image

    from image2music.composers.attention.replay import full_attention_layers, replay
    from image2music.composers.chat.conversations import Conversation, Message

    said = (Message("user", "Write a tune."), Message("assistant", "X:1\nK:C\nCDEF GABc | c4 C4 |]\n" * 3))
    inputs = chat.inputs([Conversation(Image.fromarray(_noise((90, 60), at)), said) for at in (0, 1)], asking=False)
    tokens = inputs["input_ids"][0].tolist()
    columns = [at for at, token in enumerate(tokens) if token == chat.image_token]
    rows = list(range(columns[-1] + 1, len(tokens)))
    ours = replay(chat.model, inputs, rows, columns)
    chat.model.set_attn_implementation({"text_config": "eager"})
    with torch.inference_mode():
        layers = chat.model(**inputs, output_attentions=True).attentions
    kept = torch.stack([layers[at].mean(1) for at in sorted(full_attention_layers(chat.model))]).mean(0)
    return float((ours - kept[:, rows][:, :, columns]).abs().max())


def _hits(chat: Any) -> Iterator[bool]:
    """For each place, whether the token that a dot there changes most is one whose box holds it."""
    grey = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    before, boxes = _features(chat, grey)
    for x, y in PLACES:
        dotted = grey.copy()
        top, left = int(y * SIZE[1]) - DOT // 2, int(x * SIZE[0]) - DOT // 2
        dotted[top : top + DOT, left : left + DOT] = 255
        changed = np.linalg.norm(_features(chat, dotted)[0] - before, axis=1)
        box = boxes[int(changed.argmax())]
        yield bool(box[0] - MARGIN <= x <= box[2] + MARGIN and box[1] - MARGIN <= y <= box[3] + MARGIN)


def _features(chat: Any, pixels: Any) -> tuple[Any, Any]:
    """What the language model is given for each image token, float[tokens, width], and their boxes."""
    import torch
    from PIL import Image

    from image2music.composers.attention.maps import Tokenised, image_token_boxes
    from image2music.composers.chat.conversations import Conversation, Message

    given: dict[str, Any] = {}
    hook = chat.model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: given.update(kwargs), with_kwargs=True
    )
    inputs = chat.inputs([Conversation(Image.fromarray(pixels), (Message("user", "x"),))], asking=True)
    with torch.inference_mode():
        chat.model.model(**inputs)
    hook.remove()
    there = inputs["input_ids"][0] == chat.image_token
    seen = Tokenised(chat.model.config, chat.processor, inputs, *SIZE, int(there.sum()))
    return given["inputs_embeds"][0][there].numpy(), image_token_boxes(seen)


def _noise(size: tuple[int, int], seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def main() -> None:
    """Print the table; exit code 1 where a column is not as it must be."""
    from tests.tiny_vlms import FAMILIES

    with tempfile.TemporaryDirectory() as folder:
        rows = [checked(family, Path(folder) / family) for family in FAMILIES]
    print(table(rows))
    sys.exit(not all(row.holds for row in rows))


if __name__ == "__main__":
    main()
