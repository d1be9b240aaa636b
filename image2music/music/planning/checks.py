"""What a plan must be, and a check that mends what code can mend.

`PLAN_SCHEMA` (`schema`) says what the JSON form looks like; `check_plan` whether the plan can be played. Every message
is one line that a model or a person can act on: the place, what is wrong, what would be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from image2music.music.instruments import instrument_named, instrument_of
from image2music.music.planning.harmony import (
    METERS,
    MotifReader,
    cadences_of,
    last_symbol,
    motif_chord_faults,
    nearest_symbol,
)
from image2music.music.planning.lasting import with_length
from image2music.music.planning.plan import (
    BASS_ROLES,
    FAMILIES,
    FIGURE_ROLES,
    Family,
    Plan,
    PlannedVoice,
    Section,
    VoicePart,
    pitch_name,
    with_main_roles,
)
from image2music.music.planning.schema import FASTEST_QPM, MOST_VOICES, SLOWEST_QPM
from image2music.music.theory import Chord, Tonality, read_chord, read_tonality

MOST_CHORDS_A_BAR = 2
LONGEST_WITHOUT_TUNE = 4
"""Bars that may pass while nobody has the tune."""
_METER_SIGNS = {"C": "4/4", "c": "4/4", "C|": "2/2", "c|": "2/2"}


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """A plan after mending, what was mended, and the faults that are left for whoever made it."""

    plan: Plan
    mended: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass
class _Notes:
    mended: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def check_plan(plan: Plan, motif_notes: MotifReader | None = None) -> CheckedPlan:
    """Check a plan; mend what can be mended.

    Args:
        plan: as it was read; it need not be consistent.
        motif_notes: reads the motif's ABC (`abc.checker.read_motif`); without it the motif's notes are not checked.
    """
    notes = _Notes()
    steps = (_key_and_meter, _sections, _length, _voices, _parts, _tune, _figures, _bass, _harmony, _ending, _cadences)
    for step in steps:
        plan = step(plan, notes)
    plan = _places(_climax(plan, notes), notes)
    if plan.motif is not None and motif_notes is not None and plan.meter in METERS and read_tonality(plan.key):
        notes.faults += motif_chord_faults(plan.motif, plan.key, plan.meter, motif_notes)
    return CheckedPlan(with_main_roles(plan), tuple(notes.mended), tuple(notes.faults))


def _key_and_meter(plan: Plan, notes: _Notes) -> Plan:
    tonality = read_tonality(plan.key)
    if tonality is None:
        notes.faults.append(f"key: {plan.key!r} is no key; write a tonic and a mode, D, F#m or Ddor")
    else:
        plan = replace(plan, key=str(tonality))
    meter = _METER_SIGNS.get(plan.meter, plan.meter.replace(" ", ""))
    if meter not in METERS:
        notes.faults.append(f"meter: {plan.meter!r} cannot be written; take one of {', '.join(METERS)}")
    return replace(plan, meter=meter)


def _voices(plan: Plan, notes: _Notes) -> Plan:
    if len(plan.voices) > MOST_VOICES:
        notes.faults.append(f"voices: {len(plan.voices)} are too many; at most {MOST_VOICES}")
    if any(voice.id < 1 for voice in plan.voices):
        notes.faults.append("voices: their ids count from 1; 0 stands for nobody")
    return replace(plan, voices=tuple(_voice(plan, voice, notes) for voice in plan.voices))


def _voice(plan: Plan, voice: PlannedVoice, notes: _Notes) -> PlannedVoice:
    place = f"voice {voice.id} ({voice.name})"
    if not 0 <= voice.program <= 127:
        named = instrument_named(voice.name)
        if named is None:
            notes.faults.append(f"{place}: program {voice.program} is none; General MIDI has 0 to 127")
            return voice
        notes.mended.append(f"{place}: program {voice.program} is none; took {named.program} by its name")
        voice = replace(voice, program=named.program)
    low, high = sorted((voice.low, voice.high))
    if any(section.role_of(voice.id) == "drums" for section in plan.sections):
        return replace(voice, low=low, high=high)
    instrument = instrument_of(voice.program)
    low, high = max(low, instrument.lowest), min(high, instrument.highest)
    if (high - low < _NARROWEST and high - low < voice.high - voice.low) or high <= low:
        low, high = instrument.comfortable_low, instrument.comfortable_high
    if (low, high) != (voice.low, voice.high):
        notes.mended.append(
            f"{place}: {pitch_name(voice.low)} to {pitch_name(voice.high)} is no range of a {instrument.name}; "
            f"took {pitch_name(low)} to {pitch_name(high)}"
        )
    return replace(voice, low=low, high=high)


_NARROWEST = 7
"""Semitones that must be left of a range where it is cut to the instrument's."""


