"""Settings that can change a row, which validate themselves on creation, and the seed of all randomness."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Literal, get_args

from image2music.errors import ConfigError

AcceptRule = Literal["better", "always"]


@dataclass(frozen=True)
class LoopSettings:
    """How far the loop goes: at most `rounds` repairs and at most `rounds` refinements, and when one is accepted."""

    rounds: int = 2
    accept: AcceptRule = "better"

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ConfigError(f"rounds must be 0 or more, not {self.rounds}", reason="bad_rounds")
        if self.accept not in get_args(AcceptRule):
            raise ConfigError(f"accept must be better or always, not {self.accept!r}", reason="bad_accept")


@dataclass(frozen=True)
class ComposeSettings:
    """Everything that can change a composition's row. Where things lie and how many workers run is not here.

    `rules` names the versions of loop, autofix, checker and copy limits (`loop.chain.rules_version`); versions of
    libraries stand in run.json and not here. `album` names the rules that albums are planned by, None where pictures
    stand alone. `looking` names what is kept of attention beside the maps.
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


def prompts_version() -> str:
    """Return 16 hex digits of the sha256 over the prompt files: a changed prompt changes the settings' hash."""
    digest = hashlib.sha256()
    texts = [entry for entry in files("image2music.composers.prompts").iterdir() if entry.name.endswith(".txt")]
    for entry in sorted(texts, key=lambda entry: entry.name):
        digest.update(entry.name.encode() + b"\0" + entry.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def next_take(seed: int) -> int:
    """Return the seed of the take after the one with this seed."""
    return (seed + 1) % 2**63


def picture_seed(seed: int, image_id: str) -> int:
    """Return the picture's own seed, 0 to 2**63 - 1: independent of batch, order, workers and runner."""
    digest = hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
