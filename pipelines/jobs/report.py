"""Rows to a folder of pages that opens from disk: no server, no network. What is up to date there is left alone."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL.Image import Image

from image2music import __version__
from image2music.abc.expression import perform_abc
from image2music.errors import ConfigError, Image2MusicError, OutputError, PictureError
from image2music.evaluation.pieces import playable
from image2music.images.decode import open_picture
from image2music.images.features import data_uri, thumbnail
from image2music.images.reading import PictureReader, content_id
from image2music.music.render import RATE, SoundRenderer, encode, load_renderer
from image2music.music.tags import tagged
from image2music.report.page import picture_page
from image2music.report.pairs import (
    Side,
    pair_json,
    pair_of,
    pairs_script,
    rival_side,
    side_json,
    side_of_json,
    standing_name,
    standing_side,
    tune_file,
    tune_script,
)
from image2music.report.rounds import rival
from image2music.report.site import (
    ASSETS,
    COLUMNS,
    Card,
    Neighbours,
    Site,
    album_labels,
    asset,
    card_id,
    card_of,
    page_rules,
    render_compare,
    render_failures,
    render_list,
    render_picture,
    sorted_cards,
)
from image2music.report.tunes import music_xml_of
from image2music.rights import file_tags
from image2music.storage.datasets import StoredRow, numbered_rows, open_shards, read_shards
from image2music.storage.files import FILE_COLUMNS, FileTable, Folder, Spool, holds_only
from image2music.storage.locks import file_lock
from image2music.storage.output import LOCK, REPORT_MARKER, OutputStore, open_output, row_mark
from pipelines.options.outputs import ReportOptions
from schemas.failure import FAILURE_SCHEMA

Row = dict[str, Any]

REPORT_VERSION = 1
"""Raise it when a picture's page, or a file beside it, is another than before of the same row."""

_CARD_SIDE, _PAGE_SIDE = 260, 800
_ROWS_AT_ONCE = 32
_FAILURES_AT_ONCE = 256
_LISTS = ("index.html", "failures.html", "compare.html", "assets/pairs.js", REPORT_MARKER)
_TABLE_COLUMNS = (*FILE_COLUMNS, "seen", "own", "pair")
"""Of the table of a report, where image_ids are shortened as its files are. `seen` is "no" where a page lacks its
picture; `own` and `pair` are what comparing is told of, as JSON."""


@dataclass(frozen=True)
class Reported:
    """What is shown, and of how many pictures something was written; `unseen` are those whose file was gone or changed.

    `pairs` are two tunes to compare.
    """

    pictures: int
    failures: int
    unseen: int
    pairs: int
    written: int

    @property
    def unchanged(self) -> int:
        """Pictures whose page and files were up to date."""
        return self.pictures - self.written


_SOUND_BYTES = 100_000
"""What the sound of a page takes at most; it is read when somebody plays it."""
_MOST_KBPS, _STEREO_FROM = 48, 30
"""Below `_STEREO_FROM` one channel sounds better than two."""


@dataclass(frozen=True)
class Sounds:
    """Which cards, by id, get a rendered sound, and what plays it. Plain tones the page makes itself."""

    ids: frozenset[str]
    renderer: SoundRenderer

    def mark(self, id: str) -> str:
        """Return what tells the sound font that a card's sound is played with; "" where the page has to make it."""
        return self.renderer.mark if id in self.ids and self.renderer.soundfont is not None else ""

    def of(self, id: str, midi: bytes) -> bytes | None:
        """Return a tune's sound as Opus of at most 100 kB; None where the page has to make it.

        Raises:
            MidiError: as `SoundRenderer.render`.
        """
        return page_sound(self.renderer.render(midi)) if self.mark(id) else None


def page_sound(sound: NDArray[np.float32]) -> bytes:
    """Return a sound, float32[n, 2], as Opus of 100 kB at most: fewer bits a second the longer it lasts.

    Beyond two minutes it takes more: the encoder has no fewer than 6 kbit/s.
    """
    kbps = min(_MOST_KBPS, int(0.92 * _SOUND_BYTES * 8 / 1000 / (len(sound) / RATE)))
    if kbps >= _STEREO_FROM:
        return encode(sound, "opus", kbps)
    # What `encode` is told is meant for two channels.
    return encode(sound.mean(axis=1, keepdims=True), "opus", 2 * kbps)


