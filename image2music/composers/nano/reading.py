"""Reads ABC trees as melodies: training tunes, nano's own tunes, and the openings of retrieved references as tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from image2music.abc.ast import BarLine, Event, StateChange, Tune, Voice
from image2music.abc.fields import default_unit
from image2music.abc.lexer import Head
from image2music.abc.parser import parse
from image2music.abc.playback import abc_to_score
from image2music.composers.nano.melody import Melody, Note
from image2music.composers.nano.model import NanoConfig
from image2music.composers.nano.vocabulary import (
    KINDS,
    METERS,
    PITCHES,
    STRAIGHT_LENGTHS,
    Controls,
    Vocabulary,
    controls_of,
    tempo_control,
)
from image2music.errors import AbcError
from image2music.music.planning.plan import Plan
from image2music.music.similarity import LONGEST_ALLOWED, Step, longest_shared_run, voice_steps
from image2music.music.theory import DEFAULT_QPM, GRID_QUARTER, MIDDLE_C, NATURALS, Key, as_fraction, fifths_of
from image2music.types import Reference

# Not R:, since abc2midi swings a tune whose R: says hornpipe.
MANNER = "In the manner of: "
_MODE_BY_FIFTHS = {1: "major", 0: "major", -1: "mixolydian", -2: "dorian", -3: "minor", -4: "minor", -5: "minor"}


@dataclass
class _Bar:
    notes: list[Note] = field(default_factory=list)
    ending: tuple[int, ...] = ()
    closes_section: bool = False


def tonic_and_mode(key: Key) -> tuple[int, str]:
    """Return the tonic's pitch class and one of the four modes; lydian counts as major, phrygian as minor."""
    fifths = fifths_of(key.tonic)
    return fifths * 7 % 12, _MODE_BY_FIFTHS.get(key.sharps - fifths, "major")


def read_melody(tune: Tune, voice: Voice) -> Melody | None:
    """Return the top notes of a voice, or None where it has none or its meter is not one of `METERS`.

    Repeats are written once. Of several endings the last is kept. A note tied over a bar line is struck again.
    """
    unit = as_fraction(tune.unit if tune.unit is not None else default_unit(tune.meter))
    if str(tune.meter) not in METERS or unit not in (Fraction(1, 4), Fraction(1, 8), Fraction(1, 16)):
        return None
    tonic, mode = tonic_and_mode(tune.key)
    bars = _without_first_endings(list(_bars(tune.key, voice, unit, MIDDLE_C + tonic)))
    if not any(note.pitch is not None for bar in bars for note in bar.notes):
        return None
    ends = frozenset(i for i, bar in enumerate(bars) if bar.closes_section) | {len(bars) - 1}
    return Melody(str(tune.meter), unit, tonic, mode, tuple(tuple(bar.notes) for bar in bars), ends)


def _bars(key: Key, voice: Voice, unit: Fraction, reference: int) -> Iterator[_Bar]:
    bar = _Bar()
    said: dict[tuple[int, int], int] = {}
    tied: int | None = None
    for element in voice.elements:
        if isinstance(element, StateChange):
            key = element.value if isinstance(element.value, Key) else key
        elif isinstance(element, BarLine):
            bar.closes_section = element.is_section or element.repeats > 0 or element.opens_repeat
            if bar.notes:
                yield bar
                bar = _Bar(ending=() if bar.closes_section else bar.ending)
            bar.ending = element.ending or bar.ending
            said, tied = {}, None
        elif isinstance(element, Event) and element.layer == 0:
            pitch = _pitch(element, key, said, reference)
            length = as_fraction(element.duration) / unit
            if tied is not None and pitch == tied:
                bar.notes[-1] = Note(pitch, bar.notes[-1].length + length)
            else:
                bar.notes.append(Note(pitch, length))
            tied = pitch if element.ties else None
    if bar.notes:
        yield bar


def _pitch(event: Event, key: Key, said: dict[tuple[int, int], int], reference: int) -> int | None:
    """Return semitones of the highest head above `reference`, None for a rest; remember the bar's accidentals."""
    return max((_head_pitch(head, key, said) - reference for head in event.heads), default=None)


def _head_pitch(head: Head, key: Key, said: dict[tuple[int, int], int]) -> int:
    place = (head.step, head.octave)
    if head.accidental is not None:
        said[place] = head.accidental
    alteration = said.get(place, key.alterations[head.step])
    return MIDDLE_C + 12 * (head.octave - 4) + NATURALS[head.step] + alteration


