"""Melodies of the repertoire by bars: their rhythms, contours and intervals, counted by pieces that share them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.pools import CHARACTERS, POOL_METERS, RUN_STRIDE, WIDEST, Rhythm, hashes_of_runs
from image2music.composers.nano.sketch import TICKS, bar_ticks, beat_ticks
from image2music.composers.suiting import Character
from image2music.music.critic.training import HumanPiece
from image2music.music.score import MeterChange, Score, Track

KIND_WEIGHTS = {"song": 2.0, "quartet": 1.5, "hymn": 1.0, "chorale": 1.0, "solo": 0.5}
"""How much a piece of a kind weighs among rhythms: the many dance tunes would otherwise be all."""

# ---------------------------------------------------------------- bars and melodies


@dataclass(frozen=True, slots=True)
class FullBar:
    """A full bar of a piece: its ticks (12 a quarter note) and meter."""

    start: int
    end: int
    meter: str


@dataclass(frozen=True)
class MinedLine:
    """A melody: (onset, length, pitch) in ticks; where notes fall on no tick the onset is negative."""

    piece: HumanPiece
    notes: tuple[tuple[int, int, int], ...]
    bars: tuple[FullBar, ...]
    sharps: int
    tonic: int
    minor: bool
    loudness: float

    @cached_property
    def owner(self) -> str:
        """Whose it is: the composer's; a fiddle tune, which collections share under other names, goes by its middle."""
        if self.piece.kind != "solo":
            return self.piece.group
        pitches = [pitch for _, _, pitch in self.notes[24:37]]
        return " ".join(str(b - a) for a, b in pairwise(pitches))


def to_tick(time: int, resolution: int) -> int | None:
    """Return a time in ticks of a twelfth of a quarter note; None where it falls on none."""
    exact = time * TICKS / resolution
    return round(exact) if abs(exact - round(exact)) < 0.03 else None


def full_bars(score: Score) -> tuple[FullBar, ...]:
    """Return the full bars of a score, pick-ups and cut bars left out."""
    end = max((int((track.onsets + track.durations).max()) for track in score.tracks if len(track)), default=0)
    changes = score.meters or (MeterChange(0, 4, 4),)
    bars = []
    for change, stop in zip(changes, [*(later.tick for later in changes[1:]), end + 1], strict=True):
        length = score.ticks_per_quarter * 4 * change.numerator / change.denominator
        for number in range(int((stop - change.tick) / length + 0.999)):
            first = to_tick(round(change.tick + number * length), score.ticks_per_quarter)
            ticks = 4 * TICKS * change.numerator // change.denominator
            if first is not None and (change.tick + (number + 1) * length <= stop + 1 or stop > end):
                bars.append(FullBar(first, first + ticks, f"{change.numerator}/{change.denominator}"))
    return tuple(bars)


def melody_track(piece: HumanPiece) -> Track:
    """Return the part that has the tune: the voice of a song, else the first one that sounds."""
    pitched = [track for track in piece.score.tracks if len(track) and not track.is_drum]
    return next((track for track in pitched if piece.kind != "song" or "staff" not in track.name), pitched[0])


def line_of(piece: HumanPiece) -> MinedLine | None:
    """Return the melody of a piece; None where it is too short to learn from."""
    score = piece.score
    track = melody_track(piece) if any(len(track) for track in score.tracks) else None
    if track is None or len(track) < 12:
        return None
    top: dict[int, tuple[int, int]] = {}
    for onset, length, pitch in zip(
        track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), strict=True
    ):
        if onset not in top or pitch > top[onset][1]:
            top[onset] = length, pitch
    onsets = sorted(top)
    notes = []
    for onset, nxt in zip(onsets, [*onsets[1:], 1 << 60], strict=True):
        length, pitch = top[onset]
        at = to_tick(onset, score.ticks_per_quarter)
        end = to_tick(min(onset + length, nxt), score.ticks_per_quarter)
        notes.append((-1, 0, pitch) if at is None or end is None or end <= at else (at, end - at, pitch))
    sharps, minor = (score.keys[0].sharps, score.keys[0].minor) if score.keys else (0, False)
    tonic, is_minor = key_by_ear(score, sharps, minor)
    loud = np.concatenate([other.velocities for other in score.tracks if len(other)])
    marked = float(np.median(loud)) if len(np.unique(loud)) > 1 else 0.0
    return MinedLine(piece, tuple(notes), full_bars(score), sharps, tonic, is_minor, marked)


