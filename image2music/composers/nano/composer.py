"""nano behind the composer's protocol: it composes by search.

What suits the scene gives a request; the search draws forms, harmony and themes for it and writes lines; the best few
get their other voices from the shared arranger, are listened to, and one is kept. So the plan that nano answers is the
plan of a tune that is there already: writing to it takes the tune from memory, or searches again with the same dice. To
another plan, a person's, it searches a line that fits that plan's bars.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

from PIL.Image import Image

from image2music.abc.checker import read_motif
from image2music.abc.writer.parts import bars_to_abc, lines_to_abc
from image2music.composers.base import (
    WORTH,
    ComposeRequest,
    EditRequest,
    ExplainRequest,
    PlanningRequest,
    RefineRequest,
    RepairRequest,
    WriteRequest,
)
from image2music.composers.nano.borrowing import LENDABLE, Lendable, lend, request_with_loan
from image2music.composers.nano.explaining import explain, title_of
from image2music.composers.nano.gestures import gestures_of
from image2music.composers.nano.patches import look_at, nano_id
from image2music.composers.nano.planning import plan_request
from image2music.composers.nano.pools import HarmonicStyle
from image2music.composers.nano.search.cells import Bars
from image2music.composers.nano.search.composing import (
    Composition,
    Effort,
    LineNetwork,
    Wanted,
    compose_lines,
    with_voices,
)
from image2music.composers.nano.search.form import LONG
from image2music.composers.nano.search.given import compose_to_plan
from image2music.composers.nano.search.layout import Written, seat_band
from image2music.composers.nano.search.worth import judge
from image2music.composers.suiting import SuitingMusic
from image2music.images.scene import Scene
from image2music.images.words import describe_scene
from image2music.music.arrange.arranger import arrange_plan
from image2music.music.lines import Line
from image2music.music.planning.checks import check_plan
from image2music.music.planning.constraints import PlanConstraints
from image2music.music.planning.plan import Plan
from image2music.music.planning.planner import MOST_PLANNED_VOICES, PlanRequest
from image2music.settings import picture_seed
from image2music.types import Description, Edit, Explanation

if TYPE_CHECKING:
    from image2music.composers.nano.network.reader import NanoNetwork
    from image2music.composers.nano.patches import PoleVectors
    from image2music.embedders.conse import ConseEmbedder

_REMEMBERED = 128
"""Tunes that are kept: those of a batch with its candidates, from planning to the last edit."""


_DICE = "dice"
"""In the notes: the label of the dice with which a take's tune was found; another attempt has others."""
_REFINED = "refine"


@dataclass(frozen=True)
class _Tune:
    """A tune that was found: its plan, the lines that the search wrote, the arranger's seed, all voices, its worth."""

    plan: Plan
    written: Written
    seed: int
    lines: tuple[Line, ...]
    worth: float


