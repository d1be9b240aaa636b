"""What a tune plays, by us and by abc2midi: notes, length, and notes matched one by one. No ratios, lines only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.roundtrip import abc2midi, compare
from benchmarks.row import BenchRow
from benchmarks.samples import midi_files
from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.playback import abc_to_score
from image2music.abc.writer.excerpt import excerpt_abc
from image2music.errors import AbcError, MidiError
from image2music.music.midi import read_midi
from image2music.music.score import Score

MOST_EXCERPTS = 160
LENGTH_TOLERANCE = 0.25
"""Quarters: abc2midi lets notes end early and spreads chords a little."""

_FIELD_BEFORE_TUNES = re.compile(r"(?=^X:)", re.MULTILINE)
_MADE_UP = re.compile(
    r"""^R:.*\n|^%%MIDI\ *(?:drum|drone|gchord).*\n|\[I:\ *MIDI\ *drum\w*\]|"[^"\n]*"|~|[TH](?=[_^=A-Ga-g])""",
    re.MULTILINE,
)
"""What abc2midi makes notes up from, swings by or holds longer: rhythm names, drum patterns, drones, chord symbols,
rolls, trills, fermatas. It is not shown them, since the notes of a score are compared and not a performance of it."""

_details: list[str] = []


@dataclass(frozen=True)
class Playback:
    """One tune as both play it."""

    name: str
    ours: int
    theirs: int
    f1: float
    same_length: bool

    @property
    def agrees(self) -> bool:
        """The verdict: as many notes, as long."""
        return self.ours == self.theirs and self.same_length


def details() -> list[str]:
    """Lines about the last run."""
    return list(_details)


def rows(data: Path) -> Iterator[BenchRow]:
    """Measures, and yields nothing."""
    skipped = Counter[str]()
    found = [playback for name, abc in _tunes(data) if (playback := _played(name, abc, skipped)) is not None]
    f1 = np.array([playback.f1 for playback in found])
    apart = [playback for playback in found if not playback.agrees]
    left_out = ", ".join(f"{reason} {n}" for reason, n in skipped.most_common()) or "none"
    _details[:] = [
        f"Playback of {len(found)} well-formed tunes against abc2midi (left out: {left_out}):",
        "",
        f"- as many notes and as long: {1 - len(apart) / len(found):.2%}; notes one by one, F1 {f1.mean():.4f}",
        *(f"- apart: {p.name}, {p.ours} notes, abc2midi {p.theirs}, F1 {p.f1:.3f}" for p in apart),
    ]
    yield from ()


def _tunes(data: Path) -> Iterator[tuple[str, str]]:
    """Every tune of the ABC files under a folder; where there are none, excerpts of its MIDI files."""
    files = sorted(data.rglob("*.abc"))
    for path in files:
        header, *tunes = _FIELD_BEFORE_TUNES.split(path.read_text("utf-8", "replace"))
        for number, tune in enumerate(tunes, 1):
            yield f"{path.parent.name}/{path.name} {number}", _shared_fields(header) + tune.rstrip() + "\n"
    if files:
        return
    for path in midi_files(data, MOST_EXCERPTS):
        try:
            yield path.name, excerpt_abc(path.read_bytes()).abc
        except MidiError:
            continue


def _shared_fields(header: str) -> str:
    """What a tune book says before its first tune and holds for all (M:, L:)."""
    return "".join(f"{line}\n" for line in header.splitlines() if line[:2] in ("M:", "L:"))


def _played(name: str, abc: str, skipped: Counter[str]) -> Playback | None:
    played = abc2midi(_MADE_UP.sub("", abc))
    if played.output is None or re.search(r"^Error", played.said, re.MULTILINE):
        skipped["abc2midi finds an error"] += 1
        return None
    if any(found.severity is Severity.ERROR for found in check(abc)):
        skipped["the checker finds an error"] += 1
        return None
    try:
        ours, theirs = abc_to_score(abc), read_midi(played.output)
    except (AbcError, MidiError):
        skipped["no notes"] += 1
        return None
    match = compare(ours, theirs, drums=True)
    same_length = abs(_length(ours) - _length(theirs)) <= LENGTH_TOLERANCE
    return Playback(name, match.original, match.copy, match.f1, same_length)


def _length(score: Score) -> float:
    """Quarters until the last note ends."""
    ends = [float((track.onsets + track.durations).max()) for track in score.tracks if len(track.onsets)]
    return max(ends, default=0.0) / score.ticks_per_quarter
