"""Derived accompaniments against the composers' own: `python -m benchmarks.arranger --data DIR [--pairs OUT]`.

DIR has `scores/lieder/*.mxl`, songs for voice and piano. Of each, 16 to 24 bars from where the voice enters: the
voice is the melody, chords are estimated from all notes, a plan is made, and the arranger writes a piano part (and,
for the clock, a fourth voice). Counted on both accompaniments: rubs against the tune (a semitone, major seventh or
minor ninth that begins on a beat and lasts an eighth), parallel octaves and fifths from beat to beat (tune and bass,
tune and top of the accompaniment; a doubled tune is none), and chords whose third nobody has. `--pairs` writes
both as ABC, in random order, for a blind comparison, with the key in `key.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from image2music.abc.checker import check
from image2music.abc.playback import abc_to_score
from image2music.abc.writer.parts import lines_to_abc
from image2music.errors import NotationError
from image2music.music.arrange.arranger import arrange_plan
from image2music.music.arrange.stage import bar_shape, scale_of_key
from image2music.music.lines import Bar, Line, bars_of_score
from image2music.music.musicxml import read_musicxml
from image2music.music.planning.plan import (
    Climax,
    Dynamic,
    Family,
    Plan,
    PlannedVoice,
    Section,
    VoicePart,
    with_main_roles,
)
from image2music.music.score import Score, TempoChange, Track
from image2music.music.theory import TICKS_PER_QUARTER, key_name, read_chord

SONGS = 20
METERS = ("2/4", "3/4", "4/4", "6/8", "9/8", "12/8", "3/8")
_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_QUALITIES = ("", "m", "7", "m7", "maj7", "dim", "m7b5", "dim7", "sus4", "aug")
_RUBS = (1, 11, 13)


@dataclass(frozen=True)
class Song:
    """An excerpt: track 0 of `score` is the voice, the others the piano's voices; it begins with a full bar."""

    name: str
    score: Score
    meter: str
    key: str
    qpm: float
    bars: int


def songs(folder: Path, most: int) -> Iterator[Song]:
    """Yield excerpts in an order that says nothing about the music: by a hash of the file's name."""
    found = 0
    for path in sorted(folder.glob("*.mxl"), key=lambda p: hashlib.sha256(p.name.encode()).hexdigest()):
        try:
            song = excerpt(path.stem, read_musicxml(path.read_bytes()))
        except NotationError:
            continue
        if song is not None:
            yield song
            found += 1
            if found == most:
                return


def excerpt(name: str, score: Score) -> Song | None:
    """Return 16 to 24 bars from the voice's entry on; None where meter or key change, or voice or piano are missing."""
    voice, *piano = score.tracks
    if not piano or any(track.program not in (0, 52, 68) for track in score.tracks) or len(voice) < 40:
        return None
    if (
        voice.program == 0
        or any(track.program for track in piano)
        or len(set(zip(*_starts(voice), strict=True))) < len(voice)
    ):
        return None
    meters = {(m.numerator, m.denominator) for m in score.meters}
    if len(meters) != 1 or not score.meters:
        return None
    meter = f"{score.meters[0].numerator}/{score.meters[0].denominator}"
    if meter not in METERS:
        return None
    length = bar_shape(meter).ticks * score.ticks_per_quarter // TICKS_PER_QUARTER
    zero = score.meters[-1].tick % length
    first = (int(voice.onsets[0]) - zero) // length
    start = zero + first * length
    bars = _phrase_end(voice, start, length)
    end = start + bars * length
    if not bars or any(start < change.tick < end for change in score.keys):
        return None
    tracks = [cut for track in score.tracks if len(cut := _cut(track, start, end))]
    if len(tracks) < 2 or sum(map(len, tracks[1:])) < 3 * bars:
        return None
    keys = [change for change in score.keys if change.tick <= start] or list(score.keys[:1])
    tempos = [change.qpm for change in score.tempos if change.tick <= start] or [80.0]
    cut_score = Score(score.ticks_per_quarter, tuple(tracks), (TempoChange(0, tempos[-1]),))
    sharps = keys[-1].sharps if keys else 0
    return Song(name, cut_score, meter, _key(cut_score, sharps), tempos[-1], bars)


def _starts(track: Track) -> tuple[list[int]]:
    return (track.onsets.tolist(),)


