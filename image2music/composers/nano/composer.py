"""nano behind the composer's protocol.

A plan is made from the scene first: form, key, meter, tempo, instruments, figures. nano's decoder draws a melody in it,
and the plan takes over the melody's chords and its peak, so that tune and harmony belong together. Writing to that plan
draws the same melody again (from memory where it is still there) and hands it to the shared arranger. To another plan,
a person's, it draws melodies in the plan's key and meter, takes the one that fits its chords best, and moves what
clashes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL.Image import Image

from image2music.abc.writer.parts import bars_to_abc, lines_to_abc
from image2music.composers.base import (
    ComposeRequest,
    EditRequest,
    ExplainRequest,
    PlanningRequest,
    RefineRequest,
    RepairRequest,
    WriteRequest,
)
from image2music.composers.nano.arrangement import (
    fitted,
    key_of,
    melody_bars_written,
    melody_chords,
    melody_lines,
    misfit,
)
from image2music.composers.nano.decoding import DecodingConstraints
from image2music.composers.nano.explaining import explain, title_of
from image2music.composers.nano.melody import Melody
from image2music.composers.nano.patches import WEIGHTS, SeenPicture, look_at, nano_id
from image2music.composers.nano.planning import plan_request, plan_scene, with_melody
from image2music.composers.nano.reading import MANNER, copied_references, encode_references, read_controls_and_melody
from image2music.composers.nano.sampling import Drawn, Sampler
from image2music.composers.nano.vocabulary import (
    FAST_FROM_QPM,
    LEVELS,
    MAX_BARS,
    METERS,
    PLACED_NOTE,
    SLOW_BELOW_QPM,
    AllowedWords,
    asked_words,
    control_distance,
    controls_of,
    placed_tokens,
    planned_words,
    suiting_words,
    tempo_control,
)
from image2music.composers.suiting import Character
from image2music.images.scene import Scene
from image2music.images.words import describe_scene
from image2music.music.arrange.arranger import arrange_plan
from image2music.music.grid import detect_key
from image2music.music.planning.checks import check_plan
from image2music.music.planning.plan import Plan
from image2music.music.planning.planner import PlanRequest
from image2music.music.theory import read_chord
from image2music.settings import picture_seed
from image2music.types import Description, Edit, Explanation

if TYPE_CHECKING:
    from image2music.composers.nano.patches import PoleVectors
    from image2music.embedders.conse import ConseEmbedder

# Candidates drawn at once in each pass. A pass over few tunes takes nearly as long as one over many, so what has to be
# drawn again is drawn three times at once; the third pass is for copies alone.
PASSES = (1, 3, 3)
CELLS = 7
MINOR_MODES = ("minor", "dorian")
_REMEMBERED = 512
"""Draws that are kept: those of a batch with its candidates, from planning to the last edit."""


@dataclass(frozen=True)
class _Task:
    """One tune to sample: its request, the words allowed for its controls, and a label that its dice come from.

    `required` are the words that a caller insists on: for these alone a tune is sampled again. `chords` is the plan
    that the melody must fit, where it is not to be made from the melody.
    """

    request: ComposeRequest
    words: AllowedWords
    label: str
    required: AllowedWords = field(default_factory=dict)
    plan: Plan | None = None


@dataclass(frozen=True)
class _Candidate:
    """A sampled tune and what is wrong with it.

    Attributes:
        drawn: controls and melody.
        copies: how many runs of notes it shares with training tunes and references.
        off_mode: whether a listener would hear another mode than the one that is required.
        off_range: whether its range is none of those that are required.
        misses: distance of all controls from the allowed words (`control_distance`).
        misfit: quarter notes on beats outside of the plan's chords.
    """

    drawn: Drawn
    copies: int
    off_mode: bool
    off_range: bool
    misses: int
    misfit: float = 0.0

    @property
    def rank(self) -> tuple[int, float, int, int]:
        """Return a sort key; lower is better."""
        return self.copies, self.misfit, self.off_mode + self.off_range, self.misses


class NanoComposer:
    """Samples melodies from the decoder, has them arranged to a plan, and explains them from its own attention."""

    def __init__(self, embedder: ConseEmbedder, poles: PoleVectors, sampler: Sampler, id: str) -> None:
        self._embedder, self.poles, self.sampler, self.id = embedder, poles, sampler, id
        self._memory: OrderedDict[object, Drawn] = OrderedDict()

    def look(self, images: Sequence[Image], language: str = "en") -> list[Description]:
        """Describe each picture; its patches stay with the description."""
        seen = [(look.scene, look) for look in self._embedder.look(images)]
        return [Description(describe_scene(scene, language), look_at(look, self.poles), scene) for scene, look in seen]

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        """Draw a melody for each request and return the plan that it makes."""
        tasks = [_task_of(one.request, _label(one.take, one.attempt)) for one in requests]
        return [_plan(task, drawn) for task, drawn in zip(tasks, self._draw(tasks), strict=True)]

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """Return a tune for each request: to its plan, or, without one, to a plan of nano's own."""
        return self._write([(one.request, one.plan, _label(one.take)) for one in requests])

    def write_as_asked(self, requests: Sequence[ComposeRequest], words: AllowedWords) -> list[str]:
        """Return a tune for each request, with further words required for its controls."""
        tasks = [_Task(r, {**_words(r, _label(0)), **words}, _label(0), words) for r in requests]
        return [_written(task, drawn, None) for task, drawn in zip(tasks, self._draw(tasks), strict=True)]

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """Return another tune: nano's own never fail the check, so there is nothing to repair in place."""
        return self._write([(one.request, one.plan, f"repair {one.attempt}/{one.take}") for one in requests])

    def edit(self, requests: Sequence[EditRequest]) -> list[tuple[Edit, ...]]:
        """Arrange each tune once more with other dice, and offer the bars in which something was heard.

        Only voices that were derived by rule are offered: the melody is what the network decoded.
        """
        return [self._edits(one) for one in requests]

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """Draw each tune once more to the controls that it has, its metrics among them."""
        tasks = []
        for one in requests:
            controls, _ = read_controls_and_melody(one.abc)
            unchanged = {slot: (word,) for slot, word in controls.items()}
            tasks.append(_Task(one.request, {**_words(one.request, _label(0)), **unchanged}, "refine"))
        return [_written(task, drawn, None) for task, drawn in zip(tasks, self._draw(tasks), strict=True)]

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """Return motivation and attention, computed over the tune that stands."""
        return explain(self.sampler, requests)

    def _write(self, asked: Sequence[tuple[ComposeRequest, Plan | None, str]]) -> list[str]:
        """Write to nano's own plan where it is that, else to the chords of a stranger's."""
        own = [_task_of(request, label) for request, _, label in asked]
        mine = [at for at, (request, _, _) in enumerate(asked) if request.plan is None]
        drawn = dict(zip(mine, self._draw([own[at] for at in mine]), strict=True))
        tasks = {at: own[at] for at in mine}
        for at, (request, plan, label) in enumerate(asked):
            if plan is not None and (at not in drawn or not _is_own(plan, drawn[at])):
                words = planned_words(plan)
                tasks[at] = _Task(
                    request, {**own[at].words, **words, **_kinds(request, label, plan)}, label, words, plan
                )
        foreign = [at for at, task in tasks.items() if task.plan is not None]
        drawn |= zip(foreign, self._draw([tasks[at] for at in foreign]), strict=True)
        return [_written(tasks[at], drawn[at], plan) for at, (_, plan, _) in enumerate(asked)]

    def _edits(self, one: EditRequest) -> tuple[Edit, ...]:
        _, melody = read_controls_and_melody(one.abc, one.plan)
        seed = picture_seed(one.request.seed, f"edit/{one.take}")
        lines = arrange_plan(one.plan, melody_lines(one.plan, melody_bars_written(melody)), seed)
        derived = {
            one.plan.place_of(line.voice): bars_to_abc(one.plan.key, one.plan.meter, line.bars)
            for line in lines
            if line.derived and not line.is_drums
        }
        heard = dict.fromkeys(fault.bar for fault in one.sheet.shown if fault.bar <= one.plan.bars)
        return tuple(Edit(bar, str(voice), texts[bar - 1]) for bar in heard for voice, texts in derived.items())

    def _draw(self, tasks: Sequence[_Task]) -> list[Drawn]:
        """Return the best of a few candidates for each task; what was drawn before comes from memory.

        Sample a tune again that copies or misses what is required.
        """
        keys = [_key(task) for task in tasks]
        fresh = [at for at, key in enumerate(keys) if key not in self._memory]
        found = {keys[at]: self._memory[keys[at]] for at in range(len(tasks)) if at not in fresh}
        for at, drawn in zip(fresh, self._sample([tasks[at] for at in fresh]), strict=True):
            found[keys[at]] = self._memory[keys[at]] = drawn
        while len(self._memory) > _REMEMBERED:
            self._memory.popitem(last=False)
        return [found[key] for key in keys]

    def _sample(self, tasks: Sequence[_Task]) -> list[Drawn]:
        best: dict[int, _Candidate] = {}
        for number in range(len(PASSES)):
            open_tasks = [i for i in range(len(tasks)) if i not in best or _should_redraw(best[i], number)]
            if not open_tasks:
                break
            for i, candidate in self._candidates(tasks, open_tasks, number):
                if i not in best or candidate.rank < best[i].rank:
                    best[i] = candidate
        return [best[i].drawn for i in range(len(tasks))]

    def _candidates(self, tasks: Sequence[_Task], indices: Sequence[int], number: int) -> list[tuple[int, _Candidate]]:
        rows = [(i, sum(PASSES[:number]) + k) for i in indices for k in range(PASSES[number])]
        placed = {i: placed_tokens(tasks[i].request.album, self.sampler.vocabulary) for i in indices}
        constraints = [DecodingConstraints(tasks[i].words, _seed(tasks[i], draw), placed[i]) for i, draw in rows]
        patches = np.stack([_picture(tasks[i].request).patches for i, _ in rows])
        references = np.stack([self._references(tasks[i].request) for i, _ in rows])
        drawn = self.sampler.draw(patches, references, constraints)
        return [(i, self._candidate_of(tasks[i], one)) for (i, _), one in zip(rows, drawn, strict=True)]

    def _references(self, request: ComposeRequest) -> np.ndarray:
        return encode_references(request.references, self.sampler.model.config)

    def _candidate_of(self, task: _Task, drawn: Drawn) -> _Candidate:
        copies = self.sampler.training_runs.shared_with(drawn.melody)
        copies += copied_references(drawn.melody, task.request.references)
        delivered = controls_of(drawn.melody, kind=drawn.controls.get("kind"), tempo=drawn.controls["tempo"])
        return _Candidate(
            drawn,
            copies,
            off_mode="mode" in task.required and heard_mode(drawn.melody) != _plain(drawn.controls["mode"]),
            off_range=delivered["range"] not in task.required.get("range", LEVELS),
            misses=control_distance(task.words, delivered),
            misfit=0.0 if task.plan is None else misfit(task.plan, melody_bars_written(drawn.melody)),
        )


