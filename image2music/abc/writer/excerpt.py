"""Passages of ABC text: the most telling one of a piece taken out for a model to read, and one bar put in for another.

The telling passage is the one whose bars are most like all the others, from the start of a phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from image2music.abc.parser import parse
from image2music.abc.writer.layout import (
    PLAIN,
    LaidOutVoice,
    Layer,
    Layout,
    bars_with_pickup,
    lay_out_voices,
    unit_of,
    written,
)
from image2music.abc.writer.text import ConvertedTune, bars_by_voice, converted, tune_text
from image2music.errors import AbcError, ConfigError, MidiError
from image2music.music.grid import (
    Bars,
    FloatArray,
    Part,
    bar_length,
    keys_of,
    meter_of_length,
    parts_of,
    tempos_of,
    windows_of,
)
from image2music.music.midi import read_midi
from image2music.music.score import IntArray, Score, TempoChange
from image2music.music.theory import GRID_QUARTER

_RHYTHM_BINS = 8
_PHRASE = 4
_ON_PHRASE = 0.04
_AFTER_A_BREATH = 0.04
_EARLY = 0.01


def choose_passage(parts: Sequence[Part], bars: Bars, length: int) -> tuple[int, int]:
    """Return the first bar of a passage and the bar after its last.

    A bar is described by how long each pitch class sounds, where in the bar notes begin, and how many parts play;
    it is typical as far as its description is the mean one. Passages that begin a multiple of four bars after the
    first note, or with few notes held over their first bar line, are preferred a little, and earlier ones by less.

    Args:
        parts: the notes.
        bars: all bars of the piece.
        length: bars wanted; a shorter piece gives all it has from its first note on.
    """
    typical, held = _typicality(parts, bars)
    sounding = np.flatnonzero(typical > 0)
    first, last = int(sounding[0]), int(sounding[-1]) + 1
    if last - first <= length:
        return first, last
    sums = np.append(0.0, np.cumsum(typical))
    starts = np.arange(first, last - length + 1)
    scores = (sums[starts + length] - sums[starts]) / length / typical.max()
    scores += _ON_PHRASE * ((starts - first) % _PHRASE == 0) - _EARLY * (starts - first) / (last - first)
    scores -= _AFTER_A_BREATH * held[starts]
    # A passage that begins in silence begins too early.
    scores[typical[starts] == 0] = -1.0
    start = int(starts[scores.argmax()])
    return start, start + length


def _typicality(parts: Sequence[Part], bars: Bars) -> tuple[FloatArray, FloatArray]:
    """Return how like the mean each bar is, and the share of its notes' parts that hold a note over its first line."""
    n = len(bars)
    heard = [part for part in parts if not part.is_drum] or list(parts)
    onsets = np.concatenate([part.onsets for part in heard])
    ends = onsets + np.concatenate([part.durations for part in heard])
    pitches = np.concatenate([part.pitches for part in heard])
    at = _bar_of(onsets, bars)
    lengths = np.diff(bars.lines)
    weights = np.minimum(ends - onsets, lengths[at]) + GRID_QUARTER / 8
    classes = np.bincount(at * 12 + pitches % 12, weights, n * 12).reshape(n, 12)
    place = np.clip((onsets - bars.lines[at]) / lengths[at] * _RHYTHM_BINS, 0, _RHYTHM_BINS - 1).astype(np.int64)
    rhythm = np.bincount(at * _RHYTHM_BINS + place, minlength=n * _RHYTHM_BINS).reshape(n, _RHYTHM_BINS)
    active = np.zeros((n, len(heard)))
    for column, part in enumerate(heard):
        active[_bar_of(part.onsets, bars), column] = 1.0
    described = np.hstack([_unit(classes), _unit(rhythm), _unit(active)])
    typical = described @ described.mean(axis=0)
    crossing = np.searchsorted(bars.lines, ends - GRID_QUARTER / 8, "right") - 1 > at
    held = np.bincount(np.minimum(at[crossing] + 1, n - 1), minlength=n) / len(heard)
    return typical, np.minimum(held, 1.0)


def _bar_of(onsets: FloatArray, bars: Bars) -> IntArray:
    """Return the bar in which a note begins; one a 1/32 early belongs to the next."""
    return np.clip(np.searchsorted(bars.lines, onsets + GRID_QUARTER / 8, "right") - 1, 0, len(bars) - 1)


def _unit(rows: NDArray[np.float64] | IntArray) -> FloatArray:
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return rows / np.maximum(lengths, 1e-9)


