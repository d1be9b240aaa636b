"""Rows to a folder of pages that opens from disk: no server, no network."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from image2music import __version__
from image2music.abc.musicxml import abc_to_music_xml
from image2music.errors import ConfigError, Image2MusicError, OutputError, PictureError
from image2music.images.decode import open_picture
from image2music.images.features import data_uri, thumbnail
from image2music.music.render import SoundRenderer, encode, load_renderer
from image2music.report.page import picture_page
from image2music.report.site import (
    ABCJS_FILE,
    ASSETS,
    COLUMNS,
    Card,
    Neighbours,
    Site,
    album_labels,
    asset,
    card_of,
    find_abcjs,
    render_failures,
    render_list,
    render_picture,
    sorted_cards,
)
from image2music.storage.datasets import open_shards, read_shards
from image2music.storage.files import Folder, holds_only, replaced_folder
from image2music.storage.output import REPORT_MARKER, OutputStore, open_output
from pipelines.jobs.options import ReportOptions
from transforms.pictures import PictureReader, content_id

Row = dict[str, Any]

_CARD_SIDE, _PAGE_SIDE = 260, 800
_ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Reported:
    """What was written. `unseen` are pictures whose file was gone, changed or unreadable."""

    pictures: int
    failures: int
    unseen: int


_PAGE_KBPS = 32
"""A page's sound takes a quarter of a megabyte a minute."""


@dataclass(frozen=True)
class Sounds:
    """Which cards, by id, get a rendered sound, and what plays it. Plain tones the page makes itself."""

    ids: frozenset[str]
    renderer: SoundRenderer

    def of(self, card: Card, row: Row) -> bytes | None:
        """Return a card's sound as Opus; None where the page has to make it.

        Raises:
            MidiError: as `SoundRenderer.render`.
        """
        if card.id not in self.ids or self.renderer.soundfont is None:
            return None
        return encode(self.renderer.render(row["midi"]), "opus", _PAGE_KBPS)


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
    """Write the pages of all current rows, replacing an earlier report at once when all is done.

    Raises:
        ConfigError: there are no rows (`no_rows`), --abcjs holds no abcjs (`bad_abcjs`), or the sound font cannot be
            used (`bad_soundfont`).
        OutputError: the output is a folder of something else (`not_a_report`), or cannot be written.
    """
    source = open_output(options.input)
    # Listed once: where the run still goes on, later shards would bring rows that no list names.
    failures, shards = _failures(source), source.compositions.shards()
    if not shards and not failures:
        raise ConfigError(f"{options.input} holds no compositions: name the --output of compose", reason="no_rows")
    script = find_abcjs(options.abcjs)
    _check_replaceable(options.folder)
    cards = sorted_cards(card_of(row) for row in read_shards(shards, COLUMNS))
    albums = album_labels(card.album for card in cards)
    site = Site(
        Path(options.input).name or "report", len(failures), script is not None, options.include_references, albums
    )

    sounds = Sounds(frozenset(card.id for card in cards[: options.sounds]), announced_renderer(options.soundfont))
    with replaced_folder(options.folder) as draft:
        unseen = _write_report(draft, site, cards, failures, shards, script, sounds)
    return Reported(len(cards), len(failures), unseen)


def _write_report(
    draft: Folder,
    site: Site,
    cards: list[Card],
    failures: list[Row],
    shards: Sequence[str],
    script: bytes | None,
    sounds: Sounds,
) -> int:
    """Write all files of a report; return how many pictures could not be shown."""
    for name in ASSETS:
        draft.write(f"assets/{name}", asset(name))
    if script is not None:
        draft.write(f"assets/{ABCJS_FILE}", script)
    draft.write("index.html", render_list(site, cards))
    draft.write("failures.html", render_failures(site, failures))
    for page in dict.fromkeys(card.album_page for card in cards):
        own = [card for card in cards if card.album_page == page]
        draft.write(page, render_list(site, own, album=own[0].album))
    unseen = _write_pictures(draft, site, cards, _rows(shards), sounds)
    draft.write(
        REPORT_MARKER, json.dumps({"image2music": __version__, "pictures": len(cards), "failures": len(failures)})
    )
    return unseen


def _write_pictures(draft: Folder, site: Site, cards: list[Card], rows: Iterator[Row], sounds: Sounds) -> int:
    """Write all picture pages; return how many pictures could not be shown."""
    places = {card.id: place for place, card in enumerate(cards)}
    unseen = 0
    for row in rows:
        place = places[card_of(row).id]
        card = cards[place]
        near = Neighbours(cards[place - 1] if place else None, cards[place + 1] if place + 1 < len(cards) else None)
        image = find_picture(row)
        unseen += image is None
        shown = ""
        if image is not None:
            draft.write(card.thumbnail, thumbnail(image, _CARD_SIDE))
            shown = data_uri(thumbnail(image, _PAGE_SIDE))
        try:
            sound = sounds.of(card, row)
            html = render_picture(site, card, picture_page(row), shown, near, sound=f"{card.id}.opus" if sound else "")
            music_xml = abc_to_music_xml(row["abc"])
        except Image2MusicError as error:
            raise OutputError(f"the row of {row['image_uri']} cannot be shown: {error}", reason=error.reason) from error
        draft.write(card.page, html)
        draft.write(f"pictures/{card.id}.abc", row["abc"])
        draft.write(f"pictures/{card.id}.mid", row["midi"])
        draft.write(f"pictures/{card.id}.musicxml", music_xml)
        if sound:
            draft.write(f"pictures/{card.id}.opus", sound)
    return unseen


def find_picture(row: Row) -> Image | None:
    """Return the picture of a row, from the first of its places that still holds the very bytes; None if none does."""
    for uri in dict.fromkeys([row["image_uri"], *row["image_uris"]]):
        try:
            data = PictureReader()(uri)
            if content_id(data) == row["image_id"]:
                return open_picture(data, max_side=_PAGE_SIDE).image
        except (OSError, PictureError) as error:
            print(f"{uri}: {' '.join(str(error).split())}", file=sys.stderr)
    return None


def _rows(shards: Sequence[str]) -> Iterator[Row]:
    """Yield whole rows but for the embeddings, a few in memory at a time."""
    for file in open_shards(shards):
        columns = [name for name in file.schema_arrow.names if not name.endswith("_embedding")]
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
            yield from batch.to_pylist()


def _failures(source: OutputStore) -> list[Row]:
    columns = ["stage", "id", "uri", "reason", "message", "failed_at"]
    return sorted(source.failures.read(columns), key=lambda row: (row["uri"], row["stage"]))


def _check_replaceable(output: Path) -> None:
    if not holds_only(output, REPORT_MARKER):
        message = f"{output} holds something that is not a report; name another --output"
        raise OutputError(message, reason="not_a_report")
