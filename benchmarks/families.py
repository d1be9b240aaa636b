"""A table over the vision-language families that run natively, by tiny random models of their real architectures.

For each family: whether model and processor load from a folder; whether a batch of four answers is the same as four
single ones; the largest difference between replayed attention and the library's own `output_attentions=True`; on how
many of twelve places a dot in the picture changes that image token most whose box holds the dot; and how many maps a
tune and its motivation get, by the plan protocol and by the paper's chain, each held against what a map must be.

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

TOLERANCE, SAME = 1e-4, 1e-6
PLACES = tuple(product((0.24, 0.4, 0.6, 0.76), (0.2, 0.5, 0.8)))
"""Where the dots are, as shares of width and height; all inside the middle that LLaVA sees of a wide picture."""

SIZE, DOT = (336, 252), 20
MAPPED_SIZE, MAPPED_BARS = (120, 90), 8
"""Pixels of the picture, and bars of the tune, whose maps are made by both protocols."""
KINDS = ("all", "voice", "bars", "motivation")
WHY = "The water lies still before the hills. So the tune rests on long notes."
"""What every model says of its tune: random weights say nothing that has sentences."""

MARGIN = 0.03
"""How far a dot's middle may lie outside of the box: a dot has a size, and resizing blurs it."""


@dataclass(frozen=True)
class Checked:
    """What one family does.

    `parted` counts answers that differ between a batch and single calls. `maps` are counted by protocol; what is wrong
    with one of them is said in `faults_of_maps`.
    """

    family: str
    parameters: int
    answers: int
    parted: int
    difference: float
    hits: int
    maps: tuple[int, int] = (0, 0)
    faults_of_maps: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every column is as it must be."""
        found = self.difference < TOLERANCE and self.hits == len(PLACES)
        return found and not self.parted and not self.faults_of_maps and min(self.maps) > 0


def checked(family: str, folder: Path) -> Checked:
    """Save a tiny model of a family to `folder`, load it from there and try everything."""
    from image2music.composers.chat.engine.transformers_backend import load_transformers_backend
    from tests.tiny_vlms import save

    backend = load_transformers_backend(str(save(family, folder)))
    beside = load_transformers_backend(str(folder))
    by_plan, by_chain = (mapped(backend, beside, by_plan=which) for which in (True, False))
    together, alone = _answers(backend)
    return Checked(
        family,
        sum(part.numel() for part in backend.chat.model.parameters()),
        len(alone),
        sum(a != b for a, b in zip(together, alone, strict=True)),
        _difference(backend.chat),
        sum(_hits(backend.chat)),
        (len(by_plan.maps), len(by_chain.maps)),
        (*by_plan.faults, *by_chain.faults),
    )


def table(rows: Sequence[Checked]) -> str:
    """Markdown."""
    lines = [
        "| family | loads from disk | batch of 4 equals 4 singles | attention against eager, largest difference "
        "| dots found by their boxes | maps of a tune and its motivation, by plan and by the paper's chain |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        same = f"{row.answers - row.parted} of {row.answers}"
        lines.append(
            f"| {row.family} | yes, {row.parameters:,} weights | {same} | {row.difference:.1e} "
            f"| {row.hits} of {len(PLACES)} | {_maps_text(row)} |"
        )
    return "\n".join(lines)


def _maps_text(row: Checked) -> str:
    by_plan, by_chain = row.maps
    return f"{by_plan} and {by_chain}" + "".join(f"; {fault}" for fault in row.faults_of_maps)


@dataclass(frozen=True)
class Mapped:
    """The maps of one tune and its motivation, and in words what is wrong with them."""

    maps: tuple[Any, ...]
    faults: tuple[str, ...]


class _Speaker:
    """A model that writes as it does, and is heard to say `WHY`; keeps the conversations that it replays."""

    def __init__(self, backend: Any) -> None:
        self.backend, self.id, self.prompt_tokens = backend, backend.id, backend.prompt_tokens
        self.count_tokens, self.log_likelihood = backend.count_tokens, backend.log_likelihood
        self.replayed: list[tuple[Any, list[Any]]] = []

    def generate(self, questions: Sequence[Any]) -> list[str]:
        from dataclasses import replace

        self.backend.generate([replace(one, max_tokens=4) for one in questions])
        return [WHY] * len(questions)

    def attention(self, conversation: Any, *, layers: bool = False) -> Any:
        found = self.backend.attention(conversation, layers=layers)
        self.replayed.append((conversation, found))
        return found


def asked_to_explain(*, by_plan: bool) -> Any:
    """A request to explain a tune of three voices.

    With its plan, which leaves the middle voice to the arranger; or without.
    """
    from PIL import Image

    from image2music.abc.playback import abc_to_score
    from image2music.composers.base import ComposeRequest, ExplainRequest
    from image2music.composers.chat.manuscript import by_place, to_abc
    from image2music.composers.chat.protocol import with_derived
    from image2music.images.scene import Scene
    from image2music.music.metrics import metrics_of_score
    from image2music.music.planning.planner import PlanRequest, plan_tune
    from image2music.types import Description

    plan = with_derived(by_place(plan_tune(PlanRequest(title="Still water", bars=MAPPED_BARS, seed=3))), "short")
    abc = to_abc(plan, {}, 1, derived=_derived(plan))
    scene = Scene("still water", (("water", 1.0), ("hills", 0.5)))
    request = ComposeRequest(
        "one", Image.fromarray(_noise(MAPPED_SIZE, 5)), Description("Still water below hills.", scene=scene), (), 5
    )
    metrics = metrics_of_score(abc_to_score(abc))
    return ExplainRequest(request, abc, plan.title, metrics, plan=plan if by_plan else None)


def _derived(plan: Any) -> frozenset[int]:
    return frozenset(voice.id for voice in plan.voices if voice.derived)


def mapped(backend: Any, beside: Any, *, by_plan: bool) -> Mapped:
    """Have a tune explained, and hold each map against what it must be.

    It must be finite, a share of all attention, and on the grid of the picture's own tokens; there must be one of the
    whole tune, of each voice that the model wrote, of every four bars and of every sentence; what was replayed must be
    the tune that stands, and what was said of it; and with `beside`, the same model loaded once more to read what a
    server writes, the maps must be the same.
    """
    from image2music.composers.chat.composer import ChatComposer
    from image2music.composers.chat.server import RemoteWithLocalAttention

    asked, speaker = asked_to_explain(by_plan=by_plan), _Speaker(backend)
    (found,) = ChatComposer(speaker).explain([asked])
    name = "by plan" if by_plan else "by the paper's chain"
    if found.attention_missing:
        return Mapped((), (f"{name}: {found.attention_missing}",))
    ((conversation, turns),) = speaker.replayed
    faults = list(_faults(asked, found, _grid(backend.chat, asked.request.image)))
    said = [turn.text for turn in conversation.messages if turn.role == "assistant"][-2:]
    if said != [asked.abc.strip(), WHY] or [turn.text for turn in turns[-2:]] != said:
        faults.append("something else than the tune and its motivation was replayed")
    (served,) = ChatComposer(RemoteWithLocalAttention(_Speaker(backend), beside)).explain([asked])
    if not same_maps(found.attention, served.attention):
        faults.append("a server's answers have other maps")
    return Mapped(found.attention, tuple(f"{name}: {fault}" for fault in faults))


def same_maps(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two lists of maps are of the same segments, with the same weights but for rounding."""
    return len(some) == len(others) and all(
        (a.segment, a.kind, a.text) == (b.segment, b.kind, b.text)
        and np.allclose(a.weights, b.weights, atol=SAME)
        and np.allclose(a.baseline, b.baseline, atol=SAME)
        for a, b in zip(some, others, strict=True)
    )


