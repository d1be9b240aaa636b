"""What a picture brings along beside its bytes, and how a rerun tells whether its row is still right."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from image2music.album.part import AlbumPart, part_of_row, part_row

BRIEF_COLUMNS = ("catalog_id", "hint", "album_part")
"""Columns of schemas/composition.py that hold a brief; the last two are only there where a run has them."""


@dataclass(frozen=True)
class Brief:
    """Id and hint from a catalogue, and what the tune takes over from its album; None where there is none."""

    catalog_id: str | None = None
    hint: str | None = None
    part: AlbumPart | None = None

    @property
    def row(self) -> dict[str, Any]:
        """The values of `BRIEF_COLUMNS`."""
        part = None if self.part is None else part_row(self.part)
        return {"catalog_id": self.catalog_id, "hint": self.hint, "album_part": part}


NO_BRIEF = Brief()


@dataclass(frozen=True)
class Place:
    """Where a picture lies, and what it brings along."""

    uri: str
    brief: Brief = NO_BRIEF


def brief_of_row(row: dict[str, Any]) -> Brief:
    """The inverse of `Brief.row`; columns may be absent."""
    part = row.get("album_part")
    return Brief(row.get("catalog_id"), row.get("hint"), None if part is None else part_of_row(part))


def brief_key(image_id: str, row: dict[str, Any]) -> bytes:
    """What a finished row and a picture to be composed have in common: 32 bytes.

    `row` holds `BRIEF_COLUMNS`, None or absent where the picture has none. Without any of them the key is the
    image_id itself.
    """
    brief = {name: row[name] for name in BRIEF_COLUMNS if row.get(name) is not None}
    if not brief:
        return bytes.fromhex(image_id)
    text = json.dumps(brief, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(f"{image_id}:{text}".encode()).digest()
