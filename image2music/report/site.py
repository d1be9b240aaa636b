"""Render the pages of a report as HTML: the list of pictures and its filters, a page for each picture, the failures.

Jinja2 escapes whatever it fills in; nothing here marks text as safe. Scores are packed data that the page's script
draws; without scripts pages show a piano roll and the ABC.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice, takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from image2music.evaluation.votes import VOTE_COLUMNS
from image2music.images.features import MOODS
from image2music.music.theory import tempo_word
from image2music.report.page import PicturePage

if TYPE_CHECKING:
    from jinja2 import Environment

COLUMNS = (
    "image_id", "image_uri", "catalog_id", "album", "title", "key", "meter", "tempo_qpm", "description", "motivation",
    "wishes", "plan.style", "plan.unmet",
)  # fmt: skip
"""Columns of a composition that `card_of` reads."""

_OTHER_MOODS = ("happy", "sad", "dark", "dreamy", "tender", "peaceful", "playful", "mysterious", "nostalgic", "tense",
                "romantic", "energetic", "hopeful", "dramatic", "wistful", "solemn", "joyous", "quiet")  # fmt: skip
_MOOD = re.compile(r"\b(" + "|".join((*MOODS, *_OTHER_MOODS)) + r")\b", re.IGNORECASE)
_MOOD_SENTENCE = re.compile(r"[^.]*\bmood\b[^.]*", re.IGNORECASE)
_TEMPO_WORDS = {"slow": "slow", "moderate": "medium", "fast": "fast"}
_ID_LENGTH = 16
_LONGEST_CHOICE = 30


@dataclass(frozen=True, slots=True)
class Card:
    """One picture in a list. `page` and `thumbnail` are addresses relative to the report's folder.

    `catalog_id` is its id in the user's catalogue, "" without one. `mood` is the one that the tune follows: the wished
    one, else the one that is seen. `feeling` says it, and what was wished for of mood and style.
    """

    id: str
    catalog_id: str
    title: str
    file_name: str
    album: str
    album_page: str
    key: str
    meter: str
    tempo_qpm: float
    tempo_word: str
    mood: str
    feeling: str

    @property
    def page(self) -> str:
        """Address of the picture's own page."""
        return f"pictures/{self.id}.html"

    @property
    def thumbnail(self) -> str:
        """Address of the picture's thumbnail."""
        return f"pictures/{self.id}.jpg"

    def words(self, description: str) -> str:
        """Lower-case text that a search looks through; the description, which is long, is not kept here."""
        told = (self.title, self.catalog_id, self.file_name, self.album, self.key, self.feeling, description)
        return " ".join(told).lower()


def card_of(row: Mapping[str, Any]) -> Card:
    """Return the card of a row with the columns `COLUMNS`."""
    seen = mood_in(row["description"]) or mood_in(row["motivation"])
    asked, missed = _asked_of(row)
    followed = asked["mood"] if "mood" not in missed else ""
    wished = dict.fromkeys(text + " (not met)" * (name in missed) for name, text in asked.items() if text)
    feeling = [seen] if seen and not followed else []
    if wished:
        feeling.append(f"wished: {', '.join(wished)}")
    return Card(
        id=card_id(row["image_id"]),
        catalog_id=row.get("catalog_id") or "",
        title=row["title"] or "Untitled",
        file_name=PurePosixPath(row["image_uri"]).name,
        album=sys.intern(row["album"]),
        album_page=sys.intern(album_page(row["album"])),
        key=sys.intern(row["key"]),
        meter=sys.intern(row["meter"]),
        tempo_qpm=row["tempo_qpm"],
        tempo_word=tempo_label(row["tempo_qpm"]),
        mood=sys.intern(followed.lower() if len(followed) <= _LONGEST_CHOICE else mood_in(followed))
        or sys.intern(seen),
        feeling=sys.intern(" · ".join(feeling)),
    )


def _asked_of(row: Mapping[str, Any]) -> tuple[dict[str, str], set[str]]:
    """Return mood and style that were asked of a tune, "" where nobody did, and which of them its plan misses."""
    wishes, plan = row.get("wishes") or {}, row.get("plan") or {}
    asked = {"mood": wishes.get("mood") or "", "style": wishes.get("style") or plan.get("style") or ""}
    return asked, {name for name in asked for line in plan.get("unmet") or () if line.startswith(f"{name} ")}


def card_id(image_id: str) -> str:
    """Return what a picture's files in the report are named by."""
    return image_id[:_ID_LENGTH]


def sorted_cards(cards: Iterable[Card]) -> list[Card]:
    """Sort by album, then by file name: the order of the list and of the links to the next picture."""
    return sorted(cards, key=lambda card: (card.album, card.file_name, card.id))


