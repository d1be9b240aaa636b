"""Settings that can change a row, which validate themselves on creation, and the seed of all randomness."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Literal, get_args

from image2music.errors import ConfigError

Protocol = Literal["plan", "paper"]
"""plan: look, recall, plan, write, repair, listen, edit, choose, explain. paper: the paper's own chain."""

Steps = Literal["full", "short", "small"]
"""How a chat model goes about a plan and its tune.

full: sketches, plan, melody and bass, the other voices. short: plan, then the tune at once. small: the plan in parts
from lists, the tune bar by bar, accompaniment by rule.
"""


LANGUAGE_NAMES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish"}
"""Languages of descriptions and titles."""


WebRule = Literal["none", "public", "any"]
"""none: no web address is opened. public: hosts whose every address is public. any: private networks too."""


@dataclass(frozen=True)
class LoopSettings:
    """Which chain, and how far it goes.

    At most `rounds` repairs of a draft, and, where it is not 0, one round of edits (in the paper's chain: one
    refinement). `candidates` tunes are written for a picture, each to a plan of its own, and the best one is kept; the
    paper's chain writes one. `steps` is for chat models.
    """

    rounds: int = 2
    protocol: Protocol = "plan"
    candidates: int = 1
    steps: Steps = "full"

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ConfigError(f"rounds must be 0 or more, not {self.rounds}", reason="bad_rounds")
        if self.protocol not in get_args(Protocol):
            raise ConfigError(f"protocol must be plan or paper, not {self.protocol!r}", reason="bad_protocol")
        if self.steps not in get_args(Steps):
            raise ConfigError(f"steps must be full, short or small, not {self.steps!r}", reason="bad_steps")
        if self.candidates < 1:
            raise ConfigError(f"candidates must be 1 or more, not {self.candidates}", reason="bad_candidates")
        if self.protocol == "paper" and self.candidates > 1:
            raise ConfigError(
                "the paper's chain writes one tune a picture: leave candidates at 1", reason="bad_candidates"
            )


@dataclass(frozen=True)
class ComposeSettings:
    """Everything that can change a composition's row. Where things lie and how many workers run is not here.

    `rules` names the versions of loop, autofix, checker and copy limits (`loop.chain.rules_version`); versions of
    libraries stand in run.json and not here. `album` names the rules that albums are planned by, None where pictures
    stand alone. `looking` names what is kept of attention beside the maps. `style` is what a person
    asks of every tune. `language` is that of descriptions and titles, None for English.
    """

    composer_id: str
    embedder_id: str
    prompts_version: str
    top_k: int
    loop: LoopSettings
    seed: int
    where: str | None = None
    album: str | None = None
    looking: str | None = None
    rules: str | None = None
    style: str | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ConfigError(f"top_k must be 1 or more, not {self.top_k}", reason="bad_top_k")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be between 0 and 2**63 - 1, not {self.seed}", reason="bad_seed")

    @property
    def hash(self) -> str:
        """sha256 in hex over every field that is given, stable between runs and machines."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        text = json.dumps(given, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class SendingOptions:
    """How requests go to a server, and what they may cost. Nothing here changes a row.

    Attributes:
        concurrency: requests of one process that are under way at once. ledger: the file in which answers and costs are
        kept; "" keeps them in memory, for one process. price: of a million tokens in and out. max_cost: what all
        requests of the ledger may come to, in the unit of the price. batch_api: whether requests are put together into
        batches that are answered later. excuse: told, in the thread that asked, how many seconds a server had it
        wait for its rate limits.
    """

    concurrency: int = 8
    ledger: str = ""
    price: tuple[float, float] | None = None
    max_cost: float | None = None
    batch_api: bool = False
    excuse: Callable[[float], None] | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ConfigError(f"concurrency must be 1 or more, not {self.concurrency}", reason="bad_concurrency")
        if self.price is not None and not all(math.isfinite(one) and one >= 0 for one in self.price):
            raise ConfigError(f"a price is two numbers of 0 or more, not {self.price}", reason="bad_price")
        if self.max_cost is None:
            return
        if not self.max_cost > 0:
            raise ConfigError(f"max_cost must be more than 0, not {self.max_cost:g}", reason="bad_max_cost")
        if self.price is None:
            message = "a bound of money (max_cost) needs a price, without which nobody knows what a request costs"
            raise ConfigError(message, reason="bad_max_cost")


def prompts_version() -> str:
    """Return 16 hex digits of the sha256 over the prompt files: a changed prompt changes the settings' hash.

    Those of the judge make no row, and do not count; what asks for another language counts there (`language_version`).
    """
    digest, prompts = hashlib.sha256(), files("image2music.composers.prompts")
    folders = sorted(
        folder.name for folder in prompts.iterdir() if folder.is_dir() and folder.name not in ("judge", "language")
    )
    texts = [(f"{folder}/{text.name}", text) for folder in folders for text in prompts.joinpath(folder).iterdir()]
    for name, text in sorted((one for one in texts if one[0].endswith(".txt")), key=lambda one: one[0]):
        digest.update(name.encode() + b"\0" + text.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def language_version(language: str) -> str | None:
    """Name a language and the wording that asks for it, as settings store them; None for English."""
    if language == "en":
        return None
    wording = files("image2music.composers.prompts") / "language" / "answers.txt"
    return f"{language}@{hashlib.sha256(wording.read_bytes()).hexdigest()[:8]}"


def next_take(seed: int) -> int:
    """Return the seed of the take after the one with this seed."""
    return (seed + 1) % 2**63


def picture_seed(seed: int, image_id: str) -> int:
    """Return the picture's own seed, 0 to 2**63 - 1: independent of batch, order, workers and runner."""
    digest = hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


_SPANS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def read_span(text: str) -> float:
    """Read `90m`, `3h` or `2d` as seconds, more than none.

    Raises:
        ConfigError: it is no such time (`bad_span`).
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", text.strip())
    if found is None or found[2] not in _SPANS or not float(found[1]):
        raise ConfigError(f"a gap is a time such as 90m, 3h or 2d, not {text!r}", reason="bad_span")
    return float(found[1]) * _SPANS[found[2]]
