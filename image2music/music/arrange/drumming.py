"""Drums: a groove for each section by meter, loudness and pace, fills where a section ends, one stroke at the end.

A groove has a row for each drum, a character a sixteenth: `x` is struck. Rows are written for 4/4, 3/4 and 6/8; other
meters are put together from these, as figures are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from image2music.music.arrange.stage import ArrangingStage, words_of_bar
from image2music.music.arrange.timeline import EIGHTH, PlacedNote
from image2music.music.planning.plan import Section
from image2music.music.theory import DRUM_NAMES, LOWEST_DRUM, TICKS_PER_QUARTER

_SIXTEENTH = EIGHTH // 2
_KICK, _STICK, _SNARE, _HAT, _PEDAL_HAT, _OPEN_HAT, _RIDE, _CRASH = 36, 37, 38, 42, 44, 46, 51, 49
_LOW_TOM, _TOM, _HIGH_TOM, _SHAKER, _CLAVES = 45, 47, 50, 70, 75

_GROOVES: dict[str, dict[str, dict[int, str]]] = {
    "breath": {
        "4/4": {_PEDAL_HAT: "....x.......x...", _KICK: "x..............."},
        "3/4": {_PEDAL_HAT: "....x...x...", _KICK: "x..........."},
        "6/8": {_PEDAL_HAT: "......x.....", _KICK: "x..........."},
    },
    "shaker": {
        "4/4": {_SHAKER: "x.x.x.x.x.x.x.x.", _PEDAL_HAT: "....x.......x...", _KICK: "x..............."},
        "3/4": {_SHAKER: "x.x.x.x.x.x.", _PEDAL_HAT: "....x...x...", _KICK: "x..........."},
        "6/8": {_SHAKER: "x.x.x.x.x.x.", _PEDAL_HAT: "......x.....", _KICK: "x..........."},
    },
    "ride": {
        "4/4": {_RIDE: "x...x.x.x...x.x.", _PEDAL_HAT: "....x.......x...", _STICK: "............x...",
                _KICK: "x.......x......."},
        "3/4": {_RIDE: "x...x.x.x...", _PEDAL_HAT: "....x...x...", _KICK: "x..........."},
        "6/8": {_RIDE: "x...x.x...x.", _PEDAL_HAT: "......x.....", _KICK: "x..........."},
    },
    "stick": {
        "4/4": {_HAT: "x.x.x.x.x.x.x.x.", _STICK: "....x.......x...", _KICK: "x.........x....."},
        "3/4": {_HAT: "x.x.x.x.x.x.", _STICK: "....x...x...", _KICK: "x..........."},
        "6/8": {_HAT: "x.x.x.x.x.x.", _STICK: "......x.....", _KICK: "x.........x."},
    },
    "clave": {
        "4/4": {_SHAKER: "x.x.x.x.x.x.x.x.", _CLAVES: "x.....x...x.....", _KICK: "x.....x.x.....x."},
        "3/4": {_SHAKER: "x.x.x.x.x.x.", _CLAVES: "x.....x...x.", _KICK: "x.....x....."},
        "6/8": {_SHAKER: "x.x.x.x.x.x.", _CLAVES: "x...x.x.x...", _KICK: "x.....x....."},
    },
    "beat": {
        "4/4": {_HAT: "x.x.x.x.x.x.x.x.", _SNARE: "....x.......x...", _KICK: "x.......x.x....."},
        "3/4": {_HAT: "x.x.x.x.x.x.", _SNARE: "....x...x...", _KICK: "x.........x."},
        "6/8": {_HAT: "x.x.x.x.x.x.", _SNARE: "......x.....", _KICK: "x...x......."},
    },
    "march": {
        "4/4": {_SNARE: "x..xx.x.x..xx.xx", _KICK: "x.......x.......", _PEDAL_HAT: "....x.......x..."},
        "3/4": {_SNARE: "x..xx.x.x.x.", _KICK: "x...........", _PEDAL_HAT: "....x...x..."},
        "6/8": {_SNARE: "x.x.x.x...xx", _KICK: "x.....x....."},
    },
    "floor": {
        "4/4": {_HAT: "x.x.x.x.x.x.x.x.", _OPEN_HAT: "..x...x...x...x.", _SNARE: "....x.......x...",
                _KICK: "x...x...x...x..."},
        "3/4": {_HAT: "x.x.x.x.x.x.", _SNARE: "....x...x...", _KICK: "x.....x....."},
        "6/8": {_HAT: "x.x.x.x.x.x.", _SNARE: "......x.....", _KICK: "x...x.....x."},
    },
    "toms": {
        "4/4": {_LOW_TOM: "x..x..x.x..x....", _TOM: "............x.x.", _KICK: "x.......x.......",
                _SNARE: "....x.......x..."},
        "3/4": {_LOW_TOM: "x..x..x.....", _TOM: "........x.x.", _KICK: "x..........."},
        "6/8": {_LOW_TOM: "x...x.x.....", _TOM: "........x.x.", _KICK: "x.....x....."},
    },
    "break": {
        "4/4": {_HAT: "x.x.x.x.x.x.x.x.", _SNARE: "....x..x.x..x...", _KICK: "x.x.......xx...."},
        "3/4": {_HAT: "x.x.x.x.x.x.", _SNARE: "....x..x.x..", _KICK: "x.x........."},
        "6/8": {_HAT: "x.x.x.x.x.x.", _SNARE: "......x..x..", _KICK: "x..x......x."},
    },
}  # fmt: skip
_BY_LEVEL = (
    ("breath",),
    ("shaker", "breath", "ride"),
    ("ride", "stick", "shaker", "clave"),
    ("stick", "beat", "clave", "march"),
    ("beat", "floor", "march", "toms"),
    ("beat", "floor", "toms"),
)
_QUICK = 104
"""Beats a minute from which on a loud section is driven, not marched."""
_BREAKS_FROM = 150


Beat = dict[int, frozenset[int]]
"""The drums (General MIDI pitches) that are hit so many ticks into a bar."""
_DRUMS = re.compile(r"\d+(\+\d+)*")
_SNARES = frozenset({38, 40})


def read_beat(text: str, length: int) -> tuple[Beat, ...]:
    """Read a beat that a plan writes out, for bars of `length` ticks; a text that is none gives no bars.

    Words of equal length fill a bar: `.` is silent, `36` a drum, `36+42` two at once; `|` parts bars that take turns.
    """
    bars = [words_of_bar(part, length) for part in text.split("|")]
    if not all(bars) or not all(_DRUMS.fullmatch(word) for bar in bars for _, _, word in bar):
        return ()
    beat = tuple({at: frozenset(map(int, word.split("+"))) for at, _, word in bar} for bar in bars)
    drums = {drum for bar in beat for hits in bar.values() for drum in hits}
    return beat if all(0 <= drum - LOWEST_DRUM < len(DRUM_NAMES) for drum in drums) else ()


def set_drums(stage: ArrangingStage) -> None:
    """Set a beat for voices that are drums, in the bars where nobody wrote one.

    Where the plan's part has `degrees`, these are the beat: see `read_beat`.
    """
    for voice in stage.voices:
        bars = [
            bar for bar in range(stage.bars) if stage.roles[voice, bar] == "drums" and not stage.is_written(voice, bar)
        ]
        if bars:
            grooves = _grooves(stage)
            for bar in bars:
                beat = read_beat(stage.sections[bar].part_of(voice).degrees, stage.length)
                stage.out[voice] += _bar(stage, bar, grooves[stage.sections[bar].name], beat)


def _grooves(stage: ArrangingStage) -> dict[str, str]:
    """Draw a groove for each section; one that comes back under its name has its own again."""
    found: dict[str, str] = {}
    last = ""
    for section in stage.plan.sections:
        if section.name not in found:
            level = stage.levels[min(section.first, stage.bars) - 1]
            names = list(_BY_LEVEL[level])
            beats = stage.beats_a_minute(section.qpm)
            if level >= 3 and beats >= _BREAKS_FROM:
                names = ["break", "floor"]
            elif level >= 3 and beats >= _QUICK:
                names = [name for name in names if name != "march"]
            families = {part.family for part in section.parts}
            if level >= 3 and "offbeat" in families and len(stage.shape.beats) == 2:
                names = ["march"]
            names = [name for name in names if name != last] or names
            found[section.name] = names[int(stage.rng.integers(len(names)))]
        last = found[section.name]
    return found


def _bar(stage: ArrangingStage, bar: int, groove: str, beat: Sequence[Beat]) -> list[PlacedNote]:
    """Set one bar; `beat` are the bars that take turns from the section's start on, none for a groove."""
    shape, level, section = stage.shape, stage.levels[bar], stage.sections[bar]
    start = bar * stage.length
    if bar == stage.final:
        cymbal = _CRASH if level >= 3 else _RIDE
        return [PlacedNote(start, TICKS_PER_QUARTER, (_KICK, cymbal))]
    if beat:
        light = {drum: _STICK for drum in _SNARES} if level <= 1 else {}
        turn = beat[(bar - section.first + 1) % len(beat)]
        hits = {at: {light.get(drum, drum) for drum in drums} for at, drums in turn.items()}
    else:
        hits = _hits(stage, groove)
        _vary(stage, bar, section, hits)
    if level >= 4 and (bar == stage.climax or (bar == section.first - 1 and bar > 0)):
        hits[0] = {_KICK, _CRASH}
    if bar == section.last - 1 and level >= 2:
        _fill(stage, level, hits)
    ordered = sorted(hits)
    ends = [*ordered[1:], shape.ticks]
    return [
        PlacedNote(start + at, min(end - at, EIGHTH), tuple(sorted(hits[at])))
        for at, end in zip(ordered, ends, strict=True)
    ]