class NanoComposer:
    """Searches tunes, has them arranged, and explains them from the network's attention."""

    def __init__(
        self, embedder: ConseEmbedder, poles: PoleVectors, network: NanoNetwork, id: str, effort: Effort | None = None
    ) -> None:
        self._embedder, self.poles, self.network, self.id = embedder, poles, network, id
        self._effort = effort or Effort()
        self._memory: OrderedDict[object, _Tune] = OrderedDict()

    def look(self, images: Sequence[Image], language: str = "en") -> list[Description]:
        """Describe each picture; its patches stay with the description."""
        seen = [(look.scene, look) for look in self._embedder.look(images)]
        return [Description(describe_scene(scene, language), look_at(look, self.poles), scene) for scene, look in seen]

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        """Compose a tune for each request and return its plan."""
        return [self._planned(one) for one in requests]

    def _planned(self, one: PlanningRequest) -> Plan:
        label = _label(one.take, one.attempt)
        tune = self._tune(one.request, label)
        one.notes.update({WORTH: tune.worth, _DICE: label})
        return tune.plan

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """Return a tune for each request: to its plan, or, without one, to a plan of nano's own."""
        return [self._written(one.request, one.plan, one.notes.setdefault(_DICE, _label(one.take))) for one in requests]

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """Return another tune: nano's own never fail the check, so there is nothing to repair in place."""
        return [self._written(one.request, one.plan, f"repair {one.attempt}/{one.take}") for one in requests]

    def edit(self, requests: Sequence[EditRequest]) -> list[tuple[Edit, ...]]:
        """Arrange each tune once more with other dice, and offer the bars in which something was heard.

        Only voices that were derived by rule are offered: the lines are what the search chose.
        """
        return [self._edits(one) for one in requests]

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """Return another tune for the same picture (the paper's chain)."""
        return [self._written(one.request, None, _REFINED) for one in requests]

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """Return motivation and attention, computed over the tune that stands."""
        return explain(self.network, [self._with_plan(one) for one in requests])

    def _with_plan(self, one: ExplainRequest) -> ExplainRequest:
        """Return a request with the plan of the tune, which is nano's own where nobody gave one (the paper's chain)."""
        if one.plan is not None:
            return one
        tunes = (self._tune(one.request, label) for label in (one.notes.get(_DICE, _label(0)), _REFINED))
        plan = next((tune.plan for tune in tunes if _text(tune.plan, tune.lines) == one.abc), None)
        return replace(one, plan=plan)

    def _written(self, request: ComposeRequest, plan: Plan | None, label: str) -> str:
        tune = self._tune(request, label) if request.plan is None else None
        if plan is None or (tune is not None and plan == tune.plan):
            assert tune is not None
            return _text(tune.plan, tune.lines)
        if tune is not None and _same_frame(plan, tune.plan):
            return _text(plan, arrange_plan(plan, tune.written.bars(plan.meter, plan.bars), tune.seed))
        return self._to_plan(request, plan, label)

    def _to_plan(self, request: ComposeRequest, plan: Plan, label: str) -> str:
        """Write to a plan that is not nano's own."""
        seed = picture_seed(request.seed, f"{request.image_id}/given/{label}")
        wanted, music = self._request(request, label)
        gestures = gestures_of(request.description.scene or Scene(""))
        written = compose_to_plan(plan, Wanted(wanted, music.character, gestures), self._effort, seed)
        return _text(plan, arrange_plan(plan, written, seed))

    def _edits(self, one: EditRequest) -> tuple[Edit, ...]:
        label = one.notes.get(_DICE, _label(one.take))
        tune = self._tune(one.request, label) if one.request.plan is None else None
        if tune is None or not _same_frame(one.plan, tune.plan):
            return ()
        seed = picture_seed(tune.seed, "edit")
        lines = arrange_plan(one.plan, tune.written.bars(one.plan.meter, one.plan.bars), seed)
        derived = {
            one.plan.place_of(line.voice): bars_to_abc(one.plan.key, one.plan.meter, line.bars, one.plan.harmony)
            for line in lines
            if line.derived and not line.is_drums
        }
        heard = dict.fromkeys(fault.bar for fault in one.sheet.shown if fault.bar <= one.plan.bars)
        return tuple(Edit(bar, str(voice), texts[bar - 1]) for bar in heard for voice, texts in derived.items())

    def _tune(self, request: ComposeRequest, label: str) -> _Tune:
        """Return the tune of a picture and a label, from memory where it is still there."""
        wanted = self._wanted(request, label)
        key = (request.image_id, request.seed, label, wanted, tuple(r.row_hash for r in request.references))
        tune = self._memory.get(key)
        if tune is None:
            seed = picture_seed(request.seed, f"{request.image_id}/{label}")
            tune = self._memory[key] = _best(wanted, _effort_for(wanted, self._effort), seed, self.network)
        self._memory.move_to_end(key)
        while len(self._memory) > _REMEMBERED:
            self._memory.popitem(last=False)
        return tune

    def _request(self, request: ComposeRequest, label: str) -> tuple[PlanRequest, SuitingMusic]:
        scene = request.description.scene or Scene("")
        seed = picture_seed(request.seed, f"{request.image_id}/plan/{label}")
        wanted, music = plan_request(scene, seed, _constraints(request))
        return replace(wanted, title=title_of(scene, music, seed, request.language)), music

    def _wanted(self, request: ComposeRequest, label: str) -> Wanted:
        """Return what is to be composed: an album's demands first, then people's wishes, then what suits the scene.

        References lend what nobody has decided.
        """
        wanted, music = self._request(request, label)
        seed = picture_seed(request.seed, f"{request.image_id}/loan/{label}")
        undecided = _undecided(_constraints(request))
        loan = lend(wanted, music, request.references, seed, undecided)
        gestures = gestures_of(request.description.scene or Scene(""))
        opening: Bars = ()
        if request.album is not None:
            opening = tuple(_opening_bar(line, request.album.tonic) for line in request.album.opening)
        wanted = request_with_loan(wanted, loan)
        if "instruments" in undecided:
            wanted = _at_most_five(wanted)
        return Wanted(wanted, music.character, gestures, opening, _style(wanted), loan)


