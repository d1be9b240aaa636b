"""Tunes paired with tunes: a tune in canon with itself, a second theme over the first, thirds and sixths below.

Each wants certain pitches at certain times; where they clash with the tune or its chords they are mended to the nearest
that fit, all together by dynamic programming, and the mended ones are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from image2music.composers.nano.search.ground import (
    HARD,
    LEAPS,
    BarTimes,
    BarView,
    Classes,
    Ground,
    Lines,
    Table,
    bar_times,
    bar_views,
    stepped,
    tune_table,
)
from image2music.composers.nano.sketch import Note

_MEND, _MEND_A_SEMITONE, _FAR = 70, 15, 4
_CANON_COST, _CANON_MENDED = 40, 4
_INTERVALS = (-12, 12, -24, 0, -5, 7, -7, 5, -17, -19)
_FOREIGN, _RUBS_ON_BASS = 8, 150


class _Place(NamedTuple):
    """A note to be set: its time in ticks from the piece's start, the pitch meant for it, and what it stands on.

    `costs` are those of all pitches against the tune, `was` and `now` the tune's pitches before and at it.
    """

    start: int
    length: int
    meant: int
    tones: Classes
    scale: Classes
    bass: int
    costs: Table
    was: int
    now: int


def canon_line(
    ground: Ground, melody: Sequence[tuple[Note, ...]], bars: range, low: int, high: int
) -> tuple[Lines, int, int, int] | None:
    """Return the tune imitated by another voice: its notes by bar, its delay in ticks, its interval, its cost a note.

    It comes half a bar or a bar later, at an octave, a unison, a fourth or a fifth (semitones, moved into the scale);
    notes that clash are mended. None where more than a quarter of them would be, or it doesn't fit.

    Raises:
        PlanError: `bad_key`, `bad_chord`, `bad_meter`.
    """
    views, times = bar_views(ground, melody, bars, low, high, 0), bar_times(ground.meter)
    end = bars.stop * times.length
    found: list[tuple[int, int, int]] = []
    placed: dict[int, list[_Place]] = {}
    for delay in sorted({times.length, times.half} if 3 * times.half > times.length else {times.length}):
        moved = [(start + delay, length, pitch) for start, length, pitch in _sung(melody, bars, times)]
        wanted = [(start, min(length, end - start), pitch) for start, length, pitch in moved if start < end]
        placed[delay] = list(_places(views, wanted, times))
        for interval in _INTERVALS:
            pitches = [place.meant + interval - low for place in placed[delay]]
            if len(pitches) > 3 and min(pitches) >= -2 and max(pitches) <= high - low + 2:
                inside = [min(max(at, 0), high - low) for at in pitches]
                costs = [min(300, int(place.costs[at])) for place, at in zip(placed[delay], inside, strict=True)]
                found.append((sum(costs) // len(costs) + 20 * (interval % 12 > 0), delay, interval))
    best: tuple[int, int, int, Lines] | None = None
    for _, delay, interval in sorted(found)[:3]:
        meant = [place._replace(meant=place.meant + interval) for place in placed[delay]]
        notes, mended, cost = _fitted(meant, low, high, times)
        each = cost // len(meant) + 20 * (interval % 12 > 0)
        if mended * _CANON_MENDED <= len(notes) and each <= _CANON_COST and (best is None or each < best[0]):
            best = each, delay, interval, _by_bar(notes, bars, times)
    return None if best is None else (best[3], best[1], best[2], best[0])


def combined_line(
    ground: Ground,
    first: Sequence[tuple[Note, ...]],
    second: Sequence[tuple[Note, ...]],
    shift: int,
    bars: range,
    low: int,
    high: int,
) -> tuple[Lines, int]:
    """Return a second theme set over the first one, by bar, and how many of its notes were mended.

    `first` are the tune's bars from the piece's first, `second` the other theme's bars, of which the first comes at
    `bars.start`; `shift` are the semitones from the second theme's tonic to the one here. It goes to the octave that
    suits the range.

    Raises:
        PlanError: `bad_key`, `bad_chord`, `bad_meter`.
    """
    views, times = bar_views(ground, first, bars, low, high, 0), bar_times(ground.meter)
    theme = _sung(second[: len(bars)], range(len(second)), times)
    if not theme:
        return {number: () for number in bars}, 0
    origin, end = bars.start * times.length, bars.stop * times.length
    mean = sum(pitch for _, _, pitch in theme) // len(theme)
    octave = shift + 12 * round(((low + high) / 2 - mean - shift) / 12)
    found = []
    for move in (octave, octave - 12, octave + 12):
        wanted = [(origin + on, min(length, end - origin - on), pitch + move) for on, length, pitch in theme]
        notes, mended, cost = _fitted(list(_places(views, wanted, times)), low, high, times)
        found.append((cost, move != octave, mended, notes))
    _, _, mended, notes = min(found)
    return _by_bar(notes, bars, times), mended


def _sung(melody: Sequence[tuple[Note, ...]], bars: range, times: BarTimes) -> list[tuple[int, int, int]]:
    """Return the notes of some bars by their time in ticks from bar 0, none longer than to the next."""
    found = [
        (number * times.length + on, length, pitch)
        for number in bars
        if number < len(melody)
        for on, length, pitch in sorted(melody[number])
    ]
    ends = [*(start for start, _, _ in found[1:]), bars.stop * times.length][: len(found)]
    return [(start, min(length, end - start), pitch) for (start, length, pitch), end in zip(found, ends, strict=True)]


def _places(views: Mapping[int, BarView], wanted: Sequence[tuple[int, int, int]], times: BarTimes) -> Iterator[_Place]:
    for start, length, pitch in wanted:
        number, on = divmod(start, times.length)
        if number not in views or length <= 0:
            continue
        view = views[number]
        tones, scale = view.place(on, length)
        bass = next(part[4] for part in view.parts if part[1] > on)
        table = tune_table(view)
        costs = table[min(on + length, times.length)] - table[on]
        over = on + length - times.length
        if over > 0 and number + 1 in views:
            costs = costs + tune_table(views[number + 1])[min(over, times.length)]
        was, now = (view.tune_at(on - 1), view.tune_at(on)) if on in view.attacks else (0, 0)
        yield _Place(start, length, pitch, tones or view.parts[0][2], scale, bass, costs, was, now)


def _fitted(
    places: Sequence[_Place], low: int, high: int, times: BarTimes
) -> tuple[list[tuple[int, int, int]], int, int]:
    """Return the notes as (start, length, pitch), how many of them aren't what was meant, and their whole cost.

    A note that nothing fits is left out.
    """
    rows = [
        _row(place, low, high, times, 2 if passes else _FOREIGN)
        for place, passes in zip(places, _passing(places, times), strict=True)
    ]
    reached = [(cost, -1) for cost, _ in rows[0]]
    trail = [reached]
    for at in range(1, len(rows)):
        place, before = places[at], places[at - 1]
        meant = place.meant - before.meant
        silent = place.start - before.start - before.length
        step = []
        for cost, pitch in rows[at]:
            ways = []
            for back, (_, last) in enumerate(rows[at - 1]):
                moved = pitch - last
                way = 12 * abs(moved - meant) + 80 * (moved == 0 != meant)
                way += max(0, LEAPS[abs(moved)] - LEAPS[min(abs(meant), 24)])
                if place.was and place.now and place.was != place.now and moved and silent < times.length:
                    interval = abs(pitch - place.now) % 12
                    way += HARD * (interval in (0, 7) and interval == abs(last - place.was) % 12)
                ways.append((trail[-1][back][0] + way, back))
            best, back = min(ways)
            step.append((best + cost, back))
        trail.append(step)
    total = min(cost for cost, _ in trail[-1])
    at = [cost for cost, _ in trail[-1]].index(total)
    notes, mended = [], 0
    for place, row, step in zip(reversed(places), reversed(rows), reversed(trail), strict=True):
        cost, pitch = row[at]
        mended += pitch != _meant(place, low, high)
        if cost < HARD // 2:
            notes.append((place.start, place.length, pitch))
        at = step[at][1]
    return notes[::-1], mended, total


def _passing(places: Sequence[_Place], times: BarTimes) -> list[bool]:
    """Return which notes come and go by step in what was meant, beside the strong beats."""
    steps = [99, *(abs(after.meant - one.meant) for one, after in pairwise(places)), 99]
    return [
        0 < came <= 2 and 0 < goes <= 2 and place.length <= 12 and place.start % times.length not in times.strong
        for place, (came, goes) in zip(places, pairwise(steps), strict=True)
    ]


def _meant(place: _Place, low: int, high: int) -> int:
    """Return the pitch that was meant, in the scale and, by octaves, in the range."""
    pitch = place.meant if place.scale >> place.meant % 12 & 1 else stepped(place.meant, 0, place.scale)
    while pitch > high and pitch - 12 >= low:
        pitch -= 12
    while pitch < low and pitch + 12 <= high:
        pitch += 12
    return pitch


def _row(place: _Place, low: int, high: int, times: BarTimes, foreign: int) -> list[tuple[int, int]]:
    """Return (cost, pitch) of the pitch that was meant and of those near it; `foreign` is a tick outside the chord."""
    meant = _meant(place, low, high)
    reach = _FAR if low <= place.meant <= high else 2 * _FAR
    strong = place.start % times.length in times.beats
    row = []
    for pitch in range(low, high + 1):
        away = min(abs(pitch - meant), abs(pitch - place.meant))
        own = place.tones >> pitch % 12 & 1
        if pitch == meant or (own and away <= reach) or (place.scale >> pitch % 12 & 1 and away < 3):
            cost = int(place.costs[pitch - low]) + (_MEND + _MEND_A_SEMITONE * away) * (pitch != meant)
            if not own:
                cost += foreign * place.length if place.length >= 18 or strong else place.length
                cost += _RUBS_ON_BASS * ((pitch - place.bass) % 12 in (1, 11) and place.length >= 6 and strong)
            row.append((cost, pitch))
    return row or [(HARD, min(max(meant, low), high))]


def _by_bar(notes: Sequence[tuple[int, int, int]], bars: range, times: BarTimes) -> Lines:
    lines: dict[int, list[Note]] = {number: [] for number in bars}
    for start, length, pitch in notes:
        lines[start // times.length].append((start % times.length, length, pitch))
    return {number: tuple(found) for number, found in lines.items()}
