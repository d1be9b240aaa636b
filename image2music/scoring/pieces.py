"""What there is to score: one tune for one picture, from a row, a failure or somebody else's file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from image2music.copying import Step, voices_of
from image2music.errors import AbcError
from image2music.notation.abc_to_midi import abc_to_score
from image2music.notation.metrics import Metrics, metrics_of_score
from image2music.notation.score import Score

ROW_COLUMNS = (
    "image_id", "image_uri", "image_uris", "description", "motivation", "abc", "references", "rounds", "attention",
    "embedder_id",
)  # fmt: skip
"""Columns of schemas/composition.py that `piece_of_row` reads."""

COMPOSE_STAGE = "compose"


@dataclass(frozen=True)
class Heard:
    """What is known of a reference: metrics, and the steps of its voices."""

    metrics: Metrics
    voices: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True)
class Piece:
    """One picture's tune. `abc` is empty where none was made.

    `references` are the retrieved tunes' ABC, `draft` the first entry of the column `rounds`, None for a tune that came
    from elsewhere. `image_uris` are further places of the same picture.
    """

    image_id: str
    image_uri: str
    abc: str
    description: str = ""
    references: tuple[str, ...] = ()
    draft: Mapping[str, Any] | None = None
    faithfulness: tuple[tuple[str, float], ...] = ()
    image_uris: tuple[str, ...] = ()
    motivation: str = ""

    @property
    def places(self) -> tuple[str, ...]:
        """Where the picture may be found."""
        return tuple(dict.fromkeys((self.image_uri, *self.image_uris)))

    @cached_property
    def score(self) -> Score | None:
        """The tune as it plays; None where it cannot."""
        return playable(self.abc)


def piece_of_row(row: Mapping[str, Any]) -> Piece:
    """A piece from the columns `ROW_COLUMNS` of a composition."""
    return Piece(
        image_id=row["image_id"],
        image_uri=row["image_uri"],
        abc=row["abc"],
        description=row["description"],
        # One tune is a reference of many pictures: kept once.
        references=tuple(sys.intern(reference["abc"]) for reference in row["references"]),
        draft=row["rounds"][0] if row["rounds"] else None,
        faithfulness=_faithfulness(row["attention"]),
        image_uris=tuple(row["image_uris"]),
        motivation=row["motivation"],
    )


def piece_of_failure(failure: Mapping[str, Any]) -> Piece | None:
    """A picture whose tune never became valid; None for failures that are not the composer's.

    In an ablation the stage also names the variant: `compose_no_retrieval`.
    """
    if failure["stage"].partition("_")[0] != COMPOSE_STAGE:
        return None
    return Piece(image_id=failure["id"], image_uri=failure["uri"], abc="")


def _faithfulness(attention: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, float], ...]:
    """The measures stored with the map of the whole tune."""
    whole = next((entry for entry in attention if entry["kind"] == "all"), None)
    stored = whole["faithfulness"] if whole else None
    return tuple((entry["measure"], entry["value"]) for entry in stored or () if entry["value"] is not None)


def playable(abc: str) -> Score | None:
    """A tune's notes; None where it cannot be played."""
    if not abc:
        return None
    try:
        score = abc_to_score(abc)
    except AbcError:
        return None
    return score if score.n_notes else None


@lru_cache(maxsize=4096)
def hear(abc: str) -> Heard | None:
    """A reference by ear; None where it cannot be played. Kept, for the same references come up often."""
    score = playable(abc)
    if score is None:
        return None
    return Heard(metrics_of_score(score), tuple(tuple(voice) for voice in voices_of(score)))