MAJOR_PROFILE = np.array([5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0])
MINOR_PROFILE = np.array([5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0])
"""What a scale's tones weigh by semitones above the tonic (after Temperley, 1999)."""


def key_by_ear(score: Score, sharps: int, minor: bool) -> tuple[int, bool]:
    """Return tonic and whether minor: of the signature's two keys the one whose tones sound longer."""
    weights = np.zeros(12)
    for track in score.tracks:
        if len(track) and not track.is_drum:
            weights += np.bincount(track.pitches % 12, weights=track.durations, minlength=12)
    scores = []
    for is_minor, profile in ((False, MAJOR_PROFILE), (True, MINOR_PROFILE)):
        tonic = (sharps * 7 + (9 if is_minor else 0)) % 12
        fit = float(np.corrcoef(np.roll(profile, tonic), weights)[0, 1])
        scores.append((round(fit + (0.02 if is_minor == minor else 0), 6), tonic, is_minor))
    _, tonic, is_minor = max(scores)
    return tonic, is_minor


# ---------------------------------------------------------------- rhythm


def rhythm_in(line: MinedLine, bar: FullBar, onsets: Sequence[int]) -> tuple[Rhythm, tuple[int, ...]] | None:
    """Return the rhythm and pitches of a bar; None where it is empty, tied in or out, or off the ticks."""
    first, last = bisect_left(onsets, bar.start), bisect_left(onsets, bar.end)
    inside = line.notes[first:last]
    if not inside or any(at < 0 for at, _, _ in inside):
        return None
    if first and line.notes[first - 1][0] + line.notes[first - 1][1] > bar.start:
        return None
    if inside[-1][0] + inside[-1][1] > bar.end:
        return None
    rhythm = tuple((at - bar.start, length) for at, length, _ in inside)
    grid = [value for note in rhythm for value in note]
    if any(value % 3 and value % 4 for value in grid) or any(length < 3 for _, length in rhythm):
        return None
    return rhythm, tuple(pitch for _, _, pitch in inside)


