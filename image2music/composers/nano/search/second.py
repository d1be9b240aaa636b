"""Second voices against a finished tune: lines that answer in the motif's cells, and descants.

Each bar offers candidates: a rest, long chord notes with passing notes, notes held over as suspensions, cells of the
motif where the tune stands still. They are judged against the tune by intervals a tick, and a small beam joins them:
steps rather than leaps, contrary motion, no parallel fifths and octaves, another rhythm than the tune's and than the
bar before, breath. What a bar offers depends on the bar alone and is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.search.ground import (
    HARD,
    LEAPS,
    BarTimes,
    BarView,
    Classes,
    Ground,
    Lines,
    Rhythm,
    Table,
    bar_times,
    bar_views,
    ladder,
    long_rhythms,
    stepped,
    tune_table,
    turned,
)
from image2music.composers.nano.sketch import Note

Contour = tuple[int, ...]
_Place = tuple[Classes, Classes]
"""Chord tones and scale."""

_BEAM, _RHYTHMS, _OF_A_RHYTHM, _QUOTATIONS, _ROWS, _ROWS_HELD = 8, 10, 5, 6, 26, 6
_CONTOURS: dict[int, tuple[Contour, ...]] = {
    1: ((0,),),
    2: ((0, 1), (0, -1), (0, 2), (0, -2), (0, 3), (0, -3), (0, 4), (0, -4)),
    3: ((0, 1, 2), (0, -1, -2), (0, -1, 0), (0, 1, 0), (0, 2, 1), (0, -2, -1), (0, -1, 1), (0, 1, -1), (0, 2, 4),
        (0, -2, -4), (0, -1, -3), (0, 1, 3), (0, 3, 2), (0, -3, -2)),
    4: ((0, 1, 2, 3), (0, -1, -2, -3), (0, -1, -2, -1), (0, 1, 2, 1), (0, 2, 1, 0), (0, -2, -1, 0), (0, 1, 0, -1),
        (0, -1, 0, 1), (0, 2, 1, -1), (0, -2, -1, 1), (0, 2, 3, 4), (0, -1, -2, 0), (0, 1, 2, 4)),
    5: ((0, 1, 2, 3, 4), (0, -1, -2, -3, -4), (0, 1, 2, 1, 0), (0, -1, -2, -1, 0), (0, 2, 1, 0, -1), (0, -2, -1, 0, 1),
        (0, -1, 0, 1, 2), (0, 1, 0, -1, -2), (0, 1, 2, 3, 2), (0, -1, -2, -3, -2)),
}  # fmt: skip
"""Steps from the first note, by how many notes a bar has."""
_HELD: dict[int, tuple[Contour, ...]] = {
    2: ((0, -1), (0, 1)),
    3: ((0, -1, 0), (0, -1, -2), (0, -1, 1), (0, -1, -3), (0, 1, 2), (0, 1, 0)),
}
"""The same where the first note is held over from the bar before."""
_LINE, _OVER, _CELL = 0, 1, 2
_OCTAVES = 160
"""What parallel octaves with the bass cost, which may lie in any octave."""


# what a bar offers


@lru_cache(maxsize=8192)
def _walks(
    meter: str, rhythm: Rhythm, contours: tuple[Contour, ...], places: tuple[_Place, ...], opening: int, low: int,
    high: int, manner: int,
) -> tuple[Table, Table, NDArray[np.bool_]]:  # fmt: skip
    """Return pitches [lines, notes], the lines' own costs and whether their last notes want to move on by step.

    They start on any pitch of `opening` from `low` to `high` and don't leave that range.
    """
    root = _origin(*places[0])
    first, steps, spread, costs, pending = _shapes(
        meter, rhythm, contours, tuple((turned(t, root), turned(s, root)) for t, s in places), manner
    )
    octaves = np.arange(root + low // 12 * 12 - 12, high + 1, 12, dtype=np.int32)
    starts = first + octaves[:, None]
    allowed = turned(opening, root) >> first & 1 > 0
    at = np.flatnonzero(allowed & (starts + spread[0] >= low) & (starts + spread[1] <= high))
    of = at % max(1, len(first))
    return starts.ravel()[at, None] + steps[of], costs[of], pending[of]


@lru_cache(maxsize=4096)
def _origin(tones: Classes, scale: Classes) -> int:
    """Return the pitch class from which chord and scale look the same in all keys."""
    return min(range(12), key=lambda root: (turned(tones, root), turned(scale, root), root))


@lru_cache(maxsize=8192)
def _shapes(
    meter: str, rhythm: Rhythm, contours: tuple[Contour, ...], places: tuple[_Place, ...], manner: int
) -> tuple[Table, Table, Table, Table, NDArray[np.bool_]]:
    """Return first notes (0-11), semitones from them [lines, notes], their least and greatest, costs, what moves on.

    Notes foreign to the chord pass by step; in a cell, those that would stand out are moved to the chord.
    """
    bar = bar_times(meter)
    firsts, lines, costs, pending = [], [], [], []
    openings = {_LINE: places[0][0], _OVER: 0xFFF, _CELL: places[0][1]}[manner]
    for first in range(60, 72):
        if not openings >> first % 12 & 1:
            continue
        for contour in contours:
            pitches = [first] + [
                stepped(first, step, scale) if step or manner == _CELL else first
                for step, (_, scale) in zip(contour[1:], places[1:], strict=True)
            ]
            moved = _settle(pitches, rhythm, places) if manner == _CELL else 0
            if moved > 1 + len(pitches) // 4 or len(set(pitches)) < min(2, len(pitches)):
                continue
            judged = _own_cost(bar, rhythm, pitches, places, manner)
            if judged is not None:
                firsts.append(pitches[0] - 60)
                lines.append([pitch - pitches[0] for pitch in pitches])
                costs.append(judged[0] + 40 * moved)
                pending.append(judged[1])
    shape = np.array(lines, np.int32).reshape(-1, len(rhythm))
    spread = np.array([shape.min(axis=1), shape.max(axis=1)])
    return np.array(firsts, np.int32), shape, spread, np.array(costs, np.int32), np.array(pending, bool)


def _settle(pitches: list[int], rhythm: Rhythm, places: Sequence[_Place]) -> int:
    """Move long foreign notes that don't go on by step to a neighbour in the chord; return how many."""
    moved = 0
    for at, (_, length) in enumerate(rhythm):
        tones, scale = places[at]
        goes_on = at + 1 < len(pitches) and 0 < abs(pitches[at + 1] - pitches[at]) <= 2
        if tones >> pitches[at] % 12 & 1 or (length < 12 and goes_on):
            continue
        way = 1 if at and pitches[at] > pitches[at - 1] else -1
        for step in (way, -way):
            near = stepped(pitches[at], step, scale)
            if tones >> near % 12 & 1 and not (at and near == pitches[at - 1]):
                pitches[at] = near
                moved += 1
                break
    return moved


