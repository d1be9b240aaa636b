"""Chosen rows as files: notation, MIDI, scores to print, sound, stems, heat maps, and a table of all of them.

What a file is made of stands in the table: files that are up to date are left alone.
"""

from __future__ import annotations

import io
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import PngImagePlugin

from image2music import __version__
from image2music.abc.musicxml import abc_to_music_xml
from image2music.errors import ConfigError, Image2MusicError, PictureError
from image2music.failures import counted, one_line
from image2music.music.engraving import TextFont, engrave, load_font, pages_as_pdf, unwritten_scripts, words_on
from image2music.music.midi import read_midi
from image2music.music.render import RATE, SoundFormat, SoundRenderer, encode, loop_tags
from image2music.music.score import Score, length_in_bars, seconds_at
from image2music.music.tags import tagged
from image2music.report.page import heat_map, overlay
from image2music.rights import RIGHTS_COLUMNS, file_tags, model_name
from image2music.rows import ids_by_name
from image2music.storage.datasets import StoredRow, numbered_rows, shard_batches
from image2music.storage.files import FILE_COLUMNS, FileTable, Folder, open_place
from image2music.storage.locks import file_lock
from image2music.storage.names import NAME_COLUMNS, file_names
from image2music.storage.output import LOCK, open_output, row_mark
from pipelines.jobs.report import announced_renderer, find_picture
from pipelines.options.outputs import EXPORT_FORMATS, SHORTEST_ID, ExportOptions
from schemas.composition import TRAINED_ALGORITHMIC_MEDIA

Row = dict[str, Any]

EXPORT_VERSION = 1
"""Raise it when a file of an export is another than before, of the same row and options."""

TABLE_COLUMNS = (
    "picture", "image_id", "catalog_id", "album", "file", "format", "bytes", "seconds", "title", "key", "meter",
    "tempo_qpm", "made_by_ai", "digital_source_type", "composer", "composer_licence", "longest_copied_run", "copyright",
    "made_from",
)  # fmt: skip
"""Columns of the table: a line a file. Seconds are those that are heard: of a loop once round. Tempo to one digit.
`made_from` is 16 hex digits of the row and the file's name, a hyphen, and as many of how the format is made."""
assert {*FILE_COLUMNS} <= {*TABLE_COLUMNS}

_COLUMNS = tuple(
    dict.fromkeys((*NAME_COLUMNS, *RIGHTS_COLUMNS, "image_uris", "abc", "meter", "midi", "plan", "attention"))
)
ID_COLUMNS = ("image_id", "catalog_id")
"""What `chosen_rows` reads of a row."""
_ROWS_AT_ONCE = 32
_LETTERS_SAID = 12
_STEPS = 2**15
"""Steps of a WAV file of 16 bits above silence."""
_SOUNDS: tuple[SoundFormat, ...] = ("wav", "mp3", "opus")
_PLAYED = {*_SOUNDS, "stems"}


@dataclass(frozen=True)
class Exported:
    """How many of the files that were asked for were written and lay there already, and how many could not be made."""

    written: int
    unchanged: int
    failed: int


def export(options: ExportOptions) -> Exported:
    """Write the files that are new or changed, and the table of all; what cannot be made is a line.

    Files of rows or formats that were not asked for stay, and stay in the table while they are of the row as it is now.

    Raises:
        ConfigError: there are no rows (`no_rows`), none has an id that was named (`unknown_id`), or the sound
            font cannot be used (`bad_soundfont`), or a font for words (`bad_font`).
        OutputError: the output cannot be written, or another export is being written there (`another_writer`).
    """
    # Listed once: where the run still goes on, later shards would bring rows that have no name.
    files, shards = Folder(options.output), open_output(options.input).compositions.shards()
    names = file_names(options.name, exported_rows(shards, NAME_COLUMNS))
    chosen = chosen_rows(exported_rows(shards, ID_COLUMNS), options.input, options.ids)
    renderer = announced_renderer(options.soundfont) if _PLAYED & {*options.formats} else None
    font = load_font(options.font) if options.font is not None else None
    files.prepare()
    with file_lock(files.uri, (open_place(files.uri) / LOCK).uri), FileTable(files, TABLE_COLUMNS) as table:
        run = _Export(files, table, names, chosen, renderer, font, options.loop, _recipes(options, renderer, font))
        run.make(run.look(shards))
        table.save(done=True)
        _tell_of_no_row(options.output, table.dropped())
    return Exported(run.written, run.unchanged, run.failed)