def _sections(plan: Plan, notes: _Notes) -> Plan:
    """Let the sections cover bars 1 to `bars`, without gap or overlap, at a tempo that can be played."""
    sections = sorted(plan.sections, key=lambda one: one.first)
    bars = plan.bars
    if bars != sections[-1].last == len(plan.harmony):
        notes.mended.append(f"bars: {bars} where sections and harmony have {sections[-1].last}; took that")
        bars = sections[-1].last
    laid: list[Section] = []
    for section in sections:
        first, last = (laid[-1].last + 1 if laid else 1), min(section.last, bars)
        if section.first > first and laid and section.first <= bars:
            first = section.first
            notes.mended.append(f"section {laid[-1].name}: stretched to bar {first - 1}, where the next one begins")
            laid[-1] = replace(laid[-1], last=first - 1)
        if first > last:
            notes.mended.append(f"section {section.name}: left out, no bar of {section.first}-{section.last} was free")
            continue
        if (first, last) != (section.first, section.last):
            notes.mended.append(f"section {section.name}: bars {section.first}-{section.last} became {first}-{last}")
        laid.append(replace(section, first=first, last=last))
    if not laid:
        laid = [replace(sections[0], first=1, last=bars)]
    if laid[-1].last < bars:
        missing = bars - laid[-1].last
        if missing > LONGEST_WITHOUT_TUNE:
            notes.faults.append(f"sections: bars {laid[-1].last + 1}-{bars} belong to none; plan them")
        else:
            notes.mended.append(f"section {laid[-1].name}: stretched to bar {bars}, the last one")
        laid[-1] = replace(laid[-1], last=bars)
    return replace(plan, bars=bars, sections=tuple(_paced(section, notes) for section in _named_apart(laid, notes)))


def _length(plan: Plan, notes: _Notes) -> Plan:
    """See that the plan lasts as long as it says, by its tempo."""
    return with_length(plan, notes.mended) if plan.meter in METERS else plan


def _named_apart(sections: Sequence[Section], notes: _Notes) -> list[Section]:
    """Give each section a name of its own, so that a message can name it."""
    named: list[Section] = []
    for section in sections:
        taken = {one.name for one in named}
        name = next(name for n in range(1, len(sections) + 2) if (name := section.name + str(n) * (n > 1)) not in taken)
        if name != section.name:
            notes.mended.append(f"section {section.name}, bars {section.first}-{section.last}: called {name}")
        named.append(replace(section, name=name))
    return named


def _paced(section: Section, notes: _Notes) -> Section:
    qpm = min(max(section.qpm, SLOWEST_QPM), FASTEST_QPM)
    if qpm != section.qpm:
        notes.mended.append(f"section {section.name}: {section.qpm:g} quarter notes a minute became {qpm:g}")
    return replace(section, qpm=qpm)


