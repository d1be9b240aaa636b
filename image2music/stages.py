"""What flows through the pipelines, stage by stage.

index:   CaptionedMidi → CaptionedTune → row of schemas/tune.py
compose: ImageRef → DescribedImage → RetrievedContext → Draft → RefinedTune → row of schemas/composition.py
Anywhere a Failure may take an element's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from image2music.briefs import NO_BRIEF, Brief
from image2music.composers.base import Description, Explanation, Reference
from image2music.notation.diagnostic import Diagnostic
from image2music.notation.metrics import Metrics

Purpose = Literal["draft", "repair", "refine"]


@dataclass(frozen=True)
class Failure:
    """An element that could not be finished. `reason` is a stable snake_case word, `message` is one line."""

    stage: str
    id: str
    uri: str
    reason: str
    message: str


@dataclass(frozen=True)
class CaptionedMidi:
    """One line of the captions file. `location` and `image` are relative to the folder of MIDI files.

    `caption` is empty where a picture alone describes the tune, `image` where there is none. `image_id` is the sha256
    of the picture's bytes in hex, once it was read.
    """

    location: str
    caption: str
    genre: tuple[str, ...] = ()
    mood: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    image: str = ""
    image_id: str = ""


@dataclass(frozen=True)
class CaptionedTune:
    """A captioned MIDI file as ABC notation. `tune_id` is the sha256 of the MIDI bytes in hex.

    `music_id` is what `same_music.music_id` makes of its notes, `picture` the opened picture where the line names one.
    """

    tune_id: str
    source: CaptionedMidi
    abc: str
    key: str
    meter: str
    tempo_qpm: float
    duration_s: float
    bars: int
    voices: int
    metrics: Metrics
    music_id: str
    picture: Image | None = None


@dataclass(frozen=True)
class ImageRef:
    """A picture by its content, without pixels. `uris` holds every place of the same bytes, sorted.

    `brief` is what it brings along: that of the first place which brings any.
    """

    image_id: str
    uris: tuple[str, ...]
    brief: Brief = NO_BRIEF

    @property
    def uri(self) -> str:
        """The first place."""
        return self.uris[0]


@dataclass(frozen=True)
class DescribedImage:
    """A picture, upright and scaled down, and what the composer sees in it. `width` and `height` are the file's."""

    ref: ImageRef
    image: Image
    width: int
    height: int
    description: Description
    seconds: float = 0.0


@dataclass(frozen=True)
class RetrievedContext:
    """A described picture with its embeddings (float32[dim], unit length) and the tunes they found, best first."""

    described: DescribedImage
    image_embedding: NDArray[np.float32]
    description_embedding: NDArray[np.float32]
    references: tuple[Reference, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Draft:
    """One attempt at a tune, mended, checked and measured.

    `mends` says what was mended by rule, `diagnostics` what the checker finds in the mended text. `metrics` is None
    where errors are left. `longest_copy` counts the notes in a row that are shared with a reference.
    """

    abc: str
    diagnostics: tuple[Diagnostic, ...]
    metrics: Metrics | None
    longest_copy: int = 0
    mends: tuple[Diagnostic, ...] = ()

    @property
    def errors(self) -> int:
        """Number of diagnostics that keep the tune from standing."""
        return sum(diagnostic.severity == "error" for diagnostic in self.diagnostics)


@dataclass(frozen=True)
class Round:
    """One step of the loop: what was tried, whether it became the tune that stands, and why."""

    purpose: Purpose
    draft: Draft
    accepted: bool
    reason: str


@dataclass(frozen=True)
class ComposedTune:
    """What the loop returns for one picture: the tune that stands, how it came about and its explanation."""

    draft: Draft
    rounds: tuple[Round, ...]
    title: str
    key: str
    meter: str
    tempo_qpm: float
    bars: int
    midi: bytes
    explanation: Explanation


@dataclass(frozen=True)
class RefinedTune:
    """A picture with everything that its row is made of."""

    context: RetrievedContext
    tune: ComposedTune
    seconds: float = 0.0