def _should_redraw(candidate: _Candidate, number: int) -> bool:
    """Return whether a tune is sampled again in pass `number`."""
    off = candidate.off_mode or candidate.off_range or candidate.misfit > 0
    return candidate.copies > 0 or (off and number < len(PASSES) - 1)


def _label(take: int, attempt: int = 0) -> str:
    """Name what the dice of a draw are for; planning and writing of one take draw the same."""
    return f"{take}" if not attempt else f"{take}.{attempt}"


def _task_of(request: ComposeRequest, label: str) -> _Task:
    return _Task(request, _words(request, label), label)


def _key(task: _Task) -> object:
    words = tuple(sorted((slot, tuple(values)) for slot, values in task.words.items()))
    references = tuple(reference.row_hash for reference in task.request.references)
    chords = None if task.plan is None else (task.plan.harmony, task.plan.key, task.plan.meter)
    seen = hashlib.sha256(_picture(task.request).patches.tobytes()).digest()
    return task.request.image_id, task.request.seed, task.label, words, references, chords, seen


def _plan(task: _Task, drawn: Drawn) -> Plan:
    """Make the plan that a drawn melody fills: key, chords and peak are the melody's, the rest is wanted."""
    request, _ = _wanted(task.request, task.label)
    melody = drawn.melody
    qpm = _in_class(request.qpm, drawn.controls["tempo"])
    bars = melody_bars_written(melody)
    return plan_scene(with_melody(request, key_of(melody), melody.meter, bars, melody_chords(melody), qpm))