def _parts(plan: Plan, notes: _Notes) -> Plan:
    """Keep one part a voice and section, and only voices that there are."""
    ids = {voice.id for voice in plan.voices}
    sections = []
    for section in plan.sections:
        parts: dict[int, VoicePart] = {}
        for part in section.parts:
            if part.voice not in ids:
                notes.mended.append(f"section {section.name}: there is no voice {part.voice}; its role was left out")
            else:
                parts.setdefault(part.voice, part)
        sections.append(replace(section, parts=tuple(parts.values())))
    silences = tuple(s for s in plan.silences if s.voice in ids and s.first <= plan.bars)
    if len(silences) < len(plan.silences):
        notes.mended.append("silences: those of voices or bars that there are not were left out")
    silences = tuple(replace(s, last=min(s.last, plan.bars)) for s in silences)
    return replace(plan, sections=tuple(sections), silences=silences)


def _tune(plan: Plan, notes: _Notes) -> Plan:
    """See that somebody has the tune, early and without long holes."""
    ids = {voice.id for voice in plan.voices} | {0}
    if plan.melody:
        by_section = replace(plan, melody=())
        bars = range(1, plan.bars + 1)
        said = dict(enumerate(plan.melody, 1))
        melody = tuple(said[bar] if said.get(bar, -1) in ids else by_section.melody_at(bar) for bar in bars)
        if melody != plan.melody:
            notes.mended.append("melody: bars that name no voice of the plan took the one that its section names")
        plan = replace(plan, melody=melody)
    have = [plan.melody_at(bar) for bar in range(1, plan.bars + 1)]
    first = next((bar for bar, voice in enumerate(have, 1) if voice), 0)
    if not first:
        notes.faults.append("nobody has the tune: give a voice the role melody in the first or second section")
        return plan
    start = plan.section_at(first).first
    if first > start + 1:
        voice = have[first - 1]
        have[start - 1 : first - 1] = [voice] * (first - start)
        notes.mended.append(f"bars {start}-{first - 1}: nobody had the tune though its section has; gave voice {voice}")
        plan = replace(plan, melody=tuple(have))
    for begin, end in _holes(have):
        if end - begin + 1 > LONGEST_WITHOUT_TUNE:
            notes.faults.append(
                f"bars {begin}-{end}: nobody has the tune for {end - begin + 1} bars; name the voice that has it"
            )
    return plan


def _holes(have: Sequence[int]) -> list[tuple[int, int]]:
    """First and last bars of the stretches without a voice."""
    holes: list[tuple[int, int]] = []
    for bar, voice in enumerate(have, 1):
        if not voice and holes and holes[-1][1] == bar - 1:
            holes[-1] = (holes[-1][0], bar)
        elif not voice:
            holes.append((bar, bar))
    return holes


_NEAR: dict[Family, tuple[Family, ...]] = {
    "wave": ("broken", "arpeggio", "ostinato", "pad", "pulse"),
    "broken": ("wave", "alberti", "arpeggio", "offbeat", "pulse"),
    "alberti": ("broken", "wave", "offbeat", "pulse"),
    "waltz": ("offbeat", "broken", "chorale", "pulse"),
    "offbeat": ("pulse", "waltz", "broken", "ostinato"),
    "pulse": ("ostinato", "offbeat", "tremolo", "broken"),
    "pad": ("chorale", "wave", "arpeggio", "pulse"),
    "ostinato": ("pulse", "broken", "wave", "offbeat"),
    "tremolo": ("pulse", "ostinato", "arpeggio", "wave"),
    "chorale": ("pad", "broken", "pulse", "wave"),
    "arpeggio": ("wave", "broken", "pad", "ostinato"),
    "pizzicato": ("offbeat", "ostinato", "broken", "pulse"),
    "drums": ("ostinato", "pulse", "offbeat"),
}
"""What may stand for a family beside a section that has it too, nearest first."""