def _without_first_endings(bars: list[_Bar]) -> list[_Bar]:
    kept: list[_Bar] = []
    for i, bar in enumerate(bars):
        later = next((other.ending for other in bars[i + 1 :] if other.ending != bar.ending), ())
        if bar.ending and later and max(later) > max(bar.ending):
            continue
        kept.append(bar)
    return kept


def read_controls_and_melody(abc: str, plan: Plan | None = None) -> tuple[Controls, Melody]:
    """Return the controls and the melody of a tune of nano's, read back from the text as it stands, N: and Q:.

    The melody is the first voice, with a plan bar by bar the voice that has the tune.

    Raises:
        AbcError: there is no tune, or its melody is not one that nano could have written.
    """
    tunes = parse(abc).tunes
    melody = _melody(tunes[0], plan) if tunes and tunes[0].voices else None
    if melody is None:
        raise AbcError("the first voice cannot be read as a melody of nano's", reason="unreadable_tune")
    kind = next((note[len(MANNER) :] for note in tunes[0].fields.get("N", []) if note.startswith(MANNER)), None)
    qpm = tunes[0].tempo.qpm if tunes[0].tempo is not None else DEFAULT_QPM
    return controls_of(melody, kind=kind if kind in KINDS else None, tempo=tempo_control(qpm)), melody


def _melody(tune: Tune, plan: Plan | None) -> Melody | None:
    """Return the melody, each bar from the voice that has it; bars in which nobody has it are rests."""
    if plan is None or len({plan.melody_at(bar) for bar in range(1, plan.bars + 1)}) == 1:
        id = str(plan.place_of(plan.melody_at(1))) if plan is not None else ""
        return read_melody(tune, tune.voices.get(id, next(iter(tune.voices.values()))))
    found = {id: read_melody(tune, voice) for id, voice in tune.voices.items()}
    melodies = {id: melody for id, melody in found.items() if melody is not None}
    if not melodies:
        return None
    first = next(iter(melodies.values()))
    rest = (Note(None, first.bar_capacity),)
    bars = []
    for bar in range(1, plan.bars + 1):
        own = melodies.get(str(plan.place_of(plan.melody_at(bar))))
        bars.append(own.bars[bar - 1] if own is not None and bar <= len(own.bars) else rest)
    ends = frozenset(section.last - 1 for section in plan.sections if section.last <= plan.bars) | {plan.bars - 1}
    return replace(first, bars=tuple(bars), section_ends=ends)


MAX_CHARS = 20_000


def encode_references(references: Sequence[Reference], config: NanoConfig) -> NDArray[np.int64]:
    """Return int64[slots, tokens], zeros where there is no reference or it cannot be read."""
    out = np.zeros((config.reference_slots, config.reference_tokens), np.int64)
    for slot, reference in enumerate(references[: config.reference_slots]):
        tokens = _opening(reference.abc, config.reference_tokens)
        out[slot, : len(tokens)] = tokens
    return out


def copied_references(melody: Melody, references: Sequence[Reference]) -> int:
    """Count the references with which a melody shares more notes in a row, in any voice, than a motif has."""
    steps = [relative_steps(melody)]
    return sum(longest_shared_run(steps, _voices(reference.abc)) > LONGEST_ALLOWED for reference in references)


def relative_steps(melody: Melody) -> list[Step]:
    """Return semitones and time to each next note, as `image2music.music.similarity` counts them."""
    onset, struck = Fraction(), []
    for bar in melody.bars:
        for note in bar:
            if note.pitch is not None:
                struck.append((onset, note.pitch))
            onset += note.length * melody.unit * 4 * GRID_QUARTER
    return [(q - p, round(b - a)) for (a, p), (b, q) in pairwise(struck)]


@lru_cache(maxsize=4096)
def _voices(abc: str) -> tuple[list[Step], ...]:
    try:
        return tuple(voice_steps(abc_to_score(abc)))
    except AbcError:
        # A reference that plays nothing holds nothing to copy.
        return ()


@lru_cache(maxsize=4096)
def _opening(abc: str, length: int) -> tuple[int, ...]:
    """Return up to `length` tokens of the highest voice, from its first note on."""
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
        tokens.extend(vocabulary.note_ids[nearest_note(note)] for note in bar)
        tokens.append(vocabulary.section if i in melody.section_ends else vocabulary.bar)
        if len(tokens) >= length:
            break
    return tuple(tokens[:length])


def nearest_note(note: Note) -> Note:
    """Return the closest note that nano has a token for: pitches fold by octaves, lengths go to the nearest."""
    length = min(STRAIGHT_LENGTHS, key=lambda known: abs(known - note.length))
    if note.pitch is None or note.pitch in PITCHES:
        return Note(note.pitch, length)
    return Note(note.pitch % 12 + (12 if note.pitch > 0 else -12), length)
