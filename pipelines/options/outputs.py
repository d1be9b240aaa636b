"""What is asked of a finished output: report, export, film, rights, score.

Imports neither Beam nor models, so that a command line is checked quickly.
"""

# ruff: noqa: RUF009 - `option` makes a field, as dataclasses.field does
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image2music.errors import ConfigError
from image2music.storage.names import NAME_FIELDS, check_name_pattern
from image2music.storage.objects import is_store
from pipelines.runtime.options import (
    FONT_HELP,
    SOUNDFONT_HELP,
    at_least,
    check_options,
    local_path,
    option,
    price_of,
    reachable,
    seed,
)

if TYPE_CHECKING:
    from image2music.evaluation.questions import JudgeSettings

EXPORT_FORMATS = ("abc", "midi", "musicxml", "pdf", "svg", "wav", "mp3", "opus", "stems", "heatmap")
SHORTEST_ID = 4
"""Hex digits of an image_id that `--ids` of export, film and rights needs at least."""
_IDS_HELP = "image_ids, their beginnings, or catalog_ids"


@dataclass(frozen=True)
class ReportOptions:
    """What `report` is asked to do."""

    input: str = option(check=reachable, help="the --output of compose")
    output: Path | None = option(
        None, type=Path, help="folder to write; INPUT/report by default; an earlier report is replaced"
    )
    include_references: bool = option(False, help="also show the references' scores: mind their rights")
    against: str | None = option(
        None, check=reachable, metavar="OUT2", help="another output: its tunes are heard beside these, and voted on"
    )
    abcjs: Path | None = option(
        None, type=Path, metavar="FILE", help="not needed any more: scores are drawn when the report is written"
    )
    sounds: int = option(
        16, check=at_least(0), metavar="N", help="render the first N tunes (16); the page's own tones play the others"
    )
    soundfont: Path | None = option(None, type=Path, metavar="FILE.sf2", help=SOUNDFONT_HELP)

    def __post_init__(self) -> None:
        check_options(self)
        if self.output is None and is_store(str(self.input)):
            message = "pages are opened from a disk, and --input lies in a store: give --output FOLDER"
            raise ConfigError(message, reason="bad_arguments")

    @property
    def folder(self) -> Path:
        """Where the pages go."""
        return self.output or Path(self.input, "report")


def _check_name(pattern: str) -> None:
    try:
        check_name_pattern(pattern)
    except ConfigError as error:
        raise ConfigError(f"--name: {error}", reason=error.reason) from error


def _name_option() -> Any:
    fields = " ".join(f"{{{field}}}" for field in NAME_FIELDS)
    return option("{image_id}", metavar="PATTERN", help=f"names of files, by {fields}; / makes folders")