def families_for(program: int, meter: str) -> tuple[Family, ...]:
    """Return the figures that suit an instrument (General MIDI program) in a meter, in the order of `FAMILIES`."""
    instrument = instrument_of(program)
    unfit: set[Family] = {"drums"}
    if instrument.chords < 2:
        unfit |= {"chorale", "waltz", "tremolo"}
    if instrument.chords < 2 and not instrument.sustains:
        unfit.add("pad")
    if instrument.kind not in ("bowed", "keys", "plucked", "struck"):
        unfit.add("tremolo")
    if instrument.kind not in ("bowed", "plucked", "mallet", "struck"):
        unfit.add("pizzicato")
    if meter not in ("3/4", "3/8", "6/8", "3/2", "9/8", "6/4"):
        unfit.add("waltz")
    if meter not in ("2/4", "4/4", "2/2", "12/8"):
        unfit.add("alberti")
    return tuple(family for family in FAMILIES if family not in unfit)


def _figures(plan: Plan, notes: _Notes) -> Plan:
    """Give every figure a family, and no voice the same one in two neighbouring sections; basses may have one."""
    sections: list[Section] = []
    programs = {voice.id: voice.program for voice in plan.voices}
    for number, section in enumerate(plan.sections):
        before = {one.voice: one.family for one in sections[-1].parts if one.role in FIGURE_ROLES} if sections else {}
        after = plan.sections[number + 1].parts if number + 1 < len(plan.sections) else ()
        behind = {part.voice: part.family for part in after}
        parts = []
        for part in section.parts:
            place = f"section {section.name}, voice {part.voice}"
            taken = {before.get(part.voice), behind.get(part.voice)}
            if part.role == "drums":
                part = replace(part, family="drums")
            elif part.role not in FIGURE_ROLES | BASS_ROLES:
                if part.family is not None:
                    notes.mended.append(f"{place}: {part.role} has no figure; left {part.family} out")
                part = replace(part, family=None, degrees="")
            elif part.role in FIGURE_ROLES and part.family in (None, before.get(part.voice)):
                family = _other_family(part.family, programs[part.voice], plan.meter, taken)
                why = "had no family" if part.family is None else f"{part.family} stands in the section before too"
                notes.mended.append(f"{place}: {why}; took {family}")
                part = replace(part, family=family, degrees="")
            parts.append(part)
        sections.append(replace(section, parts=tuple(parts)))
    return replace(plan, sections=tuple(sections))


def _other_family(family: Family | None, program: int, meter: str, taken: set[Family | None]) -> Family:
    suited = families_for(program if 0 <= program <= 127 else 0, meter)
    wanted = (*_NEAR[family or "broken"], *suited)
    return next(
        (one for one in wanted if one in suited and one not in taken), "broken" if family != "broken" else "wave"
    )


def _bass(plan: Plan, notes: _Notes) -> Plan:
    """See that the last voice has the bass somewhere. A solo, drums beside it or not, needs none."""
    drums = {part.voice for section in plan.sections for part in section.parts if part.role == "drums"}
    if len(plan.voices) - len(drums) <= 1:
        return plan
    basses = {part.voice for section in plan.sections for part in section.parts if part.role in BASS_ROLES}
    last = plan.voices[-1]
    if last.id in basses:
        return plan
    if len(basses) == 1:
        (low,) = basses
        notes.mended.append(f"voices: voice {low} has the bass; put it last")
        others = tuple(voice for voice in plan.voices if voice.id != low)
        return replace(plan, voices=(*others, plan.voice(low)))
    if basses:
        names = ", ".join(map(str, sorted(basses)))
        notes.faults.append(f"voices: {names} have the bass but the last one, {last.id}, never; put the lowest last")
        return plan
    sections = []
    for section in plan.sections:
        role = section.role_of(last.id)
        if role in ("figure", "hold"):
            part = section.part_of(last.id)
            part = replace(part, role="bass+figure") if role == "figure" else replace(part, role="bass")
            section = replace(section, parts=tuple(part if one.voice == last.id else one for one in section.parts))
            notes.mended.append(
                f"section {section.name}, voice {last.id}: nobody had the bass; {role} is {part.role} now"
            )
        sections.append(section)
    if plan.sections == tuple(sections):
        notes.faults.append(f"nobody has the bass: give voice {last.id}, the last one, the role bass in some section")
    return replace(plan, sections=tuple(sections))


