"""The pages as HTML: the list, its cards, and abcjs where it is found.

abcjs, which draws staves in a browser. It is not part of this project; where it is not found, pages do without.

The few facts of a row that a list of pictures shows and filters by.

Pages as HTML. Jinja2 escapes whatever it fills in; nothing here marks text as safe.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from image2music.errors import ConfigError
from image2music.images.features import MOODS
from image2music.music.theory import tempo_word
from image2music.report.page import PicturePage

if TYPE_CHECKING:
    from jinja2 import Environment

ABCJS_FILE = "abcjs-basic-min.js"
"""The build of abcjs that pages load (npm package abcjs, MIT)."""

DEFAULT_PLACES = (Path("build/report-assets"),)
"""Where `make report-assets` puts it, from the project's folder."""
_IN_PACKAGE = f"package/dist/{ABCJS_FILE}"


def find_abcjs(given: Path | None) -> bytes | None:
    """The script: from the file or npm package `given`, else from `DEFAULT_PLACES`; None if it is in neither.

    Raises:
        ConfigError: `given` does not hold it (`bad_abcjs`).
    """
    if given is None:
        found = next((place / ABCJS_FILE for place in DEFAULT_PLACES if (place / ABCJS_FILE).is_file()), None)
        return found.read_bytes() if found else None
    try:
        script = _from_package(given) if given.name.endswith(".tgz") else given.read_bytes()
    except (OSError, tarfile.TarError, KeyError) as error:
        raise ConfigError(f"--abcjs {given} cannot be read: {error}", reason="bad_abcjs") from error
    if b"ABCJS" not in script:
        raise ConfigError(f"--abcjs {given} is not {ABCJS_FILE} of the npm package abcjs", reason="bad_abcjs")
    return script


def _from_package(path: Path) -> bytes:
    with tarfile.open(path) as package:
        file = package.extractfile(_IN_PACKAGE)
        return file.read() if file else b""


COLUMNS = ("image_id", "image_uri", "album", "title", "key", "meter", "tempo_qpm", "description", "motivation")
"""Columns of a composition that a card is made of."""

_OTHER_MOODS = ("happy", "sad", "dark", "dreamy", "tender", "peaceful", "playful", "mysterious", "nostalgic", "tense",
                "romantic", "energetic", "hopeful", "dramatic", "wistful", "solemn", "joyous", "quiet")  # fmt: skip
_MOOD = re.compile(r"\b(" + "|".join((*MOODS, *_OTHER_MOODS)) + r")\b", re.IGNORECASE)
_MOOD_SENTENCE = re.compile(r"[^.]*\bmood\b[^.]*", re.IGNORECASE)
_TEMPO_WORDS = {"slow": "slow", "moderate": "medium", "fast": "fast"}
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
        tempo_word=tempo_label(row["tempo_qpm"]),
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


def tempo_label(tempo_qpm: float) -> str:
    """Slow below 80 quarter notes a minute, medium below 120, else fast."""
    return _TEMPO_WORDS[tempo_word(tempo_qpm)]


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
        "tempo": [word for word in _TEMPO_WORDS.values() if any(card.tempo_word == word for card in cards)],
        "mood": sorted({card.mood for card in cards} - {""}),
        "album": sorted({card.album for card in cards}),
    }


ASSETS = ("report.css", "list.js", "synth.js", "heat.js", "picture.js")


@dataclass(frozen=True)
class Site:
    """What all pages share: the name of the run, how many failures there are, whether abcjs lies in `assets/`.

    `albums` has a short name for each album.
    """

    name: str
    failures: int
    has_abcjs: bool
    include_references: bool
    albums: Mapping[str, str]


@dataclass(frozen=True)
class Neighbours:
    """The cards before and after a picture."""

    before: Card | None
    after: Card | None


def asset(name: str) -> str:
    """A style sheet or script that pages load from `assets/`."""
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def render_list(site: Site, cards: Sequence[Card], *, album: str | None = None) -> str:
    """The page of all pictures, or of one album's where `album` is named."""
    values = choices(cards)
    return _render(
        "list.html",
        site=site,
        cards=cards,
        album=album,
        choices=values,
        root="" if album is None else "../",
        here="list",
    )


def render_picture(site: Site, card: Card, page: PicturePage, image: str, neighbours: Neighbours) -> str:
    """A picture's own page. `image` is a `data:` address, "" where the picture could not be opened."""
    return _render(
        "picture.html", site=site, card=card, page=page, image=image, near=neighbours, root="../", here="picture"
    )


def render_failures(site: Site, failures: Sequence[Mapping[str, Any]]) -> str:
    """The page of pictures that have no tune, and why."""
    return _render("failures.html", site=site, failures=failures, root="", here="failures")


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


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
    """A figure for a person: at most three digits after the point, a hyphen where there is none."""
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
