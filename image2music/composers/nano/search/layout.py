"""From a form with its lines to a plan: who plays, what each voice does section by section, how loud, and why.

The plan's harmony, melody, device, motif and climax are those of the lines that were written; accompaniment is laid out
here and written by the shared arranger.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from image2music.abc.writer.parts import bars_to_abc
from image2music.composers.nano.gestures import Gestures
from image2music.composers.nano.search.cells import Theme
from image2music.composers.nano.search.form import Form, FormSection
from image2music.composers.nano.search.harmony import SingingRange
from image2music.composers.nano.sketch import TICKS, Note, Purpose, bar_ticks
from image2music.composers.suiting import Character
from image2music.music.instruments import instrument_of
from image2music.music.lines import Bar, bars_of_notes
from image2music.music.planning.checks import families_for
from image2music.music.planning.harmony import cadences_of
from image2music.music.planning.plan import (
    DYNAMICS,
    FIGURE_ROLES,
    Climax,
    Device,
    Family,
    Motif,
    Plan,
    PlannedVoice,
    Role,
    Section,
    Silence,
    Surprise,
    Swell,
    VoicePart,
)
from image2music.music.planning.planner import PlanRequest
from image2music.music.theory import read_chord

Seat = Literal["lead", "second", "inner", "figure", "bass", "all", "drums"]
"""lead, second: sing in turn. inner: sustains or fills. figure, bass: accompany; all: both in one voice."""
_DRUM_PITCHES = (35, 81)
_SPAN = 22
"""Semitones of a tune's usual range."""


@dataclass(frozen=True, slots=True)
class Seated:
    """A voice of the plan and what it is there for."""

    voice: PlannedVoice
    seat: Seat


def seat_band(programs: Sequence[int], drums: bool) -> tuple[Seated, ...]:
    """Give every program a seat, melody first and bass last.

    Keys, harps and guitars accompany: one that stands last has figure and bass on two staves. Where there is none,
    what sustains has the figure. A pad is no bass where somebody else can be one.
    """
    band = _idiomatic(programs)
    plays_figures = [_accompanies(program) for program in band]
    seats: list[tuple[int, Seat]] = [(band[0], "lead")]
    if len(band) == 1:
        seats += [(band[0], "figure"), (band[0], "bass")] if plays_figures[0] else [(band[0], "all")]
    elif len(band) == 2:
        seats += [(band[1], "figure"), (band[1], "bass")] if plays_figures[1] else [(band[1], "all")]
    else:
        middle = list(range(1, len(band) - 1))
        figure = next((n for n in reversed(middle) if plays_figures[n]), None)
        ground = figure is None and plays_figures[-1]
        if figure is None and not ground:
            figure = middle[-1]
        others = [band[n] for n in middle if n != figure]
        if others and others[0] in _PADS:
            seats += [(program, "inner") for program in others]
        else:
            seats += [(program, _MIDDLE[min(place, 1)]) for place, program in enumerate(others)]
        figure_on = band[-1] if figure is None else band[figure]
        seats += [(figure_on, "figure"), (band[-1], "bass")]
    if drums:
        seats.insert(len(seats) - 1, (0, "drums"))
    return tuple(Seated(_voice(number, program, seat), seat) for number, (program, seat) in enumerate(seats, 1))


def _idiomatic(programs: Sequence[int]) -> list[int]:
    """Let a piano or harp accompany where nobody else can, and what sings have the tune."""
    band = list(programs)
    singers = [n for n in range(1, len(band) - 1) if not _accompanies(band[n]) and band[n] not in _PADS]
    if len(band) > 2 and band[-1] in _PADS:
        low = [one for one in band[1:-1] if _accompanies(one) and instrument_of(one).comfortable_low <= _LOW_ENOUGH]
        if low:
            band.remove(low[-1])
            band.append(low[-1])  # it has the bass, and the pad holds
    if band[0] in _ELECTRIC:
        return band
    if len(band) > 2 and singers and _accompanies(band[0]) and not any(_accompanies(one) for one in band[1:]):
        lead = singers[0]
        band[0], band[lead] = band[lead], band[0]
    return band


