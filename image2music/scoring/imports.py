"""Tunes of other systems: lines of a CSV file that name a picture and an ABC or MIDI file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

from image2music.errors import ConfigError, MidiError
from image2music.notation.midi_to_abc import midi_to_abc

_DEFAULT_SYSTEM = "imported"
_TUNE_COLUMNS = ("tune", "abc", "midi")
_MIDI_BEGINS = (b"MThd", b"RIFF")

ReadBytes = Callable[[str], bytes]


@dataclass(frozen=True)
class Imported:
    """One line: who wrote the tune, for which picture, and the tune as ABC."""

    system: str
    picture: str
    abc: str
    description: str = ""


def read_import(text: str, read: ReadBytes) -> list[Imported]:
    """The lines of a CSV file with the columns `picture` and `tune` (or `abc`, or `midi`); `read` opens a tune's file.

    Further columns are `system` ("imported" where it is left out) and `description`. A cell may hold ABC itself
    instead of the name of a file. Blank tunes are pictures that the system failed on.

    Raises:
        ConfigError: no such columns, or no lines (`bad_import`); a file that is not there or no music
            (`bad_import_file`).
    """
    table = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    columns = [(name or "").strip().lower() for name in table.fieldnames or ()]
    if "picture" not in columns or not any(name in columns for name in _TUNE_COLUMNS):
        message = f"--import wants the columns picture and tune (or abc, or midi), not {', '.join(columns) or 'none'}"
        raise ConfigError(message, reason="bad_import")
    lines = [{(name or "").strip().lower(): value or "" for name, value in row.items() if name} for row in table]
    if not lines:
        raise ConfigError("--import: the file has a header and no lines", reason="bad_import")
    return [_imported(line, number, read) for number, line in enumerate(lines, start=2)]


def _imported(line: dict[str, str], number: int, read: ReadBytes) -> Imported:
    cell = next((cell for name in _TUNE_COLUMNS if (cell := line.get(name, "").strip())), "")
    return Imported(
        system=line.get("system", "").strip() or _DEFAULT_SYSTEM,
        picture=line["picture"].strip(),
        abc=_abc(cell, number, read),
        description=line.get("description", "").strip(),
    )


def _abc(cell: str, number: int, read: ReadBytes) -> str:
    if not cell or "\n" in cell or cell.startswith("X:"):
        return cell
    try:
        data = read(cell)
        return midi_to_abc(data).abc if data.startswith(_MIDI_BEGINS) else data.decode("utf-8", "replace")
    except (OSError, MidiError) as error:
        message = f"--import, line {number}: {cell}: {error}"
        raise ConfigError(message, reason="bad_import_file") from error
