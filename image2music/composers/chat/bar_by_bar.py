"""A tune that grows by a bar or two at a time: what a model is shown, which bars fit, and what rules write instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from image2music.abc.checker import read_motif
from image2music.abc.writer.parts import bars_to_abc
from image2music.abc.writer.text import note_name
from image2music.composers.base import ComposeRequest, WriteRequest, opening_abc
from image2music.composers.chat.answers import without_thinking
from image2music.composers.chat.manuscript import (
    OpenLine,
    bars_in,
    by_place,
    form_of,
    motif_lines,
    read_lines,
    to_abc,
    units_of,
)
from image2music.composers.chat.steps import signs_said
from image2music.composers.constrained.forms import Form
from image2music.composers.prompts import fill
from image2music.errors import AbcError
from image2music.music.lines import Bar, LineEvent
from image2music.music.planning.harmony import motif_chord_faults
from image2music.music.planning.plan import Motif, Plan, Section
from image2music.music.theory import Chord, read_chord, read_tonality, spelling

_MUSIC = re.compile(r"(?:![a-z<>()+]+!|[A-Ga-gzx0-9/,'^_=()\[\]{}<>.~|: -])+")
_NUMBERED = re.compile(r"^\W*\d+(?:\s*[-\u2013]\s*\d+)?[.:)\]\s]*(?:\[?V:?\s*\d+\]?)?|^\W*\[?V:\s*\d+\]?")
_DRESS = re.compile(r"(?m)^[ \t]*(?:```|~~~).*$|\*")
_FIELD = re.compile(r"\[[A-Za-z]:[^\]]*\]")
_NOTE = re.compile(r"(![^!]*!)|([A-Ga-g])([,']*)")
_NAME = re.compile(r"[_^=]*[A-Ga-g][,']*")
_SWELL = re.compile(r"!(?:crescendo|diminuendo|[<>])[()]!")
_WIDEST = 19
"""Semitones of the range that is shown: a tune is sung, it does not use all that an instrument has."""
_HELD = Fraction(1)
"""Quarter notes that the last note of a section lasts at least."""


@dataclass(frozen=True)
class Misfit:
    """What is wrong with a bar: `kind` is one of `_KINDS`."""

    kind: str
    what: str


def bar_misfit(plan: Plan, bar: int, text: str, low: int, high: int, *, held: bool = False) -> Misfit | None:
    """Return why a bar does not fit its place: not full, out of range, its last note too short, beside its chord."""
    try:
        notes = read_motif(text, plan.key, plan.meter)
    except AbcError as error:
        return Misfit("music", f"cannot be read: {error}")
    if any(not low <= note.pitch <= high for note in notes):
        return Misfit("range", "leaves the notes that were given")
    length = units_of(plan.meter) / 2
    if held and notes[-1].length < min(_HELD, length):
        return Misfit("held", "ends the part and its last note is too short")
    if motif_chord_faults(Motif(text, f"{plan.harmony[bar - 1]} |"), plan.key, plan.meter, read_motif):
        return Misfit("chord", f"has a note on a strong beat that is not in {plan.harmony[bar - 1]}")
    return None


def bars_of_answer(answer: str, plan: Plan, line: OpenLine) -> dict[int, str]:
    """Return the bars of a line as far as an answer holds them, whatever stands around them."""
    asked, words = list(line.bars), _DRESS.sub("", without_thinking(answer))
    numbered = read_lines(words, plan).bars
    found = {bar: _tidy(numbered[line.voice, bar]) for bar in asked if (line.voice, bar) in numbered}
    if found:
        return found
    for said in words.splitlines():
        music = _NUMBERED.sub("", said.strip("` \t>")).strip()
        if _MUSIC.fullmatch(music) and re.search("[A-Ga-g]", music) and ("|" in music or " " not in said.strip()):
            return {bar: _tidy(text) for bar, text in zip(asked, bars_in(music), strict=False)}
    return {}


def _tidy(text: str) -> str:
    """Return a bar that stands alone: no fields, ties, slurs or swells that lead out of it."""
    text = re.sub(r"-\s*$", "", _FIELD.sub("", text))
    if re.sub(r"\(\d", "", text).count("(") != text.count(")"):
        text = re.sub(r"\((?!\d)|\)", "", re.sub(_SWELL, "", text))
    if len(_SWELL.findall(text)) % 2:
        text = _SWELL.sub("", text)
    return " ".join(text.split()) if _MUSIC.fullmatch(text) and "|" not in text else ""


def how_to_write(plan: Plan, low: int, high: int) -> str:
    """Say how long a bar is, which letters there are, and which of them the key makes sharp or flat."""
    return fill(
        "small/how",
        units=str(units_of(plan.meter)),
        notes=InKey(plan).letters(range(low, high + 1)),
        signs=signs_said(plan.key),
    )


class InKey:
    """What rules write of a tune: notes in the key of a plan, in the range of the voice that begins."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        tonality = read_tonality(plan.key)
        self._classes = tonality.classes if tonality else frozenset(range(12))
        self._names = spelling(tonality.sharps if tonality else 0, bool(tonality and tonality.is_minor))

    @property
    def middle(self) -> tuple[int, int]:
        """The part of the first voice's range in which a tune lies well, with room above for the climax."""
        voice = self._plan.voices[0]
        room = max(0, voice.high - voice.low - _WIDEST)
        return voice.low + room // 2, min(voice.low + room // 2 + _WIDEST - 4, voice.high)

    def name(self, pitch: int) -> str:
        """Return a pitch as ABC writes it in this key."""
        return note_name(pitch, self._names, {})

    def letters(self, pitches: Sequence[int]) -> str:
        """Return the notes of the key among some pitches, as ABC writes them."""
        return " ".join(self.name(pitch) for pitch in pitches if pitch % 12 in self._classes)

    def chords_shown(self, bars: Sequence[int], low: int, high: int) -> str:
        """Return the chords of bars with their notes: `Bar 5: Bm7 (B d f a)`."""
        return "\n".join(
            f"Bar {bar}: " + ", then ".join(self._chord_shown(one, low, high) for one in self._chords(bar))
            for bar in bars
        )

    def _chord_shown(self, chord: Chord, low: int, high: int) -> str:
        tones = [pitch for pitch in range(low, high + 1) if pitch % 12 in chord.classes]
        return f"{chord.symbol} ({' '.join(self._in_chord(pitch, chord) for pitch in tones)})"

    def _in_chord(self, pitch: int, chord: Chord) -> str:
        """Return a note of a chord; where the key does not have it, with the letter that the chord gives it."""
        thirds = {(chord.root + tone) % 12: 2 * number for number, tone in enumerate(chord.tones[:4])}
        if pitch % 12 in self._classes or pitch % 12 not in thirds:
            return self.name(pitch)
        step = ("CDEFGAB".index(chord.symbol[0]) + thirds[pitch % 12]) % 7
        natural = (0, 2, 4, 5, 7, 9, 11)[step]
        sign = (pitch - natural + 6) % 12 - 6
        if abs(sign) > 1:
            return self.name(pitch)
        plain = note_name(pitch - sign, spelling(0, False), {})
        return ("=", "^", "_")[sign] + plain

    def _chords(self, bar: int) -> list[Chord]:
        return [read_chord(symbol) for symbol in self._plan.harmony[bar - 1].split()]

    def peak(self, bar: int, motif: str) -> int:
        """Return the pitch of the climax: a note of its chord, above the motif, no higher than it needs to be."""
        voice, (_, top) = self._plan.voices[0], self.middle
        with suppress(AbcError):  # without a motif the middle of the range will do
            top = max(note.pitch for note in read_motif(motif, self._plan.key, self._plan.meter))
        classes = self._chords(bar)[0].classes
        able = [pitch for pitch in range(voice.low, voice.high + 1) if pitch % 12 in classes]
        return next((pitch for pitch in able if pitch >= top + 3), max(able, default=voice.high))

    def placed(self, bars: Sequence[str]) -> tuple[str, ...]:
        """Return bars in an octave that the first voice can play; one that is not full holds its last note."""
        full = [text for text in map(self._filled, bars) if text]
        sung = [note.pitch for text in full for note in read_motif(text, self._plan.key, self._plan.meter)]
        voice = self._plan.voices[0]
        fits = [up for up in (0, 1, -1, 2, -2)
                if full and voice.low <= min(sung) + 12 * up and max(sung) + 12 * up <= voice.high]  # fmt: skip
        return tuple(shifted(text, fits[0] if fits else 0) for text in full)

    def _filled(self, text: str) -> str:
        """Return a bar whose last note is held to the end; nothing for what is no bar."""
        names = _NAME.findall(text)
        longer = [f"{text}-{names[-1]}{units}" for units in range(1, int(units_of(self._plan.meter)))] if names else []
        for one in (text, *longer):
            with suppress(AbcError):
                read_motif(one, self._plan.key, self._plan.meter)
                return one
        return ""

    def fitting(self, text: str, symbols: Sequence[str]) -> str:
        """Return the first of some chords that a bar fits; the first of all where it fits none."""
        key, meter = self._plan.key, self._plan.meter
        fits = (one for one in symbols if not motif_chord_faults(Motif(text, f"{one} |"), key, meter, read_motif))
        return next(fits, symbols[0])

    def by_rule(
        self,
        bar: int,
        low: int,
        high: int,
        *,
        before: int | None = None,
        rhythm: Sequence[Fraction] = (),
        held: bool = False,
    ) -> str:
        """Write a bar in notes of its chords, from near the pitch before, in a rhythm; `held` for one long note."""
        length = units_of(self._plan.meter) / 2
        chords = self._chords(bar)
        lengths = [length] if held else list(rhythm) or default_rhythm(length, self._plan.meter)
        pitch = (low + high) // 2 if before is None else before
        way, at = 1 if bar % 2 else -1, Fraction(0)
        events: list[LineEvent] = []
        for number, one in enumerate(lengths):
            chord = chords[min(int(at * len(chords) / length), len(chords) - 1)]
            tones = [p for p in range(low, high + 1) if p % 12 in chord.classes] or list(range(low, high + 1))
            if number == 0:
                pitch = min(tones, key=lambda p: (abs(p - pitch), p))
            else:
                beyond = [p for p in tones if (p - pitch) * way > 0]
                if not beyond:
                    way = -way
                    beyond = [p for p in tones if (p - pitch) * way > 0] or tones
                pitch = min(beyond, key=lambda p: (abs(p - pitch), p))
                way = -way if number % 3 == 2 else way
            events.append(LineEvent((pitch,), one))
            at += one
        return bars_to_abc(self._plan.key, self._plan.meter, [tuple(events)])[0]

    def upside_down(self, bars: Sequence[Bar]) -> list[str]:
        """Return bars with each step turned round about their first note; none where a note is not of the key."""
        scale = [pitch for pitch in range(128) if pitch % 12 in self._classes]
        sung = [pitch for bar in bars for event in bar for pitch in event.pitches]
        if not sung or any(pitch not in scale for pitch in sung):
            return []
        axis = 2 * scale.index(sung[0])
        turned = [
            tuple(
                LineEvent(
                    tuple(sorted(scale[axis - scale.index(pitch)] for pitch in event.pitches)),
                    event.length,
                    event.tied,
                    tuplet=event.tuplet,
                )
                for event in bar
            )
            for bar in bars
        ]
        return bars_to_abc(self._plan.key, self._plan.meter, turned)


