"""Bad music to learn from: human excerpts spoiled in one way each, and tunes that are none.

Every maker gives None where its excerpt does not allow it. All dice come from the generator that is passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from image2music.music.critic.hearing import STEPS, Excerpt, Ints, PieceHeard

Dice = np.random.Generator
Maker = Callable[[Excerpt, Dice, Sequence[Excerpt]], Excerpt | None]
"""From an excerpt, dice and other excerpts of the same kind of music."""

_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)


def _with(excerpt: Excerpt, parts: Sequence[Excerpt]) -> Excerpt:
    """Return the notes of the parts in the bars of the excerpt."""
    onsets, durations, pitches, voices = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("onsets", "durations", "pitches", "voices")
    )
    return replace(excerpt, onsets=onsets, durations=durations, pitches=pitches, voices=voices).in_order()


def _of_voice(excerpt: Excerpt, voice: int) -> Excerpt:
    return excerpt.kept(excerpt.voices == voice)


def _as_long_as(excerpt: Excerpt, length: int) -> Excerpt | None:
    """Return it with as many whole bars as `length` steps fill; None below seven."""
    n = int(np.searchsorted(excerpt.bars, length, side="right")) - 1
    return replace(excerpt, bars=excerpt.bars[: n + 1]).in_order() if n >= 7 else None


def moved_pitches(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Move every tenth note by up to eleven semitones."""
    n = len(excerpt.pitches)
    chosen = dice.choice(n, max(1, n // 10), replace=False)
    pitches = excerpt.pitches.copy()
    pitches[chosen] += dice.integers(1, 12, len(chosen)) * dice.choice([-1, 1], len(chosen))
    return replace(excerpt, pitches=np.clip(pitches, 21, 108)).in_order()


def shuffled_bars(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Put the whole bars into another order."""
    lengths = np.diff(excerpt.bars)
    whole = np.flatnonzero(lengths == excerpt.bar)
    if len(whole) < 8:
        return None
    order = dice.permutation(whole)
    while (order == whole).mean() > 0.3:
        order = dice.permutation(whole)
    goes_to = np.arange(len(lengths))
    goes_to[whole] = order
    bar = np.searchsorted(excerpt.bars, excerpt.onsets, side="right") - 1
    since = excerpt.onsets - excerpt.bars[bar]
    return replace(excerpt, onsets=excerpt.bars[goes_to[bar]] + since).in_order()


def two_pieces(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Keep one voice and take the others from another piece in the same meter, moved to the same key."""
    fitting = [
        other
        for other in pool
        if other is not excerpt and (other.bar, other.beat) == (excerpt.bar, excerpt.beat) and other.n_voices > 1
    ]
    if excerpt.n_voices < 2 or not fitting:
        return None
    other = fitting[int(dice.integers(len(fitting)))]
    step = (PieceHeard(excerpt).tonic - PieceHeard(other).tonic + 6) % 12 - 6
    later = int(excerpt.bars[1] - other.bars[1])
    theirs = other.kept(other.voices > 0)
    voices = np.minimum(theirs.voices, excerpt.n_voices - 1)
    theirs = replace(
        theirs, onsets=theirs.onsets + later, pitches=np.clip(theirs.pitches + step, 0, 127), voices=voices
    )
    shorter = _as_long_as(excerpt, min(excerpt.length, other.length + later))
    if shorter is None:
        return None
    mixed = _with(shorter, [_of_voice(excerpt, 0), theirs])
    return mixed if mixed.n_voices > 1 else None


def voice_off_key(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Move one voice by a semitone or a tritone."""
    if excerpt.n_voices < 2:
        return None
    step = int(dice.choice([-6, -1, 1, 6])) * (excerpt.voices == dice.integers(excerpt.n_voices))
    return replace(excerpt, pitches=np.clip(excerpt.pitches + step, 0, 127)).in_order()


def equal_rhythm(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Make all notes eighths: one after the other, or whatever sounds struck again."""
    step = STEPS // 2
    parts, ends = [], []
    if dice.random() < 0.5:
        for voice in range(excerpt.n_voices):
            part = _of_voice(excerpt, voice)
            _, nth = np.unique(part.onsets, return_inverse=True)
            parts.append(replace(part, onsets=nth * step, durations=np.full(len(nth), step)))
            ends.append(int(nth.max()) * step + step)
        shorter = _as_long_as(excerpt, max(ends))
        return _with(shorter, parts) if shorter is not None else None
    grid = np.arange(0, excerpt.length, step)
    sounds = (excerpt.onsets[:, None] <= grid) & (excerpt.onsets + excerpt.durations > grid[:, None]).T
    note, at = np.nonzero(sounds)
    struck = excerpt.kept(note)
    return replace(struck, onsets=grid[at], durations=np.full(len(at), step)).in_order()


def random_rhythm(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Give every voice its own note lengths in another order, or lengths drawn at random."""
    parts, ends = [], []
    for voice in range(excerpt.n_voices):
        part = _of_voice(excerpt, voice)
        onsets, nth = np.unique(part.onsets, return_inverse=True)
        gaps = np.diff(np.append(onsets, excerpt.length))
        drawn = dice.choice([6, 12, 18, 24, 36, 48], len(gaps))
        lengths = dice.permutation(gaps) if dice.random() < 0.5 else drawn
        starts = onsets[0] + np.cumsum(lengths) - lengths
        parts.append(replace(part, onsets=starts[nth], durations=lengths[nth]))
        ends.append(int(starts[-1]))
    shorter = _as_long_as(excerpt, min(excerpt.length, max(ends) + STEPS))
    return _with(shorter, parts) if shorter is not None else None


def permuted_pitches(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Give every voice its own pitches in another order."""
    pitches = excerpt.pitches.copy()
    for voice in range(excerpt.n_voices):
        mine = np.flatnonzero(excerpt.voices == voice)
        pitches[mine] = dice.permutation(pitches[mine])
    return replace(excerpt, pitches=pitches).in_order()


def cut_ending(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Break off up to two bars before the end; None where it goes on anyhow."""
    if not excerpt.has_end or excerpt.n_bars < 8:
        return None
    stop = excerpt.length - int(dice.uniform(0.75, 2.0) * excerpt.bar)
    n = int(np.searchsorted(excerpt.bars, stop, side="left"))
    shorter = excerpt.kept(excerpt.onsets < stop)
    shorter = replace(shorter, durations=np.minimum(shorter.durations, stop - shorter.onsets))
    return replace(shorter, bars=excerpt.bars[: n + 1]).in_order()


def moved_ending(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Transpose the last bar, so that it does not close."""
    if not excerpt.has_end:
        return None
    late = excerpt.onsets >= min(int(excerpt.bars[-2]), int(excerpt.onsets.max()))
    step = int(dice.choice([-5, -4, -2, 2, 3, 5]))
    return replace(excerpt, pitches=np.clip(excerpt.pitches + step * late, 0, 127)).in_order()


def walking_melody(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Let the highest voice walk at random through its scale, in its own rhythm."""
    heard = PieceHeard(excerpt)
    scale = [(heard.tonic + degree) % 12 for degree in (_MINOR if heard.minor else _MAJOR)]
    voice = int(heard.mean_pitch[: excerpt.n_voices].argmax())
    mine = np.flatnonzero(excerpt.voices == voice)
    _, first, nth = np.unique(excerpt.onsets[mine], return_index=True, return_inverse=True)
    low, high = int(excerpt.pitches[mine].min()) - 3, int(excerpt.pitches[mine].max()) + 4
    ladder = np.array([pitch for pitch in range(low, high) if pitch % 12 in scale])
    start = int(np.abs(ladder - excerpt.pitches[mine[0]]).argmin())
    walk = ladder[_walk(start, dice.choice([-2, -1, -1, 0, 1, 1, 2], len(first)), len(ladder))]
    pitches = excerpt.pitches.copy()
    pitches[mine] = walk[nth]
    single = np.ones(len(pitches), dtype=np.bool_)
    single[mine] = False
    single[mine[first]] = True
    return replace(excerpt, pitches=pitches).kept(single).in_order()


def _walk(start: int, steps: Ints, n: int) -> Ints:
    places, place = [], start
    for step in steps.tolist():
        places.append(place)
        place = min(n - 1, max(0, place + step))
    return np.array(places, dtype=np.int64)


CORRUPTIONS: dict[str, Maker] = {
    "10 % of pitches moved": moved_pitches,
    "bars permuted": shuffled_bars,
    "two pieces in one key": two_pieces,
    "a voice off key": voice_off_key,
    "equal rhythm": equal_rhythm,
    "random rhythm": random_rhythm,
    "pitches permuted": permuted_pitches,
    "ending cut": cut_ending,
    "ending not tonic": moved_ending,
    "melody a random walk": walking_melody,
}


_Line = tuple[Sequence[int], int]
"""Pitches that come round and round, each as many steps long."""


def _tune(lines: Sequence[_Line], dice: Dice, silent: int = 0) -> Excerpt:
    """Return 16 to 24 bars, each line played over and over to the end; `silent` more voices are declared."""
    bar, beat = [(96, 24), (72, 24), (96, 24), (48, 24), (72, 36)][int(dice.integers(5))]
    n_bars = int(dice.integers(16, 25))
    length = n_bars * bar
    columns: list[list[Ints]] = [[], [], [], []]
    for voice, (around, step) in enumerate(lines):
        starts = np.arange(0, length, step)
        values = (
            starts,
            np.full_like(starts, step),
            np.resize(np.array(around), len(starts)),
            np.full_like(starts, voice),
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    onsets, durations, pitches, voices = (np.concatenate(column) for column in columns)
    bars = np.arange(n_bars + 1) * bar
    whole = Excerpt(onsets, durations, pitches, voices, len(lines), bars, bar, beat, empty_voices=silent)
    return whole.in_order()


def scale(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """A scale up, down or both, again and again; at times with a second voice that is silent or an octave lower."""
    up = [(0, 2, 4, 5, 7, 9, 11, 12), (0, 2, 3, 5, 7, 8, 10, 12), tuple(range(13))][int(dice.integers(3))]
    shape = [up, up[::-1], up + up[-2:0:-1]][int(dice.integers(3))]
    tonic, step = int(dice.integers(55, 73)), int(dice.choice([6, 12, 24]))
    upper = [tonic + degree for degree in shape]
    if dice.random() < 0.3:
        return _tune([(upper, step), ([pitch - 12 for pitch in upper], step)], dice)
    return _tune([(upper, step)], dice, silent=int(dice.integers(2)))


def one_note(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """One pitch, in equal or random lengths."""
    tune = _tune([([int(dice.integers(50, 80))], int(dice.choice([6, 12, 24, 48])))], dice)
    return tune if dice.random() < 0.5 else random_rhythm(tune, dice, pool)


def drone(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Long notes, a fifth or an octave, at times with a third."""
    low, step = int(dice.integers(40, 70)), int(dice.choice([72, 96, 192]))
    above = [[], [7], [12], [7, 16]][int(dice.integers(4))]
    return _tune([([low + interval], step) for interval in (0, *above)], dice)


def random_walk(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """One to three voices that walk at random, in a scale or through all semitones."""
    white = [pitch for pitch in range(48, 85) if pitch % 12 in _MAJOR]
    ladder = np.array(white if dice.random() < 0.6 else range(50, 82)) + int(dice.integers(-3, 4))
    lines: list[_Line] = []
    for voice in range(int(dice.choice([1, 1, 2, 3]))):
        steps = dice.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3], 400)
        walk = ladder[_walk(max(2, len(ladder) // 2 - 4 * voice), steps, len(ladder))]
        lines.append((walk.tolist(), int(dice.choice([12, 24]))))
    tune = _tune(lines, dice)
    return tune if dice.random() < 0.5 else random_rhythm(tune, dice, pool)


def endless_arpeggio(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """One broken chord for ever, at times over its bass."""
    low, step = int(dice.integers(48, 66)), int(dice.choice([6, 12, 24]))
    chords = [(0, 4, 7), (0, 3, 7), (0, 4, 7, 12), (0, 4, 7, 10), (0, 7, 12, 16), (0, 4, 7, 4), (0, 3, 6, 9)]
    lines: list[_Line] = [([low + tone for tone in chords[int(dice.integers(len(chords)))]], step)]
    if dice.random() < 0.4:
        lines.append(([low - 12], 96))
    return _tune(lines, dice)


def two_notes(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """Two pitches in turn."""
    low, up = int(dice.integers(50, 76)), int(dice.choice([1, 2, 3, 4, 5, 7, 12]))
    lines: list[_Line] = [([low, low + up], int(dice.choice([6, 12, 24, 48])))]
    if dice.random() < 0.25:
        lines.append(([low - 12, low - 12 + up], int(dice.choice([24, 48]))))
    return _tune(lines, dice)


def one_bar_repeated(excerpt: Excerpt, dice: Dice, pool: Sequence[Excerpt]) -> Excerpt | None:
    """One human bar, sixteen times."""
    whole = np.flatnonzero(np.diff(excerpt.bars) == excerpt.bar)
    if not len(whole):
        return None
    bar = int(dice.choice(whole))
    one = excerpt.part(bar, bar + 1)
    if len(np.unique(one.voices)) < excerpt.n_voices or len(one.pitches) < 2:
        return None
    bars = np.arange(17) * excerpt.bar
    times = [replace(one, onsets=one.onsets + int(start)) for start in bars[:-1]]
    return _with(replace(excerpt, bars=bars, has_end=True), times)


DEGENERATE: dict[str, Maker] = {
    "scale": scale,
    "one note": one_note,
    "drone": drone,
    "random walk": random_walk,
    "endless arpeggio": endless_arpeggio,
    "two notes in turn": two_notes,
    "one human bar repeated": one_bar_repeated,
}
