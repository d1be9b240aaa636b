"""The plain planner: a whole plan from few decisions, by rule.

It lays out form, harmony (unless the tune has been harmonised), roles, figures, dynamics and a climax. What it leaves
open is the tune itself; so it serves composers that write a melody first, and wherever no model has planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from typing import Literal

import numpy as np

from image2music.errors import PlanError
from image2music.music.instruments import instrument_of
from image2music.music.planning.checks import check_plan, families_for
from image2music.music.planning.harmony import PhraseRole, last_symbol, progression_for
from image2music.music.planning.plan import (
    DYNAMICS,
    FIGURE_ROLES,
    MOST_BARS,
    Climax,
    Dynamic,
    Family,
    Plan,
    PlannedVoice,
    Role,
    Section,
    Silence,
    Swell,
    VoicePart,
)
from image2music.music.theory import Tonality, read_chord, read_tonality

PLANNER_VERSION = 2
"""Raise it with every change here that changes a plan."""
MOST_PLANNED_VOICES = 5
STILL_BELOW, LIVELY_FROM = 0.35, 0.65
"""Bounds of arousal (0 to 1) between still, moderate and lively figures."""
_PHRASE = 4
"""Bars of an ordinary phrase."""


@dataclass(frozen=True)
class PlanRequest:
    """What is decided before planning.

    `key` and `meter` as ABC writes them (no key: one that `valence` suggests), `qpm` quarter notes a minute.
    `programs` are General MIDI, melody first, bass last, one to five. `sections` are the last bars of sections (empty:
    the planner's form). `valence` is -1 to 1, `arousal` 0 to 1. `families` are figures that are wished for.
    `picture_parts` name what the sections stand for. `harmony` is a chord text a bar where a melody has been harmonised
    already, `melody_range` its lowest and highest pitch, `climax` bar and pitch of its highest note. With `tune_moves`
    the second voice has the tune in the middle; `drums` adds a beat; with `tempo_moves` contrast and close are slower.
    `length_s` and `loop` are those of the plan; bars and tempo must go with a length (`lasting.bars_lasting`).
    """

    title: str = ""
    idea: str = ""
    key: str = ""
    meter: str = "4/4"
    qpm: float = 96.0
    bars: int = 16
    programs: tuple[int, ...] = (73, 0, 42)
    sections: tuple[int, ...] = ()
    valence: float = 0.0
    arousal: float = 0.5
    dynamic: Dynamic | None = None
    families: tuple[Family, ...] = ()
    picture_parts: tuple[str, ...] = ()
    style: str = ""
    seed: int = 0
    harmony: tuple[str, ...] | None = None
    melody_range: tuple[int, int] | None = None
    climax: tuple[int, int] | None = None
    tune_moves: bool = False
    drums: bool = False
    tempo_moves: bool = False
    length_s: float | None = None
    loop: bool = False


_BRIGHT_KEYS, _DARK_KEYS = ("C", "D", "Eb", "F", "G", "A", "Bb"), ("Am", "Bm", "Cm", "Dm", "Em", "F#m", "Gm")
SectionPurpose = Literal["opening", "again", "contrast", "peak", "close"]
Job = Literal["tune", "second", "sustained", "figure", "bass", "all", "drums"]


def plan_tune(request: PlanRequest) -> Plan:
    """Plan a tune. The same request gives the same plan, and `check_plan` finds no fault in it.

    Raises:
        PlanError: `bad_request`, where the key, the bars, the programs or the harmony cannot be used.
    """
    rng = np.random.Generator(np.random.Philox([request.seed, PLANNER_VERSION]))
    if not request.key:
        keys = _BRIGHT_KEYS if round(request.valence, 3) >= 0 else _DARK_KEYS
        request = replace(request, key=keys[int(rng.integers(len(keys)))])
    tonality = _tonality(request)
    spans = _spans(request)
    purposes = _purposes(len(spans), _climax_bar(request), spans)
    harmony = request.harmony or _harmony_of(spans, purposes, tonality, rng)
    if request.loop and request.harmony is None:
        harmony = (*harmony[:-1], last_symbol(tonality, loop=True))
    voices, jobs = _voices_of(request)
    sections = _laid_out(request, spans, purposes, voices, jobs, rng)
    melody = tuple(
        _tune_voice(purpose, jobs, request)
        for (first, last), purpose in zip(spans, purposes, strict=True)
        for _ in range(first, last + 1)
    )
    plan = Plan(
        title=request.title,
        idea=request.idea,
        key=str(tonality),
        meter=request.meter,
        bars=request.bars,
        voices=voices,
        sections=sections,
        harmony=harmony,
        melody=melody if request.tune_moves else (),
        silences=_breath(spans, purposes, jobs),
        ending=_ending(request),
        style=request.style,
        length_s=request.length_s,
        loop=request.loop,
    )
    plan = check_plan(replace(plan, climax=_climax_of(request, plan))).plan
    return replace(plan, voices=tuple(replace(voice, derived=voice.role != "melody") for voice in plan.voices))


def _ending(request: PlanRequest) -> str:
    if request.loop:
        return "the last bar leads back into the first"
    return "the last bar holds the tonic" if request.arousal < LIVELY_FROM else "the last bar stops on the tonic"


def _tonality(request: PlanRequest) -> Tonality:
    tonality = read_tonality(request.key)
    if tonality is None:
        raise _bad(f"{request.key!r} is no key")
    if not 1 <= request.bars <= MOST_BARS:
        raise _bad(f"{request.bars} bars; write 1 to {MOST_BARS}")
    if not 1 <= len(request.programs) <= MOST_PLANNED_VOICES or not all(0 <= p <= 127 for p in request.programs):
        raise _bad(f"programs {request.programs}: one to {MOST_PLANNED_VOICES} of 0 to 127")
    if request.harmony is not None and len(request.harmony) != request.bars:
        raise _bad(f"chords for {len(request.harmony)} bars, the tune has {request.bars}")
    return tonality


def _bad(message: str) -> PlanError:
    return PlanError(message, reason="bad_request")


# ---------------------------------------------------------------- form and harmony


def _spans(request: PlanRequest) -> list[tuple[int, int]]:
    """First and last bars of the sections."""
    ends = sorted({end for end in request.sections if 0 < end < request.bars} | {request.bars})
    if not request.sections:
        phrases = max(1, (request.bars + 1) // _PHRASE)
        count = phrases if phrases <= 4 else min(6, (phrases + 3) // 2)
        ends = [_PHRASE * ceil(phrases * (n + 1) / count) for n in range(count - 1)] + [request.bars]
    return list(zip([1, *(end + 1 for end in ends[:-1])], ends, strict=True))


def _climax_bar(request: PlanRequest) -> int:
    if request.climax is not None:
        return request.climax[0]
    return min(max(ceil(request.bars * 0.72), request.bars * 2 // 3, 1), max(1, request.bars - 2))


def _purposes(count: int, climax_bar: int, spans: Sequence[tuple[int, int]]) -> list[SectionPurpose]:
    peak = next((n for n, (first, last) in enumerate(spans) if first <= climax_bar <= last), count - 1)
    purposes: list[SectionPurpose] = []
    for number in range(count):
        if number == 0 and count > 1:
            purposes.append("opening")
        elif number == peak:
            purposes.append("peak")
        elif number == count - 1:
            purposes.append("close")
        else:
            purposes.append("contrast" if purposes[-1] != "contrast" and (number > 1 or count < 5) else "again")
    return purposes


_PHRASES_OF: dict[SectionPurpose, tuple[PhraseRole, PhraseRole]] = {
    "opening": ("open", "open"),
    "again": ("open", "close"),
    "contrast": ("middle", "climb"),
    "peak": ("open", "climb"),
    "close": ("open", "close"),
}
"""What the phrases of a section do: all but the last one, and the last one."""


def _harmony_of(
    spans: Sequence[tuple[int, int]], purposes: Sequence[SectionPurpose], tonality: Tonality, rng: np.random.Generator
) -> tuple[str, ...]:
    """Draw a progression for each phrase; what a tune opens with comes back. Other lengths than four keep the end."""
    chords: list[str] = []
    opening = progression_for("open", tonality, rng)
    for number, ((first, last), purpose) in enumerate(zip(spans, purposes, strict=True)):
        earlier, ending = _PHRASES_OF[purpose]
        left = last - first + 1
        while left:
            bars = left if left < _PHRASE + 3 else _PHRASE
            left -= bars
            role: PhraseRole = earlier if left else "close" if number == len(spans) - 1 else ending
            drawn = progression_for(role, tonality, rng)
            progression = opening if role == "open" and left else drawn
            chords.extend((progression * (bars // len(progression) + 1))[-bars:])
    return tuple(chords)


# ---------------------------------------------------------------- voices


def _voices_of(request: PlanRequest) -> tuple[tuple[PlannedVoice, ...], tuple[Job, ...]]:
    """Return voices, highest first, and what each is there for.

    A piano, guitar or harp that stands last has figure and bass on two staves; alone it has the tune too.
    """
    programs = list(request.programs)
    if instrument_of(programs[-1]).chords >= _CHORDAL:
        programs += programs[-1:] * (2 if len(programs) == 1 else 1)
    jobs: dict[int, tuple[Job, ...]] = {
        1: ("tune",),
        2: ("tune", "all"),
        3: ("tune", "figure", "bass"),
        4: ("tune", "second", "figure", "bass"),
        5: ("tune", "second", "sustained", "figure", "bass"),
        6: ("tune", "second", "second", "sustained", "figure", "bass"),
    }
    have = jobs[len(programs)]
    voices = [
        _voice_of(n, program, job, request) for n, (program, job) in enumerate(zip(programs, have, strict=True), 1)
    ]
    if request.drums:
        voices.insert(-1, PlannedVoice(len(programs) + 1, "Drums", 0, *_DRUM_PITCHES))
        have = (*have[:-1], "drums", have[-1])
    return tuple(voices), have


_DRUM_PITCHES = (35, 81)
"""General MIDI's lowest and highest drum."""
_CHORDAL = 5
"""Notes at once from which on an instrument accompanies itself: keys, guitars, harps."""
_WINDOWS: dict[Job, tuple[int, int]] = {
    "tune": (57, 91),
    "second": (52, 84),
    "sustained": (48, 79),
    "figure": (45, 76),
    "bass": (28, 55),
    "all": (28, 67),
    "drums": _DRUM_PITCHES,
}
"""Where each job lies best, in MIDI pitches; instruments that lie elsewhere keep their own range."""


def _voice_of(number: int, program: int, job: Job, request: PlanRequest) -> PlannedVoice:
    instrument = instrument_of(program)
    low, high = instrument.comfortable_low, instrument.comfortable_high
    window_low, window_high = _WINDOWS[job]
    if min(high, window_high) - max(low, window_low) >= 14:
        low, high = max(low, window_low), min(high, window_high)
    if job == "tune" and request.melody_range is not None:
        low = max(instrument.lowest, min(low, request.melody_range[0]))
        high = min(instrument.highest, max(high, request.melody_range[1]))
    return PlannedVoice(number, instrument.name, program, low, high)


# ---------------------------------------------------------------- sections

_ROLES_OF: dict[SectionPurpose, dict[Job, tuple[Role, ...]]] = {
    "opening": {
        "second": ("rest",), "sustained": ("rest",), "figure": ("figure",), "bass": ("bass",),
        "all": ("bass+figure",), "drums": ("rest",),
    },
    "again": {
        "second": ("answer",), "sustained": ("hold",), "figure": ("figure",), "bass": ("bass",),
        "all": ("bass+figure",), "drums": ("drums",),
    },
    "contrast": {
        "second": ("counter", "answer"), "sustained": ("rest",), "figure": ("hold", "figure"), "bass": ("bass",),
        "all": ("bass",), "drums": ("drums", "rest"),
    },
    "peak": {
        "second": ("parallel", "counter"), "sustained": ("hold",), "figure": ("figure",), "bass": ("bass",),
        "all": ("bass+figure",), "drums": ("drums",),
    },
    "close": {
        "second": ("hold", "answer"), "sustained": ("hold", "rest"), "figure": ("figure",), "bass": ("bass",),
        "all": ("bass+figure",), "drums": ("drums",),
    },
}  # fmt: skip
"""What a voice may do by its job and the section's purpose; one is drawn."""
_LOUDER: dict[SectionPurpose, int] = {"opening": 0, "again": 0, "contrast": -1, "peak": 1, "close": -1}
_SWELLS: dict[SectionPurpose, Swell] = {
    "opening": "none", "again": "none", "contrast": "grow", "peak": "grow", "close": "fade",
}  # fmt: skip

STILL_FAMILIES: tuple[Family, ...] = ("pad", "wave", "arpeggio", "chorale", "broken")
MODERATE_FAMILIES: tuple[Family, ...] = ("broken", "wave", "waltz", "alberti", "arpeggio", "offbeat", "pad")
LIVELY_FAMILIES: tuple[Family, ...] = ("pulse", "ostinato", "offbeat", "tremolo", "broken", "pizzicato")


def _laid_out(
    request: PlanRequest,
    spans: Sequence[tuple[int, int]],
    purposes: Sequence[SectionPurpose],
    voices: Sequence[PlannedVoice],
    jobs: Sequence[Job],
    rng: np.random.Generator,
) -> tuple[Section, ...]:
    sections: list[Section] = []
    names: dict[str, int] = {}
    base = DYNAMICS.index(request.dynamic) if request.dynamic else _loudness(request.arousal)
    for number, ((first, last), purpose) in enumerate(zip(spans, purposes, strict=True)):
        tune = _tune_voice(purpose, jobs, request)
        parts = []
        for voice, job in zip(voices, jobs, strict=True):
            options = _ROLES_OF[purpose].get(job, ("rest",))
            role = options[int(rng.integers(len(options)))]
            role = "melody" if voice.id == tune else "counter" if job == "tune" else role
            before = sections[-1].part_of(voice.id).family if sections else None
            family = _family_of(voice, purpose, before, request, rng) if role in FIGURE_ROLES else None
            parts.append(VoicePart(voice.id, role, family))
        letter = "B" if purpose == "contrast" else "A"
        names[letter] = names.get(letter, 0) + 1
        pictured = request.picture_parts
        sections.append(
            Section(
                name=letter + "'" * (names[letter] - 1),
                first=first,
                last=last,
                picture_part=pictured[min(number * len(pictured) // len(spans), len(pictured) - 1)] if pictured else "",
                qpm=_pace(request, purpose),
                dynamic=DYNAMICS[min(max(base + _LOUDER[purpose], 0), len(DYNAMICS) - 1)],
                swell=_SWELLS[purpose],
                cadence="open",
                parts=tuple(parts),
            )
        )
    return tuple(sections)


_PACES: dict[SectionPurpose, float] = {"contrast": 0.96, "close": 0.92}


def _pace(request: PlanRequest, purpose: SectionPurpose) -> float:
    return float(round(request.qpm * _PACES.get(purpose, 1.0))) if request.tempo_moves else request.qpm


def _loudness(arousal: float) -> int:
    """The index of the dynamic that an arousal suggests: `p` for still pictures, `f` for lively ones."""
    return 1 + sum(round(arousal, 3) >= bound for bound in (0.25, 0.5, 0.75))


def _tune_voice(purpose: SectionPurpose, jobs: Sequence[Job], request: PlanRequest) -> int:
    return jobs.index("second") + 1 if request.tune_moves and purpose == "contrast" and "second" in jobs else 1


def _family_of(
    voice: PlannedVoice, purpose: SectionPurpose, before: Family | None, request: PlanRequest, rng: np.random.Generator
) -> Family:
    """Draw a figure that suits instrument, meter and arousal; the wished ones wherever they may stand."""
    suited = [family for family in families_for(voice.program, request.meter) if family != before]
    wished = [family for family in request.families if family in suited]
    if wished and purpose != "contrast":
        return wished[int(rng.integers(len(wished)))]
    arousal = round(request.arousal, 3)
    lively = arousal + (0.15 if purpose == "peak" else -0.15 if purpose == "close" else 0)
    pool = STILL_FAMILIES if lively < STILL_BELOW else LIVELY_FAMILIES if lively >= LIVELY_FROM else MODERATE_FAMILIES
    fitting = [family for family in pool if family in suited] or suited
    return fitting[int(rng.integers(len(fitting)))]


def _breath(
    spans: Sequence[tuple[int, int]], purposes: Sequence[SectionPurpose], jobs: Sequence[Job]
) -> tuple[Silence, ...]:
    """Let the figure be silent in the bar before the peak, so that it is thinner there."""
    if "figure" not in jobs:
        return ()
    # Voices are numbered in the order of their jobs up to the drums.
    voice = jobs.index("figure") + 1
    return tuple(
        Silence(voice, last, last)
        for ((first, last), _), (_, after) in pairwise(zip(spans, purposes, strict=True))
        if after == "peak" and last > first + 1
    )


def _climax_of(request: PlanRequest, plan: Plan) -> Climax:
    """The melody's highest note: as given, else the highest chord tone that is comfortable there."""
    bar = _climax_bar(request)
    voice = plan.melody_at(bar)
    if request.climax is not None:
        return Climax(bar, voice, request.climax[1])
    planned = plan.voice(voice)
    classes = read_chord(plan.harmony[bar - 1].split()[0]).classes
    top = min(planned.high, instrument_of(planned.program).comfortable_high)
    pitch = next((one for one in range(top, planned.low - 1, -1) if one % 12 in classes), planned.high)
    return Climax(bar, voice, pitch)