def default_rhythm(length: Fraction, meter: str) -> list[Fraction]:
    """Return a plain rhythm of a bar, in quarter notes: long and short ones."""
    eighths = int(length * 2)
    if meter.endswith("/8") and eighths % 3 == 0:
        units = [2, 1] * (eighths // 3)
    elif eighths < 4 or eighths % 2:
        units = [2] * ((eighths - 3) // 2) + [3]
    else:
        units = [3, 1] + [2] * ((eighths - 4) // 2)
    return [Fraction(unit, 2) for unit in units]


def shifted(text: str, octaves: int) -> str:
    """Return a bar of ABC some octaves higher (or lower, below 0)."""

    def moved(found: re.Match[str]) -> str:
        mark, letter, signs = found.groups()
        if mark:
            return mark
        octave = octaves + letter.islower() + signs.count("'") - signs.count(",")
        return letter.lower() + "'" * (octave - 1) if octave > 0 else letter.upper() + "," * -octave

    return _NOTE.sub(moved, text) if octaves else text


# ---------------------------------------------------------------- the tune


class GrowingTune:
    """The voice that has the tune, bar after bar: the album's opening or the motif first, then what a model writes.

    A section that comes back begins with the bars that it began with before, as long as their chords are the same; what
    follows is written anew. The last bar of the tune is one long note.
    """

    def __init__(self, plan: Plan, opening: str = "") -> None:
        self.plan, self._key = plan, InKey(plan)
        self.bars: dict[tuple[int, int], str] = {}
        self.line = self._whole = OpenLine(1, 1, 1)
        self._found: dict[int, tuple[str, Misfit]] = {}
        placed = self._key.placed(bars_in(opening))
        self._motif = placed or self._key.placed(bars_in(plan.motif.abc) if plan.motif else ())
        try:
            self._motif_bars = motif_lines(plan)
        except AbcError:
            self._motif_bars = ()
        for bar, text in enumerate(self._motif[: plan.bars], 1):
            voice = plan.melody_at(bar)
            if placed or (voice and bar_misfit(plan, bar, text, *self._range(voice, bar)) is None):
                self.bars[voice or plan.voices[0].id, bar] = text

    def go_on(self) -> bool:
        """Go on to the next bars that a model is to write; return whether there are any."""
        for bar in range(1, self.plan.bars + 1):
            voice = self.plan.melody_at(bar)
            if not voice or (voice, bar) in self.bars or self.plan.role_at(voice, bar) == "rest":
                continue
            if old := self._old(bar):
                self.bars[voice, bar] = self.bars[voice, old]
            elif bar == self.plan.bars:
                self.bars[voice, bar] = self._by_rule(voice, bar, held=True)
            else:
                self.line = self._whole = OpenLine(voice, bar, bar + self._is_paired(voice, bar))
                self._found = {}
                return True
        return False

    def _old(self, bar: int) -> int:
        """Return the bar that comes back in this one: in the first half of a section that was there before; 0."""
        plan, voice, section = self.plan, self.plan.melody_at(bar), self.plan.section_at(bar)
        first = next(one for one in plan.sections if _letter(one.name) == _letter(section.name))
        old = first.first + bar - section.first
        is_back = old < section.first and 2 * (bar - section.first) < min(len(section.bars), len(first.bars))
        is_same = is_back and plan.harmony[old - 1] == plan.harmony[bar - 1] and (voice, old) in self.bars
        return old if is_same and not (plan.climax and plan.climax.bar in (old, bar)) else 0

    def _is_paired(self, voice: int, bar: int) -> bool:
        """Whether a bar and the next one are asked for together: two by two from the start of a section."""
        section, after = self.plan.section_at(bar), bar + 1
        is_open = (voice, after) not in self.bars and self.plan.melody_at(after) == voice and not self._old(after)
        return (bar - section.first) % 2 == 0 and after in section.bars and after < self.plan.bars and is_open

    def _range(self, voice: int, bar: int) -> tuple[int, int]:
        """Return the lowest and highest pitch of a bar: no note but the climax is as high as that."""
        one, climax = self.plan.voice(voice), self.plan.climax
        high = (
            one.high if climax is None else min(one.high, climax.pitch - (bar != climax.bar or voice != climax.voice))
        )
        return one.low, high if high - one.low >= _NARROWEST else one.high

    def _shown_range(self) -> tuple[int, int]:
        """Return what is shown of the range: as much as is sung, near the top of what is free."""
        ranges = [self._range(self.line.voice, bar) for bar in self.line.bars]
        high = max(high for _, high in ranges)
        return max(ranges[0][0], high - _WIDEST), high

    # ------------------------------------------------------------ what a model is shown

    def shown(self) -> dict[str, str]:
        """Return what is said of the bars that are asked for, by its place in the prompt."""
        plan, line, (low, high) = self.plan, self.line, self._shown_range()
        section = plan.section_at(line.first)
        chords = self._key.chords_shown(line.bars, low, high)
        after = f"\nThen comes {plan.harmony[line.last]}." if line.last < plan.bars else ""
        return {
            "key": plan.key,
            "meter": plan.meter,
            "qpm": f"{section.qpm:g}",
            "dynamic": section.dynamic,
            "section": section.name,
            "part": section.picture_part or plan.title,
            "motif": " | ".join(self._motif) or "none",
            "before": self._before(),
            "count": f"bar {line.first}" if line.first == line.last else f"bars {line.first} and {line.last}",
            "chords": chords + after,
            "how": how_to_write(plan, low, high),
            "advice": " ".join(self._advice(section)),
            "prefix": line.prefix.strip(),
        }

    def _before(self) -> str:
        first = self.line.first
        bars = [bar for bar in range(max(1, first - 2), first) if (self.plan.melody_at(bar), bar) in self.bars]
        if not bars:
            return "(nothing yet)"
        voice = self.plan.melody_at(bars[0])
        texts = [self.bars[self.plan.melody_at(bar), bar] for bar in bars]
        return OpenLine(voice, bars[0], bars[-1]).prefix + " | ".join(texts) + " |"

    def _advice(self, section: Section) -> list[str]:
        line, climax, said = self.line, self.plan.climax, []
        is_new = _letter(section.name) != _letter(self.plan.sections[0].name)
        if section.name == "coda":
            said.append("The piece comes to rest: fewer and longer notes.")
        elif is_new and line.first == section.first:
            said.append("A new part begins: find another rhythm than the motif's.")
            turned = self._key.upside_down(self._motif_bars) if "upside down" in section.new else []
            if turned:
                said.append(
                    f"The motif upside down is {' | '.join(turned)} ; take some of it, an octave higher or lower."
                )
        elif self._old(line.first - 1):
            said.append("The part came back; now go another way than it did before.")
        elif not is_new:
            said.append("Let the motif's rhythm be heard.")
        if climax is not None and climax.voice == line.voice and climax.bar in line.bars:
            name = self._key.name(climax.pitch)
            said.append(f"Bar {climax.bar} has the highest note of the piece, {name}, once.")
        if section.last in line.bars:
            said.append(
                f"Bar {section.last} ends the part: let its last note be long, a quarter note (2 units) at least."
            )
        return said

    # ------------------------------------------------------------ what it answers

    def grow(self, answer: str) -> str:
        """Take the bars of an answer that fit; return what is wrong with the first of the others."""
        read, wrong = bars_of_answer(answer, self.plan, self.line), []
        for bar in self.line.bars:
            text = read.get(bar, "")
            found = self._misfit(bar, text)
            if found is None:
                self.bars[self.line.voice, bar] = text
                continue
            before = self._found.get(bar)
            if before is None or _KINDS.index(found.kind) <= _KINDS.index(before[1].kind):
                self._found[bar] = text, found
            wrong.append(bar)
        if not wrong:
            return ""
        self.line = OpenLine(self.line.voice, wrong[0], wrong[-1])
        bar = wrong[0]
        return f"bar {bar} ({read[bar][:60]}) {self._found[bar][1].what}" if read.get(bar) else f"bar {bar} was missing"

    def _misfit(self, bar: int, text: str) -> Misfit | None:
        plan, voice, climax = self.plan, self.line.voice, self.plan.climax
        held = bar == plan.section_at(bar).last
        found = bar_misfit(plan, bar, text, *self._range(voice, bar), held=held)
        if found is None and climax is not None and (climax.bar, climax.voice) == (bar, voice):
            top = max(note.pitch for note in read_motif(text, plan.key, plan.meter))
            if top != climax.pitch:
                return Misfit("peak", f"does not reach {self._key.name(climax.pitch)}, the highest note of the piece")
        return found

    def fill(self) -> None:
        """Fill what is still open of the bars that were asked for: with what was nearly right, else by rule."""
        voice = self._whole.voice
        for bar in self._whole.bars:
            if (voice, bar) not in self.bars:
                self.bars[voice, bar] = self._nearly(bar) or self._by_rule(voice, bar, held=self._ends_part(bar))

    def _nearly(self, bar: int) -> str:
        """Return the bar as it was written where it is beside its chord, an octave away where that fits."""
        text, found = self._found.get(bar, ("", Misfit("music", "")))
        if found.kind == "chord":
            return text
        tried = [shifted(text, up) for up in (-1, 1, -2, 2)] if found.kind == "range" else []
        fits = [one for one in tried if (left := self._misfit(bar, one)) is None or left.kind == "chord"]
        return fits[0] if fits else ""

    def _ends_part(self, bar: int) -> bool:
        climax = self.plan.climax
        return bar == self.plan.section_at(bar).last and not (climax and climax.bar == bar)

    def _by_rule(self, voice: int, bar: int, *, held: bool) -> str:
        climax, (low, high) = self.plan.climax, self._range(voice, bar)
        is_peak = climax is not None and (climax.bar, climax.voice) == (bar, voice)
        before = climax.pitch if climax is not None and is_peak else self._last_pitch(bar - 1)
        rhythm: list[Fraction] = []
        if self._motif_bars:
            events = self._motif_bars[(bar - 1) % len(self._motif_bars)]
            rhythm = [] if any(event.length.denominator % 3 == 0 for event in events) else [e.length for e in events]
        return self._key.by_rule(bar, low, high, before=before, rhythm=rhythm, held=held)

    def _last_pitch(self, bar: int) -> int | None:
        text = self.bars.get((self.plan.melody_at(bar), bar)) if bar else None
        if text is None:
            return None
        notes = read_motif(text, self.plan.key, self.plan.meter)
        return notes[-1].pitch

    def abc(self, seed: int) -> str:
        """Return the whole tune; the voices that nobody wrote are the arranger's."""
        derived = frozenset(voice.id for voice in self.plan.voices if voice.derived)
        return to_abc(self.plan, self.bars, seed, derived=derived)


_KINDS = ("chord", "peak", "held", "range", "music")
"""What is wrong with a bar, the lesser faults first."""
_NARROWEST = 7


def _letter(name: str) -> str:
    return name.rstrip("'")


# ---------------------------------------------------------------- small questions


class SmallQuestion(NamedTuple):
    """What is asked next: a name that makes its seed its own, the words, and the form of the answer."""

    label: str
    text: str
    form: Form


class SmallDraft:
    """Something in the making for one request; `why` says what is wrong with the last answer."""

    def __init__(self, request: ComposeRequest, take: int) -> None:
        self.request, self.take, self.why = request, take, ""

    @property
    def remark(self) -> str:
        """What is said about the last answer."""
        return f"\nYour last answer could not be used: {self.why[:160]}. Write it anew." if self.why else ""


class TuneDraft(SmallDraft):
    """A tune in the making."""

    def __init__(self, one: WriteRequest) -> None:
        super().__init__(one.request, one.take)
        assert one.plan is not None
        self.one = one
        self.tune = GrowingTune(by_place(one.plan), opening_abc(one.request.album) if one.request.album else "")

    def ask_bars(self) -> SmallQuestion:
        """Ask for the bars that come next."""
        line = self.tune.line
        text = fill("small/bars", **self.tune.shown(), remark=self.remark)
        return SmallQuestion(f"bars {line.first}", text, form_of(self.tune.plan, [line]))

    def take_bars(self, answer: str) -> str:
        """Take the bars that fit; say what is wrong with the others."""
        return self.tune.grow(answer)
