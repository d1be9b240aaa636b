"""Rows to a folder of pages that opens from disk: no server, no network."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from image2music import __version__
from image2music.abc.expression import perform_abc
from image2music.errors import ConfigError, Image2MusicError, OutputError, PictureError
from image2music.evaluation.pieces import playable
from image2music.evaluation.votes import Compared
from image2music.images.decode import open_picture
from image2music.images.features import data_uri, thumbnail
from image2music.images.reading import PictureReader, content_id
from image2music.music.render import RATE, SoundRenderer, encode, load_renderer
from image2music.music.tags import tagged
from image2music.report.page import picture_page
from image2music.report.pairs import (
    Pair,
    Side,
    pair_of,
    pairs_script,
    rival_side,
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
    render_compare,
    render_failures,
    render_list,
    render_picture,
    sorted_cards,
)
from image2music.report.tunes import music_xml_of
from image2music.rights import file_tags
from image2music.storage.datasets import open_shards, read_shards
from image2music.storage.files import Folder, holds_only, replaced_folder
from image2music.storage.output import REPORT_MARKER, OutputStore, open_output
from pipelines.options.outputs import ReportOptions

Row = dict[str, Any]

_CARD_SIDE, _PAGE_SIDE = 260, 800
_ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Reported:
    """What was written. `unseen` are pictures whose file was gone, changed or unreadable, `pairs` tunes to compare."""

    pictures: int
    failures: int
    unseen: int
    pairs: int


_SOUND_BYTES = 100_000
"""What the sound of a page takes at most; it is read when somebody plays it."""
_MOST_KBPS, _STEREO_FROM = 48, 30
"""Below `_STEREO_FROM` one channel sounds better than two."""


@dataclass(frozen=True)
class Sounds:
    """Which cards, by id, get a rendered sound, and what plays it. Plain tones the page makes itself."""

    ids: frozenset[str]
    renderer: SoundRenderer

    def of(self, id: str, midi: bytes) -> bytes | None:
        """Return a tune's sound as Opus of at most 100 kB; None where the page has to make it.

        Raises:
            MidiError: as `SoundRenderer.render`.
        """
        if id not in self.ids or self.renderer.soundfont is None:
            return None
        return page_sound(self.renderer.render(midi))


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
    """Write the pages of all current rows, replacing an earlier report at once when all is done.

    Raises:
        ConfigError: there are no rows (`no_rows`), in the other run too, or the sound font cannot be used
            (`bad_soundfont`).
        OutputError: the output is a folder of something else (`not_a_report`), or cannot be written.
    """
    source = open_output(options.input)
    # Listed once: where the run still goes on, later shards would bring rows that no list names.
    failures, shards = _failures(source), source.compositions.shards()
    if not shards and not failures:
        raise ConfigError(f"{options.input} holds no compositions: name the --output of compose", reason="no_rows")
    other = _other_run(options)
    _check_replaceable(options.folder)
    cards = sorted_cards(card_of(row) for row in read_shards(shards, COLUMNS))
    albums = album_labels(card.album for card in cards)
    site = Site(Path(options.input).name or "report", len(failures), options.include_references, albums)

    sounds = Sounds(frozenset(card.id for card in cards[: options.sounds]), announced_renderer(options.soundfont))
    with replaced_folder(options.folder) as draft:
        for name in ASSETS:
            draft.write(f"assets/{name}", asset(name))
        _write_lists(draft, site, cards, failures)
        comparison = _Comparison(draft, sounds, site.name, (site.name, other[0]) if other else ())
        unseen = _write_pictures(draft, site, cards, _rows(shards), sounds, comparison)
        if other is not None:
            comparison.add_run(cards, other[1])
        draft.write("compare.html", render_compare(site, comparison.runs))
        draft.write("assets/pairs.js", pairs_script(_votes_place(site, cards), comparison.sorted_pairs(cards)))
        written = {"image2music": __version__, "pictures": len(cards), "failures": len(failures)}
        draft.write(REPORT_MARKER, json.dumps(written))
    return Reported(len(cards), len(failures), unseen, len(comparison.pairs))


def _other_run(options: ReportOptions) -> tuple[str, Sequence[str]] | None:
    """Return name and shards of the run to compare with; None without one."""
    if options.against is None:
        return None
    shards = open_output(options.against).compositions.shards()
    if not shards:
        raise ConfigError(f"{options.against} holds no compositions: name the --output of compose", reason="no_rows")
    name = Path(options.against).name or "other"
    return (f"{name} (against)" if name == Path(options.input).name else name), shards


def _votes_place(site: Site, cards: Sequence[Card]) -> str:
    """Return a name for the votes of this report: browsers keep those of all files on a disk in one place."""
    return hashlib.sha256("/".join([site.name, *(card.id for card in cards)]).encode()).hexdigest()[:12]


def _write_lists(draft: Folder, site: Site, cards: list[Card], failures: list[Row]) -> None:
    draft.write("index.html", render_list(site, cards))
    draft.write("failures.html", render_failures(site, failures))
    for page in dict.fromkeys(card.album_page for card in cards):
        own = [card for card in cards if card.album_page == page]
        draft.write(page, render_list(site, own, album=own[0].album))


@dataclass
class _Comparison:
    """Writes the tunes that are heard side by side, each once; `pairs` and `standing` fill as rows come."""

    draft: Folder
    sounds: Sounds
    name: str
    runs: tuple[str, ...] = ()
    pairs: list[Pair] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    standing: dict[str, Side] = field(default_factory=dict)

    def add_row(self, card: Card, row: Row, sound: str) -> None:
        """Write a row's tune and its rival; `sound` is the file of the tune's sound, "" without one."""
        other = rival(row["rounds"])
        heard = other is not None and playable(other.round["abc"]) is not None
        if not heard and not self.runs:
            return
        own = standing_side(row, self.name)
        self.standing[row["image_id"]] = own
        self._write(card.id, own.mark, row["abc"], row["midi"], sound)
        if heard and other is not None:
            abc = other.round["abc"]
            side = rival_side(other)
            self._write(card.id, side.mark, abc, perform_abc(abc), None)
            named = replace(own, name=standing_name(row["rounds"]))
            self._add_pair(row, card, "candidate", named, side)

    def add_run(self, cards: Sequence[Card], shards: Sequence[str]) -> None:
        """Write another run's tunes for the pictures of this one, where they are not the same."""
        known = {card.id: card for card in cards}
        for row in _rows(shards):
            own, side = self.standing.get(row["image_id"]), standing_side(row, self.runs[1])
            if own is None or own.mark == side.mark:
                continue
            id = card_id(row["image_id"])
            self._write(id, side.mark, row["abc"], row["midi"], None)
            self._add_pair(row, known[id], "run", own, side)

    def sorted_pairs(self, cards: Sequence[Card]) -> list[Pair]:
        """Return the pairs in the order of the list of pictures, two candidates before two runs."""
        places = {card.id: place for place, card in enumerate(cards)}
        return sorted(self.pairs, key=lambda pair: (places[pair.page], pair.compared))

    def _add_pair(self, row: Row, card: Card, compared: Compared, one: Side, two: Side) -> None:
        self.pairs.append(pair_of(row["image_id"], card.file_name, compared, one, two, catalog_id=card.catalog_id))

    def _write(self, id: str, mark: str, abc: str, midi: bytes, sound: str | None) -> None:
        """Write a tune; `sound` is None where it is still to be rendered."""
        file = tune_file(id, mark)
        if file in self.written:
            return
        self.written.add(file)
        if sound is None:
            data = self.sounds.of(id, midi)
            sound = f"tunes/{file}.opus" if data else ""
            if data:
                self.draft.write(sound, data)
        self.draft.write(f"tunes/{file}.js", tune_script(abc, midi, sound))


