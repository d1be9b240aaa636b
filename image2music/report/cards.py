"""The few facts of a row that a list of pictures shows and filters by."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

from image2music.embedders.mood import MOODS

COLUMNS = ("image_id", "image_uri", "album", "title", "key", "meter", "tempo_qpm", "description", "motivation")
"""Columns of a composition that a card is made of."""

_OTHER_MOODS = ("happy", "sad", "dark", "dreamy", "tender", "peaceful", "playful", "mysterious", "nostalgic", "tense",
                "romantic", "energetic", "hopeful", "dramatic", "wistful", "solemn", "joyous", "quiet")  # fmt: skip
_MOOD = re.compile(r"\b(" + "|".join((*MOODS, *_OTHER_MOODS)) + r")\b", re.IGNORECASE)
_MOOD_SENTENCE = re.compile(r"[^.]*\bmood\b[^.]*", re.IGNORECASE)
_TEMPO_WORDS = ((80.0, "slow"), (120.0, "medium"), (float("inf"), "fast"))
_ID_LENGTH = 16


@dataclass(frozen=True)
class Card:
    """One picture in a list. `page` and `thumbnail` are addresses relative to the report's folder."""

    id: str
    title: str
    file_name: str
    album: str
    album_page: str
    key: str
    meter: str
    tempo_qpm: float
    tempo_word: str
    mood: str
    description: str

    @property
    def page(self) -> str:
        """Address of the picture's own page."""
        return f"pictures/{self.id}.html"

    @property
    def thumbnail(self) -> str:
        """Address of its small copy."""
        return f"pictures/{self.id}.jpg"

    @property
    def words(self) -> str:
        """What a search looks through."""
        return " ".join((self.title, self.file_name, self.album, self.key, self.mood, self.description)).lower()


def card_of(row: Mapping[str, Any]) -> Card:
    """A card from the columns `COLUMNS`."""
    return Card(
        id=row["image_id"][:_ID_LENGTH],
        title=row["title"] or "Untitled",
        file_name=PurePosixPath(row["image_uri"]).name,
        album=row["album"],
        album_page=album_page(row["album"]),
        key=row["key"],
        meter=row["meter"],
        tempo_qpm=row["tempo_qpm"],
        tempo_word=tempo_word(row["tempo_qpm"]),
        mood=mood_in(row["description"]) or mood_in(row["motivation"]),
        description=row["description"],
    )


def sorted_cards(cards: Iterable[Card]) -> list[Card]:
    """By album, then by file name: the order of the list and of the links to the next picture."""
    return sorted(cards, key=lambda card: (card.album, card.file_name, card.id))


def album_page(album: str) -> str:
    """Address of an album's page. The name ends in a hash, since two folders may differ only in what is no letter."""
    name = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(album).name.lower()).strip("-")[:40] or "album"
    return f"albums/{name}-{hashlib.sha256(album.encode()).hexdigest()[:8]}.html"


def album_labels(albums: Iterable[str]) -> dict[str, str]:
    """A short name for each album: its path without the folders that all of them share."""
    paths = {album: album.split("/") for album in albums}
    levels = zip(*(path[:-1] for path in paths.values()), strict=False)
    shared = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels))
    return {album: "/".join(path[shared:]) or "(no folder)" for album, path in paths.items()}


def tempo_word(tempo_qpm: float) -> str:
    """Slow below 80 quarter notes a minute, medium below 120, else fast."""
    return next(word for limit, word in _TEMPO_WORDS if tempo_qpm < limit)


def mood_in(text: str) -> str:
    """The first word for a mood, in a sentence about the mood if there is one; "" where none is named.

    Rows have no column for it, so this is what the text says, not a measurement.
    """
    sentence = _MOOD_SENTENCE.search(text)
    found = (_MOOD.search(sentence[0]) if sentence else None) or _MOOD.search(text)
    return found[1].lower() if found else ""


def choices(cards: Sequence[Card]) -> dict[str, list[str]]:
    """The values that each filter offers, by filter."""
    return {
        "key": sorted({card.key for card in cards}),
        "tempo": [word for _, word in _TEMPO_WORDS if any(card.tempo_word == word for card in cards)],
        "mood": sorted({card.mood for card in cards} - {""}),
        "album": sorted({card.album for card in cards}),
    }
