"""Music as it is written: voices of bars of notes, chords and rests with their marks.

A `Score` is what sounds; lines are what stands on paper: exact lengths, ties, dynamics, articulation. The arranger
makes them and `abc.writer.parts` writes them as ABC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from image2music.music.score import Score


@dataclass(frozen=True, slots=True)
class LineEvent:
    """A note, chord (`pitches` low to high, MIDI numbers) or rest (none), `length` quarter notes long.

    `tied` means that it goes on into the next event, which has the same pitches. `marks` are ABC's decorations
    without exclamation marks, in the order in which they stand before the note (`mf`, `crescendo(`, `staccato`,
    `accent`, `fermata`); `slur_starts` and `slur_ends` count brackets. `tuplet` is the number of events of the tuplet
    that begins here (3 for a triplet); its events' `length` is what sounds.
    """

    pitches: tuple[int, ...]
    length: Fraction
    tied: bool = False
    marks: tuple[str, ...] = ()
    slur_starts: int = 0
    slur_ends: int = 0
    tuplet: int = 0


Bar = tuple[LineEvent, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One voice: its id in the plan, instrument and bars.

    `derived` tells that it was written by rule. `qpm_at` maps a bar (from 1) to a tempo that begins there; only one
    line of a tune has any.
    """

    voice: int
    name: str
    program: int
    bars: tuple[Bar, ...]
    derived: bool = False
    is_drums: bool = False
    qpm_at: tuple[tuple[int, float], ...] = ()


_FINE = 10080
"""Units in a quarter note: divides by 32, 9, 5 and 7."""


def bars_of_notes(
    notes: Sequence[tuple[int, int, tuple[int, ...], tuple[str, ...]]],
    quarter: int,
    bar: int,
    n_bars: int,
) -> tuple[Bar, ...]:
    """Write notes as bars: ties over bar lines, rests between, tuplets where lengths need them; every bar is full.

    Args:
        notes: (start, length, pitches, marks), sorted by start; a note ends where the next one starts at the latest.
        quarter: units of these times in a quarter note.
        bar: units in a bar.
        n_bars: how many bars to write; what lies behind them is left out.
    """
    pieces: list[list[_Piece]] = [[] for _ in range(n_bars)]
    position, end = 0, n_bars * bar
    for number, (start, length, pitches, marks) in enumerate(notes):
        stop = min(start + length, end, notes[number + 1][0] if number + 1 < len(notes) else end)
        if start >= stop or start < position:
            continue
        _cut(pieces, position, start, (), (), quarter, bar)
        _cut(pieces, start, stop, pitches, marks, quarter, bar)
        position = stop
    _cut(pieces, position, end, (), (), quarter, bar)
    return tuple(_in_tuplets(one, quarter) for one in pieces)


_Piece = tuple[int, int, tuple[int, ...], bool, tuple[str, ...]]


def _cut(
    pieces: list[list[_Piece]], start: int, end: int, pitches: tuple[int, ...], marks: tuple[str, ...], quarter: int,
    bar: int,
) -> None:  # fmt: skip
    while start < end:
        number, at = divmod(start, bar)
        stop = min(end, (number + 1) * bar)
        length = _length(stop - start, quarter)
        if length.denominator % 2 and length.denominator > 1 and length.numerator not in (1, 2, 4):
            stop = min(stop, number * bar + (at // quarter + 1) * quarter)
        pieces[number].append((at, stop - start, pitches, stop < end and bool(pitches), marks))
        start, marks = stop, ()


@lru_cache(maxsize=4096)
def _length(units: int, quarter: int) -> Fraction:
    return Fraction(units, quarter)


def _is_plain(units: int, quarter: int) -> bool:
    """Whether a place or length is a whole number of 1/2, 1/4, 1/8 ... of a quarter note."""
    denominator = _length(units, quarter).denominator
    return denominator & (denominator - 1) == 0


def _in_tuplets(pieces: Sequence[_Piece], quarter: int) -> Bar:
    events: list[LineEvent] = []
    first = 0
    for number, (at, units, pitches, tied, marks) in enumerate(pieces):
        if _is_plain(at, quarter):
            first = number
        events.append(LineEvent(pitches, _length(units, quarter), tied, marks))
        if number > first and _is_plain(at + units, quarter):
            count = number - first + 1
            if any(not _is_plain(piece[1], quarter) for piece in pieces[first : number + 1]):
                events[first] = replace(events[first], tuplet=count)
    return tuple(events)


def bars_of_score(score: Score, track: int, meter: str, n_bars: int) -> tuple[Bar, ...]:
    """Return a played voice as written bars of one meter, from the start of the score.

    Times are taken as the nearest 32nd, or part of a triplet, quintuplet or septuplet; of notes that overlap the
    earlier one ends. Rests shorter than a 32nd are no rests. IndexError where there is no such track.
    """
    number, _, unit = meter.partition("/")
    bar = _FINE * 4 * int(number) // int(unit)
    played = score.tracks[track]
    by_start: dict[int, tuple[int, set[int]]] = {}
    for onset, duration, pitch in zip(
        played.onsets.tolist(), played.durations.tolist(), played.pitches.tolist(), strict=True
    ):
        start, end = (_nearest(tick, score.ticks_per_quarter) for tick in (onset, onset + duration))
        longest, pitches = by_start.get(start, (0, set()))
        by_start[start] = max(longest, end - start, _FINE // 8), pitches | {pitch}
    starts = sorted(by_start)
    notes = []
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        length, pitches = by_start[start]
        if after is not None and 0 < after - start - length < _FINE // 8:
            length = after - start
        notes.append((start, length, tuple(sorted(pitches)), ()))
    return bars_of_notes(notes, _FINE, bar, n_bars)


@lru_cache(maxsize=65536)
def _nearest(tick: int, ticks_per_quarter: int) -> int:
    """Return the unit of the simplest place in a quarter that lies within a tick, else of the nearest 32nd."""
    quarters, rest = divmod(tick, ticks_per_quarter)
    for parts in (1, 2, 3, 4, 6, 8, 12, 5, 7, 16, 10, 9, 32, 14):
        place = round(rest * parts / ticks_per_quarter)
        if abs(rest - place * ticks_per_quarter / parts) <= max(1.0, ticks_per_quarter / 480):
            return quarters * _FINE + place * _FINE // parts
    return quarters * _FINE + round(rest * 8 / ticks_per_quarter) * _FINE // 8