def album_page(album: str) -> str:
    """Return the address of an album's page. It ends in a hash: two folders may differ in punctuation alone."""
    name = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(album).name.lower()).strip("-")[:40] or "album"
    return f"albums/{name}-{hashlib.sha256(album.encode()).hexdigest()[:8]}.html"


def album_labels(albums: Iterable[str]) -> dict[str, str]:
    """Return a short name for each album: its path without the folders that all of them share."""
    paths = {album: album.split("/") for album in albums}
    levels = zip(*(path[:-1] for path in paths.values()), strict=False)
    shared = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels))
    return {album: "/".join(path[shared:]) or "(no folder)" for album, path in paths.items()}


def tempo_label(tempo_qpm: float) -> str:
    """Slow below 80 quarter notes a minute, medium below 120, else fast."""
    return _TEMPO_WORDS[tempo_word(tempo_qpm)]


def mood_in(text: str) -> str:
    """Return the first mood word, of a sentence about the mood if there is one; "" where none is named.

    Rows have no column for the mood, so this is what the text says, not a measurement.
    """
    sentence = _MOOD_SENTENCE.search(text)
    found = (_MOOD.search(sentence[0]) if sentence else None) or _MOOD.search(text)
    return found[1].lower() if found else ""


def choices(cards: Sequence[Card]) -> dict[str, list[str]]:
    """Return the values that each filter of the list offers, by filter."""
    return {
        "key": sorted({card.key for card in cards}),
        "tempo": [word for word in _TEMPO_WORDS.values() if any(card.tempo_word == word for card in cards)],
        "mood": sorted({card.mood for card in cards} - {""}),
        "album": sorted({card.album for card in cards}),
    }


ASSETS = ("report.css", "list.js", "synth.js", "heat.js", "score.js", "picture.js", "compare.js")


@dataclass(frozen=True)
class Site:
    """What all pages share: the run's name, the number of failures, whose scores are shown, album names."""

    name: str
    failures: int
    include_references: bool
    albums: Mapping[str, str]


@dataclass(frozen=True)
class Neighbours:
    """The cards before and after a picture."""

    before: Card | None
    after: Card | None


def asset(name: str) -> str:
    """Return the text of a style sheet or script that pages load from `assets/`."""
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def page_rules() -> str:
    """Return 16 hex digits of the templates that a picture's page is made by."""
    return _rules_of(("base.html", "picture.html"))


@cache
def _rules_of(templates: tuple[str, ...]) -> str:
    text = "".join((files(__package__) / "templates" / name).read_text(encoding="utf-8") for name in templates)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def render_list(
    site: Site, cards: Sequence[Card], described: Callable[[Card], str], *, album: str | None = None
) -> Iterator[str]:
    """Render the list of all pictures, or of one album's where `album` is given, by pieces.

    `described` tells a card's description.
    """
    values = choices(cards)
    return _pieces(
        "list.html",
        site=site,
        cards=cards,
        described=described,
        album=album,
        choices=values,
        root="" if album is None else "../",
        here="list",
    )


def render_picture(
    site: Site, card: Card, page: PicturePage, image: str, neighbours: Neighbours, *, sound: str = ""
) -> str:
    """Render a picture's page. `image` is a `data:` address, "" where the picture could not be opened.

    `sound` is the address of the tune's sound file, "" where the page has to make the sound itself.
    """
    return _render(
        "picture.html",
        site=site,
        card=card,
        page=page,
        image=image,
        near=neighbours,
        sound=sound,
        root="../",
        here="picture",
    )


def render_compare(site: Site, runs: Sequence[str]) -> str:
    """Render the page where two tunes are heard side by side; `runs` are the names of two runs, empty without."""
    return _render("compare.html", site=site, runs=runs, votes=VOTE_COLUMNS, root="", here="compare")


def render_failures(site: Site, failures: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Render the page of pictures without a tune, as many as the site says, with the reason of each, by pieces."""
    return _pieces("failures.html", site=site, failures=failures, root="", here="failures")


def _render(template: str, **values: Any) -> str:
    return "".join(_pieces(template, **values))


def _pieces(template: str, **values: Any) -> Iterator[str]:
    pieces = _environment().get_template(template).generate(**values)
    return iter(lambda: "".join(islice(pieces, _PIECES)), "")


_PIECES = 10_000
"""Of a page, joined at once: the list of a hundred thousand pictures has millions of them, each an object."""


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files(__package__) / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    return environment


def format_number(value: float | None) -> str:
    """Format a figure with at most three digits after the point; a hyphen for None."""
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
