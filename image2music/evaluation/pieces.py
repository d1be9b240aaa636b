"""Pieces to score: one tune for one picture, from a row, from a failure, or from another system's CSV file."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from image2music.abc.playback import abc_to_score
from image2music.abc.writer.text import midi_to_abc
from image2music.errors import AbcError, ConfigError, MidiError
from image2music.music.metrics import Metrics, metrics_of_score
from image2music.music.planning.plan import Plan
from image2music.music.score import Score
from image2music.music.similarity import Step, voice_steps
from image2music.rows import plan_of_row

ROW_COLUMNS = (
    "image_id", "image_uri", "image_uris", "description", "motivation", "abc", "references", "rounds", "attention",
    "embedder_id", "plan",
)  # fmt: skip
"""Columns of schemas/composition.py that `piece_of_row` reads."""
COMPOSE_STAGE = "compose"


@dataclass(frozen=True)
class Heard:
    """A reference as it plays: its metrics, and the (interval, time) steps of its voices."""

    metrics: Metrics
    voices: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True)
class Piece:
    """One picture's tune. `abc` is empty where none was made.

    `references` are the ABC texts of the retrieved tunes, `draft` is the first entry of the column `rounds`, None for a
    tune of another system. `image_uris` are further places of the same picture.
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
    plan: Plan | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Every place where the picture may be found, the first one first."""
        return tuple(dict.fromkeys((self.image_uri, *self.image_uris)))

    @cached_property
    def score(self) -> Score | None:
        """The tune's notes; None where it cannot be played."""
        return playable(self.abc)


def piece_of_row(row: Mapping[str, Any]) -> Piece:
    """Return the piece of a composition's columns `ROW_COLUMNS`."""
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
        plan=plan_of_row(row["plan"]) if row.get("plan") else None,
    )


def piece_of_failure(failure: Mapping[str, Any]) -> Piece | None:
    """Return a piece without a tune for a failure of the composer; None for failures of other stages.

    In an ablation the stage also names the variant: `compose_no_retrieval`.
    """
    if failure["stage"].partition("_")[0] != COMPOSE_STAGE:
        return None
    return Piece(image_id=failure["id"], image_uri=failure["uri"], abc="")


def _faithfulness(attention: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, float], ...]:
    """Return the measures stored with the attention map of the whole tune."""
    whole = next((entry for entry in attention if entry["kind"] == "all"), None)
    stored = whole["faithfulness"] if whole else None
    return tuple((entry["measure"], entry["value"]) for entry in stored or () if entry["value"] is not None)


def playable(abc: str) -> Score | None:
    """Return a tune's notes; None where it cannot be played or holds none."""
    if not abc:
        return None
    try:
        score = abc_to_score(abc)
    except AbcError:
        return None
    return score if score.n_notes else None


@lru_cache(maxsize=4096)
def hear(abc: str) -> Heard | None:
    """Return a reference as it plays; None where it cannot be played. Cached: the same references come up often."""
    score = playable(abc)
    if score is None:
        return None
    return Heard(metrics_of_score(score), tuple(tuple(voice) for voice in voice_steps(score)))


_DEFAULT_SYSTEM = "imported"
_TUNE_COLUMNS = ("tune", "abc", "midi")
_MIDI_BEGINS = (b"MThd", b"RIFF")
ReadBytes = Callable[[str], bytes]


@dataclass(frozen=True)
class Imported:
    """One line of the CSV file: the system that wrote the tune, the picture, and the tune as ABC."""

    system: str
    picture: str
    abc: str
    description: str = ""


def read_import(text: str, read: ReadBytes) -> list[Imported]:
    """Parse a CSV file with the columns `picture` and `tune` (or `abc`, or `midi`); `read` returns a tune file's bytes.

    Further columns are `system` ("imported" where it is left out) and `description`. A cell may hold ABC itself
    instead of the name of a file. A blank cell is a picture that the system failed on.

    Raises:
        ConfigError: these columns are missing or there are no lines (`bad_import`); a tune's file is missing or holds
            no music (`bad_import_file`).
    """
    table = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    columns = [(name or "").strip().lower() for name in table.fieldnames or ()]
    if "picture" not in columns or not any(name in columns for name in _TUNE_COLUMNS):
        found = ", ".join(columns) or "none"
        message = f"the file of other systems wants the columns picture and tune (or abc, or midi), not {found}"
        raise ConfigError(message, reason="bad_import")
    lines = [{(name or "").strip().lower(): value or "" for name, value in row.items() if name} for row in table]
    if not lines:
        raise ConfigError("the file of other systems has a header and no lines", reason="bad_import")
    return [_imported(line, number, read) for number, line in enumerate(lines, start=2)]


def _imported(line: dict[str, str], number: int, read: ReadBytes) -> Imported:
    cell = next((cell for name in _TUNE_COLUMNS if (cell := line.get(name, "").strip())), "")
    return Imported(
        system=line.get("system", "").strip() or _DEFAULT_SYSTEM,
        picture=line["picture"].strip(),
        abc=_abc(cell, number, read),
        description=line.get("description", "").strip(),
    )


def _abc(cell: str, number: int, read: ReadBytes) -> str:
    if not cell or "\n" in cell or cell.startswith("X:"):
        return cell
    try:
        data = read(cell)
        return midi_to_abc(data).abc if data.startswith(_MIDI_BEGINS) else data.decode("utf-8", "replace")
    except (OSError, MidiError) as error:
        message = f"the file of other systems, line {number}: {cell}: {error}"
        raise ConfigError(message, reason="bad_import_file") from error