_CLASSES = {"slow": (60.0, SLOW_BELOW_QPM - 1.0), "moderate": (SLOW_BELOW_QPM + 0.0, FAST_FROM_QPM - 1.0),
            "fast": (FAST_FROM_QPM + 0.0, 168.0)}  # fmt: skip


def _in_class(qpm: float, tempo: str) -> float:
    """Return a tempo, moved only where the control that was drawn is another."""
    low, high = _CLASSES[tempo]
    return qpm if tempo_control(qpm) == tempo else min(max(qpm, low), high)


def _wanted(request: ComposeRequest, label: str) -> tuple[PlanRequest, Character]:
    """Return what is planned before a melody is there, and the character of the music that suits the scene.

    An album's demands go before people's wishes, and these before what suits. What nano cannot write is as it would be
    without the wish.
    """
    scene = request.description.scene or Scene("")
    constraints = (() if request.album is None else (request.album.constraints,)) + request.constraints
    seed = picture_seed(request.seed, f"{request.image_id}/plan/{label}")
    wanted, music = plan_request(scene, seed, constraints)
    if wanted.meter not in METERS:
        wanted = replace(wanted, meter=music.meters[0])
    if wanted.bars > MAX_BARS:
        wanted = replace(wanted, bars=MAX_BARS, sections=())
    return replace(wanted, title=title_of(scene, music, seed, request.language)), music.character


