"""What a tune takes over from its album.

Its opening as ABC, for prompts, and which of its constraints a tune misses.
"""

from __future__ import annotations

from image2music.abc.writer.text import length_text, note_name
from image2music.music.motif import count_motif
from image2music.music.score import Score
from image2music.music.theory import MIDDLE_C, spelling
from image2music.types import AlbumPart

_QPM_TOLERANCE = 1.0


def opening_abc(part: AlbumPart) -> str:
    """Return the notes that the melody begins with, as ABC in the album's key with L:1/8: `BF E2 B2 A2 | B2`."""
    sharps = (part.tonic + (3 if part.mode == "minor" else 0)) * 7
    names = spelling((sharps + 5) % 12 - 5, part.mode == "minor")
    bars = []
    for line in part.opening:
        said: dict[str, str] = {}
        notes = (note_name(MIDDLE_C + part.tonic + pitch, names, said) + length_text(n, 1) for pitch, n in line)
        bars.append(" ".join(notes))
    return " | ".join(bars)


def missing_constraints(score: Score, part: AlbumPart) -> tuple[str, ...]:
    """Return the album's constraints that a played tune misses, in plain English; empty for one that keeps to all."""
    key, meter = score.keys[:1], score.meters[:1]
    found = []
    if not key or (key[0].tonic, key[0].minor) != (part.tonic, part.mode == "minor"):
        found.append(f"the album asks for the key K:{part.key}")
    if not meter or f"{meter[0].numerator}/{meter[0].denominator}" != part.meter:
        found.append(f"the album asks for the meter M:{part.meter}")
    if not score.tempos or abs(score.tempos[0].qpm - part.tempo_qpm) > _QPM_TOLERANCE:
        found.append(f"the album asks for the tempo Q:1/4={part.tempo_qpm}")
    if not count_motif(score, part.motif):
        found.append(f"the album's motif is missing: begin the first voice with {opening_abc(part)} (L:1/8)")
    return tuple(found)
