"""Lines to ABC text: voices that stand on paper already, with their marks, ties, slurs and tuplets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache

from image2music.abc.fields import read_key, read_meter
from image2music.abc.writer.text import field_text, length_text, note_name
from image2music.errors import AbcError
from image2music.music.grid import tempo_text
from image2music.music.lines import Bar, Line, LineEvent
from image2music.music.theory import DEFAULT_QPM, DRUM_CHANNEL, Spelling, as_quarters, spelling, spelling_under

_BARS_A_LINE = 4
_BASS_BELOW = 57
_UNIT = Fraction(1, 2)
"""The unit note length, an eighth, in quarters."""

_DYNAMICS = frozenset({"pppp", "ppp", "pp", "p", "mp", "mf", "f", "ff", "fff", "ffff", "sfz"})
_SHORT = {"staccato": ".", "upbow": "u", "downbow": "v"}


def lines_to_abc(
    title: str,
    key: str,
    meter: str,
    lines: Sequence[Line],
    *,
    sections: Sequence[tuple[str, int, int]] = (),
    remarks: Sequence[str] = (),
    harmony: Sequence[str] = (),
) -> str:
    """Return a whole tune, four bars of all voices at a time.

    Args:
        title: the tune's title; made safe for a field. None is written where it is empty.
        key: as ABC writes it, `D` or `F#m`.
        meter: as ABC writes it, `3/4`.
        lines: the voices, highest first, with as many bars each. Tempos come from the one that has any; voices derived
            by rule are named in an `N:` line.
        sections: (name, first bar, last bar), for comments; a section begins a new line.
        remarks: further `N:` lines.
        harmony: the chord symbols of each bar, after which its accidentals are spelled; the key alone where there are
            none.

    Raises:
        AbcError: `bad_key` or `bad_meter` where they cannot be read, `no_voices` without lines or bars.
    """
    names, beats = _reading(key, meter, harmony)
    if not lines or not lines[0].bars:
        raise AbcError("a tune needs voices with bars", reason="no_voices")
    tempos = dict(next((line.qpm_at for line in lines if line.qpm_at), ()))
    header = ["X:1"]
    if text := field_text(title):
        header.append(f"T:{text}")
    header += [f"N:{field_text(remark)}" for remark in remarks if field_text(remark)]
    if derived := ", ".join(f"{n} ({_name(line)})" for n, line in enumerate(lines, 1) if line.derived):
        header.append(f"N:derived by rule: voices {derived}")
    header += [f"M:{meter}", "L:1/8", f"Q:{tempo_text(tempos.get(1, DEFAULT_QPM))}", f"K:{key}"]
    for number, line in enumerate(lines, 1):
        header += _voice_head(number, line)
    voices = []
    for number, line in enumerate(lines):
        changes = {bar: qpm for bar, qpm in tempos.items() if bar > 1} if number == 0 else {}
        voices.append(_bar_texts(line, names, beats, changes))
    return "\n".join([*header, *_body(voices, sections)]) + "\n"


def bars_to_abc(key: str, meter: str, bars: Sequence[Bar], harmony: Sequence[str] = ()) -> list[str]:
    """Return each bar of a voice as ABC at L:1/8, without bar lines, spelled after the chords of `harmony`.

    Raises:
        AbcError: `bad_key` or `bad_meter` where they cannot be read.
    """
    names, beats = _reading(key, meter, harmony)
    return [_bar_text(bar, names(number), beats) for number, bar in enumerate(bars)]


_Names = Callable[[int], Spelling]
"""How a bar's notes are spelled, by its number from 0; -1 for what stands on no chord."""


def _reading(key: str, meter: str, harmony: Sequence[str]) -> tuple[_Names, tuple[Fraction, ...]]:
    read, beat = read_key(key), read_meter(meter)
    if read is None:
        raise AbcError(f"{key!r} is no key", reason="bad_key")
    if beat is None or beat.length is None:
        raise AbcError(f"{meter!r} is no meter", reason="bad_meter")
    sharps, minor = read.sharps, read.minor

    def names(bar: int) -> Spelling:
        chords = harmony[bar] if 0 <= bar < len(harmony) else ""
        return spelling_under(sharps, minor, chords) if chords else spelling(sharps, minor)

    return names, _beats(beat.numerator, beat.denominator, as_quarters(beat.length))


def _name(line: Line) -> str:
    return field_text(line.name.replace('"', "")) or f"program {line.program}"


