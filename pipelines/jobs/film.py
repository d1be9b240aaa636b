"""Albums, or chosen rows, as films."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL.Image import Image

from image2music.errors import ConfigError, Image2MusicError
from image2music.failures import counted, one_line
from image2music.film.encode import load_encoder
from image2music.film.reel import FILM_COLUMNS, Reel, ReelPart, album_reel, tune_reel
from image2music.film.shooting import FILM_VERSION, FilmMade, FilmStyle, as_clock, shoot, words_shown
from image2music.music.engraving import TextFont, UnwrittenScript, load_font, unwritten_scripts
from image2music.storage.datasets import read_batches
from image2music.storage.files import make_folder
from image2music.storage.locks import file_lock
from image2music.storage.names import NAME_COLUMNS, file_names
from image2music.storage.output import OutputStore, open_output
from pipelines.jobs.export import ID_COLUMNS, chosen_rows, tell_of_boxes
from pipelines.jobs.report import announced_renderer, find_picture
from pipelines.options.outputs import FilmOptions
from schemas.album import ALBUM_SCHEMA

_WORK, _LOCK, _ROWS_AT_ONCE = ".film", ".lock", 32
"""A folder in the folder of films: shots of films that are not whole, and what the whole ones were made of."""
_LONG_STANDING = 45.0
"""Seconds of a picture from which on a film is long to watch."""


@dataclass(frozen=True)
class FilmsMade:
    """How many films were made, were there already, failed; how many pictures those made lack, and their seconds."""

    made: int = 0
    there: int = 0
    failed: int = 0
    gone: int = 0
    seconds: float = 0.0


def make_films(options: FilmOptions) -> FilmsMade:
    """Make the films that are not there yet, each a line on stdout; what cannot be shown is a line on stderr.

    Raises:
        ConfigError: PyAV is missing (`film_missing`), there are no rows (`no_rows`), none has an id that was
            named (`unknown_id`), or a font cannot be used (`bad_soundfont`, `bad_font`).
        OutputError: the folder cannot be written, or another process writes it.
    """
    load_encoder()
    store, folder = open_output(options.input), Path(options.output)
    font = load_font(options.font) if options.font is not None else None
    style = FilmStyle(options.pixels, options.titles, options.score, font)
    renderer = announced_renderer(options.soundfont)
    make_folder(folder)
    done, hinted = FilmsMade(), False
    told: set[str] = set()
    find = partial(_find, font=font, told=told)
    with file_lock(folder, folder / _WORK / _LOCK):
        for place, read_reel in _reels(store, options):
            try:
                reel = read_reel()
                target, note = folder / f"{reel.name}.mp4", folder / _WORK / f"{reel.name}.json"
                words = words_shown(reel, style)
                tell_of_boxes(words, font, told)
                content = _content(reel, style, renderer.name, unwritten_scripts(words, font))
                if target.exists() and note.exists() and note.read_text(encoding="utf-8") == content:
                    done = replace(done, there=done.there + 1)
                    continue
                note.parent.mkdir(parents=True, exist_ok=True)
                hinted = hinted or _hint(reel, target)
                film = shoot(reel, style, find, renderer, folder / _WORK / reel.name, target, _teller(target))
            except ConfigError:
                raise
            except Image2MusicError as error:
                print(f"{place}: {one_line(error)}", file=sys.stderr)
                done = replace(done, failed=done.failed + 1)
                continue
            # A film that lacks a picture is made again: the picture may have come back.
            note.unlink(missing_ok=True) if film.gone else note.write_text(content, encoding="utf-8")
            print(f"{target}: {_said(film, style)}", flush=True)
            done = replace(
                done, made=done.made + 1, gone=done.gone + len(film.gone), seconds=done.seconds + film.seconds
            )
    return done


def _hint(reel: Reel, target: Path) -> bool:
    """Say how a film gets shorter whose pictures stand for long, unless its music was asked to last so long."""
    standing = reel.bars.seconds[-1] / len(reel.parts)
    if reel.length_s is not None or standing <= _LONG_STANDING:
        return False
    shorter = "tunes of `compose --length 20s` make it shorter"
    print(f"{target}: a picture stands for {standing:.0f} s on average: {shorter}", flush=True)
    return True


def _teller(target: Path) -> Callable[[str], None]:
    return lambda line: print(f"{target}: {line}", flush=True)


def _said(film: FilmMade, style: FilmStyle) -> str:
    kept = f", {film.kept} of them from an earlier run" if film.kept else ""
    return f"{counted(film.shots, 'picture')}{kept}, {as_clock(film.seconds)}, {style.size[0]}x{style.size[1]}"


def _content(reel: Reel, style: FilmStyle, player: str, boxes: tuple[UnwrittenScript, ...]) -> str:
    """Return what a film is made of, so that it is made again when that changes: when a font has come, too."""
    seen = repr((FILM_VERSION, replace(reel, midi=b""), hashlib.sha256(reel.midi).hexdigest(), style, player, boxes))
    return json.dumps({"content": hashlib.sha256(seen.encode()).hexdigest()})


def _find(part: ReelPart, longest_side: int, *, font: TextFont | None, told: set[str]) -> Image | None:
    row = {"image_id": part.image_id, "image_uri": part.places[0], "image_uris": list(part.places)}
    image = find_picture(row, longest_side, told=False)
    if image is None:
        print(f"{part.places[0]}: gone, or not the picture that was composed for: a card stands there", file=sys.stderr)
        tell_of_boxes(part.title, font, told)
    return image


def _reels(store: OutputStore, options: FilmOptions) -> Iterator[tuple[str, Callable[[], Reel]]]:
    """Yield what each film is about, and what reads it."""
    names = file_names(options.name, store.compositions.read(NAME_COLUMNS))
    wanted = chosen_rows(store.compositions.read(ID_COLUMNS), options.input, options.ids)
    albums = [] if options.ids else sorted(store.albums.read(ALBUM_SCHEMA.names), key=lambda row: str(row["album"]))
    for album in albums:
        ids = frozenset(album["image_ids"])
        rows = {row["image_id"]: row for row in _rows(store, ids)}
        yield album["album"], partial(album_reel, album, rows)
    if not albums:
        for row in _rows(store, wanted):
            yield row["image_uri"], partial(tune_reel, row, names[row["image_id"]])


def _rows(store: OutputStore, ids: frozenset[str]) -> Iterator[Mapping[str, Any]]:
    for batch in read_batches(store.compositions.shards(), list(FILM_COLUMNS), _ROWS_AT_ONCE):
        yield from (row for row in batch if row["image_id"] in ids)
