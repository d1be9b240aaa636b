"""Excerpts of human music that may stand beside composed tunes: whole phrases, a voice a staff, nothing hanging.

`python -m benchmarks.human_excerpts --data DIR --count 12 [--seed 0]` prints what it would choose. DIR holds INDEX.csv,
lieder and quartets. A piece is cut as a `Score`: 16 to 28 bars in one key and meter, from its beginning or from a bar
line where key or meter change, to a bar line that no note crosses and that sounds like an end. Pieces whose staves hold
more than one chord at a time, or with an empty bar inside, are passed over. Every bar is spelled by what sounds in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from image2music.abc.checker import check
from image2music.abc.writer.excerpt import with_mark
from image2music.abc.writer.layout import FAITHFUL, LaidOutVoice, Layout, layers_of, unit_of, written
from image2music.abc.writer.text import header_lines, write_layer
from image2music.errors import Image2MusicError
from image2music.music.critic.training import cached_pieces
from image2music.music.grid import (
    Bars,
    Part,
    bar_length,
    bars_of,
    beats_of,
    detect_key,
    keys_of,
    parts_of,
    pitch_class_weights,
    tempo_text,
    tempos_of,
    windows_of,
)
from image2music.music.musicxml import read_musicxml
from image2music.music.score import Score, TempoChange
from image2music.music.theory import (
    ACCIDENTALS,
    GRID_QUARTER,
    LETTERS,
    Key,
    Spelling,
    signature_alterations,
    spelling,
    tonic_pitch_class,
)

FEWEST_BARS, MOST_BARS = 16, 28
_BARS_A_LINE = 4
_BASS_BELOW = 57
_MOST_VOICES = 5
_SOUNDING = 0.6
"""The least share of bars in which every voice has a note."""
_FIRST_TUNE = 4
"""How many bars the top voice may be silent at first."""
_GOOD_END = 5.0
"""What a bar must reach in `_ending`, of 5.5, to be the last one."""
_MOST_LOOKED_AT = 100
_MOST_CUT = 0.03
"""The largest share of sounding time that may be lost where a staff's second voice is written into its first."""
_QUARTETS = 4
"""Every fourth excerpt is from a quartet."""
_LOUDNESS = (("pp", 52), ("p", 67), ("mp", 82), ("mf", 97), ("f", 110), ("ff", 128))


@dataclass(frozen=True)
class HumanExcerpt:
    """An excerpt as ABC without title and names; `source` is the file's place under the data folder."""

    source: str
    first_bar: int
    bars: int
    abc: str


def human_excerpts(data: Path, names: Sequence[str], seed: int = 0, cache: Path | None = None) -> list[HumanExcerpt]:
    """One excerpt for each name, of different pieces; which, the seed and the name decide.

    Hundreds of pieces may have to be read; `cache` holds what `cached_pieces` of the critic's training keeps.
    """
    kept: dict[str, Score] = {}
    if cache is not None:
        kept = {piece.name: piece.score for piece in cached_pieces(data, cache) if piece.kind in ("song", "quartet")}
    songs = sorted((data / "lieder").glob("*.mxl"))
    quartets = sorted((data / "quartets").glob("*.mxl"))
    tried: dict[Path, HumanExcerpt | None] = {}
    taken: set[Path] = set()
    found = []
    for number, name in enumerate(names):
        shelf = quartets if number % _QUARTETS == _QUARTETS - 1 else songs
        for path in sorted(shelf, key=lambda path: sha256(f"{seed} {name} {path.name}".encode()).digest()):
            if path not in tried:
                tried[path] = excerpt_of_file(path, kept.get(path.stem))
            excerpt = None if path in taken else tried[path]
            if excerpt is not None:
                taken.add(path)
                found.append(replace(excerpt, source=f"{path.parent.name}/{path.name}"))
                break
        else:
            raise SystemExit(f"no piece under {data} has an excerpt to show")
    return found


def excerpt_of_file(path: Path, score: Score | None = None) -> HumanExcerpt | None:
    """The best excerpt of a MusicXML file, or of what was read of it; None where none can stand alone."""
    try:
        return excerpt_of_score(score or read_musicxml(path.read_bytes(), by="staff"))
    except Image2MusicError as error:
        print(f"passed over {path.name}: {error}")
        return None


