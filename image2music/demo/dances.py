"""Dance tunes and airs of O'Neill, Aird and Ryan from music21's corpus, each at the tempo of its kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from string import capwords

from image2music.demo.piece import Piece, draw, sample
from image2music.errors import AbcError
from image2music.notation.abc_to_midi import abc_to_score
from image2music.notation.score import Score, TempoChange

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


def dances(corpus: Path) -> list[Piece]:
    """As many tunes of each of `KINDS` as it says, from the folder of music21's corpus; a kind may fall short."""
    sources = {source.name: source for source in _sources(corpus)}
    pieces: list[Piece] = []
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


def _piece(source: _Source, dance: Dance) -> Piece | None:
    try:
        score = abc_to_score(source.abc)
    except AbcError:
        # Among thousands of tunes a few cannot be played; the next candidate takes the place.
        return None
    if not 40 <= score.n_notes <= 1500 or not score.meters:
        return None
    tempo = dance.tempos_qpm[draw(source.name + "tempo", len(dance.tempos_qpm))]
    program = dance.programs[draw(source.name + "program", len(dance.programs))]
    return Piece(source.name, source.title, source.kind, _set(score, float(tempo), program))


def _set(score: Score, qpm: float, program: int) -> Score:
    tracks = tuple(replace(track, program=program) for track in score.tracks)
    return replace(score, tracks=tracks, tempos=(TempoChange(0, qpm),))
