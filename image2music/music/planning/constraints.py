"""Constraints on a plan: what a person, a style or an album asks for, whether a plan keeps it, a request that does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median
from typing import Any

from image2music.music.instruments import instrument_of
from image2music.music.planning.lasting import bar_quarters, bars_lasting, planned_seconds
from image2music.music.planning.plan import DYNAMICS, Family, Plan
from image2music.music.planning.planner import MOST_PLANNED_VOICES, PlanRequest
from image2music.music.planning.vocabulary import DRUM_KIT
from image2music.music.theory import MODE_SHARPS, Tonality, fifths_name, fifths_of, read_tonality

Range = tuple[float, float]
CALM_BELOW, STRONG_FROM = 0.35, 0.65
"""Arousal (0 to 1) below and from which a mood asks for a slow and soft, or a fast and loud tune."""


@dataclass(frozen=True)
class Demand:
    """What one wish asks of one field of `PlanConstraints`, and whose wish it is: `mood 'sad'`."""

    field: str
    values: tuple[Any, ...]
    source: str


@dataclass(frozen=True)
class PlanConstraints:
    """What a plan must keep; None or empty where anything is right. Ranges include their ends.

    `key` and `meters` are written as in ABC; `qpm` is in quarter notes a minute. `players` has a group of programs
    (0-127, `DRUM_KIT` for drums) for each player, any of a group will do; others than these may only play if
    `others_may_play`. `without` are programs that may not. `families` are figures of which one must occur, `valence`
    (-1 to 1) and `arousal` (0 to 1) what the mood is. `length` is how many seconds the tune lasts, to the sample; one
    that is to `loop` leads back into its beginning. `suggested` programs are usual, not asked for.

    `demands` are the wishes one by one; where they contradict, the fields hold those that go first. `remarks` are
    wishes that were not understood.
    """

    key: str | None = None
    meters: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    qpm: Range | None = None
    bars: tuple[int, int] | None = None
    players: tuple[tuple[int, ...], ...] = ()
    others_may_play: bool = False
    without: tuple[int, ...] = ()
    families: tuple[Family, ...] = ()
    valence: Range | None = None
    arousal: Range | None = None
    length: float | None = None
    loop: bool = False
    suggested: tuple[int, ...] = ()
    style: str = ""
    demands: tuple[Demand, ...] = ()
    remarks: tuple[str, ...] = ()


def range_text(ends: Sequence[float]) -> str:
    """Return `60 to 70`, or `16` where both ends are the same."""
    return f"{ends[0]:g}" if ends[0] == ends[-1] else f"{ends[0]:g} to {ends[-1]:g}"


def _either(options: Sequence[str]) -> str:
    return " or ".join(options)


def unmet(wanted: PlanConstraints, plan: Plan) -> tuple[str, ...]:
    """Name, in one sentence each, the wishes that a plan doesn't keep, and those that were not understood."""
    said = [line for demand in _demands_of(wanted) for line in _missed(demand, wanted, plan)]
    return (*said, *wanted.remarks)


_NAMES = {"key": "key", "meters": "meter", "modes": "mode", "qpm": "tempo", "bars": "bars", "families": "figures",
          "arousal": "mood", "players": "instruments", "without": "instruments", "length": "length"}  # fmt: skip
"""Fields that ask something of a plan, and what they are called where nobody's words stand behind them."""


def _demands_of(wanted: PlanConstraints) -> list[Demand]:
    """Return the wishes one by one, and whatever else the fields ask for."""
    worded = {demand.field for demand in wanted.demands}
    demands = list(wanted.demands)
    for field, name in _NAMES.items():
        value = getattr(wanted, field)
        if value and field not in worded:
            demands.append(Demand(field, (value,) if isinstance(value, str | float) else tuple(value), name))
    return demands


