"""The plan of a tune: form, harmony, voices, motif and the places that matter, before a note is written.

A `Plan` has one JSON form, which models answer, people write and rows store; `PLAN_SCHEMA` is its JSON Schema and
`plan_of_json` reads it. Whether a plan can be played is another question: see `checks`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, cast, get_args

from image2music.errors import PlanError

Role = Literal[
    "melody", "bass", "figure", "bass+figure", "counter", "answer", "parallel", "double", "hold", "drums", "rest"
]
"""What a voice does in a section.

melody: has the tune. bass: the plan's basses. figure: a pattern in chord degrees; bass+figure: both in one voice.
counter: a line against the tune. answer: moves where the tune holds. parallel: the tune's rhythm in thirds and sixths.
double: the tune an octave away. hold: long tones. drums: a beat. rest: silence.
"""
Family = Literal[
    "wave", "broken", "alberti", "waltz", "offbeat", "pulse", "pad", "ostinato", "tremolo", "chorale", "arpeggio",
    "pizzicato", "drums",
]  # fmt: skip
"""The kinds of accompaniment figures."""
Swell = Literal["none", "grow", "fade"]
Cadence = Literal["full", "half", "plagal", "deceptive", "open"]
"""half: ends on V; full: V then I; plagal: IV then I; deceptive: V then vi; open: stays away from I."""
Dynamic = Literal["pp", "p", "mp", "mf", "f", "ff"]

ROLES: tuple[Role, ...] = get_args(Role)
FAMILIES: tuple[Family, ...] = get_args(Family)
SWELLS: tuple[Swell, ...] = get_args(Swell)
CADENCES: tuple[Cadence, ...] = get_args(Cadence)
DYNAMICS: tuple[Dynamic, ...] = get_args(Dynamic)
LINE_ROLES: frozenset[Role] = frozenset({"counter", "answer", "parallel", "double"})
FIGURE_ROLES: frozenset[Role] = frozenset({"figure", "bass+figure"})
BASS_ROLES: frozenset[Role] = frozenset({"bass", "bass+figure"})


@dataclass(frozen=True, slots=True)
class PlannedVoice:
    """A voice: `program` is General MIDI from 0, `low` and `high` MIDI pitches.

    `role` is what it does most of the time (`melody` for every voice that has the tune); `derived` tells that the
    arranger writes it by rule.
    """

    id: int
    name: str
    program: int
    low: int
    high: int
    role: Role = "hold"
    derived: bool = False


@dataclass(frozen=True, slots=True)
class VoicePart:
    """What one voice does in one section. `family` and `degrees` (chord degrees, `1 5 8 10`) belong to figures."""

    voice: int
    role: Role
    family: Family | None = None
    degrees: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Bars `first` to `last` (from 1, inclusive) at `qpm` quarter notes a minute, with a part for every voice."""

    name: str
    first: int
    last: int
    picture_part: str
    qpm: float
    dynamic: Dynamic
    swell: Swell
    cadence: Cadence
    parts: tuple[VoicePart, ...]
    rhythm: str = ""
    new: str = ""

    def part_of(self, voice: int) -> VoicePart:
        """Return what a voice does here; it rests where the plan says nothing."""
        return next((part for part in self.parts if part.voice == voice), VoicePart(voice, "rest"))

    def role_of(self, voice: int) -> Role:
        """Return the role of a voice here."""
        return self.part_of(voice).role

    @property
    def bars(self) -> range:
        """The numbers of its bars."""
        return range(self.first, self.last + 1)


@dataclass(frozen=True, slots=True)
class Device:
    """What the tune is built around: `what`, the bar where it pays off, the voices that take part."""

    what: str
    payoff_bar: int
    voices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Motif:
    """One or two bars of ABC at L:1/8 in the plan's key and meter, and the chords under them, a bar each."""

    abc: str
    chords: str


@dataclass(frozen=True, slots=True)
class Climax:
    """The highest note: `pitch` is a MIDI number, and every other note of any voice lies below it."""

    bar: int
    voice: int
    pitch: int


