"""Files of notation: which ones a command takes, how ABC is decoded, and names that never collide."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from image2music.errors import AbcError, ConfigError, OutputError
from image2music.whole_files import write_whole

MAX_ABC_BYTES = 4_000_000


def list_files(paths: Sequence[str]) -> list[str]:
    """The files that `paths` name: files as given, and every regular file in folders, at any depth, sorted.

    Links are followed; a folder that is reached twice is taken once. A path that does not exist stays in the list,
    so that it fails where it is opened like any other bad file.

    Raises:
        ConfigError: `no_files` when folders hold no file at all.
    """
    files: list[str] = []
    for path in paths:
        files.extend(_walk(path) if os.path.isdir(path) else [path])
    if not files:
        raise ConfigError(f"no files in {', '.join(paths)}: name files, or folders that hold some", reason="no_files")
    return list(dict.fromkeys(files))


def _walk(folder: str) -> Iterator[str]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            if os.path.isfile(path):
                yield path


def read_abc(path: str) -> str:
    """The text of an ABC file: UTF-8 (a BOM is dropped), UTF-16 with its BOM, else Latin-1.

    Raises:
        AbcError: `file_too_large` above 4 MB, `not_abc` for a MIDI file.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_ABC_BYTES + 1)
    if len(data) > MAX_ABC_BYTES:
        raise AbcError("larger than 4 MB: split it into several files", reason="file_too_large")
    if data.startswith((b"MThd", b"RIFF")):
        raise AbcError("this is a MIDI file: turn it into ABC with `image2music abc`", reason="not_abc")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


class OutputFolder:
    """Writes files of one ending into one folder. The first of a name keeps it, later ones get `_2`, `_3`, ...

    Names that an earlier run left are written over.
    """

    def __init__(self, folder: str, ending: str) -> None:
        self.folder = Path(folder)
        self.ending = ending
        self.taken: set[str] = set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {folder}: {error.strerror}", reason="output_folder") from error

    def write(self, source: str, data: bytes) -> Path:
        """Writes `data` under the stem of `source` and returns the place."""
        place = self.folder / f"{self._free_stem(Path(source).stem)}{self.ending}"
        write_whole(place, data)
        return place

    def _free_stem(self, stem: str) -> str:
        # File systems that ignore case must not lose a file either.
        name, number = stem, 1
        while name.lower() in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name.lower())
        return name
