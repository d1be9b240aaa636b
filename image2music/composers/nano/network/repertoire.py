"""The repertoire's melodies as sketches: what the network learns from, and lines spoiled on purpose.

Chords are estimated from all voices by bar or half bar; a bar that no chord explains has none. Sections, what they are
for, and the character of a piece are estimated by simple rules; loudness is that of the marks.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.network.tokens import METERS
from image2music.composers.nano.sketch import TICKS, Note, Purpose, Sketch, SketchBar, bar_ticks, beat_ticks
from image2music.composers.suiting import Character
from image2music.music.critic.training import HumanPiece, share_of
from image2music.music.planning.plan import DYNAMICS
from image2music.music.score import KeyChange, Score, Track
from image2music.music.theory import SCALES, fifths_name, key_name

HELD_OUT_SHARE: Final = 0.09
FEWEST_BARS, MOST_BARS = 6, 32
RUN: Final = 16
"""Intervals in a row that a held-out line must not share with a training line."""


@dataclass(frozen=True)
class TrainingLine:
    """A melody of the repertoire. `unknown` names what its source does not say (tempo, character, dynamic)."""

    name: str
    kind: str
    group: str
    title: str
    sketch: Sketch
    unknown: frozenset[str]


@dataclass(frozen=True)
class _Grid:
    """Bars of one meter and one signature: onsets in ticks of the score."""

    starts: tuple[int, ...]
    meter: str
    key: KeyChange


def lines_of(piece: HumanPiece, title: str = "") -> Iterator[TrainingLine]:
    """Yield the melody of each stretch of a piece that keeps one meter and one signature."""
    score = piece.score
    lead = leading_track(piece)
    if lead is None:
        return
    tracks = [track for track in score.tracks if not track.is_drum and len(track)]
    loud = len({int(v) for track in tracks for v in track.velocities.tolist()}) > 1
    for number, grid in enumerate(_grids(score)):
        line = _line(score, tracks, lead, grid, piece.kind, loud)
        if line is not None:
            sketch, unknown = line
            yield TrainingLine(f"{piece.name} {number}", piece.kind, piece.group, title, sketch, unknown)


def leading_track(piece: HumanPiece) -> Track | None:
    """Return the voice of a song, the soprano of a chorale, the first voice of anything else."""
    tracks = [track for track in piece.score.tracks if len(track) >= 16 and not track.is_drum]
    if piece.kind == "song":
        tracks = [track for track in tracks if "staff" not in track.name] or tracks
    named = [track for track in tracks if track.name.lower().startswith(("sopran", "voice", "sing"))]
    found = named or tracks
    return found[0] if found else None


def _grids(score: Score) -> Iterator[_Grid]:
    """Yield stretches of full bars; two partial bars that make up one, as beside a repeat, count as one."""
    quarter = score.ticks_per_quarter
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks if len(track))
    changes = [(m.tick, m.numerator, m.denominator) for m in score.meters] or [(0, 4, 4)]
    bars: list[tuple[int, str, int]] = []
    for (tick, numerator, denominator), stop in zip(changes, [*(c[0] for c in changes[1:]), end], strict=True):
        full = quarter * 4 * numerator // denominator
        meter = f"{numerator}/{denominator}"
        told = [b.tick for b in score.bar_starts if tick <= b.tick < stop]
        starts = [*told, stop] if told else list(range(tick, stop + full - 1, full))
        i = 0
        while i + 1 < len(starts):
            length = starts[i + 1] - starts[i]
            joined = length < full and i + 2 < len(starts) and starts[i + 2] - starts[i] == full
            last = i + 2 == len(starts) and stop == end
            whole = joined or length == full or (last and length > 0)
            bars.append((starts[i], meter if whole else "", full))
            i += 2 if joined else 1
    keys = list(score.keys) or [KeyChange(0, 0, False)]
    run: list[int] = []
    held: tuple[str, KeyChange] | None = None
    for (start, meter, full), following in zip(bars, [*bars[1:], (end, "", 0)], strict=True):
        key = [k for k in keys if k.tick <= start + full // 2] or keys[:1]
        now = (meter, key[-1])
        if run and (held is None or meter != held[0] or key[-1] != held[1]):
            if held is not None and len(run) >= FEWEST_BARS:
                yield _Grid(tuple(run), *held)
            run = []
        if meter in METERS:
            run.append(start)
            held = now
        if run and following[0] - start > full:
            if held is not None and len(run) >= FEWEST_BARS:
                yield _Grid(tuple(run), *held)
            run = []
    if held is not None and len(run) >= FEWEST_BARS:
        yield _Grid(tuple(run), *held)


def _line(
    score: Score, tracks: Sequence[Track], lead: Track, grid: _Grid, kind: str, loud: bool
) -> tuple[Sketch, frozenset[str]] | None:
    quarter, length = score.ticks_per_quarter, bar_ticks(grid.meter)
    first = grid.starts[0]
    stop = grid.starts[-1] + length * quarter // TICKS
    key = _key_of(tracks, grid.key, first, stop, quarter)
    melody = _top_notes(lead, first, stop)
    bars_notes: list[list[Note]] = [[] for _ in grid.starts]
    starts = np.array(grid.starts)
    for onset, duration, pitch in melody:
        at = int(np.searchsorted(starts, onset, "right")) - 1
        place = round((onset - grid.starts[at]) * TICKS / quarter)
        ticks = max(1, round(duration * TICKS / quarter))
        if place < length:
            bars_notes[at].append((place, min(ticks, 144), pitch))
    sounding = [at for at, notes in enumerate(bars_notes) if notes]
    if len(sounding) < FEWEST_BARS - 2 or sum(len(n) for n in bars_notes) < 16:
        return None
    from_bar, to_bar = sounding[0], sounding[-1] + 1
    chords = (
        [()] * len(grid.starts) if kind == "solo" else _chords(tracks, grid.starts, length, quarter, key, grid.meter)
    )
    levels = _loudness(tracks, grid.starts, length * quarter // TICKS) if loud else [3] * len(grid.starts)
    tempos = [tempo for tempo in score.tempos if tempo.tick <= first]
    known_tempo = bool(tempos) and kind in ("song", "quartet", "chorale")
    qpm = tempos[-1].qpm if known_tempo else 100.0
    notes = [tuple(sorted(n)) for n in bars_notes[from_bar:to_bar]]
    sections, purposes = sections_of(notes, length, beat_ticks(grid.meter))
    program = {"solo": 110, "quartet": 40}.get(kind, 52)
    bars = tuple(
        SketchBar(chord, own, section, purposes[section], DYNAMICS[level], 1, program)
        for chord, own, section, level in zip(
            chords[from_bar:to_bar], notes, sections, levels[from_bar:to_bar], strict=True
        )
    )
    unknown = {name for name, known in (("tempo", known_tempo), ("dynamic", loud)) if not known}
    character = character_of(qpm, key, grid.meter, float(np.mean(levels)) if loud else 2.5)
    if not known_tempo:
        unknown.add("character")
    return Sketch(key, grid.meter, qpm, character, bars), frozenset(unknown)


def _top_notes(track: Track, first: int, stop: int) -> list[tuple[int, int, int]]:
    best: dict[int, tuple[int, int]] = {}
    for onset, duration, pitch in zip(
        track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), strict=True
    ):
        if first <= onset < stop and (onset not in best or pitch > best[onset][1]):
            best[onset] = (duration, pitch)
    return [(onset, *best[onset]) for onset in sorted(best)]


# Weights of the twelve semitones in a key: tonic triad, scale, the rest (this file's own, rough).
_MAJOR = np.array([5, 0, 3, 0, 4, 3, 0, 4.5, 0, 3, 0, 3]) - 2.4
_MINOR = np.array([5, 0, 3, 4, 0, 3, 0, 4.5, 2.5, 0.5, 1.5, 2.5]) - 2.4


def _key_of(tracks: Sequence[Track], signature: KeyChange, first: int, stop: int, quarter: int) -> str:
    """Return the key of a stretch: by its signature major or the relative minor, whichever its notes are nearer to."""
    if signature.home is not None or signature.minor:
        if signature.home is None:
            return key_name(signature.sharps, True)
        for mode, offset in (("dor", -2), ("mix", -1), ("phr", -4), ("lyd", 1)):
            if (signature.sharps - offset) * 7 % 12 == signature.home and -5 <= signature.sharps - offset <= 6:
                return fifths_name(signature.sharps - offset) + mode
        return key_name(signature.sharps, signature.minor)
    weights = np.zeros(12)
    inside = [(track.onsets >= first) & (track.onsets < stop) for track in tracks]
    columns = (np.stack([t.onsets, t.durations, t.pitches])[:, kept] for t, kept in zip(tracks, inside, strict=True))
    onsets, durations, pitches = np.concatenate(list(columns), 1)
    np.add.at(weights, pitches % 12, np.minimum(durations, 2 * quarter))
    last = int(pitches[onsets == onsets.max()].min()) % 12 if len(onsets) else -1
    weights = weights / max(weights.sum(), 1)
    tonic = signature.sharps * 7 % 12
    relative = (tonic + 9) % 12
    major = float(np.roll(_MAJOR, tonic) @ weights) + 0.5 * (last == tonic)
    minor = float(np.roll(_MINOR, relative) @ weights) + 0.5 * (last == relative)
    return key_name(signature.sharps, minor > major)


_TEMPLATES: Final = (
    ("", (0, 4, 7)), ("m", (0, 3, 7)), ("7", (0, 4, 7, 10)), ("m7", (0, 3, 7, 10)), ("maj7", (0, 4, 7, 11)),
    ("dim", (0, 3, 6)), ("m7b5", (0, 3, 6, 10)), ("dim7", (0, 3, 6, 9)), ("aug", (0, 4, 8)), ("sus4", (0, 5, 7)),
)  # fmt: skip
_EXPLAINED = 0.72
_ROOTS = np.repeat(np.arange(12), len(_TEMPLATES))
_TONES = np.array(
    [[(c - root) % 12 in tones for c in range(12)] for root in range(12) for _, tones in _TEMPLATES], float
)
_HANDICAP = np.tile([0.06 * (len(tones) - 3) + 0.002 * order for order, (_, tones) in enumerate(_TEMPLATES)], 12)


def _chords(
    tracks: Sequence[Track], starts: Sequence[int], length: int, quarter: int, key: str, meter: str
) -> list[tuple[str, ...]]:
    halves = 2 if meter in ("4/4", "2/2", "12/8", "6/8", "6/4", "4/2", "2/4") else 1
    found = []
    span = length * quarter // TICKS
    columns = np.concatenate(
        [np.stack([track.onsets, track.onsets + track.durations, track.pitches], 1) for track in tracks]
    )
    columns = columns[np.argsort(columns[:, 0], kind="stable")]
    for start in starts:
        near = columns[(columns[:, 0] < start + span) & (columns[:, 1] > start)]
        parts = [_chord(near, start + span * i // halves, start + span * (i + 1) // halves, key) for i in range(halves)]
        if halves == 2 and parts[0] == parts[1]:
            parts = parts[:1]
        if "" in parts:
            whole = _chord(near, start, start + span, key)
            parts = [whole] if whole else []
        found.append(tuple(parts))
    return found


def _chord(notes: NDArray[np.int64], start: int, stop: int, key: str) -> str:
    """Return the chord that explains most of what sounds, "" where none explains enough."""
    inside = np.minimum(notes[:, 1], stop) - np.maximum(notes[:, 0], start)
    there = inside > 0
    if not there.any():
        return ""
    weights = np.zeros(12)
    np.add.at(weights, notes[there, 2] % 12, inside[there].astype(float))
    weights /= weights.sum()
    low = notes[there]
    bass = int(low[np.lexsort((low[:, 0], low[:, 2]))[0], 2]) % 12
    shares = _TONES @ weights
    missing = _TONES @ (weights < 0.04).astype(float)
    scores = shares - 0.09 * missing - _HANDICAP + 0.07 * (bass == _ROOTS)
    possible = (shares >= _EXPLAINED) & (weights[_ROOTS] > 0.02)
    if not possible.any():
        return ""
    at = int(np.round(np.where(possible, scores, -9.0), 6).argmax())
    root, (quality, tones) = int(_ROOTS[at]), _TEMPLATES[at % len(_TEMPLATES)]
    name = _spelt(root, key) + quality
    if bass != root and any((root + tone) % 12 == bass for tone in tones):
        name += "/" + _spelt(bass, key)
    return name


@lru_cache(maxsize=4096)
def _spelt(pitch_class: int, key: str) -> str:
    """Spell a pitch class near the key on the line of fifths."""
    centre = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}[key[0]] + 7 * (key[1:2] == "#")
    centre -= 7 * (key[1:2] == "b")
    centre += -2 if "m" in key[1:] else 1
    fifths = min((f for f in range(-8, 13) if f * 7 % 12 == pitch_class), key=lambda f: (abs(f - centre), f))
    return fifths_name(fifths)


_MARKS = np.array([45, 60, 75, 90, 105, 115])


def _loudness(tracks: Sequence[Track], starts: Sequence[int], span: int) -> list[int]:
    """Return the place in `DYNAMICS` of each bar's median velocity; a silent bar keeps the one before."""
    onsets = np.concatenate([track.onsets for track in tracks])
    velocities = np.concatenate([track.velocities for track in tracks])
    levels, level = [], 3
    for start in starts:
        inside = velocities[(onsets >= start) & (onsets < start + span)]
        if len(inside):
            level = int(np.abs(_MARKS - np.median(inside)).argmin())
        levels.append(level)
    return levels


