"""What sounds together: the chord that is heard against the one that is planned, rubs, parallel octaves and fifths."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from image2music.errors import PlanError
from image2music.music.listen.hearing import (
    EIGHTH,
    HeardBar,
    HeardNote,
    HeardTune,
    HeardVoice,
    Planned,
    Window,
    window_of,
)
from image2music.music.listen.sheet import Fault, FaultKind
from image2music.music.planning.plan import FIGURE_ROLES
from image2music.music.theory import TICKS_PER_QUARTER, Chord, read_chord

FloatArray = NDArray[np.float64]

_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_QUALITIES = ("", "m", "7", "m7", "maj7", "dim", "m7b5", "dim7", "aug", "sus4", "sus2", "m6", "6")


@cache
def _candidates() -> tuple[list[Chord], FloatArray, NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Chords, their classes (float64[n, 12]), roots, thirds and what a tone more than three costs."""
    chords = [read_chord(name + quality) for quality in _QUALITIES for name in _NAMES]
    classes = np.array([[float(pc in chord.classes) for pc in range(12)] for chord in chords])
    roots = np.array([chord.root for chord in chords])
    thirds = np.array([chord.third if chord.third is not None else chord.root for chord in chords])
    dear = np.array([0.06 * (len(chord.tones) - 3) + 0.08 * (chord.third is None) for chord in chords])
    return chords, classes, roots, thirds, dear


_PRESENT = 0.05
_NO_ROOT, _NO_THIRD, _ROOT_IN_BASS = 0.15, 0.1, 0.12


def fit_of_chord(chord: Chord, window: Window) -> float:
    """Return how well a chord explains what sounds, about -1 to 1."""
    weights = window.weights
    inside = float(sum(weights[pc] for pc in chord.classes | {chord.bass}))
    score = 2 * inside - 1
    score -= _NO_ROOT * bool(weights[chord.root] < _PRESENT)
    score -= _NO_THIRD * bool(chord.third is not None and weights[chord.third] < _PRESENT)
    return score + _ROOT_IN_BASS * (window.bass is not None and window.bass % 12 == chord.root)


def heard_chord(window: Window) -> tuple[Chord, float]:
    """Return the chord that explains a window best, with its bass, and how well."""
    chords, classes, roots, thirds, dear = _candidates()
    weights = window.weights
    scores = 2 * classes @ weights - 1 - dear
    scores -= _NO_ROOT * (weights[roots] < _PRESENT) + _NO_THIRD * (weights[thirds] < _PRESENT)
    bass = None if window.bass is None else window.bass % 12
    if bass is not None:
        scores += _ROOT_IN_BASS * (roots == bass)
    best = int(np.round(scores, 6).argmax())
    chord = chords[best]
    if bass is not None and bass != chord.root:
        chord = read_chord(f"{chord.symbol}/{_NAMES[bass]}")
    return chord, round(float(scores[best]), 6)


def harmony_heard(hearing: HeardTune) -> list[str]:
    """Return the symbol of the chord heard in each bar; "" where nothing sounds."""
    windows = [window_of(hearing, bar.start, bar.end) for bar in hearing.bars]
    return [heard_chord(window)[0].symbol if window.n_notes else "" for window in windows]


def planned_windows(planned: Planned) -> Iterator[tuple[int, Chord, Window]]:
    """Yield (bar of the plan, chord, what sounds) for every chord of the plan; chords of one bar share it, by beats.

    Symbols that cannot be read are left out, and bars behind the end.
    """
    for number, text in enumerate(planned.plan.harmony, 1):
        bar = planned.bar(number)
        if bar is None:
            return
        symbols = text.split()
        for nth, symbol in enumerate(symbols):
            try:
                chord = read_chord(symbol)
            except PlanError:
                continue
            start, end = (_share(bar, at, len(symbols)) for at in (nth, nth + 1))
            yield number, chord, window_of(planned.hearing, start, end)