def _harmony(plan: Plan, notes: _Notes) -> Plan:
    """See that every bar has one or two chords that can be read."""
    texts = [""] * plan.bars
    texts[: min(len(plan.harmony), plan.bars)] = plan.harmony[: plan.bars]
    if len(plan.harmony) > plan.bars:
        notes.mended.append(f"harmony: {len(plan.harmony)} bars for a tune of {plan.bars}; left the last ones out")
    bars = [_chords_of_bar(bar, text, notes) for bar, text in enumerate(texts, 1)]
    given = [bar for bar, chords in enumerate(bars, 1) if chords]
    if not given:
        notes.faults.append("harmony: no bar has a chord; write one for every bar")
        return replace(plan, harmony=tuple(texts))
    missing = plan.bars - len(given)
    if missing * 2 > plan.bars:
        notes.faults.append(f"harmony: {missing} of {plan.bars} bars have no chord; write one for every bar")
    for bar in range(1, plan.bars + 1):
        if not bars[bar - 1]:
            source = max((one for one in given if one < bar), default=given[0])
            bars[bar - 1] = bars[source - 1][-1:] if source < bar else bars[source - 1][:1]
            if missing * 2 <= plan.bars:
                notes.mended.append(f"bar {bar} had no chord: took {bars[bar - 1][0]} of bar {source}")
    return replace(plan, harmony=tuple(" ".join(chords) for chords in bars))


_NO_CHORD = frozenset({"%", "-", "/", "~", ".", "NC", "N.C.", "N.C", "n.c."})
"""Signs for the chord before, or for none, which a plan needs all the same."""


def _chords_of_bar(bar: int, text: str, notes: _Notes) -> list[str]:
    symbols = [one for one in text.replace("|", " ").replace(",", " ").split() if one not in _NO_CHORD]
    chords = []
    for symbol in symbols:
        readable = nearest_symbol(symbol)
        if readable is None:
            notes.faults.append(f"bar {bar}: {symbol!r} is no chord symbol; write D, Bm7, F#m7b5 or C/G")
        else:
            if readable != symbol:
                notes.mended.append(f"bar {bar}: {symbol!r} is no chord symbol; took {readable}")
            chords.append(readable)
    if len(chords) > MOST_CHORDS_A_BAR:
        kept = [chords[0], chords[-1]]
        notes.mended.append(f"bar {bar}: {len(chords)} chords are too many; kept {' and '.join(kept)}")
        chords = kept
    return chords


def chords_of(plan: Plan) -> list[list[Chord]]:
    """Return the chords of every bar, first to last.

    Raises:
        PlanError: a symbol cannot be read; `check_plan` names its bar.
    """
    return [[read_chord(symbol) for symbol in text.split()] for text in plan.harmony]


def _readable(plan: Plan) -> tuple[list[list[Chord]], Tonality] | None:
    """The chords and the key, where both can be read and every bar has a chord."""
    tonality = read_tonality(plan.key)
    if tonality is None or any(nearest_symbol(s) != s for text in plan.harmony for s in text.split()):
        return None
    chords = chords_of(plan)
    return (chords, tonality) if all(chords) else None


def _ending(plan: Plan, notes: _Notes) -> Plan:
    """See that the last chord is the tonic, and in a loop that it is not."""
    found = _readable(plan)
    if found is None or (found[0][-1][-1].root == found[1].pitch_class) != plan.loop:
        return plan
    last, why = last_symbol(found[1], plan.loop), "at home, and is to lead back" if plan.loop else "away from home"
    notes.mended.append(f"bar {plan.bars}: the tune ended on {plan.harmony[-1]}, {why}; ends on {last} now")
    return replace(plan, harmony=(*plan.harmony[:-1], last))


