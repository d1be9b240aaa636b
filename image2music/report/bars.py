"""A tune bar by bar, as it was planned and as it is heard: sections, chords, who has the tune, motif, faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from image2music.evaluation.pieces import playable
from image2music.music.listen.form import motif_heard
from image2music.music.listen.harmony import agrees, harmony_heard, planned_windows
from image2music.music.listen.hearing import Planned, beside, hearing_of
from image2music.music.planning.plan import pitch_name
from image2music.rows import plan_of_row

_HOW = {"": "", "inverted": " upside down", "augmented": " twice as slow", "diminished": " twice as fast"}


@dataclass(frozen=True)
class ShownBar:
    """A bar of the tune. `number` is as written, from 1; `chord` is planned, or heard where there is no plan.

    `heard` is another chord that sounds instead, "" where the plan is kept. `melody` is the place of the voice that has
    the tune, from 0, and `instrument` its name; None and "" where nobody has it or no plan tells. `marks` are what the
    plan or the motif do here, `faults` what a listener would point at.
    """

    number: int
    chord: str
    heard: str
    melody: int | None
    instrument: str
    marks: tuple[str, ...]
    faults: tuple[str, ...]
    motif: bool = False

    @property
    def told(self) -> str:
        """The bar in words, for those who do not see it."""
        parts = [f"bar {self.number}", self.chord, f"{self.heard} is heard" if self.heard else ""]
        parts += [f"{self.instrument} has the tune" if self.instrument else "", *self.marks, *self.faults]
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class SectionView:
    """A section in words, with its bars; `parts` has what each voice does, in the order of the plan's voices."""

    name: str
    span: str
    picture_part: str
    qpm: float
    dynamic: str
    cadence: str
    parts: tuple[str, ...]
    bars: tuple[ShownBar, ...]


@dataclass(frozen=True)
class PlanView:
    """The plan of a tune: its `row` for what is shown as it is, places that matter as lines."""

    row: Mapping[str, Any]
    events: tuple[str, ...]


def plan_view(plan: Mapping[str, Any] | None) -> PlanView | None:
    """Return the column `plan` of a row as it is shown; None where a tune was written to none."""
    return None if plan is None else PlanView(plan, tuple(text for _, text in _events(plan)))


def section_views(row: Mapping[str, Any], faults: Sequence[Mapping[str, Any]]) -> tuple[SectionView, ...]:
    """Return a row's tune by sections and bars; one section without a name where there is no plan.

    `faults` are those of the tune that stands (schemas/composition.py). Nothing is returned where the tune is silent.
    """
    score = playable(row["abc"])
    if score is None:
        return ()
    hearing = hearing_of(score)
    told: dict[int, list[str]] = defaultdict(list)
    for fault in faults:
        told[fault["bar"]].append(f"beat {fault['beat']:g}: {fault['message']}")
    plan = row.get("plan")
    if plan is None:
        bars = tuple(
            ShownBar(bar.number, chord, "", None, "", (), tuple(told[bar.number]))
            for bar, chord in zip(hearing.bars, harmony_heard(hearing), strict=True)
            if not bar.again
        )
        return (SectionView("", _span(1, bars[-1].number), "", row["tempo_qpm"], "", "", (), bars),)
    return tuple(_planned_sections(plan, beside(plan_of_row(plan), hearing), told))


def _planned_sections(
    plan: Mapping[str, Any], planned: Planned, told: Mapping[int, Sequence[str]]
) -> Iterator[SectionView]:
    marks: dict[int, list[str]] = defaultdict(list)
    for at, text in _events(plan):
        if at:
            marks[at].append(text)
    motif = {planned.number(each.tick): _HOW.get(each.how, "") for each in reversed(motif_heard(planned))}
    heard = dict(_other_chords(planned))
    places = {voice["id"]: (place, voice["name"]) for place, voice in enumerate(plan["voices"])}
    for section in plan["sections"]:
        bars = []
        for number in range(section["first"], section["last"] + 1):
            bar = planned.bar(number)
            if bar is None:
                break
            place, instrument = places.get(_melody_at(plan, section, number), (None, ""))
            own = [*marks[number], *([f"the motif{motif[number]}"] if number in motif else [])]
            faults = tuple(told.get(bar.number, ()))
            chord = plan["harmony"][number - 1] if number <= len(plan["harmony"]) else ""
            bars.append(
                ShownBar(
                    bar.number, chord, heard.get(number, ""), place, instrument, tuple(own), faults, number in motif
                )
            )
        yield _section_view(section, plan, tuple(bars))


def _melody_at(plan: Mapping[str, Any], section: Mapping[str, Any], number: int) -> int | None:
    """Return the id of the voice that has the tune in a bar of the plan."""
    if number <= len(plan["melody"]):
        return int(plan["melody"][number - 1])
    return next((int(part["voice"]) for part in section["parts"] if part["role"] == "melody"), None)


def _other_chords(planned: Planned) -> Iterator[tuple[int, str]]:
    """Yield (bar of the plan, chord that is heard) where it is not the planned one."""
    for number, chord, window in planned_windows(planned):
        kept, other = agrees(chord, window)
        if not kept and other is not None:
            yield number, other.symbol


def _section_view(section: Mapping[str, Any], plan: Mapping[str, Any], bars: tuple[ShownBar, ...]) -> SectionView:
    roles = {part["voice"]: _part_text(part) for part in section["parts"]}
    swell = "" if section["swell"] == "none" else f", {section['swell']}"
    return SectionView(
        name=section["name"],
        span=_span(section["first"], section["last"]),
        picture_part=section["picture_part"],
        qpm=section["qpm"],
        dynamic=section["dynamic"] + swell,
        cadence=section["cadence"],
        parts=tuple(roles.get(voice["id"], "rest") for voice in plan["voices"]),
        bars=bars,
    )


def _part_text(part: Mapping[str, Any]) -> str:
    return part["role"] if part["family"] is None else f"{part['role']} ({part['family']})"


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def _events(plan: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield what a plan says of single places: the bar (0 where it is none in particular), and `what: text`."""
    names = {voice["id"]: voice["name"] for voice in plan["voices"]}
    if motif := plan["motif"]:
        yield 0, f"motif: {motif['abc']}"
    if device := plan["device"]:
        yield device["payoff_bar"], f"device: {device['what']}, paid off in bar {device['payoff_bar']}"
    if surprise := plan["surprise"]:
        yield surprise["bar"], f"surprise: bar {surprise['bar']}, {surprise['what']}"
    if climax := plan["climax"]:
        who = names.get(climax["voice"], "nobody")
        yield climax["bar"], f"climax: bar {climax['bar']}, {who} on {pitch_name(climax['pitch'])}"
    for silence in plan["silences"]:
        span = _span(silence["first"], silence["last"])
        yield silence["first"], f"silence: {names.get(silence['voice'], 'nobody')}, bar {span}"
    if plan["ending"]:
        yield 0, f"ending: {plan['ending']}"
