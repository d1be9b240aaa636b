"""Progressions of the repertoire: those written by hand (`harmony_by_hand.txt`), and what human scores share.

The chord of a bar, or of its two parts, is taken only where it explains nearly all that sounds; a bar without one ends
every progression. Chords are counted by degree with their bass; sevenths of minor and major chords, which are mostly
passing notes of the tune, are left away. What a progression is good for (its role) follows from its last chords, from
its key, and from where it stands.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.mining.melodies import (
    MAJOR_PROFILE,
    MINOR_PROFILE,
    FullBar,
    full_bars,
    melody_track,
    tempered,
)
from image2music.composers.nano.pools import HARMONIC_ROLES, TABLES, HarmonicRole
from image2music.composers.nano.sketch import TICKS
from image2music.music.critic.training import HumanPiece
from image2music.music.theory import fifths_name, read_chord

KINDS = {"song": 1.0, "quartet": 1.0, "hymn": 0.6, "chorale": 0.6}
"""Kinds of music that have harmony, and how much a piece weighs."""
EXPLAINED = 0.86
"""The share of all sounding time that a chord must explain."""
HAND_WEIGHT = 3.0
"""A progression written by hand weighs as much as one that some six pieces share."""
_SUNG = 0.4
"""How much the tune counts beside the other parts, for its notes pass."""
LENGTHS = (2, 3, 4, 5, 6)
MOST_ROWS = {2: 120, 3: 200, 4: 300, 5: 160, 6: 160}
QUALITY_TONES = {
    "": (0, 4, 7), "m": (0, 3, 7), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10), "maj7": (0, 4, 7, 11), "dim": (0, 3, 6),
    "m7b5": (0, 3, 6, 10), "dim7": (0, 3, 6, 9), "+": (0, 4, 8),
}  # fmt: skip
_KEPT = {"m7": "m", "maj7": ""}
_PLAIN = {"7": "", "m7": "m", "maj7": "", "m7b5": "dim", "dim7": "dim"}
_MOST_BASSES = 4
_FIFTHS_UP = {0: 0, 3: -3, 4: 4, 6: -6, 7: 1, 8: 8, 9: -9, 10: -2, 11: 5}

Rows = dict[str, list[list[object]]]


class HeardChord(NamedTuple):
    """A chord: pitch classes of root and bass, and its quality."""

    root: int
    quality: str
    bass: int


Heard = tuple[HeardChord, ...]
"""The chords of one bar: one, or two; empty where it has none."""


def _templates() -> tuple[list[tuple[int, str]], NDArray[np.float64]]:
    names = [(root, quality) for quality in QUALITY_TONES for root in range(12)]
    table = np.zeros((len(names), 12))
    for row, (root, quality) in enumerate(names):
        table[row, [(root + tone) % 12 for tone in QUALITY_TONES[quality]]] = 1
    return names, table


def explain_chords(weights: NDArray[np.float64], basses: Sequence[int]) -> list[tuple[HeardChord | None, float]]:
    """Return the chord of each stretch and the share of sound that it explains; None where no chord is certain.

    `weights` float[n, 12] are sounding times by pitch class, `basses` the pitch classes of the lowest notes (-1: none).
    """
    names, table = _templates()
    share = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    explained = share @ table.T
    found: list[tuple[HeardChord | None, float]] = []
    for row, bass in enumerate(basses):
        best: tuple[float, HeardChord, float] | None = None
        for at in np.flatnonzero(explained[row] >= EXPLAINED).tolist():
            root, quality = names[at]
            tones = [(root + tone) % 12 for tone in QUALITY_TONES[quality]]
            sounds = [share[row, tone] > 0.02 for tone in tones]
            needed = sounds if len(tones) > 3 else sounds[:2]
            if bass not in tones or not all(needed):
                continue
            value = explained[row, at] + 0.12 * (bass == root) - 0.08 * (not sounds[2]) - 0.04 * (len(tones) - 3)
            kept = quality if bass == tones[-1] else _KEPT.get(quality, quality)
            if best is None or round(value, 6) > best[0]:
                best = round(value, 6), HeardChord(root, kept, bass), float(explained[row, at])
        found.append((best[1], best[2]) if best else (None, 0.0))
    return found


class HeardPiece(NamedTuple):
    """A piece by bars: their chords, the key around each (tonic, minor), the first bar with a tune."""

    bars: tuple[FullBar, ...]
    chords: tuple[Heard, ...]
    keys: tuple[tuple[int, bool], ...]
    first_sung: int


def hear_piece(piece: HumanPiece) -> HeardPiece | None:
    """Estimate chords and keys bar by bar; None for a piece without bars."""
    bars = full_bars(piece.score)
    tracks = [track for track in piece.score.tracks if len(track) and not track.is_drum]
    if len(bars) < 4 or not tracks:
        return None
    scale = TICKS / piece.score.ticks_per_quarter
    size = bars[-1].end + 1
    change, low = np.zeros((12, size + 1)), np.full(size, 200)
    tune = melody_track(piece)
    for track in tracks:
        weight = _SUNG if track is tune else 1.0
        begin = np.minimum(np.rint(track.onsets * scale).astype(int), size)
        end = np.minimum(np.maximum(begin + 1, np.rint((track.onsets + track.durations) * scale).astype(int)), size)
        np.add.at(change, (track.pitches % 12, begin), weight)
        np.add.at(change, (track.pitches % 12, end), -weight)
        for first, last, pitch in zip(begin.tolist(), end.tolist(), track.pitches.tolist(), strict=True):
            if (low[first:last] > pitch).any():
                np.minimum(low[first:last], pitch, out=low[first:last])
    sums = np.concatenate([np.zeros((12, 1)), np.cumsum(np.cumsum(change, axis=1), axis=1)], axis=1)
    spans = [span for bar in bars for span in ((bar.start, bar.end), *_parts(bar))]
    weights = np.array([sums[:, last] - sums[:, first] for first, last in spans])
    lowest = [int(low[first : first + max(6, min(TICKS, (last - first) // 2))].min()) for first, last in spans]
    read = explain_chords(weights, [pitch % 12 if pitch < 200 else -1 for pitch in lowest])
    chords = tuple(_bar_chords(*read[at : at + 3]) for at in range(0, len(read), 3))
    sung = round(int(tune.onsets.min()) * scale)
    first_sung = next((n for n, bar in enumerate(bars) if bar.end > sung), 0)
    return HeardPiece(bars, chords, _keys(weights[::3]), first_sung)


def _parts(bar: FullBar) -> tuple[tuple[int, int], tuple[int, int]]:
    """Divide a bar in two: in halves, or in two beats and one."""
    length = bar.end - bar.start
    number = int(bar.meter.partition("/")[0])
    middle = bar.start + (length * 2 // 3 if number in (3, 9) else length * 3 // 5 if number == 5 else length // 2)
    return (bar.start, middle), (middle, bar.end)


def _bar_chords(
    whole: tuple[HeardChord | None, float],
    first: tuple[HeardChord | None, float],
    second: tuple[HeardChord | None, float],
) -> Heard:
    if first[0] is not None and second[0] is not None:
        same = first[0].root == second[0].root and first[0].quality[:1] == second[0].quality[:1]
        if same:
            return (whole[0] or first[0],)
        if whole[0] is None or min(first[1], second[1]) > whole[1] + 0.03:
            return first[0], second[0]
    return (whole[0],) if whole[0] is not None else ()


def _keys(weights: NDArray[np.float64]) -> tuple[tuple[int, bool], ...]:
    """Return the key around each bar: the profile that fits best to six bars before and after."""
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(weights, axis=0)])
    n = len(weights)
    around = np.array([total[min(n, at + 7)] - total[max(0, at - 6)] for at in range(n)]) + 1e-9
    profiles = np.array([np.roll(profile, tonic) for profile in (MAJOR_PROFILE, MINOR_PROFILE) for tonic in range(12)])
    fit = np.corrcoef(np.vstack([around, profiles]))[:n, n:]
    return tuple((best % 12, best >= 12) for best in np.round(np.nan_to_num(fit), 6).argmax(axis=1).tolist())


# ---------------------------------------------------------------- roles, on chords as seen from the tonic

_DIATONIC = {
    False: {(0, ""), (2, "m"), (4, "m"), (5, ""), (7, ""), (7, "7"), (9, "m"), (11, "dim"), (11, "m7b5")},
    True: {(0, "m"), (2, "dim"), (2, "m7b5"), (3, ""), (5, "m"), (7, ""), (7, "7"), (7, "m"), (8, ""), (10, ""),
           (10, "7"), (11, "dim"), (11, "dim7")},
}  # fmt: skip
_DOMINANTS = {
    False: {(0, "7"), (2, ""), (2, "7"), (4, ""), (4, "7"), (9, ""), (9, "7"), (11, ""), (11, "7"), (6, "dim"),
            (6, "dim7"), (8, "dim"), (8, "dim7"), (1, "dim"), (1, "dim7"), (6, "m7b5"), (11, "dim7"), (3, "dim7")},
    True: {(0, ""), (0, "7"), (2, ""), (2, "7"), (3, "7"), (5, ""), (5, "7"), (4, "dim"), (4, "dim7"), (6, "dim"),
           (6, "dim7"), (9, "m7b5"), (9, "dim"), (6, "m7b5")},
}  # fmt: skip
_BORROWED = {
    False: {(5, "m"), (8, ""), (8, "7"), (3, ""), (10, ""), (1, ""), (0, "m"), (2, "m7b5"), (2, "dim"), (0, "+"),
            (7, "+"), (7, "m"), (10, "7"), (5, "7")},
    True: {(1, ""), (8, "7"), (0, "+"), (3, "+"), (9, ""), (4, ""), (10, "m"), (3, "m"), (1, "7")},
}  # fmt: skip


def roles_of(window: Sequence[Heard], key: tuple[int, bool]) -> Iterator[tuple[HarmonicRole, bool, int]]:
    """Yield what a progression is good for: role, whether in minor, tonic. `key` is the key that prevails around it."""
    flat = [sound for bar in window for sound in bar]
    last, n = window[-1], len(window)
    end, before = flat[-1], flat[-2]
    roots = len({(sound.root, sound.quality[:1]) for sound in flat})
    if roots < min(3, n):
        return
    for minor in (False, True):
        if end.quality == ("m" if minor else "") and _fits(flat, end.root, minor):
            yield from ((role, minor, end.root) for role in _homecoming(last, end, before))
    for tonic in ((end.root + 5) % 12,):
        minor = _is_minor(flat, tonic, key)
        if end.quality in ("", "7") and end.bass == end.root and _fits(flat, tonic, minor):
            if (
                len(last) == 1
                and before.root != end.root
                and window[0][0] == HeardChord(tonic, "m" if minor else "", tonic)
            ):
                yield "open", minor, tonic
            if _is_dominant(last, tonic) and (n == 2 or _is_dominant(window[-2], tonic)):
                yield "retransition", minor, tonic
    for up, minor, quality in ((1, True, ""), (2, False, "m"), (1, False, "")):
        tonic = (before.root + 5) % 12
        lands = end.root == end.bass == (before.root + up) % 12 and end.quality == quality and len(last) == 1
        inside = before.quality in ("", "7") and _fits(flat, tonic, minor)
        if lands and inside and (not minor or _is_minor(flat, tonic, key)):
            yield "deceptive", minor, tonic
    tonic, minor = key
    inside = _fits(flat, tonic, minor)
    if inside and _is_sequence(window):
        yield "sequence", minor, tonic
    degree, start = (end.root - tonic) % 12, (flat[0].root - tonic) % 12
    seen = [((sound.root - tonic) % 12, _KEPT.get(sound.quality, sound.quality)) for sound in flat]
    plain = set(seen) <= _DIATONIC[minor] | _DOMINANTS[minor]
    if degree not in (0, 7) and start != 7 and plain and {seen[0], seen[-1]} <= _DIATONIC[minor]:
        yield "middle", minor, tonic
    if degree != 0 and _is_eventful(flat, tonic, minor, n):
        yield "climax", minor, tonic


def _homecoming(last: Heard, end: HeardChord, before: HeardChord) -> Iterator[HarmonicRole]:
    tonic = end.root
    fifth = before.root == (tonic + 7) % 12 and before.quality in ("", "7")
    leading = before.root == (tonic + 11) % 12 and before.quality in ("dim", "m7b5", "dim7")
    if fifth and before.bass == before.root and end.bass == tonic and len(last) == 1:
        yield "close"
    elif (fifth or leading) and end.bass in (tonic, (tonic + 3) % 12, (tonic + 4) % 12):
        yield "imperfect"


def _fits(flat: Sequence[HeardChord], tonic: int, minor: bool) -> bool:
    """Whether chords belong to a key: none from far away, most of its own scale."""
    seen = [((sound.root - tonic) % 12, _KEPT.get(sound.quality, sound.quality)) for sound in flat]
    known = _DIATONIC[minor] | _DOMINANTS[minor] | _BORROWED[minor]
    own = sum(chord in _DIATONIC[minor] for chord in seen)
    return all(chord in known for chord in seen) and own * 2 > len(seen)


def _is_minor(flat: Sequence[HeardChord], tonic: int, key: tuple[int, bool]) -> bool:
    votes = 0
    for sound in flat:
        chord = (sound.root - tonic) % 12, sound.quality
        votes += (chord in _DIATONIC[True]) - (chord in _DIATONIC[False])
        votes += 2 * ((chord == (0, "m")) - (chord == (0, "")))
    return votes > 0 or (votes == 0 and key == (tonic, True))


def _is_dominant(bar: Heard, tonic: int) -> bool:
    """Whether a bar is V all through, or a six-four that waits for it."""
    fifth = (tonic + 7) % 12
    return all(
        (sound.root == fifth and sound.quality in ("", "7") and sound.bass != (tonic + 5) % 12)
        or (sound.root == tonic and sound.bass == fifth)
        for sound in bar
    )


def _is_sequence(window: Sequence[Heard]) -> bool:
    flat = [sound for bar in window for sound in bar]
    if len(flat) < (4 if len(window) > 2 else 3):
        return False
    steps = [(b.root - a.root) % 12 for a, b in pairwise(flat)]
    if all(step in (5, 6) for step in steps):
        return True
    basses = [(b.bass - a.bass) % 12 for a, b in pairwise(flat)]
    if len(flat) >= 4 and (all(s in (1, 2) for s in basses) or all(s in (10, 11) for s in basses)):
        return len(set(steps)) > 1 or len(flat) >= 4
    if len(flat) < 4 or len(flat) % 2 or sum(sound.quality.startswith("dim") for sound in flat) == 1:
        return False
    moves = [(_generic(b.root - a.root)) for a, b in zip(flat, flat[2:], strict=False)]
    inner = {_generic(step) for step in steps[::2]}
    return len(inner) == 1 and len(set(moves[::2])) == 1 and moves[0] in (1, 2, 5, 6) and inner != {0}


def _generic(semitones: int) -> int:
    """Return an interval in steps of a scale: 1 and 2 semitones are one step, 3 and 4 two."""
    return (0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6)[semitones % 12]


def _is_eventful(flat: Sequence[HeardChord], tonic: int, minor: bool, n: int) -> bool:
    """Whether something from outside the key happens, in a progression that otherwise belongs to it."""
    seen = [((sound.root - tonic) % 12, _KEPT.get(sound.quality, sound.quality)) for sound in flat]
    events = [chord for chord in seen if chord not in _DIATONIC[minor] and chord not in _DOMINANTS[minor]]
    diminished = [chord for chord in seen if chord[1] == "dim7"]
    own = sum(chord in _DIATONIC[minor] for chord in seen)
    known = all(chord in _BORROWED[minor] or (chord[1] == "" and chord[0] in (4, 6, 9)) for chord in events)
    if seen[-1] in _DOMINANTS[minor] - {(6, "dim7"), (11, "dim7")}:
        return False  # what it leads to would be missing
    if not known or (0, "" if minor else "m") in seen or not {(0, "m" if minor else ""), (7, ""), (7, "7")} & set(seen):
        return False
    return len(events) * 2 + len(diminished) >= (2 if n <= 4 else 3) and own >= min(2, n - 1) and len(events) <= n


# ---------------------------------------------------------------- counting

_ROOTS = (0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5)
"""Places on the line of fifths of the roots in C: Db, Eb, F#, Ab, Bb."""


