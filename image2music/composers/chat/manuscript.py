"""A tune in the making, as text: bars that a model wrote, line by line, set into the score that its plan asks for.

The model writes bars; header, programs, comments, chords, tempo and loudness marks, silent bars and the order of lines
are written by code, so that no model has to count them. Voices are named by their place in the plan, from 1, as `V:`
names them in the tune.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from image2music.abc.checker import read_motif
from image2music.abc.playback import abc_to_score
from image2music.abc.writer.excerpt import with_mark
from image2music.abc.writer.parts import bars_to_abc
from image2music.abc.writer.text import field_text
from image2music.composers.chat.answers import without_thinking
from image2music.composers.constrained.forms import BarsOfLine, LinesForm
from image2music.errors import AbcError, PlanError
from image2music.music.arrange.arranger import arrange_plan
from image2music.music.arrange.stage import bar_shape
from image2music.music.grid import tempo_text
from image2music.music.lines import Bar, bars_of_score
from image2music.music.planning.plan import BASS_ROLES, LINE_ROLES, Plan, pitch_name
from image2music.music.theory import DRUM_CHANNEL, TICKS_PER_QUARTER

Bars = Mapping[tuple[int, int], str]
"""The text of a bar, without bar lines, by (place of the voice, number of the bar), both from 1."""

BARS_A_SYSTEM = 4
_BASS_BELOW = 55
_LINE = re.compile(r"^\W*(?:bars?\s+)?(\d+)(?:\s*[-\u2013]\s*(\d+))?\W*V:?\s*(\d+)\s*\]?[ :*]*(.*)$")
_BACKWARDS = re.compile(r"^\W*V:?\s*(\d+)\s*\]?\W*(\d+)(?:\s*[-\u2013]\s*(\d+))?[ :]+(?=[^\d/])(.*)$")
_SILENT = re.compile(r"[zx\d/ ]*")
_PLACEHOLDER = "?"


@dataclass(frozen=True)
class OpenLine:
    """Bars `first` to `last` of a voice, which a model is to write."""

    voice: int
    first: int
    last: int

    @property
    def bars(self) -> range:
        """The numbers of its bars."""
        return range(self.first, self.last + 1)

    @property
    def prefix(self) -> str:
        """What the line begins with: `5-8 [V:2] `."""
        span = f"{self.first}-{self.last}" if self.last > self.first else str(self.first)
        return f"{span} [V:{self.voice}] "


def systems(plan: Plan) -> Iterator[tuple[int, int]]:
    """Yield first and last bar of each system: four bars, fewer where a section ends."""
    for section in plan.sections:
        for first in range(section.first, section.last + 1, BARS_A_SYSTEM):
            yield first, min(first + BARS_A_SYSTEM - 1, section.last)


def units_of(meter: str) -> Fraction:
    """Return the length of a bar in eighths."""
    number, _, unit = meter.partition("/")
    return Fraction(8 * int(number), int(unit))


def by_place(plan: Plan) -> Plan:
    """Return the plan with voices numbered by their places, so that a voice has one name in plan and tune."""
    place = {voice.id: at for at, voice in enumerate(plan.voices, 1)}
    if all(id == at for id, at in place.items()):
        return plan
    sections = tuple(
        replace(section, parts=tuple(replace(part, voice=place[part.voice]) for part in section.parts
                                     if part.voice in place))
        for section in plan.sections
    )  # fmt: skip
    device, climax = plan.device, plan.climax
    return replace(
        plan,
        voices=tuple(replace(voice, id=place[voice.id]) for voice in plan.voices),
        sections=sections,
        melody=tuple(place.get(voice, 0) for voice in plan.melody),
        device=device and replace(device, voices=tuple(place[v] for v in device.voices if v in place)),
        climax=climax and replace(climax, voice=place.get(climax.voice, 1)),
        silences=tuple(replace(one, voice=place[one.voice]) for one in plan.silences if one.voice in place),
    )


# ---------------------------------------------------------------- what is to be written


def carrying_lines(plan: Plan) -> list[OpenLine]:
    """Return the lines that carry a tune: who has it, system by system, then the bass."""
    tune = [
        OpenLine(voice.id, first, last)
        for first, last in systems(plan)
        for voice in plan.voices
        if any(plan.melody_at(bar) == voice.id for bar in range(first, last + 1))
    ]
    low = plan.voices[-1].id
    taken = {(line.voice, line.first) for line in tune}
    bass = [
        OpenLine(low, first, last)
        for first, last in systems(plan)
        if (low, first) not in taken and any(plan.role_at(low, bar) == "bass" for bar in range(first, last + 1))
    ]
    return tune + bass


def sung_lines(plan: Plan) -> list[OpenLine]:
    """Return the lines of a tune whose figures are set by rule: the tune, counter-lines and answers, then the bass."""
    carried = carrying_lines(plan)
    there = {(line.voice, line.first) for line in carried}
    others = [
        OpenLine(voice.id, first, last)
        for first, last in systems(plan)
        for voice in plan.voices
        if (voice.id, first) not in there
        and any(plan.role_at(voice.id, bar) in LINE_ROLES - {"double", "parallel"} for bar in range(first, last + 1))
    ]
    low = plan.voices[-1].id
    return [
        *(line for line in carried if line.voice != low),
        *others,
        *(line for line in carried if line.voice == low),
    ]


def open_lines(plan: Plan, bars: Bars) -> list[OpenLine]:
    """Return the lines in which a voice that plays has a bar that nobody wrote, system by system.

    Drums are left to the arranger: in ABC their notes are pitches that only stand for drums.
    """
    return [
        OpenLine(voice.id, first, last)
        for first, last in systems(plan)
        for voice in plan.voices
        if any(
            _is_open(plan, bars, voice.id, bar) and plan.role_at(voice.id, bar) != "drums"
            for bar in range(first, last + 1)
        )
    ]


def _is_open(plan: Plan, bars: Bars, voice: int, bar: int) -> bool:
    return (voice, bar) not in bars and plan.role_at(voice, bar) != "rest"


def form_of(plan: Plan, lines: Sequence[OpenLine]) -> LinesForm:
    """Return the form that an answer with these lines has."""
    return LinesForm(plan.meter, tuple(BarsOfLine(line.prefix, len(line.bars)) for line in lines))


def blank_lines(lines: Sequence[OpenLine]) -> str:
    """Return the lines with a place for each bar: `5-8 [V:2] ... | ... |`, those of one voice below each other."""
    return "\n".join(line.prefix + " ".join(["... |"] * len(line.bars)) for line in lines)


def overview(plan: Plan) -> str:
    """Return the plan bar by bar: `1-4 A (mp, 66): D | Bm7 | G/B A | D - tune: 2 Flute`."""
    rows = []
    for first, last in systems(plan):
        section = plan.section_at(first)
        chords = " | ".join(plan.harmony[first - 1 : last])
        tune = _runs_of_tune(plan, first, last)
        rows.append(f"{first}-{last} {section.name} ({section.dynamic}, {section.qpm:g}): {chords} - tune: {tune}")
    ranges = "; ".join(f"{v.id} {v.name} {pitch_name(v.low)}-{pitch_name(v.high)}" for v in plan.voices)
    shared = f" Of two chords in a bar the second begins after {_half(plan.meter)} units of the bar."
    is_shared = any(" " in chords.strip() for chords in plan.harmony)
    return "\n".join([*rows, f"Voices: {ranges}.{shared if is_shared else ''}"])


def _half(meter: str) -> Fraction:
    """Return where the second of two chords begins, in eighths."""
    return Fraction(2 * bar_shape(meter).second_chord, TICKS_PER_QUARTER)


def _runs_of_tune(plan: Plan, first: int, last: int) -> str:
    runs = []
    for voice, group in itertools.groupby(range(first, last + 1), plan.melody_at):
        bars = list(group)
        where = "" if len(bars) == last - first + 1 else f" in {bars[0]}-{bars[-1]}"
        runs.append(f"{voice} {plan.voice(voice).name}{where}" if voice else f"nobody{where}")
    return ", ".join(runs)


# ---------------------------------------------------------------- what was written


@dataclass(frozen=True)
class ReadLines:
    """Bars read from an answer, and what could not be taken, each in one line of plain English."""

    bars: dict[tuple[int, int], str]
    remarks: tuple[str, ...] = ()


def read_lines(answer: str, plan: Plan) -> ReadLines:
    """Read lines such as `5-8 [V:2] A2 B2 | c4 | ... |`, whatever stands around them.

    A line with more bars than it says loses the last ones, one with fewer leaves the last ones open.
    """
    bars: dict[tuple[int, int], str] = {}
    remarks: list[str] = []
    for text in without_thinking(answer).splitlines():
        if (found := _LINE.match(text)) is not None:
            first, last, voice, music = found.groups()
        elif (found := _BACKWARDS.match(text)) is not None:
            voice, first, last, music = found.groups()
        else:
            continue
        if _PLACEHOLDER in music or "..." in music:
            continue
        start, end, place = int(first), int(last or first), int(voice)
        if not (1 <= place <= len(plan.voices) and 1 <= start <= end <= plan.bars):
            remarks.append(f"{text.strip()[:30]!r} names no bars or voice of the plan")
            continue
        written = bars_in(music)
        if len(written) != end - start + 1:
            remarks.append(f"{first}-{end} [V:{place}] had {len(written)} bars, not {end - start + 1}")
        for bar, one in zip(range(start, end + 1), written, strict=False):
            bars[place, bar] = one
    return ReadLines(bars, tuple(remarks))


def bars_in(music: str) -> list[str]:
    """Return the bars of a line of ABC, without bar lines; marks of loudness and tempo are left out, code sets them."""
    music = re.sub(r"\[Q:[^\]]*\]|!(?:p{1,4}|m[pf]|f{1,4})!|\"[^\"]*\"", "", music.replace("`", ""))
    parts = [re.sub(r"^[:\]\s]+|[:\[\s]+$", "", part) for part in music.split("|")]
    return [" ".join(part.split()) for part in parts if part.strip()]


def payoff_bars(shape: Mapping[str, object], plan: Plan) -> dict[tuple[int, int], str]:
    """Return the bars of the payoff that a plan's answer wrote out, as far as they can be played in the plan's meter.

    `shape` is by voice number, as the model knows its voices; the plan numbers them by place.
    """
    if plan.device is None:
        return {}
    found: dict[tuple[int, int], str] = {}
    for voice, text in shape.items():
        digits = re.sub(r"\D", "", str(voice))
        if not digits or not isinstance(text, str) or not 1 <= int(digits) <= len(plan.voices):
            continue
        for bar, music in enumerate(bars_in(text), plan.device.payoff_bar):
            if bar <= plan.bars and _is_full(music, plan):
                found[int(digits), bar] = music
    return found


def _is_full(music: str, plan: Plan) -> bool:
    try:
        read_motif(music, plan.key, plan.meter)
    except AbcError as error:
        return error.reason == "no_music"
    return True


def sounding(bars: Bars, plan: Plan) -> dict[tuple[int, int], str]:
    """Leave out silent bars in which the plan wants the voice to play something else than the tune or the bass."""
    return {
        (voice, bar): text
        for (voice, bar), text in bars.items()
        if not _SILENT.fullmatch(text)
        or plan.melody_at(bar) == voice
        or plan.role_at(voice, bar) in BASS_ROLES | {"rest"}
    }


# ---------------------------------------------------------------- the score


def score_so_far(plan: Plan, bars: Bars) -> str:
    """Return the written lines system by system, with chords and section, and with `?` and the part's work where open.

    Silent lines are left out.
    """
    rows = []
    for first, last in systems(plan):
        section = plan.section_at(first)
        numbers = range(first, last + 1)
        rows.append(f"% bars {first}-{last}, {section.name}: " + " | ".join(plan.harmony[first - 1 : last]))
        for voice in plan.voices:
            texts = [bars.get((voice.id, bar), "") for bar in numbers]
            roles = [plan.role_at(voice.id, bar) for bar in numbers]
            if all(not text and role == "rest" for text, role in zip(texts, roles, strict=True)):
                continue
            shown = [text or (_rest(plan) if role == "rest" else _PLACEHOLDER)
                     for text, role in zip(texts, roles, strict=True)]  # fmt: skip
            part = section.part_of(voice.id)
            work = " ".join(filter(None, [part.role, part.family or "", part.degrees]))
            note = f" {voice.name}: {work}" if _PLACEHOLDER in shown else ""
            rows.append(f"[V:{voice.id}] " + " | ".join(shown) + " |" + note)
    return "\n".join(rows)


def to_abc(plan: Plan, bars: Bars, seed: int, *, derived: frozenset[int] = frozenset()) -> str:
    """Return the whole tune. Bars that nobody wrote and in which a voice plays are filled by the arranger's rules.

    `derived` are the voices that are wholly written by rule.
    """
    filled = dict(bars) | _arranged(plan, bars, seed)
    header = ["X:1", f"T:{field_text(plan.title) or 'Untitled'}"]
    if derived:
        named = ", ".join(f"{voice} ({field_text(plan.voice(voice).name)})" for voice in sorted(derived))
        header.append(f"N:derived by rule: voices {named}")
    header += [f"M:{plan.meter}", "L:1/8", f"Q:{tempo_text(plan.qpm)}", f"K:{plan.key}"]
    drums = {part.voice for section in plan.sections for part in section.parts if part.role == "drums"}
    for voice in plan.voices:
        low = (voice.low + voice.high) / 2 < _BASS_BELOW
        clef = "perc" if voice.id in drums else "bass" if low else "treble"
        name = field_text(voice.name.replace('"', "")) or f"program {voice.program}"
        program = f"%%MIDI channel {DRUM_CHANNEL + 1}" if voice.id in drums else f"%%MIDI program {voice.program}"
        header += [f'V:{voice.id} clef={clef} name="{name}"', program]
    marked = _marked(plan, filled)
    rows = []
    for first, last in systems(plan):
        section = plan.section_at(first)
        rows.append(f"% {field_text(section.name)}, bars {first}-{last}: " + " | ".join(plan.harmony[first - 1 : last]))
        end = " |]" if last == plan.bars else " |"
        for voice in plan.voices:
            rows.append(f"[V:{voice.id}] " + " | ".join(marked[voice.id, bar] for bar in range(first, last + 1)) + end)
    return "\n".join([*header, *rows]) + "\n"


def _rest(plan: Plan) -> str:
    return f"z{units_of(plan.meter)}" if units_of(plan.meter) != 1 else "z"


def _marked(plan: Plan, bars: Bars) -> dict[tuple[int, int], str]:
    """Put rests into empty bars, each section's loudness before a voice's first note in it, and tempos into voice 1."""
    texts = {}
    for number, voice in enumerate(plan.voices):
        for at, section in enumerate(plan.sections):
            mark: str | None = f"!{section.dynamic}!"
            for bar in section.bars:
                text = bars.get((voice.id, bar)) or _rest(plan)
                marked = with_mark(text, mark) if mark else text
                mark = None if marked != text or "!" + section.dynamic + "!" in text else mark
                if number == 0 and bar == section.first and at and section.qpm != plan.sections[at - 1].qpm:
                    marked = f"[Q:{tempo_text(section.qpm)}] {marked}"
                texts[voice.id, bar] = marked
    return texts


def _arranged(plan: Plan, bars: Bars, seed: int) -> dict[tuple[int, int], str]:
    """Return the bars that the arranger sets for those that are open."""
    missing = [
        (voice.id, bar)
        for voice in plan.voices
        for bar in range(1, plan.bars + 1)
        if _is_open(plan, bars, voice.id, bar)
    ]
    if not missing:
        return {}
    try:
        written = _as_lines(plan, bars)
        motif = motif_lines(plan)
        lines = {line.voice: line for line in arrange_plan(plan, written, seed, motif=motif)}
    except (AbcError, PlanError):
        return {}  # what cannot be played yet goes to the checker, with silence in the open places
    texts = {voice: bars_to_abc(plan.key, plan.meter, lines[voice].bars) for voice in {one for one, _ in missing}}
    return {(voice, bar): texts[voice][bar - 1] for voice, bar in missing}


def _as_lines(plan: Plan, bars: Bars) -> dict[int, list[Bar | None]]:
    lines: dict[int, list[Bar | None]] = {}
    for voice in plan.voices:
        texts = [bars.get((voice.id, bar)) for bar in range(1, plan.bars + 1)]
        if not any(texts):
            continue
        body = " | ".join(text or _rest(plan) for text in texts)
        score = abc_to_score(f"X:1\nT:x\nM:{plan.meter}\nL:1/8\nK:{plan.key}\n{body} |]\n")
        played = bars_of_score(score, 0, plan.meter, plan.bars) if score.tracks else [()] * plan.bars
        lines[voice.id] = [
            bar if text or plan.role_at(voice.id, at) == "rest" else None
            for at, (text, bar) in enumerate(zip(texts, played, strict=True), 1)
        ]
    return lines


def motif_lines(plan: Plan) -> tuple[Bar, ...]:
    """Return the bars of a plan's motif; none where it has none.

    Raises:
        AbcError: it cannot be read.
    """
    if plan.motif is None or not plan.motif.abc:
        return ()
    bars = bars_in(plan.motif.abc)
    score = abc_to_score(f"X:1\nT:x\nM:{plan.meter}\nL:1/8\nK:{plan.key}\n{' | '.join(bars)} |]\n")
    return bars_of_score(score, 0, plan.meter, len(bars)) if score.tracks else ()
