"""The band of a reference: who plays what where most of it plays, and the bars of accompaniment that it repeats.

A figure is a bar that comes again, best over another chord: what does not is a turn of the tune. It is spelt in rungs
of its chord's ladder (see `music.arrange.figures`), so that it can be played over any chord. Chords are estimated bar
by bar; a bar that its chord does not explain has no figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.sketch import TICKS, bar_ticks, beat_ticks
from image2music.music.planning.plan import Family
from image2music.music.score import Score, Track

HeardNote = tuple[int, int, int, bool]
"""Onset and length in a bar in ticks, MIDI pitch, and whether it begins there (else it is held on from before)."""
HeardBars = list[list[HeardNote]]
"""Bar by bar what a part plays, by onset and pitch."""
Rhythm = tuple[tuple[int, int], ...]
"""(onset, length) in ticks, of which a quarter note has `TICKS`."""

_MOST_BARS, _MOST_PARTS = 32, 8


@dataclass(frozen=True, slots=True)
class BorrowedFigure:
    """A bar of accompaniment that a reference repeats.

    `text` are rungs of the chord's ladder in words of `grain` ticks, `density` its onsets in a quarter note; `times`
    bars have it, over `chords` roots.
    """

    text: str
    family: Family
    program: int
    grain: int
    density: float
    times: int
    chords: int


@dataclass(frozen=True, slots=True)
class HeardPart:
    """One instrument: its bars, `height` (the mean of its highest notes) and `alone` (onsets with one pitch class)."""

    program: int
    bars: HeardBars
    height: float
    alone: float
    notes: int


@dataclass(frozen=True, slots=True)
class HeardBand:
    """Who plays what. `tune` and `bass` are None where nobody has them; `others` have most notes first.

    `length` and `beat` are ticks, `drums` the bars of all drums together.
    """

    meter: str
    length: int
    beat: int
    tune: HeardPart | None
    bass: HeardPart | None
    others: tuple[HeardPart, ...]
    drums: HeardBars


def hear_band(score: Score) -> HeardBand:
    """Return who plays what in a score's most frequent meter, in the bars where most instruments play.

    The tune is in the highest part (lines before chords), the bass in the lowest line that is a bass instrument's or
    lies under two other parts.
    """
    meter, starts = _bars_of(score)
    length = bar_ticks(meter)
    starts = _busiest(score, starts)
    pitched = [track for track in score.tracks if len(track) and not track.is_drum]
    window = (starts[0], starts[-1]) if starts else (0, 0)
    pitched.sort(key=lambda track: -int(((track.onsets >= window[0]) & (track.onsets <= window[1])).sum()))
    heard = [_part(track.program, _heard(score, starts, length, [track])) for track in pitched[:_MOST_PARTS]]
    parts = [part for part in heard if sum(map(bool, part.bars)) * 4 >= len(starts) > 0]
    tune = max(parts, key=lambda p: round(p.height + 12 * p.alone - 24 * (p.program in BASS_PROGRAMS), 3), default=None)
    lines = [part for part in parts if part.alone >= _ALONE and part is not tune]
    bass = min(lines, key=lambda part: round(part.height, 3), default=None)
    if bass is not None and (bass.height > _HIGHEST_BASS or (bass.program not in BASS_PROGRAMS and len(parts) < 3)):
        bass = None
    others = tuple(part for part in parts if part is not tune and part is not bass)
    drums = _heard(score, starts, length, [track for track in score.tracks if len(track) and track.is_drum])
    return HeardBand(meter, length, beat_ticks(meter), tune, bass, others, drums)


_ALONE = 0.8
"""Share of onsets with one pitch class from which on a part is a line."""
_HIGHEST_BASS = 52.0
BASS_PROGRAMS = frozenset({*range(32, 40), 43, 58})
"""General MIDI's basses, double bass and tuba."""
_PLACES = 1024


