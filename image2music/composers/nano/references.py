"""Retrieved tunes as nano hears them: the opening of each melody, in tokens relative to its own tonic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from image2music.composers.base import Reference
from image2music.composers.nano.melody import Melody, Note
from image2music.composers.nano.model import NanoConfig
from image2music.composers.nano.reading import read_melody
from image2music.composers.nano.vocabulary import PITCHES, STRAIGHT_LENGTHS, Vocabulary
from image2music.copying import LONGEST_ALLOWED, Step, longest_shared_run, voices_of
from image2music.errors import AbcError
from image2music.notation.abc_parser import parse
from image2music.notation.abc_to_midi import abc_to_score

MAX_CHARS = 20_000
TICKS_PER_QUARTER = 48


def encode_references(references: Sequence[Reference], config: NanoConfig) -> NDArray[np.int64]:
    """int64[slots, tokens], zeros where there is no reference or it cannot be read."""
    out = np.zeros((config.reference_slots, config.reference_tokens), np.int64)
    for slot, reference in enumerate(references[: config.reference_slots]):
        tokens = _opening(reference.abc, config.reference_tokens)
        out[slot, : len(tokens)] = tokens
    return out


def copied_references(melody: Melody, references: Sequence[Reference]) -> int:
    """With how many references a melody shares more notes in a row, in any voice, than a motif has."""
    steps = [melody_steps(melody)]
    return sum(longest_shared_run(steps, _voices(reference.abc)) > LONGEST_ALLOWED for reference in references)


def melody_steps(melody: Melody) -> list[Step]:
    """Semitones to and time until each next note, as `copying` counts them."""
    onset, struck = Fraction(), []
    for bar in melody.bars:
        for note in bar:
            if note.pitch is not None:
                struck.append((onset, note.pitch))
            onset += note.length * melody.unit * 4 * TICKS_PER_QUARTER
    return [(q - p, round(b - a)) for (a, p), (b, q) in pairwise(struck)]


@lru_cache(maxsize=4096)
def _voices(abc: str) -> tuple[list[Step], ...]:
    try:
        return tuple(voices_of(abc_to_score(abc)))
    except AbcError:
        # A reference that plays nothing holds nothing to copy.
        return ()


@lru_cache(maxsize=4096)
def _opening(abc: str, length: int) -> tuple[int, ...]:
    """Up to `length` tokens of the highest voice, from its first note on."""
    text = abc if len(abc) <= MAX_CHARS else abc[: abc.rfind("\n", 0, MAX_CHARS)]
    tunes = parse(text).tunes
    if not tunes:
        return ()
    found = (read_melody(tunes[0], v) for v in tunes[0].voices.values() if not v.settings.percussion)
    melodies = [melody for melody in found if melody is not None]
    if not melodies:
        return ()
    return _tokens(max(melodies, key=_mean_pitch), length)


def _mean_pitch(melody: Melody) -> float:
    return melody.tonic + float(np.mean([note.pitch for note in melody.sounding()]))


def _tokens(melody: Melody, length: int) -> tuple[int, ...]:
    vocabulary = Vocabulary()
    tokens: list[int] = []
    for i, bar in enumerate(melody.bars):
        if not tokens and all(note.pitch is None for note in bar):
            continue
        tokens.extend(vocabulary.note_ids[_nearest(note)] for note in bar)
        tokens.append(vocabulary.section if i in melody.section_ends else vocabulary.bar)
        if len(tokens) >= length:
            break
    return tuple(tokens[:length])


def _nearest(note: Note) -> Note:
    """The closest note that nano has a token for: pitches fold by octaves, lengths go to the nearest."""
    length = min(STRAIGHT_LENGTHS, key=lambda known: abs(known - note.length))
    if note.pitch is None or note.pitch in PITCHES:
        return Note(note.pitch, length)
    return Note(note.pitch % 12 + (12 if note.pitch > 0 else -12), length)