def _missed(demand: Demand, wanted: PlanConstraints, plan: Plan) -> list[str]:
    """Say how a plan misses one wish; nothing where it keeps it."""
    values, source = demand.values, demand.source
    if demand.field == "players":
        return [f"{source}: {line}" for line in _missed_players(values, wanted.others_may_play, plan)]
    if demand.field == "without":
        refused = [one for one in dict.fromkeys(played_programs(plan)) if one in values]
        return (
            [f"{source}: asked for no {_either([*map(_program_name, refused)])}, which the plan has"] if refused else []
        )
    if demand.field == "arousal":
        return [f"{source}: {line}" for line in _missed_loudness(values, plan)]
    if demand.field == "length":
        lasts = planned_seconds(plan)
        asked = f"asked for {values[0]:g} seconds, the plan lasts {lasts:.0f}"
        return [] if plan.length_s == values[0] else [f"{source}: {asked}"]
    kept, has = _kept(demand, plan)
    asked = range_text(values) if demand.field in ("qpm", "bars") else _either(values)
    return [] if kept else [f"{source}: asked for {asked}, the plan {has}"]


def _kept(demand: Demand, plan: Plan) -> tuple[bool, str]:
    """Return whether a plan keeps a demand of one value, and what it has instead."""
    values = demand.values
    tonality = read_tonality(plan.key)
    match demand.field:
        case "qpm":
            tempo = main_tempo(plan)
            return values[0] <= tempo <= values[-1], f"has {tempo:g}"
        case "bars":
            return values[0] <= plan.bars <= values[-1], f"has {plan.bars}"
        case "meters":
            return plan.meter in values, f"is in {plan.meter}"
        case "families":
            have = sorted({part.family for section in plan.sections for part in section.parts if part.family})
            return bool(set(have) & set(values)), f"has {', '.join(have) or 'none'}"
        case "modes":
            return tonality is not None and tonality.mode in values, f"is in {plan.key}"
        case _:
            return tonality is not None and tonality == read_tonality(str(values[0])), f"is in {plan.key}"


def main_tempo(plan: Plan) -> float:
    """Return the tempo of the middle bar when bars are sorted by tempo, in quarter notes a minute."""
    return median(section.qpm for section in plan.sections for _ in section.bars)


_CALM_AT_MOST, _STRONG_AT_LEAST = DYNAMICS.index("mf"), DYNAMICS.index("mf")


def _missed_loudness(arousal: Sequence[float], plan: Plan) -> list[str]:
    """A calm mood is never louder than `mf`, a strong one at least so somewhere."""
    middle = round((arousal[0] + arousal[1]) / 2, 3)
    loudest = max(DYNAMICS.index(section.dynamic) for section in plan.sections)
    if middle < CALM_BELOW and loudest > _CALM_AT_MOST:
        return [f"asked for calm, the plan is {DYNAMICS[loudest]} at its loudest"]
    if middle >= STRONG_FROM and loudest < _STRONG_AT_LEAST:
        return [f"asked for strength, the plan is {DYNAMICS[loudest]} at its loudest"]
    return []


def _missed_players(players: Sequence[tuple[int, ...]], others_may_play: bool, plan: Plan) -> list[str]:
    have = played_programs(plan)
    found = []
    missing = [players[number] for number in _unseated(players, have)]
    if missing:
        asked = ", ".join(_program_name(group[0]) for group in missing)
        found.append(f"asked for {asked}, the plan has {', '.join(map(_program_name, dict.fromkeys(have)))}")
    welcome = {program for group in players for program in group}
    others = [one for one in dict.fromkeys(have) if one not in welcome]
    if others and not others_may_play:
        found.append(f"nobody asked for {', '.join(map(_program_name, others))}, which the plan has")
    return found


def played_programs(plan: Plan) -> list[int]:
    """Return the program of each voice, `DRUM_KIT` for those that play drums."""
    drums = {part.voice for section in plan.sections for part in section.parts if part.role == "drums"}
    return [DRUM_KIT if voice.id in drums else voice.program for voice in plan.voices]


def _unseated(players: Sequence[tuple[int, ...]], have: Sequence[int]) -> list[int]:
    """Return the players for whom no voice is left when as many as possible have one (Kuhn's matching)."""
    seats: dict[int, int] = {}

    def seat(player: int, tried: set[int]) -> bool:
        for voice, program in enumerate(have):
            if program in players[player] and voice not in tried:
                tried.add(voice)
                if voice not in seats or seat(seats[voice], tried):
                    seats[voice] = player
                    return True
        return False

    return [player for player in range(len(players)) if not seat(player, set())]