def sections_of(bars: Sequence[tuple[Note, ...]], length: int, beat: int) -> tuple[list[int], list[Purpose]]:
    """Cut a melody into sections near 8 bars that end where it rests, and say what each is for."""
    edges = [0]
    while len(bars) - edges[-1] > 11:
        ends = range(edges[-1] + 4, min(edges[-1] + 11, len(bars) - 3))
        edges.append(
            max(
                ends,
                key=lambda end: (
                    round(_closes(bars[end - 1], length, beat) - 0.18 * abs(end - edges[-1] - 8), 6),
                    -end,
                ),
            )
        )
    edges.append(len(bars))
    spans = list(pairwise(edges))
    purposes: list[Purpose] = []
    density = [sum(map(len, bars[a:b])) / (b - a) for a, b in spans]
    peaks = [max((n[2] for bar in bars[a:b] for n in bar), default=0) for a, b in spans]
    for number, (a, b) in enumerate(spans):
        alike = _alike(bars[:4], bars[a : a + 4])
        if number == 0:
            purposes.append("statement")
        elif alike >= 0.6:
            purposes.append("return" if set(purposes) - {"statement", "again"} else "again")
        elif number == len(spans) - 1 and b - a <= 5:
            purposes.append("coda")
        elif number * 2 >= len(spans) and peaks[number] == max(peaks) and peaks[number] > peaks[0]:
            purposes.append("climax")
        else:
            denser = number > 1 and density[number] > density[number - 1]
            purposes.append("drive" if denser else "contrast")
    return [number for number, (a, b) in enumerate(spans) for _ in range(a, b)], purposes


