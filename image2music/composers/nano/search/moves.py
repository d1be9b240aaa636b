"""What can be made of a bar of a theme: moved, inverted, ornamented, broken up, slowed, and set on other chords."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from image2music.composers.nano.search.harmony import ChordPlace
from image2music.composers.nano.sketch import Note

Steps = tuple[tuple[int, int, int], ...]
"""Onset and length in ticks, scale steps from the first note."""
Version = tuple[str, float, Steps]
"""The operation's letter, what it costs, the bar."""

OPERATIONS = {"": "T", "i": "I", "f": "F", "o": "TO", "x": "TXOI", "d": "DF", "s": "ST", "g": "FD"}
"""The operations that an idea's letter allows."""


def scale_steps_of(notes: Sequence[Note], place: ChordPlace) -> Steps:
    """Return a bar as scale steps from its first note."""
    rung = place.rung
    first = rung[notes[0][2]]
    return tuple((onset, length, rung[pitch] - first) for onset, length, pitch in notes)


@lru_cache(maxsize=4096)
def versions_of_bar(steps: Steps, letters: str, bar: int, beat: int) -> tuple[Version, ...]:
    """Return what a bar becomes by the operations of `letters`.

    T as it is, I upside down, O ornamented, X its last two notes joined, F its head twice, D in half values and held,
    S half a beat late.
    """
    found: list[Version] = []
    for letter in letters:
        found += [(letter, cost, made) for cost, made in _MAKERS[letter](steps, bar, beat) if made]
    return tuple(dict.fromkeys(found))


_Made = list[tuple[float, Steps]]


def _moved(steps: Steps, bar: int, beat: int) -> _Made:
    return [(0.0, steps)]


def _inverted(steps: Steps, bar: int, beat: int) -> _Made:
    return [(0.0, tuple((onset, length, -step) for onset, length, step in steps))]


def _ornamented(steps: Steps, bar: int, beat: int) -> _Made:
    """Fill thirds with the note between; give a long last note a turn."""
    made: list[tuple[int, int, int]] = []
    short = beat // 2 if beat % 2 == 0 and beat != 18 else 6
    for at, (onset, length, step) in enumerate(steps):
        after = steps[at + 1][2] if at + 1 < len(steps) else None
        if length >= 2 * short and after is not None and abs(after - step) == 2:
            made += [(onset, length - short, step), (onset + length - short, short, (step + after) // 2)]
        elif length >= 4 * short and after is None:
            end = onset + length
            made += [
                (onset, length - 2 * short, step),
                (end - 2 * short, short, step - 1),
                (end - short, short, step + 1),
            ]
        else:
            made.append((onset, length, step))
    return [(0.3, tuple(made))] if len(made) > len(steps) else []


def _joined(steps: Steps, bar: int, beat: int) -> _Made:
    if len(steps) < 3:
        return []
    (onset, length, step), (_, more, _) = steps[-2:]
    return [(0.5, (*steps[:-2], (onset, length + more, step)))]


def _head_twice(steps: Steps, bar: int, beat: int) -> _Made:
    """State the head of a bar, then once more one or two steps on."""
    if len(steps) < 3:
        return []
    half = bar // 2 if bar % (2 * beat) == 0 else beat if bar // beat == 3 else bar // beat // 2 * beat
    made: _Made = []
    for cut in dict.fromkeys((half, bar - half)):
        head = tuple((o, min(d, cut - o), s) for o, d, s in steps if o < cut)
        if len(head) < 2:
            continue
        for move in (1, -1, 2, -2):
            tail = tuple((o + cut, min(d, bar - cut - o), s + move) for o, d, s in head if o < bar - cut)
            made.append((0.3 if bar - cut >= cut else 0.4, head + tail))
    return made


def _shortened(steps: Steps, bar: int, beat: int) -> _Made:
    if len(steps) < 2 or any(length % 6 for _, length, _ in steps) or bar % 24 or beat == 18:
        return []
    onset, _, step = steps[-1]
    return [(0.5, (*((o // 2, d // 2, s) for o, d, s in steps[:-1]), (onset // 2, bar - onset // 2, step)))]


def _late(steps: Steps, bar: int, beat: int) -> _Made:
    last = len(steps) - 1
    if steps[0][0] or steps[-1][1] <= 6:
        return []
    return [(0.6, tuple((o + 6, d if at < last else d - 6, s) for at, (o, d, s) in enumerate(steps)))]


_MAKERS = {
    "T": _moved, "I": _inverted, "O": _ornamented, "X": _joined, "F": _head_twice, "D": _shortened,
    "S": _late,
}  # fmt: skip


def in_double_values(notes: Sequence[Note], second_half: bool, bar: int) -> tuple[Note, ...]:
    """Return half a bar of a theme twice as slow."""
    half = bar // 2
    if second_half:
        part = [(o - half, d, p) for o, d, p in notes if o >= half] or [(0, half, notes[-1][2])]
    else:
        part = [(o, min(d, half - o), p) for o, d, p in notes if o < half] or [(0, half, notes[0][2])]
    slow = [(2 * o, 2 * d, p) for o, d, p in part]
    if slow[0][0] > 0:
        slow = [(0, slow[0][0] + slow[0][1], slow[0][2]), *slow[1:]]
    return tuple(slow)


def set_on(steps: Steps, base: int, places: Sequence[ChordPlace], bar: int, beat: int) -> tuple[list[int], int]:
    """Return the pitches of a bar that begins near `base` over its chords, and how many had to move.

    Notes that are strong or long and foreign to the chord move to the nearest tone, unless they resolve by step.
    """
    first, count = places[0], len(places)
    if count == 1:
        ladder, root = first.ladder, first.rung[base]
        pitches = [ladder[root + step] for _, _, step in steps]
        here = [first] * len(pitches)
    else:
        pitches, here = [], []
        last_step = 0
        for onset, _, step in steps:
            place = places[min(count - 1, onset * count // bar)]
            pitches.append(place.step(pitches[-1], step - last_step) if pitches else place.step(base, 0))
            here.append(place)
            last_step = step
    moved, end = 0, len(pitches) - 1
    strong = bar // 2 if bar % (2 * beat) == 0 else bar
    for at, (onset, length, _) in enumerate(steps):
        pitch = pitches[at]
        if pitch % 12 in here[at].tones:
            continue
        after = pitches[at + 1] if at < end else None
        if after is None:
            wrong = length >= 12
        else:
            resolves = 0 < abs(after - pitch) <= 2 and after % 12 in here[at + 1].tones
            wrong = (onset % strong == 0 or length >= 12) and not (resolves and length <= 18)
        if wrong:
            pitches[at] = here[at].nearest_tone(pitch)
            moved += 1
    return pitches, moved