def announced_renderer(soundfont: Path | None) -> SoundRenderer:
    """Return what plays tunes; where no sound font is found, say so in one line on stderr.

    Raises:
        ConfigError: as `load_renderer`.
    """
    renderer = load_renderer(soundfont)
    if renderer.remark:
        print(f"image2music: {renderer.remark}", file=sys.stderr)
    return renderer


def write_report(options: ReportOptions) -> Reported:
    """Bring the pages of all current rows up to date: write what is new or changed, remove what is of no row any more.

    The folder is the report's own: what else lies there is removed. A run that is stopped leaves whole files and no
    whole report; the next one goes on with it.

    Raises:
        ConfigError: there are no rows (`no_rows`), in the other run too, or the sound font cannot be used
            (`bad_soundfont`).
        OutputError: the output is a folder of something else (`not_a_report`), another report is being written there
            (`another_writer`), or it cannot be written.
    """
    source = open_output(options.input)
    # Listed once: where the run still goes on, later shards would bring rows that no list names.
    failures, shards = _failures(source), source.compositions.shards()
    if not shards and not failures.num_rows:
        raise ConfigError(f"{options.input} holds no compositions: name the --output of compose", reason="no_rows")
    other = _other_run(options)
    _check_replaceable(options.folder)
    renderer = announced_renderer(options.soundfont)
    folder = Folder(str(options.folder))
    with (
        file_lock(folder.uri, options.folder / LOCK),
        Spool() as texts,
        FileTable(folder, _TABLE_COLUMNS) as table,
    ):
        cards, described = read_cards(shards, texts)
        albums = album_labels(card.album for card in cards)
        site = Site(Path(options.input).name or "report", failures.num_rows, options.include_references, albums)
        votes = _votes_place(options.folder, site, cards)
        told = {"image2music": __version__, "pictures": len(cards), "failures": site.failures}
        # First of all: by it the next run knows the folder for a report.
        folder.update(REPORT_MARKER, [json.dumps(told | {"name": site.name, "votes": votes})])

        sounds = Sounds(frozenset(card.id for card in cards[: options.sounds]), renderer)
        pages = _Pages(folder, table, site, cards, sounds, (site.name, other[0]) if other else ())
        for name in ASSETS:
            folder.update(f"assets/{name}", [asset(name)])
        pages.write(pages.look(shards))
        if other is not None:
            pages.write_run(other[1])
        lists = _write_lists(folder, site, cards, failures, described)
        folder.update("compare.html", [render_compare(site, pages.runs)])
        folder.update("assets/pairs.js", pairs_script(votes, pages.pairs()))
        _remove_strays(options.folder, table, [*_LISTS, *lists, *(f"assets/{name}" for name in ASSETS), LOCK])
        table.save(done=True)
    return Reported(len(cards), site.failures, pages.unseen, pages.compared, len(pages.changed))


def read_cards(shards: Sequence[str], texts: Spool) -> tuple[list[Card], Callable[[Card], str]]:
    """Return the cards of all rows, sorted, and what tells a card's description: these are kept among `texts`."""
    places: dict[str, int] = {}

    def kept(row: Row) -> Card:
        card = card_of(row)
        places[card.id] = texts.add(row["description"])
        return card

    cards = sorted_cards(kept(row) for row in read_shards(shards, COLUMNS))
    return cards, lambda card: texts[places[card.id]]


def _other_run(options: ReportOptions) -> tuple[str, Sequence[str]] | None:
    """Return name and shards of the run to compare with; None without one."""
    if options.against is None:
        return None
    shards = open_output(options.against).compositions.shards()
    if not shards:
        raise ConfigError(f"{options.against} holds no compositions: name the --output of compose", reason="no_rows")
    name = Path(options.against).name or "other"
    return (f"{name} (against)" if name == Path(options.input).name else name), shards


def _votes_place(folder: Path, site: Site, cards: Sequence[Card]) -> str:
    """Return a name for the votes of this report: browsers keep those of all files on a disk in one place.

    It stays what it was when the report was first written, so that votes are found again beside new pictures.
    """
    with suppress(OSError, ValueError, AttributeError):  # there is none yet, or somebody edited it
        earlier = json.loads((folder / REPORT_MARKER).read_bytes())
        if earlier.get("name") == site.name and isinstance(earlier.get("votes"), str):
            return str(earlier["votes"])
    return hashlib.sha256("/".join([site.name, *(card.id for card in cards)]).encode()).hexdigest()[:12]


