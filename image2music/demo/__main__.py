"""`python -m image2music.demo --output DIR`: make the demo's data."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from image2music.demo.captions import caption_row, licence_of
from image2music.demo.pieces import SHELVES, DemoPiece, chorales, dances, notated
from image2music.errors import ConfigError, Image2MusicError, OutputError
from image2music.music.midi import write_midi

# Package, file inside of it, name here.
_PHOTOGRAPHS = (
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "officer"),
    ("skimage", "data/astronaut.png", "astronaut"),
    ("skimage", "data/camera.png", "cameraman"),
    ("skimage", "data/chelsea.png", "cat"),
    ("skimage", "data/clock_motion.png", "clock"),
    ("skimage", "data/coffee.png", "coffee"),
    ("skimage", "data/coins.png", "coins"),
    ("skimage", "data/grass.png", "grass"),
    ("skimage", "data/hubble_deep_field.jpg", "galaxies"),
    ("skimage", "data/moon.png", "moon"),
    ("skimage", "data/motorcycle_left.png", "motorcycle"),
    ("skimage", "data/rocket.jpg", "rocket"),
    ("sklearn", "datasets/images/china.jpg", "pagoda"),
    ("sklearn", "datasets/images/flower.jpg", "flower"),
)


def write_photographs(folder: Path) -> int:
    """Write every photograph to `folder`, JPEG files unchanged and PNG files at quality 92; return how many.

    Raises:
        ConfigError: matplotlib, scikit-image or scikit-learn is not installed.
    """
    from PIL import Image

    folder.mkdir(parents=True)
    for package, inside, name in _PHOTOGRAPHS:
        source = package_folder(package) / inside
        target = folder / f"{name}.jpg"
        if source.suffix == ".jpg":
            target.write_bytes(source.read_bytes())
            continue
        with Image.open(source) as image:
            image.convert("RGB").save(target, "JPEG", quality=92)
    return len(_PHOTOGRAPHS)


def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it.

    Raises:
        ConfigError: it is not installed (`package_not_installed`).
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(f"install {package}: the demo's data come from it", reason="package_not_installed")
    return Path(spec.origin).parent


MARKER = ".demo.json"
_PACKAGES = ("music21", "matplotlib", "scikit-image", "scikit-learn", "pillow")
_CHORALES = 40

_README = """Data for trying image2music, made by `python -m image2music.demo` from installed packages.

midi/           real music from the corpus of music21: chorales by J. S. Bach; excerpts, whole phrases, of quartets by
                Haydn, Mozart, Beethoven and Robert Schumann, of songs, piano and chamber music (Schubert, Weber, Clara
                and Robert Schumann, Verdi, Foster, Joplin, Beach, Lili'uokalani), of Corelli, Handel and C. P. E. Bach,
                of madrigals and motets; and tunes of O'Neill (1850 melodies), Ryan (Mammoth Collection, 1883), Aird
                (Airs, 1778-1801), American fifers and Northumbrian minstrels (typed in by Jack Campin). The notes are
                those of the sources. So is the tempo, where they have a mark or a heading; else it follows by rule
                from how fast notes move in such pieces. So are the instruments, where parts are named; tunes and
                four-part chorales get them by rule, from kind, mode, range and leaps.
                All the music is in the public domain. Of its encodings, those of Clara Schumann's polonaises (by
                Cypressdome), of Beach and the Trecento (by Michael Scott Cuthbert) are CC BY-SA, Corelli's CC BY.
captions.json   GENERATED. Written by rule from key, meter, tempo, instruments, loudness, pace and kind, in the format
                of MidiCaps and in the manner of its captions. Not from MidiCaps; genre, mood and their probabilities
                are rules too. `licence` is what the file of a piece says of itself, else what license.txt of the
                corpus says of all its pieces, `source` where in the corpus it stands.
pictures/       photographs that come inside scikit-image, scikit-learn (china.jpg, here pagoda, and flower.jpg, both
                CC BY 2.0 of Flickr's danielbuechele and vultilion) and matplotlib (a portrait of Grace Hopper by the
                United States Navy, here officer; public domain).
"""


@dataclass(frozen=True)
class Demo:
    """Counts of what lies in the folder; `made` is False where it was up to date."""

    pieces: int
    pictures: int
    made: bool


@dataclass(frozen=True)
class _Marker:
    key: str
    pieces: int
    pictures: int


def make_demo(output: Path) -> Demo:
    """Write `midi/`, `captions.json`, `pictures/` and a README below `output`.

    Do nothing where the same data are there already, which a marker with the versions of the packages and the hash of
    this code tells. The data are made beside `output` and moved there when complete.

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
    shelves = (notated(corpus, shelf) for shelf in SHELVES)
    pieces = [*chorales(corpus, _CHORALES), *chain.from_iterable(shelves), *dances(corpus)]
    for piece in pieces:
        _write_piece(folder / "midi", piece)
    rows = (caption_row(piece, licence_of(corpus, piece.file)) for piece in pieces)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "captions.json").write_text("".join(lines), encoding="utf-8")
    pictures = write_photographs(folder / "pictures")
    (folder / "README.txt").write_text(_README, encoding="utf-8")
    marker = _Marker(key, len(pieces), pictures)
    (folder / MARKER).write_text(json.dumps(asdict(marker)), encoding="utf-8")
    return Demo(len(pieces), pictures, made=True)


def _write_piece(folder: Path, piece: DemoPiece) -> None:
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
    """Return a hash over the versions of the packages that the data come from and over the code that makes them."""
    digest = hashlib.sha256("".join(f"{name} {version(name)}\n" for name in _PACKAGES).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Make the data; return 0, or 1 with a line on standard error when they cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m image2music.demo", description="Make the demo's data.")
    parser.add_argument("--output", type=Path, required=True, help="folder to write; left alone when up to date")
    output: Path = parser.parse_args(arguments).output
    begun = time.monotonic()
    try:
        demo = make_demo(output)
    except Image2MusicError as error:
        print(f"image2music.demo: {error}", file=sys.stderr)
        return 1
    done = f"made in {time.monotonic() - begun:.0f} s" if demo.made else "up to date"
    print(f"{output}: {demo.pieces} pieces and {demo.pictures} pictures, {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