def spelled(sound: HeardChord, tonic: int) -> str:
    """Write a chord in C."""
    degree = (sound.root - tonic) % 12
    fifths = _ROOTS[degree]
    if sound.quality.startswith(("dim", "m7b5")) and degree in (1, 3, 8):
        fifths += 12
    bass = (sound.bass - sound.root) % 12
    below = "" if bass == 0 else "/" + fifths_name(fifths + _FIFTHS_UP[bass])
    return fifths_name(fifths) + sound.quality + below


_LEAST_INTEREST = 0.3
_STARTS = frozenset({"C", "Cm", "Dm", "Em", "Eb", "F", "Fm", "G", "G7", "Gm", "Am", "Ab", "Bb", "Bb7"})
"""Chords that a phrase begins with as if by itself."""


def interest(bars: Sequence[str], role: HarmonicRole) -> float:
    """Return how much a progression is worth beside its frequency, 1 for one without flaws.

    It loses by chords that stay for two bars (where that is not its role), by six-fours that go nowhere, and by a first
    chord that something else has to lead to.
    """
    chords = [chord for bar in bars for chord in bar.split()]
    still = sum(one == other for one, other in pairwise(bars))
    still -= role in ("retransition", "coda", "intro") and bars[-1].rstrip("7") == bars[-2].rstrip("7")
    roots = [re.split(r"m|7|dim|/|\+", chord)[0] for chord in chords]
    worth = 0.5 ** max(0, still)
    if role not in ("coda", "intro") and len(bars) > 2 and len(set(chords)) < len(bars) - 1:
        worth *= 0.25
    if role != "sequence" and chords[0].partition("/")[0] not in _STARTS:
        worth *= 0.5
    if role in ("sequence", "climax") and still:
        worth *= 0.5
    for number, chord in enumerate(chords):
        root, _, bass = chord.partition("/")
        fifth = bass and (read_chord(root).root + 7) % 12 == read_chord(bass).root
        held = number and roots[number - 1] == bass and number + 1 < len(roots) and roots[number + 1] == bass
        if fifth and not held and not (roots[number] == "C" and (roots[number + 1 :] or "G")[0] == "G"):
            worth *= 0.55
    return worth