def _write_pictures(
    draft: Folder, site: Site, cards: list[Card], rows: Iterator[Row], sounds: Sounds, comparison: _Comparison
) -> int:
    """Write all picture pages; return how many pictures could not be shown."""
    places = {card.id: place for place, card in enumerate(cards)}
    unseen = 0
    for row in rows:
        place = places[card_id(row["image_id"])]
        card = cards[place]
        near = Neighbours(cards[place - 1] if place else None, cards[place + 1] if place + 1 < len(cards) else None)
        image = find_picture(row)
        unseen += image is None
        shown = ""
        if image is not None:
            draft.write(card.thumbnail, thumbnail(image, _CARD_SIDE))
            shown = data_uri(thumbnail(image, _PAGE_SIDE))
        try:
            sound = sounds.of(card.id, row["midi"])
            html = render_picture(site, card, picture_page(row), shown, near, sound=f"{card.id}.opus" if sound else "")
            music_xml = music_xml_of(row["abc"])
            comparison.add_row(card, row, f"pictures/{card.id}.opus" if sound else "")
        except Image2MusicError as error:
            raise OutputError(f"the row of {row['image_uri']} cannot be shown: {error}", reason=error.reason) from error
        draft.write(card.page, html)
        draft.write(f"pictures/{card.id}.abc", row["abc"])
        tags = file_tags(row)
        draft.write(f"pictures/{card.id}.mid", tagged(row["midi"], "midi", tags))
        draft.write(f"pictures/{card.id}.musicxml", tagged(music_xml, "musicxml", tags))
        if sound:
            draft.write(f"pictures/{card.id}.opus", tagged(sound, "opus", tags))
    return unseen


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