def _closes(bar: Sequence[Note], length: int, beat: int) -> float:
    if not bar:
        return 0.8
    onset, duration, _ = bar[-1]
    return (
        min(1.0, max(duration, length - onset) / (2 * beat)) if onset + 2 * beat <= length or duration > beat else 0.0
    )


def _alike(first: Sequence[Sequence[Note]], other: Sequence[Sequence[Note]]) -> float:
    mine = {(i, onset, pitch % 12) for i, bar in enumerate(first) for onset, _, pitch in bar}
    theirs = {(i, onset, pitch % 12) for i, bar in enumerate(other) for onset, _, pitch in bar}
    return len(mine & theirs) / max(1, min(len(mine), len(theirs)))


def character_of(qpm: float, key: str, meter: str, loudness: float) -> Character:
    """Return the character that tempo, mode, meter and loudness (0 pp to 5 ff) suggest; a rough rule."""
    minor = "m" in key[1:] and not key.endswith("mix")
    if qpm >= 126:
        return "driving" if minor or loudness >= 3.5 else "playful"
    if minor and qpm < 100:
        return "dark"
    if loudness >= 3.5:
        return "grand"
    if qpm < 80:
        return "calm"
    return "flowing" if meter in ("6/8", "9/8", "12/8", "3/4", "6/4") or qpm < 104 else "playful"


