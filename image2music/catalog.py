"""A user's own files: a catalogue with ids, hints and wishes for pictures (CSV or Parquet), and plans (JSON lines)."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from image2music.errors import ConfigError, PlanError
from image2music.images.sources import in_one_line, member_of
from image2music.music.planning.plan import Plan, plan_of_json
from image2music.music.planning.wishes import WISH_COLUMNS, Wishes
from image2music.storage.files import open_place
from image2music.types import NO_METADATA, ImageMetadata, ImageSource

LONGEST_HINT = 300
"""Characters. What the composer sees should still be heard beside it."""
_AHEAD = 1 << 20
_IMAGE, _ID, _HINTS = "image", "id", ("hint", "caption")
_COLUMNS = (_IMAGE, _ID, *_HINTS, *WISH_COLUMNS)
Names = Sequence[str]


@dataclass(frozen=True)
class Entry:
    """A row: which picture, as the catalogue spells it, and what it says."""

    image: str
    id: str | None
    hint: str | None
    wishes: Wishes | None = None


@dataclass(frozen=True)
class Catalog:
    """The rows of a catalogue, and how it was read.

    taken_as: what it was taken for, as `UTF-8, semicolons`. columns: those that are read, and ignored: the others, as
    they are spelt. cut: a line for each text that is longer than `LONGEST_HINT`. nameless: rows that say something and
    name no picture.
    """

    entries: tuple[Entry, ...]
    taken_as: str = ""
    columns: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    nameless: int = 0

    @property
    def line(self) -> str:
        """Return in one line how it was read."""
        ignored = f"; not read: {', '.join(self.ignored)}" if self.ignored else ""
        return f"read as {self.taken_as}; columns {', '.join(self.columns)}{ignored}"


@dataclass(frozen=True)
class Matched:
    """Pictures with their metadata, and what did not match. `repeated_rows` name a picture that an earlier row has.

    loosely: the rows whose picture was found by a part of its place, or without regard to case: row and place.
    """

    places: tuple[ImageSource, ...]
    rows: int
    rows_without_picture: tuple[str, ...]
    pictures_without_row: tuple[str, ...]
    repeated_rows: tuple[str, ...]
    loosely: tuple[tuple[str, str], ...] = ()
    catalog: Catalog = Catalog(())


def read_catalog(path: str | Path) -> Catalog:
    """Read the rows of a catalogue.

    The columns are `image` (needed), `id`, `hint` or `caption`, and wishes (`WISH_COLUMNS`), their names in any case;
    others are ignored. CSV has a first line of names, and commas, semicolons or tabs, whichever the first line shows;
    it is UTF-8, UTF-16, or else Windows-1252, which Latin-1 is a part of.

    Raises:
        ConfigError: `catalog_missing`, `bad_catalog` (it cannot be read), `catalog_columns` (no `image`, none of the
            others, or a name twice), `catalog_fields` (a row has more fields than the first line).
    """
    place = open_place(path)
    place.check()
    if not place.is_file():
        raise ConfigError(f"there is no catalogue {path}", reason="catalog_missing")
    try:
        with place.open(_AHEAD) as file:
            taken_as, spelt, rows = _parquet(file) if place.name.endswith(".parquet") else _csv(file.read(), path)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise ConfigError(f"the catalogue {path} cannot be read: {error}", reason="bad_catalog") from error
    names = [_column(name) for name in spelt]
    _check_columns(names, path)
    hint = next((name for name in _HINTS if name in names), None)
    cut: list[str] = []
    entries, nameless = [], 0
    for row in rows:
        said = {name: _text(row.get(name)) for name in (_ID, hint, *WISH_COLUMNS) if name is not None}
        if not (image := _name_of(row.get(_IMAGE))):
            nameless += any(said.values())
            continue
        short = {name: _short(text) for name, text in said.items() if name != _ID}
        cut += [f"the {name} of {in_one_line(image)} has {len(said[name] or '')} characters, and {len(text)} are taken"
                for name, text in short.items() if text and len(said[name] or "") > LONGEST_HINT]  # fmt: skip
        wishes = {name: text for name, text in short.items() if name in WISH_COLUMNS and text is not None}
        entries.append(Entry(image, said[_ID], short.get(hint or ""), Wishes(**wishes) if wishes else None))
    read = tuple(name for name in names if (name in _COLUMNS and name not in _HINTS) or name == hint)
    ignored = tuple(shown for shown, name in zip(spelt, names, strict=True) if name not in read and shown.strip())
    return Catalog(tuple(entries), taken_as, read, ignored, tuple(cut), nameless)


def _check_columns(names: Names, path: str | Path) -> None:
    twice = [name for name, number in Counter(names).items() if number > 1 and name in _COLUMNS]
    if twice:
        message = f"the catalogue {path} has more than one column {twice[0]}; leave one of them"
        raise ConfigError(message, reason="catalog_columns")
    if _IMAGE not in names or not {_ID, *_HINTS, *WISH_COLUMNS} & set(names):
        message = (
            f"the catalogue {path} needs a column image, and id, hint, caption or one of {', '.join(WISH_COLUMNS)}; "
            f"it has {', '.join(filter(None, names)) or 'none'}"
        )
        raise ConfigError(message, reason="catalog_columns")


def _column(name: str) -> str:
    return " ".join(name.split()).casefold()


_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_WINDOWS = {number: bytes([number]).decode("cp1252", "ignore") or chr(number) for number in range(0x80, 0xA0)}
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def decoded_table(data: bytes) -> tuple[str, str]:
    """Return a text and the encoding that it was read in.

    Raises:
        ValueError: it is no text.
    """
    if data.startswith(_SPREADSHEETS):
        raise ValueError("it is a spreadsheet or an archive; save it as CSV")
    for mark, encoding, shown in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding), shown
    # Without a mark: the first line of names is plain ASCII, of which UTF-16 makes every second byte a zero.
    for encoding, zeros in (("utf-16-le", data[1:64:2]), ("utf-16-be", data[0:64:2])):
        if len(zeros) > 1 and not any(zeros):
            return data.decode(encoding), "UTF-16"
    if b"\0" in data:
        raise ValueError("it is no text: it holds zero bytes")
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        return data.decode("latin-1").translate(_WINDOWS), "Windows-1252 (Latin-1), as it is not UTF-8"


def _csv(data: bytes, path: str | Path) -> tuple[str, Names, list[dict[str, object]]]:
    text, encoding = decoded_table(data)
    delimiter, text, skipped = parted_table(text, _COLUMNS)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = []
    try:
        spelt = list(reader.fieldnames or ())
        reader.fieldnames = [_column(name) for name in spelt]
        for row in reader:
            rows.append((reader.line_num + skipped, cast(dict[str | None, object], row)))
    except csv.Error as error:
        raise ValueError(f"line {reader.reader.line_num + skipped}: {error}") from error
    # What is beyond the named columns stands under None; spreadsheets leave empty fields there.
    longer = [(line, row) for line, row in rows if any(cast(list[str], row.pop(None, [])))]
    if longer:
        line, row = longer[0]
        more = f" and {len(longer) - 1} more" if len(longer) > 1 else ""
        message = (
            f"the row of {in_one_line(str(row.get(_IMAGE)))} (line {line}){more} in the catalogue {path} has more "
            f'fields than the first line, which names {len(spelt)}; put "quotes" around a text with '
            f"{_DELIMITERS[delimiter]}"
        )
        raise ConfigError(message, reason="catalog_fields")
    return f"{encoding}, {_DELIMITERS[delimiter]}", spelt, [cast(dict[str, object], row) for _, row in rows]


def parted_table(text: str, known: Collection[str]) -> tuple[str, str, int]:
    """Return what parts the fields of a table, the table, and the lines before it.

    It is what gives most `known` columns, then most columns; a line `sep=;` before the names, as Excel writes it, says
    it. Line ends of any kind become plain ones.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    first, _, rest = lines.partition("\n")
    if first[:4].lower() == "sep=" and first[4:5] in _DELIMITERS:
        return first[4], rest, 1

    def columns(delimiter: str) -> tuple[int, int]:
        names = [_column(name) for name in next(csv.reader([first], delimiter=delimiter), [])]
        return sum(name in known for name in names), len(names)

    return max(_DELIMITERS, key=columns), lines, 0