_PADS = frozenset({*range(88, 96), 52, 53, 54, 91})
"""Programs that sustain and have no tune."""
_HELD: tuple[Family, ...] = ("pad", "chorale", "arpeggio")
"""What they play beside a tune."""
_LOW_ENOUGH = 45
"""How low an instrument goes that has the bass in a pad's place."""


def _accompanies(program: int) -> bool:
    instrument = instrument_of(program)
    return instrument.chords >= 4 and instrument.kind in ("keys", "plucked", "organ", "mallet")


_GUITARS, _ELECTRIC = range(24, 32), range(26, 32)
_MIDDLE: tuple[Seat, Seat] = ("second", "inner")
_RANGES: dict[Seat, tuple[int, int]] = {
    "lead": (50, 91), "second": (48, 88), "inner": (46, 79), "figure": (45, 77), "bass": (33, 57), "all": (33, 67),
}  # fmt: skip


def _voice(number: int, program: int, seat: Seat) -> PlannedVoice:
    if seat == "drums":
        return PlannedVoice(number, "Drums", 0, *_DRUM_PITCHES)
    instrument = instrument_of(program)
    low, high = instrument.comfortable_low, instrument.comfortable_high
    least, most = _RANGES[seat]
    if min(high, most) - max(low, least) >= 14:
        low, high = max(low, least), min(high, most)
    if seat in ("lead", "second") and program in _GUITARS:
        low, high = 55, instrument.highest - 2  # a guitar's tune lies on its upper strings
    return PlannedVoice(number, instrument.name, program, low, high)


def singing_range(voice: PlannedVoice) -> SingingRange:
    """Return where a voice sings: the upper part of its comfortable range, a little more at both ends."""
    instrument = instrument_of(voice.program)
    high = min(voice.high, 86)
    low = max(voice.low, high - _SPAN)
    return SingingRange(low, high, max(instrument.lowest, low - 4), min(instrument.highest, high + 3))


# ---------------------------------------------------------------- accompaniment