def _at_most_five(request: PlanRequest) -> PlanRequest:
    """Leave inner voices out where drums, or an instrument on two staves, make more than five voices."""
    programs = list(request.programs)
    while len(programs) > 2 and len(seat_band(programs, request.drums)) > MOST_PLANNED_VOICES:
        del programs[len(programs) // 2]
    return replace(request, programs=tuple(programs))


def _constraints(request: ComposeRequest) -> tuple[PlanConstraints, ...]:
    return (() if request.album is None else (request.album.constraints,)) + request.constraints


def _undecided(constraints: Sequence[PlanConstraints]) -> frozenset[Lendable]:
    """Return what references may lend: all that no album and no person has decided."""
    decided: set[Lendable] = set()
    for one in constraints:
        if one.players or one.suggested or one.without:
            decided |= {"instruments", "drums"}
        if one.meters or one.length is not None:
            decided.add("meter")
        if one.families:
            decided |= {"figure", "bass"}
    return LENDABLE - decided


_JAZZ = frozenset({"jazz", "swing", "bebop", "big band", "cool jazz", "jazz ballad", "lounge", "bossa", "bossa nova"})


def _style(request: PlanRequest) -> HarmonicStyle:
    """Jazz harmony for a jazz style, and for bands that only jazz has."""
    band = set(request.programs)
    return "jazz" if request.style in _JAZZ or (32 in band and band & {4, 11, 26, 59, 66}) else "classic"


def _opening_bar(line: Sequence[tuple[int, int]], tonic: int) -> tuple[tuple[int, int, int], ...]:
    """Return a bar of an album's opening as notes: pitches above the tonic, lengths in eighths."""
    notes, at = [], 0
    for pitch, eighths in line:
        notes.append((at, 6 * eighths, 60 + tonic + pitch))
        at += 6 * eighths
    return tuple(notes)


def _label(take: int, attempt: int = 0) -> str:
    """Name what the dice of a search are for; planning and writing of one take search the same."""
    return f"{take}" if not attempt else f"{take}.{attempt}"


def _effort_for(wanted: Wanted, effort: Effort) -> Effort:
    """Return an effort that a long tune is worth: each of its lines takes as long as four of a usual tune."""
    if wanted.request.length_s is None or wanted.request.bars < LONG:
        return effort
    return replace(effort, plans=ceil(effort.plans / 2), themes=ceil(effort.themes / 2), kept=ceil(effort.kept / 2))


def _best(wanted: Wanted, effort: Effort, seed: int, network: LineNetwork | None) -> _Tune:
    """Search, arrange the best lines, listen, and keep one."""
    found: list[tuple[float, int, _Tune]] = []
    for number, composition in enumerate(compose_lines(wanted, effort, seed, network)):
        tune = _arranged(composition, wanted)
        found.append((-tune.worth, number, tune))
    return min(found, key=lambda one: one[:2])[2]


def _arranged(composition: Composition, wanted: Wanted) -> _Tune:
    """Return a composition with all its voices, and what a listener thinks of it."""
    plan, written = with_voices(composition, wanted)
    plan = _as_sung(plan, written)
    lines = arrange_plan(plan, written.bars(plan.meter, plan.bars), composition.seed)
    judged = judge(composition.worth, plan, lines)
    return _Tune(judged.plan, written, composition.seed, lines, judged.total)


def _as_sung(plan: Plan, written: Written) -> Plan:
    """Widen ranges to what voices sing, and leave out what the checks would change although it is sung so.

    A motif that leans on notes beside its chords, or a climax that comes early, stands in the tune, not in the plan.
    """
    voices = []
    for voice in plan.voices:
        pitches = [pitch for notes in written.lines.get(voice.id, {}).values() for _, _, pitch in notes]
        voices.append(replace(voice, low=min([voice.low, *pitches]), high=max([voice.high, *pitches])))
    plan = replace(plan, voices=tuple(voices))
    checked = check_plan(plan)
    if plan.motif is not None and len(check_plan(plan, read_motif).faults) > len(checked.faults):
        plan = replace(plan, motif=None)
    return plan if checked.plan.climax == plan.climax else replace(plan, climax=None)


def _same_frame(plan: Plan, own: Plan) -> bool:
    """Whether a plan is one that a line was written for; the checks may have mended it since, but not its harmony."""
    return (plan.harmony, plan.meter, plan.key, plan.melody) == (own.harmony, own.meter, own.key, own.melody)


def _text(plan: Plan, lines: Sequence[Line]) -> str:
    sections = [(section.name, section.first, section.last) for section in plan.sections]
    return lines_to_abc(plan.title, plan.key, plan.meter, lines, sections=sections, harmony=plan.harmony)


@lru_cache(maxsize=1)
def load_nano() -> NanoComposer:
    """Load the composer with the weights that come with the package, once a process."""
    from image2music.composers.nano.network.reader import load_network
    from image2music.composers.nano.patches import PoleVectors
    from image2music.embedders.conse import load_conse

    id, embedder = nano_id(), load_conse()
    return NanoComposer(embedder, PoleVectors.embed(embedder), load_network(), id)