_SPARSE = replace(PLAIN, divisions=(4,), penalties=(0.0,))
_LEAST_CHARS = 400
_FEWEST_BARS = 8
_MELODY_SHARE = 0.25
_DOUBLING = 0.8


def excerpt_abc(
    data: bytes | Score, *, title: str | None = None, max_bars: int = 16, max_voices: int = 4, max_chars: int = 1500
) -> ConvertedTune:
    """Return the most telling bars of a piece in ABC.

    Parts are dropped, drums first, before there are fewer than eight bars; what is left is written plainly, with
    rhythms rounded more than `midi_to_abc` rounds them.

    Args:
        data: a MIDI file's bytes, or a score.
        title: the tune's title.
        max_bars: most bars.
        max_voices: most voices.
        max_chars: most characters, at least 400.

    Raises:
        MidiError: with the reasons of `read_midi`.
        ConfigError: reason `bad_excerpt` for a limit that nothing fits in.
    """
    if max_bars < 1 or max_voices < 1 or max_chars < _LEAST_CHARS:
        raise ConfigError(f"an excerpt needs a bar, a voice and {_LEAST_CHARS} characters", reason="bad_excerpt")
    score = data if isinstance(data, Score) else read_midi(data)
    parts = parts_of(score)
    bars = bars_with_pickup(score, parts)
    start, stop = _without_torn_bars(bars, *choose_passage(parts, bars, max_bars))
    keys, tempos = keys_of(score, parts, bars)[start:stop], _tempos(score, int(bars.lines[start]))
    passage = Bars(bars.lines[start : stop + 1] - bars.lines[start], bars.meters[start:stop])
    told = _most_telling(_cut(parts, bars, start, stop), max_voices)
    for voices in _plainer_and_plainer(told, passage, max_voices):
        tune = _fitting(Layout(voices, passage, keys, tempos, unit_of(voices)), title, max_chars)
        if tune is not None:
            return tune
    raise MidiError(f"not one bar of the passage fits in {max_chars} characters", reason="too_large")


def _without_torn_bars(bars: Bars, start: int, stop: int) -> tuple[int, int]:
    """Leave out a pick-up of more than half a bar, and a last bar that completes a pick-up that is not there."""
    if stop - start > 1 and 0.5 < _fullness(bars, start) < 1:
        start += 1
    if stop - start > 1 and start > 0 and _fullness(bars, stop - 1) < 1:
        stop -= 1
    return start, stop


def _fullness(bars: Bars, bar: int) -> float:
    """Return the length of a bar as a part of what its meter says."""
    return float(bars.lines[bar + 1] - bars.lines[bar]) / bar_length(bars.meters[bar])


def _tempos(score: Score, start: int) -> tuple[TempoChange, ...]:
    """Return the tempo that holds at grid tick `start`, and the later ones, counted from there."""
    tempos = tempos_of(score)
    here = [tempo for tempo in tempos if tempo.tick <= start][-1]
    return (
        TempoChange(0, here.qpm),
        *(TempoChange(tempo.tick - start, tempo.qpm) for tempo in tempos if tempo.tick > start),
    )


def _cut(parts: Sequence[Part], bars: Bars, start: int, stop: int) -> list[Part]:
    """Return the notes that begin in the bars, in grid ticks from the first line; a note 1/32 early is on it."""
    begin, end = int(bars.lines[start]), int(bars.lines[stop])
    cut = []
    for part in parts:
        onsets = part.onsets - begin
        inside = (onsets >= -GRID_QUARTER / 8) & (onsets < end - begin - GRID_QUARTER / 8)
        if inside.any():
            onsets = np.maximum(onsets[inside], 0.0)
            durations = np.minimum(part.durations[inside], end - begin - onsets)
            cut.append(replace(part, onsets=onsets, durations=durations, pitches=part.pitches[inside]))
    return cut


def _most_telling(parts: list[Part], most: int) -> list[Part]:
    """Return at most `most` parts, the most telling first: melody, bass, then those that play most; drums come last.

    A part that doubles another, in its octave or a different one, tells nothing more.
    """
    pitched = [part for part in parts if not part.is_drum]
    if not pitched:
        return parts[:most]
    enough = _MELODY_SHARE * max(map(len, pitched))
    leading = [part for part in pitched if len(part) >= enough]
    melody = max(leading, key=lambda part: float(part.pitches.mean()))
    bass = min(leading, key=lambda part: float(part.pitches.mean()))
    others = sorted((part for part in pitched if part is not melody and part is not bass), key=len, reverse=True)
    first = [melody] if melody is bass else [melody, bass]
    drums = [part for part in parts if part.is_drum]
    return [*_without_doubling([*first, *others]), *drums][:most]