_FIGURES: dict[Character, dict[Purpose, tuple[Family, ...]]] = {
    "calm": {
        "intro": ("wave", "broken", "arpeggio"), "statement": ("wave", "broken", "arpeggio", "pad"),
        "again": ("broken", "wave", "arpeggio"), "contrast": ("chorale", "arpeggio", "pulse", "offbeat", "pad"),
        "drive": ("pulse", "broken", "alberti"), "return": ("wave", "alberti", "broken"),
        "climax": ("wave", "arpeggio", "broken"), "coda": ("arpeggio", "pad", "wave"),
    },
    "flowing": {
        "intro": ("wave", "broken"), "statement": ("wave", "broken", "waltz", "alberti"),
        "again": ("broken", "alberti", "wave", "waltz"),
        "contrast": ("offbeat", "chorale", "arpeggio", "pulse", "alberti"), "drive": ("pulse", "alberti", "broken"),
        "return": ("wave", "alberti", "arpeggio"),
        "climax": ("wave", "arpeggio", "pulse"), "coda": ("arpeggio", "wave", "pad"),
    },
    "playful": {
        "intro": ("offbeat", "pizzicato", "broken"), "statement": ("offbeat", "waltz", "pizzicato", "alberti"),
        "again": ("waltz", "alberti", "offbeat", "ostinato"), "contrast": ("broken", "pulse", "ostinato", "pizzicato"),
        "drive": ("alberti", "ostinato", "pulse"), "return": ("offbeat", "waltz", "ostinato"),
        "climax": ("alberti", "broken", "pulse", "offbeat"), "coda": ("pizzicato", "offbeat", "arpeggio"),
    },
    "grand": {
        "intro": ("chorale", "pulse", "tremolo"), "statement": ("chorale", "broken", "arpeggio"),
        "again": ("broken", "pulse", "arpeggio"), "contrast": ("broken", "arpeggio", "wave", "offbeat", "pad"),
        "drive": ("pulse", "ostinato", "tremolo"), "return": ("arpeggio", "chorale", "pulse"),
        "climax": ("wave", "tremolo", "arpeggio", "chorale"), "coda": ("pad", "chorale", "arpeggio"),
    },
    "dark": {
        "intro": ("pulse", "tremolo", "pad"), "statement": ("pulse", "chorale", "broken", "ostinato"),
        "again": ("broken", "tremolo", "ostinato"), "contrast": ("alberti", "arpeggio", "offbeat", "broken", "pad"),
        "drive": ("ostinato", "pulse", "tremolo"), "return": ("broken", "tremolo", "pulse"),
        "climax": ("tremolo", "wave", "ostinato"), "coda": ("pad", "chorale", "pulse"),
    },
    "driving": {
        "intro": ("pulse", "ostinato", "tremolo"), "statement": ("ostinato", "pulse", "offbeat"),
        "again": ("pulse", "ostinato", "tremolo"), "contrast": ("wave", "offbeat", "broken", "arpeggio", "pad"),
        "drive": ("pulse", "tremolo", "ostinato"), "return": ("ostinato", "pulse", "broken"),
        "climax": ("tremolo", "wave", "pulse"), "coda": ("pulse", "ostinato", "pad"),
    },
}  # fmt: skip
_ROLES: dict[Purpose, dict[Seat, tuple[Role, ...]]] = {
    "intro": {"second": ("rest",), "inner": ("rest", "hold"), "bass": ("bass", "rest"), "drums": ("rest",)},
    "statement": {"second": ("answer",), "inner": ("rest", "hold"), "bass": ("bass",), "drums": ("rest", "drums")},
    "again": {"second": ("answer",), "inner": ("hold", "rest"), "bass": ("bass",), "drums": ("drums",)},
    "contrast": {
        "second": ("counter", "answer"), "inner": ("hold", "rest"), "bass": ("bass",), "drums": ("rest", "drums"),
    },
    "drive": {"second": ("counter", "answer"), "inner": ("hold", "figure"), "bass": ("bass",), "drums": ("drums",)},
    "return": {"second": ("counter",), "inner": ("hold",), "bass": ("bass",), "drums": ("drums",)},
    "climax": {"second": ("parallel", "counter"), "inner": ("hold", "figure"), "bass": ("bass",), "drums": ("drums",)},
    "coda": {"second": ("rest",), "inner": ("hold",), "bass": ("bass",), "drums": ("rest",)},
}  # fmt: skip
"""What a voice may do by the section's purpose; one is drawn. A voice that does not sing here counts as second."""


@dataclass(frozen=True)
class Written:
    """The lines of a tune by voice id, bar by bar (from 0); a bar without an entry is not written."""

    lines: Mapping[int, Mapping[int, tuple[Note, ...]]]

    def bars(self, meter: str, count: int) -> dict[int, tuple[Bar | None, ...]]:
        """Return the written bars of each voice as the arranger takes them."""
        length = bar_ticks(meter)
        result: dict[int, tuple[Bar | None, ...]] = {}
        for voice, line in sorted(self.lines.items()):
            notes = [
                (number * length + onset, duration, (pitch,), ())
                for number in sorted(line)
                for onset, duration, pitch in line[number]
            ]
            held = {
                number + 1 + (onset + duration - 1) // length - 1
                for number in line
                for onset, duration, _ in line[number]
                if onset + duration > length
            }
            made = bars_of_notes(notes, TICKS, length, count)
            result[voice] = tuple(bar if n in line or n in held else None for n, bar in enumerate(made))
        return result


