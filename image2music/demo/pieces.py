"""Read the demo's pieces from music21's corpus: Bach's chorales, and dance tunes and airs of O'Neill, Aird and Ryan.

Chorales are set for choir, organ, strings, recorders or brass; tunes are played at a usual tempo of their kind.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from string import capwords
from typing import Any

import numpy as np

from image2music.abc.playback import abc_to_score
from image2music.errors import AbcError
from image2music.music.grid import detect_key, pitch_class_weights
from image2music.music.score import KeyChange, MeterChange, Score, TempoChange, Track


@dataclass(frozen=True)
class DemoPiece:
    """A real piece with a setting chosen for the demo.

    name: path of its MIDI file below `midi/`, without ending.
    kind: what it is, in one word or two: "reel", "slow air", "chorale".
    score: its notes, with one tempo, meter and key at the start.
    """

    name: str
    title: str
    kind: str
    score: Score


def draw(text: str, sides: int) -> int:
    """Return a number from 0 to sides - 1 by a hash of the text: the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % sides


def sample(names: Iterable[str], count: int) -> list[str]:
    """Return `count` of the names, evenly spread over their sorted order."""
    ordered = sorted(names)
    if len(ordered) <= count:
        return ordered
    return [ordered[index * len(ordered) // count] for index in range(count)]


_TICKS = 480
_VOICES = 4

# General MIDI programs for soprano, alto, tenor and bass.
_SETTINGS = (
    (52, 52, 52, 52),  # choir
    (19, 19, 19, 19),  # church organ
    (40, 40, 41, 42),  # violins, viola, cello
    (74, 74, 74, 74),  # recorders
    (56, 60, 57, 58),  # trumpet, horn, trombone, tuba
)
_MINOR_QPM = (48, 54, 60, 66)

_MAJOR_QPM = (66, 76, 88, 100)
"""The sources give no tempo; these are usual ones, slower for chorales in minor."""


def chorales(corpus: Path, count: int) -> list[DemoPiece]:
    """Return `count` four-part chorales that have a title, evenly spread over the catalogue of works."""
    from music21.corpus.chorales import ChoraleList

    titles = {f"bwv{number}": entry["title"] for number, entry in ChoraleList().byBWV.items()}
    files = {stem: path for stem in titles if (path := corpus / "bach" / f"{stem}.mxl").is_file()}
    # More candidates than wanted: some of the files hold other than four voices.
    pieces = (_read(files[stem], titles[stem]) for stem in sample(files, 2 * count))
    return [piece for piece in pieces if piece is not None][:count]


def _read(path: Path, title: str) -> DemoPiece | None:
    from music21 import converter

    stem = path.stem
    stream = converter.parse(path, forceSource=True)
    meters = list(stream.parts[0].recurse().getElementsByClass("TimeSignature"))
    if len(stream.parts) != _VOICES or not meters:
        return None
    meter = MeterChange(0, meters[0].numerator, meters[0].denominator)
    lead_in = _lead_in(stream, meter)
    programs = _SETTINGS[draw(stem + "setting", len(_SETTINGS))]
    tracks = tuple(
        _track(part, program, channel, lead_in)
        for channel, (part, program) in enumerate(zip(stream.parts, programs, strict=True))
    )
    key = _key(tracks)
    choices = _MINOR_QPM if key.minor else _MAJOR_QPM
    tempo = TempoChange(0, float(choices[draw(stem + "tempo", len(choices))]))
    return DemoPiece(f"bach/{stem}", title, "chorale", Score(_TICKS, tracks, (tempo,), (meter,), (key,)))


def _lead_in(stream: Any, meter: MeterChange) -> int:
    """Return the ticks of rest before an upbeat, so that bar lines of the MIDI file are those of the chorale."""
    bar = _TICKS * 4 * meter.numerator // meter.denominator
    first = next(iter(stream.parts[0].getElementsByClass("Measure")), None)
    upbeat = round(float(first.duration.quarterLength) * _TICKS) if first is not None else bar
    return bar - upbeat if upbeat < bar else 0


def _track(part: Any, program: int, channel: int, lead_in: int) -> Track:
    notes = sorted(
        (lead_in + round(float(note.offset) * _TICKS), pitch.midi, max(1, round(float(note.quarterLength) * _TICKS)))
        for note in part.flatten().stripTies().notes
        for pitch in note.pitches
        if note.quarterLength > 0
    )
    table = np.array(notes, dtype=np.int64).reshape(-1, 3)
    loudness = np.full(len(table), 80, dtype=np.int64)
    return Track(table[:, 0], table[:, 2], table[:, 1], loudness, program, channel, name=part.partName or "")


def _key(tracks: tuple[Track, ...]) -> KeyChange:
    pitches = np.concatenate([track.pitches for track in tracks])
    quarters = np.concatenate([track.durations for track in tracks]) / _TICKS
    key = detect_key(pitch_class_weights(pitches, quarters))
    return KeyChange(0, key.sharps, key.minor)


_COLLECTIONS = {"oneills1850": "O'Neill", "ryansMammoth": "Ryan", "airdsAirs": "Aird"}


@dataclass(frozen=True)
class Dance:
    """How many tunes of a kind to take, at which quarter notes a minute, on which General MIDI programs."""

    count: int
    tempos_qpm: tuple[int, ...]
    programs: tuple[int, ...]


# Tempos as sessions and dancers take them today. Programs: 40 violin, 73 flute, 21 accordion, 78 whistle, 46 harp,
# 105 banjo, 109 bagpipe, 24 guitar, 72 piccolo, 68 oboe, 42 cello, 0 piano.
KINDS = {
    "reel": Dance(24, (184, 200, 216), (40, 73, 21, 78, 105)),
    "jig": Dance(24, (156, 168, 180), (40, 73, 21, 78)),
    "slip jig": Dance(12, (156, 174), (73, 78, 40)),
    "hornpipe": Dance(18, (132, 144, 156), (21, 40, 72)),
    "strathspey": Dance(12, (112, 124), (40, 109)),
    "clog": Dance(8, (120, 138), (105, 0)),
    "highland fling": Dance(8, (140, 152), (109, 40)),
    "waltz": Dance(4, (126, 138), (21, 24)),
    "march": Dance(14, (96, 104), (72, 109, 56)),
    "minuet": Dance(12, (92, 104), (68, 0, 24)),
    "slow air": Dance(26, (48, 56, 63), (46, 73, 42, 24)),
    "air": Dance(18, (76, 88), (46, 24, 68, 0)),
}

_SAME_KIND = {
    "slipjig": "slip jig",
    "double jig": "jig",
    "single jig": "jig",
    "slide": "jig",
    "fling": "highland fling",
    "walkaround": "clog",
}

# Words in a title that settle the kind where no R: field does, the first that fits.
_TITLE_WORDS = (
    (r"\b(lament|farewell|sorrow|dirge|grave|tears|weep|alas|lonel|banish|slow)", "slow air"),
    (r"\b(march|quick ?step|retreat|troop)\b", "march"),
    (r"\b(minuet|gavotte)\b", "minuet"),
    (r"\breel\b", "reel"),
    (r"\bhornpipe\b", "hornpipe"),
    (r"\bstrathspey\b", "strathspey"),
    (r"\bwaltz\b", "waltz"),
)


@dataclass(frozen=True)
class _Source:
    name: str
    title: str
    kind: str
    abc: str


def dances(corpus: Path) -> list[DemoPiece]:
    """Return tunes of each of `KINDS`, as many as it says or fewer, from the folder of music21's corpus."""
    sources = {source.name: source for source in _sources(corpus)}
    pieces: list[DemoPiece] = []
    for kind, dance in KINDS.items():
        names = [name for name, source in sources.items() if source.kind == kind]
        # More candidates than wanted: a few tunes have no notes that can be played.
        candidates = (_piece(sources[name], dance) for name in sample(names, dance.count + 2))
        pieces += [piece for piece in candidates if piece is not None][: dance.count]
    return pieces


def _sources(corpus: Path) -> Iterator[_Source]:
    for folder in _COLLECTIONS:
        for path in sorted((corpus / folder).glob("*.abc")):
            text = path.read_text(encoding="utf-8", errors="replace")
            for block in re.split(r"(?m)^(?=X:)", text):
                source = _source(folder, path.stem, block)
                if source is not None:
                    yield source


def _source(folder: str, stem: str, abc: str) -> _Source | None:
    number, title, key = (_field(abc, letter) for letter in "XTK")
    if not (number and title and key):
        return None
    # Corpus titles end in their kind ("42d Highland Regiment -- Strathspey") or begin with their article last.
    shown = re.sub(r"\s*--.*$", "", title).rstrip(". ")
    shown = re.sub(r"^(.*), (The|A|An)$", r"\2 \1", shown)
    shown = capwords(shown) if shown.isupper() else shown
    name = f"{folder}/{stem}" if folder == "ryansMammoth" else f"{folder}/{stem}-{number}"
    return _Source(re.sub(r"[^\w/.-]+", "_", name), shown, _kind(abc, title), abc)


def _kind(abc: str, title: str) -> str:
    rhythm = _field(abc, "R").lower()
    rhythm = _SAME_KIND.get(rhythm, rhythm)
    for pattern, kind in _TITLE_WORDS:
        if re.search(pattern, title, re.IGNORECASE) and rhythm in ("", "air"):
            return kind
    if rhythm == "air":
        # O'Neill's airs are songs; half of them are played slowly.
        return "slow air" if draw(title, 2) else "air"
    if rhythm:
        return rhythm
    return "jig" if _field(abc, "M") == "6/8" else "air"


def _field(abc: str, letter: str) -> str:
    match = re.search(rf"(?m)^{letter}:[ \t]*(.*?)[ \t]*$", abc)
    return match.group(1).strip().removesuffix("\r") if match else ""


def _piece(source: _Source, dance: Dance) -> DemoPiece | None:
    try:
        score = abc_to_score(source.abc)
    except AbcError:
        # Among thousands of tunes a few cannot be played; the next candidate takes the place.
        return None
    if not 40 <= score.n_notes <= 1500 or not score.meters:
        return None
    tempo = dance.tempos_qpm[draw(source.name + "tempo", len(dance.tempos_qpm))]
    program = dance.programs[draw(source.name + "program", len(dance.programs))]
    return DemoPiece(source.name, source.title, source.kind, _set(score, float(tempo), program))


def _set(score: Score, qpm: float, program: int) -> Score:
    tracks = tuple(replace(track, program=program) for track in score.tracks)
    return replace(score, tracks=tracks, tempos=(TempoChange(0, qpm),))