def excerpt_of_score(score: Score) -> HumanExcerpt | None:
    """The best excerpt of a piece; None where none can stand alone."""
    parts = [part for part in parts_of(score) if not part.is_drum]
    if not 2 <= len(parts) <= _MOST_VOICES:
        return None
    bars = bars_of(score, int(max(float((part.onsets + part.durations).max()) for part in parts)))
    if len(bars) > _MOST_LOOKED_AT:
        end = int(bars.lines[_MOST_LOOKED_AT])
        score = _until(score, end * score.ticks_per_quarter // GRID_QUARTER)
        parts, bars = [part for part in parts_of(score) if not part.is_drum], bars_of(score, end)
    keys = _with_modes(keys_of(score, parts, bars), parts, bars)
    places = sorted(_stretches(score, parts, bars, keys), key=lambda place: (-place[0], place[1], place[2]))
    for _, first, last in places[:8]:
        abc = _written(score, parts, bars, keys, first, last)
        if abc is not None and not [found for found in check(abc) if found.severity == "error"]:
            return HumanExcerpt("", first + 1, last - first, abc)
    return None


def _until(score: Score, end: int) -> Score:
    """The score up to a tick; notes that sound across it are kept whole."""
    tracks = []
    for track in score.tracks:
        n = int(np.searchsorted(track.onsets, end))
        names = ("onsets", "durations", "pitches", "velocities")
        tracks.append(replace(track, **{name: getattr(track, name)[:n] for name in names}))
    return replace(score, tracks=tuple(tracks))


def _with_modes(keys: Sequence[Key], parts: Sequence[Part], bars: Bars) -> tuple[Key, ...]:
    """The keys, minor where the notes under a signature say so: many files name no mode."""
    weights = {key: np.zeros(12) for key in keys}
    for part in parts:
        places = np.clip(np.searchsorted(bars.lines, part.onsets, side="right") - 1, 0, len(keys) - 1)
        for key, row in weights.items():
            own = np.array([keys[place] == key for place in places.tolist()], dtype=bool)
            row += pitch_class_weights(part.pitches[own], part.durations[own] / GRID_QUARTER)
    heard = {key: detect_key(row) for key, row in weights.items()}
    return tuple(heard[key] if heard[key].sharps == key.sharps else key for key in keys)


def _home(key: Key) -> int:
    return tonic_pitch_class(key.sharps, key.minor)


def _stretches(
    score: Score, parts: Sequence[Part], bars: Bars, keys: Sequence[Key]
) -> Iterator[tuple[float, int, int]]:
    """How good each stretch is, its first bar, and the bar after its last."""
    crossed, sounding = _crossed(parts, bars), _sounding(parts, bars)
    scale = GRID_QUARTER / score.ticks_per_quarter
    changes = [*score.keys, *score.meters]
    ticks = {round(change.tick * scale) for change in changes}
    starts = [0, *(bar for bar in range(1, len(bars)) if int(bars.lines[bar]) in ticks)]
    for first in starts:
        short = bool(bars.lines[first + 1] - bars.lines[first] < bar_length(bars.meters[first]))
        if first and (crossed[first] or short or _ending(parts, bars, keys, first) < _GOOD_END):
            continue
        if first == 0 and not sounding[:, 0].any():
            first = int(np.argmax(sounding.any(axis=0)))
        for last in range(first + FEWEST_BARS, min(first + MOST_BARS, len(bars)) + 1):
            inside = sounding[:, first:last]
            if crossed[last] or not inside.any(axis=0).all() or inside.mean(axis=1).min() < _SOUNDING:
                continue
            if len(set(bars.meters[first:last])) > 1 or len(set(keys[first:last])) > 1:
                continue
            if not sounding[_top(parts), first : first + _FIRST_TUNE + 1].any():
                continue
            end = _ending(parts, bars, keys, last) + 3 * (last == len(bars))
            if end >= _GOOD_END:
                yield end + 2 * (first == 0) + (last - first) / 100, first, last


def _crossed(parts: Sequence[Part], bars: Bars) -> np.ndarray:
    """Whether a note sounds across each bar line, bool[n + 1]; the last line is never crossed."""
    counts = np.zeros(len(bars.lines) + 1, dtype=np.int64)
    for part in parts:
        counts += _spans(
            np.searchsorted(bars.lines, part.onsets + 1, side="right"),
            np.searchsorted(bars.lines, part.onsets + part.durations - 1, side="left"),
            len(counts),
        )
    counts[len(bars.lines) - 1] = 0
    return counts[:-1] > 0


def _sounding(parts: Sequence[Part], bars: Bars) -> np.ndarray:
    """Whether each part sounds in each bar, bool[parts, n]."""
    rows = [
        _spans(
            np.searchsorted(bars.lines, part.onsets + 1, side="right") - 1,
            np.searchsorted(bars.lines, part.onsets + part.durations - 1, side="left"),
            len(bars.lines),
        )
        for part in parts
    ]
    return np.array(rows)[:, :-1] > 0


def _spans(first: np.ndarray, end: np.ndarray, size: int) -> np.ndarray:
    """How many spans from `first` to before `end` cover each place, int64[size]."""
    steps = np.zeros(size + 1, dtype=np.int64)
    inside = end > first
    np.add.at(steps, np.clip(first[inside], 0, size), 1)
    np.add.at(steps, np.clip(end[inside], 0, size), -1)
    return np.cumsum(steps)[:-1]


def _top(parts: Sequence[Part]) -> int:
    return max(range(len(parts)), key=lambda n: float(parts[n].pitches.mean()) if len(parts[n]) else 0.0)


def _ending(parts: Sequence[Part], bars: Bars, keys: Sequence[Key], last: int) -> float:
    """How much the bar before line `last` sounds like an end: the chord of the tonic, its bass, a rest behind."""
    low, high, tonic = float(bars.lines[last - 1]), float(bars.lines[last]), _home(keys[last - 1])
    final, n_notes = [], 0
    for part in parts:
        inside = np.flatnonzero((part.onsets >= low - 1) & (part.onsets < high - 1))
        n_notes = max(n_notes, len(inside))
        if len(inside):
            final += part.pitches[part.onsets >= part.onsets[inside[-1]] - 1][: len(inside)].tolist()[:1]
    ends = [
        part.pitches[(part.onsets < high - 1) & (part.onsets + part.durations > high - GRID_QUARTER)] for part in parts
    ]
    final += [pitch for sounding in ends for pitch in sounding.tolist()]
    if not final:
        return 0.0
    third = 3 if keys[last - 1].minor else 4
    at_home = min(final) % 12 == tonic
    is_chord = all((pitch - tonic) % 12 in (0, 3, 4, 7) for pitch in final)
    top = parts[_top(parts)]
    here = top.pitches[(top.onsets < high - 1) & (top.onsets + top.durations > low + 1)]
    closes = len(here) > 0 and (int(here[-1]) - tonic) % 12 in (0, third)
    after = top.onsets[top.onsets >= high - 1]
    rests = not len(after) or after[0] > high + GRID_QUARTER / 4
    return 1.5 * at_home + 1.5 * is_chord + 1.0 * closes + 1.0 * rests + 0.5 * (n_notes <= 3)


def _written(score: Score, parts: Sequence[Part], bars: Bars, keys: Sequence[Key], first: int, last: int) -> str | None:
    """Bars `first` to before `last` as ABC; None where a staff holds more than one line of chords."""
    begin, end = int(bars.lines[first]), int(bars.lines[last])
    passage = Bars(bars.lines[first : last + 1] - begin, bars.meters[first:last])
    windows = windows_of(passage)
    voices = []
    for part in parts:
        inside = (part.onsets >= begin - 1) & (part.onsets < end - 1)
        onsets = np.maximum(part.onsets[inside] - begin, 0.0)
        durations = np.minimum(part.durations[inside], end - begin - onsets)
        own = replace(part, onsets=onsets, durations=durations, pitches=part.pitches[inside])
        (layer,) = layers_of(written(own, windows, FAITHFUL), 1)
        held = sum((int(e) - int(s)) * len(c) for s, e, c in zip(layer.starts, layer.ends, layer.chords, strict=True))
        if held < (1 - _MOST_CUT) * float(durations.sum()):
            return None
        voices.append(LaidOutVoice(layer, part.program, part.channel, part.is_drum))
    tempos = tempos_of(score)
    here = [tempo for tempo in tempos if tempo.tick <= begin][-1]
    later = [TempoChange(tempo.tick - begin, tempo.qpm) for tempo in tempos if begin < tempo.tick < end]
    sheet = Layout(tuple(voices), passage, tuple(keys[first:last]), (TempoChange(0, here.qpm), *later), unit_of(voices))
    return _interleaved(sheet, _loudness(score, begin))


def _loudness(score: Score, begin: int) -> list[dict[int, int]]:
    """The velocity of each pitched track's notes by grid tick since `begin`, in the order of `parts_of`."""
    scale = GRID_QUARTER / score.ticks_per_quarter
    tracks = [track for track in score.tracks if len(track) and not track.is_drum]
    return [
        {round(tick * scale) - begin: loud for tick, loud in zip(t.onsets.tolist(), t.velocities.tolist(), strict=True)}
        for t in tracks
    ]


def _interleaved(sheet: Layout, loudness: Sequence[dict[int, int]]) -> str:
    """The tune four bars of all voices at a time, with the dynamics that its velocities tell."""
    lines = header_lines(sheet, None)
    for number, voice in enumerate(sheet.voices, 1):
        middle = float(np.median([pitch for chord in voice.layer.chords for pitch in chord]))
        lines += [f"V:{number} clef={'bass' if middle < _BASS_BELOW else 'treble'}", f"%%MIDI program {voice.program}"]
    windows, beats, names = windows_of(sheet.bars), beats_of(sheet.bars), _spellings(sheet)
    fields = {tempo.tick: f"[Q:{tempo_text(tempo.qpm)}]" for tempo in sheet.tempos[1:]}
    texts = []
    for voice, loud in zip(sheet.voices, loudness, strict=True):
        bars = write_layer(voice.layer, sheet.bars, windows, beats, names, sheet.unit, fields)
        fields = {}
        said = ""
        for number, bar in enumerate(bars):
            low, high = int(sheet.bars.lines[number]), int(sheet.bars.lines[number + 1])
            start = next((int(at) for at in voice.layer.starts if low <= at < high), None)
            level = _level(loud.get(start, 90)) if start is not None else said
            bars[number] = with_mark(bar, f"!{level}!") if level != said else bar
            said = level
        texts.append(bars)
    for at in range(0, len(sheet.bars), _BARS_A_LINE):
        end = " |]" if at + _BARS_A_LINE >= len(sheet.bars) else " |"
        lines += [
            f"[V:{number}] " + " | ".join(bars[at : at + _BARS_A_LINE]) + end for number, bars in enumerate(texts, 1)
        ]
    return "\n".join(lines) + "\n"


def _spellings(sheet: Layout) -> list[Spelling]:
    """Names for each bar: of windows on the line of fifths near the key that in which the bar's pitches lie densest.

    A score has pitches alone, and a bar in G minor of a piece in E flat should say F sharp.
    """
    found = []
    for number, key in enumerate(sheet.keys):
        low, high = int(sheet.bars.lines[number]), int(sheet.bars.lines[number + 1])
        classes = {
            pitch % 12
            for voice in sheet.voices
            for start, end, chord in zip(voice.layer.starts, voice.layer.ends, voice.layer.chords, strict=True)
            if start < high and end > low
            for pitch in chord
        }
        usual = key.sharps - (2 if key.minor else 3)
        lowest = min(range(usual - 3, usual + 4), key=lambda at: (_spread(classes, at), abs(at - usual), at))
        found.append(_spelling_from(key, lowest))
    return found


def _spread(classes: set[int], lowest: int) -> int:
    fifths = [fifth for fifth in range(lowest, lowest + 12) if fifth * 7 % 12 in classes]
    return max(fifths) - min(fifths) if fifths else 0


@cache
def _spelling_from(key: Key, lowest: int) -> Spelling:
    """The names that fifths from `lowest` on have, altered as the key's signature makes them."""
    names = spelling(lowest + 3, minor=False)
    signature = dict(zip(LETTERS, signature_alterations(key.sharps), strict=True))
    altered = tuple(
        ACCIDENTALS[signature[kind[0]]] != accidental
        for kind, accidental in zip(names.classes, names.accidentals, strict=True)
    )
    return replace(names, altered=altered)


def _level(velocity: int) -> str:
    return next(name for name, above in _LOUDNESS if velocity < above)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what would be chosen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with lieder and quartets")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="pieces that were read before (image2music.music.critic.training)")
    options = parser.parse_args(arguments)
    names = [str(number) for number in range(options.count)]
    for excerpt in human_excerpts(options.data, names, options.seed, options.cache):
        print(f"% {excerpt.source}, {excerpt.bars} bars from bar {excerpt.first_bar}\n{excerpt.abc}")


if __name__ == "__main__":
    main()