def kinds_of(first: Rhythm, second: Rhythm, meter: str) -> list[str]:
    """Return the kinds of a pair of bars, sorted."""
    beat, length = beat_ticks(meter), bar_ticks(meter)
    compound = beat == 18
    found = set()
    lengths = [duration for bar in (first, second) for _, duration in bar]
    for bar in (first, second):
        for at, duration in bar:
            if at % beat and at // beat != (at + duration - 1) // beat:
                found.add("syncopation")
            if not compound and (at % 3 or duration % 3):
                found.add("triplet")
        for (_, long), (_, short) in pairwise(bar):
            if long == 3 * short or (compound and long == 9 and short == 3):
                found.add("dotted")
        for (_, short), (at, long) in pairwise(bar):
            if not compound and at % (2 * beat) == beat and long == 2 * beat and short == beat:
                found.add("syncopation")
    if first[0][0] > 0:
        found.add("upbeat-rest")
    if second[-1][1] >= max(length // 2, 2 * min(lengths)):
        found.add("long-end")
    if Counter(lengths).most_common(1)[0][1] >= 0.85 * len(lengths):
        found.add("even")
    return sorted(found)


def character_of_line(line: MinedLine) -> Character | None:
    """Guess the character of a piece from its tempo, loudness and mode; None where no tempo is marked."""
    if not line.piece.score.tempos or not line.bars:
        return None
    qpm = line.piece.score.tempos[0].qpm
    beats = qpm * TICKS / beat_ticks(line.bars[0].meter)
    loud, soft = line.loudness >= 84, 0 < line.loudness <= 66
    if line.minor and beats < 96 and not loud:
        return "dark"
    if loud and beats < 112:
        return "grand"
    if beats >= 112:
        return "driving" if loud or line.minor else "playful"
    if beats < 72 or (soft and beats < 88):
        return "calm"
    return "flowing"


def as_text(bars: Iterable[Rhythm]) -> str:
    """Write rhythms as the tables have them: `0:12 12:12|0:48`."""
    return "|".join(" ".join(f"{at}:{length}" for at, length in bar) for bar in bars)


Thing = TypeVar("Thing")
"""What is counted: a rhythm, two of them, or rhythms with a contour."""
Row = list[object]
Shape = tuple[tuple[Rhythm, ...], tuple[int, ...]]


class _Tally(Generic[Thing]):
    """Owners that have a thing, with what they weigh, and how often music of each character has it."""

    def __init__(self) -> None:
        self.owners: defaultdict[Thing, dict[str, float]] = defaultdict(dict)
        self.characters: defaultdict[Thing, Counter[str]] = defaultdict(Counter)

    def add(self, thing: Thing, line: MinedLine, character: str | None = None) -> None:
        owners = self.owners[thing]
        if line.owner not in owners:
            owners[line.owner] = KIND_WEIGHTS[line.piece.kind]
            if character:
                self.characters[thing][character] += 1


def tempered(groups: Mapping[str, float]) -> float:
    """Return the weight of what these pieces share: less than proportional, so that rarer things come too."""
    return round(sum(groups.values()) ** 0.6, 3)


class Rhythms:
    """Counts rhythms of two bars, of last bars, and contours over them."""

    def __init__(self) -> None:
        self.pairs: dict[str, _Tally[tuple[Rhythm, Rhythm]]] = {meter: _Tally() for meter in POOL_METERS}
        self.ends: dict[str, _Tally[Rhythm]] = {f"{m} {e}": _Tally() for m in POOL_METERS for e in ("closing", "inner")}
        self.two: dict[str, _Tally[Shape]] = {meter: _Tally() for meter in POOL_METERS}
        self.one: dict[str, _Tally[Shape]] = {meter: _Tally() for meter in POOL_METERS}

    def take(self, line: MinedLine) -> None:
        """Count one melody."""
        onsets = list(np.maximum.accumulate([at for at, _, _ in line.notes]).tolist())
        character = character_of_line(line)
        scale = [(line.sharps + step) * 7 % 12 for step in range(-1, 6)]
        before: tuple[FullBar, Rhythm, tuple[int, ...], bool] | None = None
        opens, since = True, 0
        for bar in line.bars:
            read = rhythm_in(line, bar, onsets) if bar.meter in self.pairs else None
            if read is None:
                before, opens, since = None, True, 0
                continue
            rhythm, pitches = read
            steps = scale_steps(pitches, scale)
            if steps is not None and len(rhythm) > 1:
                self.one[bar.meter].add(((rhythm,), tuple(step - steps[0] for step in steps)), line)
            if before is not None and before[0].end == bar.start and before[0].meter == bar.meter:
                pair = before[1], rhythm
                if 3 <= sum(map(len, pair)) <= 20:
                    self.pairs[bar.meter].add(pair, line, character)
                both = scale_steps((*before[2], *pitches), scale)
                if before[3] and both is not None and sum(map(len, pair)) >= 4:
                    self.two[bar.meter].add((pair, tuple(step - both[0] for step in both)), line)
            ending = self._ending(line, bar, rhythm, onsets)
            if ending:
                self.ends[f"{bar.meter} {ending}"].add(rhythm, line)
            before = bar, rhythm, pitches, opens
            since = 1 if opens else since + 1
            opens = bool(ending) or since % 4 == 0

    @staticmethod
    def _ending(line: MinedLine, bar: FullBar, rhythm: Rhythm, onsets: Sequence[int]) -> str:
        last, beat = rhythm[-1], beat_ticks(bar.meter)
        if last[1] < max(12, *(length for _, length in rhythm)) or 2 * (last[0] + last[1]) < bar.end - bar.start:
            return ""
        nxt = bisect_left(onsets, bar.end)
        if nxt == len(line.notes):
            return "closing"
        rest = line.notes[nxt][0] - (bar.start + last[0] + last[1])
        if last[1] >= beat and (rest >= beat // 2 or last[1] >= 2 * beat):
            return "inner"
        return ""


def scale_steps(pitches: Sequence[int], scale: Sequence[int]) -> tuple[int, ...] | None:
    """Return pitches as steps of a scale, raised tones as the step that they come from; None where two are foreign."""
    order = sorted(scale)
    steps: list[int] = []
    foreign = 0
    for pitch in pitches:
        octave, tone = divmod(pitch, 12)
        if tone not in order:
            foreign += 1
            tone = (tone - 1) % 12 if (tone - 1) % 12 in order else (tone + 1) % 12
        steps.append(7 * octave + order.index(tone))
    return tuple(steps) if foreign <= 1 else None


def rhythm_tables(counted: Rhythms) -> dict[str, dict[str, list[Row]]]:
    """Return the tables of rhythms and contours, heaviest first."""
    base: Counter[str] = Counter()
    for tally in counted.pairs.values():
        for characters in tally.characters.values():
            base.update(characters)
    total = sum(base.values()) or 1
    usual = [base[name] / total for name in CHARACTERS]
    pairs: dict[str, list[_Pair]] = {}
    for meter, tally in counted.pairs.items():
        found = [
            _Pair(bars, tempered(owners), _lifts(tally.characters[bars], usual))
            for bars, owners in tally.owners.items()
            if len(owners) > 1
        ]
        rare = [[pair for pair in found if kind in kinds_of(*pair.bars, meter)] for kind in _RARE_KINDS]
        chosen = [_heaviest(found, _MOST_PAIRS), *(_heaviest(of_kind, _MOST_RARE) for of_kind in rare)]
        pairs[meter] = _heaviest([pair for some in chosen for pair in some], len(found))
    ends: dict[str, list[_Ending]] = {
        name: _heaviest([_Ending((bar,), tempered(owners)) for bar, owners in tally.owners.items() if len(owners) > 1],
                        _MOST_ENDINGS)
        for name, tally in counted.ends.items()
    }  # fmt: skip
    for meter, parts in _PUT_TOGETHER.items():
        if len(pairs[meter]) < _FEW_PAIRS:
            pairs[meter] = _heaviest([*pairs[meter], *_joined_pairs(parts, pairs)], _MOST_PAIRS // 3)
        for kind in ("closing", "inner"):
            name = f"{meter} {kind}"
            if len(ends[name]) < _FEW_ENDINGS:
                ends[name] = _heaviest([*ends[name], *_joined_ends(meter, parts[0], ends[f"{parts[0]} {kind}"])], 20)
    for short, long in (("3/8", "3/4"), ("5/8", "5/4")):
        for kind in ("closing", "inner"):
            ends[f"{short} {kind}"] = _heaviest([*ends[f"{short} {kind}"], *_halved_ends(ends[f"{long} {kind}"])], 20)
    one = {meter: _contour_rows(tally, 4) for meter, tally in counted.one.items()}
    for meter, parts in _PUT_TOGETHER.items():
        if len(one[meter]) < _FEW_PAIRS and parts[1] in one:
            one[meter] += _joined_contours(bar_ticks(parts[0]), one[parts[0]], one[parts[1]])
    return {
        "rhythms": {meter: [row.as_row(meter) for row in rows] for meter, rows in pairs.items()},
        "cadences": {name: [[as_text(row.bars), row.weight] for row in rows] for name, rows in ends.items()},
        "contour_pairs": {meter: _contour_rows(tally, 2) for meter, tally in counted.two.items()},
        "contour_bars": one,
    }


_RARE_KINDS = ("triplet", "syncopation", "upbeat-rest")
_MOST_RARE = 60
_MOST_PAIRS, _MOST_ENDINGS, _MOST_CONTOURS, _FEW_PAIRS, _FEW_ENDINGS = 900, 60, 700, 60, 8


class _Ending(NamedTuple):
    bars: tuple[Rhythm]
    weight: float


class _Pair(NamedTuple):
    """Two bars, their weight, and how much more often than usual each character has them."""

    bars: tuple[Rhythm, Rhythm]
    weight: float
    lifts: tuple[float, ...]

    def as_row(self, meter: str) -> Row:
        """Return the row of the table."""
        return [as_text(self.bars), self.weight, " ".join(kinds_of(*self.bars, meter)), list(self.lifts)]


_Weighed = TypeVar("_Weighed", _Pair, _Ending)


def _heaviest(rows: Iterable[_Weighed], most: int) -> list[_Weighed]:
    distinct: dict[str, _Weighed] = {}
    for row in sorted(rows, key=lambda row: (-row.weight, as_text(row.bars))):
        distinct.setdefault(as_text(row.bars), row)
    return list(distinct.values())[:most]


def _lifts(have: Mapping[str, int], usual: Sequence[float]) -> tuple[float, ...]:
    """Return observed by expected counts of the characters, drawn towards 1 where there are few."""
    n = sum(have.values())
    return tuple(
        round((have[name] + 4 * share + 0.5) / ((n + 4) * share + 0.5), 2)
        for name, share in zip(CHARACTERS, usual, strict=True)
    )


def _contour_rows(tally: _Tally[Shape], fewest: int) -> list[Row]:
    """Return contours that enough pieces share; of fiddle tunes, which are variants of each other, three for two."""
    rows = []
    for (bars, steps), owners in tally.owners.items():
        solos = sum(weight == KIND_WEIGHTS["solo"] for weight in owners.values())
        if len(owners) - solos + solos * 2 // 3 >= fewest and len(set(steps)) > 1:
            rows.append((-tempered(owners), as_text(bars), steps))
    return [[text, list(steps), -weight] for weight, text, steps in sorted(rows)[:_MOST_CONTOURS]]


_PUT_TOGETHER = {
    "5/4": ("3/4", "2/4"), "7/4": ("4/4", "3/4"), "7/8": ("2/4", "3/8"), "12/8": ("6/8", "6/8"), "9/8": ("6/8", "3/8"),
    "6/4": ("3/4", "3/4"), "3/2": ("4/4", "2/4"), "5/8": ("3/8", "2/8"),
}  # fmt: skip


def _joined_pairs(parts: tuple[str, str], pairs: Mapping[str, list[_Pair]]) -> Iterator[_Pair]:
    """Put pairs of two meters side by side, bar by bar."""
    two = pairs[parts[1]][:40] if parts[1] in pairs else [_halved(pair) for pair in pairs["2/4"][:40]]
    length = bar_ticks(parts[0])
    for place, one in enumerate(pairs[parts[0]][:60]):
        for other in two[place % 4 :: 4]:
            first, second = (
                (*head, *((at + length, duration) for at, duration in tail))
                for head, tail in zip(one.bars, other.bars, strict=True)
            )
            if 4 <= len(first) + len(second) <= 18:
                lifts = tuple(round((a * b) ** 0.5, 2) for a, b in zip(one.lifts, other.lifts, strict=True))
                yield _Pair((first, second), round(0.3 * (one.weight * other.weight) ** 0.5, 3), lifts)


def _halved(pair: _Pair) -> _Pair:
    """Return a pair of 2/4 twice as fast, without what is too short for that."""
    first, second = (
        tuple((at // 2, length // 2) for at, length in bar if at % 6 == 0 and length % 6 == 0) or ((0, 12),)
        for bar in pair.bars
    )
    return pair._replace(bars=(first, second))


def _joined_ends(meter: str, part: str, ends: Sequence[_Ending]) -> Iterator[_Ending]:
    """End in the first part of a bar and rest, or stay to the bar's end."""
    length, whole = bar_ticks(part), bar_ticks(meter)
    for (bar,), weight in ends[:12]:
        at, duration = bar[-1]
        yield _Ending((bar,), round(0.5 * weight, 3))
        if at + duration >= length - 6:
            yield _Ending(((*bar[:-1], (at, whole - at - 6)),), round(0.5 * weight, 3))


def _halved_ends(ends: Sequence[_Ending]) -> Iterator[_Ending]:
    """Return what goes twice as fast without becoming too short."""
    for (bar,), weight in ends:
        if all(value % 6 == 0 for note in bar for value in note):
            yield _Ending((tuple((at // 2, length // 2) for at, length in bar),), round(0.3 * weight, 3))


def _joined_contours(length: int, heads: Sequence[Row], tails: Sequence[Row]) -> list[Row]:
    """Put contours of a bar side by side; the second goes on a step above or below the end of the first."""
    rows: list[Row] = []
    for place, (text, steps, weight) in enumerate(heads[:40]):
        for number, (other, more, much) in enumerate(tails[place % 5 : 40 : 5]):
            head, tail = cast(list[int], steps), cast(list[int], more)
            shift = head[-1] + (1 if (place + number) % 2 else -1)
            notes = [note.partition(":") for note in cast(str, other).split()]
            later = " ".join(f"{int(at) + length}:{duration}" for at, _, duration in notes)
            value = round(0.3 * (cast(float, weight) * cast(float, much)) ** 0.5, 3)
            rows.append([f"{text} {later}", [*head, *(step + shift for step in tail)], value])
    return sorted(rows, key=lambda row: (-cast(float, row[2]), cast(str, row[0]), str(row[1])))


# ---------------------------------------------------------------- what follows what in melodies


def surprise_bits(lines: Iterable[MinedLine]) -> NDArray[np.uint8]:
    """Return uint8[2, 12, 27, 27], twelfths of a bit: the next interval by mode, degree and last interval."""
    counts = np.zeros((2, 12, 2 * WIDEST + 1, 2 * WIDEST + 1))
    for line in lines:
        pitches = np.array([pitch for _, _, pitch in line.notes], dtype=np.int64)
        steps = np.clip(np.diff(pitches), -WIDEST, WIDEST) + WIDEST
        degrees = (pitches[1:-1] - line.tonic) % 12
        np.add.at(counts[int(line.minor)], (degrees, steps[:-1], steps[1:]), KIND_WEIGHTS[line.piece.kind])
    everywhere = counts.sum(axis=(0, 1, 2)) + 0.5
    everywhere /= everywhere.sum()
    by_degree = counts.sum(axis=2, keepdims=True)
    wide = (by_degree + 20 * everywhere) / (by_degree.sum(axis=3, keepdims=True) + 20)
    narrow = (counts + 12 * wide) / (counts.sum(axis=3, keepdims=True) + 12)
    bits: NDArray[np.uint8] = np.clip(np.rint(-12 * np.log2(narrow)), 0, 255).astype(np.uint8)
    return bits


def run_hashes(lines: Iterable[MinedLine]) -> NDArray[np.uint64]:
    """Return the sorted hashes of every second run of the melodies."""
    found: list[NDArray[np.uint64]] = [np.zeros(0, dtype=np.uint64)]
    for line in lines:
        found.append(np.unique(hashes_of_runs([pitch for _, _, pitch in line.notes])[::RUN_STRIDE]))
    hashes = np.unique(np.concatenate(found))
    return hashes[hashes > 0]
