"""A server's part played from recorded answers: each request is recognised by its question, each picture by its colour.

The answers are in `fixtures/recorded`. The pictures are stand-ins of one colour: nothing here looks at them.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from pathlib import Path
from typing import Any

from chat_server import Reply, says
from PIL import Image

RECORDED = Path(__file__).parent / "fixtures" / "recorded"
COLOURS = {"storm": (40, 44, 60), "astronaut": (220, 110, 30)}
OPENINGS = {
    "Look at this picture": "look",
    "You are a composer, and this picture": "sketch",
    "Plan the whole piece": "plan",
    "You are a composer. Plan a short piece": "plan",
    "The score so far": "write",
    "Now be a severe teacher": "edit",
}
"""How the questions begin. That for melody and bass may begin with what was mended, so it is told by another line."""


def stand_in(name: str) -> Image.Image:
    return Image.new("RGB", (96, 64), COLOURS[name])


def question_of(body: dict[str, Any]) -> str:
    said = body["messages"][-1]["content"]
    return str(said if isinstance(said, str) else said[-1]["text"])


def step_of(question: str) -> str:
    if "Write the lines that carry it" in question:
        return "melody"
    if "Say why" in question:
        return "motivation"
    return next(step for opening, step in OPENINGS.items() if question.startswith(opening))


def name_of(body: dict[str, Any]) -> str:
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    shown = Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))).convert("RGB")
    pixel = shown.getpixel((0, 0))
    return min(COLOURS, key=lambda name: sum(abs(a - b) for a, b in zip(COLOURS[name], pixel, strict=True)))


def recorded(name: str, step: str) -> str:
    return (RECORDED / name / f"{step}.txt").read_text(encoding="utf-8")


class RecordedPlayer:
    """Answers chat requests; `asked` counts them by picture and step, `sent` and `said` their characters by picture."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()

    def __call__(self, body: dict[str, Any]) -> Reply:
        name, step = name_of(body), step_of(question_of(body))
        self.asked[name, step] += 1
        return says(recorded(name, step))
