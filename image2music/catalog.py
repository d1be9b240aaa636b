"""A user's own files: a catalogue with ids, hints and wishes for pictures (CSV or Parquet), and plans (JSON lines)."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from image2music.errors import ConfigError, PlanError
from image2music.images.sources import member_of
from image2music.music.planning.plan import Plan, plan_of_json
from image2music.music.planning.wishes import WISH_COLUMNS, Wishes
from image2music.storage.files import open_place
from image2music.types import NO_METADATA, ImageMetadata, ImageSource

LONGEST_HINT = 300
"""Characters. What the composer sees should still be heard beside it."""
_AHEAD = 1 << 20
_IMAGE, _ID, _HINTS = "image", "id", ("hint", "caption")


@dataclass(frozen=True)
class Entry:
    """A row: which picture, as the catalogue spells it, and what it says."""

    image: str
    id: str | None
    hint: str | None
    wishes: Wishes | None = None


@dataclass(frozen=True)
class Matched:
    """Pictures with their metadata, and what did not match. `repeated_rows` name a picture that an earlier row has."""

    places: tuple[ImageSource, ...]
    rows: int
    rows_without_picture: tuple[str, ...]
    pictures_without_row: tuple[str, ...]
    repeated_rows: tuple[str, ...]


def read_catalog(path: str | Path) -> list[Entry]:
    """Read the rows of a catalogue.

    The columns are `image` (needed), `id`, `hint` or `caption`, and wishes (`WISH_COLUMNS`); others are ignored. CSV
    is UTF-8 with commas and a first line of names.

    Raises:
        ConfigError: `catalog_missing`, `bad_catalog` (it cannot be read), `catalog_columns` (no `image`, or none of
            the others), `catalog_fields` (a row has more fields than the first line).
    """
    place = open_place(path)
    place.check()
    if not place.is_file():
        raise ConfigError(f"there is no catalogue {path}", reason="catalog_missing")
    try:
        with place.open(_AHEAD) as file:
            names, rows = _parquet(file) if place.name.endswith(".parquet") else _csv(file, path)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise ConfigError(f"the catalogue {path} cannot be read: {error}", reason="bad_catalog") from error
    hint = next((name for name in _HINTS if name in names), None)
    if _IMAGE not in names or not {_ID, *_HINTS, *WISH_COLUMNS} & set(names):
        message = (
            f"the catalogue {path} needs a column image, and id, hint, caption or one of {', '.join(WISH_COLUMNS)}; "
            f"it has {', '.join(names) or 'none'}"
        )
        raise ConfigError(message, reason="catalog_columns")
    entries = (
        Entry(_text(row.get(_IMAGE)) or "", _text(row.get(_ID)), _hint(row.get(hint or "")), _wishes(row))
        for row in rows
    )
    return [entry for entry in entries if entry.image]


def _csv(file: BinaryIO, path: str | Path) -> tuple[Sequence[str], list[dict[str, object]]]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, strict=True)
        names, rows = (
            reader.fieldnames or (),
            [(reader.line_num, cast(dict[str | None, object], row)) for row in reader],
        )
    # What is beyond the named columns stands under None; spreadsheets leave empty fields there.
    longer = [(line, row) for line, row in rows if any(cast(list[str], row.pop(None, [])))]
    if longer:
        line, row = longer[0]
        more = f" and {len(longer) - 1} more" if len(longer) > 1 else ""
        message = (
            f"the row of {row.get(_IMAGE)} (line {line}){more} in the catalogue {path} has more fields than the first "
            f'line, which names {len(names)}; put "quotes" around a text with commas'
        )
        raise ConfigError(message, reason="catalog_fields")
    return names, [cast(dict[str, object], row) for _, row in rows]


def _parquet(file: BinaryIO) -> tuple[Sequence[str], list[dict[str, object]]]:
    opened = pq.ParquetFile(file)
    names = opened.schema_arrow.names
    return names, opened.read([n for n in names if n in (_IMAGE, _ID, *_HINTS, *WISH_COLUMNS)]).to_pylist()


def _text(value: object) -> str | None:
    """Return a value as one line, None for nothing; numbers are ids too."""
    text = " ".join(str(value).split()) if value is not None else ""
    return text or None


def _hint(value: object) -> str | None:
    text = _text(value)
    if text is None:
        return None
    text = "".join(character for character in text if character.isprintable())
    if len(text) > LONGEST_HINT:
        cut = text[:LONGEST_HINT]
        text = cut.rpartition(" ")[0] or cut
    return text or None


def _wishes(row: dict[str, object]) -> Wishes | None:
    texts = {name: text for name in WISH_COLUMNS if (text := _hint(row.get(name))) is not None}
    return Wishes(**texts) if texts else None


def match(entries: Iterable[Entry], uris: Sequence[str], images: str) -> Matched:
    """Give each picture the first row that names it.

    A row names a picture by its place as given, by its place under the folder `images` (or in its archive), or, where
    it has no slash, by its file name alone: then all pictures of that name. Names match whatever their Unicode normal
    form: macOS spells an accent as a character of its own.

    Raises:
        ConfigError: no row names a picture (`catalog_matches_nothing`).
    """
    spelt: dict[str, list[str]] = {}
    for uri in uris:
        for name in dict.fromkeys(_names(uri, images)):
            spelt.setdefault(name, []).append(uri)
    taken: dict[str, Entry] = {}
    missing, repeated, rows = [], [], 0
    for rows, entry in enumerate(entries, 1):  # noqa: B007
        found = spelt.get(_plain(entry.image), ())
        fresh = [uri for uri in found if uri not in taken]
        if not found:
            missing.append(entry.image)
        elif not fresh:
            repeated.append(entry.image)
        taken.update((uri, entry) for uri in fresh)
    if not taken:
        example = f", such as {missing[0]}; the first picture is {uris[0]}" if missing and uris else ""
        message = f"none of the {rows} rows of the catalogue names a picture of {images}{example}"
        raise ConfigError(message, reason="catalog_matches_nothing")
    places = tuple(ImageSource(uri, _metadata(taken[uri]) if uri in taken else NO_METADATA) for uri in uris)
    without = tuple(uri for uri in uris if uri not in taken)
    return Matched(places, rows, tuple(missing), without, tuple(repeated))


def _metadata(entry: Entry) -> ImageMetadata:
    return ImageMetadata(entry.id, entry.hint, wishes=entry.wishes)


def _names(uri: str, images: str) -> Iterator[str]:
    plain, folder = _plain(uri), _plain(images)
    yield plain
    if plain.startswith(f"{folder}/"):
        yield plain[len(folder) + 1 :]
    member = member_of(uri)
    name = plain if member is None else _plain(member.name)
    if member is not None:
        yield name
    yield posixpath.basename(name)


def _plain(uri: str) -> str:
    return unicodedata.normalize("NFC", uri if "://" in uri else posixpath.normpath(uri))


def read_plans(path: str | Path) -> dict[str, Plan]:
    """Read a person's plans: a JSON object a line, with `image` and `plan`, or the plan's fields beside `image`.

    Returns:
        Plans by what their lines call `image`: an address as in a catalogue, or an image_id. They are read, not
        checked.

    Raises:
        ConfigError: `plans_missing`; `bad_plans`, with the number of the line and what is wrong there.
    """
    place = open_place(path)
    if not place.is_file():
        raise ConfigError(f"there is no file of plans {path}", reason="plans_missing")
    try:
        lines = place.read().decode("utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"the plans {path} cannot be read: {error}", reason="bad_plans") from error
    plans: dict[str, Plan] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            image, plan = _plan_of_line(line)
        except (ValueError, RecursionError, PlanError) as error:
            raise ConfigError(f"line {number} of the plans {path}: {error}", reason="bad_plans") from error
        if image in plans:
            raise ConfigError(f"line {number} of the plans {path}: {image} has a plan already", reason="bad_plans")
        plans[image] = plan
    if not plans:
        raise ConfigError(f"the file of plans {path} has no line", reason="bad_plans")
    return plans


def _plan_of_line(line: str) -> tuple[str, Plan]:
    shape = json.loads(line)
    if not isinstance(shape, dict):
        raise ValueError("a JSON object with image and plan is needed")
    image = _text(shape.pop(_IMAGE, None))
    if image is None:
        raise ValueError("image is missing: the picture's address or its image_id")
    return _plain(image), plan_of_json(shape.get("plan", shape))


def plan_for(plans: Mapping[str, Plan], image_id: str, uris: Iterable[str], images: str) -> Plan | None:
    """Return a person's plan of a picture: by its image_id, else by its places, which lines name as in a catalogue."""
    names = [image_id, *(name for uri in uris for name in _names(uri, images))]
    return next((plans[name] for name in names if name in plans), None)
