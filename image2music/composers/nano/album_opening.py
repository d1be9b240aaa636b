"""What an album asks of nano: words for the plan, and notes that are placed instead of decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from image2music.album.part import AlbumPart
from image2music.composers.nano.melody import Note
from image2music.composers.nano.plan import TONICS, tempo_word
from image2music.composers.nano.vocabulary import TICKS_PER_UNIT, Vocabulary
from image2music.composers.nano.wishes import Words

PLACED_NOTE = "The first notes of voice 1 are the album's motif, placed by rule; the model goes on from there."


def asked_words(part: AlbumPart) -> Words:
    """The plan slots that the album decides; it comes before what suits the single picture."""
    return {
        "tempo": (tempo_word(part.tempo_qpm),),
        "mode": (part.mode,),
        "meter": (part.meter,),
        "unit": ("1/8",),
        "tonic": (TONICS[part.tonic],),
    }


def placed_tokens(part: AlbumPart | None, vocabulary: Vocabulary) -> Mapping[tuple[int, int], int]:
    """(bar, onset in ticks) to the note token that stands there; empty without an album."""
    placed: dict[tuple[int, int], int] = {}
    for bar, line in enumerate(part.opening if part is not None else ()):
        onset = 0
        for pitch, eighths in line:
            placed[bar, onset] = vocabulary.note_ids[Note(pitch, Fraction(eighths))]
            onset += eighths * TICKS_PER_UNIT
    return placed


def placed_positions(part: AlbumPart | None, tokens: Sequence[int], start: int) -> frozenset[int]:
    """Positions in a tune's tokens, from `start` on, that were placed: nobody looked anywhere to choose them."""
    return frozenset(_positions(part, tokens, start)) if part is not None else frozenset()


def _positions(part: AlbumPart, tokens: Sequence[int], start: int) -> Iterator[int]:
    vocabulary = Vocabulary()
    at = start
    for line in part.opening:
        yield from range(at, at + len(line))
        while at < len(tokens) and tokens[at] not in (vocabulary.bar, vocabulary.section, vocabulary.end):
            at += 1
        at += 1