def _cadences(plan: Plan, notes: _Notes) -> Plan:
    """Let each section's cadence say what its chords do in the plan's key."""
    found = _readable(plan)
    if found is None:
        return plan
    chords, tonality = found
    sections = []
    for section in plan.sections:
        heard = cadences_of([chord for bar in chords[: section.last] for chord in bar], tonality.pitch_class)
        if section.cadence not in heard:
            end = " ".join(plan.harmony[max(0, section.last - 2) : section.last])
            notes.mended.append(
                f"section {section.name}: {end} is no {section.cadence} cadence in {plan.key}; called it {heard[0]}"
            )
            section = replace(section, cadence=heard[0])
        sections.append(section)
    return replace(plan, sections=tuple(sections))


def _climax(plan: Plan, notes: _Notes) -> Plan:
    """Put the climax late, into a voice that sounds there and can play it."""
    climax = plan.climax
    if climax is None:
        return plan
    earliest = max(1, plan.bars * 2 // 3)
    if not earliest <= climax.bar <= plan.bars:
        sounding = [bar for bar in range(earliest, plan.bars + 1) if plan.role_at(climax.voice, bar) == "melody"]
        wanted = ceil(plan.bars * 0.75)
        bar = min(sounding, key=lambda bar: abs(bar - wanted), default=wanted)
        notes.mended.append(f"climax: bar {climax.bar} is not in the last third; moved to bar {bar}")
        climax = replace(climax, bar=bar)
    voices = {voice.id: voice for voice in plan.voices}
    if climax.voice not in voices or plan.role_at(climax.voice, climax.bar) == "rest":
        voice = plan.melody_at(climax.bar)
        if not voice or plan.role_at(voice, climax.bar) == "rest":
            notes.faults.append(
                f"climax: voice {climax.voice} is silent in bar {climax.bar}; name one that sounds there"
            )
            return replace(plan, climax=climax)
        notes.mended.append(f"climax: voice {climax.voice} is silent in bar {climax.bar}; gave it to voice {voice}")
        climax = replace(climax, voice=voice)
    voice_here = voices[climax.voice]
    if not voice_here.low <= climax.pitch <= voice_here.high:
        pitch = _reachable(plan, climax.bar, climax.pitch, voice_here)
        notes.mended.append(
            f"climax: {pitch_name(climax.pitch)} is outside of voice {climax.voice} ({pitch_name(voice_here.low)} to "
            f"{pitch_name(voice_here.high)}); took {pitch_name(pitch)}"
        )
        climax = replace(climax, pitch=pitch)
    return replace(plan, climax=climax)


def _reachable(plan: Plan, bar: int, pitch: int, voice: PlannedVoice) -> int:
    """Return the same note in another octave if that is near the voice's top, else its highest tone of the chord."""
    top = range(voice.high, max(voice.low, voice.high - 12) - 1, -1)
    same = next((one for one in top if one % 12 == pitch % 12), None)
    if same is not None and voice.high - same <= _NARROWEST:
        return same
    readable = [read_chord(s) for s in plan.harmony[bar - 1].split() if nearest_symbol(s) == s]
    classes = readable[0].classes if readable else frozenset(range(12))
    return next((one for one in top if one % 12 in classes), voice.high)


def _places(plan: Plan, notes: _Notes) -> Plan:
    """Leave out what stands outside the tune."""
    ids = {voice.id for voice in plan.voices}
    if plan.surprise is not None and not 1 <= plan.surprise.bar <= plan.bars:
        notes.mended.append(f"surprise: there is no bar {plan.surprise.bar}; left it out")
        plan = replace(plan, surprise=None)
    if plan.device is not None:
        if not 1 <= plan.device.payoff_bar <= plan.bars:
            notes.faults.append(f"device: there is no bar {plan.device.payoff_bar}; name the bar where it pays off")
        if not set(plan.device.voices) <= ids:
            notes.mended.append("device: voices that there are not were left out")
            voices = tuple(voice for voice in plan.device.voices if voice in ids)
            plan = replace(plan, device=replace(plan.device, voices=voices))
    free = tuple(bar for bar in plan.free_bars if 1 <= bar <= plan.bars)
    if free != plan.free_bars:
        notes.mended.append("free_bars: bars that there are not were left out")
    return replace(plan, free_bars=free)