def _is_own(plan: Plan, drawn: Drawn) -> bool:
    """Whether a plan was made from this melody; the checks may have mended it since, but not its harmony."""
    melody = drawn.melody
    return (plan.harmony, plan.meter, plan.key) == (melody_chords(melody), melody.meter, key_of(melody))


def _written(task: _Task, drawn: Drawn, plan: Plan | None) -> str:
    """Arrange a drawn melody to a plan; to its own without one."""
    plan = plan or check_plan(_plan(task, drawn)).plan
    bars = melody_bars_written(drawn.melody)
    lines = arrange_plan(
        plan,
        melody_lines(plan, bars if task.plan is None else fitted(plan, bars)),
        picture_seed(task.request.seed, task.label),
    )
    kind = drawn.controls.get("kind")
    remarks = [f"{MANNER}{kind}"] if kind else []
    if task.request.album is not None and task.plan is None:
        remarks.append(PLACED_NOTE)
    sections = [(section.name, section.first, section.last) for section in plan.sections]
    return lines_to_abc(plan.title, plan.key, plan.meter, lines, sections=sections, remarks=remarks)


def _words(request: ComposeRequest, label: str) -> AllowedWords:
    """Return the words that the plan for the picture decides, an album's over them."""
    wanted, character = _wanted(request, label)
    words = {**suiting_words(character, wanted.meter), **planned_words(wanted)}
    return words if request.album is None else {**words, **asked_words(request.album)}


def _kinds(request: ComposeRequest, label: str, plan: Plan) -> AllowedWords:
    """Return the kinds of tune that suit the picture in the meter of a person's plan."""
    return {"kind": suiting_words(_wanted(request, label)[1], plan.meter)["kind"]}


def _plain(mode: str) -> str:
    return "minor" if mode in MINOR_MODES else "major"


def heard_mode(melody: Melody) -> str:
    """Return `major` or `minor` as the key detector finds it from a melody with its chords."""
    weights = np.zeros(12)
    for bar, chords in zip(melody_bars_written(melody), melody_chords(melody), strict=True):
        for event in bar:
            for pitch in event.pitches:
                weights[pitch % 12] += float(event.length)
        names = chords.split()
        length = float(sum((event.length for event in bar), Fraction())) / len(names)
        for name in names:
            weights[sorted(read_chord(name).classes)] += length
    return "minor" if detect_key(weights).minor else "major"


def _seed(task: _Task, draw: int) -> int:
    # By the picture's id and not by what is seen in it: the bits of a float differ from processor to processor.
    return picture_seed(task.request.seed, f"{task.request.image_id}/{task.label}/{draw}")


def _picture(request: ComposeRequest) -> SeenPicture:
    features = request.description.features
    if not isinstance(features, SeenPicture):
        raise TypeError("nano composes from its own description of a picture: call look first")
    return features


@lru_cache(maxsize=1)
def load_nano() -> NanoComposer:
    """Load the composer with the weights that come with the package, once a process."""
    from image2music.composers.nano.patches import PoleVectors, blank_patches
    from image2music.composers.nano.sampling import load_sampler
    from image2music.embedders.conse import load_conse

    id, embedder = nano_id(WEIGHTS), load_conse()
    poles = PoleVectors.embed(embedder)
    sampler = load_sampler(WEIGHTS, blank_patches(CELLS * CELLS, poles))
    return NanoComposer(embedder, poles, sampler, id)
