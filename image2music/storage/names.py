"""Names for files from a pattern, such as `{catalog_id}-{title}`: every system takes them, no two rows share one."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from string import Formatter
from typing import Any

from image2music.errors import ConfigError

NAME_COLUMNS = ("image_id", "image_uri", "catalog_id", "album", "title", "key", "tempo_qpm")
"""What a name is made of, of a row of schemas/composition.py."""

NAME_FIELDS = ("image_id", "catalog_id", "title", "stem", "album", "key", "tempo")
"""What a pattern may name. `image_id` is its first sixteen digits and stands for a `catalog_id` that a row lacks too;
`stem` is the picture's file name without its ending, `album` the last part of its folder."""

_SHORT_ID, _SHORTEST_ID = 16, 8
_LONGEST = 120
"""Bytes of a part of a name; systems take 255, and endings follow."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def check_name_pattern(pattern: str) -> None:
    """See that a pattern can be filled.

    Raises:
        ConfigError: it names a field that is none, its braces are not closed, or it leads out of its folder
            (`bad_name`).
    """
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError as error:
        raise ConfigError(f"{pattern!r}: {error}; write {{title}}", reason="bad_name") from error
    known = ", ".join(f"{{{field}}}" for field in NAME_FIELDS)
    for _, field, layout, conversion in parts:
        if field is not None and (field not in NAME_FIELDS or layout or conversion):
            raise ConfigError(f"{{{field}}} is no field of a name: take of {known}", reason="bad_name")
    if any(part in ("", ".", "..") for part in pattern.split("/")):
        raise ConfigError(f"{pattern!r} leads out of its folder or names none", reason="bad_name")


def file_names(pattern: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the name of each row's files, without ending, by its image_id; `/` in the pattern makes folders.

    `rows` have `NAME_COLUMNS`. Those whose names would be one, capitals set aside, get the beginning of their image_id
    at the end: a name depends on the rows there are, not on their order.
    """
    names = {row["image_id"]: _filled(pattern, row) for row in rows}
    for digits in (_SHORTEST_ID, _SHORT_ID, 64):
        times = Counter(map(_folded, names.values()))
        clashing = {id for id, name in names.items() if times[_folded(name)] > 1}
        names = {id: f"{name}-{id[:digits]}" if id in clashing else name for id, name in names.items()}
        if not clashing:
            break
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _filled(pattern: str, row: Mapping[str, Any]) -> str:
    short = row["image_id"][:_SHORT_ID]
    uri = PurePosixPath(row["image_uri"].replace("\\", "/"))
    values = {
        "image_id": short,
        "catalog_id": row.get("catalog_id") or short,
        "title": row["title"],
        "stem": uri.stem,
        "album": PurePosixPath((row.get("album") or "").replace("\\", "/")).name,
        "key": row["key"],
        "tempo": str(round(row["tempo_qpm"])),
    }
    parts = pattern.split("/")
    return "/".join(_safe(part.format_map(values)) or short for part in parts)


def _safe(name: str) -> str:
    """Return a part of a name without what Windows, macOS, Linux or a store refuses; "" where nothing is left.

    Nor does it begin as an option or a formula does: names stand on command lines and in tables.
    """
    plain = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name))
    plain = " ".join(plain.split())
    data = plain.encode("utf-8", "replace")[:_LONGEST]
    plain = data.decode("utf-8", "ignore").rstrip(" .").lstrip(" .~-=+@")
    return f"_{plain}" if _RESERVED.fullmatch(plain) else plain
