"""Scores to ABC text: one voice for each part or layer of a part, every bar full; and MIDI to ABC in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import compress, pairwise

import numpy as np
from numpy.typing import NDArray

from image2music.abc.writer.layout import FAITHFUL, Chord, LaidOutVoice, Layer, Layout, lay_out, tuplet_spans
from image2music.music.grid import (
    Bars,
    among,
    beats_of,
    distinct,
    tempo_text,
    windows_of,
)
from image2music.music.midi import read_midi
from image2music.music.score import IntArray, Score, seconds_at
from image2music.music.theory import GRID_QUARTER, Key, Spelling, key_name, spelling

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
    """Return the text of each bar of a layer, without bar lines; every bar sums to its meter exactly.

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
    """Return the index of the chord that sounds at each tick, -1 where none does."""
    owners = np.searchsorted(layer.starts, ticks, "right") - 1
    return np.where((owners >= 0) & (ticks < layer.ends[owners]), owners, -1)


def _tuplet_of(starts: IntArray, spans: IntArray) -> IntArray:
    if not len(spans):
        return np.full(len(starts), -1)
    at = np.searchsorted(spans[:, 0], starts, "right") - 1
    return np.where((at >= 0) & (starts < spans[at, 1]), at, -1)


def _names(layer: Layer, segments: _Segments, bars: Bars, spellings: Sequence[Spelling]) -> list[str]:
    """Return the text of each segment's chord or rest, without its length."""
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
    """Return the names of a bar's chords, after those tied into it from another key, which keep their names."""
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
    """Return the note name with its accidental where the key, or the bar so far, says otherwise.

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


_BARS_A_LINE = 4
_BASS_BELOW = 57.0
_LONGEST_TITLE = 100


def bars_by_voice(sheet: Layout) -> list[list[str]]:
    """Return the text of each bar of each voice, inline fields included; changes of tempo stand in the first voice."""
    windows, beats = windows_of(sheet.bars), beats_of(sheet.bars)
    spellings = [spelling(key.sharps, key.minor) for key in sheet.keys]
    bar_fields = {at: text for at in range(1, len(sheet.bars)) if (text := _bar_fields(sheet, at))}
    fields = {tempo.tick: f"[Q:{tempo_text(tempo.qpm)}]" for tempo in sheet.tempos[1:]}
    voices = []
    for voice in sheet.voices:
        bars = write_layer(voice.layer, sheet.bars, windows, beats, spellings, sheet.unit, fields)
        for at, text in bar_fields.items():
            bars[at] = text + bars[at]
        voices.append(bars)
        fields = {}
    return voices


def tune_text(sheet: Layout, title: str | None, voices: Sequence[Sequence[str]], *, named: bool = False) -> str:
    """Return the whole tune; `voices` holds the bars of each of the sheet's voices, `named` as `voice_head`."""
    lines = header_lines(sheet, title)
    for number, (voice, bars) in enumerate(zip(sheet.voices, voices, strict=True), 1):
        lines += [*voice_head(voice, number, len(sheet.voices), named=named), *_music_lines(bars)]
    return "\n".join(lines) + "\n"


def header_lines(sheet: Layout, title: str | None) -> list[str]:
    """Return the tune's header, `X:` to `K:`."""
    text = field_text(title or "")
    return [
        "X:1",
        *([f"T:{text}"] if text else []),
        f"M:{sheet.bars.meters[0]}",
        f"L:1/{4 * GRID_QUARTER // sheet.unit}",
        f"Q:{tempo_text(sheet.tempos[0].qpm)}",
        f"K:{_key_text(sheet.keys[0])}",
    ]


def voice_head(voice: LaidOutVoice, number: int, of: int, *, named: bool = False) -> list[str]:
    """Return the `V:` line of a voice, where it says anything, and its channel and program.

    Where it is `named` the line has the name of its track. Tunes of an index are not: names in files found on the web
    hold addresses and advertisements.
    """
    mean_pitch = float(np.mean([chord[0] for chord in voice.layer.chords]))
    clef = " clef=perc" if voice.is_drum else " clef=bass" if mean_pitch < _BASS_BELOW else ""
    name = field_text(voice.name.replace('"', "'")) if named else ""
    said = f'{clef} name="{name}"' if name else clef
    lines = [f"V:{number}{said}"] if of > 1 or said else []
    lines.append(f"%%MIDI channel {voice.channel + 1}")
    return lines if voice.is_drum else [*lines, f"%%MIDI program {voice.program}"]


def _key_text(key: Key) -> str:
    return key_name(key.sharps, key.minor)


def field_text(text: str) -> str:
    """Return text that is safe in an ABC field: printable, one line, at most 100 characters, no comment, no escape."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.replace("%", " ").replace("\\", " ").split())[:_LONGEST_TITLE].rstrip()


def _bar_fields(sheet: Layout, at: int) -> str:
    meters, keys = sheet.bars.meters, sheet.keys
    meter = f"[M:{meters[at]}]" if meters[at] != meters[at - 1] else ""
    key = f"[K:{_key_text(keys[at])}]" if keys[at] != keys[at - 1] else ""
    return meter + key


def _music_lines(bars: Sequence[str]) -> list[str]:
    lines = [" | ".join(bars[at : at + _BARS_A_LINE]) + " |" for at in range(0, len(bars), _BARS_A_LINE)]
    return [*lines[:-1], lines[-1] + "]"]


@dataclass(frozen=True)
class ConvertedTune:
    """A tune in ABC and what its header says.

    `key` is as ABC writes it (`Am`), `meter` as `4/4`, `tempo_qpm` quarter notes a minute at the beginning,
    `duration_s` seconds until the last note ends, `bars` and `voices` counts, `n_notes` notes written.
    """

    abc: str
    key: str
    meter: str
    tempo_qpm: float
    duration_s: float
    bars: int
    voices: int
    n_notes: int


def midi_to_abc(data: bytes, *, title: str | None = None, named: bool = False) -> ConvertedTune:
    """Convert a MIDI file to ABC.

    Args:
        data: the bytes of the file.
        title: what to write as the tune's title, cleaned to one line; none is written without it.
        named: whether voices get the names of their tracks.

    Raises:
        MidiError: with the reasons of `read_midi`.
    """
    return score_to_abc(read_midi(data), title=title, named=named)


def score_to_abc(score: Score, *, title: str | None = None, named: bool = False) -> ConvertedTune:
    """Convert a score to ABC; `title` and `named` as for `midi_to_abc`.

    Raises:
        MidiError: `too_large` where its meters make too many bars.
    """
    sheet = lay_out(score, FAITHFUL)
    return converted(sheet, tune_text(sheet, title, bars_by_voice(sheet), named=named))


def converted(sheet: Layout, abc: str) -> ConvertedTune:
    """Return a sheet's text with what its header says."""
    end = max(int(voice.layer.ends[-1]) for voice in sheet.voices)
    return ConvertedTune(
        abc=abc,
        key=_key_text(sheet.keys[0]),
        meter=str(sheet.bars.meters[0]),
        tempo_qpm=round(sheet.tempos[0].qpm, 3),
        duration_s=round(seconds_at(end / GRID_QUARTER, sheet.tempos, GRID_QUARTER), 3),
        bars=len(sheet.bars),
        voices=len(sheet.voices),
        n_notes=sum(voice.n_notes for voice in sheet.voices),
    )