def _parquet(file: BinaryIO) -> tuple[str, Names, list[dict[str, object]]]:
    opened = pq.ParquetFile(file)
    spelt = opened.schema_arrow.names
    rows = opened.read([name for name in spelt if _column(name) in _COLUMNS]).to_pylist()
    return "Parquet", spelt, [{_column(name): value for name, value in row.items()} for row in rows]


def _text(value: object) -> str | None:
    """Return a value as one line, None for nothing; numbers are ids too."""
    text = " ".join(str(value).split()) if value is not None else ""
    return text or None


def _name_of(value: object) -> str:
    """Return a picture's name: line breaks and blanks may be a part of it, those around it are not."""
    return str(value).strip() if value is not None else ""


def _short(text: str | None) -> str | None:
    if text is None:
        return None
    text = "".join(character for character in text if character.isprintable())
    if len(text) > LONGEST_HINT:
        cut = text[:LONGEST_HINT]
        text = cut.rpartition(" ")[0] or cut
    return text or None


def match(catalog: Catalog, uris: Sequence[str], images: str) -> Matched:
    """Give each picture the first row that names it.

    A row names a picture by its place as given, by its place under the folder `images` (or in its archive), or, where
    it has no slash, by its file name alone: then all pictures of that name. Names match whatever their Unicode normal
    form: macOS spells an accent as a character of its own. A row that finds nothing so takes the one picture whose
    place ends like it, or, as a last resort, the one that does so without regard to case, blanks and slashes' slant.

    Raises:
        ConfigError: no row names a picture (`catalog_matches_nothing`).
    """
    spelt: dict[str, list[str]] = {}
    for uri in uris:
        for name in dict.fromkeys(_names(uri, images)):
            spelt.setdefault(name, []).append(uri)
    taken: dict[str, Entry] = {}
    missing: list[Entry] = []
    repeated: list[str] = []
    loosely: list[tuple[str, str]] = []

    def give(entry: Entry, found: Sequence[str]) -> None:
        fresh = [uri for uri in found if uri not in taken]
        repeated.extend([] if fresh else [entry.image])
        taken.update((uri, entry) for uri in fresh)

    for entry in catalog.entries:
        if found := spelt.get(_plain(entry.image), ()):
            give(entry, found)
        else:
            missing.append(entry)
    without_picture = []
    ends = _Ends(uris) if missing else None
    for entry in missing:
        one = ends.only(entry.image) if ends is not None else None
        if one is None:
            without_picture.append(entry.image)
            continue
        loosely.append((entry.image, one))
        give(entry, [one])
    rows = len(catalog.entries)
    if not taken:
        first = f", such as {in_one_line(without_picture[0])}" if without_picture else ""
        example = f"{first}; the first picture is {in_one_line(uris[0])}" if without_picture and uris else ""
        message = f"none of the {rows} rows of the catalogue names a picture of {images}{example}"
        raise ConfigError(message, reason="catalog_matches_nothing")
    places = tuple(ImageSource(uri, _metadata(taken[uri]) if uri in taken else NO_METADATA) for uri in uris)
    without = tuple(uri for uri in uris if uri not in taken)
    return Matched(places, rows, tuple(without_picture), without, tuple(repeated), tuple(loosely), catalog)


