"""One layer of chords to the text of its bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import compress, pairwise

import numpy as np
from numpy.typing import NDArray

from image2music.notation.layers import Chord, Layer
from image2music.notation.score import IntArray
from image2music.notation.spelling import Spelling
from image2music.notation.ticks import among, distinct
from image2music.notation.timeline import Bars
from image2music.notation.tuplets import tuplet_spans

_REST: Chord = ()


@dataclass(frozen=True)
class _Segments:
    """A layer cut at bar lines and around tuplets; rests fill the gaps. All int64[n] or bool[n].

    `owners` are chords' indices, -1 for a rest; `tuplet` numbers the tuplets, -1 outside them.
    """

    starts: IntArray
    ends: IntArray
    owners: IntArray
    ties: NDArray[np.bool_]
    tuplet: IntArray


def write_layer(
    layer: Layer,
    bars: Bars,
    windows: IntArray,
    beats: IntArray,
    spellings: Sequence[Spelling],
    unit: int,
    fields: dict[int, str],
) -> list[str]:
    """Text of each bar of a layer, without bar lines; every bar sums to its meter exactly.

    Args:
        layer: what sounds.
        bars: where the bar lines are.
        windows: edges of the windows that were quantised one by one; a tuplet fills one or two.
        beats: grid ticks at which a space is written.
        spellings: note names for each bar.
        unit: unit note length in grid ticks.
        fields: text to put in front of what starts at a grid tick (inline fields), ticks ascending. A tick at which
            nothing starts moves on to the next start; one after the last start is left out.
    """
    ticks = np.array(list(fields), dtype=np.int64)
    segments = _segments(layer, bars, windows, ticks)
    names = _names(layer, segments, bars, spellings)
    tokens = _tokens(segments, names, unit, beats)
    # Where several move on to one start, the last holds.
    places = np.searchsorted(segments.starts, ticks)
    for at, text in dict(zip(places.tolist(), fields.values(), strict=True)).items():
        if at < len(tokens):
            tokens[at] = _with_field(tokens[at], text)
    cuts = [*np.searchsorted(segments.starts, bars.lines[:-1]).tolist(), len(tokens)]
    return ["".join(tokens[a:b]).lstrip() for a, b in pairwise(cuts)]


def _with_field(token: str, text: str) -> str:
    return " " + text + token.lstrip() if token.startswith(" ") else text + token


def _segments(layer: Layer, bars: Bars, windows: IntArray, fields: IntArray) -> _Segments:
    edges = np.concatenate([layer.starts, layer.ends])
    spans = tuplet_spans(edges, windows, bars.lines)
    cuts = np.concatenate([edges, bars.lines, spans.ravel()])
    if len(fields):
        # Rests, but not notes, are divided so that a field stands where it belongs.
        silent = (_owners(layer, fields) < 0) & (_tuplet_of(fields, spans) < 0) & (fields < bars.lines[-1])
        cuts = np.concatenate([cuts, fields[silent]])
    cuts = distinct(cuts)
    starts, ends = cuts[:-1], cuts[1:]
    owners = _owners(layer, starts)
    ties = (owners >= 0) & (ends < layer.ends[owners])
    return _Segments(starts, ends, owners, ties, _tuplet_of(starts, spans))


def _owners(layer: Layer, ticks: IntArray) -> IntArray:
    """Index of the chord that sounds at each tick, -1 where none does."""
    owners = np.searchsorted(layer.starts, ticks, "right") - 1
    return np.where((owners >= 0) & (ticks < layer.ends[owners]), owners, -1)


def _tuplet_of(starts: IntArray, spans: IntArray) -> IntArray:
    if not len(spans):
        return np.full(len(starts), -1)
    at = np.searchsorted(spans[:, 0], starts, "right") - 1
    return np.where((at >= 0) & (starts < spans[at, 1]), at, -1)


def _names(layer: Layer, segments: _Segments, bars: Bars, spellings: Sequence[Spelling]) -> list[str]:
    """Text of each segment's chord or rest, without its length."""
    owners = segments.owners.tolist()
    chords = [layer.chords[owner] if owner >= 0 else _REST for owner in owners]
    names: list[str] = []
    known: dict[tuple[Spelling, tuple[Chord, ...]], list[str]] = {}
    last, begun = -1, spellings[0]
    cuts = [*np.searchsorted(segments.starts, bars.lines[:-1]).tolist(), len(owners)]
    for here, (first, end) in zip(spellings, pairwise(cuts), strict=True):
        sounding = tuple(chords[first:end])
        if last >= 0 and owners[first] == last and begun is not here:
            tied = next((at for at in range(first, end) if owners[at] != last), end) - first
            names += _names_in_bar(sounding[tied:], here, tied=(sounding[:tied], begun))
        else:
            # Music repeats itself: drums most of all.
            key = here, sounding
            if key not in known:
                known[key] = _names_in_bar(sounding, here)
            names += known[key]
        if owners[end - 1] != last:
            last, begun = owners[end - 1], here
    return names