def _hits(stage: ArrangingStage, groove: str) -> dict[int, set[int]]:
    """Return the drums struck in a plain bar, by place in ticks."""
    hits: dict[int, set[int]] = {}
    start = 0
    for meter, ticks in stage.shape.parts:
        rows = _GROOVES[groove][meter]
        grain = max(_SIXTEENTH, ticks // 16) if ticks > 16 * _SIXTEENTH else _SIXTEENTH
        for drum, row in rows.items():
            for number, sign in enumerate(row):
                if sign == "x" and number * grain < ticks:
                    hits.setdefault(start + number * grain, set()).add(drum)
        start += ticks
    for drums in hits.values():
        if _OPEN_HAT in drums:
            drums.discard(_HAT)
    return hits


def _vary(stage: ArrangingStage, bar: int, section: Section, hits: dict[int, set[int]]) -> None:
    """Leave out the second cymbal strokes while a section grows or is quiet; lead on in every fourth bar."""
    place, level = bar - (section.first - 1), stage.levels[bar]
    grows = section.swell == "grow" and place * 2 < len(section.bars)
    if level <= 1 or grows:
        for at in [at for at in hits if at not in stage.shape.beats]:
            hits[at] -= {_HAT, _SHAKER, _OPEN_HAT}
            if not hits[at]:
                del hits[at]
    last = stage.length - EIGHTH
    if place % 4 == 3 and level >= 2 and last not in stage.shape.beats:
        hits.setdefault(last, set()).add(_KICK if level < 4 else _OPEN_HAT)


def _fill(stage: ArrangingStage, level: int, hits: dict[int, set[int]]) -> None:
    """Replace the last beat, in loud sections two, by strokes that go down."""
    shape = stage.shape
    from_beat = shape.beats[-2] if level >= 4 and len(shape.beats) > 2 else shape.last_beat
    for at in [at for at in hits if at >= from_beat]:
        del hits[at]
    drums = (_SNARE, _SNARE, _HIGH_TOM, _TOM, _LOW_TOM) if level >= 3 else (_STICK, _TOM)
    grain = _SIXTEENTH if level >= 3 else EIGHTH
    places = range(from_beat, shape.ticks, grain)
    for number, at in enumerate(places):
        hits[at] = {drums[number * len(drums) // len(places)]}
    hits[from_beat] |= {_KICK} if level >= 3 else set()
