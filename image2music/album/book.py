"""The tunes of an album bound into one piece, with a bridge wherever the key changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from image2music.album.bridge import bridge
from image2music.album.joining import joined
from image2music.album.part import Line
from image2music.album.plan import gentle
from image2music.errors import AbcError
from image2music.notation.abc_checker import check
from image2music.notation.abc_to_midi import abc_to_midi, abc_to_score
from image2music.notation.diagnostic import Severity
from image2music.notation.parts import parts_of
from image2music.notation.quantise import FAITHFUL
from image2music.notation.score import KeyChange, Score, TempoChange
from image2music.notation.sheet import MAX_LAYERS, Sheet, unit_of, voices_of, written
from image2music.notation.spelling import key_name
from image2music.notation.tempos import DEFAULT_QPM, seconds_at, tempos_of
from image2music.notation.timeline import QUARTER, bars_of, windows_of
from image2music.notation.tune_text import bars_by_voice, header_lines, one_line, voice_head

BRIDGE_TITLE = "Bridge"
_BARS_A_LINE = 4
_C_MAJOR = KeyChange(0, 0, False)


@dataclass(frozen=True)
class Book:
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


def bind(title: str, tunes: Sequence[tuple[str, str]], motif: Line, meter: str) -> Book:
    """`tunes` are (title, ABC) in order; `motif` and `meter` make the bridges.

    Tempos whose step would be larger than 15 % are brought nearer to the one before. A tempo that changes within a
    tune is left out.

    Raises:
        AbcError: a tune cannot be played (`no_music`), or the bound text has errors (`bad_book`).
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
    bars = np.searchsorted(sheet.bars.lines, [tick * QUARTER // whole.ticks_per_quarter for tick in ticks]).tolist()
    abc = _text(sheet, title, dict(zip(bars, section_names, strict=True)))
    if errors := [finding for finding in check(abc) if finding.severity is Severity.ERROR]:
        raise AbcError(f"the bound album has {len(errors)} errors, the first: {errors[0]}", reason="bad_book")
    return Book(
        abc=abc,
        midi=abc_to_midi(abc),
        bars=len(sheet.bars),
        bridges=len(sections) - len(scores),
        duration_s=round(seconds_at(int(sheet.bars.lines[-1]), sheet.tempos), 3),
        starts=tuple(bars[place] + 1 for place in places),
        keys=tuple(key_name(*_key(score.keys[0])) for score in scores),
        tempos_qpm=tuple(tempos),
    )


def _key(change: KeyChange) -> tuple[int, bool]:
    return change.sharps, change.minor


def _sheet(score: Score) -> Sheet:
    """As `sheet_of`, but no bar is taken for a pick-up and every key is believed."""
    parts = parts_of(score)
    end = max(float((part.onsets + part.durations).max()) for part in parts)
    bars = bars_of(score, int(end))
    windows = windows_of(bars)
    voices = [voice for part in parts for voice in voices_of(part, written(part, windows, FAITHFUL), MAX_LAYERS)]
    changes = [change.tick * QUARTER // score.ticks_per_quarter for change in score.keys]
    which = np.searchsorted(changes, bars.lines[:-1], side="right") - 1
    keys = tuple(_key(score.keys[at]) for at in which.tolist())
    return Sheet(tuple(voices), bars, keys, tempos_of(score), unit_of(voices))


def _text(sheet: Sheet, title: str, names: dict[int, str]) -> str:
    lines = header_lines(sheet, title)
    for number, (voice, bars) in enumerate(zip(sheet.voices, bars_by_voice(sheet), strict=True), 1):
        lines += [*voice_head(voice, number, len(sheet.voices)), *_music(bars, names, said=number == 1)]
    return "\n".join(lines) + "\n"


def _music(bars: Sequence[str], names: dict[int, str], *, said: bool) -> list[str]:
    """Lines of four bars, a new one and a double bar for each section; the first voice says their titles."""
    starts = sorted(names)
    lines = []
    for start, stop in pairwise([*starts, len(bars)]):
        cells = list(bars[start:stop])
        if said:
            cells[0] = f'"^{_spoken(names[start])}"{cells[0]}'
        closes = ["|"] * (len(cells) - 1) + ["|]" if stop == len(bars) else "||"]
        cells = [f"{cell} {close}" for cell, close in zip(cells, closes, strict=True)]
        lines += [" ".join(cells[at : at + _BARS_A_LINE]) for at in range(0, len(cells), _BARS_A_LINE)]
    return lines


def _spoken(title: str) -> str:
    return one_line(title).replace('"', "'")