def _phrase_end(voice: Track, start: int, length: int) -> int:
    """Return the number of bars, 16 to 24, after which the voice rests longest; 0 where it is silent too often."""
    best, pick = -1, 0
    for bars in range(16, 25):
        end = start + bars * length
        if end > int((voice.onsets + voice.durations).max()) + length:
            break
        inside = voice.onsets[(voice.onsets >= start) & (voice.onsets < end)]
        after = voice.onsets[voice.onsets >= end]
        gap = (int(after[0]) if len(after) else end + length) - int(inside[-1]) if len(inside) else 0
        sung = len(set(((inside - start) // length).tolist()))
        if sung >= 0.75 * bars and gap > best:
            best, pick = gap, bars
    return pick


def _cut(track: Track, start: int, end: int) -> Track:
    kept = (track.onsets >= start) & (track.onsets < end)
    onsets = track.onsets[kept] - start
    durations = np.minimum(track.durations[kept], end - start - onsets)
    return replace(
        track, onsets=onsets, durations=durations, pitches=track.pitches[kept], velocities=track.velocities[kept]
    )


def _key(score: Score, sharps: int) -> str:
    """Return the major or minor key of a signature whose tonic triad ends and fills the excerpt more."""
    weights = np.zeros(12)
    for track in score.tracks:
        np.add.at(weights, track.pitches % 12, track.durations)
    major, minor = sharps * 7 % 12, (sharps * 7 + 9) % 12
    starts, ends = [], []
    for track in score.tracks[1:]:
        starts.append((int(track.onsets[0]), int(track.pitches[0])))
        ends.append((-int(track.onsets[-1]), int(track.pitches[-1])))
    votes = [min(starts)[1] % 12, min(ends)[1] % 12]
    lean = weights[(minor + 8) % 12] + weights[minor] - weights[major] - 0.5 * weights[(major + 7) % 12]
    lean += (votes.count(minor) - votes.count(major)) * 0.1 * weights.sum()
    is_minor = lean > 0
    return key_name(sharps, bool(is_minor))


def estimated_harmony(song: Song) -> tuple[str, ...]:
    """Return a text of one or two chord symbols for every bar, by templates over weighted pitch classes."""
    length = bar_shape(song.meter).ticks
    half = bar_shape(song.meter).half
    texts = []
    for bar in range(song.bars):
        start = bar * length
        whole, score = _best_chord(song, start, start + length)
        if half < length and length >= 3 * TICKS_PER_QUARTER and length - half == half:
            one, first = _best_chord(song, start, start + half)
            two, second = _best_chord(song, start + half, start + length)
            if one != two and (first + second) / 2 > score + 0.12:
                whole = f"{one} {two}"
        texts.append(whole)
    return tuple(texts)


def _best_chord(song: Song, start: int, end: int) -> tuple[str, float]:
    weights, lows = np.zeros(12), []
    for number, track in enumerate(song.score.tracks):
        overlap = np.minimum(track.onsets + track.durations, end) - np.maximum(track.onsets, start)
        inside = overlap > 0
        np.add.at(weights, track.pitches[inside] % 12, overlap[inside] * (0.5 if number == 0 else 1.0))
        if number:
            early = inside & (track.onsets < start + (end - start) // 4)
            lows += track.pitches[early].tolist()
    if not weights.sum():
        return song.key.removesuffix("m") + ("m" if song.key.endswith("m") else ""), 0.0
    weights /= weights.sum()
    bass = min(lows) % 12 if lows else None
    best = ("C", -9.0)
    _, diatonic = scale_of_key(song.key)
    scale = diatonic | {(scale_of_key(song.key)[0] + 11) % 12}
    for root in range(12):
        for rank, quality in enumerate(_QUALITIES):
            chord = read_chord(_NAMES[root] + quality)
            tones = list(chord.classes)
            score = float(weights[tones].sum()) - 0.12 * sum(weights[tone] < 0.02 for tone in tones)
            score -= 0.06 * sum(tone not in scale and weights[tone] < 0.08 for tone in tones)
            score += 0.12 * (bass == root) - 0.04 * (len(tones) > 3) - 0.005 * rank - 0.1 * (bass not in tones)
            if score > best[1] + 1e-9:
                slash = f"/{_NAMES[bass]}" if bass is not None and bass != root and bass in tones else ""
                best = (_NAMES[root] + quality + slash, score)
    return best


def planned(song: Song, seed: int, *, fourth: bool = False) -> Plan:
    """Make a plan for a song: voice, right and left hand (and a viola), three sections, one figure as in songs."""
    rng = np.random.Generator(np.random.Philox(seed))
    voice = song.score.tracks[0]
    high = int(voice.pitches.max())
    peaks = voice.onsets[voice.pitches == high]
    climax = int(peaks[-1]) // (bar_shape(song.meter).ticks * song.score.ticks_per_quarter // TICKS_PER_QUARTER) + 1
    voices = [PlannedVoice(1, "Voice", voice.program, int(voice.pitches.min()), high)]
    if fourth:
        voices.append(PlannedVoice(4, "Viola", 41, 48, 79))
    voices += [
        PlannedVoice(2, "Right hand", 0, 48, 84),
        PlannedVoice(3, "Left hand", 0, 31, 62),
    ]
    calm: list[Family] = ["wave", "broken", "arpeggio", "chorale"]
    lively: list[Family] = ["broken", "offbeat", "pulse", "alberti", "ostinato"]
    if song.meter in ("3/4", "3/8"):
        calm, lively = ["broken", "arpeggio", "chorale"], ["waltz", "broken", "pulse"]
    families = calm if song.qpm < 84 else lively
    order = [families[at] for at in rng.permutation(len(families))]
    edges = [1, song.bars * 2 // 5 // 2 * 2 + 1, song.bars * 4 // 5 // 2 * 2 + 1, song.bars + 1]
    loud: list[Dynamic] = ["p", "mf", "p"]
    sections = []
    for number in range(3):
        second = number == 1
        parts = [
            VoicePart(1, "melody"),
            VoicePart(4, ("hold", "answer", "counter")[number]),
            VoicePart(2, "figure", order[0]),
            VoicePart(3, "bass"),
        ]
        sections.append(
            Section(
                ("A", "B", "A'")[number],
                edges[number],
                edges[number + 1] - 1,
                "",
                song.qpm,
                loud[number],
                "grow" if second else "none",
                "open",
                tuple(parts),
            )
        )
    harmony = estimated_harmony(song)
    plan = Plan(
        "", "", song.key, song.meter, song.bars, tuple(voices), tuple(sections), harmony, climax=Climax(climax, 1, high)
    )
    return with_main_roles(plan)


@dataclass(frozen=True)
class Counts:
    """What is counted on an accompaniment."""

    rubs: int
    parallels: int
    no_third: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.rubs + other.rubs, self.parallels + other.parallels, self.no_third + other.no_third)


def counted(tune: Sequence[Bar], others: Sequence[Sequence[Bar]], plan: Plan) -> Counts:
    """Count rubs, parallels and missing thirds of written voices against a tune."""
    shape = bar_shape(plan.meter)
    sung, played = _notes(tune), [note for line in others for note in _notes(line)]
    rubs = 0
    for on, end, pitch in sung:
        for start, stop, other in played:
            both = max(on, start)
            if min(end, stop) - both >= TICKS_PER_QUARTER // 2 and both % shape.ticks in shape.beats:
                rubs += abs(pitch - other) in _RUBS
    beats = [bar * shape.ticks + beat for bar in range(plan.bars) for beat in shape.beats]
    parallels = 0
    for pick in (min, max):
        before: tuple[int, int] | None = None
        for beat in beats:
            tops = [pitch for on, end, pitch in sung if on <= beat < end]
            lows = [pitch for on, end, pitch in played if on <= beat < end]
            now = (max(tops), pick(lows)) if tops and lows else None
            if before and now and before[0] != now[0] and (now[0] - before[0]) * (now[1] - before[1]) > 0:
                was, here = before[0] - before[1], now[0] - now[1]
                doubled = was == here and was in (0, 12, -12) and pick is max
                perfect = was % 12 == here % 12 and (here % 12 == 0 or abs(here) % 12 == 7)
                parallels += perfect and not doubled
            before = now
    missing = 0
    for bar, text in enumerate(plan.harmony):
        symbols = text.split()
        for number, symbol in enumerate(symbols):
            start = bar * shape.ticks + number * shape.ticks // len(symbols)
            end = start + shape.ticks // len(symbols)
            third = read_chord(symbol).third
            heard = {pitch % 12 for on, stop, pitch in (*sung, *played) if on < end and stop > start}
            missing += third is not None and bool(heard) and third not in heard
    return Counts(rubs, parallels, missing)


def _notes(bars: Sequence[Bar]) -> list[tuple[int, int, int]]:
    """Return (start, end, pitch) in ticks, ties joined."""
    notes: list[tuple[int, int, int]] = []
    at, tied = 0, False
    exact = 0 * bars[0][0].length
    for bar in bars:
        for event in bar:
            start = round(exact * TICKS_PER_QUARTER)
            exact += event.length
            at = round(exact * TICKS_PER_QUARTER)
            if tied and event.pitches:
                count = len(event.pitches)
                notes[-count:] = [(on, at, pitch) for on, _, pitch in notes[-count:]]
            else:
                notes += [(start, at, pitch) for pitch in event.pitches]
            tied = event.tied
    return notes


def plain(line: Line) -> Line:
    """Return a line without dynamics, slurs and tempos, so that notes alone are compared."""
    bars = tuple(tuple(replace(e, marks=(), slur_starts=0, slur_ends=0) for e in bar) for bar in line.bars)
    return replace(line, bars=bars, derived=False, name="", qpm_at=line.qpm_at[:1])


def own_lines(song: Song) -> list[Line]:
    """Return the song as it stands: the voice and the piano's voices."""
    voices = [bars_of_score(song.score, number, song.meter, song.bars) for number in range(len(song.score.tracks))]
    piano: list[tuple[str, tuple[Bar, ...]]] = []
    for track, bars in zip(song.score.tracks[1:], voices[1:], strict=True):
        staff = track.name.partition(", voice")[0]
        for place, (name, other) in enumerate(piano):
            if name == staff and not any(_sounds(a) and _sounds(b) for a, b in zip(bars, other, strict=True)):
                piano[place] = name, tuple(a if _sounds(a) else b for a, b in zip(bars, other, strict=True))
                break
        else:
            piano.append((staff, bars))
    lines = [Line(1, "Voice", song.score.tracks[0].program, voices[0], qpm_at=((1, song.qpm),))]
    return [*lines, *(Line(n, f"Piano {n}", 0, bars) for n, (_, bars) in enumerate(piano, 2))]


def _sounds(bar: Bar) -> bool:
    return any(event.pitches for event in bar)


def out_of_range(lines: Sequence[Line], plan: Plan) -> int:
    """Count pitches outside of their voice's range."""
    ranges = {voice.id: (voice.low, voice.high) for voice in plan.voices}
    return sum(
        not ranges[line.voice][0] <= pitch <= ranges[line.voice][1]
        for line in lines
        for bar in line.bars
        for event in bar
        for pitch in event.pitches
    )


def main() -> None:
    """Print the comparison and, where asked, write the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with scores/lieder")
    parser.add_argument("--pairs", type=Path, help="folder to write pairs for a blind comparison to")
    parser.add_argument("--songs", type=int, default=SONGS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    total_own, total_made, bars = Counts(0, 0, 0), Counts(0, 0, 0), 0
    dirty, outside, seconds = 0, 0, []
    print("| song | meter | bars | rubs own | derived | parallels own | derived | no third own | derived |")
    print("|---|---|---|---|---|---|---|---|---|")
    rng = np.random.Generator(np.random.Philox(args.seed))
    key: dict[str, dict[str, str]] = {}
    for number, song in enumerate(songs(args.data / "scores" / "lieder", args.songs)):
        own = own_lines(song)
        plan = planned(song, args.seed + number)
        made = arrange_plan(plan, {1: own[0].bars}, args.seed + number)
        counts = [counted(own[0].bars, [line.bars for line in lines[1:]], plan) for lines in (own, made)]
        total_own, total_made, bars = total_own + counts[0], total_made + counts[1], bars + song.bars
        for four in range(3):
            quartet = planned(song, args.seed + number, fourth=True)
            start = time.process_time()
            lines = arrange_plan(quartet, {1: own[0].bars}, args.seed + number + four)
            seconds.append((time.process_time() - start) / song.bars * 20)
            abc = lines_to_abc("", song.key, song.meter, lines)
            dirty += bool(check(abc))
            outside += out_of_range(lines, quartet)
            dirty += abc_to_score(abc).n_notes < 1
        cells = [song.name, song.meter, song.bars, *_in_pairs(*counts)]
        print("| " + " | ".join(map(str, cells)) + " |")
        if args.pairs is not None:
            key[f"{number:02}"] = _write_pair(args.pairs, number, song, own, made, bool(rng.integers(2)))
    print("| " + " | ".join(map(str, ["all", "", bars, *_in_pairs(total_own, total_made)])) + " |")
    print(
        f"\nfiles with complaints: {dirty}; notes out of range: {outside}; "
        f"milliseconds for 20 bars in 4 voices: median {1000 * statistics.median(seconds):.1f}"
    )
    if args.pairs is not None:
        (args.pairs / "key.json").write_text(json.dumps(key, indent=1))


def _in_pairs(own: Counts, made: Counts) -> list[int]:
    return [own.rubs, made.rubs, own.parallels, made.parallels, own.no_third, made.no_third]


def _write_pair(
    folder: Path, number: int, song: Song, own: Sequence[Line], made: Sequence[Line], own_first: bool
) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    texts = [lines_to_abc("", song.key, song.meter, [plain(line) for line in lines]) for lines in (own, made)]
    names = ("A", "B") if own_first else ("B", "A")
    for name, text in zip(names, texts, strict=True):
        (folder / f"{number:02}_{name}.abc").write_text(text)
    return {"song": song.name, "own": names[0], "derived": names[1]}


if __name__ == "__main__":
    main()
