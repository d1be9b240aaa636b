"""Mends a plan whatever it says, so that it can be played: the last resort, when its maker has had all attempts.

`checks` mends what is plain and names the other faults, which go back to the plan's maker. Here those are mended too,
by the shortest way: what cannot be read is replaced by something simple, what contradicts is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from image2music.music.planning.checks import LONGEST_WITHOUT_TUNE, CheckedPlan, check_plan
from image2music.music.planning.harmony import METERS, MotifReader, motif_chord_faults, tonic_symbol
from image2music.music.planning.plan import BASS_ROLES, Plan, Role, Section, VoicePart
from image2music.music.planning.schema import MOST_VOICES
from image2music.music.theory import read_tonality

_MOST_ROUNDS = 6
_PLAIN_KEY, _PLAIN_METER, _PLAIN_PROGRAM = "C", "4/4", 0


def consistent(plan: Plan, motif_notes: MotifReader | None = None) -> CheckedPlan:
    """Return the plan after `check_plan` and after all that is left has been mended too; it has no faults.

    Args:
        plan: as it was read.
        motif_notes: reads the motif's ABC (`abc.checker.read_motif`); without it the motif's notes are not checked.
    """
    mended: list[str] = []
    for _ in range(_MOST_ROUNDS):
        checked = check_plan(_readable(plan, mended), motif_notes)
        mended += [line for line in checked.mended if line not in mended]
        if not checked.faults:
            break
        plan = _playable(checked.plan, mended, motif_notes)
    return CheckedPlan(checked.plan, tuple(mended), checked.faults)


def _readable(plan: Plan, mended: list[str]) -> Plan:
    """Replace what cannot be read at all."""
    if read_tonality(plan.key) is None:
        mended.append(f"key: {plan.key!r} is no key; took {_PLAIN_KEY}")
        plan = replace(plan, key=_PLAIN_KEY)
    if len(plan.voices) > MOST_VOICES:
        mended.append(f"voices: {len(plan.voices)} are too many; kept the first ones and the last")
        plan = replace(plan, voices=(*plan.voices[: MOST_VOICES - 1], plan.voices[-1]))
    if any(voice.id < 1 for voice in plan.voices):
        mended.append("voices: those whose ids do not count from 1 were numbered anew")
        plan = _numbered(plan)
    return plan


def _numbered(plan: Plan) -> Plan:
    """Give voices with an id below 1 a free one, wherever they are named."""
    taken = {voice.id for voice in plan.voices}
    free = (number for number in range(1, len(taken) + MOST_VOICES) if number not in taken)
    new = {voice.id: next(free) for voice in plan.voices if voice.id < 1}

    def renamed(section: Section) -> Section:
        parts = tuple(replace(part, voice=new.get(part.voice, part.voice)) for part in section.parts)
        return replace(section, parts=parts)

    voices = tuple(replace(voice, id=new.get(voice.id, voice.id)) for voice in plan.voices)
    return replace(plan, voices=voices, sections=tuple(map(renamed, plan.sections)))


def _playable(plan: Plan, mended: list[str], motif_notes: MotifReader | None) -> Plan:
    """Mend what `check_plan` only names."""
    if plan.meter not in METERS:
        mended.append(f"meter: {plan.meter!r} cannot be written; took {_PLAIN_METER}")
        plan = replace(plan, meter=_PLAIN_METER)
    for voice in plan.voices:
        if not 0 <= voice.program <= 127:
            mended.append(f"voice {voice.id} ({voice.name}): program {voice.program} is none; took {_PLAIN_PROGRAM}")
    plan = replace(plan, voices=tuple(
        voice if 0 <= voice.program <= 127 else replace(voice, program=_PLAIN_PROGRAM) for voice in plan.voices
    ))  # fmt: skip
    tonality = read_tonality(plan.key)
    if tonality is not None and not any(plan.harmony):
        mended.append("harmony: no bar had a chord; every bar got the tonic")
        plan = replace(plan, harmony=(tonic_symbol(tonality),) * plan.bars)
    plan = _with_bass(_with_tune(plan, mended), mended)
    if plan.climax is not None and plan.role_at(plan.climax.voice, plan.climax.bar) == "rest":
        mended.append(f"climax: voice {plan.climax.voice} is silent in bar {plan.climax.bar}; left it out")
        plan = replace(plan, climax=None)
    if plan.device is not None and not 1 <= plan.device.payoff_bar <= plan.bars:
        bar = plan.climax.bar if plan.climax is not None and plan.climax.bar <= plan.bars else plan.bars
        mended.append(f"device: there is no bar {plan.device.payoff_bar}; it pays off in bar {bar}")
        plan = replace(plan, device=replace(plan.device, payoff_bar=bar))
    if plan.motif is not None and motif_notes is not None:
        faults = motif_chord_faults(plan.motif, plan.key, plan.meter, motif_notes)
        if faults:
            mended.append(f"{faults[0]}; left the motif out")
            plan = replace(plan, motif=None)
    return plan


def _with_tune(plan: Plan, mended: list[str]) -> Plan:
    """See that there is a tune, and no long hole in it: the voice that had it goes on, else the next one's begins."""
    have = [plan.melody_at(bar) for bar in range(1, plan.bars + 1)]
    if not any(have):
        first = plan.voices[0].id
        mended.append(f"nobody had the tune: voice {first} got it")
        sections = tuple(_with_role(section, first, "melody") for section in plan.sections)
        return replace(plan, melody=(), sections=sections)
    filled = _without_holes(have)
    if filled != have:
        mended.append("bars where nobody had the tune for long got the voice that had it before")
        plan = replace(plan, melody=tuple(filled))
    return plan