def _share(bar: HeardBar, nth: int, chords: int) -> int:
    """Return where a chord of a bar begins: on the first beat of what would be its equal share."""
    length = bar.end - bar.start
    is_compound = bar.beat < TICKS_PER_QUARTER and (length + bar.lead) % (3 * bar.beat) == 0
    beat = 3 * bar.beat if is_compound else bar.beat
    equal = length * nth // chords
    on_beat = -(-(equal + bar.lead) // beat) * beat - bar.lead
    return bar.start + (on_beat if on_beat < length or nth == chords else equal)


_CLEARLY_ANOTHER = 0.3
_MEANT = 0.8


def agrees(chord: Chord, window: Window) -> tuple[bool, Chord | None]:
    """Say whether a planned chord is what sounds; where it isn't, also what is heard instead."""
    if not window.n_notes:
        return True, None
    inside = float(sum(window.weights[pc] for pc in chord.classes | {chord.bass}))
    if window.n_classes < 3:
        return inside >= 0.5, None if inside >= 0.5 else heard_chord(window)[0]
    heard, score = heard_chord(window)
    if heard.classes <= chord.classes | {chord.bass} and (heard.root == chord.root or len(heard.classes) < 3):
        return True, None
    if chord.classes <= heard.classes and heard.root == chord.root:
        return True, None
    same = heard.classes == chord.classes
    if same or (inside >= _MEANT and score - fit_of_chord(chord, window) < _CLEARLY_ANOTHER):
        return True, None
    return score - fit_of_chord(chord, window) < _CLEARLY_ANOTHER, heard


def chord_faults(planned: Planned) -> tuple[list[Fault], float]:
    """Return the places where another chord or bass sounds than planned, and the share of chords that are kept."""
    faults = []
    kept, n_chords = 0, 0
    hearing, plan = planned.hearing, planned.plan
    free = set(plan.free_bars)
    for bar, chord, window in planned_windows(planned):
        n_chords += 1
        number, beat = hearing.place(window.start)
        is_right, heard = agrees(chord, window)
        kept += is_right
        if bar in free:
            continue
        if not is_right and heard is not None:
            message = f"sounds as {heard.symbol}, the plan has {chord.symbol}"
            faults.append(Fault("chord", number, beat, _all_places(hearing, window), message, 0.75))
        elif is_right and window.bass is not None and window.bass % 12 != chord.bass and window.n_notes:
            low, voice = _lowest_at(hearing, window)
            bass_plays = any(plan.role_at(one.id, bar) in ("bass", "bass+figure") for one in plan.voices)
            if not bass_plays:
                continue
            message = f"{hearing.tone(voice, low)} is the bass, {chord.symbol} asks for {_NAMES[chord.bass]}"
            weight = 0.7 if window.bass % 12 not in chord.classes else 0.6
            faults.append(Fault("bass", number, beat, (voice.place,), message, weight))
    return faults, kept / n_chords if n_chords else 1.0


def _all_places(hearing: HeardTune, window: Window) -> tuple[int, ...]:
    return tuple(sorted({voice.place for voice, _ in hearing.sounding(window.start)}))


def _lowest_at(hearing: HeardTune, window: Window) -> tuple[HeardNote, HeardVoice]:
    at_once = ((tone, voice) for voice, tone in hearing.sounding(window.start))
    later = ((tone, voice) for voice in hearing.pitched for tone in voice.between(window.start, window.end))
    return next(one for one in (*at_once, *later) if one[0].pitch == window.bass)


_RUB_WEIGHTS = {1: 1.0, 13: 0.9, 11: 0.8, 25: 0.6, 23: 0.55}


def rub_faults(hearing: HeardTune, planned: Planned | None) -> list[Fault]:
    """Return semitones, major sevenths and minor ninths that last an eighth or more on a beat and do not resolve."""
    meant = _meant_classes(planned) if planned is not None else None
    best: dict[tuple[int, float, int, int], Fault] = {}
    for start, end, (voice, tone), (other, with_) in _clashes(hearing):
        here: set[int] | None = set()
        if meant is not None:
            here = meant.get(hearing.bar_at(start).start)
            if here is None or {tone.pitch % 12, with_.pitch % 12} <= here:
                continue
        heard = _unexcused(hearing, start, end, (voice, tone), (other, with_), here)
        if not heard:
            continue
        distance = abs(tone.pitch - with_.pitch)
        weight = heard * _RUB_WEIGHTS.get(distance, 0.4)
        weight *= 0.7 + 0.3 * min(1.0, (end - start) / TICKS_PER_QUARTER)
        weight *= 0.8 + 0.2 * hearing.strengths.get(start, 0.7)
        if distance % 12 == 11 and _is_full_major_seventh(hearing, start, min(tone.pitch, with_.pitch) % 12):
            weight *= 0.5
        if voice is other:
            weight *= 0.8
        low, high = sorted(((tone.pitch, voice, tone), (with_.pitch, other, with_)), key=lambda one: one[0])
        number, beat = hearing.place(start)
        kind = {1: "a semitone apart", 11: "a major seventh apart"}.get(distance, "a minor ninth apart")
        kind = "a major seventh and octaves apart" if distance % 12 == 11 and distance > 11 else kind
        message = f"{hearing.tone(high[1], high[2])} and {hearing.tone(low[1], low[2])} rub, {kind}"
        places = tuple(sorted({voice.place, other.place}))
        key = (number, beat, places[0], places[-1])
        if key not in best or best[key].weight < weight:
            best[key] = Fault("rub", number, beat, places, message, round(max(0.31, 0.9 * weight), 4))
    return list(best.values())


Sounding = tuple[HeardVoice, HeardNote]


def _clashes(hearing: HeardTune) -> Iterator[tuple[int, int, Sounding, Sounding]]:
    """Yield (beat, end, note, note) of each pair of notes that clash on a beat for an eighth or more."""
    events = sorted(
        ((tone.start, voice.place, tone.pitch, tone, voice) for voice in hearing.pitched for tone in voice.tones),
        key=lambda event: event[:3],
    )
    active: list[tuple[int, int, HeardNote, HeardVoice]] = []
    for start, place, pitch, tone, voice in events:
        active = [one for one in active if one[0] > start]
        for end, other_pitch, other, other_voice in active:
            if (pitch - other_pitch) % 12 not in (1, 11) or abs(pitch - other_pitch) > 37:
                continue
            stop = min(end, tone.end)
            if stop - start < EIGHTH:
                continue
            beat = hearing.next_beat(start)
            if stop - beat >= EIGHTH and (voice.place != place or other_voice is not voice or other.start == start):
                yield beat, stop, (voice, tone), (other_voice, other)
        active.append((tone.end, pitch, tone, voice))


_PASSES_AS_EITHER, _LONG_IN_PASSING, _UNUSUAL = 0.5, 0.8, 0.9


def _unexcused(hearing: HeardTune, start: int, end: int, one: Sounding, two: Sounding, chord: set[int] | None) -> float:
    """Return how much of a clash is not explained by how its notes come and go, 0 to 1.

    Where only one of the two goes its way (suspended, passing, neighbouring), the other must be the one that belongs to
    the harmony: the plan's chord where there is one, else a triad or seventh chord with the rest of what sounds.
    In 5,400 bars of chorales there are 727 clashes, 17 of them between notes of which neither goes its way; of 900
    planted ones 450 are so. `python -m benchmarks.listener` counts what is found.
    """
    how, how_other = _way(*one, two[1], start), _way(*two, one[1], start)
    is_short = end - start < TICKS_PER_QUARTER
    if "pedal" in (how, how_other) or (how and how_other and ("falls" in (how, how_other) or is_short)):
        return 0.0
    if how and how_other:
        return _LONG_IN_PASSING
    if not how and not how_other:
        return _leans(hearing, start, one, two, chord)
    led, still = (one[1], two[1]) if how else (two[1], one[1])
    rest = {tone.pitch % 12 for _, tone in hearing.sounding(start) if tone is not led and tone is not still}
    belongs = _belongs(led, rest, chord) - _belongs(still, rest, chord)
    if belongs > 0:
        return 1.0
    distance = abs(led.pitch - still.pitch)
    if (how or how_other) == "passing":
        if not is_short:
            return _LONG_IN_PASSING
        return 0.0 if belongs < -1 else _PASSES_AS_EITHER
    if (how or how_other) == "rises":
        return _LONG_IN_PASSING
    is_upper = led.pitch > still.pitch
    return _UNUSUAL if (is_upper and distance == 1) or (not is_upper and distance % 12 == 11) else 0.0


_LEANING = 0.65


def _leans(hearing: HeardTune, start: int, one: Sounding, two: Sounding, chord: set[int] | None) -> float:
    """Return less than 1 for a note that comes by leap, does not belong, and goes on by step: an appoggiatura."""
    rest = {tone.pitch % 12 for _, tone in hearing.sounding(start) if tone is not one[1] and tone is not two[1]}
    difference = _belongs(one[1], rest, chord) - _belongs(two[1], rest, chord)
    if difference:
        voice, tone = two if difference > 0 else one
        after = _nearest(_following(voice, tone), tone)
        if after is not None and 0 < abs(after.pitch - tone.pitch) <= 2:
            return _LEANING
    return 1.0


Way = Literal["", "pedal", "falls", "rises", "passing"]


def _way(voice: HeardVoice, tone: HeardNote, other: HeardNote, start: int) -> Way:
    """Say how a dissonant note is led; "" where it comes or goes by leap.

    A pedal lies under moving voices; a note is prepared and then falls or rises by step; it passes, or is a neighbour.
    """
    if tone.start < start and tone.end - tone.start >= 3 * TICKS_PER_QUARTER and other.end < tone.end:
        return "pedal"
    after = _nearest(_following(voice, tone), tone)
    if after is None or not 0 < abs(after.pitch - tone.pitch) <= 2:
        return ""
    before = _preceding(voice, tone)
    if tone.start < other.start or any(one.pitch == tone.pitch for one in before):
        return "falls" if after.pitch < tone.pitch else "rises"
    into = _nearest(before, tone)
    return "passing" if into is not None and abs(into.pitch - tone.pitch) <= 2 else ""


def _belongs(tone: HeardNote, rest: set[int], chord: set[int] | None) -> int:
    """Return 2 where a note belongs to the planned chord, or makes a triad with the rest, 1 a seventh chord, else 0."""
    if chord:
        return 2 * (tone.pitch % 12 in chord)
    return _stability(frozenset(rest | {tone.pitch % 12}))


@lru_cache(maxsize=4096)
def _stability(classes: frozenset[int]) -> int:
    for kinds, worth in ((("", "m"), 2), (("dim", "aug", "7", "m7", "m7b5", "dim7"), 1)):
        if any(classes <= read_chord(name + kind).classes for kind in kinds for name in _NAMES):
            return worth
    return 0


def _following(voice: HeardVoice, tone: HeardNote) -> list[HeardNote]:
    """The notes that take over from a note: of the next onset behind its end, at most a quarter later."""
    at = bisect_left(voice.starts, tone.end - EIGHTH // 4)
    if at >= len(voice.tones) or voice.starts[at] > tone.end + TICKS_PER_QUARTER:
        return []
    first = voice.starts[at]
    return [one for one in voice.tones[at : at + 8] if one.start == first]


def _preceding(voice: HeardVoice, tone: HeardNote) -> list[HeardNote]:
    """The notes that end where a note begins, or at most an eighth before."""
    at = bisect_left(voice.starts, tone.start)
    return [one for one in voice.tones[max(0, at - 10) : at] if -EIGHTH <= one.end - tone.start <= EIGHTH // 4]


def _nearest(tones: Sequence[HeardNote], tone: HeardNote) -> HeardNote | None:
    return min(tones, key=lambda one: (abs(one.pitch - tone.pitch) or 99, one.pitch), default=None)


def _is_full_major_seventh(hearing: HeardTune, tick: int, root: int) -> bool:
    classes = {(tone.pitch - root) % 12 for _, tone in hearing.sounding(tick)}
    return {4, 7} <= classes <= {0, 2, 4, 7, 9, 11}


def _meant_classes(planned: Planned) -> dict[int, set[int] | None]:
    """By bar start, the pitch classes of its chords, which may rub; None where any dissonance is meant."""
    meant: dict[int, set[int] | None] = {}
    plan = planned.plan
    for bar in planned.hearing.bars:
        number = planned.number(bar.start)
        meant[bar.start] = set()
        if number in plan.free_bars:
            meant[bar.start] = None
        elif 1 <= number <= len(plan.harmony):
            for symbol in plan.harmony[number - 1].split():
                try:
                    chord = read_chord(symbol)
                except PlanError:
                    continue
                meant[bar.start] = (meant[bar.start] or set()) | chord.classes | {chord.bass}
    return meant


_TEXTURE_RUN = 4
_TEXTURE_SHARE = 0.3
_OFTEN_SHARE = 0.05


def parallel_faults(hearing: HeardTune, planned: Planned | None) -> list[Fault]:
    """Return parallel octaves of independent voices, and parallel fifths of outer ones."""
    faults: dict[tuple[str, int, float, tuple[int, ...]], Fault] = {}
    order = hearing.by_height
    if len(order) < 2:
        return []
    bass = order[-1]
    for high, low in combinations(order, 2):
        for fault in _between(hearing, high, low, low is bass, planned):
            key = (fault.kind, fault.bar, fault.beat, fault.voices)
            if key not in faults or faults[key].weight < fault.weight:
                faults[key] = fault
    return list(faults.values())


Move = tuple[int, HeardNote, HeardNote, HeardNote, HeardNote]
"""The tick at which both voices move, where the higher comes from and goes to, and the lower."""


def _between(
    hearing: HeardTune, high: HeardVoice, low: HeardVoice, with_bass: bool, planned: Planned | None
) -> Iterator[Fault]:
    line, under = high.top, (low.bottom if with_bass else low.top)
    moves = _moves(line, under)
    parallel = [_interval_kept(move) for move in moves]
    octaves = sum(kept == 0 for kept in parallel)
    texture = octaves >= _TEXTURE_RUN and octaves > _TEXTURE_SHARE * len(moves)
    often = octaves >= _TEXTURE_RUN and octaves > _OFTEN_SHARE * len(moves)
    run = _runs(moves, parallel)
    for move, kept, length in zip(moves, parallel, run, strict=True):
        if kept is None or length >= _TEXTURE_RUN or (texture and kept == 0):
            continue
        outer = with_bass and _is_outer(hearing, high, move)
        if kept == 7 and not outer:
            continue
        if planned is not None and _is_meant(planned, high, low, move[0]):
            continue
        figure = kept == 0 and (often or high.is_figure or low.is_figure)
        weight = (0.75 if kept == 0 else 0.7) if outer else 0.6
        weight -= 0.3 if _is_figure(planned, high, low, move[0]) else 0.15 * figure
        yield _parallel(hearing, high, low, move, kept, weight)
    if with_bass and not (texture or high.is_figure or low.is_figure):
        for move in _moves_of_beats(hearing, line, under):
            kept = _interval_kept(move)
            meant = planned is not None and _is_meant(planned, high, low, move[0])
            if kept is not None and not meant and _is_outer(hearing, high, move):
                yield _parallel(hearing, high, low, move, kept, 0.6)


def _moves(line: Sequence[HeardNote], under: Sequence[HeardNote]) -> list[Move]:
    """Return where both lines move at once from notes that sounded together, at most an eighth of rest between."""
    moves = []
    i, j = 1, 1
    while i < len(line) and j < len(under):
        a, b = line[i], under[j]
        if a.start < b.start:
            i += 1
        elif b.start < a.start:
            j += 1
        else:
            before, below = line[i - 1], under[j - 1]
            together = max(before.start, below.start) < min(before.end, below.end)
            if together and a.start - min(before.end, below.end) <= EIGHTH:
                moves.append((a.start, before, a, below, b))
            i += 1
            j += 1
    return moves


def _moves_of_beats(hearing: HeardTune, line: Sequence[HeardNote], under: Sequence[HeardNote]) -> Iterator[Move]:
    """Yield the moves from one beat to the next that ornaments fill: both lines begin a note on both beats."""
    highs, lows = ({tone.start: tone for tone in tones} for tones in (line, under))
    for first, second in pairwise(hearing.beats):
        if first in highs and second in highs and first in lows and second in lows:
            p, x, q, y = highs[first], highs[second], lows[first], lows[second]
            if p.end < second or q.end < second:
                yield second, p, x, q, y


def _interval_kept(move: Move) -> int | None:
    """Return 0 for parallel octaves or unisons, 7 for fifths, None for any other move."""
    _, p, x, q, y = move
    if x.pitch == p.pitch or y.pitch == q.pitch or (x.pitch > p.pitch) != (y.pitch > q.pitch):
        return None
    interval = (x.pitch - y.pitch) % 12
    return interval if interval in (0, 7) and (p.pitch - q.pitch) % 12 == interval else None


def _runs(moves: Sequence[Move], parallel: Sequence[int | None]) -> list[int]:
    """Return for each move how many moves in a row keep the same interval; repeated notes go on with a run."""
    lengths = [0] * len(moves)
    start = 0
    for at in range(len(moves) + 1):
        if at < len(moves) and parallel[at] is not None and parallel[at] == parallel[start] and at > start:
            continue
        for one in range(start, at):
            lengths[one] = at - start if parallel[start] is not None else 0
        start = at
    return lengths


def _is_outer(hearing: HeardTune, high: HeardVoice, move: Move) -> bool:
    if high is hearing.by_height[0] or high.place == hearing.pitched[0].place:
        return True
    top = max(tone.pitch for _, tone in hearing.sounding(move[0]))
    return move[2].pitch >= top


_DOUBLING = ("double", "parallel")


def _is_meant(planned: Planned, high: HeardVoice, low: HeardVoice, tick: int) -> bool:
    bar = planned.number(tick)
    if bar < 1 or bar in planned.plan.free_bars:
        return True
    return any(planned.role(voice, bar) in _DOUBLING for voice in (high, low))


def _is_figure(planned: Planned | None, high: HeardVoice, low: HeardVoice, tick: int) -> bool:
    """Say whether the plan lets one of two voices play a figure in a bar."""
    if planned is None:
        return False
    bar = planned.number(tick)
    return any(planned.role(voice, bar) in FIGURE_ROLES for voice in (high, low))


def _parallel(hearing: HeardTune, high: HeardVoice, low: HeardVoice, move: Move, kept: int, weight: float) -> Fault:
    tick, p, x, q, y = move
    number, beat = hearing.place(tick)
    word = "fifths" if kept else "octaves"
    kind: FaultKind = "parallel_fifths" if kept else "parallel_octaves"
    message = (
        f"parallel {word}: {hearing.tone(high, p)} to {hearing.tone(high, x).rsplit(' ', 1)[1]} over "
        f"{hearing.tone(low, q)} to {hearing.tone(low, y).rsplit(' ', 1)[1]}"
    )
    return Fault(kind, number, beat, tuple(sorted((high.place, low.place))), message, weight)