def _own_cost(
    bar: BarTimes, rhythm: Rhythm, pitches: Sequence[int], places: Sequence[_Place], manner: int
) -> tuple[int, bool] | None:
    """Return what a line of one bar costs by itself and whether its last note is a passing one, None for a bad line."""
    cost, pending = 24 * (len(pitches) > 2 and pitches[0] == pitches[-1] and manner != _CELL), False
    for one, after in pairwise(pitches):
        away = abs(after - one)
        if away > 12:
            return None
        cost += LEAPS[away] if manner != _CELL else LEAPS[away] // 3
    for at, ((start, length), (tones, _)) in enumerate(zip(rhythm, places, strict=True)):
        pitch = pitches[at]
        if tones >> pitch % 12 & 1:
            cost += 20 * (manner == _OVER and at == 0)
            continue
        is_last = at + 1 == len(pitches)
        left = None if is_last else pitches[at + 1] - pitch
        if manner == _OVER and at == 0:
            resolved = left in (-1, -2) and places[1][0] >> pitches[1] % 12 & 1
            if not resolved or length > max(bar.half, 12):
                return None
            cost -= 60
            continue
        came = abs(pitch - pitches[at - 1]) if at else 99
        beat = 18 if len(bar.beats) > 1 and bar.beats[1] % 18 == 0 else 12
        smooth = 0 < came <= 2 and (is_last or (left is not None and 0 < abs(left) <= 2))
        if length > beat or (not smooth and (manner != _CELL or length >= 12 or is_last)):
            return None
        pending = is_last
        cost += (8 if smooth else 45) + (60 if start in bar.strong and length >= 12 else 0)
    return cost, pending


class _Offer(NamedTuple):
    """One candidate: its cost, first and last pitch (0 for a rest), first onset, silence after it, and so on.

    `was` and `now` are the tune's pitches just before and at its first note, `then` at its last note.
    """

    cost: int
    first: int
    last: int
    lead: int
    tail: int
    manner: int
    pending: bool
    rhythm: Rhythm
    was: int
    now: int
    then: int
    on_bass: bool
    pitches: list[int]


