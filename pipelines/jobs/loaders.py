"""What `score` reads: the tunes of an output of `compose`, of another one, and of other systems' files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from image2music.errors import ConfigError
from image2music.evaluation.measures import Row
from image2music.evaluation.pieces import ROW_COLUMNS, Imported, Piece, piece_of_failure, piece_of_row, read_import
from image2music.storage.datasets import read_batches
from image2music.storage.output import OutputStore
from pipelines.jobs.report import find_picture
from transforms.pictures import content_id, read_bytes

_ROWS_AT_ONCE = 32
_FAILURE_COLUMNS = ["stage", "id", "uri"]


@dataclass(frozen=True)
class System:
    """The tunes of one system, one for each picture. `embedder_ids` are those that retrieved its references."""

    name: str
    pieces: list[Piece]
    embedder_ids: frozenset[str] = frozenset()


def read_output(output: OutputStore, name: str) -> System:
    """Read the rows of an output, and the pictures that its composer failed on.

    Raises:
        ConfigError: nothing is there (`no_rows`).
    """
    pieces: dict[str, Piece] = {}
    embedders: set[str] = set()
    for rows in read_batches(output.compositions.shards(), ROW_COLUMNS, _ROWS_AT_ONCE):
        pieces.update({row["image_id"]: piece_of_row(row) for row in rows})
        embedders.update(row["embedder_id"] for row in rows)
    for failure in output.failures.read(_FAILURE_COLUMNS):
        failed = piece_of_failure(failure)
        if failed:
            pieces.setdefault(failed.image_id, failed)
    if not pieces:
        raise ConfigError(f"{output} holds no compositions: name the --output of compose", reason="no_rows")
    return System(name, [pieces[image_id] for image_id in sorted(pieces)], frozenset(embedders))


def read_imported(path: Path, known: System | None) -> list[System]:
    """Read the systems of a CSV file; their pictures are identified by content.

    A picture that `known` has too takes description and references from there, so that all are measured alike.

    Raises:
        ConfigError: the file, or one that it names, cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = read_import(text, lambda name: read_bytes(str(path.parent / name)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"--import {path}: {error}", reason="bad_import") from error
    there = {piece.image_id: piece for piece in known.pieces} if known else {}
    systems: dict[str, dict[str, Piece]] = {}
    for line in lines:
        piece = _imported(line, path.parent, there)
        systems.setdefault(line.system, {})[piece.image_id] = piece
    return [System(name, list(pieces.values())) for name, pieces in systems.items()]


def _imported(line: Imported, folder: Path, there: dict[str, Piece]) -> Piece:
    place = str(folder / line.picture)
    try:
        image_id = content_id(read_bytes(place))
    except OSError as error:
        raise ConfigError(f"--import: the picture {place}: {error}", reason="bad_import_file") from error
    own = there.get(image_id)
    return Piece(
        image_id=image_id,
        image_uri=place,
        abc=line.abc,
        description=line.description or (own.description if own else ""),
        references=own.references if own else (),
    )


def open_image(piece: Piece) -> Image | None:
    """Return the picture of a piece, from the first of its places that still holds the same bytes; else None."""
    places = piece.places
    return find_picture({"image_id": piece.image_id, "image_uri": places[0], "image_uris": places})


@dataclass
class Scored:
    """A system with its rows."""

    system: System
    rows: list[Row]