def _hole(have: Sequence[int], bar: int) -> int:
    """Count the bars of the hole that a bar is in."""
    first = last = bar
    while first > 0 and not have[first - 1]:
        first -= 1
    while last + 1 < len(have) and not have[last + 1]:
        last += 1
    return last - first + 1


def _without_holes(have: Sequence[int]) -> list[int]:
    """Give the bars of each long hole to the voice before it, or behind it where none is before."""
    filled, first = list(have), next(voice for voice in have if voice)
    for bar, voice in enumerate(have):
        if not voice and _hole(have, bar) > LONGEST_WITHOUT_TUNE:
            filled[bar] = filled[bar - 1] if bar and filled[bar - 1] else first
    return filled


def _with_bass(plan: Plan, mended: list[str]) -> Plan:
    """Put a voice last that can have the bass, and let it have it where it has not the tune."""
    drums = {part.voice for section in plan.sections for part in section.parts if part.role == "drums"}
    pitched = [voice for voice in plan.voices if voice.id not in drums]
    basses = {part.voice for section in plan.sections for part in section.parts if part.role in BASS_ROLES}
    if len(pitched) <= 1 or plan.voices[-1].id in basses:
        return plan
    tune = {plan.melody_at(bar) for bar in range(1, plan.bars + 1)}
    lowest = min(pitched[1:], key=lambda voice: (voice.id in tune, voice.id not in basses, voice.low, -voice.id))
    plan = replace(plan, voices=(*(voice for voice in plan.voices if voice.id != lowest.id), lowest))
    if lowest.id in basses:
        mended.append(f"voices: voice {lowest.id} has the bass; put it last")
        return plan
    free = [section for section in plan.sections if not _leads(plan, section, lowest.id)] or [plan.sections[-1]]
    mended.append(f"nobody had the bass that stands last: voice {lowest.id} got it")
    sections = tuple(_with_role(one, lowest.id, "bass") if one in free else one for one in plan.sections)
    return replace(plan, sections=sections)


def _leads(plan: Plan, section: Section, voice: int) -> bool:
    return any(plan.melody_at(bar) == voice for bar in section.bars)


def _with_role(section: Section, voice: int, role: Role) -> Section:
    others = tuple(part for part in section.parts if part.voice != voice)
    return replace(section, parts=(*others, VoicePart(voice, role)))
