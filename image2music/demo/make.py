"""The demo's data, made once and atomically."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from image2music.demo.captions import caption_row
from image2music.demo.chorales import chorales
from image2music.demo.dances import dances
from image2music.demo.photographs import package_folder, write_photographs
from image2music.demo.piece import Piece
from image2music.errors import OutputError
from image2music.notation.midi_writer import write_midi

MARKER = ".demo.json"
_PACKAGES = ("music21", "scikit-image", "scikit-learn", "pillow")
_CHORALES = 56

_README = """Data for trying image2music, made by `python -m image2music.demo` from installed packages.

midi/           real pieces from the corpus of music21: chorales by J. S. Bach, and tunes of O'Neill (1850 melodies),
                Ryan (Mammoth Collection, 1883) and Aird (Airs, 1778-1801). Tempo and instruments were chosen for the
                demo by kind of piece; the notes are those of the sources.
captions.json   GENERATED. Written by rule from key, meter, tempo, instruments and kind, in the format of MidiCaps and
                in the manner of its captions. Not from MidiCaps; genre, mood and their probabilities are rules too.
pictures/       photographs that come inside scikit-image and scikit-learn.
"""


@dataclass(frozen=True)
class Demo:
    """What lies in the folder; `made` is False where it already did."""

    pieces: int
    pictures: int
    made: bool


@dataclass(frozen=True)
class _Marker:
    key: str
    pieces: int
    pictures: int


def make_demo(output: Path) -> Demo:
    """Writes `midi/`, `captions.json`, `pictures/` and a README below `output`.

    Nothing happens where the same data are there already, told by a marker with the versions of the packages and of
    this one. They are made beside `output` and moved there when complete.

    Raises:
        OutputError: `output` holds something else.
        ConfigError: a package that the data come from is not installed.
    """
    key = _content_key()
    there = _read_marker(output)
    if there is not None and there.key == key:
        return Demo(there.pieces, there.pictures, made=False)
    if there is None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"{output} holds something else; name an empty folder", reason="output_not_empty")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
        fresh = Path(scratch) / "data"
        fresh.mkdir()
        demo = _fill(fresh, key)
        _swap(fresh, output, Path(scratch) / "old")
    return demo


def _fill(folder: Path, key: str) -> Demo:
    corpus = package_folder("music21") / "corpus"
    pieces = [*chorales(corpus, _CHORALES), *dances(corpus)]
    for piece in pieces:
        _write_piece(folder / "midi", piece)
    lines = [json.dumps(caption_row(piece), ensure_ascii=False) + "\n" for piece in pieces]
    (folder / "captions.json").write_text("".join(lines), encoding="utf-8")
    pictures = write_photographs(folder / "pictures")
    (folder / "README.txt").write_text(_README, encoding="utf-8")
    marker = _Marker(key, len(pieces), pictures)
    (folder / MARKER).write_text(json.dumps(asdict(marker)), encoding="utf-8")
    return Demo(len(pieces), pictures, made=True)


def _write_piece(folder: Path, piece: Piece) -> None:
    path = folder / f"{piece.name}.mid"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_midi(piece.score))


def _swap(fresh: Path, output: Path, old: Path) -> None:
    if output.exists():
        os.replace(output, old)
    os.replace(fresh, output)
    shutil.rmtree(old, ignore_errors=True)


def _read_marker(output: Path) -> _Marker | None:
    path = output / MARKER
    return _Marker(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _content_key() -> str:
    """Changes with the packages that the data come from and with the code that makes them."""
    digest = hashlib.sha256("".join(f"{name} {version(name)}\n" for name in _PACKAGES).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