def _write_lists(
    folder: Folder, site: Site, cards: Sequence[Card], failures: pa.Table, described: Callable[[Card], str]
) -> list[str]:
    """Write the lists of all pictures, of each album, and of failures; return the names of the albums' pages."""
    folder.update("index.html", render_list(site, cards, described))
    batches = failures.to_batches(max_chunksize=_FAILURES_AT_ONCE)
    folder.update("failures.html", render_failures(site, (row for batch in batches for row in batch.to_pylist())))
    names = []
    for name, album in groupby(cards, key=attrgetter("album_page")):
        own = list(album)
        folder.update(name, render_list(site, own, described, album=own[0].album))
        names.append(name)
    return names


def _remove_strays(folder: Path, table: FileTable, others: Sequence[str]) -> None:
    """Remove the files that are no part of the report, such as pages of rows that are gone, and folders left empty."""
    homes = set[Path]()
    for name in list(table.strays(others)):
        (folder / name).unlink(missing_ok=True)
        homes.update(folder / home for home in Path(name).parents if home.name)
    for home in sorted(homes, key=lambda home: -len(home.parts)):
        with suppress(OSError):  # others lie there
            home.rmdir()


Line = Mapping[str, Any]


@dataclass
class _Pages:
    """The pages of the pictures and the files beside them: what they are made of, and the writing of what is not whole.

    Entries of the table, by card: its `page` with the thumbnail, its `files` to be downloaded, its `sound`, the tunes
    that are `compared`, and those of another run, `against`. `runs` are the names of two runs, empty with one.
    `changed` are the ids of cards of which something was written, `unseen` counts those without their picture.
    """

    folder: Folder
    table: FileTable
    site: Site
    cards: Sequence[Card]
    sounds: Sounds
    runs: tuple[str, ...]
    changed: set[str] = field(default_factory=set)
    unseen: int = 0
    compared: int = 0

    @cached_property
    def places(self) -> dict[str, int]:
        """Places of cards in the list, by their ids."""
        return {card.id: place for place, card in enumerate(self.cards)}

    def look(self, shards: Sequence[str]) -> dict[str, set[int]]:
        """Set in the table what is whole; return the numbers of the rows that lack something, by their shards."""
        waiting = defaultdict[str, set[int]](set)
        for row in numbered_rows(shards, _is_shown, _ROWS_AT_ONCE):
            card, wanted = self._wanted(row)
            whole = self._whole(card, wanted)
            if _lacks_picture(whole.get("page", ())) and find_picture(row.read(_PLACES)) is not None:
                del whole["page"]
            self._put(card, whole)
            if whole.keys() >= wanted.keys():
                self.unseen += _lacks_picture(whole["page"])
            else:
                waiting[row.shard].add(row.number)
        return waiting

    def write(self, waiting: Mapping[str, set[int]]) -> None:
        """Write what rows lack.

        Raises:
            OutputError: a row cannot be shown, or a file cannot be written.
        """
        if waiting:
            self.table.save()
        for stored in numbered_rows(list(waiting), _is_shown, _ROWS_AT_ONCE, waiting):
            card, wanted = self._wanted(stored)
            whole, row = self._whole(card, wanted), stored.read()
            try:
                for format, made_from in wanted.items():
                    if format not in whole:
                        whole[format] = _entry(card, format, made_from, _MAKERS[format](self, card, row))
            except Image2MusicError as error:
                message = f"the row of {row['image_uri']} cannot be shown: {error}"
                raise OutputError(message, reason=error.reason) from error
            self.changed.add(card.id)
            self.unseen += _lacks_picture(whole["page"])
            self._put(card, whole)

    def _wanted(self, row: StoredRow) -> tuple[Card, dict[str, str]]:
        """Return the card of a row, and what each of its entries is made of now."""
        place = self.places[card_id(row.image_id)]
        card, near = self.cards[place], self._near(place)
        titles = [(each.page, each.title) if each else None for each in (near.before, near.after)]
        sound, label = self.sounds.mark(card.id), self.site.albums[card.album]
        shown = (self.site.name, label, self.site.include_references, bool(sound), titles, page_rules())
        wanted = {
            "page": _mark(row.digest, *shown),
            "files": _mark(row.digest),
            "compared": _mark(row.digest, self.site.name, sound, self.runs),
        }
        return card, wanted | ({"sound": _mark(row.digest, sound)} if sound else {})

    def _near(self, place: int) -> Neighbours:
        after = self.cards[place + 1] if place + 1 < len(self.cards) else None
        return Neighbours(self.cards[place - 1] if place else None, after)

    def _whole(self, card: Card, wanted: Mapping[str, str]) -> dict[str, list[Line]]:
        """Return the entries of a card that are whole, and that of another run, which `write_run` looks at."""
        entries = self.table.entries(card.id)
        if not self.runs:
            entries.pop("against", None)
        return {
            format: list[Line](lines)
            for format, lines in entries.items()
            if format == "against" or (lines[0]["made_from"] == wanted.get(format) and self.table.is_whole(lines))
        }

    def _put(self, card: Card, entries: Mapping[str, Sequence[Line]]) -> None:
        lines = (entries[format] for format in (*_MAKERS, "against") if format in entries)
        self.table.put(card.id, chain.from_iterable(lines))

    def _written(self, name: str, data: bytes | str) -> dict[str, Any]:
        """Write a file where it does not hold this already; return its part of a line."""
        content = data.encode() if isinstance(data, str) else data
        self.folder.update(name, content)
        return {"file": name, "bytes": len(content)}

    def page(self, card: Card, row: Row) -> list[Line]:
        """Write a picture's page and its thumbnail, which is missing where the picture is."""
        image = find_picture(row)
        shown = "" if image is None else data_uri(thumbnail(image, _PAGE_SIDE))
        sound = f"{card.id}.opus" if self.sounds.mark(card.id) else ""
        near = self._near(self.places[card.id])
        html = render_picture(self.site, card, picture_page(row), shown, near, sound=sound)
        page = self._written(card.page, html)
        if image is None:
            return [page | {"seen": "no"}]
        return [page, self._written(card.thumbnail, thumbnail(image, _CARD_SIDE))]

    def files(self, card: Card, row: Row) -> list[Line]:
        """Write the files that a page hands out."""
        tags, name = file_tags(row), f"pictures/{card.id}"
        return [
            self._written(f"{name}.abc", row["abc"]),
            self._written(f"{name}.mid", tagged(row["midi"], "midi", tags)),
            self._written(f"{name}.musicxml", tagged(music_xml_of(row["abc"]), "musicxml", tags)),
        ]

    def sound(self, card: Card, row: Row) -> list[Line]:
        """Write the sound of a page."""
        data = self.sounds.of(card.id, row["midi"])
        assert data is not None
        return [self._written(f"pictures/{card.id}.opus", tagged(data, "opus", file_tags(row)))]

    def tunes(self, card: Card, row: Row) -> list[Line]:
        """Write a row's tune and its rival to be heard side by side; nothing where there is nothing to compare."""
        other = rival(row["rounds"])
        if other is not None and playable(other.round["abc"]) is None:
            other = None
        if other is None and not self.runs:
            return [_NO_FILE]
        own = standing_side(row, self.site.name)
        sound = f"pictures/{card.id}.opus" if self.sounds.mark(card.id) else ""
        lines = self._tune(card, own.mark, row["abc"], row["midi"], sound)
        lines[0]["own"] = side_json(own) if self.runs else ""
        if other is not None:
            abc, side = other.round["abc"], rival_side(other)
            if side.mark != own.mark:
                lines += self._tune(card, side.mark, abc, perform_abc(abc), None)
            named = replace(own, name=standing_name(row["rounds"]))
            pair = pair_of(row["image_id"], card.file_name, "candidate", named, side, catalog_id=card.catalog_id)
            lines[0]["pair"] = pair_json(pair)
        return list[Line](lines)

    def _tune(self, card: Card, mark: str, abc: str, midi: bytes, sound: str | None) -> list[dict[str, Any]]:
        """Write a tune; `sound` is the address of its sound, "" without one, None where it is still to be rendered."""
        lines, file = list[dict[str, Any]](), f"tunes/{tune_file(card.id, mark)}"
        if sound is None:
            data = self.sounds.of(card.id, midi)
            sound = f"{file}.opus" if data else ""
            lines += [self._written(sound, data)] if data else []
        return [self._written(f"{file}.js", tune_script(abc, midi, sound)), *lines]

    def write_run(self, shards: Sequence[str]) -> None:
        """Write another run's tunes for the pictures of this one, where they are not the same."""
        found = set[str]()
        for stored in numbered_rows(shards, _is_shown, _ROWS_AT_ONCE):
            place = self.places.get(card_id(stored.image_id))
            entries = self.table.entries(self.cards[place].id) if place is not None else {}
            own = next((line["own"] for line in entries.get("compared", ()) if line["own"]), "")
            if place is None or not own:
                continue
            card, names = self.cards[place], [line["file"] for line in entries["compared"]]
            about = (own, names, card.file_name, card.catalog_id, self.runs, self.sounds.mark(card.id))
            made_from, lines = _mark(stored.digest, *about), entries.pop("against", [])
            if not (lines and lines[0]["made_from"] == made_from and self.table.is_whole(lines)):
                made = self._against(card, stored.read(), side_of_json(own), names)
                self._put(card, {**entries, "against": _entry(card, "against", made_from, made)})
                self.changed.add(card.id)
            found.add(card.id)
        for card in self.cards:
            entries = self.table.entries(card.id)
            if card.id not in found and "against" in entries:
                del entries["against"]
                self._put(card, entries)

    def _against(self, card: Card, row: Row, own: Side, names: Sequence[str]) -> list[Line]:
        side = standing_side(row, self.runs[1])
        if own.mark == side.mark:
            return [_NO_FILE]
        pair = pair_of(row["image_id"], card.file_name, "run", own, side, catalog_id=card.catalog_id)
        lines = [dict(_NO_FILE)]
        if f"tunes/{tune_file(card.id, side.mark)}.js" not in names:
            lines = self._tune(card, side.mark, row["abc"], row["midi"], None)
        lines[0]["pair"] = pair_json(pair)
        return list[Line](lines)

    def pairs(self) -> Iterator[str]:
        """Yield the pairs, as `pair_json` gives them, in the order of the list, two candidates before two runs."""
        for card in self.cards:
            entries = self.table.entries(card.id)
            for line in chain(entries.get("compared", ()), entries.get("against", ())):
                if line["pair"]:
                    self.compared += 1
                    yield line["pair"]


