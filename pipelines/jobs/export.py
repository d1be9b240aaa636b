"""Chosen rows as files: ABC, MIDI, MusicXML, sound, heat map."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any

from image2music.abc.musicxml import abc_to_music_xml
from image2music.errors import ConfigError, Image2MusicError, PictureError
from image2music.failures import one_line
from image2music.music.render import SoundFormat, SoundRenderer, encode
from image2music.report.page import heat_map, overlay
from image2music.storage.datasets import Dataset, read_batches
from image2music.storage.files import Folder
from image2music.storage.output import open_output
from pipelines.jobs.options import ExportOptions
from pipelines.jobs.report import announced_renderer, find_picture

Row = dict[str, Any]


def export(options: ExportOptions) -> tuple[int, int]:
    """Write the files; return how many were written and how many could not be, each of these a line on stderr.

    Raises:
        ConfigError: there are no rows (`no_rows`), none begins with an id that was named (`unknown_id`), or the sound
            font cannot be used (`bad_soundfont`).
        OutputError: the output cannot be written.
    """
    compositions, files = open_output(options.input).compositions, Folder(options.output)
    chosen = chosen_rows(compositions, options.input, options.ids)
    formats = {name: made for name, made in FORMATS.items() if name in options.formats}
    if sounds := [name for name in SOUNDS if name in options.formats]:
        formats |= _sounds(sounds, announced_renderer(options.soundfont))
    files.prepare()
    written = failed = 0
    for row in _rows(compositions, chosen):
        for name in options.formats:
            ending, make = formats[name]
            try:
                data = make(row)
            except Image2MusicError as error:
                print(f"{row['image_uri']}: {name}: {one_line(error)}", file=sys.stderr)
                failed += 1
                continue
            files.write(f"{row['image_id'][:16]}{ending}", data)
            written += 1
    return written, failed


def chosen_rows(compositions: Dataset, where: str, wanted: Collection[str]) -> frozenset[str]:
    """Return the image_ids that begin with one of those that are wanted; all of them where none is.

    Raises:
        ConfigError: there are no rows (`no_rows`), or none begins with an id that was named (`unknown_id`).
    """
    ids = [row["image_id"] for row in compositions.read(["image_id"])]
    if not ids:
        raise ConfigError(f"{where} holds no compositions: name the --output of compose", reason="no_rows")
    if not wanted:
        return frozenset(ids)
    for start in wanted:
        if not any(id.startswith(start) for id in ids):
            raise ConfigError(f"--ids: no composition's image_id begins with {start}", reason="unknown_id")
    return frozenset(id for id in ids if id.startswith(tuple(wanted)))


def _rows(compositions: Dataset, ids: Collection[str]) -> Iterator[Row]:
    columns = ["image_id", "image_uri", "image_uris", "title", "abc", "midi", "attention"]
    for batch in read_batches(compositions.shards(), columns, 32):
        yield from (row for row in batch if row["image_id"] in ids)


def _abc(row: Row) -> bytes:
    text: str = row["abc"]
    return text.encode("utf-8")


def _midi(row: Row) -> bytes:
    data: bytes = row["midi"]
    return data


def _musicxml(row: Row) -> bytes:
    return abc_to_music_xml(row["abc"])


SOUNDS: tuple[SoundFormat, ...] = ("wav", "mp3", "opus")


def _sounds(names: Sequence[SoundFormat], renderer: SoundRenderer) -> dict[str, tuple[str, Callable[[Row], bytes]]]:
    """Return the makers of sound files; a tune is played once for all of them."""
    render = lru_cache(maxsize=1)(renderer.render)

    def maker(name: SoundFormat) -> Callable[[Row], bytes]:
        return lambda row: encode(render(row["midi"]), name)

    return {name: (f".{name}", maker(name)) for name in names}


def _heat_map(row: Row) -> bytes:
    """Return the whole tune's relative attention map over the picture, as PNG."""
    whole = next((attention for attention in row["attention"] if attention["kind"] == "all"), None)
    if whole is None:
        raise PictureError("the row has no attention map of the whole tune", reason="no_attention")
    picture = find_picture(row)
    if picture is None:
        raise PictureError("the picture is gone, or not the one that was looked at", reason="picture_missing")
    stream = io.BytesIO()
    overlay(picture, heat_map(whole)).save(stream, format="PNG")
    return stream.getvalue()


FORMATS: dict[str, tuple[str, Callable[[Row], bytes]]] = {
    "abc": (".abc", _abc),
    "midi": (".mid", _midi),
    "musicxml": (".musicxml", _musicxml),
    "heatmap": (".heatmap.png", _heat_map),
}
"""File ending and maker of each format that is no sound."""