def views(heard: HeardPiece) -> Iterator[tuple[Heard, ...]]:
    """Yield rows of bars that have chords: as written, two bars taken as one, and bars of two chords as two."""
    runs: list[list[Heard]] = [[]]
    for number, (bar, chords) in enumerate(zip(heard.bars, heard.chords, strict=True)):
        if not chords or (number and heard.bars[number - 1].end != bar.start):
            runs.append([])
        if chords:
            runs[-1].append(chords)
    for run in runs:
        yield tuple(run)
        if any(len(bar) == 2 for bar in run):
            yield tuple((sound,) for bar in run for sound in (bar if len(bar) == 2 else (bar[0], bar[0])))
        for start in (0, 1):
            pairs = zip(run[start::2], run[start + 1 :: 2], strict=False)
            joined = [(*a, *b) if a != b or len(a) > 1 else a for a, b in pairs]
            if all(len(bar) <= 2 for bar in joined):
                yield tuple(joined)


class Progressions:
    """Counts progressions by mode, role and length: how many pieces have one, and with which basses."""

    def __init__(self) -> None:
        self.found: defaultdict[tuple[str, HarmonicRole, int], defaultdict[str, dict[str, tuple[str, str]]]]
        self.found = defaultdict(lambda: defaultdict(dict))
        self.basses: defaultdict[tuple[str, HarmonicRole, int, str], defaultdict[str, set[str]]]
        self.basses = defaultdict(lambda: defaultdict(set))
        self.bars: Counter[str] = Counter()

    def take(self, piece: HumanPiece) -> None:
        """Count one piece."""
        heard = hear_piece(piece) if piece.kind in KINDS else None
        if heard is None:
            return
        self.bars.update("read" if bar else "unclear" for bar in heard.chords)
        home = Counter(heard.keys).most_common(1)[0][0]
        for row in views(heard):
            for n in LENGTHS:
                for start in range(len(row) - n + 1):
                    window = row[start : start + n]
                    for role, minor, tonic in roles_of(window, home):
                        self._add(piece, role, minor, tonic, window)
        self._edges(piece, heard)

    def _edges(self, piece: HumanPiece, heard: HeardPiece) -> None:
        """What stands before the singer begins, and what ends a piece."""
        for n in LENGTHS:
            window = heard.chords[:n]
            if piece.kind == "song" and n <= heard.first_sung and n <= 4 and all(window):
                flat = [sound for bar in window for sound in bar]
                tonic, minor = heard.keys[0]
                if _fits(flat, tonic, minor) and flat[0].root == tonic:
                    self._add(piece, "intro", minor, tonic, window)
            for stop in (len(heard.chords), len(heard.chords) - 1):
                window = heard.chords[stop - n : stop]
                if len(window) < n or not all(window):
                    continue
                flat = [sound for bar in window for sound in bar]
                end = flat[-1]
                home = [len(bar) == 1 and bar[0].root == end.root for bar in window[-2:]]
                if end.bass == end.root and end.quality in ("", "m") and all(home):
                    minor = end.quality == "m" or not _fits(flat, end.root, False)
                    if _fits(flat, end.root, minor):
                        self._add(piece, "coda", minor, end.root, window)
                    break

    def _add(self, piece: HumanPiece, role: HarmonicRole, minor: bool, tonic: int, window: Sequence[Heard]) -> None:
        mode, n = "minor" if minor else "major", len(window)
        plain = [[HeardChord(s.root, _PLAIN.get(s.quality, s.quality), s.root) for s in bar] for bar in window]
        core = "|".join(" ".join(dict.fromkeys(spelled(sound, tonic) for sound in bar)) for bar in plain)
        text = "|".join(" ".join(dict.fromkeys(spelled(sound, tonic) for sound in bar)) for bar in window)
        name = f"{piece.kind} {piece.name}"
        self.found[mode, role, n][core][name] = piece.kind, f"{piece.kind} {piece.group}"
        self.basses[mode, role, n, core][text].add(name)

    def rows(self) -> Iterator[tuple[str, list[object]]]:
        """Yield the name of a table and a row of it: what three pieces, or two of different composers, share.

        Pieces count together whatever their basses; each of the basses that are most frequent gives a row.
        """
        for (mode, role, n), cores in self.found.items():
            for core, pieces in cores.items():
                if len(pieces) < 2 or (len({group for _, group in pieces.values()}) < 2 and len(pieces) < 3):
                    continue
                kinds = Counter(kind for kind, _ in pieces.values())
                source = ", ".join(f"{kind}s {kinds[kind]}" for kind in KINDS if kinds[kind])
                weight = tempered({name: KINDS[kind] for name, (kind, _) in pieces.items()})
                basses = {text: len(names) for text, names in self.basses[mode, role, n, core].items()}
                for text, count in sorted(basses.items(), key=lambda item: (-item[1], item[0]))[:_MOST_BASSES]:
                    worth = interest(text.split("|"), role)
                    own = round(weight * worth * (count / sum(basses.values())) ** 0.5, 3)
                    if worth >= _LEAST_INTEREST:
                        yield f"{mode} classic {role} {n}", [text, own, source]


