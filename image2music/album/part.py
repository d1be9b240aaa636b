"""What one tune takes over from its album. Everything else stays between the composer and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from image2music.notation.spelling import key_name

AlbumMode = Literal["major", "minor"]

MIDDLE_C = 60


class Sung(NamedTuple):
    """A note of a motif: `pitch` in semitones above the tonic at or over middle C, `eighths` its length."""

    pitch: int
    eighths: int


Line = tuple[Sung, ...]


@dataclass(frozen=True)
class AlbumPart:
    """Key, meter, tempo and opening of one tune of an album.

    tonic: pitch class 0-11. tempo_qpm: quarter notes a minute. programs: General MIDI (from 0) of melody and
    accompaniment. theme: short id that near-duplicate pictures share. motif: one bar, the same throughout the album.
    opening: the notes that the melody begins with, bar by bar; the last bar may go on freely.
    """

    tonic: int
    mode: AlbumMode
    meter: str
    tempo_qpm: int
    programs: tuple[int, int]
    theme: str
    motif: Line
    opening: tuple[Line, ...]

    @property
    def key(self) -> str:
        """As ABC writes it: `D`, `Bm`."""
        return key_text(self.tonic, self.mode)


def key_text(tonic: int, mode: AlbumMode) -> str:
    """`D` or `Bm`, spelled with at most six signs."""
    major = tonic if mode == "major" else (tonic + 3) % 12
    return key_name((major * 7 + 5) % 12 - 5, minor=mode == "minor")


def part_row(part: AlbumPart) -> dict[str, Any]:
    """The column `album_part` of schemas/composition.py."""
    return {
        "key": part.key,
        "tonic": part.tonic,
        "mode": part.mode,
        "meter": part.meter,
        "tempo_qpm": part.tempo_qpm,
        "programs": list(part.programs),
        "theme": part.theme,
        "motif": line_text(part.motif),
        "opening": [line_text(line) for line in part.opening],
    }


def part_of_row(row: dict[str, Any]) -> AlbumPart:
    """The inverse of `part_row`."""
    first, second = row["programs"]
    return AlbumPart(
        tonic=row["tonic"],
        mode=row["mode"],
        meter=row["meter"],
        tempo_qpm=row["tempo_qpm"],
        programs=(first, second),
        theme=row["theme"],
        motif=read_line(row["motif"]),
        opening=tuple(read_line(text) for text in row["opening"]),
    )


def line_text(line: Line) -> str:
    """`0:2 7:1` is the tonic for two eighths, then the fifth above it for one."""
    return " ".join(f"{pitch}:{eighths}" for pitch, eighths in line)


def read_line(text: str) -> Line:
    """The inverse of `line_text`."""
    pairs = (pair.split(":") for pair in text.split())
    return tuple(Sung(int(pitch), int(eighths)) for pitch, eighths in pairs)
