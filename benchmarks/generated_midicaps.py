"""A data set as large as MidiCaps: real MIDI repeated in other keys and tempi, with generated captions.

Every file has other bytes than all others. The music is as real, and as long, as the files it is made from; the
captions are made by rule (`benchmarks.generated_captions`). Row n is the same in a data set of any size.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generated_captions import Music, midicaps_row
from benchmarks.midi_variants import Original, original
from benchmarks.samples import SEED, midi_files
from image2music.errors import MidiError
from image2music.music.midi import read_midi
from image2music.music.score import Score

_MOST_SOURCES = 2000
_LARGEST_SOURCE = 1 << 17
"""Bytes. A single huge file, repeated some hundred times, would decide every figure."""

_RELEASE = 1
"""Raise it with every change that makes other rows or files."""

_TEMPO_STEPS = 4001
"""Tempi from 0.7 to 1.4 times as slow; more than there are repetitions of one file, so that all of them differ."""


@dataclass(frozen=True)
class DataSet:
    """A captions file and its folder of MIDI files; `sources` counts the real files that they were made from."""

    captions: Path
    midi: Path
    rows: int
    sources: int

    def with_lines(self, name: str, lines: Sequence[str]) -> DataSet:
        """The same folder under another captions file."""
        captions = self.captions.with_name(name)
        captions.write_text("".join(lines), encoding="utf-8")
        return DataSet(captions, self.midi, len(lines), self.sources)

    def lines(self) -> list[str]:
        """The lines of the captions file."""
        with self.captions.open(encoding="utf-8") as file:
            return list(file)


@dataclass(frozen=True)
class _Source:
    file: Original
    music: Music


def generate(data: Path, rows: int, folder: Path) -> DataSet:
    """Write `rows` MIDI files and captions.json below `folder`; what an earlier run has made is used as it is."""
    sources = _sources(data)
    digest = hashlib.sha256(f"{_RELEASE} {SEED}".encode())
    for source in sources:
        digest.update(source.file.data)
    home = folder / f"midicaps-{digest.hexdigest()[:10]}-{rows}"
    captions, midi = home / "captions.json", home / "midi"
    made = DataSet(captions, midi, rows, len(sources))
    if captions.is_file():
        return made
    for prefix in "0123456789abcdef":
        (midi / "lmd_full" / prefix).mkdir(parents=True, exist_ok=True)
    hidden = home / ".captions.json"
    with hidden.open("w", encoding="utf-8") as file:
        file.writelines(row_lines(sources, range(rows), midi))
    hidden.rename(captions)
    return made


def more_lines(data: Path, made: DataSet, extra: range) -> list[str]:
    """Write the MIDI files of rows beyond the data set, and return their lines."""
    return list(row_lines(_sources(data), extra, made.midi))


def row_lines(sources: Sequence[_Source], numbers: range, midi: Path) -> Iterator[str]:
    """Write the MIDI file of each row and give its line."""
    for number in numbers:
        content, row = _row(sources, number)
        (midi / row["location"]).write_bytes(content)
        yield json.dumps(row) + "\n"


def _row(sources: Sequence[_Source], number: int) -> tuple[bytes, dict[str, Any]]:
    source, repetition = sources[number % len(sources)], number // len(sources)
    semitones = repetition % 12 - 6
    # A step that has no factor in common with the number of steps visits each of them once.
    slower = 0.7 * 2 ** (repetition * 1009 % _TEMPO_STEPS / _TEMPO_STEPS)
    content = source.file.variant(semitones, slower)
    name = hashlib.md5(content, usedforsecurity=False).hexdigest()
    rng = random.Random(f"{SEED} {number}")
    return content, midicaps_row(f"lmd_full/{name[0]}/{name}.mid", _moved(source.music, semitones, slower), rng)


def _moved(music: Music, semitones: int, slower: float) -> Music:
    key = ((music.key[0] + semitones) % 12, music.key[1]) if music.key else None
    return Music(music.programs, music.instruments, key, music.meter, music.qpm / slower, music.seconds * slower)


def _sources(data: Path) -> list[_Source]:
    found: dict[bytes, _Source] = {}
    for path in midi_files(data, _MOST_SOURCES):
        content = path.read_bytes()
        if len(content) > _LARGEST_SOURCE:
            continue
        try:
            found.setdefault(content, _Source(original(content), _music(read_midi(content))))
        except (ValueError, MidiError):  # what cannot be read cannot be repeated
            continue
    if not found:
        raise SystemExit(f"no MIDI file under {data} can be read: give --data DIR")
    return list(found.values())


def _music(score: Score) -> Music:
    from pretty_midi import program_to_instrument_name

    pitched = sorted({track.program for track in score.tracks if not track.is_drum})
    drums = any(track.is_drum for track in score.tracks)
    names = [program_to_instrument_name(program).split(" (")[0] for program in pitched] + ["Drums"] * drums
    qpm = min(max(score.tempos[0].qpm, 20.0), 300.0) if score.tempos else 120.0
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks)
    key, meter = (score.keys or (None,))[0], (score.meters or (None,))[0]
    return Music(
        programs=tuple(pitched + [128] * drums),
        instruments=tuple(dict.fromkeys(names)),
        key=((key.sharps * 7 - 3 * key.minor) % 12, key.minor) if key and pitched else None,
        meter=f"{meter.numerator}/{meter.denominator}" if meter else "4/4",
        qpm=qpm,
        seconds=min(end / score.ticks_per_quarter * 60 / qpm, 1800.0),
    )
