"""Assemble the tunes of an album into one piece, with a bridge wherever the key changes, and into the album's row."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.expression import perform_abc
from image2music.abc.playback import abc_to_score
from image2music.abc.writer.layout import FAITHFUL, MAX_LAYERS, Layout, lay_out_voices, unit_of, written
from image2music.abc.writer.text import bars_by_voice, field_text, header_lines, voice_head
from image2music.album.chapters import Bounds, chapter_titles, ordered
from image2music.album.plan import gentle
from image2music.errors import AbcError
from image2music.failures import counted
from image2music.images.taken import Clock
from image2music.music.grid import bars_of, parts_of, tempos_of, windows_of
from image2music.music.midi import with_markers
from image2music.music.score import KeyChange, MeterChange, Score, TempoChange, Track, joined, seconds_at
from image2music.music.similarity import BAR_EIGHTHS, Line, count_motif
from image2music.music.theory import DEFAULT_QPM, GRID_QUARTER, MIDDLE_C, TICKS_PER_QUARTER, Key, key_name
from image2music.rows import scene_of_row
from image2music.storage.output import BOOKS
from image2music.types import read_line, taken_of_part

_EIGHTH = TICKS_PER_QUARTER // 2
_VELOCITY = 80
_LOWEST_BASS, _LOWEST_CHORD, _HIGHEST_TONIC = 41, 53, 69


class _Struck(NamedTuple):
    onset: int
    eighths: int
    pitches: tuple[int, ...]


def bridge(motif: Line, meter: str, before: KeyChange, after: KeyChange) -> Score:
    """Return two bars of melody and chords that lead from one key to another.

    The first sings the motif in the old key, the second on the dominant of the new one, above its dominant seventh; the
    key changes with the second bar. The motif's degrees (1, 2, 4, 5) lie in the scale on the dominant of major and
    minor.
    """
    bar = BAR_EIGHTHS[meter]
    numerator, denominator = (int(part) for part in meter.split("/"))
    old, dominant = before.tonic, (after.tonic + 7) % 12
    melody = [*_sung(motif[:-1], old, 0), *_sung(motif[:-1], dominant, bar)]
    chords = [
        _Struck(0, bar, _chord(old, (3 if before.minor else 4, 7))),
        _Struck(bar, bar, _chord(dominant, (4, 10))),
    ]
    return Score(
        TICKS_PER_QUARTER,
        (_track(melody), _track(chords)),
        meters=(MeterChange(0, numerator, denominator),),
        keys=(KeyChange(0, before.sharps, before.minor), KeyChange(bar * _EIGHTH, after.sharps, after.minor)),
    )


def _sung(line: Line, tonic: int, onset: int) -> list[_Struck]:
    ground = MIDDLE_C + tonic - (12 if MIDDLE_C + tonic > _HIGHEST_TONIC else 0)
    struck = []
    for pitch, eighths in line:
        struck.append(_Struck(onset, eighths, (ground + pitch,)))
        onset += eighths
    return struck


def _chord(root: int, above: tuple[int, int]) -> tuple[int, ...]:
    bass = _LOWEST_BASS + (root - _LOWEST_BASS) % 12
    return (bass, *sorted(_LOWEST_CHORD + (root + tone - _LOWEST_CHORD) % 12 for tone in above))


def _track(struck: Sequence[_Struck]) -> Track:
    rows = [(one.onset * _EIGHTH, one.eighths * _EIGHTH, pitch, _VELOCITY) for one in struck for pitch in one.pitches]
    onsets, durations, pitches, velocities = np.array(rows, dtype=np.int64).T
    return Track(onsets, durations, pitches, velocities)


BRIDGE_TITLE = "Bridge"
_BARS_A_LINE = 4
_C_MAJOR = KeyChange(0, 0, False)


@dataclass(frozen=True)
class Medley:
    """An album as one tune of ABC and as a MIDI file.

    `starts` holds the bar (from 1) at which each tune begins, `keys` and `tempos_qpm` what it begins with; `bridges`
    counts the bridges between them.
    """

    abc: str
    midi: bytes
    bars: int
    bridges: int
    duration_s: float
    starts: tuple[int, ...]
    keys: tuple[str, ...]
    tempos_qpm: tuple[int, ...]


def assemble(
    title: str, tunes: Sequence[tuple[str, str]], motif: Line, meter: str, chapters: Sequence[tuple[int, str]] = ()
) -> Medley:
    """Join tunes, (title, ABC) in order, with bridges made of `motif` in `meter`.

    `chapters` are the number of the first tune of each, from 0, and its title: they stand in the header (N:) and above
    the first bar of that tune, and are markers of the MIDI file.

    Tempos that differ by more than 15 % from the one before are brought nearer to it. Changes of tempo within a tune
    are left out.

    Raises:
        AbcError: a tune cannot be played (`no_music`), or the joined text has errors (`bad_book`).
    """
    scores = [abc_to_score(abc) for _, abc in tunes]
    tempos = gentle([round(score.tempos[0].qpm if score.tempos else DEFAULT_QPM) for score in scores])
    scores = [
        replace(s, tempos=(TempoChange(0, q),), keys=s.keys or (_C_MAJOR,)) for s, q in zip(scores, tempos, strict=True)
    ]
    names = [name for name, _ in tunes]
    sections, section_names, places = [scores[0]], [names[0]], [0]
    for (before, after), name in zip(pairwise(scores), names[1:], strict=True):
        if _key(before.keys[-1]) != _key(after.keys[0]):
            sections.append(bridge(motif, meter, before.keys[-1], after.keys[0]))
            section_names.append(BRIDGE_TITLE)
        places.append(len(sections))
        sections.append(after)
        section_names.append(name)
    whole, ticks = joined(sections)
    sheet = _sheet(whole)
    bars = np.searchsorted(
        sheet.bars.lines, [tick * GRID_QUARTER // whole.ticks_per_quarter for tick in ticks]
    ).tolist()
    heads = {bars[places[first]]: name for first, name in chapters}
    abc = _text(sheet, title, dict(zip(bars, section_names, strict=True)), heads)
    if errors := [finding for finding in check(abc) if finding.severity is Severity.ERROR]:
        found = counted(len(errors), "error")
        raise AbcError(f"the bound album has {found}, the first: {errors[0]}", reason="bad_book")
    return Medley(
        abc=abc,
        midi=with_markers(perform_abc(abc), [(_tick(sheet, bar), name) for bar, name in heads.items()]),
        bars=len(sheet.bars),
        bridges=len(sections) - len(scores),
        duration_s=round(seconds_at(int(sheet.bars.lines[-1]) / GRID_QUARTER, sheet.tempos, GRID_QUARTER), 3),
        starts=tuple(bars[place] + 1 for place in places),
        keys=tuple(key_name(score.keys[0].sharps, score.keys[0].minor) for score in scores),
        tempos_qpm=tuple(tempos),
    )


def _key(change: KeyChange) -> Key:
    return Key.of(change.sharps, change.minor)


def _sheet(score: Score) -> Layout:
    """As `sheet_of`, but no bar is taken for a pick-up and every key is believed."""
    parts = parts_of(score)
    end = max(float((part.onsets + part.durations).max()) for part in parts)
    bars = bars_of(score, int(end))
    windows = windows_of(bars)
    voices = [voice for part in parts for voice in lay_out_voices(part, written(part, windows, FAITHFUL), MAX_LAYERS)]
    changes = [change.tick * GRID_QUARTER // score.ticks_per_quarter for change in score.keys]
    which = np.searchsorted(changes, bars.lines[:-1], side="right") - 1
    keys = tuple(_key(score.keys[at]) for at in which.tolist())
    return Layout(tuple(voices), bars, keys, tempos_of(score), unit_of(voices))


def _tick(sheet: Layout, bar: int) -> int:
    return int(sheet.bars.lines[bar]) * TICKS_PER_QUARTER // GRID_QUARTER


def _text(sheet: Layout, title: str, names: dict[int, str], heads: dict[int, str]) -> str:
    lines = header_lines(sheet, title)
    before_key = next(at for at, line in enumerate(lines) if line.startswith("T:")) + 1
    lines[before_key:before_key] = [f"N:bar {bar + 1}: {field_text(name)}" for bar, name in heads.items()]
    titles = {bar: f'"^{_spoken(name)}"' for bar, name in names.items()}
    titles |= {bar: f'"^{_spoken(name)}"{titles[bar]}' for bar, name in heads.items()}
    for number, (voice, bars) in enumerate(zip(sheet.voices, bars_by_voice(sheet), strict=True), 1):
        lines += [*voice_head(voice, number, len(sheet.voices)), *_music(bars, titles, said=number == 1)]
    return "\n".join(lines) + "\n"


def _music(bars: Sequence[str], titles: dict[int, str], *, said: bool) -> list[str]:
    """Return lines of four bars, with a new line and a double bar for each section; `said` writes their titles."""
    starts = sorted(titles)
    lines = []
    for start, stop in pairwise([*starts, len(bars)]):
        cells = list(bars[start:stop])
        if said:
            cells[0] = f"{titles[start]}{cells[0]}"
        closes = ["|"] * (len(cells) - 1) + ["|]" if stop == len(bars) else "||"]
        cells = [f"{cell} {close}" for cell, close in zip(cells, closes, strict=True)]
        lines += [" ".join(cells[at : at + _BARS_A_LINE]) for at in range(0, len(cells), _BARS_A_LINE)]
    return lines


def _spoken(title: str) -> str:
    return field_text(title).replace('"', "'")


TUNE_COLUMNS = [
    "album", "image_id", "image_uri", "title", "abc", "scene", "album_part", "composer_id", "settings_hash",
]  # fmt: skip
"""Columns of schemas/composition.py that `album_row` reads."""


MOST_TUNES = 500
"""A longer album is not assembled: it would last for hours, and nobody could open the score."""
Row = dict[str, Any]


def album_row(album: str, tunes: Sequence[Row], bound_at: datetime, language: str = "en") -> Row:
    """Return the row of schemas/album.py for the tunes of one album, given in any order; chapters say in `language`.

    Raises:
        AbcError: the album is too long (`album_too_long`), or as `assemble`.
    """
    if len(tunes) > MOST_TUNES:
        message = (
            f"{len(tunes)} tunes are too many for one book, {MOST_TUNES} is the most: sort the pictures in folders"
        )
        raise AbcError(message, reason="album_too_long")
    tunes, clocks, bounds = _in_chapters(tunes)
    part = tunes[0]["album_part"]
    motif, title = read_line(part["motif"]), album_title(album)
    names = chapter_titles(bounds, [scene_of_row(tune.get("scene")) for tune in tunes], clocks, language)
    chapters = [(first, name) for (first, _), name in zip(bounds, names, strict=True)]
    book = assemble(title, [(tune["title"], tune["abc"]) for tune in tunes], motif, part["meter"], chapters)
    shown = [clock.shown if clock.told else None for clock in clocks] if clocks is not None else [None] * len(tunes)
    return {
        "album": album,
        "title": title,
        "image_ids": [tune["image_id"] for tune in tunes],
        "image_uris": [tune["image_uri"] for tune in tunes],
        "taken_at": shown,
        "chapters": [{"title": name, "first": first, "taken_at": shown[first]} for first, name in chapters],
        "titles": [tune["title"] for tune in tunes],
        "themes": [tune["album_part"]["theme"] for tune in tunes],
        "keys": list(book.keys),
        "tempos_qpm": list(book.tempos_qpm),
        "starts": list(book.starts),
        "motif": part["motif"],
        "motif_counts": [count_motif(abc_to_score(tune["abc"]), motif) for tune in tunes],
        "meter": part["meter"],
        "bridges": book.bridges,
        "bars": book.bars,
        "duration_s": book.duration_s,
        "abc": book.abc,
        "midi": book.midi,
        "book": f"{BOOKS}/{folder_of(album)}",
        "composer_id": part_of_all(tunes, "composer_id"),
        "settings_hash": part_of_all(tunes, "settings_hash"),
        "bound_at": bound_at,
    }


def _in_chapters(tunes: Sequence[Row]) -> tuple[list[Row], list[Clock] | None, Bounds]:
    """Return tunes as their album was planned, chapter by chapter, with their clocks and where the chapters are cut."""
    times = [taken_of_part(tune["album_part"]) for tune in tunes]
    order, clocks = ordered([(tune["image_uri"], tune["image_id"]) for tune in tunes], times)
    chapters: dict[str | None, list[int]] = {}
    for at, number in enumerate(order):
        chapters.setdefault(tunes[number]["album_part"].get("chapter"), []).append(at)
    places = [at for chapter in chapters.values() for at in chapter]
    bounds = list(pairwise(accumulate(map(len, chapters.values()), initial=0)))
    return [tunes[order[at]] for at in places], [clocks[at] for at in places] if clocks is not None else None, bounds


def part_of_all(rows: Sequence[Row], name: str) -> str:
    """Return the value of a column that all rows of one output share."""
    value: str = rows[0][name]
    return value


def album_title(album: str) -> str:
    """Return the folder's name as a title: `2024_summer-holidays` gives `2024 Summer Holidays`."""
    words = re.split(r"[\W_]+", album.rstrip("/").rpartition("/")[2])
    return " ".join(word[:1].upper() + word[1:] for word in words if word) or "Album"


def folder_of(album: str) -> str:
    """Return a folder name that is valid on every system and differs for albums of the same name."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", album_title(album)).strip("-").lower()[:40] or "album"
    return f"{name}-{hashlib.sha256(album.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