def _part(program: int, bars: HeardBars) -> HeardPart:
    tops: dict[int, int] = {}
    chordal: set[int] = set()
    notes = 0
    for number, bar in enumerate(bars):
        for onset, _, pitch, begins in bar:
            if begins:
                at = number * _PLACES + onset
                if at in tops and (pitch - tops[at]) % 12:
                    chordal.add(at)
                tops[at] = pitch
                notes += 1
    n = max(1, len(tops))
    return HeardPart(program, bars, sum(tops.values()) / n, 1 - len(chordal) / n if tops else 0.0, notes)


def _heard(score: Score, starts: Sequence[int], length: int, tracks: Sequence[Track]) -> HeardBars:
    bars: HeardBars = [[] for _ in starts]
    if not starts or not tracks:
        return bars
    quarter = score.ticks_per_quarter
    full = length * quarter // TICKS
    edges = np.array(starts)
    follows = [False, *((edges[1:] - edges[:-1]) == full).tolist()]
    for track in tracks:
        at = np.searchsorted(edges, track.onsets + quarter // (4 * TICKS), "right") - 1
        inside = (at >= 0) & (track.onsets < edges[np.maximum(at, 0)] + full)
        at, onsets, durations = at[inside], track.onsets[inside], track.durations[inside]
        places = np.maximum((2 * (onsets - edges[at]) * TICKS + quarter) // (2 * quarter), 0)
        lengths = np.maximum((2 * durations * TICKS + quarter) // (2 * quarter), 1)
        rows = zip(at.tolist(), places.tolist(), lengths.tolist(), track.pitches[inside].tolist(), strict=True)
        for bar, onset, lasts, pitch in rows:
            bars[bar].append((onset, min(lasts, length - onset), pitch, True))
            left, here = onset + lasts - length, bar + 1
            while left > TICKS // 4 and here < len(bars) and follows[here]:
                bars[here].append((0, min(left, length), pitch, False))
                left, here = left - length, here + 1
    for heard in bars:
        heard.sort(key=lambda note: (note[0], note[2]))
    return bars


def _bars_of(score: Score) -> tuple[str, list[int]]:
    """Return the most frequent meter, and the ticks where its whole bars begin."""
    changes = [(change.tick, f"{change.numerator}/{change.denominator}") for change in score.meters] or [(0, "4/4")]
    ticks = [start.tick for start in score.bar_starts]
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks if len(track))
    edges = [*ticks, max(end, ticks[-1] + 1)] if ticks else []
    whole: dict[str, list[int]] = {}
    for number, (start, after) in enumerate(pairwise(edges)):
        meter = [name for tick, name in changes if tick <= start][-1:] or [changes[0][1]]
        full = bar_ticks(meter[0]) * score.ticks_per_quarter // TICKS
        if after - start == full or (number == len(ticks) - 1 and after - start < full):
            whole.setdefault(meter[0], []).append(start)
    if not whole:
        return changes[0][1], []
    meter_name = max(whole, key=lambda name: (len(whole[name]), name))
    return meter_name, whole[meter_name]


def _busiest(score: Score, starts: list[int]) -> list[int]:
    """Return at most `_MOST_BARS` bars in a row: those where most tracks play, the earliest of equal ones."""
    if len(starts) <= _MOST_BARS:
        return starts
    playing = np.zeros(len(starts) + 1, dtype=np.int64)
    edges = np.array(starts)
    for track in score.tracks:
        playing[np.unique(np.searchsorted(edges, track.onsets, "right"))] += 1
    sums = np.append(0, np.cumsum(playing[1:]))
    first = int((sums[_MOST_BARS:] - sums[:-_MOST_BARS])[::4].argmax()) * 4
    return starts[first : first + _MOST_BARS]


# ---------------------------------------------------------------- chords

_KINDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 7, 10), (0, 3, 6), (0, 3, 6, 10), (0, 3, 6, 9), (0, 4, 7, 11))
_ALL_CHORDS = tuple((root, kind) for root in range(12) for kind in _KINDS)
_LEAST_EXPLAINED = 0.86
_BarChord = tuple[int, tuple[int, ...]] | None
"""Root, and the pitch classes from the root upwards."""