def hold_out_lines(lines: Sequence[TrainingLine]) -> tuple[list[TrainingLine], list[TrainingLine]]:
    """Split by composer (songs, quartets) or piece; held-out lines that share a long run with a kept one fall out."""
    held = [share_of(f"network {line.group}") < HELD_OUT_SHARE for line in lines]
    training = [line for line, out in zip(lines, held, strict=True) if not out]
    known = {run for line in training for run in _runs(line.sketch)}
    apart = [
        line for line, out in zip(lines, held, strict=True) if out and not any(r in known for r in _runs(line.sketch))
    ]
    return training, apart


def _runs(sketch: Sketch) -> list[tuple[int, ...]]:
    pitches = [pitch for _, _, pitch in sketch.notes()]
    steps = [b - a for a, b in pairwise(pitches)]
    return [tuple(steps[i : i + RUN]) for i in range(len(steps) - RUN + 1)]


def sketch_to_json(sketch: Sketch) -> dict[str, Any]:
    """Return a sketch as JSON: key, meter, qpm, character and bars with the names of `SketchBar`."""
    bars = [
        {
            "chords": bar.chords, "notes": bar.notes, "section": bar.section, "purpose": bar.purpose,
            "dynamic": bar.dynamic, "singer": bar.singer, "program": bar.program,
        }
        for bar in sketch.bars
    ]  # fmt: skip
    return {"key": sketch.key, "meter": sketch.meter, "qpm": sketch.qpm, "character": sketch.character, "bars": bars}