@dataclass(frozen=True, slots=True)
class Surprise:
    """The one event that a listener doesn't expect."""

    bar: int
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Bars `first` to `last` in which a voice is silent, whatever its section says."""

    voice: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """What a tune is to be.

    `key` is written as in ABC (`D`, `F#m`, `Ddor`), `meter` as `3/4`. `harmony` has a text of one or two chord symbols
    for every bar (`"G/B C"`). `melody` names, bar by bar, the voice that has the tune (0 for none). `free_bars` are
    those where dissonance is meant. `voices` stand highest first; the last one has the bass. `length_s` is how many
    seconds the tune lasts, to the sample, where that was asked for; its tempo then follows from its bars. One that is
    to `loop` leads from its last bar back into its first.
    """

    title: str
    idea: str
    key: str
    meter: str
    bars: int
    voices: tuple[PlannedVoice, ...]
    sections: tuple[Section, ...]
    harmony: tuple[str, ...]
    melody: tuple[int, ...] = ()
    motif: Motif | None = None
    device: Device | None = None
    surprise: Surprise | None = None
    climax: Climax | None = None
    silences: tuple[Silence, ...] = ()
    free_bars: tuple[int, ...] = ()
    ending: str = ""
    style: str = ""
    length_s: float | None = None
    loop: bool = False

    @cached_property
    def _section_of_bar(self) -> dict[int, Section]:
        return {bar: section for section in reversed(self.sections) for bar in section.bars}

    def section_at(self, bar: int) -> Section:
        """Return the section of a bar (from 1); beyond the last one, the last one."""
        return self._section_of_bar.get(bar, self.sections[-1])

    def role_at(self, voice: int, bar: int) -> Role:
        """Return what a voice does in a bar: `melody` where `melody` names it, `rest` in its silences."""
        if any(s.voice == voice and s.first <= bar <= s.last for s in self.silences):
            return "rest"
        if self.melody_at(bar) == voice:
            return "melody"
        return self.section_at(bar).role_of(voice)

    def melody_at(self, bar: int) -> int:
        """Return the voice that has the tune in a bar: as `melody` says, else the section's first with that role; 0."""
        if self.melody:
            return self.melody[bar - 1] if bar <= len(self.melody) else 0
        section = self.section_at(bar)
        return next((voice.id for voice in self.voices if section.role_of(voice.id) == "melody"), 0)

    def voice(self, id: int) -> PlannedVoice:
        """Return the voice of an id; KeyError where there is none."""
        for voice in self.voices:
            if voice.id == id:
                return voice
        raise KeyError(id)

    def place_of(self, voice: int) -> int:
        """Return the place of a voice in the tune, from 1: what `V:` calls it. 0 for one that the plan doesn't have."""
        return next((place for place, one in enumerate(self.voices, 1) if one.id == voice), 0)

    @property
    def qpm(self) -> float:
        """The tempo at the start."""
        return self.sections[0].qpm


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """Return the JSON form: bars as `3-10`, roles and figures by voice id, harmony by bar number, pitches as names."""
    shape: dict[str, Any] = {"title": plan.title, "idea": plan.idea}
    if plan.device is not None:
        device = plan.device
        shape["device"] = {"what": device.what, "payoff_bar": device.payoff_bar, "voices": list(device.voices)}
    shape |= {"key": plan.key, "meter": plan.meter, "bars": plan.bars}
    if plan.style:
        shape["style"] = plan.style
    shape["voices"] = [
        {"id": v.id, "name": v.name, "program": v.program, "low": pitch_name(v.low), "high": pitch_name(v.high),
         "role": v.role, "derived": v.derived}
        for v in plan.voices
    ]  # fmt: skip
    shape["sections"] = [_section_as_json(section) for section in plan.sections]
    shape["harmony"] = {str(bar): chords for bar, chords in enumerate(plan.harmony, 1)}
    if plan.melody:
        shape["melody"] = {_span(first, last): voice for first, last, voice in _runs(plan.melody)}
    if plan.motif is not None:
        shape["motif"] = {"chords": plan.motif.chords, "abc": plan.motif.abc}
    if plan.surprise is not None:
        shape["surprise"] = {"bar": plan.surprise.bar, "what": plan.surprise.what, "why": plan.surprise.why}
    if plan.climax is not None:
        climax = plan.climax
        shape["climax"] = {"bar": climax.bar, "voice": climax.voice, "note": pitch_name(climax.pitch)}
    if plan.silences:
        shape["silences"] = [{"voice": s.voice, "bars": _span(s.first, s.last)} for s in plan.silences]
    timed = ({"length_s": plan.length_s} if plan.length_s else {}) | ({"loop": True} if plan.loop else {})
    return shape | {"free_bars": list(plan.free_bars), "ending": plan.ending} | timed