@lru_cache(maxsize=1024)
def _offers(
    view: BarView, opening: Classes, cells: tuple[tuple[Note, ...], ...], busy: int, is_end: bool
) -> list[_Offer]:
    """Return the best candidates of a bar, best first.

    `opening` are the chord tones that the bar before may hold over, `busy` is in hundredths; `is_end` asks for one note
    or a rest.
    """
    bar = bar_times(view.meter)
    attacks = view.attacks
    rest = 200 + 2 * busy - (60 if len(attacks) > 4 else 0) - 80 * is_end
    silence = _Offer(rest, 0, 0, bar.length, bar.length, _LINE, False, (), 0, 0, 0, False, [])
    judge = _Judge(view, bar)
    if is_end:
        judge.add(((0, bar.length),), _CONTOURS[1], 0, _LINE)
        return sorted([silence, *judge.offers()])
    target = 10 + busy // 3 - (6 if len(attacks) > 4 else 0)
    rhythms = dict.fromkeys((*long_rhythms(view.meter), *view.gaps()))
    ranked = sorted((_beside(rhythm, view) + 3 * abs(10 * len(rhythm) - target), rhythm) for rhythm in rhythms)
    for extra, rhythm in ranked[:_RHYTHMS]:
        judge.add(rhythm, _CONTOURS.get(len(rhythm), ()), extra, _LINE)
        if opening and rhythm[0][0] == 0 and rhythm[0][1] <= bar.half:
            judge.add(rhythm, _HELD.get(len(rhythm), ()), extra - 30, _OVER, opening)
    for rhythm, contours in _quotations(view, cells):
        judge.add(rhythm, contours, _beside(rhythm, view) - 90 - 2 * busy, _CELL)
    return sorted([silence, *judge.offers()])


def _beside(rhythm: Rhythm, view: BarView) -> int:
    """Return what a rhythm costs beside the tune's: onsets together, and the same ones altogether."""
    onsets = tuple([start for start, _ in rhythm])
    cost = 150 * (len(onsets) > 1 and onsets == view.attacks)
    for start in onsets:
        if start:
            cost += 24 if start in view.attacks else -8
    return cost