def sketch_of_json(found: dict[str, Any]) -> Sketch:
    """Read what `sketch_to_json` wrote."""
    bars = tuple(
        SketchBar(
            tuple(bar["chords"]), tuple((o, d, p) for o, d, p in bar["notes"]), bar["section"], bar["purpose"],
            bar["dynamic"], bar["singer"], bar["program"],
        )
        for bar in found["bars"]
    )  # fmt: skip
    return Sketch(found["key"], found["meter"], found["qpm"], found["character"], bars)


def spoiled(sketch: Sketch, dice: np.random.Generator) -> Sketch:
    """Return a line as a weak machine might write it: one of several ways to spoil one, drawn by dice."""
    way = int(dice.integers(8))
    scale = sorted(step + 0 for step in SCALES["minor" if "m" in sketch.key[1:] else "major"])
    length, beat = bar_ticks(sketch.meter), beat_ticks(sketch.meter)
    pitches = [pitch for bar in sketch.bars for _, _, pitch in bar.notes]
    if not pitches:
        return sketch
    middle = int(np.median(pitches))
    rhythm = sketch.bars[int(dice.integers(len(sketch.bars)))].notes
    held = middle
    bars: list[SketchBar] = []
    for bar in sketch.bars:
        notes = bar.notes
        if way == 0:
            order = dice.permutation(len(notes))
            notes = tuple((o, d, notes[int(k)][2]) for (o, d, _), k in zip(notes, order, strict=True))
        elif way == 1:
            notes = tuple((o, d, p + int(dice.integers(-4, 5)) * int(dice.random() < 0.35)) for o, d, p in notes)
        elif way == 2:
            tunes = [p for _, _, p in notes] or [middle]
            notes = tuple((o, d, tunes[i % len(tunes)]) for i, (o, d, _) in enumerate(rhythm))
        elif way == 3:
            walk = []
            for at in range(0, length - beat + 1, beat):
                held += int(dice.choice([-2, -1, 1, 2]))
                held = middle + (held - middle) % 13 if abs(held - middle) > 12 else held
                walk.append((at, beat, held))
            notes = tuple(walk)
        elif way == 4:
            few = sorted({middle, middle + scale[1], middle - 2})
            notes = tuple((o, d, few[int(np.abs(np.array(few) - p).argmin())]) for o, d, p in notes)
        elif way == 5:
            shift = int(dice.integers(-3, 4))
            notes = tuple((o, d, p + shift) for o, d, p in notes)
        elif way == 6 and bars:
            notes = bars[-1].notes if dice.random() < 0.6 else notes
        elif way == 7:
            notes = tuple((o, max(d, beat), p) for o, d, p in notes if o % beat == 0) or ((0, length, middle),)
        bars.append(replace(bar, notes=notes))
    if way == 6 and len(bars) > 4:
        bars = [replace(bar, notes=bars[i % 2].notes) for i, bar in enumerate(bars)]
    return replace(sketch, bars=tuple(bars))


def cut(sketch: Sketch, first: int, n_bars: int) -> Sketch:
    """Return some bars of a sketch."""
    return replace(sketch, bars=sketch.bars[first : first + n_bars])


def read_rank_file(path: Path) -> list[tuple[Sketch, float, str]]:
    """Read lines to rank: one JSON object a line with `sketch`, `rank` (higher is better) and `group`."""
    found = []
    with path.open(encoding="utf-8") as file:
        for text in file:
            entry = json.loads(text)
            found.append((sketch_of_json(entry["sketch"]), float(entry["rank"]), str(entry.get("group", ""))))
    return found


def read_repertoire(data: Path) -> list[TrainingLine]:
    """Read the melodies of the whole repertoire. Needs music21 for its corpus."""
    from music21 import corpus

    from image2music.music.critic.training import read_pieces

    with open(data / "INDEX.csv", encoding="utf-8") as file:
        titles = {Path(row["path"]).stem: row["title"] for row in csv.DictReader(file)}
    shelf = Path(next(iter(corpus.getComposer("ryansMammoth")))).parents[1]
    for folder in ("oneills1850", "airdsAirs", "ryansMammoth"):
        for path in sorted((shelf / folder).glob("*.abc")):
            for text in re.split(r"(?m)^(?=X:)", path.read_text(encoding="utf-8", errors="replace"))[1:]:
                title = re.search(r"(?m)^T:\s*(.*)$", text)
                titles[f"{path.stem} {text.partition(chr(10))[0]}"] = title.group(1).strip() if title else ""
    pieces = read_pieces(data)
    return [line for piece in pieces for line in lines_of(piece, titles.get(piece.name, ""))]