def _voice_head(number: int, line: Line) -> list[str]:
    pitches = sorted(pitch for bar in line.bars for event in bar for pitch in event.pitches)
    middle = pitches[len(pitches) // 2] if pitches else 60
    clef = "perc" if line.is_drums else "bass" if middle < _BASS_BELOW else "treble"
    head = [f'V:{number} clef={clef} name="{_name(line)}"']
    return [*head, f"%%MIDI channel {DRUM_CHANNEL + 1}"] if line.is_drums else [*head, f"%%MIDI program {line.program}"]


def _body(voices: Sequence[Sequence[str]], sections: Sequence[tuple[str, int, int]]) -> list[str]:
    bars = len(voices[0])
    starts = {first: f"% {field_text(name)}, bars {first}-{last}" for name, first, last in sections}
    edges = [1]
    while edges[-1] <= bars:
        here = edges[-1]
        edges.append(min([here + _BARS_A_LINE, bars + 1, *(first for first in starts if first > here)]))
    lines: list[str] = []
    for first, end in itertools.pairwise(edges):
        if first in starts:
            lines.append(starts[first])
        for number, texts in enumerate(voices, 1):
            lines.append(f"[V:{number}] " + " | ".join(texts[first - 1 : end - 1]) + (" |]" if end > bars else " |"))
    return lines


@lru_cache(maxsize=64)
def _beats(numerator: int, denominator: int, length: Fraction) -> tuple[Fraction, ...]:
    """Return where a space is written in a bar, in quarters."""
    group = Fraction(4, denominator)
    if denominator >= 8:
        group *= 3 if numerator % 3 == 0 else 2
    elif denominator == 2:
        group /= 2
    count = int(length / group)
    if denominator >= 8 and numerator % 3 and numerator % 2:
        return tuple(group * at for at in range(count))
    return tuple(group * at for at in range(count + (length % group > 0)))


def _bar_texts(line: Line, names: _Names, beats: tuple[Fraction, ...], changes: dict[int, float]) -> list[str]:
    texts = []
    for number, bar in enumerate(line.bars, 1):
        field = f"[Q:{tempo_text(changes[number])}]" if number in changes else ""
        texts.append(field + _bar_text(bar, names(-1 if line.is_drums else number - 1), beats))
    return texts


def _bar_text(bar: Bar, names: Spelling, beats: tuple[Fraction, ...]) -> str:
    said: dict[str, str] = {}
    parts: list[str] = []
    at = Fraction(0)
    ratio, left = Fraction(1), 0
    for number, event in enumerate(bar):
        tuplet = ""
        if event.tuplet > 1:
            tuplet, ratio = _tuplet(bar[number : number + event.tuplet])
            left = event.tuplet
        lead = " " if at in beats and number and (left == 0 or tuplet) else ""
        inside = left > 0
        pieces = [event.length * ratio] if inside else _pieces(event.length, at, beats)
        parts.append(lead + _event_text(event, pieces, names, said, tuplet))
        at += event.length
        left = max(0, left - 1)
        ratio = ratio if left else Fraction(1)
    return "".join(parts)


def _tuplet(events: Sequence[LineEvent]) -> tuple[str, Fraction]:
    """Return the mark of a tuplet and how much longer its notes are written than they sound."""
    odd = 1
    for event in events:
        denominator = event.length.denominator
        while denominator % 2 == 0:
            denominator //= 2
        odd = max(odd, denominator)
    if odd == 1:
        return "", Fraction(1)
    time = 1 << (odd.bit_length() - 1)
    mark = "(3" if odd == 3 and len(events) == 3 else f"({odd}:{time}:{len(events)}"
    return mark, Fraction(odd, time)


def _pieces(length: Fraction, at: Fraction, beats: tuple[Fraction, ...]) -> list[Fraction]:
    """Divide a length that no single note has, at a beat where that gives two that one has."""
    if _is_one_note(length):
        return [length]
    for beat in reversed(beats):
        first = beat - at
        if 0 < first < length and _is_one_note(first) and _is_one_note(length - first):
            return [first, length - first]
    pieces = []
    while length > 0:
        best = next((value for value in _NOTES if value <= length), length)
        pieces.append(best)
        length -= best
    return pieces


_NOTES = tuple(
    sorted(
        {Fraction(dots, 1) * Fraction(2) ** power for power in range(-6, 3) for dots in (1, Fraction(3, 2))},
        reverse=True,
    )
)


def _is_one_note(length: Fraction) -> bool:
    """Whether a plain or dotted note (or a rest, which may be doubly dotted) is that long."""
    return length in _NOTES or (length.numerator == 7 and length.denominator & (length.denominator - 1) == 0)


def _event_text(
    event: LineEvent, pieces: Sequence[Fraction], names: Spelling, said: dict[str, str], tuplet: str
) -> str:
    marks = "".join(_SHORT.get(mark, f"!{mark}!") for mark in sorted(event.marks, key=_rank))
    text = "(" * event.slur_starts + tuplet + marks
    for number, piece in enumerate(pieces):
        heads = [note_name(pitch, names, said) for pitch in event.pitches]
        head = "z" if not heads else heads[0] if len(heads) == 1 else "[" + "".join(heads) + "]"
        more = number + 1 < len(pieces)
        tie = "-" if event.pitches and (more or event.tied) else ""
        text += head + length_text(*_over(piece)) + tie
    return text + ")" * event.slur_ends


def _over(length: Fraction) -> tuple[int, int]:
    multiple = length / _UNIT
    return multiple.numerator, multiple.denominator


def _rank(mark: str) -> int:
    """Order marks before a note: what ends, the loudness, what begins, the rest, and the dots next to the note."""
    if mark.endswith(")"):
        return 0
    if mark in _DYNAMICS:
        return 1
    if mark.endswith("("):
        return 2
    return 4 if mark in _SHORT else 3