def _recipes(options: ExportOptions, renderer: SoundRenderer | None, font: TextFont | None) -> dict[str, str]:
    """Return what files of each format that is asked for hang on, but for their row."""
    player = (options.loop, renderer.mark) if renderer is not None else ()
    by_format = dict.fromkeys(_PLAYED, player) | {"pdf": (font.digest if font is not None else "",)}
    return {
        format: _mark(EXPORT_VERSION, __version__, format, *by_format.get(format, ())) for format in options.formats
    }


def _mark(*values: object) -> str:
    return row_mark(values).hex()[:16]


@dataclass
class _Export:
    """One run: which files are whole, and the making of the others. `recipes` are those of the formats asked for."""

    folder: Folder
    table: FileTable
    names: Mapping[str, str]
    chosen: Collection[str]
    renderer: SoundRenderer | None
    font: TextFont | None
    loop: bool
    recipes: Mapping[str, str]
    told: set[str] = field(default_factory=set)
    written: int = 0
    unchanged: int = 0
    failed: int = 0

    def look(self, shards: Sequence[str]) -> dict[str, set[int]]:
        """Set in the table what is whole; return the numbers of the rows that lack files, by their shards."""
        waiting = defaultdict[str, set[int]](set)
        for row in numbered_rows(shards, _COLUMNS.__contains__, _ROWS_AT_ONCE):
            whole, asked = self._whole(row), self._asked(row)
            self.unchanged += sum(len(lines) for format, lines in whole.items() if format in asked)
            self._put(row, whole)
            if not whole.keys() >= asked.keys():
                waiting[row.shard].add(row.number)
        return waiting

    def make(self, waiting: Mapping[str, set[int]]) -> None:
        """Make the files that rows lack."""
        if waiting:
            self.table.save()
        for row in numbered_rows(list(waiting), _COLUMNS.__contains__, _ROWS_AT_ONCE, waiting):
            whole, tune = self._whole(row), ExportedTune(row.read(), self.renderer, self.loop, self.font)
            for format, recipe in self._asked(row).items():
                if format in whole:
                    continue
                try:
                    made = tune.files(format)
                    if format == "pdf" and tell_of_boxes(words_on(tune.pages), self.font, self.told):
                        recipe = _mark(recipe, "boxes")  # made again when a font may be there
                except Image2MusicError as error:
                    print(f"{tune.row['image_uri']}: {format}: {one_line(error)}", file=sys.stderr)
                    self.failed += 1
                    continue
                whole[format] = []
                for file in made:
                    name = f"{self.names[row.image_id]}{file.ending}"
                    self.folder.write(name, file.data)
                    whole[format].append(_line(tune, name, format, file, f"{self._content(row)}-{recipe}"))
                self.written += len(made)
            self._put(row, whole)

    def _asked(self, row: StoredRow) -> Mapping[str, str]:
        return self.recipes if row.image_id in self.chosen else {}

    def _content(self, row: StoredRow) -> str:
        return _mark(row.digest, self.names[row.image_id])

    def _whole(self, row: StoredRow) -> dict[str, list[Mapping[str, Any]]]:
        """Return the lines of the files that are what they would be now, by format; of others, that are of this row."""
        content, asked = self._content(row), self._asked(row)
        found: dict[str, list[Mapping[str, Any]]] = {}
        for format, lines in self.table.entries(row.image_id).items():
            of, _, how = lines[0]["made_from"].partition("-")
            if of == content and how == asked.get(format, how) and self.table.is_whole(lines):
                found[format] = [*lines]
        return found

    def _put(self, row: StoredRow, whole: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Set a row's lines, those of the formats that are asked for first."""
        formats = dict.fromkeys((*self.recipes, *whole))
        self.table.put(row.image_id, chain.from_iterable(whole.get(format, ()) for format in formats))


def _tell_of_no_row(folder: str, left: Sequence[str]) -> None:
    """Say in one line which files of an earlier export are of no row any more: they stay."""
    if left:
        stay = f"of no row of this output any more, such as {left[0]}; they stay until you remove them"
        print(f"{counted(len(left), f'file in {folder} is', f'files in {folder} are')} {stay}")


def tell_of_boxes(words: str, font: TextFont | None, told: set[str]) -> bool:
    """Return whether no font here has some of the letters; say which, in one line a script that is not in `told`."""
    missing = unwritten_scripts(words, font)
    for script, letters, package in missing:
        if script not in told:
            told.add(script)
            what = f"no font here has the {script} {letters[:_LETTERS_SAID]}: boxes stand in their place"
            print(f"{what}; install one, such as the package {package}, or name a file by --font", file=sys.stderr)
    return bool(missing)


def chosen_rows(rows: Iterable[Mapping[str, Any]], where: str, wanted: Collection[str]) -> frozenset[str]:
    """Return the image_ids of those rows of an output, `where`, that are wanted by `ids_by_name`; all where none is.

    Raises:
        ConfigError: there are no rows (`no_rows`), or none has an id that was named (`unknown_id`).
    """
    rows = iter(rows)
    if (first := next(rows, None)) is None:
        raise ConfigError(f"{where} holds no compositions: name the --output of compose", reason="no_rows")
    rows = chain([first], rows)
    if not wanted:
        return frozenset(row["image_id"] for row in rows)
    found = ids_by_name(wanted, rows, SHORTEST_ID)
    if unknown := [name for name, ids in found.items() if not ids]:
        what = f"no row has the catalog_id {unknown[0]!r}, or an image_id that begins so"
        raise ConfigError(f"--ids: {what} (at least {SHORTEST_ID} hex digits)", reason="unknown_id")
    return frozenset(id for ids in found.values() for id in ids)


def exported_rows(shards: Sequence[str], columns: Collection[str] = _COLUMNS) -> Iterator[Row]:
    """Yield what files are made of, of all rows; columns that rows of earlier releases lack are left out."""
    for _, batch in shard_batches(shards, {*columns}.__contains__, _ROWS_AT_ONCE):
        yield from batch.to_pylist()


class ExportedFile(NamedTuple):
    """A file: what stands behind the tune's name, its bytes, and how long it is heard."""

    ending: str
    data: bytes
    seconds: float


@dataclass(frozen=True)
class ExportedTune:
    """A row, what plays it (None where no sound is wanted), whether its sound is to be a loop, and a font for words.

    What several formats need is made once.
    """

    row: Row
    renderer: SoundRenderer | None
    loop: bool
    font: TextFont | None = None

    @cached_property
    def tags(self) -> dict[str, str]:
        """What every file says of itself."""
        album = PurePosixPath((self.row["album"] or "").replace("\\", "/")).name
        return file_tags(self.row) | ({"album": album} if album else {})

    @cached_property
    def score(self) -> Score:
        """The notes of the row's MIDI."""
        return read_midi(self.row["midi"])

    @property
    def is_loop(self) -> bool:
        """Whether its end leads back into its beginning: it was asked for now, or when the tune was composed."""
        return self.loop or bool((self.row.get("plan") or {}).get("loop"))

    @cached_property
    def exact_seconds(self) -> float | None:
        """How long the sound is to the sample: as the plan says, a loop else to the end of its last bar; else None."""
        length: float | None = (self.row.get("plan") or {}).get("length_s")
        if length is None and self.is_loop:
            per_quarter = self.score.ticks_per_quarter
            return seconds_at(length_in_bars(self.score) / per_quarter, self.score.tempos, per_quarter)
        return length

    @cached_property
    def seconds(self) -> float:
        """How long the notes last."""
        per_quarter = self.score.ticks_per_quarter
        end = max(int((track.onsets + track.durations).max()) for track in self.score.tracks)
        return seconds_at(end / per_quarter, self.score.tempos, per_quarter)

    @cached_property
    def sound(self) -> Any:
        """The sound, float32[n, 2]."""
        assert self.renderer is not None
        if self.exact_seconds is None:
            return self.renderer.render(self.row["midi"])
        return self.renderer.render_exactly(self.row["midi"], self.exact_seconds, self.is_loop)

    @cached_property
    def music_xml(self) -> bytes:
        """The score as MusicXML, with its tags."""
        return tagged(abc_to_music_xml(self.row["abc"]), "musicxml", self.tags)

    @cached_property
    def pages(self) -> tuple[str, ...]:
        """The engraved score, SVG, A4."""
        return engrave(self.music_xml).pages

    def files(self, format: str) -> list[ExportedFile]:
        """Return the tune in one of `EXPORT_FORMATS`: one file, of some several.

        Raises:
            Image2MusicError: it cannot be made.
        """
        return list(_MAKERS[format](self))

    def abc(self) -> Iterator[ExportedFile]:
        """The row's ABC, with its tags in the header."""
        yield ExportedFile(".abc", tagged(self.row["abc"].encode("utf-8"), "abc", self.tags), self.seconds)

    def midi(self) -> Iterator[ExportedFile]:
        """The row's MIDI, with its tags at the beginning."""
        yield ExportedFile(".mid", tagged(self.row["midi"], "midi", self.tags), self.seconds)

    def musicxml(self) -> Iterator[ExportedFile]:
        """The score for notation programs."""
        yield ExportedFile(".musicxml", self.music_xml, self.seconds)

    def pdf(self) -> Iterator[ExportedFile]:
        """The score to print, A4."""
        tags = self.tags
        data = pages_as_pdf(self.pages, tags["title"], tags["artist"], tags["comment"], self.font)
        yield ExportedFile(".pdf", data, self.seconds)

    def svg(self) -> Iterator[ExportedFile]:
        """The score as drawings, one a page."""
        for number, page in enumerate(self.pages, start=1):
            yield ExportedFile(f".page-{number}.svg", tagged(page.encode("utf-8"), "svg", self.tags), self.seconds)

    def heard(self, kind: SoundFormat) -> Iterator[ExportedFile]:
        """The sound in a format."""
        data = encode(self.sound, kind, loop=self.is_loop)
        tags = self.tags | (loop_tags(self.sound) if self.is_loop and kind != "wav" else {})
        yield ExportedFile(f".{kind}", tagged(data, kind, tags), len(self.sound) / RATE)

    def stems(self) -> Iterator[ExportedFile]:
        """One WAV file a voice, and the mix, which is their sum."""
        assert self.renderer is not None
        sounds, _ = self.renderer.stems(self.row["midi"], self.exact_seconds, self.is_loop)
        # Steps of 16 bits are taken before the sum: files that are added up give the file of the mix, to the bit.
        parts = [np.asarray(np.round(sound * _STEPS) / _STEPS, dtype=np.float32) for sound in sounds]
        mix = np.asarray(np.sum(parts, axis=0), dtype=np.float32)
        labels = [f"{nth}-{_label(track.name)}" for nth, track in enumerate(self.score.tracks, start=1)]
        for label, sound in zip([*labels, "mix"], [*parts, mix], strict=True):
            tags = self.tags | {"title": f"{self.tags['title']} ({label})"}
            data = tagged(encode(sound, "wav", loop=self.is_loop), "wav", tags)
            yield ExportedFile(f".stem-{label}.wav", data, len(sound) / RATE)

    def heatmap(self) -> Iterator[ExportedFile]:
        """The whole tune's relative attention map over the picture, as PNG."""
        whole = next((attention for attention in self.row["attention"] if attention["kind"] == "all"), None)
        if whole is None:
            raise PictureError("the row has no attention map of the whole tune", reason="no_attention")
        picture = find_picture(self.row)
        if picture is None:
            raise PictureError("the picture is gone, or not the one that was looked at", reason="picture_missing")
        stream, info = io.BytesIO(), PngImagePlugin.PngInfo()
        for name, keyword in _PNG_KEYWORDS.items():
            info.add_itxt(keyword, self.tags.get(name, ""))
        overlay(picture, heat_map(whole)).save(stream, format="PNG", pnginfo=info)
        yield ExportedFile(".heatmap.png", stream.getvalue(), self.seconds)


_PNG_KEYWORDS = {
    "title": "Title", "artist": "Author", "comment": "Comment", "copyright": "Copyright", "software": "Software",
}  # fmt: skip

_MAKERS: Mapping[str, Callable[[ExportedTune], Iterator[ExportedFile]]] = {
    "abc": ExportedTune.abc,
    "midi": ExportedTune.midi,
    "musicxml": ExportedTune.musicxml,
    "pdf": ExportedTune.pdf,
    "svg": ExportedTune.svg,
    "wav": lambda tune: tune.heard("wav"),
    "mp3": lambda tune: tune.heard("mp3"),
    "opus": lambda tune: tune.heard("opus"),
    "stems": ExportedTune.stems,
    "heatmap": ExportedTune.heatmap,
}
assert tuple(_MAKERS) == EXPORT_FORMATS


def _label(name: str) -> str:
    """Return the name of a voice as part of a file's: small letters, digits and hyphens."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in name.lower())
    return "-".join(plain.split())[:40] or "voice"


def _line(tune: ExportedTune, name: str, format: str, file: ExportedFile, made_from: str) -> dict[str, Any]:
    row = tune.row
    rights = row.get("rights") or {}
    copied = rights.get("copied_run")
    return {
        "picture": _plain(row["image_uri"]),
        "image_id": row["image_id"],
        "catalog_id": _plain(row.get("catalog_id")),
        "album": _plain(row["album"]),
        "file": name,
        "format": format,
        "bytes": len(file.data),
        "seconds": f"{file.seconds:.3f}",
        "title": _plain(row["title"]),
        "key": row["key"],
        "meter": row["meter"],
        "tempo_qpm": f"{round(row['tempo_qpm'], 1):g}",
        "made_by_ai": "true",
        "digital_source_type": TRAINED_ALGORITHMIC_MEDIA,
        "composer": model_name(row["composer_id"]),
        "composer_licence": rights.get("composer_licence"),
        "longest_copied_run": copied["notes"] if copied else None,
        "copyright": tune.tags["copyright"],
        "made_from": made_from,
    }


def _plain(text: str | None) -> str | None:
    """Return a text of somebody else's as a cell that no spreadsheet takes for a formula: an apostrophe goes before."""
    return f"'{text}" if text and text[0] in "=+-@\t" else text
