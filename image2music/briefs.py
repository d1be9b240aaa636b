"""What a picture brings along beside its bytes, and how a rerun tells whether its row is still right."""

from __future__ import annotations

import hashlib
import json
from typing import Any

BRIEF_COLUMNS = ("catalog_id", "album_part")
"""Columns of schemas/composition.py that a picture brings along."""


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