def _formats(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


@dataclass(frozen=True)
class ExportOptions:
    """What `export` is asked to do. `ids` are catalog_ids or beginnings of image_ids; none means every row."""

    input: str = option(check=reachable, help="the --output of compose")
    output: str = option(check=reachable, metavar="DIR", help="folder for the files and their table, files.csv")
    ids: tuple[str, ...] = option((), nargs="+", metavar="ID", help=f"{_IDS_HELP}; else all")
    formats: tuple[str, ...] = option(
        ("abc", "midi"), type=_formats, help=f"of {','.join(EXPORT_FORMATS)}; abc,midi by default"
    )
    name: str = _name_option()
    loop: bool = option(False, help="sound whose end leads back into its beginning, for every tune")
    font: Path | None = option(None, type=Path, metavar="FILE.ttf", help=f"of pdf: {FONT_HELP}")
    soundfont: Path | None = option(None, type=Path, metavar="FILE.sf2", help=SOUNDFONT_HELP)

    def __post_init__(self) -> None:
        check_options(self)
        unknown = [name for name in self.formats if name not in EXPORT_FORMATS]
        if unknown or not self.formats:
            message = f"--formats takes {','.join(EXPORT_FORMATS)}, not {','.join(unknown) or 'nothing'}"
            raise ConfigError(message, reason="bad_formats")
        _check_name(self.name)


FILM_FORMATS = {"1080p": (1920, 1080), "4:3": (1440, 1080), "vertical": (1080, 1920)}
"""Width and height of films in pixels; the first is that of films of which nothing else is said."""
_FORMATS_OF_A_SHAPE = ("4:3", "vertical")
"""Formats whose names say nothing of pixels: films of another size may have their shape."""
_FORMATS_HELP = ", ".join(f"{name} {width}x{height}" for name, (width, height) in FILM_FORMATS.items())
_SMALLEST_SIDE, _LARGEST_SIDE = 64, 4096
_SIZE = re.compile(r"(\d+)x(\d+)")


@dataclass(frozen=True)
class FilmOptions:
    """What `film` is asked to do.

    `ids` are catalog_ids or beginnings of image_ids; none means albums, or every row without any.
    """

    input: str = option(check=reachable, metavar="OUT", help="the --output of compose")
    output: str = option(check=local_path, metavar="DIR", help="folder for the films; what is whole there stays")
    ids: tuple[str, ...] = option(
        (),
        nargs="+",
        metavar="ID",
        help=f"a film for each of these rows, by {_IDS_HELP}; else for each album, or each row without any",
    )
    shape: str | None = option(
        None, flag="--format", choices=tuple(FILM_FORMATS), help=f"{_FORMATS_HELP}; 1080p unless --size says otherwise"
    )
    size: str = option(
        "", metavar="WIDTHxHEIGHT", help="another size in pixels, even numbers; with a --format it has to agree with it"
    )
    name: str = _name_option()
    titles: bool = option(False, help="cards with the titles of the album and its chapters, or of the tune")
    score: bool = option(False, help="a strip of the score below the picture that moves with the music")
    font: Path | None = option(None, type=Path, metavar="FILE.ttf", help=FONT_HELP)
    soundfont: Path | None = option(None, type=Path, metavar="FILE.sf2", help=SOUNDFONT_HELP)

    def __post_init__(self) -> None:
        check_options(self)
        _check_name(self.name)
        if any(side % 2 or not _SMALLEST_SIDE <= side <= _LARGEST_SIDE for side in self.pixels):
            bounds = f"{_SMALLEST_SIDE} to {_LARGEST_SIDE} pixels"
            raise ConfigError(
                f"--size takes WIDTHxHEIGHT, even numbers of {bounds}, not {self.size}", reason="bad_size"
            )
        if self.size and self.shape is not None and not self._agree:
            wide, high = FILM_FORMATS[self.shape]
            raise ConfigError(
                f"--format {self.shape} is {wide}x{high}, --size says {self.size}: leave one of them out",
                reason="bad_size",
            )

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height."""
        if not self.size:
            return FILM_FORMATS[self.shape or next(iter(FILM_FORMATS))]
        found = _SIZE.fullmatch(self.size)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def _agree(self) -> bool:
        """Whether a size is what a format says: the same, or of the same shape where it names a shape."""
        (width, height), (wide, high) = self.pixels, FILM_FORMATS[self.shape or ""]
        return self.pixels == (wide, high) or (self.shape in _FORMATS_OF_A_SHAPE and width * high == height * wide)


@dataclass(frozen=True)
class RightsOptions:
    """What `rights` is asked to do. `ids` are catalog_ids or beginnings of image_ids; none means every row."""

    input: str = option(
        check=reachable, metavar="OUT", help="the --output of compose; a path, or an address in a store"
    )
    ids: tuple[str, ...] = option((), nargs="+", metavar="ID", help=f"{_IDS_HELP}; else all")
    json: bool = option(False, help="one line of JSON a tune")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class ScoreOptions:
    """What `score` is asked to do. `input` may be left out where `imported` is given."""

    input: str | None = option(None, check=reachable, metavar="OUT", help="the --output of compose")
    against: str | None = option(
        None, check=reachable, metavar="OUT", help="another output; exit code 1 if --input is worse"
    )
    imported: Path | None = option(
        None, flag="--import", type=Path, metavar="FILE.csv", help="other systems: picture,tune[,system]"
    )
    embedder: str | None = option(None, help="for picture_music: another one than that of the index")
    judge: str | None = option(None, metavar="S", help="openai:URL#MODEL | transformers:ID_OR_PATH")
    judge_times: int = option(3, check=at_least(1), metavar="N", help="how often each tune is judged")
    price: tuple[float, float] | None = option(
        None, type=price_of, metavar="IN,OUT", help="dollars a million tokens, for the judge's costs"
    )
    songeval: Path | None = option(None, type=Path, metavar="DIR", help="SongEval's toolkit with its weights")
    study: int | None = option(None, type=int, metavar="N", help="only write a blind listening form for N pictures")
    answers: tuple[Path, ...] = option(
        (), nargs="+", type=Path, metavar="FILE.csv", help="answers to that form, or votes from a report"
    )
    bound: tuple[str, ...] = option(
        (), action="append", metavar="NAME=VALUE", help="how much worse --against lets a mean be"
    )
    seed: int = option(0, check=seed, help="of intervals, orders and samples")
    muspy: bool = option(False, help="compute the eight metrics by MusPy too, and compare")
    dry_run: bool = option(False, old_flag="--plan", help="say what would be done and cost, and do nothing")

    def __post_init__(self) -> None:
        if self.input is None and self.imported is None:
            raise ConfigError("score needs --input or --import; see: image2music score --help", reason="bad_arguments")
        if self.against is not None and self.input is None:
            raise ConfigError("--against compares with --input: give both", reason="bad_arguments")
        if self.study is not None and self.study < 1:
            raise ConfigError(f"--study must be 1 or more pictures, not {self.study}", reason="bad_study")
        check_options(self)

    @property
    def judging(self) -> JudgeSettings:
        """How a judge is asked."""
        from image2music.evaluation.questions import JudgeSettings

        return JudgeSettings(self.judge_times, self.seed)

    @property
    def bounds(self) -> dict[str, float]:
        """How much worse each mean may be."""
        from image2music.evaluation.measures import bounds_of

        return bounds_of(list(self.bound))

    @property
    def home(self) -> str:
        """The folder of score.json: the output, or that of the imported file."""
        if self.input is not None:
            return str(self.input)
        assert self.imported is not None
        return str(self.imported.parent)

    @property
    def study_folder(self) -> Path:
        """The folder of the listening form.

        Raises:
            ConfigError: the output lies in a store, and people open a form from a disk (`remote_path`).
        """
        local_path("--input with --study or --answers", self.home)
        return Path(self.home, "study")