def _program_name(program: int) -> str:
    return "drums" if program == DRUM_KIT else instrument_of(program).name


def constraint_lines(wanted: PlanConstraints) -> list[str]:
    """Say what a plan must keep, one line a demand."""
    said = []
    if wanted.style:
        said.append(f"style: {wanted.style}")
    if wanted.key:
        said.append(f"key {wanted.key}")
    elif wanted.modes:
        said.append(f"mode: {' or '.join(wanted.modes)}")
    if wanted.meters:
        said.append(f"meter {' or '.join(wanted.meters)}")
    if wanted.qpm:
        said.append(f"tempo {range_text(wanted.qpm)} quarter notes a minute")
    if wanted.bars:
        said.append(f"{range_text(wanted.bars)} bars")
    if wanted.length:
        said.append(_length_line(wanted))
    if wanted.loop:
        said.append("a loop: the last bar leads back to the first on the dominant, without a final chord or slowing")
    if wanted.players:
        others = "among its instruments" if wanted.others_may_play else "for these instruments alone"
        said.append(f"{others}: {', '.join(_numbered_name(group[0]) for group in wanted.players)}")
    if wanted.without:
        said.append(f"without {', '.join(_numbered_name(program) for program in wanted.without)}")
    if wanted.families:
        said.append(f"with a figure of the family {' or '.join(wanted.families)}")
    if wanted.valence:
        said.append(f"mood from {range_text(wanted.valence)} on a scale of -1 (sad) to 1 (happy)")
    if wanted.arousal:
        said.append(f"energy from {range_text(wanted.arousal)} on a scale of 0 (still) to 1 (wild)")
    return said


def _length_line(wanted: PlanConstraints) -> str:
    """Say how long the tune lasts, and which bars that means in the meters that are asked for, or usual ones."""
    assert wanted.length is not None
    low, high = wanted.qpm or _USUAL_QPM
    ways = []
    for meter in wanted.meters or _USUAL_METERS:
        _, bars, qpm = bars_lasting(wanted.length, (meter,), (low + high) / 2, (low, high), wanted.bars)
        ways.append(f"{bars} bars of {meter} at {qpm:.0f}")
    return f"lasts {wanted.length:g} seconds, as {_either(ways)} quarter notes a minute do"


_USUAL_METERS, _USUAL_QPM = ("4/4", "3/4", "6/8"), (60.0, 132.0)
_FEWEST_BARS = 2


def bars_meant(constraints: Sequence[PlanConstraints]) -> tuple[int, int] | None:
    """Return the fewest and the most bars that are asked for, in bars or by a length; None where anything is right."""
    for wanted in constraints:
        if wanted.bars is not None:
            return wanted.bars
    wanted = next((one for one in constraints if one.length is not None), PlanConstraints())
    if wanted.length is None:
        return None
    low, high = next((one.qpm for one in constraints if one.qpm is not None), _USUAL_QPM)
    bars = [bar_quarters(m) for m in next((one.meters for one in constraints if one.meters), _USUAL_METERS)]
    fewest, most = wanted.length / 60 * low / max(bars), wanted.length / 60 * high / min(bars)
    return max(_FEWEST_BARS, ceil(round(fewest, 6))), max(_FEWEST_BARS, int(round(most, 6)))


def _numbered_name(program: int) -> str:
    return _program_name(program) if program == DRUM_KIT else f"{_program_name(program)} (program {program})"


# ---------------------------------------------------------------- a request that keeps them