def plan_parts(
    form: Form, band: Sequence[Seated], singers: Sequence[int], request: PlanRequest, character: Character,
    gestures: Gestures, rng: random.Random,
) -> tuple[tuple[VoicePart, ...], ...]:  # fmt: skip
    """Return what every voice does in each section; `singers` is the voice with the tune in every bar, 0 for none."""
    parts: list[tuple[VoicePart, ...]] = []
    home: dict[int, tuple[Family | None, str]] = {}
    for section in form.sections:
        comes_back = section.purpose == "return" or form.back in range(section.first, section.last + 1)
        singing = set(singers[section.first : section.last + 1]) - {0}
        before = {part.voice: part for part in parts[-1]} if parts else {}
        here = []
        for seated in band:
            voice, seat = seated.voice, seated.seat
            if voice.id in singing:
                here.append(VoicePart(voice.id, "melody"))
                continue
            if seat in ("figure", "all"):
                role: Role = "figure" if seat == "figure" else "bass+figure"
            else:
                options = _ROLES[section.purpose]["second" if seat in ("lead", "second") else seat]
                role = options[int(rng.random() * len(options))]
                if seat in ("lead", "second") and section.answers_from is None:
                    role = "rest"
                if seat == "inner" and voice.program in _PADS and role == "figure":
                    role = "hold"
                if seat == "drums" and character == "driving" and section.purpose != "intro":
                    role = "drums"  # what drives goes on
            family, degrees = None, ""
            if role == "bass" and voice.program in _PADS:
                degrees = " ".join(["R", *["-"] * (bar_ticks(request.meter) // (TICKS // 2) - 1)])
            if role in FIGURE_ROLES:
                last = before[voice.id].family if voice.id in before else None
                taken: set[Family | None] = {last, *(part.family for part in here)}
                if comes_back and voice.id in home and home[voice.id][0] not in taken:
                    family, degrees = home[voice.id]  # what comes back has its figure again
                else:
                    taken.add(home[voice.id][0] if voice.id in home and not comes_back else last)
                    family, degrees = _figure(voice, section, taken, request, character, gestures, rng)
                if section.purpose == "statement":
                    home.setdefault(voice.id, (family, degrees))
            here.append(VoicePart(voice.id, role, family, degrees))
        parts.append(tuple(here))
    return tuple(parts)


def _figure(
    voice: PlannedVoice, section: FormSection, taken: set[Family | None], request: PlanRequest, character: Character,
    gestures: Gestures, rng: random.Random,
) -> tuple[Family, str]:  # fmt: skip
    """Draw a figure's family, and a figure's name where a gesture asks for one; never what is `taken`."""
    suited = [one for one in families_for(voice.program, request.meter) if one not in taken]
    if voice.program in _PADS:
        suited = [one for one in suited if one in _HELD] or suited
    wished = [family for family in request.families if family in suited]
    if wished and section.purpose != "contrast":
        return wished[int(rng.random() * len(wished))], ""
    pictured = [
        one for one in gestures.figures
        if (not one.purposes or section.purpose in one.purposes) and any(family in suited for family in one.families)
    ]  # fmt: skip
    if pictured and rng.random() < 0.55:
        drawn = rng.choices(pictured, [one.weight for one in pictured])[0]
        return next(family for family in drawn.families if family in suited), f"={drawn.name}" if drawn.name else ""
    pool = [family for family in _FIGURES[character][section.purpose] if family in suited]
    if not pool:
        pool = wished or suited or ["broken"]
    return pool[int(rng.random() * len(pool))], ""


def plan_of(
    form: Form, written: Written, band: Sequence[Seated], singers: Sequence[int],
    parts: Sequence[Sequence[VoicePart]], theme: Theme, request: PlanRequest, device: str,
) -> Plan:  # fmt: skip
    """Return the plan that the lines fill."""
    base = dynamic_of(request)
    sections = []
    pictured = request.picture_parts
    for number, (section, here) in enumerate(zip(form.sections, parts, strict=True)):
        chords = [read_chord(s) for t in form.tasks[section.first : section.last + 1] for s in t.chords.split()]
        sections.append(
            Section(
                name=section.name,
                first=section.first + 1,
                last=section.last + 1,
                picture_part=pictured[min(number * len(pictured) // len(form.sections), len(pictured) - 1)]
                if pictured
                else "",
                qpm=_tempo_of(request, section),
                dynamic=DYNAMICS[min(max(base + section.louder, 0), len(DYNAMICS) - 1)],
                swell=_swell(section.purpose, section.louder),
                cadence=cadences_of(chords, form.key.pitch_class)[0],
                parts=tuple(here),
            )
        )
    notes = {
        number: line[number] for line in written.lines.values() for number in line if singers[number] and line[number]
    }
    peak_voice = singers[form.peak]
    top = max((pitch for _, _, pitch in written.lines.get(peak_voice, {}).get(form.peak, ())), default=0)
    above = [
        p for voice, line in written.lines.items() for n, bar in line.items() for _, _, p in bar
        if p >= top and (voice, n) != (peak_voice, form.peak)
    ]  # fmt: skip
    climax = Climax(form.peak + 1, peak_voice, top) if peak_voice and top and not above else None
    # In a slow tempo a bar of nothing is a hole: there the tune alone breaks off. Else a figure leads out of the stop.
    stops = tuple(
        Silence(one.voice.id, bar + 1, bar + 1)
        for bar in form.silent
        for one in band
        if is_brief(request) and one.seat not in ("figure", "all")
    )
    return Plan(
        title=request.title,
        idea=request.idea,
        key=request.key,
        meter=request.meter,
        bars=len(form.tasks),
        voices=tuple(one.voice for one in band),
        sections=tuple(sections),
        harmony=tuple(task.chords for task in form.tasks),
        melody=tuple(singers),
        motif=_motif_text(form, theme, request, notes),
        device=Device(device, form.payoff + 1, tuple(sorted({s for s in singers if s})))
        if device and form.name != "miniature"
        else None,
        surprise=_surprise(form),
        climax=climax,
        silences=stops,
        ending="the last bar leads back into the first" if request.loop else "the last bar holds the tonic",
        style=request.style,
        length_s=request.length_s,
        loop=request.loop,
    )


def _tempo_of(request: PlanRequest, section: FormSection) -> float:
    """Return a section's tempo: whole numbers, unless the tune is to last a given time; a loop keeps its tempo."""
    pace = section.pace if request.tempo_moves and not request.loop else 1.0
    if request.length_s is not None:
        return round(request.qpm * pace, 3)
    return float(round(request.qpm * pace)) if request.tempo_moves else request.qpm


def is_brief(request: PlanRequest) -> bool:
    """Whether a bar is so short that all voices may be silent for it."""
    return bar_ticks(request.meter) / TICKS * 60 / request.qpm <= _LONGEST_STOP


def _swell(purpose: Purpose, louder: int) -> Swell:
    """A climax comes down to a coda that is soft, and not to a loud one; what begins soft may grow."""
    if purpose == "coda":
        return "fade" if louder < 0 else "none"
    if purpose == "climax":
        return "fade" if louder < 2 else "none"
    return "grow" if purpose in ("contrast", "drive") and louder <= 0 else "none"


_LONGEST_STOP = 1.7
"""Seconds for which everything may be silent."""


def dynamic_of(request: PlanRequest) -> int:
    """Return the place in `DYNAMICS` that a tune begins with: as asked, else `p` for still pictures to `f`."""
    if request.dynamic:
        return DYNAMICS.index(request.dynamic)
    return 1 + sum(round(request.arousal, 3) >= bound for bound in (0.25, 0.5, 0.75))


def _motif_text(form: Form, theme: Theme, request: PlanRequest, notes: Mapping[int, tuple[Note, ...]]) -> Motif | None:
    first = form.theme
    if first + 1 >= len(form.tasks) or not notes.get(first) or not notes.get(first + 1):
        return None
    length = bar_ticks(request.meter)
    timed = [(n * length + o, d, (p,), ()) for n in (0, 1) for o, d, p in notes[first + n] if o < length]
    bars = bars_of_notes(timed, TICKS, length, 2)
    text = " | ".join(bars_to_abc(request.key, request.meter, bars))
    return Motif(text, " | ".join(form.tasks[first + n].chords for n in (0, 1)))


def _surprise(form: Form) -> Surprise | None:
    """Name the chord that is farthest from the key in the second half, outside of the contrast's own key."""
    home, best = form.key.classes, (1, 0, "")
    for task in form.tasks[len(form.tasks) // 3 :]:
        if task.key != str(form.key):
            continue
        for symbol in task.chords.split():
            chord = read_chord(symbol)
            foreign = sum(tone not in home for tone in chord.classes) + (chord.root not in home)
            leading = form.key.is_minor and (chord.root - form.key.pitch_class) % 12 in (7, 11)
            if foreign > best[0] and not leading:
                best = (foreign, task.bar + 1, symbol)
    if not best[1]:
        return None
    return Surprise(best[1], f"the chord {best[2]}, which is foreign to {form.key}", "the ear is led off for a moment")