def _section_as_json(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "bars": _span(section.first, section.last),
        "picture_part": section.picture_part,
        "qpm": section.qpm,
        "dynamic": section.dynamic,
        "swell": section.swell,
        "roles": {str(part.voice): part.role for part in section.parts},
        "figures": {
            str(part.voice): ({} if part.family is None else {"family": part.family}) | {"degrees": part.degrees}
            for part in section.parts
            if part.family is not None or part.degrees
        },
        "rhythm": section.rhythm,
        "new": section.new,
        "cadence": section.cadence,
    }


def plan_of_json(shape: object) -> Plan:
    """Read the JSON form of a plan, as a model, a person or a row has written it.

    Lenient about spelling (numbers as text, ranges with a dash, pitches as `D5`, as ABC or as numbers, harmony as a
    list or by number, unknown keys), strict about meaning. What is plainly missing gets a plain value: no motif, no
    swell, `open`.

    Raises:
        PlanError: `bad_plan`, with the place and what is expected there.
    """
    return _Reader().plan(_object(shape, "plan"))


class _Reader:
    """Reads one plan; every method raises PlanError with the place it was reading."""

    def plan(self, shape: Mapping[str, Any]) -> Plan:
        voices = self.voices(shape.get("voices"))
        sections = tuple(self.section(s, n) for n, s in enumerate(_list(shape.get("sections"), "sections"), 1))
        if not sections:
            raise _bad("sections", "at least one section")
        bars = _int(shape.get("bars", sections[-1].last), "bars")
        if not 1 <= bars <= MOST_BARS:
            raise _bad("bars", f"a number from 1 to {MOST_BARS}")
        plan = Plan(
            title=_text(shape.get("title")),
            idea=_text(shape.get("idea")),
            key=_text(shape.get("key")) or "C",
            meter=_text(shape.get("meter")) or "4/4",
            bars=bars,
            voices=voices,
            sections=sections,
            harmony=self.harmony(shape.get("harmony"), bars),
            melody=self.melody(shape.get("melody"), bars),
            motif=self.motif(shape.get("motif")),
            device=self.device(shape.get("device")),
            surprise=self.surprise(shape.get("surprise")),
            climax=self.climax(shape.get("climax")),
            silences=tuple(self.silence(one) for one in _list(shape.get("silences") or [], "silences")),
            free_bars=tuple(_int(bar, "free_bars") for bar in _list(shape.get("free_bars") or [], "free_bars")),
            ending=_text(shape.get("ending")),
            style=_text(shape.get("style")),
            length_s=None if shape.get("length_s") is None else _float(shape["length_s"], "length_s"),
            loop=bool(shape.get("loop", False)),
        )
        return with_main_roles(plan)

    def voices(self, shape: object) -> tuple[PlannedVoice, ...]:
        voices = []
        for number, one in enumerate(_list(shape, "voices"), 1):
            place = f"voices[{number}]"
            one = _object(one, place)
            voices.append(
                PlannedVoice(
                    id=_int(one.get("id", number), f"{place}.id"),
                    name=_text(one.get("name")) or f"Voice {number}",
                    program=_int(one.get("program", 0), f"{place}.program"),
                    low=_pitch(one.get("low", 0), f"{place}.low"),
                    high=_pitch(one.get("high", 127), f"{place}.high"),
                    derived=bool(one.get("derived", False)),
                )
            )
        if not voices:
            raise _bad("voices", "at least one voice")
        if len({voice.id for voice in voices}) < len(voices):
            raise _bad("voices", "an id of its own for each voice")
        return tuple(voices)

    def section(self, shape: object, number: int) -> Section:
        place = f"sections[{number}]"
        one = _object(shape, place)
        first, last = _bars(one.get("bars"), f"{place}.bars")
        roles = _object(one.get("roles") or {}, f"{place}.roles")
        figures = _object(one.get("figures") or {}, f"{place}.figures")
        parts = []
        for voice, role in roles.items():
            figure = _object(figures.get(voice) or {}, f"{place}.figures.{voice}")
            family = figure.get("family")
            parts.append(
                VoicePart(
                    voice=_int(voice, f"{place}.roles"),
                    role=cast(Role, _one_of(role, ROLES, f"{place}.roles.{voice}")),
                    family=None
                    if family is None
                    else cast(Family, _one_of(family, FAMILIES, f"{place}.figures.{voice}.family")),
                    degrees=_text(figure.get("degrees")),
                )
            )
        return Section(
            name=_text(one.get("name")) or str(number),
            first=first,
            last=last,
            picture_part=_text(one.get("picture_part")),
            qpm=_float(one.get("qpm", 90), f"{place}.qpm"),
            dynamic=cast(Dynamic, _one_of(one.get("dynamic"), DYNAMICS, f"{place}.dynamic", "mf")),
            swell=cast(Swell, _one_of(one.get("swell"), SWELLS, f"{place}.swell", "none")),
            cadence=cast(Cadence, _one_of(one.get("cadence"), CADENCES, f"{place}.cadence", "open")),
            parts=tuple(parts),
            rhythm=_text(one.get("rhythm")),
            new=_text(one.get("new")),
        )

    def harmony(self, shape: object, bars: int) -> tuple[str, ...]:
        """One text a bar; a missing bar keeps the empty text, which the checks name."""
        if isinstance(shape, Mapping):
            texts = [""] * max([bars, *(_int(bar, "harmony") for bar in shape)])
            for bar, chords in shape.items():
                if (number := _int(bar, "harmony")) < 1:
                    raise _bad("harmony", "bars from 1 on")
                texts[number - 1] = _text(chords)
            return tuple(texts[:MOST_BARS])
        return tuple(_text(chords) for chords in _list(shape, "harmony"))[:MOST_BARS]

    def melody(self, shape: object, bars: int) -> tuple[int, ...]:
        if not shape:
            return ()
        if isinstance(shape, Mapping):
            by_bar = [0] * bars
            for span, voice in shape.items():
                first, last = _bars(span, "melody")
                for bar in range(first, min(last, bars) + 1):
                    by_bar[bar - 1] = _int(voice, f"melody.{span}")
            return tuple(by_bar)
        return tuple(_int(voice, "melody") for voice in _list(shape, "melody"))[:bars]

    def motif(self, shape: object) -> Motif | None:
        if not shape:
            return None
        one = _object(shape, "motif")
        return Motif(abc=_text(one.get("abc")), chords=_text(one.get("chords")))

    def device(self, shape: object) -> Device | None:
        if not shape:
            return None
        one = _object(shape, "device")
        voices = tuple(_int(voice, "device.voices") for voice in _list(one.get("voices") or [], "device.voices"))
        return Device(_text(one.get("what")), _int(one.get("payoff_bar", 1), "device.payoff_bar"), voices)

    def surprise(self, shape: object) -> Surprise | None:
        if not shape:
            return None
        one = _object(shape, "surprise")
        return Surprise(_int(one.get("bar", 1), "surprise.bar"), _text(one.get("what")), _text(one.get("why")))

    def climax(self, shape: object) -> Climax | None:
        if not shape:
            return None
        one = _object(shape, "climax")
        pitch = one["pitch"] if "pitch" in one else one.get("note")
        return Climax(
            _int(one.get("bar"), "climax.bar"), _int(one.get("voice"), "climax.voice"), _pitch(pitch, "climax.note")
        )

    def silence(self, shape: object) -> Silence:
        one = _object(shape, "silences")
        first, last = _bars(one.get("bars"), "silences.bars")
        return Silence(_int(one.get("voice"), "silences.voice"), first, last)


