"""From the rows of an album's tunes to the row of the album."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from image2music.album.book import bind
from image2music.album.glance import natural_order
from image2music.album.motif import count_motif
from image2music.album.part import read_line
from image2music.errors import AbcError
from image2music.notation.abc_to_midi import abc_to_score

TUNE_COLUMNS = ["album", "image_id", "image_uri", "title", "abc", "album_part", "composer_id", "settings_hash"]
"""Columns of schemas/composition.py that an album is made of."""

BOOKS = "books"
"""Folder of an output with a folder for each album, in it album.abc and album.mid."""

MOST_TUNES = 500
"""A longer album is not bound: it would last for hours, and nobody could open the score."""

Row = dict[str, Any]


def album_row(album: str, tunes: Sequence[Row], bound_at: datetime) -> Row:
    """A row of schemas/album.py from the tunes of one album, in any order.

    Raises:
        AbcError: the album is too long to bind (`album_too_long`), or see `bind`.
    """
    if len(tunes) > MOST_TUNES:
        message = (
            f"{len(tunes)} tunes are too many for one book, {MOST_TUNES} is the most: sort the pictures in folders"
        )
        raise AbcError(message, reason="album_too_long")
    ordered = sorted(tunes, key=lambda tune: (natural_order(tune["image_uri"]), tune["image_id"]))
    part = ordered[0]["album_part"]
    motif, title = read_line(part["motif"]), title_of(album)
    book = bind(title, [(tune["title"], tune["abc"]) for tune in ordered], motif, part["meter"])
    return {
        "album": album,
        "title": title,
        "image_ids": [tune["image_id"] for tune in ordered],
        "image_uris": [tune["image_uri"] for tune in ordered],
        "titles": [tune["title"] for tune in ordered],
        "themes": [tune["album_part"]["theme"] for tune in ordered],
        "keys": list(book.keys),
        "tempos_qpm": list(book.tempos_qpm),
        "starts": list(book.starts),
        "motif": part["motif"],
        "motif_counts": [count_motif(abc_to_score(tune["abc"]), motif) for tune in ordered],
        "meter": part["meter"],
        "bridges": book.bridges,
        "bars": book.bars,
        "duration_s": book.duration_s,
        "abc": book.abc,
        "midi": book.midi,
        "book": f"{BOOKS}/{folder_of(album)}",
        "composer_id": part_of_all(ordered, "composer_id"),
        "settings_hash": part_of_all(ordered, "settings_hash"),
        "bound_at": bound_at,
    }


def part_of_all(rows: Sequence[Row], name: str) -> str:
    """A value that all rows of one output share."""
    value: str = rows[0][name]
    return value


def title_of(album: str) -> str:
    """The folder's name as a title: `2024_summer-holidays` is `2024 Summer Holidays`."""
    words = re.split(r"[\W_]+", album.rstrip("/").rpartition("/")[2])
    return " ".join(word[:1].upper() + word[1:] for word in words if word) or "Album"


def folder_of(album: str) -> str:
    """A folder name that is safe anywhere and differs for albums of the same name."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", title_of(album)).strip("-").lower()[:40] or "album"
    return f"{name}-{hashlib.sha256(album.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