def _faults(asked: Any, found: Any, grid: tuple[int, int]) -> Iterator[str]:
    derived = _derived(asked.plan) if asked.plan else frozenset()
    voices = [f"voice {at}" for at in (1, 2, 3) if at not in derived]
    bars = [f"bars {first}-{first + 3}" for first in range(1, MAPPED_BARS, 4)]
    wanted = ["all", *voices, *bars, "sentence 1", "sentence 2"]
    if [one.segment for one in found.attention] != wanted or {one.kind for one in found.attention} != set(KINDS):
        yield f"maps of {', '.join(one.segment for one in found.attention)}"
    for one in found.attention:
        for weights in (one.weights, one.baseline):
            if weights.shape != grid:
                yield f"{one.segment} has a grid of {weights.shape}, the picture one of {grid}"
            if not np.isfinite(weights).all() or weights.min() < 0 or not 0 < weights.sum() < 1:
                yield f"{one.segment} is no share of attention"
        if np.allclose(one.weights, one.baseline):
            yield f"{one.segment} looks at a blank picture alike"


def _grid(chat: Any, image: Any) -> tuple[int, int]:
    """Rows and columns of the picture's own tokens."""
    from image2music.composers.attention import Tokenised, grid_of, image_token_boxes
    from image2music.composers.chat.conversations import Conversation, Message

    inputs = chat.inputs([Conversation(image, (Message("user", "x"),))], asking=True)
    there = int((inputs["input_ids"][0] == chat.image_token).sum())
    rows, cols = grid_of(image_token_boxes(Tokenised(chat.model.config, chat.processor, inputs, *image.size, there)))
    return rows, cols


def _answers(backend: Any) -> tuple[list[str], list[str]]:
    """Four tunes, texts, lines of music and JSON documents, in batches and one by one; last, a batch of all forms."""
    from PIL import Image

    from image2music.composers.chat.conversations import Conversation, Message, questions_of
    from image2music.composers.constrained.forms import PROSE, TUNE_OF_TWO, BarsOfLine, JsonForm, LinesForm

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

    from image2music.composers.chat.conversations import Conversation, Message
    from image2music.composers.chat.engine.replay import full_attention_layers, replay

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

    from image2music.composers.attention import Tokenised, image_token_boxes
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