@lru_cache(maxsize=1)
def _templates() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return for each chord its tones, its triad and its root as rows of pitch classes: float64[96, 12] each."""
    tones, triads, roots = (np.zeros((len(_ALL_CHORDS), 12)) for _ in range(3))
    for row, (root, kind) in enumerate(_ALL_CHORDS):
        tones[row, [(root + step) % 12 for step in kind]] = 1.0
        triads[row, [(root + step) % 12 for step in kind[:3]]] = 1.0
        roots[row, root] = 1.0
    return tones, triads, roots


def _chords(tracks: Sequence[HeardBars]) -> list[_BarChord]:
    """Return the chord of each bar that explains most of what sounds; None where none explains enough.

    Notes count by length and place; the lowest one at the bar's start speaks for its root.
    """
    n_bars = len(tracks[0]) if tracks else 0
    weights, basses = np.zeros((n_bars, 12)), np.zeros((n_bars, 12))
    for number in range(n_bars):
        low = 128
        for bars in tracks:
            for onset, length, pitch, _ in bars[number]:
                strong = 1.0 if onset == 0 else 0.7 if onset % TICKS == 0 else 0.4
                weights[number, pitch % 12] += min(length / TICKS, 2.0) * strong + 0.05
                low = min(low, pitch) if onset < TICKS // 4 else low
        if low < 128:
            basses[number, low % 12] = 1.0
    tones, triads, roots = _templates()
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    share = weights @ tones.T / total
    missing = 3 - (weights > 0).astype(np.float64) @ triads.T
    rooted, inside = basses @ roots.T, basses @ tones.T
    worth = share + 0.12 * rooted + 0.05 * (inside - rooted) - 0.1 * (1 - inside) - 0.1 * missing
    worth -= 0.04 * (tones.sum(axis=1) - 3)
    best = worth.round(6).argmax(axis=1) if n_bars else []
    found: list[_BarChord] = []
    for number, at in enumerate(best):
        root, kind = _ALL_CHORDS[at]
        sure = weights[number].any() and round(float(share[number, at]), 6) >= _LEAST_EXPLAINED
        found.append((root, tuple((root + step) % 12 for step in kind)) if sure else None)
    return found


# ---------------------------------------------------------------- words that fill a bar


def grid_places(onsets: Iterable[int], length: int) -> tuple[int, dict[int, int]] | None:
    """Return the ticks of a word (an eighth, a sixteenth, an eighth of a triplet), and each onset's word.

    None where the onsets lie on none of these, or two of them on one.
    """
    distinct = sorted(set(onsets))
    rests = {onset % TICKS for onset in distinct}
    grain = TICKS // 3 if rests & {4, 8} and not rests & {3, 9} and length % (TICKS // 3) == 0 else TICKS // 4
    if length % grain:
        return None
    place = {onset: round(onset / grain) for onset in distinct}
    if any(abs(onset - at * grain) > 1 or at * grain >= length for onset, at in place.items()):
        return None
    if len(set(place.values())) < len(place):
        return None
    if grain == TICKS // 4 and all(at % 2 == 0 for at in place.values()) and length % (TICKS // 2) == 0:
        return TICKS // 2, {onset: at // 2 for onset, at in place.items()}
    return grain, place


def spelt_bar(words: dict[int, tuple[str, int]], grain: int, length: int) -> str:
    """Write words (at their places, with their lengths in ticks) so that they fill a bar."""
    bar = ["."] * (length // grain)
    for at in sorted(words):
        word, lasts = words[at]
        held = max(1, (lasts + grain // 2) // grain)
        bar[at : at + held] = [word, *["-"] * (len(bar[at : at + held]) - 1)]
        for later in range(at + held, len(bar)):
            bar[later] = "."
    return " ".join(bar)


def spelt_rhythm(text: str, grain: int) -> Rhythm:
    """Return the rhythm of words that are `grain` ticks long."""
    found: list[tuple[int, int]] = []
    for at, word in enumerate(text.split()):
        if word == "-":
            found[-1] = found[-1][0], found[-1][1] + grain
        elif word != ".":
            found.append((at * grain, grain))
    return tuple(found)


def pulse_of(meter: str) -> int:
    """Return what a meter counts in, in ticks: dotted quarters (18) in compound ones, quarters, or eighths in 5/8."""
    number, _, unit = meter.partition("/")
    if int(unit) >= 8:
        return 18 if int(number) % 3 == 0 else 6
    return TICKS


def in_meter(text: str, meter: str, wanted: str) -> str:
    """Write the words of a bar for another meter: twice, or in halves that take turns; empty where that doesn't go."""
    length, goal = bar_ticks(meter), bar_ticks(wanted)
    bars = [bar.split() for bar in text.split("|")]
    if pulse_of(meter) != pulse_of(wanted):
        return ""
    if length == goal:
        return text
    if goal == 2 * length:
        bars = [*bars, bars[0]] if len(bars) % 2 else bars
        words = [_joined(a, b) for a, b in zip(bars[::2], bars[1::2], strict=True)]
        return " | ".join(map(" ".join, words)) if all(words) else ""
    if length == 2 * goal and all(len(bar) % 2 == 0 for bar in bars):
        halves = [half for bar in bars for half in (bar[: len(bar) // 2], bar[len(bar) // 2 :])]
        return " | ".join(" ".join(["." if half[0] == "-" else half[0], *half[1:]]) for half in halves)
    return ""


def _joined(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Put two bars behind each other, in words as short as both need; empty where the grains have none in common."""
    count = max(len(first), len(second))
    if count % len(first) or count % len(second):
        return []
    return [
        one for bar in (first, second) for word in bar
        for one in (word, *["." if word == "." else "-"] * (count // len(bar) - 1))
    ]  # fmt: skip


_SOFT_DRUMS = {35: 36, 36: 36, 37: 37, 38: 37, 40: 37, 39: 37, 42: 42, 44: 42, 46: 42, 51: 51, 53: 51, 59: 51,
               54: 54, 69: 69, 70: 70, 82: 82, 75: 75, 76: 76, 77: 77, 62: 62, 63: 63, 64: 64}  # fmt: skip
"""What a soft beat has for each drum: stick for snare, closed hat for open one, no toms."""


def softened_beat(text: str, meter: str) -> str:
    """Return a beat for a scene that has no place for a drum kit: soft drums, and no stroke between the eighths."""
    bars = []
    for bar in text.split("|"):
        words = bar.split()
        soft = [
            "+".join(map(str, sorted({_SOFT_DRUMS[int(d)] for d in word.split("+") if int(d) in _SOFT_DRUMS}))) or "."
            if word not in "-." else word for word in words
        ]  # fmt: skip
        if len(soft) * (TICKS // 4) == bar_ticks(meter) and len(soft) % 2 == 0:
            soft = soft[::2]
        bars.append(" ".join(soft))
    return " | ".join(bars) if any(word not in ".-|" for bar in bars for word in bar.split()) else ""


# ---------------------------------------------------------------- figures

_MOST_FIGURES = 6
_FEWEST_TIMES, _FEWEST_CHORDS = 3, 2
_FEWEST_ONSETS, _MOST_ONSETS = {True: 2, False: 3}, 16
_HIGHEST_RUNG, _WIDEST_CHORD, _WIDEST_LEAP = 7, 4, 4
_LOWEST_FOOT, _HIGHEST_FOOT = 38, 74
_DOUBLES = 0.6


def repeated_figures(band: HeardBand) -> tuple[BorrowedFigure, ...]:
    """Return the bars of accompaniment that come three times, over two chords at least; the most frequent first."""
    found: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for program, text, roots in _spelt_bars(band):
        found.setdefault((text, program), []).append(roots)
    figures: dict[str, BorrowedFigure] = {}
    for (text, program), over in sorted(found.items(), key=lambda one: (-len(one[1]), one[0])):
        chords = len({root for roots in over for root in roots})
        if text not in figures and len(over) >= _FEWEST_TIMES and chords >= _FEWEST_CHORDS:
            words = text.split()
            grain = band.length // len(words)
            density = round(sum(word not in "-." for word in words) * TICKS / band.length, 3)
            family = figure_family(text, grain, band.beat)
            figures[text] = BorrowedFigure(text, family, program, grain, density, len(over), chords)
    ranked = sorted(figures.values(), key=lambda one: (-one.times - 2 * one.chords, one.text))
    return tuple(ranked[:_MOST_FIGURES])


def _spelt_bars(band: HeardBand) -> Iterator[tuple[int, str, tuple[int, int]]]:
    """Yield (program, words, roots of its halves) of each bar that is a figure over one chord, or over one a half."""
    parts = [part.bars for part in (*band.others, *([band.bass] if band.bass else []))]
    if len(parts) < 2 and band.tune is not None:
        parts.append(band.tune.bars)
    half = band.length // 2 if band.length % (2 * pulse_of(band.meter)) == 0 else 0
    chords, half_chords = _chords(parts), _chords([_halved(bars, half) for bars in parts]) if half else []
    known: dict[tuple[tuple[HeardNote, ...], _BarChord, int], str] = {}

    def spelt(heard: Sequence[HeardNote], chord: _BarChord, length: int) -> str:
        key = tuple(heard), chord, length
        if key not in known:
            known[key] = "" if chord is None or not heard else _figure(heard, chord[1], length)
        return known[key]

    for part in band.others:
        halves = _halved(part.bars, half) if half else []
        for number, bar in enumerate(part.bars):
            if not bar or _doubles(bar, band.tune.bars[number] if band.tune else []):
                continue
            if (chord := chords[number]) is not None and (text := spelt(bar, chord, band.length)):
                yield part.program, text, (chord[0], chord[0])
            elif half:
                first, second = half_chords[2 * number], half_chords[2 * number + 1]
                a, b = spelt(halves[2 * number], first, half), spelt(halves[2 * number + 1], second, half)
                if a and b and first and second and (words := _joined(a.split(), b.split())):
                    yield part.program, " ".join(words), (first[0], second[0])


def _halved(bars: HeardBars, half: int) -> HeardBars:
    """Return each bar as two."""
    found: HeardBars = []
    for bar in bars:
        first = [(on, min(lasts, half - on), pitch, begins) for on, lasts, pitch, begins in bar if on < half]
        over = [(0, on + lasts - half, pitch, False) for on, lasts, pitch, _ in bar if on < half < on + lasts - 1]
        found += [first, over + [(on - half, lasts, pitch, begins) for on, lasts, pitch, begins in bar if on >= half]]
    return found


def _doubles(bar: Sequence[HeardNote], tune: Sequence[HeardNote]) -> bool:
    """Whether a bar goes along with the tune."""
    own = {(onset, pitch % 12) for onset, _, pitch, _ in bar}
    sung = [(onset, pitch % 12) for onset, _, pitch, begins in tune if begins]
    shared = sum(note in own for note in sung)
    return len(sung) > 1 and shared > _DOUBLES * max(len(sung), len({onset for onset, _ in own}))


def _figure(bar: Sequence[HeardNote], classes: tuple[int, ...], length: int) -> str:
    """Spell a bar in rungs of its chord's ladder; empty for what is no figure.

    The lowest note is a tone of the chord; a foreign note stands alone and is a step from the tone that follows it.
    """
    low = min(note[2] for note in bar)
    onsets = sorted({note[0] for note in bar})
    if not all(note[3] for note in bar) or low % 12 not in classes or not _LOWEST_FOOT <= low <= _HIGHEST_FOOT:
        return ""
    if not _FEWEST_ONSETS[len(bar) > len(onsets)] <= len(onsets) <= _MOST_ONSETS:
        return ""
    placed = grid_places(onsets, length)
    if placed is None:
        return ""
    ladder = [pitch for pitch in range(low, low + 48) if pitch % 12 in classes]
    grain, places = placed
    chords: dict[int, list[int]] = {}
    lengths: dict[int, int] = {}
    for onset, lasts, pitch, _ in bar:
        chords.setdefault(onset, []).append(pitch)
        lengths[onset] = max(lengths.get(onset, 0), lasts)
    words: dict[int, tuple[str, int]] = {}
    used, foreign, before = set(), 0, 0
    for onset, after in zip(onsets, [*onsets[1:], None], strict=True):
        pitches = sorted(set(chords[onset]))
        rungs = [ladder.index(pitch) for pitch in pitches if pitch in ladder]
        if len(rungs) < len(pitches):
            near = [] if after is None else [p for p in chords[after] if 0 < abs(p - pitches[0]) < 3 and p in ladder]
            if len(pitches) > 1 or onset == 0 or not near:
                return ""
            goal = near[0]
            word, foreign = f"{'^' if pitches[0] > goal else 'v'}{ladder.index(goal)}", foreign + 1
            rungs = [ladder.index(goal)]
        else:
            word = f"({''.join(map(str, rungs))})" if len(rungs) > 1 else str(rungs[0])
            used |= {pitch % 12 for pitch in pitches}
        if rungs[-1] > _HIGHEST_RUNG or rungs[-1] - rungs[0] > _WIDEST_CHORD:
            return ""
        if abs(rungs[0] - before) > _WIDEST_LEAP and words:
            return ""
        words[places[onset]], before = (word, lengths[onset]), rungs[0]
    spells = {word for word, _ in words.values()}
    if len(used) < 2 or foreign * 4 > len(words) or (len(spells) < 3 and len(words) < 4 and len(bar) == len(words)):
        return ""
    return spelt_bar(words, grain, length)


_RUNG = re.compile(r"\d")


def figure_family(text: str, grain: int, beat: int) -> Family:
    """Return the family that a bar of rungs is most like; `beat` is the length of a beat in the ticks of `grain`."""
    words = text.split()
    onsets = [(at * grain, word) for at, word in enumerate(words) if word not in "-."]
    if sum(word[0] == "(" for _, word in onsets) * 2 > len(onsets):
        off = [at for at, _ in onsets if at % beat]
        if onsets[0][0] == beat and not off and len(words) * grain // beat == 3:
            return "waltz"
        if len(off) * 2 > len(onsets) or onsets[0][0] > 0:
            return "offbeat"
        if len(onsets) * beat * 2 <= len(words) * grain and "." not in words:
            return "pad"
        return (
            "chorale" if len({word for _, word in onsets}) > 2 and len(onsets) * beat <= len(words) * grain else "pulse"
        )
    rungs = [int(_RUNG.findall(word)[-1]) for _, word in onsets]
    if words.count(".") * 3 > len(words):
        return "pizzicato"
    if len(set(rungs)) == 2 and grain < TICKS // 2 and len(rungs) >= 8:
        return "tremolo"
    if len(rungs) >= 4 and rungs[1] == rungs[3] > rungs[2] > rungs[0]:
        return "alberti"
    turns = sum((b - a) * (c - b) < 0 for a, b, c in zip(rungs, rungs[1:], rungs[2:], strict=False))
    half = len(words) // 2
    if (len(words) % 2 == 0 and words[:half] == words[half:]) or len(set(rungs)) < 3:
        return "ostinato"
    if turns == 0:
        return "arpeggio"
    return "wave" if turns <= 2 and len(rungs) >= 6 else "broken"