MOST_BARS = 400
"""More bars than any tune for a picture has; a plan beyond is a mistake."""


def with_main_roles(plan: Plan) -> Plan:
    """Set `role` of each voice: `melody` if it ever has the tune, else that of most bars but rests."""
    voices = []
    for voice in plan.voices:
        bars = Counter(plan.role_at(voice.id, bar) for bar in range(1, plan.bars + 1))
        del bars["rest"]
        main: Role = "melody" if "melody" in bars else max(bars, key=lambda role: bars[role], default="rest")
        voices.append(replace(voice, role=main))
    return replace(plan, voices=tuple(voices))


_NAME = re.compile(r"([A-Ga-g])([#b♯♭]?)(-?\d)")
_ABC = re.compile(r"([_^=]{0,2})([A-Ga-g])([,']*)")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHARP_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


def pitch_name(pitch: int) -> str:
    """Write a MIDI pitch as a name: 60 is `C4`."""
    return f"{_SHARP_NAMES[pitch % 12]}{pitch // 12 - 1}"


def read_pitch(text: str) -> int:
    """Read `C4`, `F#6`, ABC's `e''` or a number as a MIDI pitch.

    Raises:
        PlanError: `bad_pitch`.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        pitch = int(text)
    elif found := _NAME.fullmatch(text):
        sign = {"#": 1, "♯": 1, "b": -1, "♭": -1, "": 0}[found.group(2)]
        pitch = _STEPS[found.group(1).upper()] + sign + 12 * (int(found.group(3)) + 1)
    elif found := _ABC.fullmatch(text):
        letter, marks = found.group(2), found.group(3)
        sign = found.group(1).count("^") - found.group(1).count("_")
        octave = marks.count("'") - marks.count(",") + letter.islower()
        pitch = 60 + _STEPS[letter.upper()] + sign + 12 * octave
    else:
        raise PlanError(f"{text!r} is no pitch; write C4, F#6 or e''", reason="bad_pitch")
    if not 0 <= pitch <= 127:
        raise PlanError(f"{text!r} lies outside of 0 to 127", reason="bad_pitch")
    return pitch


def _bad(place: str, wanted: str) -> PlanError:
    return PlanError(f"{place}: {wanted}", reason="bad_plan")


def _object(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _bad(place, "a JSON object")
    return value


def _list(value: object, place: str) -> Sequence[Any]:
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise _bad(place, "a JSON list")
    return value


def _text(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())


def _int(value: object, place: str) -> int:
    number = _float(value, place)
    if number != int(number):
        raise _bad(place, "a whole number")
    return int(number)


def _float(value: object, place: str) -> float:
    try:
        number = float(cast(Any, value))
    except (TypeError, ValueError):
        raise _bad(place, "a number") from None
    if not -1e6 < number < 1e6:
        raise _bad(place, "a number")
    return number


def _pitch(value: object, place: str) -> int:
    try:
        return read_pitch(str(value))
    except PlanError as error:
        raise _bad(place, str(error)) from error


def _bars(value: object, place: str) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d{1,4})\s*(?:[-\u2013\u2014]\s*(\d{1,4})\s*)?", str(value))
    if found is None:
        raise _bad(place, "bars as 3-10")
    first, last = int(found.group(1)), int(found.group(2) or found.group(1))
    if not 1 <= first <= last:
        raise _bad(place, "bars as 3-10, the first one not behind the last")
    return first, last


def _one_of(value: object, words: Sequence[str], place: str, default: str | None = None) -> str:
    text = _text(value).lower()
    if not text and default is not None:
        return default
    # Models add where: `half on B7`.
    named = text if text in words else re.split(r"[ ,;(]", text)[0]
    if named not in words:
        raise _bad(place, f"one of {', '.join(words)}, not {text!r}")
    return named


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _runs(values: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return first and last bar of every stretch of one value that is not 0, and the value."""
    edges = [bar for bar in range(len(values)) if not bar or values[bar] != values[bar - 1]]
    runs = [(first + 1, after, values[first]) for first, after in pairwise([*edges, len(values)])]
    return [run for run in runs if run[2]]