def _without_doubling(parts: Sequence[Part]) -> list[Part]:
    kept: list[tuple[Part, set[tuple[float, int]]]] = []
    for part in parts:
        places = np.rint(part.onsets / (GRID_QUARTER / 4)).tolist()
        notes = set(zip(places, (part.pitches % 12).tolist(), strict=True))
        if all(len(notes & others) < _DOUBLING * len(notes | others) for _, others in kept):
            kept.append((part, notes))
    return [part for part, _ in kept]


def _plainer_and_plainer(parts: list[Part], bars: Bars, most: int) -> Iterator[tuple[LaidOutVoice, ...]]:
    """Yield the voices of the parts; then only the top line of the first part, in sixteenths at the finest."""
    windows = windows_of(bars)
    most_layers = max(1, min(2, most // len(parts)))
    yield tuple(voice for part in parts for voice in lay_out_voices(part, written(part, windows, PLAIN), most_layers))
    line = lay_out_voices(parts[0], written(parts[0], windows, _SPARSE), 1)[0]
    chords = [chord[-1:] for chord in line.layer.chords]
    yield (replace(line, layer=replace(line.layer, chords=chords)),)


def _fitting(sheet: Layout, title: str | None, max_chars: int) -> ConvertedTune | None:
    """Return the most bars of the most voices that fit, None where nothing does."""
    texts = bars_by_voice(sheet)
    for n_voices, n_bars in _sizes(len(sheet.voices), len(sheet.bars)):
        least = sum(len(bar) + 3 for bars in texts[:n_voices] for bar in bars[:n_bars])
        if least > max_chars:
            continue
        smaller, kept = _first(sheet, texts, n_voices, n_bars)
        if not smaller.voices:
            continue
        abc = tune_text(smaller, title, kept)
        if len(abc) <= max_chars:
            return converted(smaller, abc)
    return None


def _sizes(n_voices: int, n_bars: int) -> Iterator[tuple[int, int]]:
    """Yield the numbers of voices and bars, from all down to one bar of one voice."""
    fewest = min(_FEWEST_BARS, n_bars)
    for voices in range(n_voices, 0, -1):
        yield from ((voices, bars) for bars in range(n_bars, fewest - 1, -4))
    yield from ((1, bars) for bars in range(fewest - 1, 0, -1))


def _first(sheet: Layout, texts: list[list[str]], n_voices: int, n_bars: int) -> tuple[Layout, list[list[str]]]:
    """Return the first voices and bars of a sheet and of its text; voices silent there are left out."""
    end = int(sheet.bars.lines[n_bars])
    is_pickup_alone = n_bars == 1 and _fullness(sheet.bars, 0) < 1
    meters = (meter_of_length(end),) if is_pickup_alone else sheet.bars.meters[:n_bars]
    bars = Bars(sheet.bars.lines[: n_bars + 1], meters)
    voices, kept = [], []
    for voice, text in zip(sheet.voices[:n_voices], texts, strict=False):
        n = int(np.searchsorted(voice.layer.starts, end))
        if n:
            layer = voice.layer
            ends = np.minimum(layer.ends[:n], end)
            voices.append(replace(voice, layer=Layer(layer.starts[:n], ends, layer.chords[:n])))
            # A note held beyond the end has nothing left to be tied to.
            kept.append([*text[: n_bars - 1], text[n_bars - 1].rstrip("-")])
    tempos = tuple(tempo for tempo in sheet.tempos if tempo.tick < end)
    return replace(sheet, voices=tuple(voices), bars=bars, keys=sheet.keys[:n_bars], tempos=tempos), kept


_TOKEN = re.compile(
    r"""(?P<mark>![^!\n]*!)|(?P<field>\[[A-Za-z]:[^\]]*\])|(?P<text>"[^"]*")|(?P<tuplet>\(\d(?::\d?){0,2})"""
    r"""|(?P<slur>[()])|(?P<note>(?:\[[^\]:]*\]|[_^=]*[A-Ga-g][,']*|[zxy])[0-9/]*-?)|(?P<bar>[|:]+\]?)|(?P<other>.)""",
    re.DOTALL,
)
_DYNAMIC = re.compile(r"!(?:p{1,4}|m[pf]|f{1,4}|sfz)!")
_SWELLS = (("!crescendo(!", "!crescendo)!"), ("!diminuendo(!", "!diminuendo)!"), ("!<(!", "!<)!"), ("!>(!", "!>)!"))
_OLD_BAR = re.compile(r"(?s)(\s*(?:\[V:[^\]]*\]\s*)?)(.*?)(\s*(?:[|:][|:\]]*)?\s*)$")

_Token = tuple[str, str]
"""Kind and text."""


def splice_bar(abc: str, voice: str, bar: int, text: str) -> str:
    """Return a tune with the notes of one bar replaced.

    Fields and the dynamic that begin the old bar are kept where the new one has none. A swell or slur that only begins
    or only ends in the old bar keeps its end: it moves to the new bar's first or last note. Bar lines around `text` are
    taken off.

    Raises:
        AbcError: there is no such voice or bar (`no_such_bar`), or `text` is more than one bar (`more_than_a_bar`).
    """
    new = _tokens(text.strip().removesuffix("|]").strip("| \t\n"))
    if any(kind == "bar" or "\n" in said for kind, said in new):
        raise AbcError(f"an edit is one bar without bar lines, not {text!r}", reason="more_than_a_bar")
    new = [(kind, said) for kind, said in new if not said.startswith("[V:")]
    tune = next((tune for tune in parse(abc).tunes if tune.spans), None)
    spans = [span for span in tune.spans if (span.voice, span.bar) == (voice, bar)] if tune else []
    if not spans:
        raise AbcError(f"there is no bar {bar} in voice {voice}", reason="no_such_bar")
    start, end = spans[0].start, spans[-1].end
    found = _OLD_BAR.match(abc[start:end])
    assert found is not None
    before, old, after = found.groups()
    changed = "".join(said for _, said in _with_marks_of(_tokens(old), new)).strip()
    return abc[:start] + before + changed + after + abc[end:]


def _tokens(text: str) -> list[_Token]:
    return [(found.lastgroup or "other", found.group()) for found in _TOKEN.finditer(text)]


def _with_marks_of(old: Sequence[_Token], new: list[_Token]) -> list[_Token]:
    head = old[: _first_note(old)]
    fields = [token for token in head if token[0] == "field" and not any(t[1][:3] == token[1][:3] for t in new)]
    for opening, closing in _SWELLS:
        new = _balanced(old, new, "mark", opening, closing)
    new = _balanced(old, new, "slur", "(", ")")
    dynamics = [token for token in head if _DYNAMIC.fullmatch(token[1])]
    if dynamics and not any(_DYNAMIC.fullmatch(said) for _, said in new):
        at = _first_note(new)
        new = [*new[:at], dynamics[-1], *new[at:]] if at < len(new) else new
    return [*fields, *new]


def _balanced(old: Sequence[_Token], new: list[_Token], kind: str, opening: str, closing: str) -> list[_Token]:
    """Make the new bar open as many as the old one leaves open, or close as many as it closes."""
    wanted, has = (bar.count((kind, opening)) - bar.count((kind, closing)) for bar in (list(old), new))
    if wanted == has:
        return new
    new = [token for token in new if token not in ((kind, opening), (kind, closing))]
    first, last = _first_note(new), _last_note(new)
    if first == len(new):
        return new
    if wanted > 0:
        return [*new[:first], *[(kind, opening)] * wanted, *new[first:]]
    at = last + 1 if kind == "slur" else last
    return [*new[:at], *[(kind, closing)] * -wanted, *new[at:]]


def _first_note(tokens: Sequence[_Token]) -> int:
    return next((at for at, (kind, _) in enumerate(tokens) if kind == "note"), len(tokens))


def _last_note(tokens: Sequence[_Token]) -> int:
    return max((at for at, (kind, _) in enumerate(tokens) if kind == "note"), default=len(tokens))


def with_mark(bar: str, mark: str) -> str:
    """Return a bar with a mark such as `!mf!` before its first note; as it is where it has no note or a loudness."""
    tokens = _tokens(bar)
    at = next((at for at, (kind, said) in enumerate(tokens) if kind == "note" and said[0] not in "zxy"), len(tokens))
    if at == len(tokens) or any(_DYNAMIC.fullmatch(said) for _, said in tokens):
        return bar
    while at and (tokens[at - 1][0] in ("mark", "slur", "tuplet") or tokens[at - 1][1] in ".~uv"):
        at -= 1
    return "".join(said for _, said in [*tokens[:at], ("mark", mark), *tokens[at:]])