class _Ends:
    """Places by how they end, first as they are spelt, then without regard to case, blanks and slashes' slant."""

    def __init__(self, uris: Iterable[str]) -> None:
        self._spelt: dict[str, set[str]] = {}
        self._folded: dict[str, set[str]] = {}
        for uri in uris:
            for path in _paths(uri):
                for places, form in ((self._spelt, _plain), (self._folded, _folded)):
                    places.setdefault(posixpath.basename(form(path)), set()).add(uri)

    def only(self, image: str) -> str | None:
        """Return the one place that ends like this; None where there is none, or more than one."""
        for places, form in ((self._spelt, _plain), (self._folded, _folded)):
            wanted = form(image.replace(".tar#", ".tar/"))
            like = places.get(posixpath.basename(wanted), ())
            found = [uri for uri in like if any(f"/{form(path)}".endswith(f"/{wanted}") for path in _paths(uri))]
            if found:
                return found[0] if len(found) == 1 else None
        return None


def _paths(uri: str) -> tuple[str, ...]:
    """Return a place as a path, archives being folders, and, where it is not UTF-8, what Windows calls it too."""
    member = member_of(uri)
    path = uri if member is None else f"{member.archive}/{member.name}"
    if not any("\udc80" <= character <= "\udcff" for character in path):
        return (path,)
    return path, os.fsencode(path).decode("latin-1").translate(_WINDOWS)


def _folded(name: str) -> str:
    plain = _plain(name.replace("\\", "/"))
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFKC", plain).casefold().split()))


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