class _Judge:
    """Judges lines of one bar against its tune and keeps the cheapest of each rhythm."""

    def __init__(self, view: BarView, bar: BarTimes) -> None:
        self.view, self.bar = view, bar
        self.table = tune_table(view)
        self.sounds = [view.before, *[0] * bar.length]
        for start, end, pitch in view.tune:
            self.sounds[start + 1 : end + 1] = [pitch] * (end - start)
        self.basses = [bass for start, end, _, _, bass in view.parts for _ in range(start, end)]
        self.lots: list[tuple[Rhythm, list[list[int]], list[bool], int]] = []
        self.found: list[tuple[int, int, int]] = []

    def add(
        self,
        rhythm: Rhythm,
        contours: tuple[Contour, ...],
        extra: int,
        manner: int,
        opening: Classes = 0,
    ) -> None:
        """Judge the lines of a rhythm; `opening` are the pitch classes of their first notes, else those that suit."""
        view, sounds, basses = self.view, self.sounds, self.basses
        places = tuple([view.place(*slot) for slot in rhythm])
        opening = opening or places[0][manner == _CELL]
        if not opening or not contours:
            return
        lines, own, pending = _walks(view.meter, rhythm, contours, places, opening, view.low, view.high, manner)
        if not len(own):
            return
        total, before, last = own + extra, lines[:, 0], 0
        for at, (start, length) in enumerate(rhythm):
            pitches = lines[:, at]
            total += (self.table[start + length] - self.table[start])[pitches - view.low]
            now = sounds[start + 1]
            if at and now:
                was, then = sounds[start], sounds[last + 1]
                if was and was != now:
                    total += _along(before, pitches, was, now)
                if then and then not in (was, now):
                    total += _along(before, pitches, then, now) // 4
            if at and basses[start] != basses[last]:
                total += _OCTAVES * ((pitches % 12 == basses[start]) & (before % 12 == basses[last]))
            before, last = pitches, start
        kept = _OF_A_RHYTHM * (3 if manner == _OVER else 1)
        picked = np.argsort(total, kind="stable")[:kept]
        lot = len(self.lots)
        self.lots.append((rhythm, lines[picked].tolist(), pending[picked].tolist(), manner))
        self.found += [(cost, lot, at) for at, cost in enumerate(total[picked].tolist())]

    def offers(self) -> list[_Offer]:
        """Return the best candidates, and the best of those that are held over."""
        self.found.sort()
        held = [one for one in self.found if self.lots[one[1]][3] == _OVER][:_ROWS_HELD]
        free = [one for one in self.found if self.lots[one[1]][3] != _OVER][:_ROWS]
        return [self._offer(*one) for one in (*free, *held) if one[0] < HARD // 2]

    def _offer(self, cost: int, lot: int, at: int) -> _Offer:
        rhythm, lines, pending, manner = self.lots[lot]
        pitches, first, (last, length), sounds = lines[at], rhythm[0][0], rhythm[-1], self.sounds
        on_bass = pitches[0] % 12 == self.basses[first]
        return _Offer(
            cost, pitches[0], pitches[-1], first, self.bar.length - last - length, manner, pending[at], rhythm,
            sounds[first], sounds[first + 1], sounds[last + 1], on_bass, pitches,
        )  # fmt: skip


def _along(before: Table, after: Table, was: int, now: int) -> Table:
    """Return what motion beside the tune costs: parallel fifths and octaves, the same way; the other way is welcome."""
    interval = np.abs(after - now) % 12
    parallel = (interval == np.abs(before - was) % 12) & ((interval == 0) | (interval == 7)) & (after != before)
    way = np.sign(after - before) * (20 if now > was else -20)
    return np.asarray(HARD * parallel + way, np.int32)


def _quotations(view: BarView, cells: tuple[tuple[Note, ...], ...]) -> list[tuple[Rhythm, tuple[Contour, ...]]]:
    """Return the motif's cells, heads and tails, upright and inverted, where the tune stands still or rests."""
    found: dict[Rhythm, dict[Contour, None]] = {}
    for start, end in view.still():
        room = end - start
        for cell in _cells(cells, view.parts[0][3]):
            kept = [(on, min(length, room - on), step) for on, length, step in cell if on < room]
            if len(kept) < 3 and not (len(kept) == 2 and kept[0][1] != kept[1][1] and room <= 24):
                continue
            if kept[-1][1] < 6:
                kept[-1] = (kept[-1][0], min(12, room - kept[-1][0]), kept[-1][2])
            if len({step for _, _, step in kept}) > 1:
                rhythm = tuple((start + on, length) for on, length, _ in kept)
                found.setdefault(rhythm, {})[tuple(step for _, _, step in kept)] = None
    return [(rhythm, tuple(contours)) for rhythm, contours in found.items()][:_QUOTATIONS]


@lru_cache(maxsize=256)
def _cells(cells: tuple[tuple[Note, ...], ...], scale: Classes) -> list[tuple[tuple[int, int, int], ...]]:
    """Return (onset, length, steps) from the first note of cells, heads and tails, each upright and inverted."""
    places = ladder(scale)[1]
    found: dict[tuple[tuple[int, int, int], ...], None] = {}
    for cell in cells:
        for part in (cell, cell[:4], cell[-4:], cell[-3:]):
            if len(part) > 1:
                origin, root = part[0][0], places[part[0][2]]
                steps = [(on - origin, length, places[pitch] - root) for on, length, pitch in part]
                found[tuple(steps)] = None
                found[tuple((on, length, -step) for on, length, step in steps)] = None
    return list(found)


# the line through the bars


class _Path(NamedTuple):
    cost: int
    last: int
    tail: int
    sung: int
    rests: int
    pending: bool
    leans: int
    on_bass: bool
    rhythm: Rhythm
    older: Rhythm
    then: int
    offers: tuple[_Offer, ...]


def _joined(path: _Path, offer: _Offer, bar: BarTimes, busy: int) -> int:
    """Return what it costs to go on from a path with a bar's candidate, `HARD` or more where it can't be."""
    beat = bar.beats[1] if len(bar.beats) > 1 else 12
    if not offer.first:
        return (60 + 2 * busy) * path.rests + (HARD // 4 if path.pending else 0)
    cost = 0
    if offer.rhythm == path.rhythm:
        cost += 170
    elif offer.rhythm == path.older:
        cost += 25
    silent = path.tail + offer.lead
    if path.last:
        away = abs(offer.first - path.last)
        if offer.manner == _OVER:
            if away or silent or path.pending:
                return HARD
        else:
            jump = LEAPS[away]
            cost += jump // 3 if silent >= beat else jump
            if path.pending and (silent or not 0 < away <= 2):
                cost += HARD // 4
            if path.leans and away and not silent and not 0 < (offer.first - path.last) * path.leans <= 2:
                cost += 60
        if away and offer.on_bass and path.on_bass and silent < bar.length and offer.manner != _OVER:
            cost += _OCTAVES
        if away and silent < bar.length:
            for was, weight in ((offer.was, HARD), (path.then, HARD // 4)):
                if was and offer.now and was != offer.now:
                    interval = abs(offer.first - offer.now) % 12
                    if interval in (0, 7) and interval == abs(path.last - was) % 12:
                        cost += weight
                    cost += 10 if (offer.first - path.last) * (offer.now - was) > 0 else -10
    elif offer.manner == _OVER:
        return HARD
    sung = path.sung + (0 if offer.lead >= beat else bar.length - offer.tail)
    if 2 * sung > 5 * bar.length:
        cost += 80 + 250 * (2 * sung - 5 * bar.length) // bar.length
    return cost


def _sung_line(
    views: Mapping[int, BarView], cells: tuple[tuple[Note, ...], ...], busy: int, last_bar: int, seed: int
) -> tuple[Lines, int]:
    bars = list(views)
    if not bars:
        return {}, 0
    bar = bar_times(views[bars[0]].meter)
    beat = bar.beats[1] if len(bar.beats) > 1 else 12
    whims = np.random.Generator(np.random.Philox(seed)).integers(0, 36, (len(bars), 64)).tolist()
    paths = [_Path(0, 0, bar.length, 0, 0, False, 0, False, (), (), 0, ())]
    opening: Classes = 0
    for number, whim in zip(bars, whims, strict=True):
        view = views[number]
        offers = _offers(view, opening, cells, busy, number == last_bar)
        reached: dict[tuple[int, Rhythm], tuple[int, int, int]] = {}
        bound = [HARD * 1000] * _BEAM
        for one, path in enumerate(paths):
            for two, offer in enumerate(offers):
                base = path.cost + offer.cost
                if base - 20 > bound[-1]:
                    break
                cost = base + whim[two] + _joined(path, offer, bar, busy)
                state = offer.last, offer.rhythm
                if state not in reached or (cost, one, two) < reached[state]:
                    reached[state] = cost, one, two
                    if cost < bound[-1]:
                        bound[-1] = cost
                        bound.sort()
        best = sorted(reached.values())[:_BEAM]
        paths = [_onward(paths[one], offers[two], cost, view, beat) for cost, one, two in best]
        opening = view.parts[-1][2]
    chosen = min(paths, key=lambda path: (path.cost + (HARD // 4) * path.pending, path.cost))
    return _written(bars, chosen.offers), round(chosen.cost / len(bars))


def _onward(path: _Path, offer: _Offer, cost: int, view: BarView, beat: int) -> _Path:
    bar, offers = bar_times(view.meter), (*path.offers, offer)
    if not offer.first:
        return _Path(
            cost, path.last, path.tail + bar.length, 0, path.rests + 1, False, 0, False, (), path.rhythm, 0, offers
        )
    sung = bar.length - offer.tail if offer.lead >= beat else path.sung + bar.length - offer.tail
    sung = 0 if offer.tail >= beat else sung
    leans = (view.rising >> offer.last % 12 & 1) - (view.falling >> offer.last % 12 & 1)
    return _Path(
        cost, offer.last, offer.tail, sung, 0, offer.pending, leans, offer.last % 12 == view.parts[-1][4], offer.rhythm,
        path.rhythm, offer.then, offers,
    )  # fmt: skip


def _written(bars: Sequence[int], offers: Sequence[_Offer]) -> Lines:
    lines: dict[int, list[Note]] = {}
    length, since = 0, -1
    for number, offer in zip(bars, offers, strict=True):
        notes = [(start, dur, pitch) for (start, dur), pitch in zip(offer.rhythm, offer.pitches, strict=True)]
        if offer.manner == _OVER:
            on, length, pitch = lines[since][-1]
            lines[since][-1] = on, length + notes[0][1], pitch
            del notes[0]
        lines[number] = notes
        since = number if notes else since
    return {number: tuple(notes) for number, notes in lines.items()}


def answer_line(
    ground: Ground,
    melody: Sequence[tuple[Note, ...]],
    bars: range,
    cells: Sequence[tuple[Note, ...]],
    low: int,
    high: int,
    under: bool = True,
    busy: float = 0.5,
    seed: int = 0,
) -> tuple[Lines, int]:
    """Return a voice that sings beside a tune and answers it in the motif's cells, by bar, and its cost a bar.

    `melody` are the tune's bars from the piece's first, `cells` bars of the motifs. The line keeps to `low` to `high`
    (MIDI), sounds below the tune if `under`, and moves the more the nearer `busy` is to 1. A last note may be held over
    the bar's end; the bar after begins behind it. In the piece's last bar there is one note or none.

    Raises:
        PlanError: `bad_key`, `bad_chord`, `bad_meter`.
    """
    views = bar_views(ground, melody, bars, low, high, -1 if under else 0)
    motifs = tuple(tuple(cell) for cell in cells if cell)
    return _sung_line(views, motifs, round(100 * min(max(busy, 0.0), 1.0)), len(melody) - 1, seed)
