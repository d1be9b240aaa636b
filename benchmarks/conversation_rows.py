"""The whole conversation about a picture: batches that reuse what earlier rounds read, against the paper's way.

Both describe, compose, repair, refine and explain (attention included) with the same random model of a real
architecture: the tests' tiny Qwen2.5-VL, with a tokenizer that knows the prompts' words. Pictures, prompts, seeds and
grammar are the same too, and so are the answers. The peer takes one picture at a time and gives the library's own
`generate` every prompt whole. Random weights repeat nothing, so prompt lookup has nothing to save here.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.row import BenchRow

FAMILY = "qwen2_5_vl"
PICTURES, PEER_PICTURES = 32, 2
SIZE = (448, 336)
DESCRIPTION, TUNE_TOKENS, MOTIVATION = 100, 400, 150
VOCABULARY = 2000
"""Tokens that the tokenizer learns from the prompts, which then are about as long as with a real one."""

PEER = "one picture, every round from scratch"

TUNE = "X:1\nT:Study\nM:4/4\nL:1/8\nQ:1/4=90\nK:G\n" + "G2B2 d2B2 | c2A2 F2A2 | B2G2 A2c2 | d4 D4 |\n" * 3 + "G8 |]\n"
BROKEN = TUNE.replace("d4 D4", "d4 D3", 1)

_details: list[str] = []


def details() -> list[str]:
    """How alike the two ways' answers are, and where the time goes."""
    return list(_details)


def rows(data: Path) -> Iterator[BenchRow]:
    """One row; no file under `data` is needed."""
    import torch

    from tests.tiny_vlms import save

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = str(save(FAMILY, Path(folder) / FAMILY, text=_prompts(), tokens=VOCABULARY))
        ours = _Measured(_composer(model, reuses=True))
        peer = _Measured(_composer(model, reuses=False))
        ours.converse(range(PICTURES))
        for number in range(PEER_PICTURES):
            peer.converse([number])
    _details[:] = _compared(ours, peer)
    yield BenchRow("conversation_per_minute", ours.rate, peer.rate, PEER, "pictures a CPU minute", "higher")


def _compared(ours: _Measured, peer: _Measured) -> list[str]:
    same = sum(a == b for a, b in zip(ours.answers, peer.answers, strict=False))
    steps = ", ".join(
        f"{name} {seconds / PICTURES:.2f} ({peer.seconds[name] / PEER_PICTURES:.2f})"
        for name, seconds in ours.seconds.items()
    )
    return [
        f"- conversations with the same answers in all five rounds both ways: {same} of {len(peer.answers)}",
        f"- CPU seconds a picture in batches of {PICTURES} (from scratch): {steps}",
    ]


@dataclass
class _Measured:
    """A composer, what it answered for each picture, and its CPU seconds by step."""

    composer: Any
    answers: list[tuple[str, ...]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Pictures a minute."""
        return 60 * len(self.answers) / sum(self.seconds.values())

    def converse(self, numbers: Sequence[int]) -> None:
        """All five steps for some pictures in one batch."""
        from image2music.abc.checker import check
        from image2music.composers.base import (
            ComposeRequest,
            ExplainRequest,
            RefineRequest,
            RepairRequest,
            WriteRequest,
        )
        from image2music.music.metrics import EXPLANATIONS, Metrics

        images, metrics = [_picture(number) for number in numbers], Metrics(*[1.0] * len(EXPLANATIONS))
        described = self._timed("describe", lambda: self.composer.look(images))
        asked = [
            ComposeRequest(str(number), image, description, references(metrics), number)
            for number, image, description in zip(numbers, images, described, strict=True)
        ]
        drafts = self._timed("compose", lambda: self.composer.write([WriteRequest(one) for one in asked]))
        wrong = tuple(check(BROKEN))
        repairs = [RepairRequest(one, abc, wrong, 1) for one, abc in zip(asked, drafts, strict=True)]
        mended = self._timed("repair", lambda: self.composer.repair(repairs))
        refinements = [RefineRequest(one, abc, metrics) for one, abc in zip(asked, mended, strict=True)]
        refined = self._timed("refine", lambda: self.composer.refine(refinements))
        standing = [ExplainRequest(one, abc, "Study", metrics) for one, abc in zip(asked, refined, strict=True)]
        explained = self._timed("explain", lambda: self.composer.explain(standing))
        for description, *tunes, explanation in zip(described, drafts, mended, refined, explained, strict=True):
            self.answers.append((description.text, *tunes, explanation.motivation))

    def _timed(self, step: str, call: Callable[[], Any]) -> Any:
        started = time.process_time()
        answered = call()
        self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - started
        return answered


class _Prosaic:
    """A backend whose prose always holds a sentence: random weights may write what reads as no prose at all."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def generate(self, questions: Sequence[Any]) -> list[str]:
        """What the backend says, and one sentence."""
        from image2music.composers.constrained.forms import PROSE

        said = zip(questions, self._backend.generate(questions), strict=True)
        return [f"{text}\nIt is calm." if question.form == PROSE else text for question, text in said]


def _composer(model: str, *, reuses: bool) -> Any:
    from image2music.composers.chat.composer import ChatComposer
    from image2music.composers.chat.conversations import AnswerLengths
    from image2music.composers.chat.engine.loading import ChatModel, ModelName, load_model
    from image2music.composers.chat.engine.transformers_backend import (
        PlainGenerator,
        PrefixCachedGenerator,
        TransformersBackend,
    )

    loaded = load_model(ModelName(model))
    chat = ChatModel(loaded)
    backend = TransformersBackend(loaded.id, chat, PrefixCachedGenerator(chat) if reuses else PlainGenerator(chat))
    warmed = ChatComposer(_Prosaic(backend), AnswerLengths(8, 40, 8))
    warmed.look([_picture(-1)])  # what is loaded once is no part of the comparison
    return ChatComposer(_Prosaic(backend), AnswerLengths(DESCRIPTION, TUNE_TOKENS, MOTIVATION))


def _prompts() -> str:
    from image2music.music.metrics import EXPLANATIONS

    folder = files("image2music.composers.prompts") / "paper"
    prompts = [file.read_text() for file in folder.iterdir() if file.name.endswith(".txt")]
    prompts.append((files("image2music.composers.prompts") / "plan" / "look.txt").read_text())
    return "\n".join([*prompts, *EXPLANATIONS.values(), TUNE])


def _picture(number: int) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(number + 1).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def references(metrics: Any) -> tuple[Any, ...]:
    """Return three references with the same short tune."""
    from image2music.types import Reference

    return tuple(
        Reference(f"id{at}", "row", f"{at}.mid", f"A calm study, number {at}.", TUNE, metrics, 0.5, None, "text")
        for at in range(3)
    )