_MAKERS: Mapping[str, Callable[[_Pages, Card, Row], list[Line]]] = {
    "page": _Pages.page,
    "files": _Pages.files,
    "sound": _Pages.sound,
    "compared": _Pages.tunes,
}
_NO_FILE: Line = {"file": "", "bytes": 0}
_PLACES = ("image_id", "image_uri", "image_uris")


def _entry(card: Card, format: str, made_from: str, lines: Iterable[Line]) -> list[Line]:
    return [{"image_id": card.id, "format": format, "made_from": made_from} | dict(line) for line in lines]


def _mark(*values: object) -> str:
    """Return 16 hex digits of what an entry is made of."""
    return row_mark((REPORT_VERSION, __version__, *values)).hex()[:16]


def _lacks_picture(lines: Sequence[Line]) -> bool:
    return any(line.get("seen") == "no" for line in lines)


def _is_shown(column: str) -> bool:
    return not column.endswith("_embedding")


def find_picture(row: Row, max_side: int = _PAGE_SIDE, *, told: bool = True) -> Image | None:
    """Return the picture of a row, from the first of its places that still holds the very bytes; None if none does.

    Its longer side is at most `max_side` pixels. What cannot be read is a line on stderr, where that is to be told.
    """
    for uri in dict.fromkeys([row["image_uri"], *row["image_uris"]]):
        try:
            data = PictureReader()(uri)
            if content_id(data) == row["image_id"]:
                return open_picture(data, max_side=max_side).image
        except (OSError, PictureError) as error:
            if told:
                print(f"{uri}: {' '.join(str(error).split())}", file=sys.stderr)
    return None


def _failures(source: OutputStore) -> pa.Table:
    """Return the failures, sorted by picture and stage."""
    columns = ["stage", "id", "uri", "reason", "message", "failed_at"]
    tables = [file.read(columns=columns) for file in open_shards(source.failures.shards())]
    found = pa.concat_tables([FAILURE_SCHEMA.empty_table().select(columns), *tables], promote_options="default")
    return found.sort_by([("uri", "ascending"), ("stage", "ascending")])


def _check_replaceable(output: Path) -> None:
    if not holds_only(output, REPORT_MARKER, but_for=LOCK):
        message = f"{output} holds something that is not a report; name another --output"
        raise OutputError(message, reason="not_a_report")