def _names_in_bar(
    chords: Sequence[Chord], spelling: Spelling, tied: tuple[Sequence[Chord], Spelling] | None = None
) -> list[str]:
    """Names of a bar's chords, after those tied into it from another key, which keep their names."""
    said: dict[str, str] = {}
    names: list[str] = []
    if tied:
        names = [_chord_name([_name_in_full(pitch, tied[1], said) for pitch in chord]) for chord in tied[0]]
    return names + [_chord_name([note_name(pitch, spelling, said) for pitch in chord]) for chord in chords]


def _chord_name(names: Sequence[str]) -> str:
    if not names:
        return "z"
    return names[0] if len(names) == 1 else "[" + "".join(names) + "]"


def note_name(pitch: int, spelling: Spelling, said: dict[str, str]) -> str:
    """Note name with its accidental where the key, or the bar so far, says otherwise.

    Programs disagree on whether an accidental holds for its octave or for all, so a letter once altered in a bar
    is written in full whenever what either reading gives would be wrong.
    """
    letter = spelling.letters[pitch]
    if not said and not spelling.altered[pitch]:
        return letter
    accidental, kind = spelling.accidentals[pitch], spelling.classes[pitch]
    if letter in said or kind in said:
        right = said.get(letter) == accidental and said.get(kind) == accidental
    else:
        right = not spelling.altered[pitch]
    return letter if right else _name_in_full(pitch, spelling, said)


def _name_in_full(pitch: int, spelling: Spelling, said: dict[str, str]) -> str:
    letter, accidental = spelling.letters[pitch], spelling.accidentals[pitch]
    said[letter] = said[spelling.classes[pitch]] = accidental
    return accidental + letter


def _tokens(segments: _Segments, names: list[str], unit: int, beats: IntArray) -> list[str]:
    starts, ends, ties = segments.starts, segments.ends, segments.ties
    in_tuplet = segments.tuplet >= 0
    # Lengths in half grid ticks, so that three halves of a tuplet's note stay whole.
    halves = (np.where(in_tuplet, 3, 2) * (ends - starts)).tolist()
    at_beat = among(starts, beats).tolist()
    tokens = [
        (" " if beat else "") + name + length_text(half, 2 * unit) + ("-" if tie else "")
        for name, half, beat, tie in zip(names, halves, at_beat, ties.tolist(), strict=True)
    ]
    if in_tuplet.any():
        _mark_tuplets(tokens, segments.tuplet)
    return tokens


def _mark_tuplets(tokens: list[str], tuplet: IntArray) -> None:
    numbers, first, count = np.unique(tuplet, return_index=True, return_counts=True)
    inside = numbers >= 0
    for at, n in zip(compress(first.tolist(), inside), compress(count.tolist(), inside), strict=True):
        mark = "(3" if n == 3 else f"(3:2:{n}"
        tokens[at] = _with_field(tokens[at], mark)


@cache
def length_text(length: int, unit: int) -> str:
    """Multiplier that ABC writes after a note: nothing for 1, `2`, `3/2`, `/` for a half, `/4`."""
    multiple = Fraction(length, unit)
    above = "" if multiple.numerator == 1 else str(multiple.numerator)
    below = "" if multiple.denominator == 1 else "/" if multiple.denominator == 2 else f"/{multiple.denominator}"
    return above + below
