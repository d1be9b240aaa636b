"""Stand-ins for the models: small, deterministic, and honest about the protocols.

The folder that this file lies in looks like an installed package whose entry points name them, so every process that
has it on its path knows `--embedder fake` and `--composer fake`. `fake:0.05` takes so many seconds over each tune;
`fake:NAME` is what a test put into `COMPOSERS` or `EMBEDDERS` by that name, for its own process only.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL.Image import Image

from image2music.composers.base import (
    EditRequest,
    ExplainRequest,
    PlanningRequest,
    RefineRequest,
    RepairRequest,
    WriteRequest,
)
from image2music.embedders.base import Vectors
from image2music.music.planning.plan import Plan, plan_of_json
from image2music.types import AttentionMap, Description, Edit, Explanation

DIM = 8


def unit(seed: str) -> np.ndarray:
    digest = hashlib.sha256(seed.encode()).digest()
    vector = np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(size=DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def colour_of(image: Image) -> str:
    red, green, blue = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
    return max((red, "red"), (green, "green"), (blue, "blue"))[1]


class FakeEmbedder:
    """Equal texts have equal vectors; a picture has the vector of its strongest colour's name."""

    id = "fake-embedder@1"
    dim = DIM

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        return np.array([unit(text) for text in texts], dtype=np.float32).reshape(len(texts), DIM)

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        return self.embed_texts([colour_of(image) for image in images])


def two_voice_tune(seed: int, bars: int = 4) -> str:
    """Valid ABC: four quarters a bar in two voices, pitches drawn from the seed."""
    random = np.random.default_rng(seed)
    upper = " | ".join(" ".join(random.choice(list("CDEFGABc"), 4)) for _ in range(bars))
    lower = " | ".join(" ".join(random.choice(list("CDEFGAB"), 2)) for _ in range(bars)).replace(" | ", "|")
    lower = "|".join(" ".join(f"{note},2" for note in bar.split()) for bar in lower.split("|"))
    return (
        f"X:1\nT:Tune {seed % 1000}\nM:4/4\nL:1/4\nQ:1/4=96\nK:C\n"
        f"V:1\nV:2 clef=bass\n[V:1] {upper} |]\n[V:2] {lower} |]\n"
    )


def two_voice_plan() -> Plan:
    """What `two_voice_tune` is written to, whatever the seed."""
    return plan_of_json(
        {
            "title": "Tune",
            "idea": "none",
            "key": "C",
            "meter": "4/4",
            "bars": 4,
            "voices": [
                {"id": 1, "name": "Piano", "program": 0, "low": "C4", "high": "C5"},
                {"id": 2, "name": "Piano", "program": 0, "low": "C3", "high": "B3"},
            ],
            "sections": [
                {"name": "A", "bars": "1-4", "qpm": 96, "roles": {"1": "melody", "2": "bass"}, "cadence": "full"}
            ],
            "harmony": ["C", "F", "G", "C"],
        }
    )


class FakeComposer:
    """Writes a tune from the seed. It sees the strongest colour; `calls` keeps the sizes of the batches."""

    id = "fake-composer@1"

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def look(self, images: Sequence[Image], language: str = "en") -> list[Description]:
        self.calls.append(("look", len(images)))
        return [Description(text=colour_of(image)) for image in images]

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        self.calls.append(("plan", len(requests)))
        return [two_voice_plan() for _ in requests]

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        self.calls.append(("write", len(requests)))
        return [two_voice_tune(request.request.seed + request.take) for request in requests]

    def edit(self, requests: Sequence[EditRequest]) -> list[tuple[Edit, ...]]:
        self.calls.append(("edit", len(requests)))
        return [() for _ in requests]

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        self.calls.append(("repair", len(requests)))
        return [two_voice_tune(request.request.seed + request.attempt) for request in requests]

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        self.calls.append(("refine", len(requests)))
        return [two_voice_tune(request.request.seed + 100) for request in requests]

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        self.calls.append(("explain", len(requests)))
        grid = np.full((2, 3), 0.1, dtype=np.float32)
        whole = AttentionMap(segment="tune", kind="all", text="", weights=grid, baseline=grid)
        return [Explanation(f"It is {request.request.description.text}.", (whole,)) for request in requests]


class SlowComposer(FakeComposer):
    """Takes its time over each tune, and notes its seed before, in the file that FAKE_COMPOSER_NOTES names, if any."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        if place := os.environ.get("FAKE_COMPOSER_NOTES"):
            with open(place, "a") as notes:
                notes.writelines(f"{request.request.seed}\n" for request in requests)
        time.sleep(self._seconds * len(requests))
        return super().write(requests)


class DeadlyEmbedder(FakeEmbedder):
    """Ends its process when it reads the word poison."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        if "poison" in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_texts(texts)


class DeadlyComposer(FakeComposer):
    """Ends its process when it sees a picture whose first pixel is black."""

    def look(self, images: Sequence[Image], language: str = "en") -> list[Description]:
        if any(image.convert("RGB").getpixel((0, 0)) == (0, 0, 0) for image in images):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().look(images, language)


class OtherEmbedder(FakeEmbedder):
    id = "other-embedder@1"


COMPOSERS: dict[str, Callable[[], FakeComposer]] = {"": FakeComposer, "deadly": DeadlyComposer}
EMBEDDERS: dict[str, Callable[[], FakeEmbedder]] = {
    "": FakeEmbedder,
    "other": OtherEmbedder,
    "deadly": DeadlyEmbedder,
}


class FakeComposerKind:
    form = "fake[:SECONDS]"
    is_remote = False
    protocols = ("paper", "plan")
    candidates = 1

    def accepts(self, argument: str) -> bool:
        return argument in COMPOSERS or argument.replace(".", "", 1).isdigit()

    def id_of(self, argument: str) -> str:
        return FakeComposer.id

    def load(self, argument: str) -> FakeComposer:
        return COMPOSERS[argument]() if argument in COMPOSERS else SlowComposer(float(argument))

    def memory_report(self, argument: str, batch: int) -> dict[str, str]:
        return {}


class FakeEmbedderKind:
    form = "fake"

    def accepts(self, argument: str) -> bool:
        return argument in EMBEDDERS

    def load(self, argument: str) -> FakeEmbedder:
        return EMBEDDERS[argument]()


FAKE_COMPOSERS = FakeComposerKind()
FAKE_EMBEDDERS = FakeEmbedderKind()
