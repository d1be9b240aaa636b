"""Bach's chorales from music21's corpus, set for choir, organ, strings, recorders or brass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from image2music.demo.piece import Piece, draw, sample
from image2music.notation.key_detection import detect_key, pitch_class_weights
from image2music.notation.score import KeyChange, MeterChange, Score, TempoChange, Track

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
"""The sources give no tempo; these are usual ones, the slower for chorales in minor."""


def chorales(corpus: Path, count: int) -> list[Piece]:
    """`count` four-part chorales that have a title, evenly over the catalogue of works."""
    from music21.corpus.chorales import ChoraleList

    titles = {f"bwv{number}": entry["title"] for number, entry in ChoraleList().byBWV.items()}
    files = {stem: path for stem in titles if (path := corpus / "bach" / f"{stem}.mxl").is_file()}
    # More candidates than wanted: some of the files hold other than four voices.
    pieces = (_read(files[stem], titles[stem]) for stem in sample(files, 2 * count))
    return [piece for piece in pieces if piece is not None][:count]


def _read(path: Path, title: str) -> Piece | None:
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
    return Piece(f"bach/{stem}", title, "chorale", Score(_TICKS, tracks, (tempo,), (meter,), (key,)))


def _lead_in(stream: Any, meter: MeterChange) -> int:
    """Ticks of rest before an upbeat, so that bar lines of the MIDI file fall where they do in the chorale."""
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
    sharps, minor = detect_key(pitch_class_weights(pitches, quarters))
    return KeyChange(0, sharps, minor)
