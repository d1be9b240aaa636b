"""What an answer is to look like, so that a model that runs here can be held to it and a server can be told.

A form says nothing of what an answer is about. `PROSE` is anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from image2music.errors import ConfigError
from image2music.music.planning.harmony import METERS


@dataclass(frozen=True)
class ProseForm:
    """Plain words."""


@dataclass(frozen=True)
class TuneForm:
    """A whole tune in ABC whose header the model writes itself, with so many voices and as many bars as it likes."""

    voices: int = 2


@dataclass(frozen=True)
class JsonForm:
    """One JSON value that keeps to a JSON Schema, which is kept as canonical text; `name` is for servers that ask."""

    name: str
    schema: str

    @classmethod
    def of(cls, name: str, schema: Mapping[str, Any]) -> JsonForm:
        """Make the form of a schema."""
        return cls(name, json.dumps(schema, ensure_ascii=True, separators=(",", ":")))


@dataclass(frozen=True)
class BarsOfLine:
    """One line of music: `prefix` is given word for word (it may hold whole lines), then come so many bars."""

    prefix: str
    bars: int


@dataclass(frozen=True)
class LinesForm:
    """Lines of music at L:1/8 in one meter, each with its number of bars: `5-8 [V:2] ... | ... | ... | ... |`.

    Every bar is exactly full and closed by `|`, every line ends after its last bar. Bars may hold notes, chords, rests,
    ties, slurs, triplets, dynamics, accents, staccato and swells.
    """

    meter: str
    lines: tuple[BarsOfLine, ...]

    def __post_init__(self) -> None:
        if self.meter not in METERS:
            raise ConfigError(f"no line of music can be written in {self.meter!r}", reason="bad_meter")
        if not self.lines or min(line.bars for line in self.lines) < 1:
            raise ConfigError("a form of lines has at least one line with one bar", reason="bad_form")


Form = ProseForm | TuneForm | JsonForm | LinesForm
PROSE = ProseForm()
TUNE_OF_TWO = TuneForm(2)