def apply_to_request(request: PlanRequest, constraints: PlanConstraints) -> PlanRequest:
    """Change a request as little as needed so that its plan keeps the constraints, as far as a plan can.

    A melody that is there already (`request.harmony`) keeps its key, meter and bars.
    """
    wanted = constraints
    if wanted.valence is not None:
        request = replace(request, valence=_inside(request.valence, wanted.valence))
    if wanted.arousal is not None:
        request = replace(request, arousal=_inside(request.arousal, wanted.arousal), dynamic=None)
    if wanted.qpm is not None:
        request = replace(request, qpm=_tempo_inside(request.qpm, wanted.qpm))
    request = replace(request, families=wanted.families or request.families, style=wanted.style or request.style)
    request = _with_programs(request, wanted)
    if request.harmony is not None:
        return request
    if wanted.meters and request.meter not in wanted.meters:
        request = replace(request, meter=wanted.meters[0])
    if wanted.bars is not None:
        request = replace(request, bars=min(max(request.bars, wanted.bars[0]), wanted.bars[1]))
    request = replace(request, length_s=wanted.length or request.length_s, loop=wanted.loop or request.loop)
    if request.length_s is not None:
        tempos = wanted.qpm or (request.qpm / _TEMPO_LEEWAY, request.qpm * _TEMPO_LEEWAY)
        found = bars_lasting(request.length_s, (request.meter,), request.qpm, tempos, wanted.bars, loop=request.loop)
        request = replace(request, bars=found[1], qpm=found[2])
    return replace(request, key=_key_for(request.key, wanted))


_TEMPO_LEEWAY = 1.2
"""How much slower or faster a request becomes, where that is needed, so that its bars last as long as they are to."""


def _inside(value: float, allowed: Range) -> float:
    """Return the value, or where it is outside the middle of what is allowed."""
    return value if allowed[0] <= value <= allowed[1] else (allowed[0] + allowed[1]) / 2


_WELL_INSIDE = 8.0
"""Quarter notes a minute from the end of a range at which a tempo that must move into it comes to stand."""


def _tempo_inside(qpm: float, allowed: Range) -> float:
    """Return a whole tempo in a range, near the one given; a fraction only where the range holds no whole one."""
    low, high = allowed
    step = min(_WELL_INSIDE, (high - low) / 2)
    moved = qpm if low <= qpm <= high else low + step if qpm < low else high - step
    whole = float(round(moved))
    return whole if low <= whole <= high else round(moved, 2)


def _key_for(key: str, wanted: PlanConstraints) -> str:
    if wanted.key is not None:
        return wanted.key
    tonality = read_tonality(key or _ANY_KEY)
    if not wanted.modes or tonality is None or (key and tonality.mode in wanted.modes):
        return key
    place = fifths_of(tonality.tonic)
    for mode in wanted.modes:
        for tonic in (place, place - 12, place + 12):
            if abs(tonic + MODE_SHARPS[mode]) <= _MOST_SIGNS:
                return str(Tonality(fifths_name(tonic), mode))
    return key


_ANY_KEY = "D"
_MOST_SIGNS = 7


def _with_programs(request: PlanRequest, wanted: PlanConstraints) -> PlanRequest:
    """Take the players that are asked for, else what the style suggests, melody first and bass last."""
    drums = any(group[0] == DRUM_KIT for group in wanted.players)
    programs = [next(one for one in group if one != DRUM_KIT) for group in wanted.players if group[0] != DRUM_KIT]
    if programs:
        chosen = tuple(_seated(programs)[:MOST_PLANNED_VOICES])
    elif wanted.suggested and not wanted.players:
        chosen = wanted.suggested
    else:
        chosen = request.programs
    chosen = tuple(one for one in chosen if one not in wanted.without) or request.programs
    may_drum = DRUM_KIT not in wanted.without and (not wanted.players or wanted.others_may_play)
    return replace(request, programs=chosen, drums=drums or (request.drums and may_drum))


def _seated(programs: Sequence[int]) -> list[int]:
    """Order programs: single lines from high to low, instruments that accompany themselves behind, basses last."""

    def place(program: int) -> tuple[int, int]:
        instrument = instrument_of(program)
        middle = (instrument.comfortable_low + instrument.comfortable_high) // 2
        low = instrument.comfortable_high <= _BASS_TOP
        return (2 if low else 1 if instrument.chords >= _SELF_ACCOMPANIED else 0), -middle

    return sorted(programs, key=place)


_BASS_TOP = 60
"""An instrument whose comfortable range ends here or below is a bass."""
_SELF_ACCOMPANIED = 5