def by_hand() -> Iterator[tuple[str, str, HarmonicRole, tuple[str, ...]]]:
    """Yield mode, style, role and bars of the progressions written by hand."""
    mode = style = role = ""
    for line in (TABLES / "harmony_by_hand.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            mode, style, role = line.strip("[]").split()
            if role not in HARMONIC_ROLES:
                raise ValueError(f"harmony_by_hand.txt: {role!r} is no role")
        elif line and not line.startswith("#"):
            for text in line.split(";"):
                bars = tuple(bar.strip() for bar in text.split("|"))
                yield mode, style, cast(HarmonicRole, role), bars


def progression_tables(counted: Iterable[tuple[str, list[object]]]) -> Rows:
    """Return rows (bars, weight, source) by `mode style role bars`, heaviest first: what was counted, and by hand."""
    tables: defaultdict[str, dict[str, list[object]]] = defaultdict(dict)
    for name, row in counted:
        tables[name][cast(str, row[0])] = row
    for name, rows in tables.items():
        most = MOST_ROWS[int(name[-1])]
        kept = sorted(rows.values(), key=lambda row: (-cast(float, row[1]), cast(str, row[0])))[:most]
        tables[name] = {cast(str, row[0]): row for row in kept}
    for mode, style, role, bars in by_hand():
        text = "|".join(bars)
        rows = tables[f"{mode} {style} {role} {len(bars)}"]
        weight, source = (cast(float, rows[text][1]), f"hand, {rows[text][2]}") if text in rows else (0.0, "hand")
        rows[text] = [text, round(weight + HAND_WEIGHT, 3), source]
    for mode, style in (("major", "classic"), ("minor", "classic"), ("major", "jazz"), ("minor", "jazz"),
                        ("dorian", "classic"), ("mixolydian", "classic")):  # fmt: skip
        for role in ("open", "close", "imperfect", "deceptive", "retransition", "climax"):
            for n in (5, 6):
                rows = tables[f"{mode} {style} {role} {n}"]
                if len(rows) < _FEW:
                    middles, ends = tables[f"{mode} {style} middle 2"], tables[f"{mode} {style} {role} {n - 2}"]
                    for row in _put_together(middles.values(), ends.values(), role):
                        rows.setdefault(cast(str, row[0]), row)
    return {
        name: sorted(rows.values(), key=lambda row: (-cast(float, row[1]), cast(str, row[0])))
        for name, rows in sorted(tables.items())
    }


_FEW = 40


def _put_together(middles: Iterable[list[object]], ends: Iterable[list[object]], role: str) -> list[list[object]]:
    """Put two bars before progressions of a role, where the two don't meet on one chord; the heaviest forty."""

    def weight(row: list[object]) -> float:
        return cast(float, row[1])

    heads = sorted(middles, key=lambda row: (-weight(row), cast(str, row[0])))[:20]
    tails = sorted(ends, key=lambda row: (-weight(row), cast(str, row[0])))[:20]
    found = []
    for head in heads:
        for tail in tails:
            one, two = cast(str, head[0]), cast(str, tail[0])
            meets = read_chord(one.split("|")[-1].split()[-1]).root == read_chord(two.split("|")[0].split()[0]).root
            if meets or (role == "open" and read_chord(one.split("|")[0].split()[0]).root):
                continue
            found.append([f"{one}|{two}", round(0.4 * (weight(head) * weight(tail)) ** 0.5, 3), "put together"])
    return sorted(found, key=lambda row: (-weight(row), cast(str, row[0])))[:_FEW]
